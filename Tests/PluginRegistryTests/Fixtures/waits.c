/* Begins a step and stays in it until it is interrupted; then ends the step, and finishes with what that is answered. */
#include "pawl_plugin.h"

#include <stdlib.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

static void say(pawl_run **mine, pawl_bytes text) {
    pawl->log(pawl->host, *mine, 2, text);
}

static void answered(void *context, const pawl_result *result) {
    pawl_run **mine = context;
    say(mine, result->status == PAWL_STOPPED ? PAWL_TEXT("stopped") : PAWL_TEXT("answered"));
    pawl->finish(*mine, result);
}

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
    pawl_run **mine = malloc(sizeof *mine);
    *mine = run;
    if (pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("wait"), NULL, NULL, NULL) == PAWL_EXECUTE) say(mine, PAWL_TEXT("waiting"));
    return mine;
}

static void interrupt(void *run_context, pawl_status reason) {
    pawl_run **mine = run_context;
    say(mine, reason == PAWL_STOPPED ? PAWL_TEXT("interrupted") : PAWL_TEXT("interrupted for no reason"));
    if (pawl->step_begin(*mine, PAWL_ROOT_SCOPE, PAWL_TEXT("more"), NULL, NULL, NULL) == PAWL_STOPPED) say(mine, PAWL_TEXT("no more"));
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK};
    pawl->step_end(*mine, PAWL_ROOT_SCOPE, &outcome, answered, mine);
}

static void release(void *run_context) {
    say(run_context, PAWL_TEXT("released"));
    free(run_context);
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("waits"), .start = start, .interrupt = interrupt,
        .release = release};
    return host->register_handler(host->host, &handler);
}
