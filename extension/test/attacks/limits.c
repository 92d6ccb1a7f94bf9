/*
 * limits.c
 *		Workers of queues with every kind of limit, killed at any moment and never
 *		polling, beside one that alters the limits of a queue and pauses it. Every
 *		snapshot of what runs, and the record of what started, keeps the limits; and
 *		in the end everything has run.
 *
 *	limits SECONDS
 */
#include "attack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4
#define PARTITIONS 30

/* Each row: queue, what it is to exceed never, and what of it a snapshot shows. */
static const struct
{
	const char *what;
	long		most;
	const char *now;
}			promises[] = {
	{"running in a queue of 3", 3, "SELECT count(*) FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = 'three' AND w.claimed_by IS NOT NULL"},
	{"running in a queue of 5 that also has a rate", 5, "SELECT count(*) FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = 'both' AND w.claimed_by IS NOT NULL"},
	{"running of one partition", 1, "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM pawl.workflow w JOIN pawl.queue q USING (queue_id)"
	 " WHERE q.queue_name = 'parts' AND w.claimed_by IS NOT NULL GROUP BY w.partition_key) x"},
	{"running in one worker", 2, "SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM pawl.workflow w JOIN pawl.queue q USING (queue_id)"
	 " WHERE q.queue_name = 'each' AND w.claimed_by IS NOT NULL GROUP BY w.claimed_by) x"},
	{"permits held where parked ones keep them", 3, "SELECT count(*) FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = 'held'"
	 " AND (w.claimed_by IS NOT NULL OR w.status = 'waiting' OR w.running_in IS NOT NULL)"},
	{"running in a queue that is altered between 0 and 4", 4, "SELECT count(*) FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = 'changing' AND w.claimed_by IS NOT NULL"},
};

#define PROMISES (int) (sizeof promises / sizeof promises[0])

static volatile bool enqueueing = true;
static long enqueued;
static long suspected;

/* One of those that were there at two crashes in a row. */
static void
claim_alone(Worker *self, Claim *claim)
{
	char		sql[700];
	char	   *text;

	snprintf(sql, sizeof sql, "SELECT coalesce(min(workflow_key || ' ' || epoch), '') FROM pawl.claim_workflows('%s', 1, '%s', '%s', NULL, true)", self->id,
			 self->names, self->versions);
	text = ask_text(self->protocol, sql);
	claim->count = sscanf(text, "%ld %d", &claim->keys[0], &claim->epochs[0]) == 2;
	free(text);
}

/* A worker process, until it is killed. */
static void
work(unsigned seed)
{
	static Worker self[1];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker_open(&self[0], seed % 2 == 0 ? "{a}" : "{a,b}", NULL);
	run(self->protocol, "SET pawl.poll_interval = 0");
	heartbeats_start(self, 1);
	for (bool woken = true;;)
	{
		Claim		claim = {0};
		Claim		part = {0};
		long		timeout = 0;

		if (woken && random_below(&seed, 8) == 0)
			claim_alone(self, &claim);
		/* After a wait that ran out this arms the session too. */
		if (claim.count == 0)
			worker_claim(self, 1 + random_below(&seed, 20), &claim);
		if (claim.count == 0 && woken)
		{
			if (!worker_arm(self, &timeout))
				give_up("arming failed: %s", PQerrorMessage(self->protocol));
			worker_claim(self, 20, &claim);
		}
		if (claim.count == 0)
		{
			if (!worker_wait(self, woken ? timeout : AS_FOUND, &woken))
				give_up("waiting failed: %s", PQerrorMessage(self->protocol));
			continue;
		}
		woken = true;
		sleep_us(random_below(&seed, 8000));
		/* Some are handed back, some park for a moment; a worker that has ended is refused. */
		for (int i = 0; i < claim.count; i++)
			if (random_below(&seed, 10) == 0)
			{
				char		sql[1200];

				part.count = 1;
				part.keys[0] = claim.keys[i];
				part.epochs[0] = claim.epochs[i];
				if (random_below(&seed, 2) == 0)
					(void) worker_release(self, &part);
				else
				{
					snprintf(sql, sizeof sql, "INSERT INTO pawl.workflow_step (workflow_key, step_name, step_number, kind, status, epoch, due_at, arguments)"
							 " VALUES (%ld, 'sleep', 1, 'sleep', 'waiting', %d, now() + interval '5 ms', '{}') ON CONFLICT (workflow_key, step_name)"
							 " DO UPDATE SET epoch = excluded.epoch, due_at = excluded.due_at;"
							 " SELECT FROM pawl.park_workflows('%s', '{%ld}', '{%d}', '{a sleep}')", part.keys[0], part.epochs[0], self->id, part.keys[0], part.epochs[0]);
					run(self->protocol, sql);
				}
			}
		(void) worker_complete(self, &claim);
	}
}

