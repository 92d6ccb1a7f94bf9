/*
 * await.c
 *		wait_for_workflow: a session waits for the end of a workflow, woken by the commit that ends it.
 *
 * Who waits has a place in shared memory; whoever ends workflows remembers their keys as bits, and after the commit wakes the places whose bit is
 * set. A bit stands for many keys: whoever is woken looks, and goes on waiting if it was another's. While nobody waits a commit reads one counter.
 */
#include "pawl.h"
#include "shared.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/wait_event.h"

#define BITS 4096

static uint64 ended[BITS / 64]; /* keys that this transaction ends; what a savepoint took back wakes somebody in vain */
static bool any_ended = false;

static PawlAwait *mine = NULL;

static int
bit_of(int64 workflow_key)
{
	return ((uint64) workflow_key + UINT64CONST(2654435761) * MyDatabaseId) % BITS;
}

/* mark_ends(workflow_keys bigint[]) RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_ends_1_0);
Datum
pawl_mark_ends_1_0(PG_FUNCTION_ARGS)
{
	ArrayType  *keys = PG_GETARG_ARRAYTYPE_P(0);
	int			count = ArrayGetNItems(ARR_NDIM(keys), ARR_DIMS(keys));

	if (ARR_HASNULL(keys) || ARR_ELEMTYPE(keys) != INT8OID)
		elog(ERROR, "pawl.mark_ends needs keys");
	if (count == 0 || !pawl_attach())
		PG_RETURN_VOID();
	for (int i = 0; i < count; i++)
	{
		int			bit = bit_of(((int64 *) ARR_DATA_PTR(keys))[i]);

		ended[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
	any_ended = true;
	PG_RETURN_VOID();
}

void
pawl_forget_ends(void)
{
	if (any_ended)
		memset(ended, 0, sizeof(ended));
	any_ended = false;
}

/* Called after the commit: nothing here may raise, allocate, or take a heavyweight lock. */
void
pawl_wake_awaiting(void)
{
	PawlShared *s = pawl_shared;
	Latch	   *latches[PAWL_AWAITS];
	int			count = 0;

	if (!any_ended)
		return;
	/* The ends are visible now; whoever took a place before this is seen here, and who takes one later sees them. */
	pg_memory_barrier();
	if (pg_atomic_read_u32(&s->awaiting) > 0)
	{
		SpinLockAcquire(&s->await_mutex);
		for (int i = 0; i < PAWL_AWAITS; i++)
		{
			PawlAwait  *place = &s->awaits[i];

			if (place->latch == NULL || place->woken || (ended[place->bit / 64] >> (place->bit % 64) & 1) == 0)
				continue;
			place->woken = true;
			latches[count++] = place->latch;
		}
		SpinLockRelease(&s->await_mutex);
		for (int i = 0; i < count; i++)
			SetLatch(latches[i]);
	}
	pawl_forget_ends();
}

static void
leave(int code, Datum arg)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&pawl_shared->await_mutex);
	mine->latch = NULL;
	SpinLockRelease(&pawl_shared->await_mutex);
	pg_atomic_fetch_sub_u32(&pawl_shared->awaiting, 1);
	mine = NULL;
}

/* From now on an end of this workflow wakes this session, once. Without a place, because every one is taken, it only polls. */
static void
arm(int64 workflow_key)
{
	static bool registered = false;

	if (!pawl_attach())
		return;
	if (!registered)
		before_shmem_exit(leave, (Datum) 0);
	registered = true;
	SpinLockAcquire(&pawl_shared->await_mutex);
	for (int i = 0; i < PAWL_AWAITS && mine == NULL; i++)
		if (pawl_shared->awaits[i].latch == NULL)
		{
			mine = &pawl_shared->awaits[i];
			pg_atomic_fetch_add_u32(&pawl_shared->awaiting, 1);
		}
	if (mine != NULL)
	{
		mine->latch = &MyProc->procLatch;
		mine->bit = bit_of(workflow_key);
		mine->woken = false;
	}
	SpinLockRelease(&pawl_shared->await_mutex);
	pg_memory_barrier();
}

/* What the last look found. */
typedef struct Look
{
	int64		key;
	char	   *status;
	bool		over;
	Datum		output;
	Datum		error;
	bool		output_null;
	bool		error_null;
} Look;

/* An enqueuer without the right to read workflows waits for what it may enqueue. */
static void
check_access(const char *workflow_name, int32 queue_id, const char *queue)
{
	Oid			role = pawl_outer_role();

	if (pg_class_aclcheck(pawl_relation("workflows"), role, ACL_SELECT) == ACLCHECK_OK || pawl_may_enqueue(role, workflow_name, queue_id, queue))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PAWL_NO_ACCESS),
			 errmsg("role %s may not wait for a \"%s\" in queue \"%s\"", pawl_user_name(role), workflow_name, queue),
			 errdetail("Its access is narrowed to other workflow names or queues."),
			 errhint("Grant it with: SELECT pawl.grant_access(%s, 'observe');", quote_literal_cstr(pawl_user_name(role)))));
}

/* Payloads are for whoever may inspect, and for the role that enqueued it. */
static bool
may_read(const char *enqueued_by)
{
	Oid			enqueuer = get_role_oid(enqueued_by, true);

	return pawl_may_inspect() || (OidIsValid(enqueuer) && has_privs_of_role(pawl_outer_role(), enqueuer));
}

