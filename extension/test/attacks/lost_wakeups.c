/*
 * lost_wakeups.c
 *		Hostile transactions enqueue; workers with the poll switched off must run
 *		every committed workflow, and none twice.
 *
 *	lost_wakeups COUNT		goes on until so many were committed
 *
 * The enqueuers stop for a moment after every few transactions, and the queue
 * must run dry then: a lost wake-up cannot be rescued by the next enqueue.
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENQUEUERS 8
#define WORKERS 4

static pthread_barrier_t gate;
static volatile bool stopping;
static long committed[ENQUEUERS];
static long completed[WORKERS];
static Worker workers[WORKERS];

/* Runnable by different workers, so that one's wake-up cannot stand for another's. */
static const char *const names[] = {"a", "b", "c"};

static const char setup[] =
"CREATE TABLE app (workflow text);"
"CREATE FUNCTION enqueue_later() RETURNS trigger LANGUAGE plpgsql AS"
" $$ BEGIN PERFORM pawl.enqueue_workflow(NEW.workflow); RETURN NULL; END $$;"
"CREATE CONSTRAINT TRIGGER later AFTER INSERT ON app DEFERRABLE INITIALLY DEFERRED"
" FOR EACH ROW EXECUTE FUNCTION enqueue_later();"
"CREATE TABLE app_change (id bigint);"
"CREATE TRIGGER change AFTER INSERT ON app_change FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('b', 'queue=side');"
"SELECT pawl.create_queue('side')";

static void *
enqueuer(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 7919 * me + 17;
	PGconn	   *session = open_session("enqueuer");
	char		sql[2000];

	for (;;)
	{
		pthread_barrier_wait(&gate);
		if (stopping)
			break;
		for (int left = 1 + random_below(&seed, 3); left > 0; left--)
		{
			const char *name = names[random_below(&seed, 3)];
			const char *queue = random_below(&seed, 3) ? "default" : "side";
			int			some = 1 + random_below(&seed, 30);
			char		one[200];
			long		good = 0;

			char		partition[20] = "NULL";

			if (random_below(&seed, 6) == 0)
				snprintf(partition, sizeof partition, "'tenant %d'", random_below(&seed, 5));
			snprintf(one, sizeof one, "SELECT pawl.enqueue_workflow('%s', queue => '%s', priority => %d, partition_key => %s)",
					 name, queue, random_below(&seed, 5) ? 0 : (int) random_below(&seed, 3) - 1, partition);
			switch (random_below(&seed, 13))
			{
				case 0:
				case 1:			/* plain */
					run(session, one);
					good = 1;
					break;
				case 2:			/* an aborted savepoint between two kept ones */
					run(session, "BEGIN");
					run(session, one);
					run(session, "SAVEPOINT s");
					run(session, one);
					run(session, "ROLLBACK TO s");
					run(session, one);
					run(session, "COMMIT");
					good = 2;
					break;
				case 3:			/* only in a released savepoint */
					run(session, "BEGIN; SAVEPOINT s");
					run(session, one);
					run(session, "RELEASE s");
					run(session, "COMMIT");
					good = 1;
					break;
				case 4:			/* nothing at all */
					run(session, "BEGIN");
					run(session, one);
					run(session, "ROLLBACK");
					break;
				case 5:			/* a late commit */
					run(session, "BEGIN");
					run(session, one);
					sleep_us(random_below(&seed, 20000));
					run(session, "COMMIT");
					good = 1;
					break;
				case 6:			/* at commit, by a deferred trigger */
					snprintf(sql, sizeof sql, "INSERT INTO app VALUES ('%s')", name);
					run(session, sql);
					good = 1;
					break;
				case 7:			/* the same, late, with another after it */
					run(session, "BEGIN");
					snprintf(sql, sizeof sql, "INSERT INTO app VALUES ('%s')", name);
					run(session, sql);
					sleep_us(random_below(&seed, 3000));
					run(session, one);
					run(session, "COMMIT");
					good = 2;
					break;
				case 8:			/* an error caught in PL/pgSQL after one, then another */
					snprintf(sql, sizeof sql, "DO $$ BEGIN BEGIN PERFORM pawl.enqueue_workflow('%s'); PERFORM 1 / 0;"
							 " EXCEPTION WHEN division_by_zero THEN NULL; END; PERFORM pawl.enqueue_workflow('%s'); END $$",
							 name, names[random_below(&seed, 3)]);
					run(session, sql);
					good = 1;
					break;
				case 9:			/* many in one statement */
					snprintf(sql, sizeof sql,
							 "SELECT count(*) FROM pawl.enqueue_workflows('%s', array_fill('{}'::jsonb, ARRAY[%d]), queue => '%s')",
							 name, some, queue);
					run(session, sql);
					good = some;
					break;
				case 10:		/* a row trigger */
					snprintf(sql, sizeof sql, "INSERT INTO app_change SELECT generate_series(1, %d)", some);
					run(session, sql);
					good = some;
					break;
				case 11:		/* a short delay */
					snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('%s', delay => interval '%d ms')",
							 name, random_below(&seed, 10) ? 0 : (int) random_below(&seed, 300));
					run(session, sql);
					good = 1;
					break;
				case 12:		/* more names in one transaction than the marks hold, the runnable one last */
					if (random_below(&seed, 8))
						run(session, one);
					else
					{
						run(session, "BEGIN; SELECT pawl.enqueue_workflow('nobody runs ' || i) FROM generate_series(1, 80) i");
						run(session, one);
						run(session, "COMMIT");
					}
					good = 1;
					break;
			}
			committed[me] += good;
		}
		pthread_barrier_wait(&gate);
	}
	return NULL;
}

