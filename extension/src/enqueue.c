/*
 * enqueue.c
 *		enqueue_workflow and enqueue_workflows: an insert in the caller's own transaction.
 */
#include "enqueue.h"
#include "shared.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#define ATTEMPTS 100

static const char *const single_arguments[] = {
	"workflow_name", "input", "workflow_id", "on_existing", "queue", "priority", "run_at", "delay", "timeout", "deduplication_id", "on_duplicate",
	"max_delay", "partition_key", "workflow_version", "headers", "attributes", NULL
};
static const char *const plural_arguments[] = {
	"workflow_name", "inputs", "workflow_ids", "partition_keys", "on_existing", "queue", "priority", "run_at", "delay", "timeout",
	"workflow_version", "headers", "attributes", NULL
};

OnConflict
pawl_on_conflict(const char *argument, const char *value)
{
	bool		replaceable = strcmp(argument, "on_duplicate") == 0;

	if (value != NULL && strcmp(value, "return") == 0)
		return RETURN_EXISTING;
	if (value != NULL && strcmp(value, "raise") == 0)
		return RAISE_EXISTING;
	if (value != NULL && strcmp(value, "skip") == 0)
		return SKIP_EXISTING;
	if (value != NULL && strcmp(value, "replace") == 0 && replaceable)
		return REPLACE_EXISTING;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s is not one of return, raise, skip%s", argument, replaceable ? ", replace" : ""),
			 value == NULL ? errdetail("It is null.") : errdetail("It is \"%s\".", pnstrdup(value, pg_mbcliplen(value, strlen(value), 64))),
			 errhint("return: the id of the one there is; raise: an error; skip: NULL%s.",
					 replaceable ? "; replace: it gets this input, unless it has started" : "")));
	pg_unreachable();
}

/* run_at or delay, not both. */
void
pawl_start_time(EnqueueRequest *request, const TimestampTz *run_at, const Interval *delay)
{
	if (run_at != NULL && delay != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("run_at and delay are both given"),
				 errdetail("Both say when the workflow may start."),
				 errhint("Give one of them.")));
	request->has_run_at = run_at != NULL || delay != NULL;
	if (run_at != NULL)
		request->run_at = *run_at;
	if (delay != NULL)
		request->run_at = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()),
																  IntervalPGetDatum(delay)));
}

/* It is added to a time later, at a first claim even where nothing may fail: so it has a limit that no calendar reaches. */
static void
check_interval(const char *argument, const Interval *value, const char *hint)
{
	Interval	none = {0};
	Interval	most = {.month = 12 * 10000};

	if (value == NULL
		|| (DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(value), IntervalPGetDatum(&none)))
			&& DatumGetBool(DirectFunctionCall2(interval_le, IntervalPGetDatum(value), IntervalPGetDatum(&most)))))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be positive, and at most 10000 years", argument),
			 errdetail("It is %s.", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(value)))),
			 errhint("%s", hint)));
}

/* replace, and what goes with it. */
static void
check_replacing(const EnqueueRequest *request)
{
	if (request->on_duplicate == REPLACE_EXISTING && request->deduplication_id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_duplicate => 'replace' needs a deduplication_id"),
				 errdetail("It replaces what holds that id and has not started."),
				 errhint("Give deduplication_id => what the calls that replace one another have in common.")));
	if (request->on_duplicate != REPLACE_EXISTING && request->max_delay != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_delay needs on_duplicate => 'replace'"),
				 errdetail("It is how long further calls may put off the start."),
				 errhint("Give on_duplicate => 'replace', or leave max_delay out.")));
	check_interval("max_delay", request->max_delay, "It counts from the first call. Leave it out, and every call may put off the start again.");
}

/*
 * Waits until nobody has an uncommitted row with this key. A REPEATABLE READ caller must do that before its insert: a row that is committed
 * after the insert's snapshot would be a 40001.
 */
static void
wait_for_others(const char *index_name, int nkeys, const Oid *procedures, const Datum *values)
{
	for (;;)
	{
		Relation	heap = table_open(pawl_relation("workflow"), RowExclusiveLock);
		Relation	index = index_open(pawl_relation(index_name), AccessShareLock);
		TupleTableSlot *slot = table_slot_create(heap, NULL);
		TransactionId other = InvalidTransactionId;
		SnapshotData dirty;
		ScanKeyData keys[3];
		IndexScanDesc scan;

		InitDirtySnapshot(dirty);
		for (int i = 0; i < nkeys; i++)
		{
			ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, procedures[i], values[i]);
			keys[i].sk_collation = index->rd_indcollation[i];
		}
#if PG_VERSION_NUM >= 180000
		scan = index_beginscan(heap, index, &dirty, NULL, nkeys, 0);
#else
		scan = index_beginscan(heap, index, &dirty, nkeys, 0);
#endif
		index_rescan(scan, keys, nkeys, NULL, 0);
		while (index_getnext_slot(scan, ForwardScanDirection, slot))
		{
			other = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
			if (TransactionIdIsValid(other) && !TransactionIdIsCurrentTransactionId(other))
				break;
			other = InvalidTransactionId;
		}
		index_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		index_close(index, AccessShareLock);
		table_close(heap, NoLock);
		if (!TransactionIdIsValid(other))
			return;
		XactLockTableWait(other, NULL, NULL, XLTW_None);
	}
}

