/*
 * debounce.c
 *		Many sessions replace the inputs of few keys at all isolation levels, and
 *		roll some of it back, while workers claim and end what they get. The last
 *		input that was committed under a key must be run by somebody, and no input
 *		that was rolled back; nobody but a SERIALIZABLE caller may get an error.
 *
 *	debounce CALLS		calls per session
 */
#include "attack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLERS 8
#define WORKERS 3
#define KEYS 3

static volatile bool working = true;
static long calls;
static Worker workers[WORKERS];
static long serialization_failures;
static long rolled_back;

/*
 * Whoever has replaced an input holds its key until he commits: the turn that he takes then is later than that of everybody who did before him.
 */
static void *
caller(void *argument)
{
	long		me = (long) argument;
	unsigned	seed = 29 * me + 5;
	PGconn	   *session = open_session("caller");
	static const char *const levels[] = {"READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"};
	static const char *const starts[] = {"", ", delay => '1 ms'", ", delay => '3 ms', max_delay => '5 ms'", ", delay => '1 hour', max_delay => '2 ms'"};

	for (long i = 0; i < calls; i++)
	{
		const char *level = levels[random_below(&seed, 4)];
		int			key = random_below(&seed, KEYS);
		long		number = me * calls + i;
		bool		back = random_below(&seed, 5) == 0;
		bool		large = random_below(&seed, 4) == 0;
		char		sql[500];
		char		state[6];

		snprintf(sql, sizeof sql, "BEGIN ISOLATION LEVEL %s; SELECT 1", level);
		run(session, sql);
		if (random_below(&seed, 2) == 0)
			sleep_us(random_below(&seed, 1000));
		snprintf(sql, sizeof sql,
				 "SELECT pawl.enqueue_workflow('a', jsonb_build_object('number', %ld, 'pad', %s), deduplication_id => 'key-%d', on_duplicate => 'replace'%s)",
				 number, large ? "(SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 90) i)" : "null", key, starts[random_below(&seed, 4)]);
		attempt(session, sql, state);
		if (state[0] == '\0')
		{
			snprintf(sql, sizeof sql, "INSERT INTO committed (key, number) VALUES ('key-%d', %ld)", key, number);
			attempt(session, sql, state);
		}
		if (state[0] == '\0')
		{
			if (random_below(&seed, 4) == 0)
				sleep_us(random_below(&seed, 2000));
			attempt(session, back ? "ROLLBACK" : "COMMIT", state);
			if (back)
				__sync_add_and_fetch(&rolled_back, 1);
		}
		if (state[0] != '\0')
		{
			if (strcmp(level, "SERIALIZABLE") != 0 || strcmp(state, "40001") != 0)
				give_up("%s at %s: %s", state, level, PQerrorMessage(session));
			__sync_add_and_fetch(&serialization_failures, 1);
			attempt(session, "ROLLBACK", state);
		}
	}
	PQfinish(session);
	return NULL;
}

static void *
ender(void *argument)
{
	Worker	   *self = &workers[(long) argument];
	unsigned	seed = 7 * (long) argument + 1;

	while (working)
	{
		Claim		claim;
		long		timeout;
		bool		woken;

		worker_claim(self, 10, &claim);
		if (claim.count > 0)
		{
			sleep_us(random_below(&seed, 1000));
			if (worker_complete(self, &claim) != 0)
				give_up("a completion was refused");
			continue;
		}
		/* With the poll off: what nobody wakes it for is never found. */
		if (!worker_arm(self, &timeout))
			give_up("arming failed");
		worker_claim(self, 10, &claim);
		if (claim.count == 0)
			worker_wait(self, timeout, &woken);
		else if (worker_complete(self, &claim) != 0)
			give_up("a completion was refused");
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	PGconn	   *session = open_session("attack");
	pthread_t	callers[CALLERS];
	pthread_t	enders[WORKERS];

	calls = argc > 1 ? atol(argv[1]) : 200;
	run(session, "CREATE TABLE committed (turn bigserial, key text, number bigint)");
	for (int i = 0; i < WORKERS; i++)
	{
		worker_open(&workers[i], "{a}", NULL);
		run(workers[i].protocol, "SET pawl.poll_interval = 0");
	}
	heartbeats_start(workers, WORKERS);
	for (long i = 0; i < WORKERS; i++)
		pthread_create(&enders[i], NULL, ender, (void *) i);
	for (long i = 0; i < CALLERS; i++)
		pthread_create(&callers[i], NULL, caller, (void *) i);
	for (int i = 0; i < CALLERS; i++)
		pthread_join(callers[i], NULL);
	if (!becomes(session, "SELECT count(*) FROM pawl.workflow", 0, 20))
		give_up("%ld workflows are left, and nobody runs them", ask(session, "SELECT count(*) FROM pawl.workflow"));
	working = false;
	if (ask(session, "SELECT rescued_by_reset FROM pawl.wakeup_statistics()") != 0)
		give_up("something was only found when marks began anew");
	run(session, "CREATE TABLE ran AS SELECT h.deduplication_id AS key, (coalesce(h.input, p.value) ->> 'number')::bigint AS number"
		" FROM pawl.workflow_history h LEFT JOIN pawl.payload p ON p.workflow_key = h.workflow_key AND p.name = 'input'");
	if (ask(session, "SELECT count(*) FROM (SELECT DISTINCT ON (key) key, number FROM committed ORDER BY key, turn DESC) l"
			" WHERE number NOT IN (SELECT number FROM ran)") != 0)
		give_up("the last input of a key was not run");
	if (ask(session, "SELECT count(*) FROM ran WHERE number IS NULL OR number NOT IN (SELECT number FROM committed)") != 0)
		give_up("an input was run that nobody committed");
	succeed("%ld inputs under %d keys by %d sessions at mixed isolation levels, %ld rolled back, %ld serialization failures: %ld runs, and the last of each was run",
			calls * CALLERS, KEYS, CALLERS, rolled_back, serialization_failures, ask(session, "SELECT count(*) FROM ran"));
}
