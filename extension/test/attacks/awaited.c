/*
 * awaited.c
 *		Sessions wait for the ends of workflows, with the poll off, while others
 *		complete them, cancel them before they start, let them crash too often,
 *		and roll some of it back. Each end must wake everybody who waits for it,
 *		whenever he began to.
 *
 *	awaited WORKFLOWS
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITERS 6

static long workflows;
static pthread_barrier_t gate;
static Worker worker;
static int	slowest_us;

static void *
waiter(void *argument)
{
	unsigned	seed = 13 * (long) argument + 7;
	PGconn	   *session = open_session("waiter");

	run(session, "SET pawl.poll_interval = 0");
	for (long i = 0; i < workflows; i++)
	{
		char		sql[200];
		char	   *status;
		double		begin;

		pthread_barrier_wait(&gate);
		begin = now();
		sleep_us(random_below(&seed, 3000));
		snprintf(sql, sizeof sql, "CALL pawl.wait_for_workflow('awaited-%ld', '10 s')", i);
		status = ask_text(session, sql);
		if (strcmp(status, "succeeded") != 0 && strcmp(status, "cancelled") != 0 && strcmp(status, "failed") != 0)
			give_up("workflow %ld has ended, and who waited for it was told %s", i, status);
		/* Whom nobody wakes looks at the end of his time. */
		if (now() - begin > 9)
			give_up("workflow %ld %s, and who waited for it was not woken", i, status);
		free(status);
		if ((now() - begin) * 1e6 > slowest_us)
			slowest_us = (now() - begin) * 1e6;
		pthread_barrier_wait(&gate);
	}
	PQfinish(session);
	return NULL;
}

/* Ends each workflow in one of the ways there are, at a random moment. */
static void
end_one(PGconn *session, long number, unsigned *seed)
{
	char		sql[1000];
	bool		back = random_below(seed, 4) == 0;

	sleep_us(random_below(seed, 3000));
	if (back)
		run(session, "BEGIN; SAVEPOINT s");
	for (;;)
	{
		switch (number % 3)
		{
			case 0:
				snprintf(sql, sizeof sql, "SELECT count(*) FROM pawl.claim_workflows('%s', 10, '{a}', '{1}') c, pawl.complete_workflows('%s',"
						 " ARRAY[c.workflow_key], ARRAY[c.epoch], '{succeeded}', '{NULL}', '{1}', '{NULL}') r", worker.id, worker.id);
				break;
			case 1:
				snprintf(sql, sizeof sql, "SELECT pawl.cancel_workflow('awaited-%ld')", number);
				break;
			default:
				/* It was there at so many crashes that one more ends it. */
				snprintf(sql, sizeof sql, "UPDATE pawl.workflow SET crashes = 9, probation = true, claimed_by = '%s', status = 'running', ready_key = NULL"
						 " WHERE workflow_id = 'awaited-%ld'; SELECT pawl.hand_back(array_agg(workflow_key), array_agg(claimed_by), array_agg(epoch),"
						 " '{true}') FROM pawl.workflow WHERE workflow_id = 'awaited-%ld'", worker.id, number, number);
		}
		run(session, sql);
		if (!back)
			return;
		run(session, random_below(seed, 2) == 0 ? "ROLLBACK TO s; COMMIT" : "ROLLBACK");
		back = false;
		sleep_us(random_below(seed, 1000));
	}
}

int
main(int argc, char **argv)
{
	PGconn	   *session = open_session("attack");
	pthread_t	waiters[WAITERS];
	unsigned	seed = 1;

	workflows = argc > 1 ? atol(argv[1]) : 200;
	worker_open(&worker, "{a}", NULL);
	heartbeats_start(&worker, 1);
	pthread_barrier_init(&gate, NULL, WAITERS + 1);
	for (long i = 0; i < WAITERS; i++)
		pthread_create(&waiters[i], NULL, waiter, (void *) i);
	for (long i = 0; i < workflows; i++)
	{
		char		sql[200];

		snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('a', workflow_id => 'awaited-%ld')", i);
		run(session, sql);
		pthread_barrier_wait(&gate);
		end_one(session, i, &seed);
		pthread_barrier_wait(&gate);
	}
	for (int i = 0; i < WAITERS; i++)
		pthread_join(waiters[i], NULL);
	/* While it waits it has no snapshot. */
	run(session, "SELECT pawl.enqueue_workflow('a', workflow_id => 'last')");
	{
		PGconn	   *last = open_session("last");

		if (PQsendQuery(last, "CALL pawl.wait_for_workflow('last', '20 s')") != 1)
			give_up("%s", PQerrorMessage(last));
		if (!becomes(session, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'last' AND wait_event = 'Extension'"
					 " AND backend_xmin IS NULL AND backend_xid IS NULL", 1, 10))
			give_up("it holds a snapshot while it waits");
		/* One that goes away leaves its place. */
		PQfinish(last);
	}
	run(session, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'last'");
	succeed("%ld ends, each awaited by %d sessions with the poll off: the slowest answer took %d ms", workflows, WAITERS, slowest_us / 1000);
}
