/*
 * A plugin that does BEHAVIOUR in its constructor (IN_CONSTRUCTOR) or in pawl_plugin_register; with ONCE_PROBED, a file's name, only from the
 * second time on.
 */
#include "pawl_plugin.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

PAWL_PLUGIN_NOTE("c");

#define CRASH 1
#define ABORT 2
#define EXIT 3
#define HANG 4
#define REFUSE 5
#define NOTHING 6
#define REFUSE_LATER 7

static int refuses;

static void behave(void) {
#ifdef ONCE_PROBED
    int mark = open(ONCE_PROBED, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (mark >= 0) {
        close(mark);
        return;
    }
#endif
#if BEHAVIOUR == CRASH
    raise(SIGSEGV);
#elif BEHAVIOUR == ABORT
    fprintf(stderr, "the carrier's certificate is missing\n");
    abort();
#elif BEHAVIOUR == EXIT
    exit(7);
#elif BEHAVIOUR == HANG
    for (;;) pause();
#elif BEHAVIOUR == REFUSE_LATER
    refuses = 1;
#endif
}

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void) {
    behave();
}
#endif

#ifdef ONCE_PROBED
static void *start(void *context, pawl_run *run, const pawl_start *start) {
    (void) context, (void) run, (void) start;
    return NULL;
}
#endif

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
#ifndef IN_CONSTRUCTOR
    behave();
#endif
#if BEHAVIOUR == REFUSE
    host->log(host->host, NULL, 5, PAWL_TEXT("the carrier's key is not set:\n\tset CARRIER_KEY"));
    return 3;
#endif
#ifdef ONCE_PROBED
    pawl_handler handler = {.size = sizeof handler, .workflow_version = 1, .workflow_name = PAWL_TEXT("misbehaves"), .start = start};
    return refuses ? 9 : host->register_handler(host->host, &handler);
#endif
    (void) host;
    return refuses;
}
