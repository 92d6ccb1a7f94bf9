/*
 * stranded_messages.c
 *		Attacks messages, parking and signals: many senders with random aborts,
 *		workflows that park or stay, two workers that take signals, all polls off.
 *
 *	stranded_messages COUNT		goes on until so many were committed
 *
 * Every committed message must be received, and once; none that was rolled
 * back may be. The senders stop after every few transactions, and then nothing
 * may be left: a signal that was lost cannot be rescued by the next one.
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENDERS 8
#define WORKERS 2
#define WORKFLOWS 60
#define MAX_MESSAGES 400000

typedef enum RunState
{
	AWAY,						/* not this worker's, or parked */
	BUSY,						/* one of its two threads is at it */
	RESIDENT					/* waits for a signal, in memory only */
} RunState;

typedef struct Run
{
	RunState	state;
	bool		signalled;		/* while it was busy */
	long		key;
	int			epoch;
} Run;

typedef struct Side
{
	Worker		worker;
	PGconn	   *signals;		/* takes them */
	PGconn	   *calls;			/* performs for what was signalled */
	pthread_mutex_t mutex;
	Run			runs[WORKFLOWS];
	long		parked;
	long		stayed;
	long		undone;
} Side;

static Side sides[WORKERS];
static pthread_barrier_t gate;
static volatile bool stopping;
static long committed[SENDERS];
static long next_message = 1;
static unsigned char expected[MAX_MESSAGES];
static unsigned char received[MAX_MESSAGES];

static long
new_message(void)
{
	long		number = __atomic_fetch_add(&next_message, 1, __ATOMIC_RELAXED);

	if (number >= MAX_MESSAGES)
		give_up("more than %d messages", MAX_MESSAGES);
	return number;
}

static void *
sender(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 6151 * me + 29;
	PGconn	   *session = open_session("sender");
	char		sql[2000];
	char		one[300];

	for (;;)
	{
		pthread_barrier_wait(&gate);
		if (stopping)
			break;
		for (int left = 1 + random_below(&seed, 4); left > 0; left--)
		{
			long		first = new_message();
			long		second = new_message();
			int			some = 1 + random_below(&seed, 20);

			snprintf(one, sizeof one, "SELECT pawl.send_message('w%d', '%ld')", random_below(&seed, WORKFLOWS), first);
			switch (random_below(&seed, 9))
			{
				case 0:
				case 1:			/* plain */
					run(session, one);
					expected[first]++;
					break;
				case 2:			/* nothing at all */
					run(session, "BEGIN");
					run(session, one);
					run(session, "ROLLBACK");
					break;
				case 3:			/* an aborted savepoint before a kept one */
					run(session, "BEGIN; SAVEPOINT s");
					run(session, one);
					run(session, "ROLLBACK TO s");
					snprintf(one, sizeof one, "SELECT pawl.send_message('w%d', '%ld')", random_below(&seed, WORKFLOWS), second);
					run(session, one);
					run(session, "COMMIT");
					expected[second]++;
					break;
				case 4:			/* a late commit */
					run(session, "BEGIN");
					run(session, one);
					sleep_us(random_below(&seed, 30000));
					run(session, "COMMIT");
					expected[first]++;
					break;
				case 5:			/* the same key again: once */
					snprintf(one, sizeof one, "SELECT pawl.send_message('w%d', '%ld', '', 'key %ld')", random_below(&seed, WORKFLOWS), first, first);
					run(session, one);
					run(session, "BEGIN ISOLATION LEVEL REPEATABLE READ");
					run(session, one);
					run(session, "COMMIT");
					expected[first]++;
					break;
				case 6:			/* an error after it */
					run(session, "BEGIN");
					run(session, one);
					run(session, "SAVEPOINT s");
					{
						char		state[6];

						attempt(session, "SELECT 1 / 0", state);
					}
					run(session, "ROLLBACK TO s");
					run(session, "COMMIT");
					expected[first]++;
					break;
				default:		/* one to many */
					for (int i = 0; i < some; i++)
						expected[first]++;
					snprintf(sql, sizeof sql, "SELECT pawl.send_messages(ARRAY(SELECT 'w' || ((i * 7 + %u) %% %d) FROM generate_series(1, %d) i), '%ld')",
							 random_below(&seed, 1000), WORKFLOWS, some, first);
					run(session, sql);
			}
			committed[me]++;
		}
		pthread_barrier_wait(&gate);
	}
	return NULL;
}