static pid_t
start(unsigned seed)
{
	pid_t		pid = fork();

	if (pid == 0)
		work(seed);
	return pid;
}

static void *
enqueuer(void *unused)
{
	PGconn	   *session = open_session("enqueuer");
	unsigned	seed = 99;

	(void) unused;
	while (enqueueing)
	{
		char		sql[400];
		static const char *const queues[] = {"three", "rate", "both", "parts", "each", "held", "changing", "default"};
		const char *queue = queues[random_below(&seed, 8)];
		int			some = 1 + random_below(&seed, 4);

		/* What has a rate limit is not to take long in the end. */
		if ((strcmp(queue, "rate") == 0 || strcmp(queue, "both") == 0)
			&& ask(session, "SELECT count(*) FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE q.rate_limit IS NOT NULL") > 100)
			continue;
		if (ask(session, "SELECT count(*) FROM pawl.workflow") > 2000)
			sleep_us(20000);
		/* Some of those with a rate are copies, and some are in partitions whose head not everybody can run. */
		if (strcmp(queue, "rate") == 0 && random_below(&seed, 4) == 0)
			snprintf(sql, sizeof sql, "SELECT pawl.fork_workflow(h.workflow_id) FROM (SELECT h.workflow_id FROM pawl.workflow_history h JOIN pawl.queue q USING (queue_id)"
					 " WHERE q.queue_name = 'rate' LIMIT %d) h", some);
		else if (strcmp(queue, "parts") == 0 || (strcmp(queue, "rate") == 0 && random_below(&seed, 2) == 0))
			snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('%c', queue => '%s', partition_key => 'p' || %u) FROM generate_series(1, %d)",
					 random_below(&seed, 3) == 0 ? 'b' : 'a', queue, random_below(&seed, PARTITIONS), some);
		else
			snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('a', queue => '%s', priority => %u) FROM generate_series(1, %d)", queue,
					 random_below(&seed, 3), some);
		run(session, sql);
		enqueued += some;
		if (random_below(&seed, 20) == 0)
			suspected += ask(session, "WITH one AS (UPDATE pawl.workflow SET crashes = 2, rank = rank & ~1::bigint WHERE workflow_key = (SELECT w.workflow_key FROM pawl.workflow w"
							 " JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = 'parts' AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL AND w.crashes = 0"
							 " LIMIT 1 FOR UPDATE OF w SKIP LOCKED) RETURNING 1) SELECT count(*) FROM one");
		sleep_us(random_below(&seed, 3000));
	}
	PQfinish(session);
	return NULL;
}

/* Changes a queue under everybody's hands. Whatever it is, four is the most it ever allows. */
static void *
operator(void *unused)
{
	PGconn	   *session = open_session("operator");
	unsigned	seed = 5;

	(void) unused;
	while (enqueueing)
	{
		char		sql[200];

		switch (random_below(&seed, 4))
		{
			case 0:
				run(session, "SELECT pawl.pause_queue('changing')");
				sleep_us(random_below(&seed, 30000));
				run(session, "SELECT pawl.resume_queue('changing')");
				break;
			case 1:
				run(session, "SELECT pawl.alter_queue('changing', concurrency => 4, rate_limit => 40, rate_period => '1 second')");
				break;
			case 2:
				run(session, "SELECT pawl.alter_queue('changing', rate_limit => -1)");
				break;
			default:
				snprintf(sql, sizeof sql, "SELECT pawl.alter_queue('changing', concurrency => %u, worker_concurrency => %u)", random_below(&seed, 5),
						 1 + random_below(&seed, 4));
				run(session, sql);
		}
		sleep_us(random_below(&seed, 60000));
	}
	run(session, "SELECT pawl.alter_queue('changing', concurrency => 4, worker_concurrency => -1)");
	PQfinish(session);
	return NULL;
}

