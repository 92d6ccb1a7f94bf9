#include "pawl_plugin.h"

/*
 * The layout of interface version 1 on every 64-bit machine.  PluginRegistry reads what lies within a struct's size by these ends, and
 * plugins that were built long ago rely on them: a member may be added at the end, and nothing else may change.
 */
#define ENDS_AT(type, member, end) \
    _Static_assert(offsetof(type, member) + sizeof(((type *) 0)->member) == (end), #type "." #member " moved")

ENDS_AT(pawl_bytes, size, 16);

ENDS_AT(pawl_error, flags, 8);
ENDS_AT(pawl_error, code, 24);
ENDS_AT(pawl_error, type, 40);
ENDS_AT(pawl_error, message, 56);
ENDS_AT(pawl_error, detail, 72);
ENDS_AT(pawl_error, step, 88);
ENDS_AT(pawl_error, cause, 104);
ENDS_AT(pawl_error, attempt, 108);
ENDS_AT(pawl_error, reserved, 112);

ENDS_AT(pawl_result, status, 8);
ENDS_AT(pawl_result, value, 24);
ENDS_AT(pawl_result, error, 32);

ENDS_AT(pawl_start, priority, 16);
ENDS_AT(pawl_start, workflow_id, 32);
ENDS_AT(pawl_start, created_at, 136);
ENDS_AT(pawl_start, deadline_at, 144);
ENDS_AT(pawl_start, parent_workflow_id, 160);
ENDS_AT(pawl_start, attempt, 164);
ENDS_AT(pawl_start, reserved, 168);

ENDS_AT(pawl_handler, workflow_version, 8);
ENDS_AT(pawl_handler, workflow_name, 24);
ENDS_AT(pawl_handler, context, 32);
ENDS_AT(pawl_handler, start, 40);
ENDS_AT(pawl_handler, interrupt, 48);
ENDS_AT(pawl_handler, release, 56);
ENDS_AT(pawl_handler, interrupt_step, 64);

ENDS_AT(pawl_retry, max_attempts, 8);
ENDS_AT(pawl_retry, initial_interval, 16);
ENDS_AT(pawl_retry, maximum_interval, 24);
ENDS_AT(pawl_retry, attempt_timeout, 32);
ENDS_AT(pawl_retry, timeout, 40);
ENDS_AT(pawl_retry, factor, 48);

ENDS_AT(pawl_step_options, flags, 8);
ENDS_AT(pawl_step_options, retry, 16);
ENDS_AT(pawl_transaction_options, isolation, 8);
ENDS_AT(pawl_transaction_options, retry, 16);
ENDS_AT(pawl_transaction_options, flags, 20);
ENDS_AT(pawl_transaction_options, reserved, 24);

ENDS_AT(pawl_host, host, 16);
ENDS_AT(pawl_host, register_handler, 24);
ENDS_AT(pawl_host, query, 96);
ENDS_AT(pawl_host, call, 104);
ENDS_AT(pawl_host, offer, 112);
ENDS_AT(pawl_host, emit, 120);
ENDS_AT(pawl_host, compensate, 128);
ENDS_AT(pawl_host, continue_as_new, 136);
ENDS_AT(pawl_host, close_branch, 144);
ENDS_AT(pawl_host, is_cancelled, 152);
ENDS_AT(pawl_host, attempt, 160);
