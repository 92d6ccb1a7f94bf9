/*
 * marks.c
 *		What this transaction made claimable: told to claims and waiting workers when it commits.
 *
 * Everything that can fail happens while marking. The commit callback runs after the commit, where an error is a PANIC of the server: it only
 * reads counters, takes a spinlock and sets a latch.
 */
#include "pawl.h"
#include "shared.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/fmgrprotos.h"

#define MAX_SLOTS 64			/* more: everybody is woken */
#define MAX_LANES 64			/* more: every session's marks begin anew */
#define PAUSE_PATIENCE 2000		/* milliseconds that a pause waits for claims, which take a few */

typedef struct SlotMark
{
	uint64		hash;
	int32		version;		/* that of an entry which has one already, otherwise 0 */
	TimestampTz due;			/* claimable then, DT_NOBEGIN: at once */
	int			level;			/* subtransaction nesting: what is rolled back wakes nobody */
	bool		signal;			/* of pawl.signal: for those who take signals, not for claims */
	bool		turn;			/* wakes all who wait for it */
} SlotMark;

typedef struct LaneMark
{
	int			lane;
	int64		lowest;			/* of the keys that are claimable once this commits */
	int			level;
} LaneMark;

typedef struct TouchedMark
{
	int			lane;
	int64		lowest;			/* of the keys that are claimable again if this aborts */
} TouchedMark;

static SlotMark slots[MAX_SLOTS];
static int	nslots = 0;
static LaneMark lanes[MAX_LANES];
static int	nlanes = 0;
static TouchedMark touched[MAX_LANES];
static int	ntouched = 0;
static int	gates[PAWL_GATES];	/* that this transaction has locked */
static int	ngates = 0;
static int	claiming_lane = -1;	/* a claim statement is under way there */
static int64 claiming_from = 0;
static bool locking = false;	/* an entry is being locked, nobody knows where */
static bool locked = false;		/* entries are locked, or may be, that claims pass by, */
static bool locked_anywhere = false;	/* and not all of them are in touched[] */
static int	pausing = 0;		/* a queue is paused, by a subtransaction of that level; 0: none is */
static uint64 any_signal = 0;	/* the slot of signals that anybody may take */
static bool everyone = false;
static bool reset_marks = false;
static bool offers_changed = false;

uint64
pawl_slot_hash(int32 queue_id, const char *workflow_name)
{
	struct
	{
		Oid			database;
		int32		queue_id;
	}			key = {MyDatabaseId, queue_id};

	return hash_bytes_extended((const unsigned char *) &key, sizeof(key),
							   hash_bytes_extended((const unsigned char *) workflow_name, strlen(workflow_name), 0));
}

/* Signals of one worker; NULL: those that anybody may take. */
uint64
pawl_signal_hash(const pg_uuid_t *worker_id)
{
	struct
	{
		Oid			database;
		unsigned char worker_id[UUID_LEN];
	}			key = {MyDatabaseId};

	if (worker_id != NULL)
		memcpy(key.worker_id, worker_id->data, UUID_LEN);
	/* No slot of a queue has this seed but by chance, and then somebody wakes in vain. */
	return hash_bytes_extended((const unsigned char *) &key, sizeof(key), UINT64CONST(0x7369676e616c));
}

/* Seeds that no slot of a name has but by chance, and then somebody wakes in vain. */
#define ROOM_SEED UINT64CONST(0x726f6f6d)
#define TURN_SEED UINT64CONST(0x7475726e)

static int
gate_number(int32 queue_id)
{
	return pawl_room_hash(queue_id, NULL) % PAWL_GATES;
}

/* Who found a queue full; or found that this worker runs as many of it as one worker may. */
uint64
pawl_room_hash(int32 queue_id, const pg_uuid_t *worker_id)
{
	struct
	{
		Oid			database;
		int32		queue_id;
		unsigned char worker_id[UUID_LEN];
	}			key = {MyDatabaseId, queue_id};

	if (worker_id != NULL)
		memcpy(key.worker_id, worker_id->data, UUID_LEN);
	return hash_bytes_extended((const unsigned char *) &key, sizeof(key), ROOM_SEED);
}

