/*
 * wakeup.c
 *		How an idle worker waits: it arms for what it could claim, looks once more, then waits for its latch without a snapshot.
 */
#include "gate.h"
#include "shared.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

#define COUNTING_DELAY 10		/* milliseconds until a claim tries again to count what runs in a queue that was not limited */
#define ARMING_ATTEMPTS 4

static PawlWaiter *mine = NULL;
static bool poll_ended = false;
static bool ran_out = false;
static int64 patience = 0;		/* milliseconds to wait at most, as it was armed; -1: until it is woken */
static bool timed = false;		/* it ends at a time that is known, or was armed so: then a wait that ends by itself was no poll */
static uint64 arming = 0;		/* how often this session was armed for something else, or looked by itself */

/* At the end of the session: another waiter gets the baton, if this one was woken and did not look any more. */
static void
leave(int code, Datum arg)
{
	PawlWaiter *waiter = mine;
	PawlSlot	slots[PAWL_WAITER_SLOTS];
	int			nslots;
	bool		pass;
	bool		everything;
	bool		signals;

	if (waiter == NULL)
		return;
	mine = NULL;
	SpinLockAcquire(&pawl_shared->waiter_mutex);
	pawl_disarm(waiter);
	pass = waiter->baton;
	everything = waiter->everything;
	signals = waiter->signals;
	nslots = waiter->nslots;
	memcpy(slots, waiter->slots, sizeof(slots));
	waiter->baton = false;
	waiter->in_use = false;
	SpinLockRelease(&pawl_shared->waiter_mutex);
	if (!pass)
		return;
	pawl_wake_slots(slots, nslots, signals);
	if (everything)
	{
		/* Nobody knows what it was woken for: whoever waits for everything may know, or finds out. */
		PawlSlot	any = {.hash = 0};

		pawl_wake_slots(&any, 1, false);
	}
}

/* False: no memory, or every place is taken; then this session only polls. */
static bool
take_place(void)
{
	if (mine != NULL)
		return true;
	if (!pawl_attach())
		return false;
	SpinLockAcquire(&pawl_shared->waiter_mutex);
	for (int i = 0; i < PAWL_WAITERS && mine == NULL; i++)
	{
		PawlWaiter *waiter = &pawl_shared->waiters[i];

		if (waiter->in_use)
			continue;
		mine = waiter;
		waiter->in_use = true;
		waiter->armed = waiter->baton = waiter->everything = waiter->signals = false;
		waiter->nslots = 0;
		waiter->database = MyDatabaseId;
		waiter->latch = &MyProc->procLatch;
	}
	SpinLockRelease(&pawl_shared->waiter_mutex);
	if (mine == NULL)
		return false;
	before_shmem_exit(leave, (Datum) 0);
	return true;
}

/* A claim that took all it could may have left something: the next waiter looks. Called in a transaction, done at its commit. */
void
pawl_hand_on(void)
{
	if (mine == NULL)
		return;
	if (mine->everything)
		pawl_mark_everyone();
	for (int i = 0; i < mine->nslots; i++)
	{
		if (mine->slots[i].turn)
			continue;
		pawl_mark_slot(mine->slots[i].hash, 0, DT_NOBEGIN);
		if (mine->slots[i].upto > 0)
			pawl_mark_slot(mine->slots[i].hash, mine->slots[i].upto, DT_NOBEGIN);
	}
}

/*
 * This session may have been woken because there was room in a queue, and has left some. Who does not find a queue full does not wait for room in it,
 * so this goes on no longer than there are some who do.
 */
void
pawl_hand_on_room(PawlLimits *limits)
{
	uint64		hash = pawl_room_hash(limits->queue_id, NULL);
	bool		waited = false;

	if (mine == NULL || mine->armed)
		return;
	for (int i = 0; i < mine->nslots; i++)
		waited |= mine->slots[i].hash == hash;
	if (!waited)
		return;
	pawl_measure(limits);
	if (limits->room > 0)
		pawl_mark_slot(hash, 0, DT_NOBEGIN);
}