#define PLAIN_COLUMNS 18
#define INSERT_COLUMNS 24

/* What is written, by the numbers of the parameters below. */
typedef struct Row
{
	Datum		values[INSERT_COLUMNS];
	char		nulls[INSERT_COLUMNS];
} Row;

static Oid row_types[INSERT_COLUMNS] = {
	INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT4OID, INT4OID, BOOLOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, JSONBOID, INTERVALOID, INT8OID, TIMESTAMPTZOID, BOOLOID,
	TEXTOID, TIMESTAMPTZOID
};

#define INSERT(columns, values) \
	"INSERT INTO pawl.workflow (workflow_key, ready_key, rank, run_at, due_at, queue_id, priority, workflow_version, pinned, status," \
	" workflow_id, workflow_name, partition_key, deduplication_id, enqueued_by, headers, attributes, input" columns ")" \
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18" values ")"
#define PLAIN INSERT("", "")
#define WHOLE INSERT(", timeout, parent_key, deadline_at, detached, schedule_name, scheduled_at", ", $19, $20, $21, $22, $23, $24")

/* All but what it is called: another call takes the place of the one before it. */
#define REPLACE \
	"UPDATE pawl.workflow w SET ready_key = $2, rank = $3, run_at = $4, due_at = $5, priority = $7, workflow_version = $8, pinned = $9, status = $10," \
	" partition_key = $13, enqueued_by = $15, headers = $16, attributes = $17, input = $18, timeout = $19" \
	" WHERE w.workflow_key OPERATOR(pg_catalog.=) $1"

/* SERIALIZABLE keeps its own snapshot, and its 40001. */
static int
execute(SPIPlanPtr plan, Datum *values, const char *nulls)
{
	return IsolationIsSerializable() ? SPI_execute_plan(plan, values, nulls, false, 0) : pawl_execute_latest(plan, values, nulls);
}

static bool
insert(Row *row, bool may_conflict)
{
	static SPIPlanPtr plans[2][2];
	static const char *const texts[2][2] = {
		{PLAIN, PLAIN " ON CONFLICT DO NOTHING"},
		{WHOLE, WHOLE " ON CONFLICT DO NOTHING"}
	};
	/* Nearly every workflow has none of the last six, and each column that is handed over costs something. */
	bool		whole = row->nulls[18] == ' ' || row->nulls[19] == ' ' || row->nulls[20] == ' ' || row->nulls[22] == ' ';
	SPIPlanPtr *plan = &plans[whole][may_conflict];
	int			result;

	if (*plan == NULL)
		*plan = pawl_prepare(texts[whole][may_conflict], whole ? INSERT_COLUMNS : PLAIN_COLUMNS, row_types);
	if (may_conflict)
		result = execute(*plan, row->values, row->nulls);
	else
		result = SPI_execute_plan(*plan, row->values, row->nulls, false, 0);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "could not insert into pawl.workflow: %s", SPI_result_code_string(result));
	return SPI_processed > 0;
}

static bool
insert_new(void *row)
{
	return insert(row, true);
}

/*
 * For a REPEATABLE READ caller. Somebody may still commit the same key between wait_for_others and this statement's snapshot, or while it waits
 * for him: that is a 40001 that the caller could do nothing about but begin anew. So the statement is a subtransaction here, at the price of a
 * transaction id. False: he was faster, or the row is there.
 */
static bool
repeatably(bool (*attempt) (void *), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	if (!IsolationUsesXactSnapshot() || IsolationIsSerializable())
		return attempt(argument);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		done = attempt(argument);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_T_R_SERIALIZATION_FAILURE)
			ReThrowError(error);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	return done;
}

/* The first column of the first row, as text; NULL: no row. */
static text *
look_up(SPIPlanPtr plan, Datum *values)
{
	text	   *found;
	bool		isnull;

	if (pawl_execute_latest(plan, values, NULL) != SPI_OK_SELECT)
		elog(ERROR, "could not look up a workflow");
	if (SPI_processed == 0)
		return NULL;
	found = DatumGetTextPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return DatumGetTextPCopy(PointerGetDatum(found));
}

/* The workflow_name of that id among unfinished, or among ended workflows; NULL: there is none. */
static text *
unfinished_name(text *id)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[1] = {PointerGetDatum(id)};

	if (plan == NULL)
		plan = pawl_prepare("SELECT w.workflow_name FROM pawl.workflow w WHERE w.workflow_id OPERATOR(pg_catalog.=) $1", 1, ((Oid[]) {TEXTOID}));
	return look_up(plan, values);
}

static text *
ended_name(text *id)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[1] = {PointerGetDatum(id)};

	if (plan == NULL)
		plan = pawl_prepare("SELECT h.workflow_name FROM pawl.workflow_history h WHERE h.workflow_id OPERATOR(pg_catalog.=) $1 LIMIT 1", 1,
					   ((Oid[]) {TEXTOID}));
	return look_up(plan, values);
}

