/*
 * pawl_plugin.h: the interface between pawld (the host) and a plugin.
 *
 * A plugin is a shared library that exports one symbol, pawl_plugin_register, and carries one ELF note,
 * PAWL_PLUGIN_NOTE, from which the loader reads the interface version before it runs any of the plugin's code.
 *
 * Ownership   Every pointer handed over, in either direction, is borrowed for the duration of that call only; the
 *             receiver copies what it keeps.  Exceptions: the pawl_host table and its `host` stay valid for the life of
 *             the process; a pawl_run stays valid from start() until release() has returned; the `context` pointers are
 *             the plugin's own and only ever handed back.
 * Threads     Every host function may be called on any thread, also inside a completion, until the run was released.
 *             No host function blocks.  The host calls a plugin (start, completions, interrupt, release) on a delivery
 *             thread that the plugin has to itself, one call at a time and never with a lock held.  A plugin that blocks
 *             there delays only itself.
 * Completion  A completion is called exactly once for each asynchronous call, perhaps before that call returns; for a
 *             call that answers synchronously (step_begin, transaction_begin) see there.
 * Growth      Tables and structs begin with their size in bytes, set by the side that made them; new members go at the
 *             end; a reader looks at no member that lies past the size.  PAWL_INTERFACE_VERSION changes only when that
 *             is not enough: then a plugin must be rebuilt, and is refused until it is.
 * Payloads    UTF-8 JSON texts, one value each.  The host checks each at this boundary: invalid UTF-8 or JSON, U+0000 or a
 *             lone surrogate, numbers jsonb cannot hold, nesting over 512 levels or a size over pawl.max_payload (1 MB)
 *             fail the step they belong to with an error that names the JSON path.
 * Errors      No exception, longjmp or Swift error may cross.  A crash in a plugin is a crash of the worker.
 */
#ifndef PAWL_PLUGIN_H
#define PAWL_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAWL_INTERFACE_VERSION 1

/* Bytes, not NUL-terminated.  data == NULL: absent (an SQL NULL, no value). */
typedef struct pawl_bytes {
    const void *data;
    size_t size;
} pawl_bytes;

/* One run of a workflow's handler: from start() to release().  The host's. */
typedef struct pawl_run pawl_run;

/* One sequential branch of a run.  Step names are unique within their scope, and repeats (`#2`, `#3`) are counted per scope in its
 * program order, so that a run that replays in another interleaving still finds its own steps. */
typedef uint32_t pawl_scope;
#define PAWL_ROOT_SCOPE ((pawl_scope) 0)
#define PAWL_INVALID_SCOPE ((pawl_scope) UINT32_MAX)

typedef int32_t pawl_status;
enum {
    PAWL_OK = 0,
    PAWL_EXECUTE = 1,   /* step_begin, transaction_begin: nothing is recorded; execute the body, then call …_end */
    PAWL_NONE = 2,      /* reserved for waits: the timeout passed */
    PAWL_ERROR = 3,     /* a recorded or definite failure: see `error` */
    PAWL_CANCELLED = 4, /* reserved: the workflow is being cancelled */
    PAWL_STOPPED = 5,   /* the run is over for the host (fenced, shutting down, parked, connection lost): release what is held and
                           call finish().  What finish() then says is ignored.  Every later call of the run answers this at once. */
    PAWL_MISUSE = 6,    /* the call broke a rule (a second call in a busy scope, a step in a step, a recorded step of another
                           kind, an unknown scope): see `error`.  The run fails with it unless the handler does something else. */
    PAWL_RETRY = 7      /* transaction_end: a serialization failure or deadlock undid it; execute the body again, then transaction_end */
};

/* A failure.  `code` is a short stable word that callers branch on ("payment_declined"), `type` the type in the handler's
 * language, `message` a sentence for a person, `detail` a JSON value or absent. */
typedef struct pawl_error {
    uint32_t size;
    uint32_t flags; /* 0 */
    pawl_bytes code, type, message, detail;
} pawl_error;

typedef struct pawl_result {
    uint32_t size;
    pawl_status status;
    pawl_bytes value;        /* JSON, with PAWL_OK */
    const pawl_error *error; /* with PAWL_ERROR and PAWL_MISUSE, else NULL */
} pawl_result;

typedef void (*pawl_completion)(void *context, const pawl_result *result);

/* What a run begins with. */
typedef struct pawl_start {
    uint32_t size;
    int32_t workflow_version;   /* the handler version this run executes */
    int32_t recoveries;         /* how often a crash interrupted this workflow before */
    int32_t priority;
    pawl_bytes workflow_id, workflow_name, queue;
    pawl_bytes partition_key;   /* absent: none */
    pawl_bytes input;           /* JSON */
    pawl_bytes headers;         /* JSON or absent */
    pawl_bytes attributes;      /* JSON or absent */
    int64_t created_at;         /* microseconds since 1970-01-01T00:00:00Z */
} pawl_start;

typedef struct pawl_handler {
    uint32_t size;
    int32_t workflow_version;   /* at least 1 */
    pawl_bytes workflow_name;
    void *context;              /* handed to start() */
    /* Begin a run and return at once; the result is the run's context.  Later, on any thread: finish(run), exactly once. */
    void *(*start)(void *context, pawl_run *run, const pawl_start *start);
    /* Advice to stop soon, because every call now answers `reason` (PAWL_STOPPED); at most once; never after release. */
    void (*interrupt)(void *run_context, pawl_status reason);
    /* The last call about the run: finish() was called, no completion is outstanding, interrupt will not be called. */
    void (*release)(void *run_context);
} pawl_handler;