/* Changes whenever something may have come that did not wake this session; 0: it is not armed. */
uint64
pawl_arming(void)
{
	return mine != NULL && mine->armed ? arming : 0;
}

/* Whether the last wait ended without being woken; poll: nor for a time that was known. Asked once. */
bool
pawl_take_wait(bool *poll)
{
	bool		was = ran_out;

	*poll = poll_ended;
	ran_out = poll_ended = false;
	return was;
}

/* What a session waits for. */
typedef struct Wish
{
	bool		everything;
	bool		signals;
	bool		restricted;		/* less than what it runs: some queue is paused or full */
	int			nslots;
	PawlSlot	slots[PAWL_WAITER_SLOTS];
	int64		milliseconds;	/* when it looks by itself; -1: never */
	bool		slot_awaited;
} Wish;

static void
add_slot(Wish *wish, PawlSlot slot)
{
	for (int i = 0; i < wish->nslots; i++)
		if (memcmp(&wish->slots[i], &slot, sizeof(slot)) == 0)
			return;
	if (wish->nslots == PAWL_WAITER_SLOTS)
		wish->everything = true;
	else
		wish->slots[wish->nslots++] = slot;
}

static void
wait_at_most(Wish *wish, int64 milliseconds)
{
	if (wish->milliseconds < 0 ? milliseconds < PG_INT32_MAX : milliseconds < wish->milliseconds)
		wish->milliseconds = milliseconds;
}

static bool
same_slots(const Wish *wish, bool everything, int nslots, const PawlSlot *slots)
{
	return wish->everything == everything && (everything || (wish->nslots == nslots && memcmp(wish->slots, slots, sizeof(PawlSlot) * nslots) == 0));
}

/* From now on a commit that marks one of these wakes this session. */
static void
arm(const Wish *wish)
{
	if (!take_place())
		return;
	if (!mine->armed || !same_slots(wish, mine->everything, mine->nslots, mine->slots))
		arming++;
	SpinLockAcquire(&pawl_shared->waiter_mutex);
	/* It was woken since: as if it had been armed only now. */
	arming += !mine->armed;
	pawl_disarm(mine);
	mine->baton = false;
	mine->everything = wish->everything;
	mine->signals = wish->signals;
	mine->nslots = wish->everything ? 0 : wish->nslots;
	memcpy(mine->slots, wish->slots, sizeof(PawlSlot) * mine->nslots);
	for (int i = 0; i < mine->nslots; i++)
		pg_atomic_fetch_add_u32(&pawl_shared->armed[mine->slots[i].hash % PAWL_ARMED], 1);
	if (mine->everything)
		pg_atomic_fetch_add_u32(&pawl_shared->armed_for_everything, 1);
	mine->until = DT_NOEND;
	mine->armed = true;
	SpinLockRelease(&pawl_shared->waiter_mutex);
	pg_memory_barrier();
}

/* What of a queue this worker could run now, and what would let it run more. */
static void
wish_for_queue(Wish *wish, const PawlOffer *offer, int32 queue_id, PawlLimits *limits)
{
	bool		began = false;

	if (limits != NULL)
	{
		wish->restricted = true;
		if (limits->paused)
			return;
		add_slot(wish, (PawlSlot) {.hash = pawl_turn_hash(queue_id), .turn = 1});
		pawl_measure(limits);
		if (!limits->counted)
			wait_at_most(wish, COUNTING_DELAY);
		else if (limits->worker_room <= 0)
		{
			add_slot(wish, (PawlSlot) {.hash = pawl_room_hash(queue_id, DatumGetUUIDP(limits->worker))});
			return;
		}
		else if (limits->room <= 0)
		{
			add_slot(wish, (PawlSlot) {.hash = pawl_room_hash(queue_id, NULL)});
			/* Those that kept their permits may go on. */
			if (!limits->hold)
				return;
			began = true;
		}
		else if (limits->slot_in > 0)
		{
			wait_at_most(wish, limits->slot_in / 1000 + 1);
			wish->slot_awaited = began = true;
		}
	}
	for (int i = 0; i < offer->count && !wish->everything; i++)
		add_slot(wish, (PawlSlot) {.hash = pawl_slot_hash(queue_id, offer->names[i]), .above = offer->above[i], .began = began, .upto = offer->versions[i]});
}

