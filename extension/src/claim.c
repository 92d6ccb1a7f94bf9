/*
 * claim.c
 *		Claims: a worker takes queued workflows, without walking over what was taken before.
 *
 * Entries that were claimed or have ended stay in the index until vacuum comes, and forever while an old snapshot is held. So each session
 * keeps, for each lane (queue and rank), a mark: the key up to which it has seen everything. What is committed later with a key behind the
 * mark, or freed there by an abort, is reported through the ring in shared memory. The proof, and what breaks without each part, is
 * docs/architecture.md; in short:
 *
 * - the ring is read before the claim's snapshot, and a reported key is kept until a claim from there has committed;
 * - a claim begins at the mark of the claim before the last one: what became visible between the last claim's snapshot and its publishing of
 *	 `passed` was not reported;
 * - a claim that found less than it asked for has seen all up to the last key drawn before its snapshot.
 */
#include "pawl.h"
#include "shared.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#define NO_KEY PG_INT64_MAX
#define RESET_INTERVAL (60 * USECS_PER_SEC)
#define DUE_BATCH 1000
#define PARTITIONS_VISITED 64	/* by a claim that found something; */
#define BARREN_PARTITIONS_VISITED 1000	/* by one that did not yet, so that what cannot run hides little */

typedef struct LaneState
{
	int64		last;			/* mark of the last claim */
	int64		before_last;	/* and of the one before it */
	int64		pending;		/* lowest key reported behind the mark, not claimed from yet */
	int64		before_reset;	/* the mark that a reset took away, while it shows whether that rescued something */
} LaneState;

static LaneState *lanes = NULL; /* by lane; in TopMemoryContext */
static uint64 ring_position = 0;
static uint64 reset_generation = 0;
static uint64 prepare_generation = 0;
static uint64 handlers_hash = 0;
static TimestampTz last_reset = 0;
static bool discovered = false;
static uint32 turn = 0;			/* which queue comes first */
static char *partition_cursor = NULL;

static SPIPlanPtr state_plan,
			due_plan,
			key_plan,
			claim_plan,
			rank_plan,
			partitioned_plan,
			partition_plan,
			partition_claim_plan,
			prepared_plan,
			suspect_plan,
			parent_plan,
			ended_parent_plan,
			queue_plan;

typedef struct Claim
{
	ReturnSetInfo *result;
	Datum		worker;
	const PawlOffer *offer;
	int			left;
	int64		newest_key;		/* drawn before the claim's snapshot */
} Claim;

/* A net under the proof: once in a while every claim looks at everything, and counts what it should have found before. */
static void
begin_anew(void)
{
	for (int i = 0; i < PAWL_LANES; i++)
	{
		lanes[i].before_reset = Min(lanes[i].before_last, lanes[i].pending);
		lanes[i].last = lanes[i].before_last = 0;
		lanes[i].pending = NO_KEY;
	}
	last_reset = GetCurrentTimestamp();
}

/* Forgets every mark: the next claims see everything. Also called where a transaction aborts, so nothing is allocated here. */
void
pawl_claims_aborted(void)
{
	if (lanes == NULL)
		return;
	for (int i = 0; i < PAWL_LANES; i++)
	{
		lanes[i].last = lanes[i].before_last = lanes[i].before_reset = 0;
		lanes[i].pending = NO_KEY;
	}
}

