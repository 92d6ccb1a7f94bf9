/*
 * pawl.h
 *		What the files of the extension share.
 */
#ifndef PAWL_H
#define PAWL_H

#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"

/* SQLSTATEs of class PW; the table of them is in docs/sql-reference.md. */
#define ERRCODE_PAWL_FENCED MAKE_SQLSTATE('P', 'W', '0', '0', '1')
#define ERRCODE_PAWL_ID_EXISTS MAKE_SQLSTATE('P', 'W', '0', '0', '2')
#define ERRCODE_PAWL_UNKNOWN_WORKER MAKE_SQLSTATE('P', 'W', '0', '0', '4')
#define ERRCODE_PAWL_UNKNOWN_QUEUE MAKE_SQLSTATE('P', 'W', '0', '0', '5')
#define ERRCODE_PAWL_NO_ACCESS MAKE_SQLSTATE('P', 'W', '0', '0', '6')
#define ERRCODE_PAWL_NO_HANDLER MAKE_SQLSTATE('P', 'W', '0', '0', '7')
#define ERRCODE_PAWL_CANCELLED MAKE_SQLSTATE('P', 'W', '0', '0', '9')
#define ERRCODE_PAWL_UNKNOWN_WORKFLOW MAKE_SQLSTATE('P', 'W', '0', '1', '0')

/* The first key of the advisory lock of claims in progress, see claim.c; the others are in sql/worker.sql. */
#define PAWL_CLAIM_LOCK_CLASS 0x5041574D

#define PAWL_MAX_NAME 128
#define PAWL_MAX_ID 512
#define PAWL_MAX_DOCUMENT 8192	/* headers, attributes */
#define PAWL_INLINE_PAYLOAD 2000	/* larger inputs do not move with their row */

/* Settings: pawl.c */
extern int	pawl_max_payload;
extern int	pawl_max_steps;
extern int	pawl_max_recoveries;
extern int	pawl_poll_interval;
extern bool pawl_require_handler;

/* Running as the extension's owner: owner.c */
typedef struct PawlOwner
{
	Oid			saved_user;
	int			saved_context;
} PawlOwner;

extern Oid	pawl_schema(void);
extern Oid	pawl_relation(const char *name);
extern Oid	pawl_owner(void);
extern void pawl_become_owner(PawlOwner *state);
extern void pawl_become_caller(const PawlOwner *state);
extern char *pawl_user_name(Oid user);
extern SPIPlanPtr pawl_prepare(const char *sql, int count, Oid *types);
extern int	pawl_execute_latest(SPIPlanPtr plan, Datum *values, const char *nulls);

/* Names, rules, handlers, looked up once: cache.c */
extern void pawl_init_cache(void);
extern bool pawl_find_queue(const char *name, int32 *queue_id);
extern bool pawl_may_enqueue(Oid role, const char *workflow_name, int32 queue_id, const char *queue);
extern bool pawl_handler_known(const char *workflow_name);
extern bool pawl_version_known(const char *workflow_name, int32 version);
extern bool pawl_first_mention(const char *workflow_name);
extern bool pawl_may_inspect(void);
extern const char *pawl_nearest_queue(const char *name);

/*
 * What a session may run, in the order of names and versions: cache.c.
 *
 * An entry that began stays on its version while a live worker offers that, and is otherwise taken by the next higher one that is offered: so
 * handler i may take the versions in (above[i], versions[i]].
 */
typedef struct PawlOffer
{
	uint64		generation;		/* PawlShared.offers_generation, as it was read */
	uint64		hash;			/* of everything that follows */
	int			count;
	char	  **names;
	int32	   *versions;
	int32	   *above;
	bool	   *sql;			/* it is an SQL function, which every worker runs */
	bool		any_sql;
	Datum		name_array;
	Datum		version_array;
	Datum		above_array;
	Datum		distinct_names; /* each name once, */
	Datum		top_versions;	/* and its highest version */
} PawlOffer;

extern const PawlOffer *pawl_offer(ArrayType *names, ArrayType *versions);
extern void pawl_forget_offer(void);

/* Argument checks; each raises 22023 with detail and hint: arguments.c */
extern void pawl_check_name(const char *argument, const char *value, int max_bytes) ;
extern void pawl_check_document(const char *argument, Jsonb *value);
extern void pawl_check_payload(const char *argument, Jsonb *value);
extern void pawl_check_options(Jsonb *options, const char *const *arguments);
extern const char *pawl_nearest(const char *word, const char *const *candidates);
extern const char *pawl_near(const char *word, const char *const *candidates);
extern text *pawl_make_uuid7(void);

/* Functions as workflows: handler.c */
extern Oid	pawl_outer_role(void);

/* Values of any type: change_trigger.c */
extern Jsonb *pawl_to_jsonb(Oid type, int32 typmod, Oid collation, Datum value);

/* Marks of this transaction: marks.c */
extern void pawl_init_marks(void);
extern void pawl_mark(int32 queue_id, int64 rank, int64 ready_key, TimestampTz due, const char *workflow_name, int32 version, bool partitioned);
extern void pawl_mark_slot(uint64 hash, int32 version, TimestampTz due);
extern void pawl_mark_everyone(void);
extern void pawl_mark_offers(void);
extern void pawl_begin_claim(void);
extern void pawl_begin_touching(int lane, int64 from);
extern void pawl_touch(int lane, int64 ready_key);
extern void pawl_begin_locking(void);
extern void pawl_end_locking(int32 queue_id, int64 rank, int64 ready_key);
extern void pawl_mark_room(int32 queue_id, const pg_uuid_t *worker_id, bool partitioned);
extern void pawl_turned_away(int32 queue_id);
extern void pawl_hold_gate(int32 queue_id);
extern uint64 pawl_room_hash(int32 queue_id, const pg_uuid_t *worker_id);
extern uint64 pawl_turn_hash(int32 queue_id);
extern void pawl_mark_signal(const pg_uuid_t *worker_id);
extern uint64 pawl_signal_hash(const pg_uuid_t *worker_id);
extern uint64 pawl_slot_hash(int32 queue_id, const char *workflow_name);

/* Ends of workflows that somebody waits for: await.c */
extern void pawl_wake_awaiting(void);
extern void pawl_forget_ends(void);

/* Waiters of this session: wakeup.c */
extern void pawl_hand_on(void);
extern bool pawl_take_wait(bool *poll);
extern bool pawl_arm(Datum worker, ArrayType *names, ArrayType *versions, Datum queue_names);
extern uint64 pawl_arming(void);

/* Claims of this session: claim.c */
extern void pawl_claims_aborted(void);
extern bool pawl_claim_unfinished(void);

#endif