/*
 * How many milliseconds until the first delayed or parked entry is due; -1: there is none. What is due, but locked, is passed by, as claims pass it
 * by: whoever has locked it wakes the workers when he is done, and until then they would do nothing but look.
 */
static int64
next_due(void)
{
	static SPIPlanPtr plans[3];
	static const char *const texts[3] = {
		"SELECT w.due_at FROM pawl.workflow w WHERE w.due_at IS NOT NULL ORDER BY w.due_at LIMIT 1",
		"SELECT w.due_at FROM pawl.workflow w WHERE w.due_at <= (SELECT pg_catalog.clock_timestamp()) ORDER BY w.due_at LIMIT 1 FOR UPDATE SKIP LOCKED",
		"SELECT w.due_at FROM pawl.workflow w WHERE w.due_at > (SELECT pg_catalog.clock_timestamp()) ORDER BY w.due_at LIMIT 1"
	};
	TimestampTz due = DT_NOEND;

	for (int i = 0; i < 3; i++)
	{
		bool		isnull;

		if (plans[i] == NULL)
			plans[i] = pawl_prepare(texts[i], 0, NULL);
		if (SPI_execute_plan(plans[i], NULL, NULL, false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not read the next due time");
		due = SPI_processed == 0 ? DT_NOEND : DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		if (i == 0 ? due > GetCurrentTimestamp() : SPI_processed > 0)
			break;
	}
	return due == DT_NOEND ? -1 : Max(0, (due - GetCurrentTimestamp() + 999) / 1000);
}

/* The queues that a worker serves; none, while the database is held. */
static Datum *
served_queues(Datum queue_names, int *count)
{
	static SPIPlanPtr plan = NULL;
	Datum	   *queues;
	char		nulls[1] = {queue_names == (Datum) 0 ? 'n' : ' '};

	if (plan == NULL)
		plan = pawl_prepare("SELECT q.queue_id FROM (SELECT e.queue_id, e.queue_name FROM pawl.queue e UNION SELECT 0, 'default') q"
							" WHERE ($1 IS NULL OR q.queue_name = ANY ($1))"
							" AND NOT EXISTS (SELECT FROM pawl.installation i WHERE i.held_at IS NOT NULL)", 1, ((Oid[]) {TEXTARRAYOID}));
	if (SPI_execute_plan(plan, &queue_names, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the queues");
	*count = (int) SPI_processed;
	queues = palloc(sizeof(Datum) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		bool		isnull;

		queues[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
	}
	return queues;
}

/*
 * Arms this session for what the worker could run now; queues: 0 for all. Called by a definer with its plan settings, connected to SPI. What was
 * committed before the session was armed is found by a later snapshot: look at the queues after this. False: there is nothing that it may claim, and
 * somebody has to change that; what is due is not its concern until then.
 */
bool
pawl_arm(Datum worker, ArrayType *names, ArrayType *versions, Datum queue_names)
{
	Wish		wish;
	bool		may_claim;
	bool		settled = false;
	int64		due_in;

	/*
	 * What there is to serve, what live workers offer, and what there is room for, may change before it is armed, and nobody wakes it for that: so it
	 * looks once more, then. If that changes all the time, it waits for everything.
	 */
	for (int attempt = 0; !settled; attempt++)
	{
		const PawlOffer *offer = pawl_offer(names, versions);
		int			nqueues;
		Datum	   *queues = served_queues(queue_names, &nqueues);
		Datum		queue_array = queue_names == (Datum) 0 ? (Datum) 0
			: PointerGetDatum(construct_array(queues, nqueues, INT4OID, sizeof(int32), true, TYPALIGN_INT));
		int			nlimits;
		PawlLimits *limits = pawl_read_limits(worker, queue_array, &nlimits);

		may_claim = nqueues > 0 && offer->count > 0;
		wish = (Wish) {.milliseconds = pawl_poll_interval > 0 ? pawl_poll_interval : -1, .everything = attempt >= ARMING_ATTEMPTS};
		for (int i = 0; may_claim && i < nqueues; i++)
			wish_for_queue(&wish, offer, DatumGetInt32(queues[i]), pawl_limits_of(limits, nlimits, DatumGetInt32(queues[i])));
		settled = attempt > 0 && mine != NULL && same_slots(&wish, mine->everything, mine->nslots, mine->slots);
		if (!settled)
			arm(&wish);
		if (mine == NULL || wish.everything || !wish.restricted)
			settled = true;
		if (mine != NULL && pg_atomic_read_u64(&pawl_shared->offers_generation) != offer->generation)
			settled = false;
	}

	/* What is delayed or parked: not longer than until the first of it is due. */
	due_in = may_claim ? next_due() : -1;
	if (due_in >= 0)
		wait_at_most(&wish, due_in);
	patience = wish.milliseconds;
	timed = wish.slot_awaited || (patience >= 0 && (pawl_poll_interval == 0 || patience < pawl_poll_interval));

	/* What is due later than that need not wake it; with a second for the way from here to pawl.wait. */
	if (mine != NULL)
	{
		TimestampTz until = wish.milliseconds < 0 ? DT_NOEND : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wish.milliseconds + 1000);

		SpinLockAcquire(&pawl_shared->waiter_mutex);
		mine->until = until;
		SpinLockRelease(&pawl_shared->waiter_mutex);
	}
	return may_claim;
}

/*
 * arm_worker(worker_id uuid, workflow_names text[], workflow_versions integer[], queues text[]) RETURNS integer
 *
 * SECURITY DEFINER with its plan settings in the declaration.
 */
PG_FUNCTION_INFO_V1(pawl_arm_worker_1_0);
Datum
pawl_arm_worker_1_0(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("worker_id, workflow_names and workflow_versions must not be null"),
				 errdetail("A worker waits for what its handlers can run."),
				 errhint("Give the arrays that the worker registered.")));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	(void) pawl_arm(PG_GETARG_DATUM(0), PG_GETARG_ARRAYTYPE_P(1), PG_GETARG_ARRAYTYPE_P(2), PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3));
	SPI_finish();
	/* The claim after this one goes on where the last one stopped. */
	PG_RETURN_INT32(pawl_claim_unfinished() ? 0 : (int32) patience);
}

#define SIGNAL_POLLS 5			/* one look for signals in so many polls */

/*
 * arm_signals(worker_id uuid) RETURNS integer
 *
 * Woken by signals of that worker, and by those of nobody's in turn with the other workers.
 */
PG_FUNCTION_INFO_V1(pawl_arm_signals_1_0);
Datum
pawl_arm_signals_1_0(PG_FUNCTION_ARGS)
{
	Wish		wish = {.signals = true};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("worker_id must not be null"),
				 errdetail("A worker waits for the signals of its own workflows, and helps with those of nobody's."),
				 errhint("Give the worker_id that was registered.")));
	add_slot(&wish, (PawlSlot) {.hash = pawl_signal_hash(PG_GETARG_UUID_P(0))});
	add_slot(&wish, (PawlSlot) {.hash = pawl_signal_hash(NULL)});
	arm(&wish);
	/* Every look of an idle worker costs a wake-up of a process; what only a look finds is rarer here than among what can be claimed. */
	PG_RETURN_INT32(pawl_poll_interval > 0 ? SIGNAL_POLLS * pawl_poll_interval : -1);
}