/* One try of the next receive. The number of the message; 0: it waits; -1: the workflow is another's. */
static long
receive(Side *side, PGconn *session, const Run *r)
{
	char		sql[1000];
	char	   *answer;
	long		number;

	snprintf(sql, sizeof sql, "SELECT coalesce(p.refusal, p.status) || ' ' || coalesce(p.output ->> 'value', '')"
			 " FROM (SELECT count(*) + 1 AS number FROM pawl.workflow_step WHERE workflow_key = %ld AND status = 'succeeded') n,"
			 " pawl.perform_calls('%s', ARRAY[%ld], ARRAY[%d], ARRAY['r' || n.number], ARRAY[n.number::integer], '{receive}', '{\"{}\"}', '{NULL}') p",
			 r->key, side->worker.id, r->key, r->epoch);
	answer = ask_text(session, sql);
	if (strncmp(answer, "succeeded ", 10) == 0)
		number = atol(answer + 10);
	else if (strncmp(answer, "waiting", 7) == 0)
		number = 0;
	else if (strncmp(answer, "fenced", 6) == 0)
		number = -1;
	else
		give_up("a receive answered %s", answer);
	free(answer);
	return number;
}

/* The run is busy, and this thread's: goes on until it waits, in memory or parked, or begins anew. */
static void
go_on(Side *side, PGconn *session, Run *r, unsigned *seed)
{
	char		sql[500];

	for (;;)
	{
		long		number;

		if (random_below(seed, 30) == 0)
		{
			run(session, "BEGIN");
			(void) receive(side, session, r);
			run(session, "ROLLBACK");
			__atomic_fetch_add(&side->undone, 1, __ATOMIC_RELAXED);
		}
		number = receive(side, session, r);
		if (number < 0)
			give_up("a workflow was claimed away from a live worker");
		if (number > 0)
		{
			if (number >= MAX_MESSAGES)
				give_up("message %ld was never sent", number);
			__atomic_fetch_add(&received[number], 1, __ATOMIC_RELAXED);
			if (random_below(seed, 8) > 0)
				continue;
			pthread_mutex_lock(&side->mutex);
			r->state = AWAY;
			pthread_mutex_unlock(&side->mutex);
			snprintf(sql, sizeof sql, "SELECT count(*) FROM pawl.continue_workflows('%s', ARRAY[%ld], ARRAY[%d], '{1}')", side->worker.id, r->key, r->epoch);
			if (ask(session, sql) != 0)
				give_up("a workflow could not begin anew");
			return;
		}
		if (random_below(seed, 2) == 0)
		{
			bool		again;

			pthread_mutex_lock(&side->mutex);
			again = r->signalled;
			r->signalled = false;
			if (!again)
				r->state = RESIDENT;
			pthread_mutex_unlock(&side->mutex);
			__atomic_fetch_add(&side->stayed, 1, __ATOMIC_RELAXED);
			if (again)
				continue;
			return;
		}
		pthread_mutex_lock(&side->mutex);
		r->state = AWAY;
		pthread_mutex_unlock(&side->mutex);
		__atomic_fetch_add(&side->parked, 1, __ATOMIC_RELAXED);
		snprintf(sql, sizeof sql, "SELECT count(*) FROM pawl.park_workflows('%s', ARRAY[%ld], ARRAY[%d], '{message}')", side->worker.id, r->key, r->epoch);
		if (random_below(seed, 30) == 0)
		{
			run(session, "BEGIN");
			run(session, sql);
			run(session, "ROLLBACK");
		}
		if (ask(session, sql) != 0)
			give_up("a workflow could not park");
		return;
	}
}

static void *
runner(void *argument)
{
	Side	   *side = argument;
	unsigned	seed = 977 * side->worker.number + 3;

	while (!stopping)
	{
		Claim		claim;
		long		timeout;

		worker_claim(&side->worker, 5, &claim);
		if (claim.count == 0)
		{
			if (!worker_arm(&side->worker, &timeout))
				continue;
			worker_claim(&side->worker, 5, &claim);
			if (claim.count == 0)
			{
				worker_wait(&side->worker, timeout, NULL);
				continue;
			}
		}
		for (int i = 0; i < claim.count; i++)
		{
			Run		   *r = &side->runs[atoi(claim.ids[i] + 1)];

			pthread_mutex_lock(&side->mutex);
			if (r->state != AWAY)
				give_up("%s was claimed while its run goes on", claim.ids[i]);
			*r = (Run) {BUSY, false, claim.keys[i], claim.epochs[i]};
			pthread_mutex_unlock(&side->mutex);
		}
		for (int i = 0; i < claim.count; i++)
			go_on(side, side->worker.protocol, &side->runs[atoi(claim.ids[i] + 1)], &seed);
	}
	return NULL;
}

