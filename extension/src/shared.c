/*
 * shared.c
 *		Finds or makes the shared state, and its lanes.
 */
#include "pawl.h"
#include "shared.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/resowner.h"
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#endif

PawlShared *pawl_shared = NULL;

StaticAssertDecl(sizeof(PawlShared) < 80 * 1024, "the server may not have so much to spare");

static void
initialize(void *pointer)
{
	PawlShared *s = pointer;

	memset(s, 0, sizeof(PawlShared));
	SpinLockInit(&s->waiter_mutex);
	SpinLockInit(&s->lane_mutex);
	SpinLockInit(&s->ring_mutex);
	SpinLockInit(&s->await_mutex);
	pg_atomic_init_u32(&s->awaiting, 0);
	for (int i = 0; i < PAWL_ARMED; i++)
		pg_atomic_init_u32(&s->armed[i], 0);
	pg_atomic_init_u32(&s->armed_for_everything, 0);
	pg_atomic_init_u32(&s->lane_count, 0);
	pg_atomic_init_u32(&s->lanes_overflowed, 0);
	for (int i = 0; i < PAWL_LANES; i++)
		pg_atomic_init_u64(&s->lanes[i].passed, 0);
	for (int i = 0; i < PAWL_GATES; i++)
		pg_atomic_init_u32(&s->turned_away[i], 0);
	pg_atomic_init_u64(&s->reset_generation, 0);
	pg_atomic_init_u64(&s->offers_generation, 0);
	pg_atomic_init_u64(&s->prepare_generation, 0);
	pg_atomic_init_u64(&s->wakes, 0);
	pg_atomic_init_u64(&s->rescued_by_poll, 0);
	pg_atomic_init_u64(&s->stragglers, 0);
	pg_atomic_init_u64(&s->laps, 0);
	pg_atomic_init_u64(&s->rescued_by_reset, 0);
}

/*
 * False: the server has no memory to spare. Then nobody is woken, workers find new entries by their poll, and claims have no marks: an
 * enqueue must not fail for that.
 */
bool
pawl_attach(void)
{
	static bool unavailable = false;
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	if (pawl_shared != NULL)
		return true;
	if (unavailable)
		return false;

	/* A subtransaction, once in a session: an error leaves locks behind that only its abort releases. */
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		PawlShared *made;
		bool		found;

		MemoryContextSwitchTo(caller);
#if PG_VERSION_NUM >= 170000
		made = GetNamedDSMSegment("pawl", sizeof(PawlShared), initialize, &found);
#else
		LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
		made = ShmemInitStruct("pawl", sizeof(PawlShared), &found);
		if (!found)
			initialize(made);
		LWLockRelease(AddinShmemInitLock);
#endif
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		pawl_shared = made;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INSUFFICIENT_RESOURCES)
			ReThrowError(error);
		unavailable = true;
		ereport(WARNING,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("pawl has no shared memory: workers find new workflows only by polling"),
				 errdetail("%s", error->message),
				 errhint("Add pawl to shared_preload_libraries, or raise shared_buffers, and restart the server.")));
		FreeErrorData(error);
	}
	PG_END_TRY();
	return pawl_shared != NULL;
}

/* The lane of this database; -1: it has no place. */
int
pawl_known_lane(int32 queue_id, int64 rank)
{
	uint32		count;

	if (pawl_shared == NULL)
		return -1;
	count = pg_atomic_read_u32(&pawl_shared->lane_count);
	pg_read_barrier();
	for (uint32 i = 0; i < count; i++)
	{
		PawlLane   *lane = &pawl_shared->lanes[i];

		if (lane->database == MyDatabaseId && lane->queue_id == queue_id && lane->rank == rank)
			return i;
	}
	return -1;
}

/* The lane of this database, made if there is none; -1: the table is full, and the lane has no mark. */
int
pawl_lane(int32 queue_id, int64 rank)
{
	uint32		count;
	int			found;

	if (!pawl_attach())
		return -1;
	found = pawl_known_lane(queue_id, rank);
	if (found >= 0)
		return found;

	SpinLockAcquire(&pawl_shared->lane_mutex);
	found = pawl_known_lane(queue_id, rank);
	count = pg_atomic_read_u32(&pawl_shared->lane_count);
	if (found < 0 && count < PAWL_LANES)
	{
		PawlLane   *lane = &pawl_shared->lanes[count];

		lane->database = MyDatabaseId;
		lane->queue_id = queue_id;
		lane->rank = rank;
		pg_write_barrier();
		pg_atomic_write_u32(&pawl_shared->lane_count, count + 1);
		found = count;
	}
	SpinLockRelease(&pawl_shared->lane_mutex);
	if (found < 0)
		pg_atomic_write_u32(&pawl_shared->lanes_overflowed, 1);
	return found;
}
