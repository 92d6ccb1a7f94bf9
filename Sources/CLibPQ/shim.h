/* What the Glibc module lacks (epoll, eventfd), beside libpq itself. */
#ifndef PAWL_CLIBPQ_SHIM_H
#define PAWL_CLIBPQ_SHIM_H
#include <libpq-fe.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#endif