typedef struct pawl_step_options {
    uint32_t size;
    uint32_t flags; /* 0 */
} pawl_step_options;

enum { PAWL_READ_COMMITTED = 0, PAWL_REPEATABLE_READ = 1, PAWL_SERIALIZABLE = 2 };
typedef struct pawl_transaction_options {
    uint32_t size;
    uint32_t isolation; /* one of the three above */
} pawl_transaction_options;

/*
 * The result of SQL is one JSON object (the `value` of the completion):
 *   {"columns": [["id", 20], ["name", 25]], "rows": [["1", "Ada"], ["2", null]], "affected": 2}
 * columns: name and type OID; rows: each value in PostgreSQL's text form, or null; affected: the command's row count.
 * Parameters $1, $2, … are texts whose types the server infers; data == NULL is an SQL NULL.
 */
typedef struct pawl_host {
    uint32_t size;
    uint32_t interface_version;
    void *host;

    /* Only during pawl_plugin_register.  PAWL_OK, or PAWL_MISUSE (empty or over-long name, version < 1, the same name and version twice). */
    pawl_status (*register_handler)(void *host, const pawl_handler *handler);

    /* level: 0 trace, 1 debug, 2 info, 3 notice, 4 warning, 5 error, 6 critical.  run may be NULL. */
    void (*log)(void *host, pawl_run *run, int32_t level, pawl_bytes message);

    /* End the run with PAWL_OK and a JSON value, with PAWL_ERROR and an error, or with PAWL_STOPPED.  Exactly once. */
    void (*finish)(pawl_run *run, const pawl_result *outcome);

    /* A scope below `parent`; `name` is unique below it (repeats get #2, #3).  Paths read `left/a`, `charge[42]/reserve#2`.
     * PAWL_INVALID_SCOPE if `parent` is unknown or the name is empty or too long. */
    pawl_scope (*branch)(pawl_run *run, pawl_scope parent, pawl_bytes name);

    /* A step.  Answers at once: PAWL_EXECUTE; or what is recorded (PAWL_OK, PAWL_ERROR), PAWL_MISUSE or PAWL_STOPPED, and then
     * `answer` was called with it before this returns (not with EXECUTE).  options may be NULL. */
    pawl_status (*step_begin)(pawl_run *run, pawl_scope scope, pawl_bytes name, const pawl_step_options *options,
                              pawl_completion answer, void *context);
    /* Record the step's outcome: PAWL_OK with a value or PAWL_ERROR with an error.  `done` comes after the commit: PAWL_OK, or
     * PAWL_ERROR with the failure that was recorded (the given one, or that the value could not be stored), or PAWL_STOPPED. */
    void (*step_end)(pawl_run *run, pawl_scope scope, const pawl_result *outcome, pawl_completion done, void *context);

    /* A transaction: a step whose SQL and checkpoint commit together.  Answers like step_begin. */
    pawl_status (*transaction_begin)(pawl_run *run, pawl_scope scope, pawl_bytes name, const pawl_transaction_options *options,
                                     pawl_completion answer, void *context);
    /* SQL inside the scope's open transaction.  PAWL_ERROR has code = SQLSTATE; after it the transaction only accepts transaction_end. */
    void (*transaction_execute)(pawl_run *run, pawl_scope scope, pawl_bytes sql, const pawl_bytes *parameters, size_t parameter_count,
                                pawl_completion done, void *context);
    /* PAWL_OK: commit with the checkpoint; PAWL_ERROR: roll back and record the failure.  `done` as step_end's, or PAWL_RETRY. */
    void (*transaction_end)(pawl_run *run, pawl_scope scope, const pawl_result *outcome, pawl_completion done, void *context);

    /* A read-only query, recorded as a step: a replay gets the same rows. */
    void (*query)(pawl_run *run, pawl_scope scope, pawl_bytes name, pawl_bytes sql, const pawl_bytes *parameters, size_t parameter_count,
                  pawl_completion done, void *context);
} pawl_host;

/* The one exported symbol.  0: registered; anything else: the plugin refuses this host, and is not used.  Register nothing later. */
typedef int32_t (*pawl_plugin_register_fn)(const pawl_host *host);

#define PAWL_STRINGIFY_(x) #x
#define PAWL_STRINGIFY(x) PAWL_STRINGIFY_(x)
#define PAWL_NOTE_TEXT(sdk) "interface=" PAWL_STRINGIFY(PAWL_INTERFACE_VERSION) ";sdk=" sdk ";compiler=" __VERSION__
/* In exactly one C file of a plugin, at file scope (the Swift SDK brings its own): PAWL_PLUGIN_NOTE("c") */
#define PAWL_PLUGIN_NOTE(sdk)                                                                              \
    __attribute__((used, aligned(4), section(".note.pawl"))) static const struct {                        \
        uint32_t name_size, text_size, type;                                                               \
        char name[8];                                                                                      \
        char text[sizeof(PAWL_NOTE_TEXT(sdk))];                                                            \
    } pawl_plugin_note = {5, sizeof(PAWL_NOTE_TEXT(sdk)), 1, "PAWL", PAWL_NOTE_TEXT(sdk)}

#ifdef __cplusplus
}
#endif
#endif