/* True: call it again soon. */
static bool
take(Side *side, bool abort_it, unsigned *seed)
{
	char		sql[200];
	PGresult   *result;
	bool		more = false;

	snprintf(sql, sizeof sql, "SELECT workflow_key, epoch, more FROM pawl.take_signals('%s')", side->worker.id);
	if (abort_it)
	{
		run(side->signals, "BEGIN");
		run(side->signals, sql);
		run(side->signals, "ROLLBACK");
		return true;
	}
	result = PQexec(side->signals, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		give_up("take_signals: %s", PQerrorMessage(side->signals));
	for (int i = 0; i < PQntuples(result); i++)
	{
		long		key = atol(PQgetvalue(result, i, 0));
		int			epoch = atoi(PQgetvalue(result, i, 1));

		more |= PQgetvalue(result, i, 2)[0] == 't';
		for (int n = 0; n < WORKFLOWS; n++)
		{
			Run		   *r = &side->runs[n];
			bool		mine = false;

			pthread_mutex_lock(&side->mutex);
			if (r->key == key && r->epoch == epoch && r->state == BUSY)
				r->signalled = true;
			else if (r->key == key && r->epoch == epoch && r->state == RESIDENT)
			{
				r->state = BUSY;
				mine = true;
			}
			pthread_mutex_unlock(&side->mutex);
			if (mine)
				go_on(side, side->calls, r, seed);
		}
	}
	PQclear(result);
	return more;
}

static void *
taker(void *argument)
{
	Side	   *side = argument;
	unsigned	seed = 1409 * side->worker.number + 7;
	char		arm[200];

	snprintf(arm, sizeof arm, "SELECT pawl.arm_signals('%s')", side->worker.id);
	while (!stopping)
	{
		bool		more = take(side, random_below(&seed, 40) == 0, &seed);

		if (!more)
		{
			if (ask(side->signals, arm) != -1)
				give_up("the poll is on");
			more = take(side, false, &seed);
		}
		if (more)
			sleep_us(500);
		else
			run(side->signals, "CALL pawl.wait(-1, NULL)");
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	long		wanted = argc > 1 ? atol(argv[1]) : 1000;
	PGconn	   *session = open_session("attack");
	pthread_t	thread;
	Worker		workers[WORKERS];
	long		total = 0;
	long		rounds = 0;
	long		messages = 0;
	double		longest = 0;
	char		sql[200];
	static const char left[] = "SELECT count(*) FROM pawl.message WHERE consumed_by IS NULL";

	snprintf(sql, sizeof sql, "SELECT count(pawl.enqueue_workflow('a', workflow_id => 'w' || i)) FROM generate_series(0, %d) i", WORKFLOWS - 1);
	run(session, sql);
	for (int i = 0; i < WORKERS; i++)
	{
		Side	   *side = &sides[i];

		worker_open(&side->worker, "{a}", NULL);
		side->signals = open_session("signals");
		side->calls = open_session("calls");
		pthread_mutex_init(&side->mutex, NULL);
		run(side->worker.protocol, "SET pawl.poll_interval = 0");
		run(side->signals, "SET pawl.poll_interval = 0");
		workers[i] = side->worker;
	}
	heartbeats_start(workers, WORKERS);
	for (int i = 0; i < WORKERS; i++)
	{
		pthread_create(&thread, NULL, runner, &sides[i]);
		pthread_create(&thread, NULL, taker, &sides[i]);
	}
	pthread_barrier_init(&gate, NULL, SENDERS + 1);
	for (long i = 0; i < SENDERS; i++)
		pthread_create(&thread, NULL, sender, (void *) i);

	while (total < wanted)
	{
		double		from;

		pthread_barrier_wait(&gate);	/* go */
		pthread_barrier_wait(&gate);	/* all have committed */
		from = now();
		rounds++;
		total = 0;
		for (int i = 0; i < SENDERS; i++)
			total += committed[i];
		if (!becomes(session, left, 0, 20))
		{
			char	   *which = ask_text(session, "SELECT string_agg(concat_ws(' ', w.workflow_id, w.status, w.ready_key, w.claimed_by, m.message_key), '; ')"
										 " || (SELECT format(', signals %s', count(*)) FROM pawl.signal)"
										 " FROM pawl.message m JOIN pawl.workflow w USING (workflow_key) WHERE m.consumed_by IS NULL");

			give_up("after %ld transactions, in round %ld, %ld messages were left with all workers asleep: %s", total, rounds, ask(session, left), which);
		}
		if (now() - from > longest)
			longest = now() - from;
	}
	/* The last answers are on their way. */
	for (int tries = 0; tries < 100; tries++)
	{
		bool		same = true;

		for (long i = 1; i < next_message; i++)
			same &= __atomic_load_n(&received[i], __ATOMIC_RELAXED) == expected[i];
		if (same)
			break;
		sleep_us(50000);
	}
	for (long i = 1; i < next_message; i++)
	{
		if (received[i] != expected[i])
			give_up("message %ld was sent %d times and received %d times", i, expected[i], received[i]);
		messages += expected[i];
	}
	succeed("%ld messages in %ld rounds with the polls off: none stranded, none twice; parked %ld times, stayed %ld, undone %ld; the longest round took %.0f ms",
			messages, rounds, sides[0].parked + sides[1].parked, sides[0].stayed + sides[1].stayed, sides[0].undone + sides[1].undone, longest * 1e3);
}
