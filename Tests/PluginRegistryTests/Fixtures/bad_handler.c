/* Offers one handler that breaks a rule, BREAKS, and returns 0 all the same. */
#include "pawl_plugin.h"

#include <string.h>

PAWL_PLUGIN_NOTE("c");

#define TWICE 1
#define EMPTY_NAME 2
#define LONG_NAME 3
#define NOT_UTF8 4
#define VERSION_ZERO 5
#define NO_START 6
#define SMALL 7
#define NO_HANDLER 8

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) run, (void) start;
    return NULL;
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl_handler handler = {.size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("bad"), .start = start};
#if BREAKS == TWICE
    host->register_handler(host->host, &handler);
#elif BREAKS == EMPTY_NAME
    handler.workflow_name.size = 0;
#elif BREAKS == LONG_NAME
    char name[129];
    memset(name, 'x', sizeof name);
    handler.workflow_name = (pawl_bytes) {name, sizeof name};
#elif BREAKS == NOT_UTF8
    handler.workflow_name = PAWL_TEXT("\xff");
#elif BREAKS == VERSION_ZERO
    handler.workflow_version = 0;
#elif BREAKS == NO_START
    handler.start = NULL;
#elif BREAKS == SMALL
    handler.size = offsetof(pawl_handler, start);
#elif BREAKS == NO_HANDLER
    host->register_handler(host->host, NULL);
    return 0;
#endif
    host->register_handler(host->host, &handler);
    return 0;
}
