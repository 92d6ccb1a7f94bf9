/*
 * gate.h
 *		What the limits of a queue leave room for: for claims, and for those who wait.
 */
#ifndef PAWL_GATE_H
#define PAWL_GATE_H

#include "pawl.h"

/* A queue that is paused or has a limit. All others have none of this. */
typedef struct PawlLimits
{
	int32		queue_id;
	bool		paused;
	bool		limited;
	bool		counted;		/* running_in tells of everything that runs in it */
	bool		hold;			/* a parked workflow keeps its permit */
	int			partition_concurrency;	/* -1: no limit */
	int			room;			/* how many more may run, over all workers */
	int			worker_room;	/* and in this one */
	int			rate_limit;		/* 0: no limit */
	int64		slot_in;		/* microseconds until something may start for the first time */
	/* Under the gate: */
	bool		asked;			/* this claim tried to open it, */
	bool		open;			/* and has it */
	int			starts;			/* how many may start for the first time, */
	int			started;		/* and how many of them did */
	int			next_slot;
	TimestampTz now;			/* when they do: the gate was locked before */
} PawlLimits;

extern PawlLimits *pawl_read_limits(Datum worker, int *count);
extern PawlLimits *pawl_limits_of(PawlLimits *limits, int count, int32 queue_id);
extern bool pawl_is_full(const PawlLimits *limits);
extern bool pawl_open_gate(PawlLimits *limits, Datum worker, int wanted);
extern void pawl_took(PawlLimits *limits, int taken, int started, bool held);
extern void pawl_close_gate(PawlLimits *limits);

#endif
