/* Finishes with a JSON array of everything that start() was given. */
#include "pawl_plugin.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

static int print(char *to, size_t size, pawl_bytes bytes, const char *quote) {
    if (bytes.data == NULL) return snprintf(to, size, ",\"absent\"");
    return snprintf(to, size, ",%s%.*s%s", quote, (int) bytes.size, (const char *) bytes.data, quote);
}

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    char text[2000];
    size_t used = 0;
    used += snprintf(text, sizeof text, "[%d,%d,%d,%d,%" PRId64, start->size >= sizeof *start, start->workflow_version, start->recoveries,
                     start->priority, start->created_at);
    used += print(text + used, sizeof text - used, start->workflow_id, "\"");
    used += print(text + used, sizeof text - used, start->workflow_name, "\"");
    used += print(text + used, sizeof text - used, start->queue, "\"");
    used += print(text + used, sizeof text - used, start->partition_key, "\"");
    used += print(text + used, sizeof text - used, start->input, "");
    used += print(text + used, sizeof text - used, start->headers, "");
    used += print(text + used, sizeof text - used, start->attributes, "");
#ifndef INTERFACE_1_0
    used += snprintf(text + used, sizeof text - used, ",%" PRId64 ",%d", start->deadline_at, start->attempt);
    used += print(text + used, sizeof text - used, start->parent_workflow_id, "\"");
#endif
    used += snprintf(text + used, sizeof text - used, ",\"%s\"]", (const char *) context);
    pawl_result outcome = {.size = sizeof outcome, .status = PAWL_OK, .value = {text, used}};
    pawl->finish(run, &outcome);
    return NULL;
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = 4, .workflow_name = PAWL_TEXT("echo"), .context = (void *) "mine", .start = start};
    return host->register_handler(host->host, &handler);
}
