/* Fails as its input says: "bad_input", "plain", "texts", "nothing", "stopped", "status" or "null". */
#include "pawl_plugin.h"

#include <string.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context;
    pawl_error error = {.size = sizeof error, .code = PAWL_TEXT("declined"), .type = PAWL_TEXT("Payment"), .message = PAWL_TEXT("no")};
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_ERROR, .error = &error};
    const char *how = (const char *) start->input.data + 1;
    size_t size = start->input.size - 2;
#define IS(text) (size == sizeof(text) - 1 && memcmp(how, text, size) == 0)
    if (IS("bad_input")) error.code = PAWL_TEXT("bad_input");
    if (IS("texts")) {
        error.message = PAWL_TEXT("nul \0 and \xff");
        error.detail = PAWL_TEXT("{\"card\": 1}");
    }
    if (IS("nothing")) outcome.error = NULL;
    if (IS("stopped")) outcome.status = PAWL_STOPPED;
    if (IS("status")) outcome.status = PAWL_EXECUTE;
    pawl->finish(run, IS("null") ? NULL : &outcome);
    return NULL;
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {.size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("fails"), .start = start};
    return host->register_handler(host->host, &handler);
}
