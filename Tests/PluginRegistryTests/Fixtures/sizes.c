/*
 * A plugin compiled against another pawl_plugin.h: OLDER, whose structs end before some members and lie at the end of their memory, or
 * NEWER, whose structs have members that the host does not know.
 */
#include "pawl_plugin.h"

#include <stdlib.h>
#include <string.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

typedef struct newer_handler {
    pawl_handler known;
    void *unknown[4];
} newer_handler;

typedef struct newer_result {
    pawl_result known;
    void *unknown[4];
} newer_result;

#ifdef OLDER
/* A copy of the first `size` bytes that nothing lies behind. */
static void *cut(const void *whole, size_t size) {
    void *copy = malloc(size);
    memcpy(copy, whole, size);
    *(uint32_t *) copy = (uint32_t) size;
    return copy;
}
#endif

#ifdef NEWER
static void finish_newer(void *run, const pawl_result *result) {
    newer_result outcome = {
        .known = {.size = sizeof outcome, .status = PAWL_OK, .value = result->status == PAWL_ERROR ? PAWL_TEXT("\"newer\"") : PAWL_TEXT("\"retried\"")}};
    memset(outcome.unknown, 0xff, sizeof outcome.unknown);
    pawl->finish(run, &outcome.known);
}
#endif

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
#ifdef NEWER
    /* Its policy has members that the host does not know; the one that it knows counts. */
    struct {
        pawl_retry known;
        void *unknown[4];
    } retry = {.known = {.size = sizeof retry, .max_attempts = 1}};
    pawl_step_options options = {.size = sizeof options, .retry = &retry.known};
    memset(retry.unknown, 0xff, sizeof retry.unknown);
    if (pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("s"), &options, NULL, NULL) == PAWL_EXECUTE) {
        pawl_error failure = {.size = sizeof failure, .code = PAWL_TEXT("failed")};
        pawl_result failed = {.size = sizeof failed, .status = PAWL_ERROR, .error = &failure};
        pawl->step_end(run, PAWL_ROOT_SCOPE, &failed, finish_newer, run);
    }
#else
    /* Options that know no policy, and then a policy that knows one member. */
    pawl_step_options no_options = {.flags = 0};
    pawl_step_options *old_options = cut(&no_options, offsetof(pawl_step_options, retry));
    pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("s"), old_options, NULL, NULL);
    free(old_options);
    pawl_retry one_attempt = {.max_attempts = 1};
    pawl_retry *retry = cut(&one_attempt, offsetof(pawl_retry, initial_interval));
    pawl_transaction_options options = {.size = sizeof options, .retry = retry};
    pawl->transaction_begin(run, pawl->branch(run, PAWL_ROOT_SCOPE, PAWL_TEXT("b")), PAWL_TEXT("t"), &options, NULL, NULL);
    free(retry);
    /* An error that knows no detail, in a result that has nothing after it; then one of the smallest kind. */
    pawl_error whole = {.code = PAWL_TEXT("older"), .type = PAWL_TEXT("c"), .message = PAWL_TEXT("an old plugin"), .detail = PAWL_TEXT("1")};
    pawl_error *error = cut(&whole, offsetof(pawl_error, detail));
    pawl_result result = {.status = PAWL_ERROR, .error = error};
    pawl_result *outcome = cut(&result, sizeof result);
    pawl->finish(run, outcome);
    free(outcome);
    free(error);
#endif
    return NULL;
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    newer_handler handler = {
        .known = {.size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("sizes"), .start = start}};
    memset(handler.unknown, 0xff, sizeof handler.unknown);
#ifdef NEWER
    return host->register_handler(host->host, &handler.known);
#else
    /* No interrupt, no release. */
    pawl_handler *older = cut(&handler, offsetof(pawl_handler, interrupt));
    int32_t status = host->register_handler(host->host, older);
    free(older);
    return status;
#endif
}
