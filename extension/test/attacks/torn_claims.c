/*
 * torn_claims.c
 *		Few workflows, many claimers that record one step, and hand back. Whoever
 *		claims must see every step recorded before, and nobody else may hold the
 *		same run: a claim that answers from an older snapshot than its row lock
 *		would repeat a step.
 *
 *	torn_claims RUNS		runs per workflow
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 6
#define WORKFLOWS 8

static volatile bool claiming = true;
static Worker workers[WORKERS];
static int	runs;
static long first_key;
static int	held[WORKFLOWS];

static void
record(Worker *self, long key, int epoch)
{
	char		sql[500];
	PGresult   *result;

	snprintf(sql, sizeof sql, "SELECT refusal FROM pawl.record_steps('%s', '{%ld}', '{%d}', '{s%d}', '{%d}', '{step}', ARRAY['%d'::jsonb],"
			 " ARRAY[NULL::jsonb], ARRAY[now()])", self->id, key, epoch, epoch, epoch, epoch);
	result = PQexec(self->protocol, sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		give_up("%s", PQerrorMessage(self->protocol));
	if (PQntuples(result) != 0)
		give_up("the step of workflow %ld, epoch %d was refused: %s", key, epoch, PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void *
claimer(void *argument)
{
	Worker	   *self = &workers[(long) argument];
	unsigned	seed = 31 * (long) argument + 1;

	while (claiming)
	{
		Claim		claim;
		Claim		over = {0};
		Claim		back = {0};

		worker_claim(self, 1 + random_below(&seed, 3), &claim);
		for (int i = 0; i < claim.count; i++)
		{
			int			place = atoi(claim.ids[i]);
			char		sql[300];
			long		steps;
			Claim	   *next;

			if (__sync_add_and_fetch(&held[place], 1) != 1)
				give_up("workflow %d is held twice, at epoch %d", place, claim.epochs[i]);
			snprintf(sql, sizeof sql, "SELECT count(*) FROM pawl.get_recorded_steps('%s', '{%ld}', '{%d}', NULL, NULL, 1000000)",
					 self->id, claim.keys[i], claim.epochs[i]);
			steps = ask(self->protocol, sql);
			/* Each run before recorded one. */
			if (steps != claim.epochs[i] - 1)
				give_up("workflow %d was claimed at epoch %d and saw %ld steps", place, claim.epochs[i], steps);
			if (claim.replay[i] != (claim.epochs[i] > 1))
				give_up("workflow %d at epoch %d was %stold to replay", place, claim.epochs[i], claim.replay[i] ? "" : "not ");
			record(self, claim.keys[i], claim.epochs[i]);
			next = claim.epochs[i] >= runs ? &over : &back;
			next->keys[next->count] = claim.keys[i];
			next->epochs[next->count++] = claim.epochs[i];
			__sync_sub_and_fetch(&held[place], 1);
		}
		if (worker_release(self, &back) + worker_complete(self, &over) != 0)
			give_up("a hand-back or completion was refused");
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	PGconn	   *session = open_session("attack");
	pthread_t	thread;
	char		sql[200];

	runs = argc > 1 ? atoi(argv[1]) : 50;
	for (int i = 0; i < WORKFLOWS; i++)
	{
		snprintf(sql, sizeof sql, "SELECT pawl.enqueue_workflow('a', workflow_id => '%d')", i);
		run(session, sql);
	}
	first_key = ask(session, "SELECT min(workflow_key) FROM pawl.workflow");
	for (long i = 0; i < WORKERS; i++)
		worker_open(&workers[i], "{a}", NULL);
	heartbeats_start(workers, WORKERS);
	for (long i = 0; i < WORKERS; i++)
		pthread_create(&thread, NULL, claimer, (void *) i);
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow", 0, 240))
		give_up("%ld workflows never ended", ask(session, "SELECT count(*) FROM pawl.workflow"));
	claiming = false;
	snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT 1 FROM pawl.workflow_step GROUP BY workflow_key HAVING count(*) = %d) s", runs);
	if (ask(session, sql) != WORKFLOWS)
		give_up("not every workflow has %d steps", runs);
	succeed("%d workflows handed on %d times each among %d workers: every run saw every step, none was held twice", WORKFLOWS, runs, WORKERS);
}
