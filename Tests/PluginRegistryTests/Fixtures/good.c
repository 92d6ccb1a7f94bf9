/*
 * A plugin as it should be.  NAME and VERSION name its handler, ANSWER is what its one step and the run come to; STAMP only makes another
 * build of it, NO_NOTE leaves the note out, and INTERFACE lies about the interface version.
 */
#include "pawl_plugin.h"

#include <stdlib.h>

#ifndef NAME
#define NAME "good"
#endif
#ifndef VERSION
#define VERSION 1
#endif
#ifndef ANSWER
#define ANSWER "2"
#endif
#ifdef INTERFACE
#undef PAWL_INTERFACE_VERSION
#define PAWL_INTERFACE_VERSION INTERFACE
#endif
#ifndef NO_NOTE
PAWL_PLUGIN_NOTE("c");
#endif
#ifdef STAMP
__attribute__((used)) static const char stamp[] = STAMP;
#endif

static const pawl_host *pawl;

static void recorded(void *context, const pawl_result *result) {
    pawl->finish(*(pawl_run **) context, result);
}

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
    pawl_run **mine = malloc(sizeof *mine);
    *mine = run;
    if (pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("step"), NULL, recorded, mine) == PAWL_EXECUTE) {
        pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK, .value = PAWL_TEXT(ANSWER)};
        pawl->step_end(run, PAWL_ROOT_SCOPE, &outcome, recorded, mine);
    }
    return mine;
}

static void release(void *run_context) {
    free(run_context);
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = VERSION, .workflow_name = PAWL_TEXT(NAME), .start = start, .release = release};
    return host->register_handler(host->host, &handler);
}
