/*
 * gate.h
 *		What the limits of a queue leave room for: for claims, and for those who wait.
 */
#ifndef PAWL_GATE_H
#define PAWL_GATE_H

#include "pawl.h"

/* A queue that is paused or has a limit, for one claim. All others have none of this. */
typedef struct PawlLimits
{
	int32		queue_id;
	Datum		worker;			/* who claims */
	bool		paused;
	bool		limited;
	bool		counted;		/* running_in tells of everything that runs in it, as far as its limits ask */
	bool		hold;			/* a parked workflow keeps its permit */
	int			concurrency;	/* -1: no limit; nor here: */
	int			worker_concurrency;
	int			partition_concurrency;
	int			rate_limit;		/* 0: no limit */
	int64		slot_in;		/* microseconds until something may start for the first time */
	/* Once it was measured: */
	bool		measured;
	int			room;			/* how many more may run, over all workers */
	int			worker_room;	/* and in this one */
	/* Under the gate: */
	bool		asked;			/* this claim tried to open it, */
	bool		open;			/* and has it */
	int			starts;			/* how many may start for the first time, */
	int			started;		/* and how many of them did */
	int			next_slot;
	TimestampTz now;			/* when they do: the gate was locked before */
} PawlLimits;

extern PawlLimits *pawl_read_limits(Datum worker, Datum queues, int *count);
extern PawlLimits *pawl_limits_of(PawlLimits *limits, int count, int32 queue_id);
extern void pawl_measure(PawlLimits *limits);
extern bool pawl_is_full(PawlLimits *limits);
extern int	pawl_partition_room(const PawlLimits *limits, Datum partition);
extern bool pawl_open_gate(PawlLimits *limits, int wanted);
extern void pawl_took(PawlLimits *limits, int taken, int started, bool held);
extern void pawl_close_gate(PawlLimits *limits);

/* wakeup.c */
extern void pawl_hand_on_room(PawlLimits *limits);

#endif
