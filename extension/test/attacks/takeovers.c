/*
 * takeovers.c
 *		Workers of older versions come, begin workflows, hand them back, and end, in
 *		order or not. One worker of a newer version stays, and never polls: what they
 *		leave behind is its to take over, also where it had passed it by or was just
 *		about to wait.
 *
 *	takeovers SECONDS
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDER 3
#define NEWEST 4

static volatile bool enqueueing = true;
static volatile bool older_ones = true;
static Worker newest[1];
static long enqueued;
static long lives[OLDER];
static long begun[OLDER];
static long inherited;

static void *
enqueuer(void *unused)
{
	PGconn	   *session = open_session("enqueuer");
	unsigned	seed = 77;

	(void) unused;
	while (enqueueing)
	{
		int			some = 1 + random_below(&seed, 10);
		char		sql[200];

		snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('a') FROM generate_series(1, %d)", some);
		run(session, sql);
		enqueued += some;
		sleep_us(random_below(&seed, 4000));
	}
	PQfinish(session);
	return NULL;
}

static void *
older(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 4099 * me + 3;
	PGconn	   *session = open_session("undertaker");

	while (older_ones)
	{
		Worker		self;
		Claim		claim;
		char		sql[300];

		worker_open_version(&self, "{a}", NULL, 1 + random_below(&seed, NEWEST - 1));
		for (int i = random_below(&seed, 4); i >= 0; i--)
		{
			worker_claim(&self, 10, &claim);
			begun[me] += claim.count;
			/* Its own version again, until somebody ends it. */
			if (worker_release(&self, &claim) != 0)
				give_up("a hand-back was refused");
		}
		if (random_below(&seed, 5) == 0)
			snprintf(sql, sizeof sql, "UPDATE pawl.worker SET heartbeat_at = now() - interval '1 minute' WHERE worker_id = '%s'", self.id);
		else
			snprintf(sql, sizeof sql, "SELECT pawl.unregister_worker('%s')", self.id);
		run(session, sql);
		worker_close(&self);
		lives[me]++;
		sleep_us(random_below(&seed, 20000));
	}
	PQfinish(session);
	return NULL;
}

static void *
newer(void *unused)
{
	Worker	   *self = &newest[0];

	(void) unused;
	run(self->protocol, "SET pawl.poll_interval = 0");
	for (;;)
	{
		Claim		claim;
		long		timeout;
		bool		woken;

		worker_claim(self, 3, &claim);
		if (claim.count == 0)
		{
			if (!worker_arm(self, &timeout))
				give_up("arming failed: %s", PQerrorMessage(self->protocol));
			worker_claim(self, 3, &claim);
			if (claim.count == 0)
			{
				if (!worker_wait(self, -1, &woken))
					give_up("waiting failed: %s", PQerrorMessage(self->protocol));
				continue;
			}
		}
		for (int i = 0; i < claim.count; i++)
			inherited += claim.replay[i];
		if (worker_complete(self, &claim) != 0)
			give_up("a completion was refused");
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	double		seconds = argc > 1 ? atof(argv[1]) : 5;
	PGconn	   *session = open_session("attack");
	pthread_t	thread;
	pthread_t	feeder;
	pthread_t	others[OLDER];
	long		all_lives = 0;
	long		all_begun = 0;
	double		until;

	worker_open_version(&newest[0], "{a}", NULL, NEWEST);
	heartbeats_start(newest, 1);
	pthread_create(&thread, NULL, newer, NULL);
	pthread_create(&feeder, NULL, enqueuer, NULL);
	for (long i = 0; i < OLDER; i++)
		pthread_create(&others[i], NULL, older, (void *) i);
	for (until = now() + seconds; now() < until;)
		sleep_us(100000);
	enqueueing = false;
	pthread_join(feeder, NULL);
	older_ones = false;
	for (int i = 0; i < OLDER; i++)
	{
		pthread_join(others[i], NULL);
		all_lives += lives[i];
		all_begun += begun[i];
	}
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow", 0, 30))
		give_up("%ld of %ld workflows were left behind, on versions %s; live: %s", ask(session, "SELECT count(*) FROM pawl.workflow"), enqueued,
				ask_text(session, "SELECT string_agg(DISTINCT coalesce(workflow_version::text, 'none'), ' ') FROM pawl.workflow"),
				ask_text(session, "SELECT string_agg(DISTINCT h.workflow_version::text, ' ') FROM pawl.worker w JOIN pawl.worker_handler h"
						 " USING (worker_id) WHERE w.ended_at IS NULL"));
	if (ask(session, "SELECT count(*) FROM pawl.workflow_history WHERE workflow_version <> 4") != 0)
		give_up("a workflow ended on a version that nobody ran it with");
	if (ask(session, "SELECT rescued_by_reset FROM pawl.wakeup_statistics()") != 0)
		give_up("the net under the marks caught something");
	if (inherited == 0)
		give_up("nothing was inherited: that proves nothing");
	succeed("%ld workflows, %ld times begun by %ld workers of older versions, which ended: one that never polls took over %ld of them", enqueued,
			all_begun, all_lives, inherited);
}
