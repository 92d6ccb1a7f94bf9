/*
 * attack.c
 *		Shared parts of the attack programs: see attack.h.
 */
#include "attack.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char *program_invocation_short_name;

static void
verdict(const char *word, const char *format, va_list arguments)
{
	char		text[2000];

	vsnprintf(text, sizeof text, format, arguments);
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
	printf("%s - %s: %s\n", word, program_invocation_short_name, text);
	fflush(stdout);
}

void
give_up(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	verdict("not ok", format, arguments);
	va_end(arguments);
	/* Other threads may be in the middle of anything. */
	_exit(1);
}

void
succeed(const char *format,...)
{
	va_list		arguments;

	va_start(arguments, format);
	verdict("ok", format, arguments);
	va_end(arguments);
	_exit(0);
}

double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

void
sleep_us(long us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

unsigned
random_below(unsigned *state, unsigned bound)
{
	return (unsigned) rand_r(state) % bound;
}

static void
ignore_notice(void *unused, const char *message)
{
	(void) unused;
	(void) message;
}

PGconn *
open_session(const char *application_name)
{
	const char *keys[] = {"application_name", "dbname", NULL};
	const char *values[] = {application_name, getenv("PGDATABASE"), NULL};
	PGconn	   *session = PQconnectdbParams(keys, values, 0);

	if (PQstatus(session) != CONNECTION_OK)
		give_up("cannot connect: %s", PQerrorMessage(session));
	PQsetNoticeProcessor(session, ignore_notice, NULL);
	return session;
}

static PGresult *
checked(PGconn *session, PGresult *result, const char *sql)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		give_up("%s in: %.300s", PQerrorMessage(session), sql);
	return result;
}

void
run(PGconn *session, const char *sql)
{
	PQclear(checked(session, PQexec(session, sql), sql));
}

char *
ask_text(PGconn *session, const char *sql)
{
	PGresult   *result = checked(session, PQexec(session, sql), sql);
	char	   *answer;

	if (PQntuples(result) < 1)
		give_up("no row from: %.300s", sql);
	answer = strdup(PQgetvalue(result, 0, 0));
	PQclear(result);
	return answer;
}

long
ask(PGconn *session, const char *sql)
{
	char	   *text = ask_text(session, sql);
	long		answer = atol(text);

	free(text);
	return answer;
}

const char *
attempt(PGconn *session, const char *sql, char state[6])
{
	PGresult   *result = PQexec(session, sql);
	ExecStatusType status = PQresultStatus(result);
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
		code = "";
	else if (code == NULL)
		give_up("%s in: %.300s", PQerrorMessage(session), sql);
	snprintf(state, 6, "%s", code);
	PQclear(result);
	return state;
}

bool
becomes(PGconn *session, const char *sql, long wanted, double seconds)
{
	double		deadline = now() + seconds;

	while (ask(session, sql) != wanted)
	{
		if (now() > deadline)
			return false;
		sleep_us(1000);
	}
	return true;
}

void
worker_open(Worker *worker, const char *names, const char *queues)
{
	worker_open_version(worker, names, queues, 1);
}

void
worker_open_version(Worker *worker, const char *names, const char *queues, int version)
{
	const char *values[5];
	PGresult   *result;
	char	   *id;
	int			count = 1;

	memset(worker, 0, sizeof *worker);
	snprintf(worker->names, sizeof worker->names, "%s", names);
	snprintf(worker->queues, sizeof worker->queues, "%s", queues ? queues : "");
	for (const char *c = names; *c; c++)
		count += *c == ',';
	for (int i = 0; i < count; i++)
		snprintf(worker->versions + strlen(worker->versions), sizeof worker->versions - strlen(worker->versions), "%c%d", i == 0 ? '{' : ',', version);
	strcat(worker->versions, "}");

	worker->life = open_session("life line");
	worker->protocol = open_session("protocol");
	id = ask_text(worker->life, "SELECT gen_random_uuid()");
	snprintf(worker->id, sizeof worker->id, "%s", id);
	free(id);

	values[0] = worker->id;
	values[1] = worker->queues[0] ? worker->queues : NULL;
	values[2] = worker->names;
	values[3] = worker->versions;
	result = checked(worker->life,
					 PQexecParams(worker->life,
								  "SELECT worker_number, held FROM pawl.register_worker($1::uuid, 'attack', 'localhost',"
								  " 1, '0', 1, 100, $2::text[], $3::text[], $4::int[], array_fill('attack'::text, ARRAY[cardinality($3::text[])]))",
								  4, NULL, values, NULL, NULL, 0),
					 "pawl.register_worker");
	worker->number = atoi(PQgetvalue(result, 0, 0));
	if (PQgetvalue(result, 0, 1)[0] == 't')
		give_up("a fresh database is held");
	PQclear(result);
	run(worker->protocol, "SET client_connection_check_interval = '200ms'");
}

void
worker_close(Worker *worker)
{
	PQfinish(worker->protocol);
	PQfinish(worker->life);
	worker->protocol = worker->life = NULL;
}

