/*
 * enqueue.h
 *		One enqueue, as the functions and the trigger hand it to enqueue.c: arguments converted, not checked.
 */
#ifndef PAWL_ENQUEUE_H
#define PAWL_ENQUEUE_H

#include "pawl.h"

typedef enum OnConflict
{
	RETURN_EXISTING,
	RAISE_EXISTING,
	SKIP_EXISTING,
	REPLACE_EXISTING			/* of a deduplication_id only */
} OnConflict;

typedef struct EnqueueRequest
{
	const char *workflow_name;
	Jsonb	   *input;
	text	   *workflow_id;	/* NULL: a UUIDv7 is made */
	OnConflict	on_existing;
	const char *queue;
	int32		priority;
	bool		has_run_at;
	TimestampTz run_at;
	text	   *deduplication_id;
	OnConflict	on_duplicate;
	const Interval *max_delay;	/* from the first call; with REPLACE_EXISTING only */
	text	   *partition_key;
	bool		pinned;
	int32		workflow_version;
	const Interval *timeout;	/* from the first start */
	Jsonb	   *headers;
	Jsonb	   *attributes;
	Oid			role;			/* whose access counts */
	text	   *enqueued_by;	/* NULL: the outer user */

	/* Of a schedule only. */
	text	   *schedule_name;
	bool		has_scheduled_at;
	TimestampTz scheduled_at;

	/* Of a child only. */
	int64		parent_key;		/* 0: it is none */
	bool		has_deadline;
	TimestampTz deadline_at;
	bool		detached;
} EnqueueRequest;

extern OnConflict pawl_on_conflict(const char *argument, const char *value);
extern void pawl_start_time(EnqueueRequest *request, const TimestampTz *run_at, const Interval *delay);
extern text *pawl_enqueue(const EnqueueRequest *request, int64 *new_key);

#endif
