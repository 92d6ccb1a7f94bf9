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

static SPIPlanPtr limits_plan = NULL,
			restricted_plan,
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
	gate_plan = pawl_prepare("SELECT g.next_slot, g.counted FROM pawl.queue_gate g WHERE g.queue_id = $1 FOR UPDATE SKIP LOCKED", 1, ((Oid[]) {INT4OID}));
	slots_plan = pawl_prepare("SELECT count(*)::integer FROM generate_series(0, least($2, $4) - 1) i JOIN pawl.queue_rate_slot s"
						 " ON s.queue_id = $1 AND s.slot = ($3 + i) % $4 WHERE s.used_at <= $5 - (SELECT q.rate_period FROM pawl.queue q WHERE q.queue_id = $1)",
						 5, ((Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID}));
	count_plan = pawl_prepare("UPDATE pawl.workflow w SET running_in = w.queue_id WHERE w.workflow_key = ANY (ARRAY("
						 "SELECT l.workflow_key FROM pawl.workflow l WHERE l.queue_id = $1 AND l.claimed_by IS NOT NULL AND l.running_in IS NULL"
						 " ORDER BY l.workflow_key FOR NO KEY UPDATE SKIP LOCKED))", 1, ((Oid[]) {INT4OID}));
	uncounted_plan = pawl_prepare("SELECT FROM pawl.workflow w WHERE w.queue_id = $1 AND w.claimed_by IS NOT NULL AND w.running_in IS NULL LIMIT 1", 1,
							 ((Oid[]) {INT4OID}));
	counted_plan = pawl_prepare("UPDATE pawl.queue_gate g SET counted = true WHERE g.queue_id = $1", 1, ((Oid[]) {INT4OID}));
	use_plan = pawl_prepare("UPDATE pawl.queue_rate_slot s SET used_at = $5 WHERE s.queue_id = $1 AND s.slot = ANY (ARRAY("
					   "SELECT ($3 + i) % $4 FROM generate_series(0, $2 - 1) i))",
					   5, ((Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID}));
	turn_plan = pawl_prepare("UPDATE pawl.queue_gate g SET next_slot = ($3 + $2) % $4 WHERE g.queue_id = $1", 4, ((Oid[]) {INT4OID, INT4OID, INT4OID, INT4OID}));
	/* $1 the worker, $2 one queue only.  A worker's part is counted by whom it has claimed; a parked one that keeps its permit is nobody's. */
	limits_plan = pawl_prepare("SELECT q.queue_id, q.paused_at IS NOT NULL, q.limited, g.counted, q.hold_while_waiting, q.partition_concurrency,"
						  " q.concurrency - r.running, q.worker_concurrency - r.mine, q.rate_limit,"
						  " (extract(epoch FROM s.used_at + q.rate_period - pg_catalog.clock_timestamp()) * 1000000)::bigint"
						  " FROM pawl.queue q LEFT JOIN pawl.queue_gate g ON g.queue_id = q.queue_id"
						  " LEFT JOIN pawl.queue_rate_slot s ON s.queue_id = q.queue_id AND s.slot = g.next_slot AND s.used_at > '-infinity'"
						  " CROSS JOIN LATERAL (SELECT count(*)::integer AS running, (count(*) FILTER (WHERE w.claimed_by = $1))::integer AS mine"
						  " FROM pawl.workflow w WHERE w.running_in = q.queue_id AND (q.concurrency IS NOT NULL OR q.worker_concurrency IS NOT NULL)"
						  " AND (w.claimed_by IS NOT NULL OR q.hold_while_waiting) OFFSET 0) r"
						  " WHERE (q.limited OR q.paused_at IS NOT NULL) AND ($2 IS NULL OR q.queue_id = $2)", 2, ((Oid[]) {UUIDOID, INT4OID}));
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
	limits->partition_concurrency = int_column(row, descriptor, 6, -1);
	limits->room = int_column(row, descriptor, 7, PG_INT32_MAX);
	limits->worker_room = int_column(row, descriptor, 8, PG_INT32_MAX);
	limits->rate_limit = int_column(row, descriptor, 9, 0);
	slot_in = SPI_getbinval(row, descriptor, 10, &isnull);
	limits->slot_in = isnull ? 0 : DatumGetInt64(slot_in);
}

static void
execute_limits(Datum worker, Datum queue, bool all)
{
	Datum		values[2] = {worker, queue};
	char		nulls[2] = {' ', all ? 'n' : ' '};

	if (SPI_execute_plan(limits_plan, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the limits of the queues");
}

/* Every queue that is paused or has a limit, as it looks without its gate. Connected to SPI. */
PawlLimits *
pawl_read_limits(Datum worker, int *count)
{
	PawlLimits *limits;

	prepare_plans();
	/* Where there is none, that is all it costs. */
	if (SPI_execute_plan(restricted_plan, NULL, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for queues with limits");
	*count = 0;
	if (SPI_processed == 0)
		return NULL;
	execute_limits(worker, (Datum) 0, true);
	*count = (int) SPI_processed;
	limits = palloc0(sizeof(PawlLimits) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		read_row(&limits[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
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

/* Whether nothing more may run; what keeps its permit while it is parked does not ask for one. */
bool
pawl_is_full(const PawlLimits *limits)
{
	return limits->room <= 0 || limits->worker_room <= 0;
}

/*
 * A queue that was not limited until now: what runs in it does not say so. Claims that knew of no limit may still be under way, and they take
 * milliseconds; what a worker is just writing to cannot be counted now. False: another claim is at it, or some of it is left for the next one.
 */
static bool
count_running(PawlLimits *limits)
{
	LOCKTAG		claims;
	Datum		queue = Int32GetDatum(limits->queue_id);

	/* One at a time, or two would wait for one another. */
	if (!DatumGetBool(DirectFunctionCall2(pg_try_advisory_xact_lock_int4, Int32GetDatum(PAWL_CLAIM_LOCK_CLASS), Int32GetDatum(-1))))
		return false;
	SET_LOCKTAG_ADVISORY(claims, MyDatabaseId, PAWL_CLAIM_LOCK_CLASS, 0, 2);
	WaitForLockers(claims, ExclusiveLock, false);
	if (SPI_execute_plan(count_plan, &queue, NULL, false, 0) != SPI_OK_UPDATE
		|| SPI_execute_plan(uncounted_plan, &queue, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not count what runs");
	if (SPI_processed > 0)
		return false;
	if (SPI_execute_plan(counted_plan, &queue, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not count what runs");
	return true;
}

/*
 * Locks the gate and counts anew. False: another claim has it, or there is no room.
 */
bool
pawl_open_gate(PawlLimits *limits, Datum worker, int wanted)
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
	limits->counted = bool_column(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	if (!limits->counted && !count_running(limits))
		return false;

	/* What has changed since this claim began: by a later snapshot than the lock. */
	execute_limits(worker, queue, false);
	if (SPI_processed == 0)
		return false;
	read_row(limits, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
	if (limits->paused || !limits->limited)
		return false;
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
