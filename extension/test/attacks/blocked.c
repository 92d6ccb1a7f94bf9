/*
 * blocked.c
 *		A great many workflows that cannot run, of each kind there is, before those
 *		that can: a worker that serves all queues drains these as fast as if it
 *		were alone with them.
 *
 *	blocked HOW_MANY
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 100
#define BATCHES 40
#define LEAST 0.9
#define TRIES 3

static const struct
{
	const char *what;
	const char *fill;			/* after it the blocked queue is "blocked" */
}			kinds[] = {
	{"in a paused queue", "SELECT pawl.create_queue('blocked'), pawl.pause_queue('blocked');"
	 "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked')"},
	{"in a full queue", "SELECT pawl.create_queue('blocked', concurrency => 0);"
	 "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked')"},
	{"in a queue full of half as many that run", "SELECT pawl.create_queue('blocked', concurrency => current_setting('attack.blocked')::int / 2);"
	 "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked');"
	 "UPDATE pawl.workflow SET claimed_by = '00000000-0000-4000-8000-000000000000', running_in = queue_id, ready_key = NULL, status = 'running' WHERE workflow_key IN"
	 " (SELECT workflow_key FROM pawl.workflow WHERE queue_id > 0 ORDER BY ready_key LIMIT current_setting('attack.blocked')::int / 2)"},
	{"in a queue with no slot of its rate", "SELECT pawl.create_queue('blocked', rate_limit => 1, rate_period => '1 hour');"
	 "UPDATE pawl.queue_rate_slot SET used_at = now();"
	 "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked')"},
	{"in a full partition", "SELECT pawl.create_queue('blocked', partition_concurrency => 0);"
	 "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), partition_keys => array_fill('p'::text, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked')"},
	{"in ten thousand full partitions", "SELECT pawl.create_queue('blocked', partition_concurrency => 0);"
	 "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), partition_keys => ARRAY(SELECT 'p' || i % 10000"
	 " FROM generate_series(1, current_setting('attack.blocked')::int) i), queue => 'blocked')"},
	{"that nobody has a handler for, in the same queue", "SELECT count(*) FROM pawl.enqueue_workflows('nobody', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]))"},
	{"that nobody has a handler for, in a queue with a limit", "SELECT pawl.create_queue('blocked', concurrency => 5);"
	 "SELECT count(*) FROM pawl.enqueue_workflows('nobody', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked')"},
	{"that nobody has a handler for, in one partition", "SELECT pawl.create_queue('blocked');"
	 "SELECT count(*) FROM pawl.enqueue_workflows('nobody', array_fill('1'::jsonb, ARRAY[current_setting('attack.blocked')::int]), partition_keys => array_fill('p'::text, ARRAY[current_setting('attack.blocked')::int]), queue => 'blocked')"},
};

static int
compare(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

/* Milliseconds for a batch, claimed and completed, by the lower quartile: other processes disturb. */
static double
drain(Worker *worker, PGconn *session, int batches)
{
	double	   *took = calloc(batches, sizeof(double));
	double		quarter;
	char		sql[200];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM pawl.enqueue_workflows('a', array_fill('1'::jsonb, ARRAY[%d]))", batches * BATCH);
	run(session, sql);
	for (int i = 0; i < batches; i++)
	{
		Claim		claim;
		double		begin = now();

		worker_claim(worker, BATCH, &claim);
		if (claim.count != BATCH)
			give_up("a claim of %d from %d found %d", BATCH, (batches - i) * BATCH, claim.count);
		if (worker_complete(worker, &claim) != 0)
			give_up("a completion was refused");
		took[i] = (now() - begin) * 1000;
	}
	qsort(took, batches, sizeof(double), compare);
	quarter = took[batches / 4];
	free(took);
	return quarter;
}

int
main(int argc, char **argv)
{
	const char *many = argc > 1 ? argv[1] : "100000";
	char		set[100];
	PGconn	   *session = open_session("attack");
	static Worker workers[1];
	char		verdict[2000] = "";

	snprintf(set, sizeof set, "SET attack.blocked = '%s'", many);
	run(session, set);
	worker_open(&workers[0], "{a}", NULL);
	heartbeats_start(workers, 1);
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
	{
		double		best = 0;

		for (int try = 0; try < TRIES && best < LEAST; try++)
		{
			double		alone;
			double		beside;

			run(session, "VACUUM ANALYZE pawl.workflow");
			(void) drain(&workers[0], session, 20);
			alone = drain(&workers[0], session, BATCHES);
			run(session, kinds[i].fill);
			run(session, "VACUUM ANALYZE pawl.workflow");
			(void) drain(&workers[0], session, 20);
			beside = drain(&workers[0], session, BATCHES);
			run(session, "TRUNCATE pawl.workflow, pawl.queue, pawl.queue_gate, pawl.queue_rate_slot");
			best = alone / beside > best ? alone / beside : best;
		}
		if (best < LEAST)
			give_up("beside %s %s others drain at %.2f", many, kinds[i].what, best);
		snprintf(verdict + strlen(verdict), sizeof verdict - strlen(verdict), "%s%.2f", verdict[0] ? ", " : "", best);
	}
	heartbeats_stop();
	succeed("beside %s that cannot run, of each kind, others drain at %s", many, verdict);
}
