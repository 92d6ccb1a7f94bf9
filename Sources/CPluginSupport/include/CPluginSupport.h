/*
 * What loading plugins needs of Linux and glibc, and the Glibc module does not show to Swift.
 */
#ifndef PAWL_PLUGIN_SUPPORT_H
#define PAWL_PLUGIN_SUPPORT_H

#include <semaphore.h>
#include <stdbool.h>
#include <sys/types.h>

/* A pipe whose ends no other program inherits.  0, or an errno. */
int pawl_pipe(int ends[2]);

/* Names the calling thread, for top, gdb and perf; the kernel keeps the first 15 bytes. */
void pawl_name_thread(const char *name);

/* "SIGSEGV (Segmentation fault)", in memory of the calling thread, until its next call. */
const char *pawl_signal_name(int signal);

/* Takes the semaphore, or gives up after that time by the monotonic clock: false. */
bool pawl_wait(sem_t *semaphore, unsigned milliseconds);

/* Whether files of this directory cannot be executed: its filesystem is mounted noexec. */
bool pawl_is_noexec(const char *directory);

/* The descriptor on which a child of pawl_spawn_probe reports. */
enum { PAWL_PROBE_REPORT = 3 };

/*
 * Starts a program in a process group of its own, with default signals, its input empty, its output and errors going to
 * `output`, PAWL_PROBE_REPORT going to `report`, and no other descriptor open.  0, or an errno.
 */
int pawl_spawn_probe(const char *program, char *const arguments[], char *const environment[], int report, int output, pid_t *child);

/* In that child: no core dumps, die with the parent, and after this many seconds in any case. */
void pawl_limit_probe(unsigned seconds);

#endif
