/* A plugin that does BEHAVIOUR in its constructor (IN_CONSTRUCTOR) or in pawl_plugin_register. */
#include "pawl_plugin.h"

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

static void behave(void) {
#if BEHAVIOUR == CRASH
    raise(SIGSEGV);
#elif BEHAVIOUR == ABORT
    fprintf(stderr, "the carrier's certificate is missing\n");
    abort();
#elif BEHAVIOUR == EXIT
    exit(7);
#elif BEHAVIOUR == HANG
    for (;;) pause();
#endif
}

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void) {
    behave();
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
    (void) host;
    return 0;
}