static void *
worker(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 271 * me + 9;
	Worker	   *self = &workers[me];

	while (!stopping)
	{
		Claim		claim;
		long		timeout;

		if (random_below(&seed, 40) == 0)
		{
			/* Undone: whoever was woken meanwhile may have found it locked. */
			run(self->protocol, "BEGIN");
			worker_claim(self, 20, &claim);
			run(self->protocol, "ROLLBACK");
		}
		worker_claim(self, 20, &claim);
		if (claim.count == 0)
		{
			if (!worker_arm(self, &timeout))
				continue;
			worker_claim(self, 20, &claim);
			if (claim.count == 0)
			{
				worker_wait(self, timeout, NULL);
				continue;
			}
		}
		if (worker_complete(self, &claim) != 0)
			give_up("a completion was refused");
		completed[me] += claim.count;
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	long		wanted = argc > 1 ? atol(argv[1]) : 2000;
	PGconn	   *session = open_session("attack");
	pthread_t	thread;
	long		total = 0;
	long		rounds = 0;
	double		longest = 0;
	static const char left[] = "SELECT count(*) FROM pawl.workflow WHERE workflow_name IN ('a', 'b', 'c')";

	run(session, setup);
	worker_open(&workers[0], "{a}", NULL);
	worker_open(&workers[1], "{b,c}", "{default}");
	worker_open(&workers[2], "{a,b,c}", "{side}");
	worker_open(&workers[3], "{c,b}", NULL);
	heartbeats_start(workers, WORKERS);
	for (long i = 0; i < WORKERS; i++)
	{
		run(workers[i].protocol, "SET pawl.poll_interval = 0");
		pthread_create(&thread, NULL, worker, (void *) i);
	}
	pthread_barrier_init(&gate, NULL, ENQUEUERS + 1);
	for (long i = 0; i < ENQUEUERS; i++)
		pthread_create(&thread, NULL, enqueuer, (void *) i);

	while (total < wanted)
	{
		double		from;

		pthread_barrier_wait(&gate);	/* go */
		pthread_barrier_wait(&gate);	/* all have committed */
		from = now();
		rounds++;
		total = 0;
		for (int i = 0; i < ENQUEUERS; i++)
			total += committed[i];
		if (!becomes(session, left, 0, 20))
		{
			char	   *which = ask_text(session, "SELECT string_agg(concat_ws(' ', workflow_key, workflow_name, queue_id, status, ready_key, rank, due_at), '; ')"
										 " FROM (SELECT * FROM pawl.workflow WHERE workflow_name IN ('a', 'b', 'c') LIMIT 5) w");

			give_up("after %ld enqueues, in round %ld, %ld were left with all workers asleep: %s", total, rounds, ask(session, left), which);
		}
		if (now() - from > longest)
			longest = now() - from;
	}
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow_history", total, 0))
		give_up("%ld were committed, but %ld ended", total, ask(session, "SELECT count(*) FROM pawl.workflow_history"));
	succeed("%ld enqueues in %ld rounds with the poll off: none lost, none twice; the longest round ran dry after %.0f ms",
			total, rounds, longest * 1e3);
}