/* Who else holds a deduplication_id: the one that is yet to start before those that a newer one was enqueued beside. */
static text *
find_holder(int32 queue_id, text *deduplication_id, int64 but)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[3] = {Int32GetDatum(queue_id), PointerGetDatum(deduplication_id), Int64GetDatum(but)};

	if (plan == NULL)
		plan = pawl_prepare("SELECT w.workflow_id FROM pawl.workflow w WHERE w.queue_id OPERATOR(pg_catalog.=) $1"
					   " AND w.deduplication_id OPERATOR(pg_catalog.=) $2 AND w.workflow_key OPERATOR(pg_catalog.<>) $3"
					   " ORDER BY w.deduplication_started, w.workflow_key DESC LIMIT 1", 3, ((Oid[]) {INT4OID, TEXTOID, INT8OID}));
	return look_up(plan, values);
}

static void
execute_by_key(const char *sql, SPIPlanPtr *plan, int count, Oid *types, Datum *values, const char *nulls)
{
	if (*plan == NULL)
		*plan = pawl_prepare(sql, count, types);
	if (execute(*plan, values, nulls) < 0)
		elog(ERROR, "could not write to pawl's tables");
}

/* What to answer for an id that exists. */
static text *
existing(const EnqueueRequest *request, text *id, text *name)
{
	char	   *existing_name = text_to_cstring(name);

	if (strcmp(existing_name, request->workflow_name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_ID_EXISTS),
				 errmsg("workflow \"%s\" exists with another name", text_to_cstring(id)),
				 errdetail("It is a \"%s\", not a \"%s\".", existing_name, request->workflow_name),
				 errhint("A workflow_id is an idempotency key: put the workflow_name into it.")));
	if (request->on_existing == RAISE_EXISTING)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_ID_EXISTS),
				 errmsg("workflow \"%s\" exists", text_to_cstring(id)),
				 errdetail("An id is remembered as long as its workflow is."),
				 errhint("Give on_existing => 'return' to have its id, or 'skip' for NULL.")));
	return request->on_existing == SKIP_EXISTING ? NULL : id;
}

/* And for a deduplication_id that is taken. */
static text *
duplicate(const EnqueueRequest *request, text *holder)
{
	if (request->on_duplicate == RAISE_EXISTING)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_ID_EXISTS),
				 errmsg("deduplication_id \"%s\" is taken in queue \"%s\"", text_to_cstring(request->deduplication_id), request->queue),
				 errdetail("Workflow \"%s\" has it, and has not ended.", text_to_cstring(holder)),
				 errhint("Give on_duplicate => 'return' to have its id, or 'skip' for NULL.")));
	return request->on_duplicate == SKIP_EXISTING ? NULL : holder;
}

/* When it may start. ready_key is what it gets if that is at once. */
static void
set_start(const EnqueueRequest *request, TimestampTz first_call, int64 ready_key, Row *row)
{
	TimestampTz run_at = request->run_at;
	bool		delayed;

	if (request->max_delay != NULL)
		run_at = Min(run_at, DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(first_call),
																	 IntervalPGetDatum(request->max_delay))));
	delayed = request->has_run_at && run_at > GetCurrentTimestamp();
	row->values[1] = Int64GetDatum(ready_key);
	row->nulls[1] = delayed ? 'n' : ' ';
	row->values[3] = TimestampTzGetDatum(run_at);
	row->nulls[3] = request->has_run_at ? ' ' : 'n';
	/* A deadline may come before the start: then it is claimed, and fails. */
	row->values[4] = TimestampTzGetDatum(request->has_deadline ? Min(run_at, request->deadline_at) : run_at);
	row->nulls[4] = delayed ? ' ' : 'n';
	row->values[9] = CStringGetTextDatum(delayed ? "delayed" : "enqueued");
}

/* All that may fail for want of memory comes before the row is written. */
static void
mark(const EnqueueRequest *request, const Row *row)
{
	bool		delayed = row->nulls[1] == 'n';

	pawl_mark(DatumGetInt32(row->values[5]), DatumGetInt64(row->values[2]), delayed ? 0 : DatumGetInt64(row->values[1]),
			  delayed ? DatumGetTimestampTz(row->values[4]) : DT_NOBEGIN, request->workflow_name,
			  request->pinned ? request->workflow_version : 0, request->partition_key != NULL);
}

/* Who holds a deduplication_id and, as far as was known when it was looked for, has not started; locked. */
typedef struct Holder
{
	Datum	   *index_key;		/* queue_id, deduplication_id */
	int64		key;
	text	   *id;
	char	   *name;
	int64		rank;
	int64		ready_key;		/* 0: it is delayed */
	TimestampTz created_at;
	bool		partitioned;
	bool		apart;			/* its input is in pawl.payload */
	bool		over;			/* it has started, or is to be cancelled */
} Holder;

