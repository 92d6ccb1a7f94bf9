/*
 * shared.h
 *		What all sessions of the server share: who waits for what, how far claims have come, and which keys were committed behind them.
 *
 * It is made at first use, in what the server has to spare (no preload), so all of it together stays below 80 kB.
 */
#ifndef PAWL_SHARED_H
#define PAWL_SHARED_H

#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#define PAWL_ARMED 1024			/* counters of armed waiters by hash */
#define PAWL_WAITERS 128
#define PAWL_WAITER_SLOTS 16	/* a waiter for more than these waits for everything */
#define PAWL_LANES 512
#define PAWL_RING 1024
#define PAWL_GATES 64			/* flags of gates, by hash of database and queue */
#define PAWL_AWAITS 128

/*
 * What a waiter could run: a name in a queue, and of those that began already, the versions in (above, upto]. Or room in a queue, or its turn at the
 * gate of one: then upto is 0.
 */
typedef struct PawlSlot
{
	uint64		hash;
	uint32		above:31;
	uint32		began:1;		/* only what began already: nothing else may start now */
	uint32		upto:31;
	uint32		turn:1;			/* who wakes one of these wakes all, in every database */
} PawlSlot;

typedef struct PawlWaiter
{
	bool		in_use;
	bool		armed;			/* listed, and not woken yet */
	bool		baton;			/* woken, and not back yet to say that it looked */
	bool		everything;		/* any slot of the database wakes it, but those of signals */
	bool		signals;		/* it waits for signals */
	Oid			database;
	Latch	   *latch;
	TimestampTz until;			/* it looks by itself then */
	int			nslots;
	PawlSlot	slots[PAWL_WAITER_SLOTS];
} PawlWaiter;

/* A lane is what one mark is about: the entries of one queue and rank, or all partitioned ones of a queue (which have no mark). */
typedef struct PawlLane
{
	Oid			database;
	int32		queue_id;
	int64		rank;
	pg_atomic_uint64 passed;	/* highest key that any claim has passed */
} PawlLane;

/* Who waits for the end of a workflow. */
typedef struct PawlAwait
{
	Latch	   *latch;			/* NULL: the place is free */
	uint16		bit;			/* of that workflow, see await.c */
	bool		woken;
} PawlAwait;

#define PAWL_PARTITIONED_RANK PG_INT64_MIN

typedef struct PawlStraggler
{
	int32		lane;
	int64		ready_key;
} PawlStraggler;

typedef struct PawlShared
{
	/* Waiters. */
	slock_t		waiter_mutex;
	pg_atomic_uint32 armed[PAWL_ARMED];
	pg_atomic_uint32 armed_for_everything;
	PawlWaiter	waiters[PAWL_WAITERS];

	/* Lanes: never removed before the server stops; the list only grows. */
	slock_t		lane_mutex;
	pg_atomic_uint32 lane_count;
	pg_atomic_uint32 lanes_overflowed;
	PawlLane	lanes[PAWL_LANES];

	/* Keys that were committed, or freed, behind a mark. Every session reads all of them, from its own position. */
	slock_t		ring_mutex;
	uint64		ring_end;		/* how many were ever written */
	PawlStraggler ring[PAWL_RING];
	pg_atomic_uint64 reset_generation;	/* more than the ring can say: every session begins anew */

	/* Somebody found the gate of a queue taken, and waits: whoever has it wakes him. */
	pg_atomic_uint32 turned_away[PAWL_GATES];

	/* What live workers offer changed: every session reads it anew. */
	pg_atomic_uint64 offers_generation;

	/* Transactions prepared for two-phase commit wake nobody when they commit. */
	pg_atomic_uint64 prepare_generation;

	/* Sessions in pawl.wait_for_workflow. */
	slock_t		await_mutex;
	pg_atomic_uint32 awaiting;
	PawlAwait	awaits[PAWL_AWAITS];

	/* For pawl.wakeup_statistics(). */
	pg_atomic_uint64 wakes;
	pg_atomic_uint64 rescued_by_poll;
	pg_atomic_uint64 stragglers;
	pg_atomic_uint64 laps;
	pg_atomic_uint64 rescued_by_reset;
} PawlShared;

extern PawlShared *pawl_shared;

extern bool pawl_attach(void);
extern int	pawl_lane(int32 queue_id, int64 rank);
extern int	pawl_known_lane(int32 queue_id, int64 rank);

/* marks.c: of waiters; they raise nothing */
extern void pawl_disarm(PawlWaiter *waiter);
extern void pawl_wake_slots(const PawlSlot *slots, int count, bool signals);

#endif