/* Who may find the gate of a limited queue taken. */
uint64
pawl_turn_hash(int32 queue_id)
{
	int			gate = gate_number(queue_id);

	return hash_bytes_extended((const unsigned char *) &gate, sizeof(gate), TURN_SEED);
}

static void
add_slot_mark(uint64 hash, int32 version, TimestampTz due, bool signal, bool turn)
{
	if (!pawl_attach() || everyone)
		return;
	for (int i = nslots - 1; i >= 0; i--)
		if (slots[i].hash == hash && slots[i].version == version)
		{
			slots[i].due = Min(slots[i].due, due);
			return;
		}
	if (nslots == MAX_SLOTS)
	{
		everyone = true;
		return;
	}
	slots[nslots].hash = hash;
	slots[nslots].version = version;
	slots[nslots].due = due;
	slots[nslots].level = GetCurrentTransactionNestLevel();
	slots[nslots].signal = signal;
	slots[nslots].turn = turn;
	nslots++;
}

void
pawl_mark_slot(uint64 hash, int32 version, TimestampTz due)
{
	add_slot_mark(hash, version, due, false, false);
}

/*
 * This transaction leaves a signal. The worker is who most likely has to do with it; if that one does not wait just now, it looks by itself before it
 * does, or it is gone: then anybody is woken.
 */
void
pawl_mark_signal(const pg_uuid_t *worker_id)
{
	any_signal = pawl_signal_hash(NULL);
	add_slot_mark(pawl_signal_hash(worker_id), 0, DT_NOBEGIN, true, false);
}

/*
 * What this worker ran of a queue runs no more. One who found the queue full looks again, and hands it on if it cannot use it. A partition that was
 * full is not what they wait for by itself, so all look.
 */
void
pawl_mark_room(int32 queue_id, const pg_uuid_t *worker_id, bool partitioned)
{
	pawl_mark_slot(pawl_room_hash(queue_id, NULL), 0, DT_NOBEGIN);
	if (worker_id != NULL)
		pawl_mark_slot(pawl_room_hash(queue_id, worker_id), 0, DT_NOBEGIN);
	if (partitioned)
		add_slot_mark(pawl_turn_hash(queue_id), 0, DT_NOBEGIN, false, true);
}

/*
 * This transaction could not lock the gate of a queue. Said before it tries once more: either that finds it free, or whoever has it then sees this
 * when it has committed.
 */
void
pawl_turned_away(int32 queue_id)
{
	if (pawl_attach())
		pg_atomic_write_u32(&pawl_shared->turned_away[gate_number(queue_id)], 1);
	pg_memory_barrier();
}

/* It has locked it. */
void
pawl_hold_gate(int32 queue_id)
{
	int			gate = gate_number(queue_id);

	if (!pawl_attach())
		return;
	for (int i = 0; i < ngates; i++)
		if (gates[i] == gate)
			return;
	gates[ngates++] = gate;
}

void
pawl_mark_everyone(void)
{
	if (pawl_attach())
		everyone = true;
}

/* What workers may run changes, by what live ones offer or by an operator: with this commit everybody looks again. */
void
pawl_mark_offers(void)
{
	if (pawl_attach())
		offers_changed = everyone = true;
}

/*
 * An entry becomes claimable with this commit, or at its due time without a key yet: then only those are told who would wait past that time.
 * version is that of an entry which is pinned or began already, otherwise 0: any handler of the name may run it.
 */
void
pawl_mark(int32 queue_id, int64 rank, int64 ready_key, TimestampTz due, const char *workflow_name, int32 version, bool partitioned)
{
	int			level = GetCurrentTransactionNestLevel();
	int			lane;

	if (!pawl_attach())
		return;
	pawl_mark_slot(pawl_slot_hash(queue_id, workflow_name), version, due);
	if (partitioned)
	{
		/* Only so that claims know to look there. */
		(void) pawl_lane(queue_id, PAWL_PARTITIONED_RANK);
		return;
	}
	lane = pawl_lane(queue_id, rank);
	if (lane < 0 || ready_key == 0)
		return;
	for (int i = nlanes - 1; i >= 0; i--)
		if (lanes[i].lane == lane && lanes[i].level == level)
		{
			lanes[i].lowest = Min(lanes[i].lowest, ready_key);
			return;
		}
	if (nlanes == MAX_LANES)
	{
		reset_marks = true;
		return;
	}
	lanes[nlanes].lane = lane;
	lanes[nlanes].lowest = ready_key;
	lanes[nlanes].level = level;
	nlanes++;
}

