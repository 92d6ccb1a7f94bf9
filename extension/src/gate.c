/*
 * gate.c
 *		What the limits of a queue leave room for, and the gate where claims take it.
 *
 * One claim of a limited queue at a time has its gate, a row that it has locked. It counts what runs by a later snapshot than the lock, so all
 * that earlier claims took is seen: they held the gate until they had committed. What ends meanwhile makes the count too high, never too low. Whoever
 * finds the gate taken goes on without that queue, and is woken when the gate is free (marks.c). Queues without limits have none of this.
 */
#include "gate.h"
#include "shared.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"

/* Who could not count what runs in a queue, for rows that are locked, tries again after so many times as long as it took. */
#define COUNTING_REST 20

static SPIPlanPtr limits_plan = NULL,
			restricted_plan,
			room_plan,
			partition_room_plan,
			gate_plan,
			slots_plan,
			count_plan,
			uncounted_plan,
			counted_plan,
			use_plan,
			turn_plan;

static void
prepare_plans(void)
{
	if (limits_plan != NULL)
		return;
	restricted_plan = pawl_prepare("SELECT FROM pawl.queue q WHERE q.limited OR q.paused_at IS NOT NULL LIMIT 1", 0, NULL);
	gate_plan = pawl_prepare("SELECT g.next_slot FROM pawl.queue_gate g WHERE g.queue_id = $1 FOR UPDATE SKIP LOCKED", 1, ((Oid[]) {INT4OID}));
	slots_plan = pawl_prepare("SELECT count(*)::integer FROM generate_series(0, least($2, $4) - 1) i JOIN pawl.queue_rate_slot s"
						 " ON s.queue_id = $1 AND s.slot = ($3 + i) % $4 WHERE s.used_at <= $5 - (SELECT q.rate_period FROM pawl.queue q WHERE q.queue_id = $1)",
						 5, ((Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID}));
	count_plan = pawl_prepare("UPDATE pawl.workflow w SET running_in = w.queue_id WHERE w.workflow_key = ANY (ARRAY("
						 "SELECT l.workflow_key FROM pawl.workflow l WHERE l.workflow_key = ANY ($2) AND l.queue_id = $1 AND l.claimed_by IS NOT NULL"
						 " AND l.running_in IS NULL ORDER BY l.workflow_key FOR NO KEY UPDATE SKIP LOCKED))", 2, ((Oid[]) {INT4OID, INT8ARRAYOID}));
	uncounted_plan = pawl_prepare("SELECT FROM pawl.workflow w WHERE w.workflow_key = ANY ($2) AND w.queue_id = $1 AND w.claimed_by IS NOT NULL"
							 " AND w.running_in IS NULL LIMIT 1", 2, ((Oid[]) {INT4OID, INT8ARRAYOID}));
	counted_plan = pawl_prepare("UPDATE pawl.queue_gate g SET counted = true WHERE g.queue_id = $1", 1, ((Oid[]) {INT4OID}));
	use_plan = pawl_prepare("UPDATE pawl.queue_rate_slot s SET used_at = $5 WHERE s.queue_id = $1 AND s.slot = ANY (ARRAY("
					   "SELECT ($3 + i) % $4 FROM generate_series(0, $2 - 1) i))",
					   5, ((Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID}));
	turn_plan = pawl_prepare("UPDATE pawl.queue_gate g SET next_slot = ($3 + $2) % $4 WHERE g.queue_id = $1", 4, ((Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID}));
	/*
	 * Of a queue, as far as $4, which says that it is full; $2 the worker. Its part is counted by whom it has claimed; a parked one that keeps its
	 * permit, if $3, is nobody's.
	 */
	room_plan = pawl_prepare("SELECT count(*)::integer, (count(*) FILTER (WHERE r.claimed_by = $2))::integer FROM (SELECT w.claimed_by FROM pawl.workflow w"
						" WHERE w.running_in = $1 AND (w.claimed_by IS NOT NULL OR $3) LIMIT $4) r", 4, ((Oid[]) {INT4OID, UUIDOID, BOOLOID, INT4OID}));
	partition_room_plan = pawl_prepare("SELECT count(*)::integer FROM (SELECT FROM pawl.workflow w"
								  " WHERE w.running_in = $1 AND w.partition_key = $2 AND (w.claimed_by IS NOT NULL OR $3) LIMIT $4) r",
								  4, ((Oid[]) {INT4OID, TEXTOID, BOOLOID, INT4OID}));
	/* A rate limit counts nothing that runs. */
	limits_plan = pawl_prepare("SELECT q.queue_id, q.paused_at IS NOT NULL, q.limited,"
						  " g.counted OR coalesce(q.concurrency, q.worker_concurrency, q.partition_concurrency) IS NULL, q.hold_while_waiting,"
						  " q.concurrency, q.worker_concurrency, q.partition_concurrency, q.rate_limit,"
						  " (extract(epoch FROM s.used_at + q.rate_period - pg_catalog.clock_timestamp()) * 1000000)::bigint"
						  " FROM pawl.queue q LEFT JOIN pawl.queue_gate g ON g.queue_id = q.queue_id"
						  " LEFT JOIN pawl.queue_rate_slot s ON s.queue_id = q.queue_id AND s.slot = g.next_slot AND s.used_at > '-infinity'"
						  " WHERE (q.limited OR q.paused_at IS NOT NULL) AND ($1 IS NULL OR q.queue_id = ANY ($1))", 1, ((Oid[]) {INT4ARRAYOID}));
}