static bool
lock_holder(void *argument)
{
	static SPIPlanPtr plan = NULL;
	Holder	   *holder = argument;
	Datum		row[9];
	bool		nulls[9];

	if (plan == NULL)
		plan = pawl_prepare("SELECT w.workflow_key, w.workflow_id, w.workflow_name, w.rank, w.ready_key, w.created_at, w.partition_key IS NOT NULL,"
					   " w.input IS NULL, w.started_at IS NOT NULL OR w.cancel_requested_at IS NOT NULL"
					   " OR EXISTS (SELECT FROM pawl.cancel_request r WHERE r.workflow_key OPERATOR(pg_catalog.=) w.workflow_key)"
					   " FROM pawl.workflow w WHERE w.queue_id OPERATOR(pg_catalog.=) $1 AND w.deduplication_id OPERATOR(pg_catalog.=) $2"
					   " AND NOT w.deduplication_started FOR UPDATE OF w", 2, ((Oid[]) {INT4OID, TEXTOID}));
	if (execute(plan, holder->index_key, NULL) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a workflow");
	if (SPI_processed == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, row, nulls);
	holder->key = DatumGetInt64(row[0]);
	holder->id = DatumGetTextPCopy(row[1]);
	holder->name = TextDatumGetCString(row[2]);
	holder->rank = DatumGetInt64(row[3]);
	holder->ready_key = nulls[4] ? 0 : DatumGetInt64(row[4]);
	holder->created_at = DatumGetTimestampTz(row[5]);
	holder->partitioned = DatumGetBool(row[6]);
	holder->apart = DatumGetBool(row[7]);
	holder->over = DatumGetBool(row[8]);
	return true;
}

/*
 * This call takes the place of the one that holds the deduplication_id and has not started: its row becomes this one's, and keeps its ids. A
 * claim passes by the row while it is locked, and whoever has claimed it meanwhile is waited for; then it is not found any more. A worker never
 * waits for this lock. Answers the holder's id; NULL: nobody stands in the way now, a new workflow is to be enqueued.
 */
static text *
replace(const EnqueueRequest *request, Row *row)
{
	static SPIPlanPtr pass_plan = NULL;
	static SPIPlanPtr replace_plan = NULL;
	static SPIPlanPtr payload_plan = NULL;
	int32		queue_id = DatumGetInt32(row->values[5]);
	Holder		holder = {.index_key = (Datum[]) {row->values[5], row->values[13]}};
	bool		found;

	pawl_begin_locking();
	found = repeatably(lock_holder, &holder);
	pawl_end_locking(queue_id, holder.rank, found && !holder.partitioned ? holder.ready_key : 0);
	if (!found)
		return NULL;
	if (holder.over)
	{
		/* It was resumed, or is about to be cancelled: its input is not this call's to change. */
		execute_by_key("UPDATE pawl.workflow w SET deduplication_started = true WHERE w.workflow_key OPERATOR(pg_catalog.=) $1", &pass_plan, 1,
					   ((Oid[]) {INT8OID}), ((Datum[]) {Int64GetDatum(holder.key)}), NULL);
		return NULL;
	}
	if (strcmp(holder.name, request->workflow_name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_ID_EXISTS),
				 errmsg("deduplication_id \"%s\" is taken in queue \"%s\" by a workflow with another name",
						text_to_cstring(request->deduplication_id), request->queue),
				 errdetail("Workflow \"%s\" is a \"%s\", not a \"%s\".", text_to_cstring(holder.id), holder.name, request->workflow_name),
				 errhint("Put the workflow_name into the deduplication_id.")));
	row->values[0] = Int64GetDatum(holder.key);
	/* What could start already keeps its place in the queue. */
	set_start(request, holder.created_at, holder.ready_key != 0 ? holder.ready_key : nextval_internal(pawl_relation("key_seq"), false), row);
	mark(request, row);
	execute_by_key(REPLACE, &replace_plan, INSERT_COLUMNS, row_types, row->values, row->nulls);
	if (holder.apart)
		execute_by_key("DELETE FROM pawl.payload p WHERE p.workflow_key OPERATOR(pg_catalog.=) $1 AND p.name OPERATOR(pg_catalog.=) 'input'",
					   &payload_plan, 1, ((Oid[]) {INT8OID}), row->values, NULL);
	return holder.id;
}

