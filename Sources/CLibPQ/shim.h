/* libpq, and what the Glibc module lacks (epoll, eventfd). struct epoll_event is packed, which Swift does not import faithfully. */
#ifndef PAWL_CLIBPQ_SHIM_H
#define PAWL_CLIBPQ_SHIM_H
#include <libpq-fe.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

static const uint32_t PAWL_EPOLL_IN = EPOLLIN, PAWL_EPOLL_OUT = EPOLLOUT;

static inline int pawl_epoll_control(int epoll, int operation, int descriptor, uint64_t token, uint32_t events)
{
    struct epoll_event event;
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(epoll, operation, descriptor, &event);
}

enum { PAWL_EPOLL_BATCH = 32 };

/* As epoll_wait; tokens and events have room for PAWL_EPOLL_BATCH. */
static inline int pawl_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int timeout_ms)
{
    struct epoll_event buffer[PAWL_EPOLL_BATCH];
    int count = epoll_wait(epoll, buffer, PAWL_EPOLL_BATCH, timeout_ms);
    for (int i = 0; i < count; i++)
    {
        tokens[i] = buffer[i].data.u64;
        events[i] = buffer[i].events;
    }
    return count;
}

/* Of the calling thread; at most 15 bytes of it. */
static inline void pawl_set_thread_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

static inline int pawl_eventfd(int flags) { return eventfd(0, flags | EFD_CLOEXEC); }
#endif