/* mark_signals(worker_id uuid) RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_signals_1_0);
Datum
pawl_mark_signals_1_0(PG_FUNCTION_ARGS)
{
	pawl_mark_signal(PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}

/*
 * CALL wait(timeout_ms integer, INOUT woken boolean)
 *
 * Ends its transaction first: no snapshot holds back vacuum while it waits. Not SECURITY DEFINER, because such a procedure cannot commit;
 * it touches no table.
 */
PG_FUNCTION_INFO_V1(pawl_wait_1_0);
Datum
pawl_wait_1_0(PG_FUNCTION_ARGS)
{
	int			timeout = !PG_ARGISNULL(0) ? PG_GETARG_INT32(0) : pawl_claim_unfinished() ? 0 : (int) patience;
	CallContext *call = fcinfo->context && IsA(fcinfo->context, CallContext) ? (CallContext *) fcinfo->context : NULL;
	TimestampTz end;
	TupleDesc	descriptor;
	Datum		values[1];
	bool		nulls[1] = {false};
	bool		woken = false;

	if (timeout < -1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout_ms must be -1 or more"),
				 errdetail("It is how many milliseconds to wait at most; -1 waits until woken."),
				 errhint("Give what pawl.arm_worker answered, or NULL for what the last claim found.")));
	if (call == NULL || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("pawl.wait cannot run inside a transaction block"),
				 errhint("CALL it as a statement of its own.")));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "pawl.wait is declared wrongly");
	descriptor = BlessTupleDesc(descriptor);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();

	/* Without a place among the waiters nobody can wake this session: it polls. */
	if (mine == NULL && (timeout < 0 || timeout > 1000))
		timeout = 1000;
	end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
	for (;;)
	{
		long		left = -1;

		CHECK_FOR_INTERRUPTS();
		if (mine != NULL && !mine->armed)
		{
			woken = true;
			break;
		}
		if (timeout >= 0)
		{
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
			if (left <= 0)
				break;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0), left, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	ran_out = !woken;
	poll_ended = ran_out && !timed;
	/* It looks at everything, unless it was only on its way to the rest of it. */
	arming += !woken && timeout != 0;
	values[0] = BoolGetDatum(woken);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}