static void
prepare_plans(void)
{
	/*
	 * $5 names and $9 versions of all handlers, and $10 above which version of an entry each may take it; $8 each name once and $6 its highest
	 * version.
	 */
	Oid			claim_types[10] = {INT4OID, INT8OID, INT8OID, INT4OID, TEXTARRAYOID, INT4ARRAYOID, UUIDOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID};
	Oid			partition_types[2] = {INT4OID, TEXTOID};

	/* The last of them: an error half-way leaves the others to be made again. */
	if (suspect_plan != NULL)
		return;

#define PREPARE(plan, sql, count, types) \
	do { \
		plan = SPI_prepare_cursor(sql, count, types, CURSOR_OPT_GENERIC_PLAN); \
		if (plan == NULL) \
			elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result)); \
		SPI_keepplan(plan); \
	} while (0)

	/* One row: worker_number, whether it is alive, whether the database is held. */
	PREPARE(state_plan,
			"SELECT w.worker_number, w.ended_at IS NULL, (SELECT i.held_at IS NOT NULL FROM pawl.installation i)"
			" FROM pawl.worker w WHERE w.worker_id = $1", 1, ((Oid[]) {UUIDOID}));
	PREPARE(due_plan,
			"WITH d AS MATERIALIZED (SELECT w.ctid FROM pawl.workflow w WHERE w.due_at <= pg_catalog.clock_timestamp()"
			" ORDER BY w.due_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
			" UPDATE pawl.workflow w SET due_at = NULL, status = 'enqueued', waiting_for = NULL, ready_key = pg_catalog.nextval('pawl.key_seq')"
			" WHERE w.ctid = ANY (ARRAY(SELECT d.ctid FROM d))"
			" RETURNING w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key IS NOT NULL",
			1, ((Oid[]) {INT4OID}));
	PREPARE(key_plan, "SELECT last_value FROM pawl.key_seq", 0, NULL);
	PREPARE(prepared_plan, "SELECT FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database() LIMIT 1", 0, NULL);
	PREPARE(queue_plan,
			"SELECT q.queue_id FROM pawl.queue q WHERE q.queue_name = ANY ($1) UNION SELECT 0 WHERE 'default' = ANY ($1)",
			1, ((Oid[]) {TEXTARRAYOID}));

	/* The next lane after (queue_id, rank). */
	PREPARE(rank_plan,
			"SELECT w.queue_id, w.rank FROM pawl.workflow w"
			" WHERE (w.queue_id, w.rank) > ($1, $2) AND w.partition_key IS NULL AND w.ready_key IS NOT NULL"
			" ORDER BY w.queue_id, w.rank, w.ready_key LIMIT 1", 2, ((Oid[]) {INT4OID, INT8OID}));
	PREPARE(partitioned_plan,
			"SELECT w.queue_id FROM pawl.workflow w WHERE w.queue_id > $1 AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL"
			" ORDER BY w.queue_id, w.partition_key, w.rank, w.ready_key LIMIT 1", 1, ((Oid[]) {INT4OID}));
	PREPARE(partition_plan,
			"SELECT w.queue_id, w.partition_key FROM pawl.workflow w"
			" WHERE w.queue_id = $1 AND w.partition_key > $2 AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL"
			" ORDER BY w.queue_id, w.partition_key, w.rank, w.ready_key LIMIT 1", 2, partition_types);

	/*
	 * By ctid: joined by key, the update would see a newer version of the row than the one whose conditions were checked and return an
	 * input that a committed change had replaced.
	 */
#define RUNNABLE \
	" AND w.claimed_by IS NULL AND w.workflow_name = ANY ($8) AND (w.workflow_version IS NULL OR EXISTS (" \
	"SELECT FROM unnest($5, $9, $10) h (n, v, above) WHERE h.n = w.workflow_name" \
	" AND (h.v = w.workflow_version OR (NOT w.pinned AND w.workflow_version > h.above AND w.workflow_version < h.v))))"
	/* Whoever was there at two crashes in a row is left to claims of one alone. */