static int32
int_column(HeapTuple row, TupleDesc descriptor, int number, int32 missing)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, descriptor, number, &isnull);

	return isnull ? missing : DatumGetInt32(value);
}

static bool
bool_column(HeapTuple row, TupleDesc descriptor, int number)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, descriptor, number, &isnull);

	return !isnull && DatumGetBool(value);
}

static void
read_row(PawlLimits *limits, HeapTuple row, TupleDesc descriptor)
{
	bool		isnull;
	Datum		slot_in;

	limits->queue_id = int_column(row, descriptor, 1, 0);
	limits->paused = bool_column(row, descriptor, 2);
	limits->limited = bool_column(row, descriptor, 3);
	limits->counted = bool_column(row, descriptor, 4);
	limits->hold = bool_column(row, descriptor, 5);
	limits->concurrency = int_column(row, descriptor, 6, -1);
	limits->worker_concurrency = int_column(row, descriptor, 7, -1);
	limits->partition_concurrency = int_column(row, descriptor, 8, -1);
	limits->rate_limit = int_column(row, descriptor, 9, 0);
	slot_in = SPI_getbinval(row, descriptor, 10, &isnull);
	limits->slot_in = isnull ? 0 : DatumGetInt64(slot_in);
	limits->measured = false;
}

/* queues: 0 for all. */
static void
execute_limits(Datum queues)
{
	char		nulls[1] = {queues == (Datum) 0 ? 'n' : ' '};

	if (SPI_execute_plan(limits_plan, &queues, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the limits of the queues");
}

/* Those of the queues that are paused or have a limit, as they look without their gates; queues: 0 for all. Connected to SPI. */
PawlLimits *
pawl_read_limits(Datum worker, Datum queues, int *count)
{
	PawlLimits *limits;

	prepare_plans();
	/* Where there is none, that is all it costs. */
	if (SPI_execute_plan(restricted_plan, NULL, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for queues with limits");
	*count = 0;
	if (SPI_processed == 0)
		return NULL;
	execute_limits(queues);
	*count = (int) SPI_processed;
	limits = palloc0(sizeof(PawlLimits) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		limits[i].worker = worker;
		read_row(&limits[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	}
	SPI_freetuptable(SPI_tuptable);
	return limits;
}

/* NULL: the queue is neither paused nor limited. */
PawlLimits *
pawl_limits_of(PawlLimits *limits, int count, int32 queue_id)
{
	for (int i = 0; i < count; i++)
		if (limits[i].queue_id == queue_id)
			return &limits[i];
	return NULL;
}

/* Counts what runs, if this claim has not yet: only when it matters, because that costs as much as there is. */
void
pawl_measure(PawlLimits *limits)
{
	Datum		values[4] = {Int32GetDatum(limits->queue_id), limits->worker, BoolGetDatum(limits->hold), Int32GetDatum(limits->concurrency)};
	char		nulls[4] = {' ', ' ', ' ', limits->worker_concurrency < 0 ? ' ' : 'n'};

	if (limits->measured)
		return;
	limits->measured = true;
	limits->room = limits->worker_room = PG_INT32_MAX;
	if (limits->concurrency < 0 && limits->worker_concurrency < 0)
		return;
	if (SPI_execute_plan(room_plan, values, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not count what runs");
	if (limits->concurrency >= 0)
		limits->room = limits->concurrency - int_column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, 0);
	if (limits->worker_concurrency >= 0)
		limits->worker_room = limits->worker_concurrency - int_column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, 0);
}

/* Whether nothing more may run; what keeps its permit while it is parked does not ask for one. */
bool
pawl_is_full(PawlLimits *limits)
{
	pawl_measure(limits);
	return limits->room <= 0 || limits->worker_room <= 0;
}

/* How many more of a partition may run. */
int
pawl_partition_room(const PawlLimits *limits, Datum partition)
{
	Datum		values[4] = {Int32GetDatum(limits->queue_id), partition, BoolGetDatum(limits->hold), Int32GetDatum(limits->partition_concurrency)};

	if (limits->partition_concurrency < 0)
		return PG_INT32_MAX;
	if (SPI_execute_plan(partition_room_plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not count what runs of a partition");
	return limits->partition_concurrency - int_column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, 0);
}

/* What runs in a queue and is not counted, as an array of keys; none: 0. No index knows them, so this plan, made for this once, may scan. */
static Datum
find_uncounted(Datum queue)
{
	int			level = NewGUCNestLevel();
	bool		isnull;
	Datum		keys;

	(void) set_config_option("enable_seqscan", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (SPI_execute_with_args("SELECT pg_catalog.array_agg(w.workflow_key) FROM pawl.workflow w WHERE w.queue_id = $1 AND w.claimed_by IS NOT NULL"
							  " AND w.running_in IS NULL", 1, ((Oid[]) {INT4OID}), &queue, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for what runs");
	AtEOXact_GUC(false, level);
	keys = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? (Datum) 0 : keys;
}

/*
 * A queue that was not limited until now: what runs in it does not say so. Claims that knew of no limit may still be under way, and they take
 * milliseconds; what a worker is just writing to cannot be counted now. False: another claim is at it, or some of it is left for the next one.
 */
static bool
count_running(PawlLimits *limits)
{
	static TimestampTz next_attempt = 0;
	LOCKTAG		claims;
	Datum		values[2] = {Int32GetDatum(limits->queue_id)};
	TimestampTz began;

	/* One at a time, or two would wait for one another. */
	if (GetCurrentTimestamp() < next_attempt
		|| !DatumGetBool(DirectFunctionCall2(pg_try_advisory_xact_lock_int4, Int32GetDatum(PAWL_CLAIM_LOCK_CLASS), Int32GetDatum(-1))))
		return false;
	SET_LOCKTAG_ADVISORY(claims, MyDatabaseId, PAWL_CLAIM_LOCK_CLASS, 0, 2);
	WaitForLockers(claims, ExclusiveLock, false);
	/* None is added from here on: all other claims need the gate. */
	began = GetCurrentTimestamp();
	values[1] = find_uncounted(values[0]);
	if (values[1] != (Datum) 0)
	{
		if (SPI_execute_plan(count_plan, values, NULL, false, 0) != SPI_OK_UPDATE || SPI_execute_plan(uncounted_plan, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not count what runs");
		if (SPI_processed > 0)
		{
			TimestampTz now = GetCurrentTimestamp();

			next_attempt = now + COUNTING_REST * (now - began);
			return false;
		}
	}
	if (SPI_execute_plan(counted_plan, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not count what runs");
	return true;
}

/*
 * Locks the gate and counts anew. False: another claim has it, or nothing may be claimed.
 */
bool
pawl_open_gate(PawlLimits *limits, int wanted)
{
	Datum		queue = Int32GetDatum(limits->queue_id);
	int			next_slot;

	if (limits->asked)
		return limits->open;
	limits->asked = true;
	for (int attempt = 1;; attempt++)
	{
		if (SPI_execute_plan(gate_plan, &queue, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not lock the gate of a queue");
		if (SPI_processed > 0)
			break;
		if (attempt == 2)
			return false;
		pawl_turned_away(limits->queue_id);
	}
	pawl_hold_gate(limits->queue_id);
	next_slot = int_column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, 0);

	/* What has changed since this claim began: by a later snapshot than the lock. */
	execute_limits(PointerGetDatum(construct_array(&queue, 1, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
	if (SPI_processed == 0)
		return false;
	read_row(limits, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
	if (limits->paused || !limits->limited || (!limits->counted && !count_running(limits)))
		return false;
	pawl_measure(limits);
	limits->next_slot = next_slot;
	limits->now = GetCurrentTimestamp();
	limits->starts = PG_INT32_MAX;
	if (limits->rate_limit > 0)
	{
		Datum		values[5] = {queue, Int32GetDatum(wanted), Int32GetDatum(next_slot), Int32GetDatum(limits->rate_limit), TimestampTzGetDatum(limits->now)};

		if (SPI_execute_plan(slots_plan, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not read the slots of a rate limit");
		limits->starts = int_column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, 0);
	}
	limits->open = true;
	return true;
}

/* So many were claimed, so many of them for the first time; held: they had their permits. */
void
pawl_took(PawlLimits *limits, int taken, int started, bool held)
{
	if (!held && limits->room != PG_INT32_MAX)
		limits->room -= taken;
	if (limits->worker_room != PG_INT32_MAX)
		limits->worker_room -= taken;
	if (limits->rate_limit > 0)
		limits->starts -= started;
	limits->started += started;
}

/* Writes down what started; the gate itself is free when the transaction ends. */
void
pawl_close_gate(PawlLimits *limits)
{
	Datum		values[5] = {
		Int32GetDatum(limits->queue_id), Int32GetDatum(limits->started), Int32GetDatum(limits->next_slot), Int32GetDatum(limits->rate_limit),
		TimestampTzGetDatum(limits->now)
	};

	if (!limits->open || limits->rate_limit == 0 || limits->started == 0)
		return;
	if (SPI_execute_plan(use_plan, values, NULL, false, 0) != SPI_OK_UPDATE || SPI_execute_plan(turn_plan, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not use the slots of a rate limit");
}
