/*
 * attack.h
 *		What the attack programs share: sessions, a worker that speaks the worker
 *		protocol as docs/worker-protocol.md has it, random numbers, the verdict.
 *
 * The programs connect to what the PG* environment names, and print one line
 * of TAP. They assume a database of their own with the extension in it.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <libpq-fe.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Ends the program with "not ok" and the message. */
extern void give_up(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

/* Ends the program with "ok" and the message. */
extern void succeed(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

/* Seconds on a clock that never goes back. */
extern double now(void);

extern void sleep_us(long us);

/* From 0 to bound - 1; every thread has a state of its own. */
extern unsigned random_below(unsigned *state, unsigned bound);

/* The session is dead or the statement wrong: give_up. */
extern PGconn *open_session(const char *application_name);
extern void run(PGconn *session, const char *sql);
extern long ask(PGconn *session, const char *sql);
extern char *ask_text(PGconn *session, const char *sql);

/* The statement may fail: returns its SQLSTATE, or "" if it went well. */
extern const char *attempt(PGconn *session, const char *sql, char state[6]);

/* Asks until the answer is the wanted one; false past the deadline. */
extern bool becomes(PGconn *session, const char *sql, long wanted, double seconds);

typedef struct Worker
{
	char		id[40];
	char		names[200];		/* array literal */
	char		versions[200];
	char		queues[200];	/* array literal; empty: every queue */
	PGconn	   *life;			/* register, heartbeat */
	PGconn	   *protocol;		/* claim, arm, wait, complete */
	int			number;
} Worker;

#define MAX_CLAIM 256

typedef struct Claim
{
	int			count;
	long		keys[MAX_CLAIM];
	int			epochs[MAX_CLAIM];
	bool		replay[MAX_CLAIM];
	char		ids[MAX_CLAIM][80];
} Claim;

/* names: "{a,b}"; queues: "{default}" or NULL for all; one version, 1, each. */
extern void worker_open(Worker *worker, const char *names, const char *queues);
/* The same of one version. */
extern void worker_open_version(Worker *worker, const char *names, const char *queues, int version);
extern void worker_close(Worker *worker);
extern void worker_claim(Worker *worker, int at_most, Claim *claim);

/* False: an answer was an error, as after a cancel request. */
extern bool worker_arm(Worker *worker, long *timeout_ms);
/* As long as the claim after a wait that ran out has found. */
#define AS_FOUND (-2)
extern bool worker_wait(Worker *worker, long timeout_ms, bool *woken);

/* Number of refused entries. */
extern int	worker_complete(Worker *worker, const Claim *claim);
extern int	worker_release(Worker *worker, const Claim *claim);

/* Heartbeats for all open workers until stopped; they share one thread. */
extern void heartbeats_start(Worker *workers, int count);
extern void heartbeats_stop(void);

#endif