static void
check(const EnqueueRequest *request, int32 *queue_id)
{
	if (RecoveryInProgress())
		PreventCommandDuringRecovery("enqueue_workflow()");
	PreventCommandIfReadOnly("enqueue_workflow()");
	pawl_check_name("workflow_name", request->workflow_name, PAWL_MAX_NAME);
	pawl_check_name("queue", request->queue, PAWL_MAX_NAME);
	if (request->workflow_id != NULL)
		pawl_check_name("workflow_id", text_to_cstring(request->workflow_id), PAWL_MAX_ID);
	if (request->deduplication_id != NULL)
		pawl_check_name("deduplication_id", text_to_cstring(request->deduplication_id), PAWL_MAX_ID);
	if (request->partition_key != NULL)
		pawl_check_name("partition_key", text_to_cstring(request->partition_key), PAWL_MAX_ID);
	if (request->pinned && request->workflow_version < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow_version must be at least 1"),
				 errdetail("It is %d.", request->workflow_version),
				 errhint("Leave it out for the newest version that a worker offers.")));
	pawl_check_payload("input", request->input);
	pawl_check_document("headers", request->headers);
	pawl_check_document("attributes", request->attributes);

	if (!pawl_find_queue(request->queue, queue_id))
	{
		const char *near = pawl_nearest_queue(request->queue);

		ereport(ERROR,
				(errcode(ERRCODE_PAWL_UNKNOWN_QUEUE),
				 errmsg("queue \"%s\" does not exist", request->queue),
				 errdetail("Nothing was enqueued."),
				 near == NULL ? errhint("Make it with: SELECT pawl.create_queue(%s);", quote_literal_cstr(request->queue))
				 : errhint("Perhaps you meant \"%s\"; or make it with: SELECT pawl.create_queue(%s);", near, quote_literal_cstr(request->queue))));
	}
	if (!pawl_may_enqueue(request->role, request->workflow_name, *queue_id, request->queue))
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_NO_ACCESS),
				 errmsg("role %s may not enqueue \"%s\" in queue \"%s\"", pawl_user_name(request->role), request->workflow_name, request->queue),
				 errdetail("Its access is narrowed to other workflow names or queues."),
				 errhint("Grant it with: SELECT pawl.grant_access(%s, 'enqueue', workflow_name => %s);",
						 quote_literal_cstr(pawl_user_name(request->role)), quote_literal_cstr(request->workflow_name))));
	check_interval("timeout", request->timeout, "It counts from the first start, waits included. Leave it out for no limit.");
	check_replacing(request);
	if (!pawl_handler_known(request->workflow_name))
	{
		if (pawl_require_handler)
			ereport(ERROR,
					(errcode(ERRCODE_PAWL_NO_HANDLER),
					 errmsg("no worker ever offered to run \"%s\"", request->workflow_name),
					 errdetail("pawl.require_handler is on."),
					 errhint("Deploy its handler first, or set pawl.require_handler to off: then it waits for one.")));
		if (request->parent_key == 0 && request->schedule_name == NULL && pawl_first_mention(request->workflow_name))
			ereport(NOTICE,
					(errmsg("no worker ever offered to run \"%s\": it waits until one does", request->workflow_name),
					 errhint("SELECT workflow_name FROM pawl.handlers lists what can be run.")));
	}
	else if (request->pinned && request->parent_key == 0 && pawl_first_mention(psprintf("%s %d", request->workflow_name, request->workflow_version))
			 && !pawl_version_known(request->workflow_name, request->workflow_version))
		ereport(NOTICE,
				(errmsg("no worker offers version %d of \"%s\": it waits until one does", request->workflow_version, request->workflow_name),
				 errhint("SELECT workflow_name, workflow_version FROM pawl.handlers lists what can be run.")));
}