/* mark_ready(queue_id integer, rank bigint, ready_key bigint, workflow_name text, workflow_version integer, partitioned boolean) RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_ready_1_0);
Datum
pawl_mark_ready_1_0(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		elog(ERROR, "pawl.mark_ready needs a queue, a rank and a name");
	pawl_mark(PG_GETARG_INT32(0), PG_GETARG_INT64(1), PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2), DT_NOBEGIN, text_to_cstring(PG_GETARG_TEXT_PP(3)),
			  PG_ARGISNULL(4) ? 0 : PG_GETARG_INT32(4), !PG_ARGISNULL(5) && PG_GETARG_BOOL(5));
	PG_RETURN_VOID();
}

/* mark_room(queue_id integer, worker_id uuid, partitioned boolean) RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_room_1_0);
Datum
pawl_mark_room_1_0(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		pawl_mark_room(PG_GETARG_INT32(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1), !PG_ARGISNULL(2) && PG_GETARG_BOOL(2));
	PG_RETURN_VOID();
}

/* mark_all() RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_all_1_0);
Datum
pawl_mark_all_1_0(PG_FUNCTION_ARGS)
{
	/* Whoever arms meanwhile looks once more when it has. */
	pawl_mark_offers();
	PG_RETURN_VOID();
}

/* wakeup_statistics(OUT wakes, OUT rescued_by_poll, OUT stragglers, OUT laps, OUT rescued_by_reset) */
PG_FUNCTION_INFO_V1(pawl_wakeup_statistics_1_0);
Datum
pawl_wakeup_statistics_1_0(PG_FUNCTION_ARGS)
{
	TupleDesc	descriptor;
	Datum		values[5];
	bool		nulls[5] = {false};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "pawl.wakeup_statistics is declared wrongly");
	memset(nulls, !pawl_attach(), sizeof(nulls));
	if (pawl_shared != NULL)
	{
		values[0] = Int64GetDatum(pg_atomic_read_u64(&pawl_shared->wakes));
		values[1] = Int64GetDatum(pg_atomic_read_u64(&pawl_shared->rescued_by_poll));
		values[2] = Int64GetDatum(pg_atomic_read_u64(&pawl_shared->stragglers));
		values[3] = Int64GetDatum(pg_atomic_read_u64(&pawl_shared->laps));
		values[4] = Int64GetDatum(pg_atomic_read_u64(&pawl_shared->rescued_by_reset));
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