/*
 * A claim statement begins: whatever it locks has at least this key. If it is cancelled in the middle, nobody knows what it had locked and others
 * have passed meanwhile.
 */
void
pawl_begin_touching(int lane, int64 from)
{
	claiming_lane = lane;
	claiming_from = from;
}

/*
 * The statement is over; the lowest key it locked, or PG_INT64_MAX. Others pass what this transaction locked, so if it aborts they must hear of it.
 */
void
pawl_touch(int lane, int64 ready_key)
{
	claiming_lane = -1;
	if (lane < 0 || ready_key == PG_INT64_MAX)
		return;
	for (int i = 0; i < ntouched; i++)
		if (touched[i].lane == lane)
		{
			touched[i].lowest = Min(touched[i].lowest, ready_key);
			return;
		}
	if (ntouched == MAX_LANES)
	{
		reset_marks = true;
		return;
	}
	touched[ntouched].lane = lane;
	touched[ntouched].lowest = ready_key;
	ntouched++;
}

/* A statement locks an entry that can be claimed or becomes due. Claims pass it by from now on, and must hear of it if this transaction aborts. */
void
pawl_begin_locking(void)
{
	locking = pawl_attach();
}

/* The statement is over; ready_key 0: it locked none that has a mark. */
void
pawl_end_locking(int32 queue_id, int64 rank, int64 ready_key)
{
	if (!locking)
		return;
	locked = true;
	if (ready_key != 0)
		pawl_touch(pawl_lane(queue_id, rank), ready_key);
	locking = false;
}

/*
 * A claim begins. Of what it locks, that which has no mark is in no list here: what is partitioned, was due, or has no place among the lanes. Others
 * pass it by all the same, and must hear of it if this transaction aborts.
 */
void
pawl_begin_claim(void)
{
	if (pawl_attach())
		locked = true;
}

/* mark_locks() RETURNS void: for SQL, which locks entries by the batch; so all marks begin anew in the rare case that it is rolled back. */
PG_FUNCTION_INFO_V1(pawl_mark_locks_1_0);
Datum
pawl_mark_locks_1_0(PG_FUNCTION_ARGS)
{
	if (pawl_attach())
		locked = locked_anywhere = true;
	PG_RETURN_VOID();
}

/* mark_pause() RETURNS void */
PG_FUNCTION_INFO_V1(pawl_mark_pause_1_0);
Datum
pawl_mark_pause_1_0(PG_FUNCTION_ARGS)
{
	int			level = GetCurrentTransactionNestLevel();

	pausing = pausing == 0 ? level : Min(pausing, level);
	PG_RETURN_VOID();
}

/*
 * A claim goes by what it read of the queues when it began, and holds its side of this lock until it has committed. So nobody is at it when the pause
 * commits, and whoever comes meanwhile waits for that, and sees it. Last of all before the commit, and not in pause_queue: a transaction may stay open
 * for long after that. One that is prepared keeps its locks for longer still: it does not wait.
 */
static void
wait_for_claims(void)
{
	int			timeout = LockTimeout;

	LockTimeout = timeout > 0 ? Min(timeout, PAUSE_PATIENCE) : PAUSE_PATIENCE;
	PG_TRY();
	{
		DirectFunctionCall2(pg_advisory_xact_lock_int4, Int32GetDatum(PAWL_CLAIM_LOCK_CLASS), Int32GetDatum(0));
	}
	PG_CATCH();
	{
		LockTimeout = timeout;
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the queue is not paused"),
				 errdetail("A claim that began before has not ended, and may still start some of it."),
				 errhint("Pause it again. If that fails too, whose claim it is: SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
						 " AND classid = %d AND objid = 0.", PAWL_CLAIM_LOCK_CLASS)));
	}
	PG_END_TRY();
	LockTimeout = timeout;
}

/* ---- after the end of the transaction: nothing below may raise, allocate, or take a heavyweight lock ---- */