/* Answers the id, or NULL where an existing one is to be skipped; and the key of the new row, 0 if there is none. */
text *
pawl_enqueue(const EnqueueRequest *request, int64 *new_key)
{
	static SPIPlanPtr delete_plan = NULL;
	static SPIPlanPtr payload_plan = NULL;
	MemoryContext caller = CurrentMemoryContext;
	bool		replaces = request->on_duplicate == REPLACE_EXISTING;
	bool		deduplicates = request->deduplication_id != NULL && !replaces;
	int32		queue_id;
	int64		key;
	bool		apart;
	text	   *id = request->workflow_id;
	PawlOwner	owner;
	Row			row;

	check(request, &queue_id);
	apart = VARSIZE(request->input) > PAWL_INLINE_PAYLOAD;
	if (id == NULL)
		id = pawl_make_uuid7();
	key = nextval_internal(pawl_relation("key_seq"), false);

	*new_key = key;
	memset(row.nulls, ' ', sizeof(row.nulls));
	row.values[0] = Int64GetDatum(key);
	row.values[2] = Int64GetDatum(2 * (int64) request->priority + 1);
	row.values[5] = Int32GetDatum(queue_id);
	row.values[6] = Int32GetDatum(request->priority);
	row.values[7] = Int32GetDatum(request->workflow_version);
	row.values[8] = BoolGetDatum(request->pinned);
	row.values[10] = PointerGetDatum(id);
	row.values[11] = CStringGetTextDatum(request->workflow_name);
	row.values[12] = PointerGetDatum(request->partition_key);
	row.values[13] = PointerGetDatum(request->deduplication_id);
	row.values[14] = request->enqueued_by != NULL ? PointerGetDatum(request->enqueued_by) : CStringGetTextDatum(pawl_user_name(pawl_outer_role()));
	row.values[15] = PointerGetDatum(request->headers);
	row.values[16] = PointerGetDatum(request->attributes);
	row.values[17] = PointerGetDatum(request->input);
	row.values[18] = IntervalPGetDatum(request->timeout);
	row.values[19] = Int64GetDatum(request->parent_key);
	row.values[20] = TimestampTzGetDatum(request->deadline_at);
	row.values[21] = BoolGetDatum(request->detached);
	row.values[22] = PointerGetDatum(request->schedule_name);
	row.values[23] = TimestampTzGetDatum(request->scheduled_at);
	if (!request->pinned)
		row.nulls[7] = 'n';
	if (request->partition_key == NULL)
		row.nulls[12] = 'n';
	if (request->deduplication_id == NULL)
		row.nulls[13] = 'n';
	if (request->headers == NULL)
		row.nulls[15] = 'n';
	if (request->attributes == NULL)
		row.nulls[16] = 'n';
	if (apart)
		row.nulls[17] = 'n';
	if (request->timeout == NULL)
		row.nulls[18] = 'n';
	if (request->parent_key == 0)
		row.nulls[19] = 'n';
	if (!request->has_deadline)
		row.nulls[20] = 'n';
	if (request->schedule_name == NULL)
		row.nulls[22] = 'n';
	if (!request->has_scheduled_at)
		row.nulls[23] = 'n';
	set_start(request, GetCurrentTransactionStartTimestamp(), key, &row);
	mark(request, &row);

	pawl_become_owner(&owner);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	for (int attempt = 1;; attempt++)
	{
		text	   *name = NULL;
		text	   *holder = NULL;
		bool		inserted;

		if (request->workflow_id == NULL && request->deduplication_id == NULL)
		{
			/* A generated id conflicts with nothing. */
			(void) insert(&row, false);
			break;
		}
		if (IsolationUsesXactSnapshot() && !IsolationIsSerializable())
		{
			if (request->workflow_id != NULL)
				wait_for_others("workflow_workflow_id_idx", 1, ((Oid[]) {F_TEXTEQ}), &row.values[10]);
			if (request->deduplication_id != NULL)
				wait_for_others("workflow_deduplication_idx", 3, ((Oid[]) {F_INT4EQ, F_TEXTEQ, F_INT8EQ}),
								((Datum[]) {row.values[5], row.values[13], Int64GetDatum(0)}));
		}
		/* For SERIALIZABLE no look before the insert: that would be a false serialization failure. */
		if (deduplicates && request->workflow_id == NULL && !IsolationIsSerializable())
			holder = find_holder(queue_id, request->deduplication_id, key);
		inserted = holder == NULL && repeatably(insert_new, &row);

		/* The indexes know of those that are yet to start, and of unfinished ids; the others are looked for now that nobody can come in between. */
		if (request->workflow_id != NULL && !inserted)
			name = unfinished_name(id);
		if (request->workflow_id != NULL && name == NULL)
			name = ended_name(id);
		if (deduplicates && name == NULL && holder == NULL)
			holder = find_holder(queue_id, request->deduplication_id, key);
		if (inserted && name == NULL && holder == NULL)
			break;
		if (inserted)
			execute_by_key("DELETE FROM pawl.workflow w WHERE w.workflow_key OPERATOR(pg_catalog.=) $1", &delete_plan, 1, ((Oid[]) {INT8OID}),
						   row.values, NULL);
		if (name != NULL || holder != NULL)
		{
			id = name != NULL ? existing(request, id, name) : duplicate(request, holder);
			apart = false;
			*new_key = 0;
			break;
		}
		if (replaces && (holder = replace(request, &row)) != NULL)
		{
			id = holder;
			*new_key = 0;
			break;
		}
		/* The one in the way has started, ended or gone meanwhile. */
		if (attempt == ATTEMPTS)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not enqueue workflow \"%s\"", text_to_cstring(id)),
					 errdetail("Others with the same id came and went %d times meanwhile.", ATTEMPTS),
					 errhint("Try again.")));
	}
	if (apart)
		execute_by_key("INSERT INTO pawl.payload (workflow_key, name, value) VALUES ($1, 'input', $2)", &payload_plan, 2,
					   ((Oid[]) {INT8OID, JSONBOID}), ((Datum[]) {row.values[0], row.values[17]}), NULL);
	if (id != NULL && id != request->workflow_id)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		id = DatumGetTextPCopy(PointerGetDatum(id));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	pawl_become_caller(&owner);
	return id;
}

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static void
priority_argument(FunctionCallInfo fcinfo, int number, EnqueueRequest *request)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("priority must not be null"),
				 errdetail("Lower ones run first; 0 is the default."),
				 errhint("Leave it out.")));
	request->priority = PG_GETARG_INT32(number);
}

static void
start_arguments(FunctionCallInfo fcinfo, int run_at, int delay, int timeout, EnqueueRequest *request)
{
	TimestampTz at = PG_ARGISNULL(run_at) ? 0 : PG_GETARG_TIMESTAMPTZ(run_at);

	pawl_start_time(request, PG_ARGISNULL(run_at) ? NULL : &at, PG_ARGISNULL(delay) ? NULL : PG_GETARG_INTERVAL_P(delay));
	request->timeout = PG_ARGISNULL(timeout) ? NULL : PG_GETARG_INTERVAL_P(timeout);
}

static Jsonb *
jsonb_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
}

/*
 * enqueue_workflow(workflow_name, input, workflow_id, on_existing, queue, priority, run_at, delay, timeout, deduplication_id, on_duplicate,
 *		max_delay, partition_key, workflow_version, headers, attributes, options) RETURNS text
 */
