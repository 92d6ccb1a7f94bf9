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
#include "gate.h"
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
/* Partitions that gave nothing, visited by one claim of a session that finds work elsewhere, or finds none; the next claim goes on there. */
#define BARREN_WHILE_BUSY 8
#define BARREN_WHILE_IDLE 512

/* A partition whose entries cannot run here is not looked through again before so many times as long, while there is work elsewhere. */
#define BARREN_REST 20
#define BARREN_LOOK 1000		/* microseconds; less is not worth remembering */
#define BARREN_PARTITIONS 1000

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
static bool unfinished = false; /* some partitions were not looked at yet */

/* Partitions are visited in the order of their keys, round after round; a round may take more than one claim. */
typedef struct Round
{
	int32		queue_id;
	bool		under_way;
	bool		wrapped;		/* it went on from the first key */
	bool		skipped;		/* it left out a barren partition */
	int			served;			/* so many partitions gave something */
	uint64		arming;			/* of the waiter, if the session was armed when it began */
	uint64		settled;		/* that arming: a round since then found nothing, and what comes wakes the session */
	char		cursor[PAWL_MAX_ID + 1];	/* visited last */
	char		from[PAWL_MAX_ID + 1];	/* where it began */
} Round;

static HTAB *rounds = NULL;		/* by queue */

typedef struct BarrenPartition
{
	struct
	{
		int32		queue_id;
		char		partition[PAWL_MAX_ID + 1];
	}			key;
	TimestampTz rests_until;
} BarrenPartition;

static HTAB *barren = NULL;
static bool busy = false;		/* the last claim found something */

/* Two of a kind: without limits, and through a gate. */
typedef struct ClaimPlans
{
	SPIPlanPtr	lane,
				partition,
				suspect;
} ClaimPlans;

static SPIPlanPtr state_plan,
			due_plan,
			key_plan,
			rank_plan,
			partitioned_plan,
			partition_plan,
			prepared_plan,
			probe_plan,
			partition_probe_plan,
			held_probe_plan,
			held_plan,
			suspects_plan,
			parent_plan,
			ended_parent_plan,
			queue_plan;
static ClaimPlans free_plans,
			limited_plans;