static long
most_in_a_second(PGconn *session, const char *queue)
{
	char		sql[700];

	snprintf(sql, sizeof sql,
			 "SELECT coalesce(max(n), 0) FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN CURRENT ROW AND interval '999.999 ms' FOLLOWING) AS n"
			 " FROM (SELECT h.started_at AS at FROM pawl.workflow_history h JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = '%s'"
			 " UNION ALL SELECT w.started_at FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = '%s'"
			 " AND w.started_at IS NOT NULL) s) x", queue, queue);
	return ask(session, sql);
}

int
main(int argc, char **argv)
{
	double		seconds = argc > 1 ? atof(argv[1]) : 5;
	PGconn	   *session;
	pthread_t	feeder;
	pthread_t	changer;
	pid_t		workers[WORKERS];
	unsigned	seed = 11;
	long		kills = 0;
	long		snapshots = 0;
	long		seen[PROMISES] = {0};
	double		end;
	double		next_kill;

	session = open_session("attack");
	run(session, "SELECT pawl.create_queue('three', concurrency => 3), pawl.create_queue('rate', rate_limit => 50, rate_period => '1 second'),"
		" pawl.create_queue('both', concurrency => 5, rate_limit => 20, rate_period => '1 second'), pawl.create_queue('parts', partition_concurrency => 1),"
		" pawl.create_queue('each', worker_concurrency => 2), pawl.create_queue('held', concurrency => 3, hold_while_waiting => true),"
		" pawl.create_queue('changing', concurrency => 2)");
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start(i + 1);
	pthread_create(&feeder, NULL, enqueuer, NULL);
	pthread_create(&changer, NULL, operator, NULL);
	end = now() + seconds;
	next_kill = now() + 0.5;
	while (now() < end)
	{
		for (int i = 0; i < PROMISES; i++)
		{
			long		n = ask(session, promises[i].now);

			if (n > promises[i].most)
				give_up("%ld %s after %ld snapshots and %ld kills", n, promises[i].what, snapshots, kills);
			seen[i] = n > seen[i] ? n : seen[i];
		}
		snapshots++;
		if (now() > next_kill)
		{
			int			victim = random_below(&seed, WORKERS);

			kill(workers[victim], SIGKILL);
			if (waitpid(workers[victim], NULL, 0) != workers[victim])
				give_up("a worker is gone");
			workers[victim] = start(100 + kills++);
			next_kill = now() + random_below(&seed, 1000) / 1000.0;
		}
	}
	enqueueing = false;
	pthread_join(feeder, NULL);
	pthread_join(changer, NULL);
	/* What was there at two crashes in a row waits for a claim of it alone, which nobody makes who has nothing else to do here. */
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow WHERE crashes < 2", 0, 60))
		give_up("%ld of %ld workflows were left behind: %s", ask(session, "SELECT count(*) FROM pawl.workflow WHERE crashes < 2"), enqueued,
				ask_text(session, "SELECT string_agg(queue || ' ' || status || ' ' || n, ', ') FROM"
						 " (SELECT queue, status, count(*) AS n FROM pawl.workflows WHERE completed_at IS NULL GROUP BY 1, 2) x"));
	for (int i = 0; i < WORKERS; i++)
	{
		kill(workers[i], SIGKILL);
		(void) waitpid(workers[i], NULL, 0);
	}
	if (most_in_a_second(session, "rate") > 50 || most_in_a_second(session, "both") > 20)
		give_up("%ld and %ld started within a second, of 50 and 20", most_in_a_second(session, "rate"), most_in_a_second(session, "both"));
	if (ask(session, "SELECT count(*) FROM pawl.workflow") >= suspected)
		give_up("none of %ld was claimed alone: that proves nothing", suspected);
	for (int i = 0; i < PROMISES - 1; i++)
		if (seen[i] < promises[i].most)
			give_up("no snapshot had more than %ld %s: that proves nothing", seen[i], promises[i].what);
	if (ask(session, "SELECT rescued_by_reset + rescued_by_poll FROM pawl.wakeup_statistics()") != 0)
		give_up("a net caught something: %s by the reset of marks, %s by the poll", ask_text(session, "SELECT rescued_by_reset FROM pawl.wakeup_statistics()"),
				ask_text(session, "SELECT rescued_by_poll FROM pawl.wakeup_statistics()"));
	succeed("%ld workflows, %ld kills, %ld snapshots: never above a limit; at most %ld of 50 and %ld of 20 starts in a second", enqueued, kills,
			snapshots, most_in_a_second(session, "rate"), most_in_a_second(session, "both"));
}