PG_FUNCTION_INFO_V1(pawl_enqueue_workflow_1_0);
Datum
pawl_enqueue_workflow_1_0(PG_FUNCTION_ARGS)
{
	EnqueueRequest request = {0};
	int64		key;
	text	   *id;

	request.workflow_name = text_argument(fcinfo, 0);
	request.input = jsonb_argument(fcinfo, 1);
	request.workflow_id = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	request.on_existing = pawl_on_conflict("on_existing", text_argument(fcinfo, 3));
	request.queue = text_argument(fcinfo, 4);
	priority_argument(fcinfo, 5, &request);
	start_arguments(fcinfo, 6, 7, 8, &request);
	request.deduplication_id = PG_ARGISNULL(9) ? NULL : PG_GETARG_TEXT_PP(9);
	request.on_duplicate = pawl_on_conflict("on_duplicate", text_argument(fcinfo, 10));
	request.max_delay = PG_ARGISNULL(11) ? NULL : PG_GETARG_INTERVAL_P(11);
	request.partition_key = PG_ARGISNULL(12) ? NULL : PG_GETARG_TEXT_PP(12);
	request.pinned = !PG_ARGISNULL(13);
	request.workflow_version = PG_ARGISNULL(13) ? 0 : PG_GETARG_INT32(13);
	request.headers = jsonb_argument(fcinfo, 14);
	request.attributes = jsonb_argument(fcinfo, 15);
	pawl_check_options(jsonb_argument(fcinfo, 16), single_arguments);
	request.role = pawl_outer_role();

	id = pawl_enqueue(&request, &key);
	if (id == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(id);
}

static void
one_dimension(ArrayType *array, const char *argument)
{
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must have one dimension", argument),
				 errdetail("It has %d.", ARR_NDIM(array)),
				 errhint("Give a plain array, one element for each workflow.")));
}

/* An array of as many elements as there are inputs, or NULL for none. */
static Datum *
texts_argument(FunctionCallInfo fcinfo, int number, const char *argument, int count, bool **nulls)
{
	Datum	   *values;
	int			length;

	if (PG_ARGISNULL(number))
		return NULL;
	one_dimension(PG_GETARG_ARRAYTYPE_P(number), argument);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT, &values, nulls, &length);
	if (length != count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s and inputs have different lengths", argument),
				 errdetail("There are %d inputs and %d %s.", count, length, argument),
				 errhint("Give one for each input, or NULL.")));
	return values;
}

/*
 * enqueue_workflows(workflow_name, inputs, workflow_ids, partition_keys, on_existing, queue, priority, run_at, delay, timeout,
 *		workflow_version, headers, attributes, options) RETURNS SETOF text
 */
PG_FUNCTION_INFO_V1(pawl_enqueue_workflows_1_0);
Datum
pawl_enqueue_workflows_1_0(PG_FUNCTION_ARGS)
{
	EnqueueRequest request = {0};
	ReturnSetInfo *result;
	MemoryContext each;
	MemoryContext old;
	Datum	   *inputs;
	Datum	   *ids;
	Datum	   *partitions;
	bool	   *input_nulls;
	bool	   *id_nulls = NULL;
	bool	   *partition_nulls = NULL;
	int			count;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("inputs must not be null"),
				 errdetail("Each element is the input of one workflow."),
				 errhint("Give an array of jsonb; an empty one enqueues nothing.")));
	one_dimension(PG_GETARG_ARRAYTYPE_P(1), "inputs");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), JSONBOID, -1, false, TYPALIGN_INT, &inputs, &input_nulls, &count);
	ids = texts_argument(fcinfo, 2, "workflow_ids", count, &id_nulls);
	partitions = texts_argument(fcinfo, 3, "partition_keys", count, &partition_nulls);
	request.workflow_name = text_argument(fcinfo, 0);
	request.on_existing = pawl_on_conflict("on_existing", text_argument(fcinfo, 4));
	request.queue = text_argument(fcinfo, 5);
	priority_argument(fcinfo, 6, &request);
	start_arguments(fcinfo, 7, 8, 9, &request);
	request.pinned = !PG_ARGISNULL(10);
	request.workflow_version = PG_ARGISNULL(10) ? 0 : PG_GETARG_INT32(10);
	request.headers = jsonb_argument(fcinfo, 11);
	request.attributes = jsonb_argument(fcinfo, 12);
	pawl_check_options(jsonb_argument(fcinfo, 13), plural_arguments);
	request.role = pawl_outer_role();
	/* Also where there is nothing to enqueue. */
	pawl_check_name("workflow_name", request.workflow_name, PAWL_MAX_NAME);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	each = AllocSetContextCreate(CurrentMemoryContext, "pawl enqueue", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < count; i++)
	{
		Datum		value;
		bool		isnull;
		int64		key;
		text	   *id;

		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(each);
		request.input = input_nulls[i] ? NULL : DatumGetJsonbP(inputs[i]);
		request.workflow_id = ids == NULL || id_nulls[i] ? NULL : DatumGetTextPP(ids[i]);
		request.partition_key = partitions == NULL || partition_nulls[i] ? NULL : DatumGetTextPP(partitions[i]);
		id = pawl_enqueue(&request, &key);
		value = PointerGetDatum(id);
		isnull = id == NULL;
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
	return (Datum) 0;
}

/*
 * insert_child(parent_key, workflow_name, input, workflow_id, queue, priority, run_at, timeout, deadline_at, partition_key, workflow_version,
 *		headers, attributes, detached, OUT workflow_key, OUT workflow_id)
 *
 * For pawl.enqueue_child, which has read the parent and checked what it may. workflow_key is NULL where that workflow_id exists already.
 */