static void
report(int lane, int64 ready_key)
{
	PawlShared *s = pawl_shared;

	if ((uint64) ready_key > pg_atomic_read_u64(&s->lanes[lane].passed))
		return;
	SpinLockAcquire(&s->ring_mutex);
	s->ring[s->ring_end % PAWL_RING].lane = lane;
	s->ring[s->ring_end % PAWL_RING].ready_key = ready_key;
	s->ring_end++;
	SpinLockRelease(&s->ring_mutex);
	pg_atomic_fetch_add_u64(&s->stragglers, 1);
}

static bool
waits_for(const PawlWaiter *waiter, uint64 hash, int32 version, TimestampTz due, bool signal)
{
	if (due >= waiter->until)
		return false;
	/* Everything that can be claimed. */
	if (waiter->everything)
		return !signal;
	for (int i = 0; i < waiter->nslots; i++)
		if (waiter->slots[i].hash == hash
			&& (version == 0 ? !waiter->slots[i].began : (version > waiter->slots[i].above && version <= waiter->slots[i].upto)))
			return true;
	return false;
}

/* Wakes one armed waiter for a slot; false: there was none. */
static bool
wake(uint64 hash, int32 version, TimestampTz due, bool signal)
{
	PawlShared *s = pawl_shared;
	Latch	   *latch = NULL;

	if (pg_atomic_read_u32(&s->armed[hash % PAWL_ARMED]) == 0 && pg_atomic_read_u32(&s->armed_for_everything) == 0)
		return false;
	SpinLockAcquire(&s->waiter_mutex);
	for (int i = 0; i < PAWL_WAITERS && latch == NULL; i++)
	{
		PawlWaiter *waiter = &s->waiters[i];

		if (waiter->armed && waiter->database == MyDatabaseId && waits_for(waiter, hash, version, due, signal))
		{
			waiter->baton = true;
			latch = waiter->latch;
			pawl_disarm(waiter);
		}
	}
	SpinLockRelease(&s->waiter_mutex);
	if (latch == NULL)
		return false;
	pg_atomic_fetch_add_u64(&s->wakes, 1);
	SetLatch(latch);
	return true;
}

/* Called after a commit: any_signal is made beforehand. */
static void
wake_for_signal(uint64 hash)
{
	if (!wake(hash, 0, DT_NOBEGIN, true) && hash != any_signal)
		(void) wake(any_signal, 0, DT_NOBEGIN, true);
}

/* Everyone in this database; or whoever waits for his turn at a gate. */
static void
wake_all(uint64 turn)
{
	PawlShared *s = pawl_shared;
	Latch	   *latches[PAWL_WAITERS];
	int			count = 0;

	if (turn != 0 && pg_atomic_read_u32(&s->armed[turn % PAWL_ARMED]) == 0 && pg_atomic_read_u32(&s->armed_for_everything) == 0)
		return;
	SpinLockAcquire(&s->waiter_mutex);
	for (int i = 0; i < PAWL_WAITERS; i++)
	{
		PawlWaiter *waiter = &s->waiters[i];

		if (waiter->armed && (turn == 0 ? waiter->database == MyDatabaseId : waits_for(waiter, turn, 0, DT_NOBEGIN, false)))
		{
			waiter->baton = true;
			latches[count++] = waiter->latch;
			pawl_disarm(waiter);
		}
	}
	SpinLockRelease(&s->waiter_mutex);
	pg_atomic_fetch_add_u64(&s->wakes, count);
	for (int i = 0; i < count; i++)
		SetLatch(latches[i]);
}

/* The gates that this transaction had locked are free now. */
static void
leave_gates(void)
{
	for (int i = 0; i < ngates; i++)
		if (pg_atomic_exchange_u32(&pawl_shared->turned_away[gates[i]], 0) != 0)
			wake_all(hash_bytes_extended((const unsigned char *) &gates[i], sizeof(gates[i]), TURN_SEED));
}

/* The waiter is not armed any more; the caller holds the mutex. */
void
pawl_disarm(PawlWaiter *waiter)
{
	if (!waiter->armed)
		return;
	waiter->armed = false;
	if (waiter->everything)
		pg_atomic_fetch_sub_u32(&pawl_shared->armed_for_everything, 1);
	for (int i = 0; i < waiter->nslots; i++)
		pg_atomic_fetch_sub_u32(&pawl_shared->armed[waiter->slots[i].hash % PAWL_ARMED], 1);
}

