/*
 * stranded.c
 *		Attacks the mark behind which a claim does not look: late committers, keys
 *		below the mark, claims that abort, entries handed back, prepared
 *		transactions, several priorities, entries that nobody here can run.
 *
 *	stranded SECONDS
 *
 * Claimers look all the time. What is still there long after the load has
 * stopped, yet before the net of 60 s can have rescued it, was stranded.
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENQUEUERS 16
#define WORKERS 4

static volatile bool enqueuing = true;
static volatile bool claiming = true;
static long committed[ENQUEUERS];
static long aborted[WORKERS];
static long released[WORKERS];
static Worker workers[WORKERS];

static void *
enqueuer(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 104729 * me + 3;
	PGconn	   *session = open_session("enqueuer");
	char		sql[500];
	long		transactions = 0;

	while (enqueuing)
	{
		int			some = 1 + random_below(&seed, 5);
		unsigned	dice = random_below(&seed, 100);
		long		late = dice < 60 ? 0 : dice < 90 ? random_below(&seed, 20000) :
			dice < 99 ? random_below(&seed, 200000) : 500000 + random_below(&seed, 2500000);

		run(session, "BEGIN");
		snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('a', priority => %d) FROM generate_series(1, %d)",
				 random_below(&seed, 10) ? 0 : (int) random_below(&seed, 3) - 1, some);
		run(session, sql);
		if (random_below(&seed, 20) == 0)
			run(session, "SELECT pawl.enqueue_workflow('nobody runs this')");
		sleep_us(late);
		switch (random_below(&seed, 20))
		{
			case 0:
			case 1:
				run(session, "ROLLBACK");
				break;
			case 2:
				snprintf(sql, sizeof sql, "PREPARE TRANSACTION 'p%ld_%ld'", me, transactions);
				run(session, sql);
				sleep_us(random_below(&seed, 100000));
				snprintf(sql, sizeof sql, "COMMIT PREPARED 'p%ld_%ld'", me, transactions);
				run(session, sql);
				committed[me] += some;
				break;
			default:
				run(session, "COMMIT");
				committed[me] += some;
		}
		transactions++;
		sleep_us(random_below(&seed, 3000));
	}
	return NULL;
}

static void *
claimer(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 611953 * me + 5;
	Worker	   *self = &workers[me];
	Claim		claim;

	while (claiming)
	{
		bool		abort_it = random_below(&seed, 20) == 0;

		if (abort_it)
			run(self->protocol, "BEGIN");
		worker_claim(self, 10, &claim);
		if (abort_it)
		{
			sleep_us(random_below(&seed, 5000));
			run(self->protocol, "ROLLBACK");
			aborted[me] += claim.count;
			continue;
		}
		if (claim.count == 0)
			sleep_us(300);
		else if (random_below(&seed, 30) == 0)
		{
			if (worker_release(self, &claim) != 0)
				give_up("a hand-back was refused");
			released[me] += claim.count;
		}
		else if (worker_complete(self, &claim) != 0)
			give_up("a completion was refused");
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	double		seconds = argc > 1 ? atof(argv[1]) : 5;
	PGconn	   *session = open_session("attack");
	pthread_t	enqueuers[ENQUEUERS];
	pthread_t	thread;
	long		total = 0;
	long		undone = 0;
	long		back = 0;
	double		from;
	static const char left[] = "SELECT count(*) FROM pawl.workflow WHERE workflow_name = 'a'";

	for (long i = 0; i < WORKERS; i++)
		worker_open(&workers[i], "{a}", NULL);
	heartbeats_start(workers, WORKERS);
	for (long i = 0; i < WORKERS; i++)
		pthread_create(&thread, NULL, claimer, (void *) i);
	for (long i = 0; i < ENQUEUERS; i++)
		pthread_create(&enqueuers[i], NULL, enqueuer, (void *) i);
	sleep_us((long) (seconds * 1e6));
	enqueuing = false;
	for (int i = 0; i < ENQUEUERS; i++)
		pthread_join(enqueuers[i], NULL);
	from = now();
	if (!becomes(session, left, 0, 25))
	{
		char	   *which = ask_text(session, "SELECT string_agg(concat_ws(' ', workflow_key, status, ready_key, rank, epoch, claimed_by), '; ')"
									 " FROM (SELECT * FROM pawl.workflow WHERE workflow_name = 'a' ORDER BY workflow_key LIMIT 10) w");

		give_up("%ld entries stranded, the newest key is %ld: %s", ask(session, left), ask(session, "SELECT last_value FROM pawl.key_seq"), which);
	}
	from = now() - from;
	claiming = false;
	for (int i = 0; i < ENQUEUERS; i++)
		total += committed[i];
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow_history", total, 5))
		give_up("%ld were committed, but %ld ended", total, ask(session, "SELECT count(*) FROM pawl.workflow_history"));
	for (int i = 0; i < WORKERS; i++)
	{
		undone += aborted[i];
		back += released[i];
	}
	succeed("%ld enqueued, %ld claims undone, %ld handed back, 0 stranded; dry %.0f ms after the last commit", total, undone, back, from * 1e3);
}