PG_FUNCTION_INFO_V1(pawl_insert_child_1_0);
Datum
pawl_insert_child_1_0(PG_FUNCTION_ARGS)
{
	EnqueueRequest request = {0};
	TupleDesc	descriptor;
	TimestampTz run_at = PG_ARGISNULL(6) ? 0 : PG_GETARG_TIMESTAMPTZ(6);
	int64		key;
	text	   *id;
	Datum		values[2];
	bool		nulls[2] = {false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(13))
		elog(ERROR, "pawl.insert_child needs a parent");
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "pawl.insert_child is declared wrongly");
	request.parent_key = PG_GETARG_INT64(0);
	request.workflow_name = text_argument(fcinfo, 1);
	request.input = jsonb_argument(fcinfo, 2);
	request.workflow_id = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
	request.queue = text_argument(fcinfo, 4);
	priority_argument(fcinfo, 5, &request);
	pawl_start_time(&request, PG_ARGISNULL(6) ? NULL : &run_at, NULL);
	request.timeout = PG_ARGISNULL(7) ? NULL : PG_GETARG_INTERVAL_P(7);
	request.has_deadline = !PG_ARGISNULL(8);
	request.deadline_at = PG_ARGISNULL(8) ? 0 : PG_GETARG_TIMESTAMPTZ(8);
	request.partition_key = PG_ARGISNULL(9) ? NULL : PG_GETARG_TEXT_PP(9);
	request.pinned = !PG_ARGISNULL(10);
	request.workflow_version = PG_ARGISNULL(10) ? 0 : PG_GETARG_INT32(10);
	request.headers = jsonb_argument(fcinfo, 11);
	request.attributes = jsonb_argument(fcinfo, 12);
	request.detached = PG_GETARG_BOOL(13);
	/* A worker may start whatever the workflows that it runs ask for. */
	request.role = pawl_owner();

	id = pawl_enqueue(&request, &key);
	values[0] = Int64GetDatum(key);
	nulls[0] = key == 0;
	values[1] = PointerGetDatum(id);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/* A column of a row of pawl.schedule, 0 for NULL. */
static Datum
column(HeapTupleHeader schedule, const char *name, bool *isnull)
{
	Datum		value = GetAttributeByName(schedule, name, isnull);

	return *isnull ? (Datum) 0 : value;
}

static Jsonb *
jsonb_column(HeapTupleHeader schedule, const char *name)
{
	bool		isnull;
	Datum		value = column(schedule, name, &isnull);

	return isnull ? NULL : DatumGetJsonbP(value);
}

static text *
text_column(HeapTupleHeader schedule, const char *name)
{
	bool		isnull;
	Datum		value = column(schedule, name, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

/* What a schedule enqueues. */
static void
scheduled_request(HeapTupleHeader schedule, EnqueueRequest *request)
{
	text	   *workflow_name = text_column(schedule, "workflow_name");
	text	   *queue = text_column(schedule, "queue_name");
	bool		isnull;

	request->workflow_name = workflow_name == NULL ? NULL : text_to_cstring(workflow_name);
	request->queue = queue == NULL ? NULL : text_to_cstring(queue);
	request->input = jsonb_column(schedule, "input");
	request->priority = DatumGetInt32(column(schedule, "priority", &isnull));
	request->partition_key = text_column(schedule, "partition_key");
	request->timeout = DatumGetIntervalP(column(schedule, "timeout", &isnull));
	request->workflow_version = DatumGetInt32(column(schedule, "workflow_version", &isnull));
	request->pinned = !isnull;
	request->headers = jsonb_column(schedule, "headers");
	request->attributes = jsonb_column(schedule, "attributes");
}

/* check_scheduled(schedule) RETURNS void: everything but the insert, with the access of who asks. */
PG_FUNCTION_INFO_V1(pawl_check_scheduled_1_0);
Datum
pawl_check_scheduled_1_0(PG_FUNCTION_ARGS)
{
	EnqueueRequest request = {0};
	int32		queue_id;

	scheduled_request(PG_GETARG_HEAPTUPLEHEADER(0), &request);
	request.role = pawl_outer_role();
	check(&request, &queue_id);
	PG_RETURN_VOID();
}

/* insert_scheduled(schedule, workflow_id, scheduled_at, run_at) RETURNS boolean */
PG_FUNCTION_INFO_V1(pawl_insert_scheduled_1_0);
Datum
pawl_insert_scheduled_1_0(PG_FUNCTION_ARGS)
{
	EnqueueRequest request = {0};
	HeapTupleHeader schedule;
	int64		key;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "pawl.insert_scheduled needs a schedule and an id");
	schedule = PG_GETARG_HEAPTUPLEHEADER(0);
	scheduled_request(schedule, &request);
	request.workflow_id = PG_GETARG_TEXT_PP(1);
	request.on_existing = SKIP_EXISTING;
	request.schedule_name = text_column(schedule, "schedule_name");
	request.enqueued_by = text_column(schedule, "created_by");
	request.has_scheduled_at = !PG_ARGISNULL(2);
	request.scheduled_at = PG_ARGISNULL(2) ? 0 : PG_GETARG_TIMESTAMPTZ(2);
	request.has_run_at = !PG_ARGISNULL(3);
	request.run_at = PG_ARGISNULL(3) ? 0 : PG_GETARG_TIMESTAMPTZ(3);
	/* Its access was checked when the schedule was made. */
	request.role = pawl_owner();
	(void) pawl_enqueue(&request, &key);
	PG_RETURN_BOOL(key != 0);
}