void
pawl_wake_slots(const PawlSlot *it, int count, bool signals)
{
	for (int i = 0; i < count; i++)
	{
		(void) wake(it[i].hash, 0, DT_NOBEGIN, signals);
		if (it[i].upto > 0)
			(void) wake(it[i].hash, it[i].upto, DT_NOBEGIN, signals);
	}
}

/*
 * What a claim had locked is free again. Others passed it and may be waiting now; whom it concerns is not known any more, and it is rare.
 */
static void
report_touched(void)
{
	pg_memory_barrier();
	for (int i = 0; i < ntouched; i++)
		report(touched[i].lane, touched[i].lowest);
	if (claiming_lane >= 0)
		report(claiming_lane, claiming_from);
	if (locking || locked_anywhere || reset_marks)
		pg_atomic_fetch_add_u64(&pawl_shared->reset_generation, 1);
	wake_all(0);
}

static void
forget(void)
{
	nslots = nlanes = ntouched = ngates = 0;
	claiming_lane = -1;
	pawl_forget_ends();
	everyone = reset_marks = offers_changed = locking = locked = locked_anywhere = false;
	pausing = 0;
}

static void
transaction_ended(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (pausing > 0)
				wait_for_claims();
			break;

		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
			if (nslots > 0 || nlanes > 0 || ngates > 0 || everyone || reset_marks)
			{
				/* The rows are visible now; a claim that published its mark before this is seen to have, and one after it sees them. */
				pg_memory_barrier();
				for (int i = 0; i < nlanes; i++)
					report(lanes[i].lane, lanes[i].lowest);
				if (reset_marks)
					pg_atomic_fetch_add_u64(&pawl_shared->reset_generation, 1);
				/* Before anybody is woken: whoever arms meanwhile looks at this once more when it has. */
				if (offers_changed)
					pg_atomic_fetch_add_u64(&pawl_shared->offers_generation, 1);
				pg_memory_barrier();
				if (everyone)
					wake_all(0);
				else
					for (int i = 0; i < nslots; i++)
						if (slots[i].signal)
							wake_for_signal(slots[i].hash);
						else if (slots[i].turn)
							wake_all(slots[i].hash);
						else
							(void) wake(slots[i].hash, slots[i].version, slots[i].due, false);
				leave_gates();
			}
			pawl_wake_awaiting();
			forget();
			break;

		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			/* This session may have read its own offers. */
			if (offers_changed)
				pg_atomic_fetch_add_u64(&pawl_shared->offers_generation, 1);
			if (ntouched > 0 || claiming_lane >= 0 || locking || locked || (reset_marks && pawl_shared != NULL))
			{
				report_touched();
				pawl_claims_aborted();
			}
			leave_gates();
			forget();
			break;

		case XACT_EVENT_PREPARE:
			/*
			 * COMMIT PREPARED may come from any session, and tells nobody: claims look everywhere while there are such transactions. Said only
			 * now that this one is to be seen in pg_prepared_xacts: a claim that heard of it before would look there, find none, and be content.
			 */
			if (nslots > 0 || nlanes > 0 || ntouched > 0 || locked || everyone || reset_marks)
				pg_atomic_fetch_add_u64(&pawl_shared->prepare_generation, 1);
			forget();
			break;

		default:
			break;
	}
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();
	int			kept = 0;

	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = 0; i < nslots; i++)
			slots[i].level = Min(slots[i].level, level - 1);
		for (int i = 0; i < nlanes; i++)
			lanes[i].level = Min(lanes[i].level, level - 1);
		pausing = Min(pausing, level - 1);
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		for (int i = 0; i < nslots; i++)
			if (slots[i].level < level)
				slots[kept++] = slots[i];
		nslots = kept;
		kept = 0;
		for (int i = 0; i < nlanes; i++)
			if (lanes[i].level < level)
				lanes[kept++] = lanes[i];
		nlanes = kept;
		if (pausing >= level)
			pausing = 0;
		/* What a claim in it had locked is free now, though the transaction goes on. */
		if (ntouched > 0 || claiming_lane >= 0 || locking || locked)
		{
			report_touched();
			claiming_lane = -1;
			locking = false;
			pawl_claims_aborted();
		}
	}
}

void
pawl_init_marks(void)
{
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
}
