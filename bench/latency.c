/*
 * latency COUNT GAP_MS: enqueues COUNT workflows "clock", one at a time with a gap between them, and prints the times in milliseconds from
 * the answer to the enqueue's commit until the handler began: p50 p90 p99.  The handler's output is its own reading of the same clock.
 */
#include <libpq-fe.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static PGresult *
run(PGconn *connection, const char *sql, int count, const char *const *values)
{
	PGresult   *result = PQexecParams(connection, sql, count, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		fprintf(stderr, "latency: %s", PQerrorMessage(connection));
		exit(1);
	}
	return result;
}

static int
compare(const void *left, const void *right)
{
	double		a = *(const double *) left, b = *(const double *) right;

	return (a > b) - (a < b);
}

int
main(int argc, char **argv)
{
	int			count = argc > 1 ? atoi(argv[1]) : 500;
	long		gap = argc > 2 ? atol(argv[2]) : 10;
	PGconn	   *connection = PQconnectdb("");
	int64_t    *acknowledged = calloc(count, sizeof *acknowledged);
	double	   *delays = calloc(count, sizeof *delays);
	char		id[64];
	const char *values[] = {id};

	if (PQstatus(connection) != CONNECTION_OK)
	{
		fprintf(stderr, "latency: %s", PQerrorMessage(connection));
		return 1;
	}
	for (int i = 0; i < count; i++)
	{
		struct timespec pause = {gap / 1000, gap % 1000 * 1000000};

		snprintf(id, sizeof id, "clock-%" PRId64 "-%d", now(), i);
		nanosleep(&pause, NULL);
		PQclear(run(connection, "SELECT pawl.enqueue_workflow('clock', workflow_id => $1)", 1, values));
		acknowledged[i] = now();
		/* Idle again before the next one: what is measured is the wake-up, not a queue. */
		for (int64_t deadline = now() + INT64_C(10000000000);;)
		{
			struct timespec moment = {0, 4000000};
			PGresult   *result;

			nanosleep(&moment, NULL);
			result = run(connection, "SELECT output FROM pawl.workflows WHERE workflow_id = $1 AND status = 'succeeded'", 1, values);

			if (PQntuples(result) == 1)
			{
				delays[i] = (strtoll(PQgetvalue(result, 0, 0), NULL, 10) - acknowledged[i]) / 1e6;
				PQclear(result);
				break;
			}
			PQclear(result);
			if (now() > deadline)
			{
				fprintf(stderr, "latency: %s has not ended after 10 s\n", id);
				return 1;
			}
		}
	}
	qsort(delays, count, sizeof *delays, compare);
	printf("%.3f %.3f %.3f\n", delays[count / 2], delays[count * 9 / 10], delays[count * 99 / 100]);
	return 0;
}