typedef struct Claim
{
	ReturnSetInfo *result;
	Datum		worker;
	const PawlOffer *offer;
	int			left;
	bool		found;			/* it has claimed something */
	int64		newest_key;		/* drawn before the claim's snapshot */
	PawlLimits *limits;			/* of the queues that are paused or limited */
	int			nlimits;
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
	 * version. $7 the worker, $11 when it starts, $4 how many at most.
	 */
	Oid			claim_types[11] = {INT4OID, INT8OID, INT8OID, INT4OID, TEXTARRAYOID, INT4ARRAYOID, UUIDOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID};

	/* The last of them: an error half-way leaves the others to be made again. */
	if (held_plan != NULL)
		return;

	/* One row: worker_number, whether it is alive, whether the database is held. */
	state_plan = pawl_prepare(
		"SELECT w.worker_number, w.ended_at IS NULL, (SELECT i.held_at IS NOT NULL FROM pawl.installation i)"
		" FROM pawl.worker w WHERE w.worker_id = $1", 1, ((Oid[]) {UUIDOID}));
	/* The clock in a subquery is read once, and bounds the scan; bare, it is asked of every sleeper. */
	due_plan = pawl_prepare(
		"WITH d AS MATERIALIZED (SELECT w.ctid FROM pawl.workflow w WHERE w.due_at <= (SELECT pg_catalog.clock_timestamp())"
		" ORDER BY w.due_at LIMIT $1 FOR UPDATE SKIP LOCKED)"
		" UPDATE pawl.workflow w SET due_at = NULL, status = 'enqueued', waiting_for = NULL, ready_key = pg_catalog.nextval('pawl.key_seq')"
		" WHERE w.ctid = ANY (ARRAY(SELECT d.ctid FROM d))"
		" RETURNING w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key IS NOT NULL",
		1, ((Oid[]) {INT4OID}));
	key_plan = pawl_prepare("SELECT last_value FROM pawl.key_seq", 0, NULL);
	prepared_plan = pawl_prepare("SELECT FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database() LIMIT 1", 0, NULL);
	queue_plan = pawl_prepare(
		"SELECT q.queue_id FROM pawl.queue q WHERE q.queue_name = ANY ($1) UNION SELECT 0 WHERE 'default' = ANY ($1)",
		1, ((Oid[]) {TEXTARRAYOID}));

	/* The next lane after (queue_id, rank). */
	rank_plan = pawl_prepare(
		"SELECT w.queue_id, w.rank FROM pawl.workflow w"
		" WHERE (w.queue_id, w.rank) > ($1, $2) AND w.partition_key IS NULL AND w.ready_key IS NOT NULL"
		" ORDER BY w.queue_id, w.rank, w.ready_key LIMIT 1", 2, ((Oid[]) {INT4OID, INT8OID}));
	partitioned_plan = pawl_prepare(
		"SELECT w.queue_id FROM pawl.workflow w WHERE w.queue_id > $1 AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL"
		" ORDER BY w.queue_id, w.partition_key, w.rank, w.ready_key LIMIT 1", 1, ((Oid[]) {INT4OID}));
	/* The next partition after $2, the rank of what comes first in it, and whether it is past $3. */
	partition_plan = pawl_prepare(
		"SELECT w.partition_key, w.rank, w.partition_key > $3 FROM pawl.workflow w"
		" WHERE w.queue_id = $1 AND w.partition_key > $2 AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL"
		" ORDER BY w.queue_id, w.partition_key, w.rank, w.ready_key LIMIT 1", 3, ((Oid[]) {INT4OID, TEXTOID, TEXTOID}));

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
#define IN_LANE "w.queue_id = $1 AND w.rank = $2 AND w.partition_key IS NULL AND w.ready_key >= $3" RUNNABLE UNSUSPECTED
	/* $3: up to which rank; an even one lets nothing start for the first time. */
#define IN_PARTITION "w.queue_id = $1 AND w.partition_key = $2 AND w.rank <= $3 AND ($3 & 1 = 1 OR w.rank & 1 = 0) AND w.ready_key IS NOT NULL" \
	RUNNABLE UNSUSPECTED
#define EVERY_RANK PG_INT64_MAX
	/* A parked one that kept its permit, and woke up. */
#define HELD "w.running_in = $1 AND w.ready_key IS NOT NULL AND $2 >= 0 AND $3 >= 0" RUNNABLE UNSUSPECTED
	/* $3: whether there is room for one that has no permit. */
#define SUSPECT "w.crashes >= 2 AND w.ready_key IS NOT NULL AND w.queue_id = $1 AND w.partition_key IS NOT DISTINCT FROM $2" \
	" AND ($3 > 0 OR w.running_in IS NOT NULL)" RUNNABLE
#define TAKE(what, order, more, keys) \
	"WITH c AS MATERIALIZED (SELECT w.ctid, w.ready_key FROM pawl.workflow w WHERE " what " ORDER BY " order " LIMIT $4 FOR UPDATE SKIP LOCKED)" \
	" UPDATE pawl.workflow w SET claimed_by = $7, epoch = w.epoch + 1, status = 'running', claimed_at = $11," \
	" started_at = coalesce(w.started_at, $11), deduplication_started = w.deduplication_id IS NOT NULL," more \
	" workflow_version = CASE WHEN w.workflow_version IS NULL THEN ($6)[pg_catalog.array_position($8, w.workflow_name)]" \
	" ELSE (SELECT min(h.v) FROM unnest($5, $9) h (n, v) WHERE h.n = w.workflow_name AND h.v >= w.workflow_version) END," \
	" deadline_at = CASE WHEN w.timeout IS NULL OR w.started_at IS NOT NULL THEN w.deadline_at" \
	" ELSE least(w.deadline_at, $11 + w.timeout) END" \
	" WHERE w.ctid = ANY (ARRAY(SELECT c.ctid FROM c))" \
	" RETURNING w.workflow_key, w.epoch, w.rank & 1 = 0 OR w.forked_from IS NOT NULL, w.workflow_version, w.priority, w.recoveries, w.created_at, w.workflow_id," \
	" w.workflow_name, CASE w.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = w.queue_id) END," \
	" w.partition_key, coalesce(w.input, (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = w.workflow_key AND p.name = 'input'))," \
	" w.headers, w.attributes, w.deadline_at, w.cancel_reason, w.probation, w.parent_key, w.rank & 1 = 1," keys
	/* What runs in a limited queue is counted by running_in, and has left the index of the claimable ones. */
#define LIMITED " running_in = w.queue_id, ready_key = NULL,"
#define OWN_KEYS " w.ready_key, w.ready_key"
#define FORMER_KEYS " (SELECT min(c.ready_key) FROM c), (SELECT max(c.ready_key) FROM c)"

	free_plans.lane = pawl_prepare(TAKE(IN_LANE, "w.ready_key", "", OWN_KEYS), 11, claim_types);
	limited_plans.lane = pawl_prepare(TAKE(IN_LANE, "w.ready_key", LIMITED, FORMER_KEYS), 11, claim_types);
	probe_plan = pawl_prepare("SELECT FROM pawl.workflow w WHERE " IN_LANE " ORDER BY w.ready_key LIMIT $4", 10, claim_types);
	claim_types[1] = TEXTOID;
	free_plans.partition = pawl_prepare(TAKE(IN_PARTITION, "w.rank, w.ready_key", "", OWN_KEYS), 11, claim_types);
	limited_plans.partition = pawl_prepare(TAKE(IN_PARTITION, "w.rank, w.ready_key", LIMITED, FORMER_KEYS), 11, claim_types);
	partition_probe_plan = pawl_prepare("SELECT FROM pawl.workflow w WHERE " IN_PARTITION " ORDER BY w.rank, w.ready_key LIMIT $4", 10, claim_types);
	free_plans.suspect = pawl_prepare(TAKE(SUSPECT, "w.ready_key", " probation = true,", OWN_KEYS), 11, claim_types);
	limited_plans.suspect = pawl_prepare(TAKE(SUSPECT, "w.ready_key", LIMITED " probation = true,", FORMER_KEYS), 11, claim_types);
	suspects_plan = pawl_prepare(
		"SELECT w.queue_id, w.partition_key FROM pawl.workflow w WHERE w.crashes >= 2 AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL AND ($1 IS NULL OR w.queue_id = ANY ($1))"
		" GROUP BY w.queue_id, w.partition_key ORDER BY min(w.ready_key)", 1, ((Oid[]) {INT4ARRAYOID}));
	parent_plan = pawl_prepare("SELECT w.workflow_id FROM pawl.workflow w WHERE w.workflow_key = $1", 1, ((Oid[]) {INT8OID}));
	ended_parent_plan = pawl_prepare("SELECT w.workflow_id FROM pawl.workflow w WHERE w.workflow_key = $1"
									 " UNION ALL SELECT h.workflow_id FROM pawl.workflow_history h WHERE h.workflow_key = $1 LIMIT 1", 1,
									 ((Oid[]) {INT8OID}));
	claim_types[1] = INT8OID;
	held_probe_plan = pawl_prepare("SELECT FROM pawl.workflow w WHERE " HELD " LIMIT $4", 10, claim_types);
	held_plan = pawl_prepare(TAKE(HELD, "w.rank, w.ready_key", LIMITED, FORMER_KEYS), 11, claim_types);
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

/*
 * The workflow_id of a parent, which may have ended; NULL: it is gone. The second look is at both tables, because it may have been resumed since
 * the first.
 */
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
	ROW_BEGAN = 2,
	ROW_VERSION,
	ROW_PRIORITY,
	ROW_NAME = 8,
	ROW_COMMON = 14,			/* so many are answered as they are */
	ROW_DEADLINE = 14,
	ROW_CANCEL_REASON,
	ROW_PROBATION,
	ROW_PARENT,
	ROW_STARTS,					/* for the first time: a copy, which has steps to be read, may do so too */
	ROW_LOWEST_KEY,
	ROW_HIGHEST_KEY,
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

/* What a claim statement took. */
typedef struct Taken
{
	int			count;
	int			started;		/* of them for the first time */
	int64		lowest;			/* ready keys */
	int64		highest;
} Taken;

static void
fill_values(Claim *claim, Datum *values, int32 queue_id, Datum second, int64 third, int limit)
{
	const PawlOffer *offer = claim->offer;
	Datum		all[10] = {
		Int32GetDatum(queue_id), second, Int64GetDatum(third), Int32GetDatum(limit), offer->name_array, offer->top_versions, claim->worker,
		offer->distinct_names, offer->version_array, offer->above_array
	};

	memcpy(values, all, sizeof(all));
}

/* Whether there is something to claim: that costs less than a gate. */
static bool
probe(Claim *claim, SPIPlanPtr plan, int32 queue_id, Datum second, int64 third)
{
	Datum		values[10];

	fill_values(claim, values, queue_id, second, third, 1);
	if (SPI_execute_plan(plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for something to claim");
	return SPI_processed > 0;
}

/* Runs one claim statement and puts what it took into the result. limits: the gate that it goes through. second: NULL is possible for a text. */
static Taken
take(Claim *claim, PawlLimits *limits, SPIPlanPtr plan, int32 queue_id, Datum second, bool second_null, int64 third, int limit)
{
	Datum		values[11];
	char		nulls[11] = {' ', second_null ? 'n' : ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
	Taken		taken = {.lowest = NO_KEY};
	SPITupleTable *rows;

	fill_values(claim, values, queue_id, second, third, limit);
	values[10] = TimestampTzGetDatum(limits == NULL ? GetCurrentStatementStartTimestamp() : limits->now);
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_UPDATE_RETURNING)
		elog(ERROR, "could not claim");
	taken.count = (int) SPI_processed;
	rows = SPI_tuptable;
	for (int i = 0; i < taken.count; i++)
	{
		Datum		row[ROW_COLUMNS];
		bool		missing[ROW_COLUMNS];

		heap_deform_tuple(rows->vals[i], rows->tupdesc, row, missing);
		taken.lowest = Min(taken.lowest, DatumGetInt64(row[ROW_LOWEST_KEY]));
		taken.highest = Max(taken.highest, DatumGetInt64(row[ROW_HIGHEST_KEY]));
		taken.started += DatumGetBool(row[ROW_STARTS]);
		/* Claimed beside its lane: whoever has passed it there must hear of it if this aborts. */
		if (plan == held_plan && pawl_shared != NULL)
			pawl_touch(pawl_lane(queue_id, 2 * (int64) DatumGetInt32(row[ROW_PRIORITY])), DatumGetInt64(row[ROW_LOWEST_KEY]));
		put_result(claim, row, missing);
	}
	SPI_freetuptable(rows);
	claim->left -= taken.count;
	claim->found |= taken.count > 0;
	if (limits != NULL)
		pawl_took(limits, taken.count, taken.started, plan == held_plan);
	return taken;
}

/* What a look at a lane, from its mark on, has come to; full: it took all that it asked for. */
static void
move_mark(int64 newest_key, int lane, bool full, int64 lowest, int64 highest)
{
	LaneState  *state = &lanes[lane];
	int64		mark = Max(state->last, full ? highest : newest_key);
	uint64		passed;

	if (lowest < Min(state->before_reset, state->pending))
		pg_atomic_fetch_add_u64(&pawl_shared->rescued_by_reset, 1);
	state->before_reset = 0;

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

/* How many may be claimed through a gate, of those that began already or of all. */
static int
room_for(const Claim *claim, const PawlLimits *limits, bool first_starts)
{
	int			room = Min(claim->left, Min(limits->room, limits->worker_room));

	return first_starts ? Min(room, limits->starts) : room;
}

static BarrenPartition *
barren_partition(int32 queue_id, const char *partition, HASHACTION action)
{
	BarrenPartition wanted = {0};
	HASHCTL		control = {.keysize = sizeof(wanted.key), .entrysize = sizeof(BarrenPartition), .hcxt = TopMemoryContext};

	if (barren == NULL)
		barren = hash_create("pawl barren partitions", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	wanted.key.queue_id = queue_id;
	strlcpy(wanted.key.partition, partition, sizeof(wanted.key.partition));
	return hash_search(barren, &wanted.key, action, NULL);
}

static bool
rests(int32 queue_id, const char *partition)
{
	BarrenPartition *it = busy && barren != NULL && hash_get_num_entries(barren) > 0 ? barren_partition(queue_id, partition, HASH_FIND) : NULL;

	return it != NULL && GetCurrentTimestamp() < it->rests_until;
}

/* A look through a partition that began then found nothing. */
static void
found_barren(int32 queue_id, const char *partition, TimestampTz began)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now - began < BARREN_LOOK)
		return;
	if (barren != NULL && hash_get_num_entries(barren) >= BARREN_PARTITIONS)
	{
		hash_destroy(barren);
		barren = NULL;
	}
	barren_partition(queue_id, partition, HASH_ENTER)->rests_until = now + BARREN_REST * (now - began);
}

/* Whether nothing of a queue is claimed now, as this claim knows already, or as the one before it found at some cost. */
static bool
passed_by(const PawlLimits *limits)
{
	if (limits->open)
		return false;
	if (limits->asked || (limits->measured && (limits->room <= 0 || limits->worker_room <= 0)))
		return true;
	if (!rests(limits->queue_id, ""))
		return false;
	unfinished = true;
	return true;
}

/* Something of a queue could be claimed, as far as its limits let it. */
static bool
open_gate(Claim *claim, PawlLimits *limits)
{
	TimestampTz began = GetCurrentTimestamp();

	if (limits->open)
		return true;
	if (!pawl_is_full(limits))
		return pawl_open_gate(limits, claim->left);
	found_barren(limits->queue_id, "", began);
	return false;
}

/* One lane; without a mark if the table of lanes was full. */
static void
claim_from_lane(Claim *claim, PawlLimits *limits, int lane, int32 queue_id, int64 rank)
{
	int64		from = lane < 0 ? 0 : Min(lanes[lane].before_last, lanes[lane].pending);
	bool		first_starts = rank & 1;
	int			asked = claim->left;
	Taken		taken;

	if (limits != NULL)
	{
		/* A lane that is not looked at keeps its mark. */
		if (!limits->open)
		{
			if (passed_by(limits) || (first_starts && limits->slot_in > 0))
				return;
			if (!probe(claim, probe_plan, queue_id, Int64GetDatum(rank), from))
			{
				if (lane >= 0)
					move_mark(claim->newest_key, lane, false, NO_KEY, 0);
				return;
			}
			if (!open_gate(claim, limits))
				return;
		}
		asked = room_for(claim, limits, first_starts);
		if (asked <= 0)
			return;
	}
	pawl_begin_touching(lane, from);
	taken = take(claim, limits, limits == NULL ? free_plans.lane : limited_plans.lane, queue_id, Int64GetDatum(rank), false, from, asked);
	pawl_touch(lane, taken.lowest);
	if (lane >= 0)
		move_mark(claim->newest_key, lane, taken.count == asked, taken.lowest, taken.highest);
}

/* Parked ones that kept their permits and woke up. */
static void
claim_held(Claim *claim, PawlLimits *limits)
{
	if (!probe(claim, held_probe_plan, limits->queue_id, Int64GetDatum(0), 0))
		return;
	pawl_measure(limits);
	if (limits->worker_room <= 0 || !pawl_open_gate(limits, claim->left))
		return;
	if (limits->hold && limits->worker_room > 0)
		(void) take(claim, limits, held_plan, limits->queue_id, Int64GetDatum(0), false, 0, Min(claim->left, limits->worker_room));
}

static Round *
round_of(int32 queue_id)
{
	HASHCTL		control = {.keysize = sizeof(int32), .entrysize = sizeof(Round), .hcxt = TopMemoryContext};
	Round	   *round;
	bool		found;

	if (rounds == NULL)
		rounds = hash_create("pawl rounds", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	round = hash_search(rounds, &queue_id, HASH_ENTER, &found);
	if (!found)
		memset((char *) round + sizeof(int32), 0, sizeof(Round) - sizeof(int32));
	return round;
}

static void
begin_round(Round *round)
{
	round->under_way = true;
	round->wrapped = round->skipped = false;
	round->served = 0;
	round->arming = pawl_arming();
	strlcpy(round->from, round->cursor, sizeof(round->from));
}

/* The next partition of a round, and the rank of what comes first in it; NULL: the round is over. */
static char *
next_partition(Round *round, int64 *first_rank)
{
	for (;;)
	{
		Datum		values[3] = {Int32GetDatum(round->queue_id), CStringGetTextDatum(round->cursor), CStringGetTextDatum(round->from)};
		bool		isnull;

		if (SPI_execute_plan(partition_plan, values, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not look for partitions");
		if (SPI_processed > 0 && !(round->wrapped && DatumGetBool(column(0, 3, &isnull))))
		{
			*first_rank = DatumGetInt64(column(0, 2, &isnull));
			return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		}
		if (round->wrapped)
			return NULL;
		round->wrapped = true;
		round->cursor[0] = '\0';
	}
}

/* How many of a partition may be claimed, and up to which rank. */
static int
room_in_partition(const Claim *claim, const PawlLimits *limits, Datum partition, int64 first_rank, int64 *up_to)
{
	bool		may_start = limits->open ? limits->starts > 0 : limits->slot_in <= 0;

	/* New ones at the head of a partition keep what is behind them waiting for a slot. */
	if (!may_start && (first_rank & 1))
		return 0;
	*up_to = may_start ? EVERY_RANK : first_rank;
	return Min(limits->open ? room_for(claim, limits, may_start) : claim->left, pawl_partition_room(limits, partition));
}

/* Up to share of one partition.  How many were claimed; -1: the queue has no room, or another claim is at its gate. */
static int
claim_from_partition(Claim *claim, PawlLimits *limits, int32 queue_id, const char *key, int64 first_rank, int share)
{
	Datum		partition = CStringGetTextDatum(key);
	TimestampTz began = GetCurrentTimestamp();
	int64		up_to = EVERY_RANK;
	int			taken;

	if (limits != NULL)
	{
		share = Min(share, room_in_partition(claim, limits, partition, first_rank, &up_to));
		if (share > 0 && !limits->open)
		{
			if (!probe(claim, partition_probe_plan, queue_id, partition, up_to))
			{
				found_barren(queue_id, key, began);
				return 0;
			}
			if (!open_gate(claim, limits))
				return -1;
			/* Once more, by the snapshots that count. */
			share = Min(share, room_in_partition(claim, limits, partition, first_rank, &up_to));
		}
		if (share <= 0)
			return 0;
	}
	taken = take(claim, limits, limits == NULL ? free_plans.partition : limited_plans.partition, queue_id, partition, false, up_to, share).count;
	if (taken == 0)
		found_barren(queue_id, key, began);
	return taken;
}

/*
 * The partitions of a queue in turn, one entry from each; once all were visited, and while something is left, more of each.
 */
static void
claim_from_partitions(Claim *claim, PawlLimits *limits, int32 queue_id)
{
	Round	   *round = round_of(queue_id);
	int			visited = 0;
	int			share = 1;

	if (limits != NULL && passed_by(limits))
		return;
	if (!round->under_way)
	{
		if (round->settled != 0 && round->settled == pawl_arming())
			return;
		begin_round(round);
	}
	while (claim->left > 0 && (limits == NULL || !limits->open || room_for(claim, limits, false) > 0))
	{
		char	   *key;
		int64		first_rank;
		int			taken = 0;

		CHECK_FOR_INTERRUPTS();
		if (visited >= (busy || claim->found ? BARREN_WHILE_BUSY : BARREN_WHILE_IDLE))
		{
			unfinished = true;
			return;
		}
		key = next_partition(round, &first_rank);
		if (key == NULL && round->served == 0)
		{
			round->under_way = false;
			round->settled = round->arming == pawl_arming() && !round->skipped ? round->arming : 0;
			unfinished |= round->skipped;
			return;
		}
		if (key == NULL)
		{
			share = Max(1, claim->left / round->served);
			begin_round(round);
			continue;
		}
		if (rests(queue_id, key))
			round->skipped = true;
		else
			taken = claim_from_partition(claim, limits, queue_id, key, first_rank, share);
		if (taken < 0)
			return;
		strlcpy(round->cursor, key, sizeof(round->cursor));
		round->served += taken > 0;
		visited += taken == 0;
	}
}

/* By rank_plan from one queue and rank that has an entry to the next, by partitioned_plan from one queue; false: that was the last. */
static bool
skip_on(SPIPlanPtr plan, Datum *place)
{
	bool		isnull;

	CHECK_FOR_INTERRUPTS();
	if (SPI_execute_plan(plan, place, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for queues");
	if (SPI_processed == 0)
		return false;
	for (int i = 0; i < SPI_tuptable->tupdesc->natts; i++)
		place[i] = column(0, i + 1, &isnull);
	return true;
}

/* Finds every lane that has an entry, by skipping from one to the next. */
static void
discover_lanes(void)
{
	Datum		after[2] = {Int32GetDatum(-1), Int64GetDatum(0)};

	while (skip_on(rank_plan, after))
		(void) pawl_lane(DatumGetInt32(after[0]), DatumGetInt64(after[1]));
	after[0] = Int32GetDatum(-1);
	while (skip_on(partitioned_plan, after))
		(void) pawl_lane(DatumGetInt32(after[0]), PAWL_PARTITIONED_RANK);
	discovered = true;
}

static bool
is_paused(const Claim *claim, int32 queue_id)
{
	const PawlLimits *limits = pawl_limits_of(claim->limits, claim->nlimits, queue_id);

	return limits != NULL && limits->paused;
}

typedef struct QueueFilter
{
	bool		all;
	int			count;
	int32	   *ids;
	Datum		array;			/* of them, for SQL; 0: all */
} QueueFilter;

static bool
queue_wanted(int32 queue_id, const QueueFilter *filter)
{
	if (filter->all)
		return true;
	for (int i = 0; i < filter->count; i++)
		if (filter->ids[i] == queue_id)
			return true;
	return false;
}

/* A lane that has no place in shared memory, or any without shared memory: from its beginning. */
static void
claim_without_mark(Claim *claim, const QueueFilter *filter, int32 queue_id, int64 rank)
{
	PawlLimits *limits = pawl_limits_of(claim->limits, claim->nlimits, queue_id);

	if (pawl_known_lane(queue_id, rank) >= 0 || !queue_wanted(queue_id, filter) || is_paused(claim, queue_id))
		return;
	if (rank == PAWL_PARTITIONED_RANK)
		claim_from_partitions(claim, limits, queue_id);
	else
		claim_from_lane(claim, limits, -1, queue_id, rank);
}

/* All of those, one after the other. */
static void
claim_without_marks(Claim *claim, const QueueFilter *filter)
{
	Datum		after[2] = {Int32GetDatum(-1), Int64GetDatum(0)};

	while (claim->left > 0 && skip_on(rank_plan, after))
		claim_without_mark(claim, filter, DatumGetInt32(after[0]), DatumGetInt64(after[1]));
	after[0] = Int32GetDatum(-1);
	while (claim->left > 0 && skip_on(partitioned_plan, after))
		claim_without_mark(claim, filter, DatumGetInt32(after[0]), PAWL_PARTITIONED_RANK);
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
		if (pawl_shared->lanes[i].database == MyDatabaseId && queue_wanted(pawl_shared->lanes[i].queue_id, filter)
			&& !is_paused(claim, pawl_shared->lanes[i].queue_id))
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
		PawlLimits *limits = pawl_limits_of(claim->limits, claim->nlimits, it->queue_id);

		if (it->rank == PAWL_PARTITIONED_RANK)
			claim_from_partitions(claim, limits, it->queue_id);
		else
			claim_from_lane(claim, limits, lane, it->queue_id, it->rank);
	}
}

/* One entry that was there at two crashes in a row: it runs on probation. */
static void
claim_suspect(Claim *claim, QueueFilter *filter)
{
	char		nulls[1] = {filter->all ? 'n' : ' '};
	SPITupleTable *rows;
	uint64		count;

	claim->left = 1;
	if (SPI_execute_plan(suspects_plan, &filter->array, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for what runs alone");
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count && claim->left > 0; i++)
	{
		bool		isnull;
		bool		whole;
		int32		queue_id = DatumGetInt32(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		Datum		partition = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &whole);
		PawlLimits *limits = pawl_limits_of(claim->limits, claim->nlimits, queue_id);
		int64		room = 1;

		if (limits != NULL)
		{
			if (limits->paused || (limits->limited && (!pawl_open_gate(limits, 1) || limits->worker_room <= 0)))
				continue;
			room = limits->room;
			if (!whole)
				room = Min(room, pawl_partition_room(limits, partition));
			if (room <= 0 && !limits->hold)
				continue;
		}
		(void) take(claim, limits, limits == NULL ? free_plans.suspect : limited_plans.suspect, queue_id, partition, whole, room, 1);
	}
}

/* Whether the last claim left partitions to the next one. */
bool
pawl_claim_unfinished(void)
{
	return unfinished;
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
	bool		may_claim;
	bool		polled;
	bool		ran_out = pawl_take_wait(&polled);
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
	/* Whoever counts what runs in a queue that had no limit waits for the claims that are under way. */
	DirectFunctionCall2(pg_advisory_xact_lock_shared_int4, Int32GetDatum(PAWL_CLAIM_LOCK_CLASS), Int32GetDatum(0));
	claim.offer = pawl_offer(PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
	may_claim = !held && claim.offer->count > 0;
	pawl_begin_claim();
	if (!alone)
	{
		/* A wait until something is due was no poll. */
		if (may_claim && make_due_ready())
			polled = false;
		/* An idle worker's next wait: armed before this claim looks at anything, it needs no further round trip. */
		if (ran_out)
		{
			may_claim = pawl_arm(claim.worker, PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3), filter.all ? (Datum) 0 : PG_GETARG_DATUM(4));
			claim.offer = pawl_offer(PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3));
		}
		unfinished = false;
	}
	if (!may_claim)
	{
		SPI_finish();
		return (Datum) 0;
	}
	if (!filter.all)
	{
		Datum		values[1] = {PG_GETARG_DATUM(4)};
		Datum	   *ids;

		if (SPI_execute_plan(queue_plan, values, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not read the queues");
		filter.ids = palloc(sizeof(int32) * Max(SPI_processed, 1));
		ids = palloc(sizeof(Datum) * Max(SPI_processed, 1));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;

			ids[filter.count] = column(i, 1, &isnull);
			filter.ids[filter.count++] = DatumGetInt32(ids[i]);
		}
		filter.array = PointerGetDatum(construct_array(ids, filter.count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	}
	claim.limits = pawl_read_limits(claim.worker, filter.array, &claim.nlimits);

	/* Those have no marks: every claim of them looks at all there are, which are few. */
	if (alone)
	{
		claim_suspect(&claim, &filter);
		SPI_finish();
		return (Datum) 0;
	}

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

	for (int i = 0; i < claim.nlimits && claim.left > 0; i++)
	{
		PawlLimits *limits = &claim.limits[i];

		if (!limits->limited || limits->paused)
			continue;
		if (!limits->counted)
			(void) pawl_open_gate(limits, claim.left);
		if (limits->hold)
			claim_held(&claim, limits);
	}
	if (pawl_shared != NULL && claim.left > 0)
		claim_with_marks(&claim, &filter);
	if (claim.left > 0 && (pawl_shared == NULL || pg_atomic_read_u32(&pawl_shared->lanes_overflowed) != 0))
		claim_without_marks(&claim, &filter);

	for (int i = 0; i < claim.nlimits; i++)
	{
		pawl_close_gate(&claim.limits[i]);
		if (claim.limits[i].limited)
			pawl_hand_on_room(&claim.limits[i]);
	}
	busy = claim.found;
	if (claim.left == 0)
		pawl_hand_on();
	if (polled && claim.left < asked && pawl_shared != NULL)
		pg_atomic_fetch_add_u64(&pawl_shared->rescued_by_poll, 1);
	SPI_finish();
	return (Datum) 0;
}
