/* A step whose first attempt fails.  Finishes with how often its body ran, or with its failure. */
#include "pawl_plugin.h"

#include <stdio.h>
#include <stdlib.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

typedef struct work {
    pawl_run *run;
    int bodies;
} work;

static void ended(void *context, const pawl_result *result);

static void body(work *work) {
    pawl_error error = {.size = sizeof error, .code = PAWL_TEXT("stumbled"), .type = PAWL_TEXT("c"), .message = PAWL_TEXT("once")};
    pawl_result outcome = {.size = sizeof outcome, .status = work->bodies++ == 0 ? PAWL_ERROR : PAWL_OK, .error = &error};
    pawl->step_end(work->run, PAWL_ROOT_SCOPE, &outcome, ended, work);
}

static void ended(void *context, const pawl_result *result) {
    work *work = context;
    char text[16];
    if (result->status == PAWL_RETRY) {
        body(work);
        return;
    }
    pawl_result outcome = *result;
    if (result->status == PAWL_OK) outcome.value = (pawl_bytes) {text, (size_t) snprintf(text, sizeof text, "%d", work->bodies)};
    pawl->finish(work->run, &outcome);
}

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
    work *work = calloc(1, sizeof *work);
    work->run = run;
    if (pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("s"), NULL, ended, work) == PAWL_EXECUTE) body(work);
    return work;
}

static void release(void *run_context) {
    free(run_context);
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("stumbles"), .start = start, .release = release};
    return host->register_handler(host->host, &handler);
}
