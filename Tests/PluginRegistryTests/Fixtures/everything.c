/*
 * A handler that makes every kind of call, one after the other: a step, a step in a branch, a transaction, a query.  It finishes with the
 * query's result.  With THREADS, each call is made on a thread of its own that has ended before the answer may come.
 */
#include "pawl_plugin.h"

#include <pthread.h>
#include <stdlib.h>

PAWL_PLUGIN_NOTE("c");

static const pawl_host *pawl;

typedef struct work {
    pawl_run *run;
    int next;
    pawl_scope left;
} work;

static void answered(void *context, const pawl_result *result);

static void end(work *work, pawl_result *outcome) {
    outcome->size = sizeof *outcome;
    pawl->finish(work->run, outcome);
}

static void *go_on(void *context) {
    work *work = context;
    pawl_run *run = work->run;
    pawl_result one = {.size = sizeof one, .status = PAWL_OK, .value = PAWL_TEXT("1")};
    switch (work->next++) {
        case 0:
            if (pawl->step_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("a"), NULL, answered, work) == PAWL_EXECUTE)
                pawl->step_end(run, PAWL_ROOT_SCOPE, &one, answered, work);
            break;
        case 1:
            work->left = pawl->branch(run, PAWL_ROOT_SCOPE, PAWL_TEXT("left"));
            if (pawl->step_begin(run, work->left, PAWL_TEXT("b"), NULL, answered, work) == PAWL_EXECUTE)
                pawl->step_end(run, work->left, &one, answered, work);
            break;
        case 2: {
            pawl_transaction_options options = {.size = sizeof options, .isolation = PAWL_SERIALIZABLE};
            if (pawl->transaction_begin(run, PAWL_ROOT_SCOPE, PAWL_TEXT("t"), &options, answered, work) != PAWL_EXECUTE) {
                /* It was recorded, and the next call is under way. */
                break;
            }
            pawl_bytes parameters[] = {PAWL_TEXT("stock"), PAWL_TEXT("1")};
            work->next = 10;
            pawl->transaction_execute(run, PAWL_ROOT_SCOPE, PAWL_TEXT("add"), parameters, 2, answered, work);
            break;
        }
        case 10:
            work->next = 3;
            pawl->transaction_end(run, PAWL_ROOT_SCOPE, &one, answered, work);
            break;
        case 3: {
            pawl_bytes parameters[] = {PAWL_TEXT("stock")};
            pawl->query(run, PAWL_ROOT_SCOPE, PAWL_TEXT("q"), PAWL_TEXT("get"), parameters, 1, answered, work);
            break;
        }
    }
    return NULL;
}

static void answered(void *context, const pawl_result *result) {
    work *work = context;
    if (result->status != PAWL_OK || work->next == 4) {
        pawl_result outcome = *result;
        end(work, &outcome);
        return;
    }
#ifdef THREADS
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_create(&thread, &detached, go_on, work);
    pthread_attr_destroy(&detached);
#else
    go_on(work);
#endif
}

static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) start;
    work *work = calloc(1, sizeof *work);
    work->run = run;
    pawl_result begin = {.size = sizeof begin, .status = PAWL_OK};
    answered(work, &begin);
    return work;
}

static void release(void *run_context) {
    free(run_context);
}

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    pawl = host;
    pawl_handler handler = {
        .size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("everything"), .start = start, .release = release};
    return host->register_handler(host->host, &handler);
}