#define UNSUSPECTED " AND w.crashes < 2"
#define TAKE(more) \
	" UPDATE pawl.workflow w SET claimed_by = $7, epoch = w.epoch + 1, status = 'running', claimed_at = pg_catalog.statement_timestamp()," \
	" started_at = coalesce(w.started_at, pg_catalog.statement_timestamp()), deduplication_started = w.deduplication_id IS NOT NULL," more \
	" workflow_version = CASE WHEN w.workflow_version IS NULL THEN ($6)[pg_catalog.array_position($8, w.workflow_name)]" \
	" ELSE (SELECT min(h.v) FROM unnest($5, $9) h (n, v) WHERE h.n = w.workflow_name AND h.v >= w.workflow_version) END," \
	" deadline_at = CASE WHEN w.timeout IS NULL OR w.started_at IS NOT NULL THEN w.deadline_at" \
	" ELSE least(w.deadline_at, pg_catalog.statement_timestamp() + w.timeout) END" \
	" WHERE w.ctid = ANY (ARRAY(SELECT c.ctid FROM c))" \
	" RETURNING w.workflow_key, w.epoch, w.rank & 1 = 0, w.workflow_version, w.priority, w.recoveries, w.created_at, w.workflow_id," \
	" w.workflow_name, CASE w.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = w.queue_id) END," \
	" w.partition_key, coalesce(w.input, (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = w.workflow_key AND p.name = 'input'))," \
	" w.headers, w.attributes, w.deadline_at, w.cancel_reason, w.probation, w.parent_key, w.ready_key"
	PREPARE(claim_plan,
			"WITH c AS MATERIALIZED (SELECT w.ctid FROM pawl.workflow w"
			" WHERE w.queue_id = $1 AND w.rank = $2 AND w.partition_key IS NULL AND w.ready_key >= $3" RUNNABLE UNSUSPECTED
			" ORDER BY w.ready_key LIMIT $4 FOR UPDATE SKIP LOCKED)" TAKE(""), 10, claim_types);
	claim_types[1] = TEXTOID;
	PREPARE(partition_claim_plan,
			"WITH c AS MATERIALIZED (SELECT w.ctid FROM pawl.workflow w"
			" WHERE w.queue_id = $1 AND w.partition_key = $2 AND w.ready_key >= $3 AND w.ready_key IS NOT NULL" RUNNABLE UNSUSPECTED
			" ORDER BY w.rank, w.ready_key LIMIT $4 FOR UPDATE SKIP LOCKED)" TAKE(""), 10, claim_types);
	PREPARE(parent_plan, "SELECT w.workflow_id FROM pawl.workflow w WHERE w.workflow_key = $1", 1, ((Oid[]) {INT8OID}));
	PREPARE(ended_parent_plan, "SELECT h.workflow_id FROM pawl.workflow_history h WHERE h.workflow_key = $1 LIMIT 1", 1, ((Oid[]) {INT8OID}));
	claim_types[0] = INT4ARRAYOID;
	PREPARE(suspect_plan,
			"WITH c AS MATERIALIZED (SELECT w.ctid FROM pawl.workflow w"
			" WHERE w.crashes >= 2 AND w.ready_key IS NOT NULL AND ($1 IS NULL OR w.queue_id = ANY ($1))" RUNNABLE
			" ORDER BY w.ready_key LIMIT $4 FOR UPDATE SKIP LOCKED)" TAKE(" probation = true,"), 10, claim_types);
}

static Datum
column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

/* What became due is claimable from now on.  Whether there was any. */
static bool
make_due_ready(void)
{
	Datum		values[1] = {Int32GetDatum(DUE_BATCH)};

	if (SPI_execute_plan(due_plan, values, NULL, false, 0) != SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not look for what is due");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		bool		unversioned;
		Datum		version = column(i, 5, &unversioned);

		pawl_mark(DatumGetInt32(column(i, 1, &isnull)), DatumGetInt64(column(i, 2, &isnull)), DatumGetInt64(column(i, 3, &isnull)), DT_NOBEGIN,
				  TextDatumGetCString(column(i, 4, &isnull)), unversioned ? 0 : DatumGetInt32(version), DatumGetBool(column(i, 6, &isnull)));
	}
	return SPI_processed > 0;
}

static uint64
ring_end(void)
{
	uint64		end;

	SpinLockAcquire(&pawl_shared->ring_mutex);
	end = pawl_shared->ring_end;
	SpinLockRelease(&pawl_shared->ring_mutex);
	return end;
}