void
worker_claim(Worker *worker, int at_most, Claim *claim)
{
	char		limit[12];
	const char *values[5] = {worker->id, limit, worker->names, worker->versions, worker->queues[0] ? worker->queues : NULL};
	PGresult   *result;

	snprintf(limit, sizeof limit, "%d", at_most);
	result = checked(worker->protocol,
					 PQexecParams(worker->protocol,
								  "SELECT workflow_key, epoch, replay, workflow_id"
								  " FROM pawl.claim_workflows($1::uuid, $2::int, $3::text[], $4::int[], $5::text[])",
								  5, NULL, values, NULL, NULL, 0),
					 "pawl.claim_workflows");
	claim->count = PQntuples(result);
	if (claim->count > at_most || claim->count > MAX_CLAIM)
		give_up("a claim of at most %d answered %d", at_most, claim->count);
	for (int i = 0; i < claim->count; i++)
	{
		claim->keys[i] = atol(PQgetvalue(result, i, 0));
		claim->epochs[i] = atoi(PQgetvalue(result, i, 1));
		claim->replay[i] = PQgetvalue(result, i, 2)[0] == 't';
		snprintf(claim->ids[i], sizeof claim->ids[i], "%s", PQgetvalue(result, i, 3));
	}
	PQclear(result);
}

bool
worker_arm(Worker *worker, long *timeout_ms)
{
	const char *values[4] = {worker->id, worker->names, worker->versions, worker->queues[0] ? worker->queues : NULL};
	PGresult   *result = PQexecParams(worker->protocol, "SELECT pawl.arm_worker($1::uuid, $2::text[], $3::int[], $4::text[])",
									  4, NULL, values, NULL, NULL, 0);
	bool		good = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (good)
		*timeout_ms = atol(PQgetvalue(result, 0, 0));
	PQclear(result);
	return good;
}

bool
worker_wait(Worker *worker, long timeout_ms, bool *woken)
{
	char		timeout[24];
	const char *values[1] = {timeout_ms == AS_FOUND ? NULL : timeout};
	PGresult   *result;
	bool		good;

	snprintf(timeout, sizeof timeout, "%ld", timeout_ms);
	result = PQexecParams(worker->protocol, "CALL pawl.wait($1::int, NULL)", 1, NULL, values, NULL, NULL, 0);
	good = PQresultStatus(result) == PGRES_TUPLES_OK;
	if (good && woken)
		*woken = PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return good;
}

static int
batch(Worker *worker, const Claim *claim, const char *sql)
{
	static __thread char keys[MAX_CLAIM * 22];
	static __thread char epochs[MAX_CLAIM * 12];
	const char *values[3] = {worker->id, keys, epochs};
	char	   *k = keys;
	char	   *e = epochs;
	PGresult   *result;
	int			refused;

	if (claim->count == 0)
		return 0;
	for (int i = 0; i < claim->count; i++)
	{
		k += sprintf(k, "%c%ld", i ? ',' : '{', claim->keys[i]);
		e += sprintf(e, "%c%d", i ? ',' : '{', claim->epochs[i]);
	}
	strcpy(k, "}");
	strcpy(e, "}");
	result = checked(worker->protocol, PQexecParams(worker->protocol, sql, 3, NULL, values, NULL, NULL, 0), sql);
	refused = PQntuples(result);
	PQclear(result);
	return refused;
}

int
worker_complete(Worker *worker, const Claim *claim)
{
	return batch(worker, claim,
				 "SELECT ordinal, refusal FROM pawl.complete_workflows($1::uuid, $2::bigint[], $3::int[],"
				 " array_fill('succeeded'::text, ARRAY[cardinality($2::bigint[])]), array_fill(NULL::text, ARRAY[cardinality($2::bigint[])]),"
				 " array_fill('1'::jsonb, ARRAY[cardinality($2::bigint[])]), array_fill(NULL::jsonb, ARRAY[cardinality($2::bigint[])]))");
}

int
worker_release(Worker *worker, const Claim *claim)
{
	return batch(worker, claim, "SELECT ordinal, refusal FROM pawl.release_workflows($1::uuid, $2::bigint[], $3::int[])");
}

static struct
{
	pthread_t	thread;
	Worker	   *workers;
	int			count;
	volatile bool stop;
}			beating;

static void *
beat(void *unused)
{
	(void) unused;
	while (!beating.stop)
	{
		for (int i = 0; i < beating.count; i++)
		{
			const char *values[1] = {beating.workers[i].id};
			PGresult   *result;

			if (beating.workers[i].life == NULL)
				continue;
			result = checked(beating.workers[i].life,
							 PQexecParams(beating.workers[i].life, "SELECT alive FROM pawl.heartbeat($1::uuid, 0, 'running')",
										  1, NULL, values, NULL, NULL, 0),
							 "pawl.heartbeat");
			if (PQgetvalue(result, 0, 0)[0] != 't')
				give_up("worker %d was declared dead though it lives", beating.workers[i].number);
			PQclear(result);
		}
		for (int i = 0; i < 50 && !beating.stop; i++)
			sleep_us(10000);
	}
	return NULL;
}

void
heartbeats_start(Worker *workers, int count)
{
	beating.workers = workers;
	beating.count = count;
	beating.stop = false;
	pthread_create(&beating.thread, NULL, beat, NULL);
}

void
heartbeats_stop(void)
{
	beating.stop = true;
	pthread_join(beating.thread, NULL);
}
