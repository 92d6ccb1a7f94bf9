/* Blocks its delivery thread in start() until the named pipe GATE has a writer that goes away. */
#include "pawl_plugin.h"

#include <fcntl.h>
#include <unistd.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
    int gate = open(GATE, O_RDONLY);
    char byte;
    while (read(gate, &byte, 1) > 0) {}
    close(gate);
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK};
    pawl->finish(run, &outcome);
    return NULL;
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {.size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("blocks"), .start = start};
    return host->register_handler(host->host, &handler);
}