/* Takes what others reported behind this session's marks. */
static void
read_ring(void)
{
	PawlStraggler news[PAWL_RING];
	uint64		end;
	bool		lapped = false;

	SpinLockAcquire(&pawl_shared->ring_mutex);
	end = pawl_shared->ring_end;
	if (end - ring_position > PAWL_RING)
		lapped = true;
	else
		for (uint64 i = ring_position; i < end; i++)
			news[i - ring_position] = pawl_shared->ring[i % PAWL_RING];
	SpinLockRelease(&pawl_shared->ring_mutex);

	if (lapped)
	{
		pg_atomic_fetch_add_u64(&pawl_shared->laps, 1);
		pawl_claims_aborted();
	}
	else
		for (uint64 i = 0; i < end - ring_position; i++)
			lanes[news[i].lane].pending = Min(lanes[news[i].lane].pending, news[i].ready_key);
	ring_position = end;
}

static int64
newest_key(void)
{
	bool		isnull;

	if (SPI_execute_plan(key_plan, NULL, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read pawl.key_seq");
	return DatumGetInt64(column(0, 1, &isnull));
}

static uint64
hash_argument(Datum array, uint64 seed)
{
	ArrayType  *value = DatumGetArrayTypeP(array);

	return hash_bytes_extended((const unsigned char *) value, VARSIZE(value), seed);
}

static bool
prepared_transactions(void)
{
	if (SPI_execute_plan(prepared_plan, NULL, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for prepared transactions");
	return SPI_processed > 0;
}

/* The workflow_id of a parent, which may have ended; NULL: it is gone. */
static char *
parent_id(Datum key)
{
	SPITupleTable *rows = SPI_tuptable;
	char	   *id = NULL;
	SPIPlanPtr	plans[2] = {parent_plan, ended_parent_plan};

	for (int i = 0; i < 2 && id == NULL; i++)
	{
		if (SPI_execute_plan(plans[i], &key, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not look for a parent");
		if (SPI_processed > 0)
			id = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_tuptable = rows;
	return id;
}

static bool
is_sql_handler(const PawlOffer *offer, Datum name, Datum version)
{
	char	   *wanted;

	if (!offer->any_sql)
		return false;
	wanted = TextDatumGetCString(name);
	for (int i = 0; i < offer->count; i++)
		if (offer->sql[i] && offer->versions[i] == DatumGetInt32(version) && strcmp(offer->names[i], wanted) == 0)
			return true;
	return false;
}

/* What the statement returns of each row. */
enum
{
	ROW_VERSION = 3,
	ROW_NAME = 8,
	ROW_COMMON = 14,			/* so many are answered as they are */
	ROW_DEADLINE = 14,
	ROW_CANCEL_REASON,
	ROW_PROBATION,
	ROW_PARENT,
	ROW_READY_KEY,
	ROW_COLUMNS
};

#define RESULT_COLUMNS 20

/* One claimed row, as claim_workflows answers it. */
static void
put_result(Claim *claim, Datum *row, bool *nulls)
{
	Datum		values[RESULT_COLUMNS];
	bool		missing[RESULT_COLUMNS];

	memcpy(values, row, sizeof(Datum) * ROW_COMMON);
	memcpy(missing, nulls, sizeof(bool) * ROW_COMMON);
	values[14] = row[ROW_DEADLINE];
	missing[14] = nulls[ROW_DEADLINE];
	missing[15] = nulls[ROW_DEADLINE] || TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(row[ROW_DEADLINE]));
	if (!missing[15])
		values[15] = Int64GetDatum(DatumGetTimestampTz(row[ROW_DEADLINE]) - GetCurrentTimestamp());
	values[16] = row[ROW_CANCEL_REASON];
	missing[16] = nulls[ROW_CANCEL_REASON];
	values[17] = BoolGetDatum(is_sql_handler(claim->offer, row[ROW_NAME], row[ROW_VERSION]));
	missing[17] = false;
	values[18] = row[ROW_PROBATION];
	missing[18] = false;
	missing[19] = true;
	if (!nulls[ROW_PARENT])
	{
		char	   *id = parent_id(row[ROW_PARENT]);

		if (id != NULL)
		{
			values[19] = CStringGetTextDatum(id);
			missing[19] = false;
		}
	}
	tuplestore_putvalues(claim->result->setResult, claim->result->setDesc, values, missing);
}

/* Runs one claim statement and puts what it took into the result; answers how many, and the lowest and highest key. */
static int
take(Claim *claim, SPIPlanPtr plan, Datum queue, Datum second, int64 from, int limit, int64 *lowest, int64 *highest)
{
	const PawlOffer *offer = claim->offer;
	Datum		values[10] = {
		queue, second, Int64GetDatum(from), Int32GetDatum(limit), offer->name_array, offer->top_versions, claim->worker,
		offer->distinct_names, offer->version_array, offer->above_array
	};
	char		nulls[10] = {queue == (Datum) 0 && plan == suspect_plan ? 'n' : ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
	SPITupleTable *rows;
	int			taken;

	*lowest = NO_KEY;
	*highest = 0;
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not claim");
	taken = (int) SPI_processed;
	rows = SPI_tuptable;
	for (int i = 0; i < taken; i++)
	{
		Datum		row[ROW_COLUMNS];
		bool		missing[ROW_COLUMNS];
		int64		key;

		heap_deform_tuple(rows->vals[i], rows->tupdesc, row, missing);
		key = DatumGetInt64(row[ROW_READY_KEY]);
		*lowest = Min(*lowest, key);
		*highest = Max(*highest, key);
		put_result(claim, row, missing);
	}
	SPI_freetuptable(rows);
	claim->left -= taken;
	return taken;
}

/* One lane; without a mark if the table of lanes was full. */
static void
claim_from_lane(Claim *claim, int lane, int32 queue_id, int64 rank)
{
	LaneState  *state = lane < 0 ? NULL : &lanes[lane];
	int64		from = state == NULL ? 0 : Min(state->before_last, state->pending);
	int			asked = claim->left;
	int64		lowest;
	int64		highest;
	int64		mark;
	uint64		passed;
	bool		full;

	pawl_begin_touching(lane, from);
	full = take(claim, claim_plan, Int32GetDatum(queue_id), Int64GetDatum(rank), from, asked, &lowest, &highest) == asked;
	pawl_touch(lane, lowest);
	if (state == NULL)
		return;
	if (lowest < Min(state->before_reset, state->pending))
		pg_atomic_fetch_add_u64(&pawl_shared->rescued_by_reset, 1);
	state->before_reset = 0;

	mark = Max(state->last, full ? highest : claim->newest_key);
	/* A full claim may have ended below the last mark, or before a reported key: the next one goes on from there. */
	if (!full)
		state->pending = NO_KEY;
	else if (highest < state->last)
		state->pending = highest + 1;
	else if (state->pending <= highest)
		state->pending = NO_KEY;
	state->before_last = state->last;
	state->last = mark;

	passed = pg_atomic_read_u64(&pawl_shared->lanes[lane].passed);
	while (passed < (uint64) mark && !pg_atomic_compare_exchange_u64(&pawl_shared->lanes[lane].passed, &passed, mark))
		;
	pg_memory_barrier();
}

/* The partitions of a queue in turn, one entry from each, then again while something is left. */
static void
claim_from_partitions(Claim *claim, int32 queue_id)
{
	bool		wrapped = false;
	bool		found = false;
	int			visited = 0;
	int			taken = 0;

	while (claim->left > 0 && visited < (found ? PARTITIONS_VISITED : BARREN_PARTITIONS_VISITED))
	{
		Datum		values[2];
		bool		isnull;
		int64		lowest;
		int64		highest;
		Datum		key;
		int			share = Max(1, claim->left / 8);

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum(queue_id);
		values[1] = CStringGetTextDatum(partition_cursor == NULL ? "" : partition_cursor);
		if (SPI_execute_plan(partition_plan, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not look for partitions");
		if (SPI_processed == 0)
		{
			if (wrapped && taken == 0)
				break;
			wrapped = true;
			taken = 0;
			if (partition_cursor == NULL)
				break;
			pfree(partition_cursor);
			partition_cursor = NULL;
			continue;
		}
		visited++;
		key = column(0, 2, &isnull);
		if (partition_cursor != NULL)
			pfree(partition_cursor);
		partition_cursor = MemoryContextStrdup(TopMemoryContext, TextDatumGetCString(key));
		taken += take(claim, partition_claim_plan, Int32GetDatum(queue_id), CStringGetTextDatum(partition_cursor), 0, share, &lowest, &highest);
		found |= taken > 0;
	}
}

/* Finds every lane that has an entry, by skipping from one to the next. */
static void
discover_lanes(void)
{
	Datum		values[2] = {Int32GetDatum(-1), Int64GetDatum(0)};

	for (;;)
	{
		bool		isnull;

		if (SPI_execute_plan(rank_plan, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not look for queues");
		if (SPI_processed == 0)
			break;
		values[0] = column(0, 1, &isnull);
		values[1] = column(0, 2, &isnull);
		(void) pawl_lane(DatumGetInt32(values[0]), DatumGetInt64(values[1]));
	}
	for (int32 after = -1;;)
	{
		bool		isnull;
		Datum		value = Int32GetDatum(after);

		if (SPI_execute_plan(partitioned_plan, &value, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not look for partitioned queues");
		if (SPI_processed == 0)
			break;
		after = DatumGetInt32(column(0, 1, &isnull));
		(void) pawl_lane(after, PAWL_PARTITIONED_RANK);
	}
	discovered = true;
}

/* All lanes that have no place in shared memory, or all there are without shared memory: one after the other, from their beginning. */
static void
claim_without_marks(Claim *claim, bool (*wanted) (int32 queue_id, void *argument), void *argument)
{
	Datum		values[2] = {Int32GetDatum(-1), Int64GetDatum(0)};
	uint32		count = pawl_shared == NULL ? 0 : pg_atomic_read_u32(&pawl_shared->lane_count);

	while (claim->left > 0)
	{
		bool		isnull;
		bool		known = false;
		int32		queue_id;
		int64		rank;

		CHECK_FOR_INTERRUPTS();
		if (SPI_execute_plan(rank_plan, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not look for queues");
		if (SPI_processed == 0)
			break;
		values[0] = column(0, 1, &isnull);
		values[1] = column(0, 2, &isnull);
		queue_id = DatumGetInt32(values[0]);
		rank = DatumGetInt64(values[1]);
		for (uint32 i = 0; i < count && !known; i++)
			known = pawl_shared->lanes[i].database == MyDatabaseId && pawl_shared->lanes[i].queue_id == queue_id
				&& pawl_shared->lanes[i].rank == rank;
		if (!known && wanted(queue_id, argument))
			claim_from_lane(claim, -1, queue_id, rank);
	}
}

typedef struct QueueFilter
{
	bool		all;
	int			count;
	int32	   *ids;
} QueueFilter;

static bool
queue_wanted(int32 queue_id, void *argument)
{
	QueueFilter *filter = argument;

	if (filter->all)
		return true;
	for (int i = 0; i < filter->count; i++)
		if (filter->ids[i] == queue_id)
			return true;
	return false;
}

static int
compare_lanes(const void *a, const void *b)
{
	const PawlLane *x = &pawl_shared->lanes[*(const int *) a];
	const PawlLane *y = &pawl_shared->lanes[*(const int *) b];

	if (x->queue_id != y->queue_id)
		return x->queue_id < y->queue_id ? -1 : 1;
	return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Every lane of the database in shared memory: queue by queue, beginning with another one each time, ranks ascending. */
static void
claim_with_marks(Claim *claim, QueueFilter *filter)
{
	uint32		count = pg_atomic_read_u32(&pawl_shared->lane_count);
	int		   *mine = palloc(sizeof(int) * count);
	int			nmine = 0;
	int			queues = 0;
	int			first = 0;

	pg_read_barrier();
	for (uint32 i = 0; i < count; i++)
		if (pawl_shared->lanes[i].database == MyDatabaseId && queue_wanted(pawl_shared->lanes[i].queue_id, filter))
			mine[nmine++] = i;
	if (nmine == 0)
		return;
	qsort(mine, nmine, sizeof(int), compare_lanes);
	for (int i = 0; i < nmine; i++)
		queues += i == 0 || pawl_shared->lanes[mine[i]].queue_id != pawl_shared->lanes[mine[i - 1]].queue_id;
	for (int i = 0, at = -1, begin = turn++ % queues; i < nmine; i++)
	{
		at += i == 0 || pawl_shared->lanes[mine[i]].queue_id != pawl_shared->lanes[mine[i - 1]].queue_id;
		if (at == begin)
		{
			first = i;
			break;
		}
	}
	for (int i = 0; i < nmine && claim->left > 0; i++)
	{
		int			lane = mine[(first + i) % nmine];
		PawlLane   *it = &pawl_shared->lanes[lane];

		if (it->rank == PAWL_PARTITIONED_RANK)
			claim_from_partitions(claim, it->queue_id);
		else
			claim_from_lane(claim, lane, it->queue_id, it->rank);
	}
}

/* One entry that was there at two crashes in a row: it runs on probation. */
static void
claim_suspect(Claim *claim, QueueFilter *filter)
{
	Datum		queues = (Datum) 0;
	int64		lowest;
	int64		highest;

	if (!filter->all)
	{
		Datum	   *ids = palloc(sizeof(Datum) * Max(filter->count, 1));

		for (int i = 0; i < filter->count; i++)
			ids[i] = Int32GetDatum(filter->ids[i]);
		queues = PointerGetDatum(construct_array(ids, filter->count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	}
	(void) take(claim, suspect_plan, queues, Int64GetDatum(0), 0, 1, &lowest, &highest);
}

/* Whether the worker may claim now; sets its number. */
static bool
worker_state(Datum worker, int32 *number, bool *held)
{
	bool		isnull;
	Datum		values[1] = {worker};

	if (SPI_execute_plan(state_plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the worker");
	if (SPI_processed == 0)
		return false;
	*number = DatumGetInt32(column(0, 1, &isnull));
	*held = DatumGetBool(column(0, 3, &isnull));
	return DatumGetBool(column(0, 2, &isnull));
}

/*
 * claim_workflows(worker_id uuid, max_workflows integer, workflow_names text[], workflow_versions integer[], queues text[], alone boolean)
 *
 * SECURITY DEFINER with its plan settings in the declaration: the planner would go to a hash join, or a sort of the whole queue.
 */
PG_FUNCTION_INFO_V1(pawl_claim_workflows_1_0);
Datum
pawl_claim_workflows_1_0(PG_FUNCTION_ARGS)
{
	Claim		claim = {0};
	QueueFilter filter = {.all = PG_ARGISNULL(4)};
	bool		alone = PG_NARGS() > 5 && !PG_ARGISNULL(5) && PG_GETARG_BOOL(5);
	int32		number = 0;
	bool		held = false;
	bool		polled = pawl_take_poll();
	uint64		handlers;
	uint64		prepared = 0;
	int			asked;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a claim needs a worker_id, workflow_names, workflow_versions, and max_workflows of at least 1"),
				 errdetail("max_workflows is %s.", PG_ARGISNULL(1) ? "null" : psprintf("%d", PG_GETARG_INT32(1))),
				 errhint("Give the arrays that the worker registered, and how many more workflows it can run.")));
	if (XactIsoLevel != XACT_READ_COMMITTED)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("pawl.claim_workflows runs in READ COMMITTED only"),
				 errdetail("With one snapshot for the whole transaction it would claim what others have claimed."),
				 errhint("SET default_transaction_isolation TO 'read committed' in the worker's sessions.")));
	PreventCommandIfReadOnly("claim_workflows()");

	InitMaterializedSRF(fcinfo, 0);
	claim.result = (ReturnSetInfo *) fcinfo->resultinfo;
	claim.worker = PG_GETARG_DATUM(0);
	asked = claim.left = PG_GETARG_INT32(1);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	prepare_plans();

	/*
	 * Whoever declares this worker dead takes the other side of this lock before it looks for what the worker has claimed: a claim that is
	 * under way is seen there, and one that begins later sees that its worker is dead.
	 */
	if (!worker_state(claim.worker, &number, &held))
		number = 0;
	else
	{
		DirectFunctionCall2(pg_advisory_xact_lock_shared_int4, Int32GetDatum(PAWL_CLAIM_LOCK_CLASS), Int32GetDatum(number));
		if (!worker_state(claim.worker, &number, &held))
			number = 0;
	}
	if (number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_UNKNOWN_WORKER),
				 errmsg("worker %s cannot claim", DatumGetCString(DirectFunctionCall1(uuid_out, claim.worker))),
				 errdetail("It is not registered, has ended, or was declared dead."),
				 errhint("Drop what it was running and register with a new worker_id.")));
	claim.offer = pawl_offer(PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
	if (held || claim.offer->count == 0)
	{
		SPI_finish();
		return (Datum) 0;
	}
	if (!filter.all)
	{
		Datum		values[1] = {PG_GETARG_DATUM(4)};

		if (SPI_execute_plan(queue_plan, values, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not read the queues");
		filter.ids = palloc(sizeof(int32) * Max(SPI_processed, 1));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;

			filter.ids[filter.count++] = DatumGetInt32(column(i, 1, &isnull));
		}
	}

	/* Those have no marks: every claim of them looks at all there are, which are few. */
	if (alone)
	{
		claim_suspect(&claim, &filter);
		SPI_finish();
		return (Datum) 0;
	}

	/* A wait until something is due was no poll. */
	if (make_due_ready())
		polled = false;

	if (pawl_attach())
	{
		uint64		generation;

		if (lanes == NULL)
		{
			lanes = MemoryContextAllocZero(TopMemoryContext, sizeof(LaneState) * PAWL_LANES);
			pawl_claims_aborted();
			last_reset = GetCurrentTimestamp();
			ring_position = ring_end();
			/* Prepared transactions of before the server's start were never counted. */
			prepare_generation = PG_UINT64_MAX;
		}
		/*
		 * A mark has passed what this worker could not run when it claimed: with other handlers or queues, or after it inherited the versions of
		 * a worker that ended, it begins anew.
		 */
		handlers = claim.offer->hash ^ (filter.all ? 0 : hash_argument(PG_GETARG_DATUM(4), 1));
		if (handlers != handlers_hash)
			pawl_claims_aborted();
		handlers_hash = handlers;

		/* Before the snapshot of the claim: the news, then the newest key. */
		generation = pg_atomic_read_u64(&pawl_shared->reset_generation);
		if (generation != reset_generation)
		{
			reset_generation = generation;
			pawl_claims_aborted();
		}
		if (GetCurrentTimestamp() - last_reset > RESET_INTERVAL)
		{
			begin_anew();
			discovered = false;
			pawl_forget_offer();
		}
		prepared = pg_atomic_read_u64(&pawl_shared->prepare_generation);
		if (prepared != prepare_generation)
		{
			/* While there is one, and once more after the last: a COMMIT PREPARED reports no keys. */
			bool		more = prepared_transactions();

			pawl_claims_aborted();
			/* Those of before the server's start have told no session of their lanes. */
			discovered = false;
			if (!more)
				prepare_generation = prepared;
		}
		if (!discovered)
			discover_lanes();
		read_ring();
	}
	claim.newest_key = newest_key();

	if (pawl_shared != NULL)
		claim_with_marks(&claim, &filter);
	if (claim.left > 0 && (pawl_shared == NULL || pg_atomic_read_u32(&pawl_shared->lanes_overflowed) != 0))
		claim_without_marks(&claim, queue_wanted, &filter);

	if (claim.left == 0)
		pawl_hand_on();
	if (polled && claim.left < asked && pawl_shared != NULL)
		pg_atomic_fetch_add_u64(&pawl_shared->rescued_by_poll, 1);
	SPI_finish();
	return (Datum) 0;
}