/* A transaction of its own: no snapshot is held between two of them. */
static void
look(text *id, Look *it, MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	PawlOwner	owner;
	Datum		values[1] = {PointerGetDatum(id)};
	Datum		row[9];
	bool		nulls[9];
	MemoryContext old;

	/* One statement: none is missed while it goes from one table to the other. */
	pawl_become_owner(&owner);
	if (plan == NULL)
		plan = pawl_prepare("SELECT w.workflow_key, w.status, false, NULL::pg_catalog.jsonb, NULL::pg_catalog.jsonb, w.enqueued_by, w.workflow_name,"
						   " w.queue_id, (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id OPERATOR(pg_catalog.=) w.queue_id)"
						   " FROM pawl.workflow w WHERE w.workflow_id OPERATOR(pg_catalog.=) $1"
						   " UNION ALL SELECT h.workflow_key, h.status, true, CASE WHEN h.output IS NOT NULL OR h.status OPERATOR(pg_catalog.<>) 'succeeded'"
						   " THEN h.output ELSE (SELECT p.value FROM pawl.payload p WHERE p.workflow_key OPERATOR(pg_catalog.=) h.workflow_key"
						   " AND p.name OPERATOR(pg_catalog.=) 'output') END, h.error, h.enqueued_by, h.workflow_name, h.queue_id,"
						   " (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id OPERATOR(pg_catalog.=) h.queue_id)"
						   " FROM pawl.workflow_history h WHERE h.workflow_id OPERATOR(pg_catalog.=) $1", 1, ((Oid[]) {TEXTOID}));
	if (SPI_execute_plan(plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a workflow");
	pawl_become_caller(&owner);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_PAWL_UNKNOWN_WORKFLOW),
				 errmsg("workflow \"%s\" does not exist", text_to_cstring(id)),
				 errdetail("None of that id was enqueued and committed, or it ended so long ago that it was deleted."),
				 errhint("SELECT workflow_id FROM pawl.workflows lists those there are.")));
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, row, nulls);
	check_access(TextDatumGetCString(row[6]), DatumGetInt32(row[7]), nulls[8] ? "default" : TextDatumGetCString(row[8]));
	old = MemoryContextSwitchTo(context);
	it->key = DatumGetInt64(row[0]);
	it->status = TextDatumGetCString(row[1]);
	it->over = DatumGetBool(row[2]);
	it->output_null = it->error_null = true;
	if (it->over && may_read(TextDatumGetCString(row[5])))
	{
		it->output_null = nulls[3];
		it->error_null = nulls[4];
		if (!nulls[3])
			it->output = JsonbPGetDatum(DatumGetJsonbPCopy(row[3]));
		if (!nulls[4])
			it->error = JsonbPGetDatum(DatumGetJsonbPCopy(row[4]));
	}
	MemoryContextSwitchTo(old);
	SPI_commit();
}

/* When to give up; DT_NOEND: never. */
static TimestampTz
end_of(const Interval *timeout)
{
	Interval	none = {0};

	if (timeout == NULL)
		return DT_NOEND;
	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(timeout), IntervalPGetDatum(&none))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errdetail("It is %s.", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(timeout)))),
				 errhint("Zero only looks; NULL waits for as long as it takes.")));
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(GetCurrentTimestamp()),
												   IntervalPGetDatum(timeout)));
}

/* Until this session is woken, but not longer than the poll or until the end. */
static void
rest(TimestampTz end)
{
	int64		poll = mine == NULL ? 1000 : pawl_poll_interval > 0 ? pawl_poll_interval : -1;
	TimestampTz until = poll < 0 ? end : Min(end, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), poll));

	while (mine == NULL || !mine->woken)
	{
		long		left = until == DT_NOEND ? -1 : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		CHECK_FOR_INTERRUPTS();
		if (left == 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (left >= 0 ? WL_TIMEOUT : 0), left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * CALL wait_for_workflow(workflow_id text, timeout interval, INOUT status text, INOUT output jsonb, INOUT error jsonb)
 *
 * Not SECURITY DEFINER, because such a procedure cannot end its transaction; it looks as the owner.
 */
PG_FUNCTION_INFO_V1(pawl_wait_for_workflow_1_0);
Datum
pawl_wait_for_workflow_1_0(PG_FUNCTION_ARGS)
{
	CallContext *call = fcinfo->context && IsA(fcinfo->context, CallContext) ? (CallContext *) fcinfo->context : NULL;
	MemoryContext context = CurrentMemoryContext;
	Look		it = {0};
	TimestampTz end;
	text	   *id;
	TupleDesc	descriptor;
	Datum		values[3];
	bool		nulls[3];

	if (call == NULL || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("pawl.wait_for_workflow cannot run inside a transaction block"),
				 errdetail("It holds no snapshot while it waits."),
				 errhint("This transaction may have enqueued it, and then it does not start before the commit: commit first, and CALL this as a statement"
						 " of its own, with autocommit on and not from a function.")));
	pawl_check_name("workflow_id", PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0)), PAWL_MAX_ID);
	id = DatumGetTextPCopy(PG_GETARG_DATUM(0));
	end = end_of(PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "pawl.wait_for_workflow is declared wrongly");
	descriptor = BlessTupleDesc(descriptor);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	PG_TRY();
	{
		/* An end that was committed before a look is seen by it, and one after it wakes this session if that was armed before the look. */
		for (bool armed = false;; armed = true)
		{
			look(id, &it, context);
			if (it.over || GetCurrentTimestamp() >= end)
				break;
			if (armed)
				rest(end);
			arm(it.key);
		}
	}
	PG_FINALLY();
	{
		leave(0, (Datum) 0);
	}
	PG_END_TRY();
	SPI_finish();

	values[0] = CStringGetTextDatum(it.status);
	nulls[0] = false;
	values[1] = it.output;
	nulls[1] = it.output_null;
	values[2] = it.error;
	nulls[2] = it.error_null;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
