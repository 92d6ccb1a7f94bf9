#define _GNU_SOURCE
#include "CPluginSupport.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

int pawl_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
}

void pawl_name_thread(const char *name) {
    char kept[16];
    snprintf(kept, sizeof kept, "%s", name);
    pthread_setname_np(pthread_self(), kept);
}

const char *pawl_signal_name(int signal) {
    static _Thread_local char text[80];
    const char *name = sigabbrev_np(signal);
    if (name != NULL)
        snprintf(text, sizeof text, "SIG%s (%s)", name, sigdescr_np(signal));
    else
        snprintf(text, sizeof text, "signal %d", signal);
    return text;
}

bool pawl_wait(sem_t *semaphore, unsigned milliseconds) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    int failure;
    while ((failure = sem_clockwait(semaphore, CLOCK_MONOTONIC, &until)) != 0 && errno == EINTR) {}
    return failure == 0;
}

bool pawl_is_noexec(const char *directory) {
    struct statvfs facts;
    return statvfs(directory, &facts) == 0 && (facts.f_flag & ST_NOEXEC) != 0;
}

/* What the child does between fork and exec.  0, or an errno. */
static int describe_child(posix_spawn_file_actions_t *files, posix_spawnattr_t *attributes, int report, int output) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int failure = 0;
    if (!failure) failure = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (!failure) failure = posix_spawn_file_actions_adddup2(files, output, 1);
    if (!failure) failure = posix_spawn_file_actions_adddup2(files, output, 2);
    if (!failure) failure = posix_spawn_file_actions_adddup2(files, report, PAWL_PROBE_REPORT);
    if (!failure) failure = posix_spawn_file_actions_addclosefrom_np(files, PAWL_PROBE_REPORT + 1);
    if (!failure) failure = posix_spawnattr_setsigdefault(attributes, &all);
    if (!failure) failure = posix_spawnattr_setsigmask(attributes, &none);
    if (!failure) failure = posix_spawnattr_setpgroup(attributes, 0);
    if (!failure)
        failure = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    return failure;
}

int pawl_spawn_probe(const char *program, char *const arguments[], char *const environment[], int report, int output, pid_t *child) {
    /* Out of the way of the numbers that the child gets. */
    int high_report = fcntl(report, F_DUPFD_CLOEXEC, 10);
    int high_output = fcntl(output, F_DUPFD_CLOEXEC, 10);
    int failure = high_report < 0 || high_output < 0 ? errno : 0;
    if (!failure) {
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        posix_spawn_file_actions_init(&files);
        posix_spawnattr_init(&attributes);
        failure = describe_child(&files, &attributes, high_report, high_output);
        if (!failure) failure = posix_spawn(child, program, &files, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&files);
    }
    if (high_report >= 0) close(high_report);
    if (high_output >= 0) close(high_output);
    return failure;
}

void pawl_limit_probe(unsigned seconds) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(seconds);
}
