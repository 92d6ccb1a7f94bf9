/*
 * same_id.c
 *		Many sessions enqueue the same ids at all isolation levels, their
 *		snapshots older than the others' commits, while a worker ends the
 *		workflows. Each id must exist once, and nobody but a SERIALIZABLE
 *		caller may get an error.
 *
 *	same_id IDS
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENQUEUERS 8

static volatile bool working = true;
static long ids;
static pthread_barrier_t gate;
static long serialization_failures;
static Worker worker;

static void *
enqueuer(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 17 * me + 3;
	PGconn	   *session = open_session("enqueuer");
	static const char *const levels[] = {"READ COMMITTED", "REPEATABLE READ", "REPEATABLE READ", "SERIALIZABLE"};

	for (long id = 0; id < ids; id++)
	{
		const char *level = levels[random_below(&seed, 4)];
		char		sql[300];
		char		state[6];
		bool		rolls_back = random_below(&seed, 8) == 0;

		snprintf(sql, sizeof sql, "BEGIN ISOLATION LEVEL %s; SELECT 1", level);
		run(session, sql);
		pthread_barrier_wait(&gate);
		sleep_us(random_below(&seed, 500));
		snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('a', workflow_id => 'same-%ld')", id);
		attempt(session, sql, state);
		if (state[0] == '\0')
		{
			if (random_below(&seed, 4) == 0)
				sleep_us(random_below(&seed, 2000));
			attempt(session, rolls_back ? "ROLLBACK" : "COMMIT", state);
		}
		if (state[0] != '\0')
		{
			if (strcmp(level, "SERIALIZABLE") != 0 || strcmp(state, "40001") != 0)
				give_up("%s at %s, id %ld", state, level, id);
			__sync_add_and_fetch(&serialization_failures, 1);
			attempt(session, "ROLLBACK", state);
		}
		/* Until everybody is done with this id, and one of them surely committed it. */
		pthread_barrier_wait(&gate);
		if (me == 0)
		{
			char	   *answer = ask_text(session, sql);

			if (strncmp(answer, "same-", 5) != 0)
				give_up("enqueue_workflow answered %s", answer);
			free(answer);
		}
		pthread_barrier_wait(&gate);
	}
	return NULL;
}

static void *
ender(void *unused)
{
	Claim		claim;

	(void) unused;
	while (working)
	{
		worker_claim(&worker, 10, &claim);
		if (claim.count == 0)
			sleep_us(200);
		else if (worker_complete(&worker, &claim) != 0)
			give_up("a completion was refused");
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	PGconn	   *session = open_session("attack");
	pthread_t	enqueuers[ENQUEUERS];
	pthread_t	thread;
	char		sql[200];

	ids = argc > 1 ? atol(argv[1]) : 200;
	worker_open(&worker, "{a}", NULL);
	heartbeats_start(&worker, 1);
	pthread_create(&thread, NULL, ender, NULL);
	pthread_barrier_init(&gate, NULL, ENQUEUERS);
	for (long i = 0; i < ENQUEUERS; i++)
		pthread_create(&enqueuers[i], NULL, enqueuer, (void *) i);
	for (int i = 0; i < ENQUEUERS; i++)
		pthread_join(enqueuers[i], NULL);
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow", 0, 20))
		give_up("the worker did not end them all");
	working = false;
	snprintf(sql, sizeof sql, "SELECT count(*) FROM pawl.workflow_history WHERE workflow_id LIKE 'same-%%'");
	if (ask(session, sql) != ids)
		give_up("%ld ids, but %ld workflows", ids, ask(session, sql));
	if (ask(session, "SELECT count(DISTINCT workflow_id) FROM pawl.workflow_history") != ids)
		give_up("an id is there twice");
	succeed("%ld ids by %d sessions each at mixed isolation levels: one workflow each, %ld serialization failures, all of SERIALIZABLE",
			ids, ENQUEUERS, serialization_failures);
}
