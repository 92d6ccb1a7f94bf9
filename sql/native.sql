-- The functions that are C: the only file that needs the library. Their symbols carry the SQL version, because the library is replaced
-- before ALTER EXTENSION UPDATE runs.

CREATE FUNCTION pawl.enqueue_workflow(workflow_name text, input jsonb DEFAULT '{}', workflow_id text DEFAULT NULL, on_existing text DEFAULT 'return',
    queue text DEFAULT 'default', priority integer DEFAULT 0, run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL,
    timeout interval DEFAULT NULL, deduplication_id text DEFAULT NULL, on_duplicate text DEFAULT 'return', max_delay interval DEFAULT NULL,
    partition_key text DEFAULT NULL, workflow_version integer DEFAULT NULL, headers jsonb DEFAULT NULL, attributes jsonb DEFAULT NULL,
    options jsonb DEFAULT NULL)
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_enqueue_workflow_1_0';
REVOKE ALL ON FUNCTION pawl.enqueue_workflow(text, jsonb, text, text, text, integer, timestamptz, interval, interval, text, text, interval, text,
    integer, jsonb, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.enqueue_workflow(text, jsonb, text, text, text, integer, timestamptz, interval, interval, text, text, interval, text,
    integer, jsonb, jsonb, jsonb) IS
'Enqueues a workflow in this transaction: it commits with it, or it never was. Returns the workflow id.
workflow_name: which handler runs it, 1 to 128 bytes. One that no worker ever offered is accepted with a NOTICE; with pawl.require_handler it is PW007.
input: any JSON value up to pawl.max_payload (1 MB).
workflow_id: the idempotency key, 1 to 512 bytes; NULL makes a UUIDv7. An id is remembered as long as its workflow is; with another name it is PW002.
on_existing: when that id exists: return (it, nothing changed) | raise (PW002) | skip (NULL).
queue: PW005 if there is none of that name.
priority: lower runs first.
run_at, delay: not before; give one of them.
timeout: how long it may take from its first start, waits included; past it, it fails with reason timeout.
deduplication_id: unique among the unfinished workflows of the queue, 1 to 512 bytes.
on_duplicate: when it is taken: return (the holder''s id) | raise (PW002) | skip (NULL) | replace. If the holder has not started, replace gives it this
call''s input and all else but its workflow_id, which is returned: it starts when this call says. If it has, a new workflow is enqueued, and the
deduplication_id passes on to that. So the newest input is always run. A holder of another workflow_name is PW002.
max_delay: with replace, it starts at most so long after the first call, however many follow; NULL: each may put it off again.
partition_key: the tenant, 1 to 512 bytes; tenants are served in turn.
workflow_version: pins it to this version of the handler, from 1; a NOTICE says if no worker offers it.
headers: a JSON object up to 8 kB, for trace context and the like; handlers can read it.
attributes: a JSON object up to 8 kB, for searching: attributes @> ''{"customer": 42}''.
options: a JSON object; there are no options yet, and an unknown key is an error that names the nearest argument.
Errors: 22023 for what cannot be, with what to give instead; PW006 for a role whose access is narrowed to something else.';

CREATE FUNCTION pawl.enqueue_workflows(workflow_name text, inputs jsonb[], workflow_ids text[] DEFAULT NULL, partition_keys text[] DEFAULT NULL,
    on_existing text DEFAULT 'return', queue text DEFAULT 'default', priority integer DEFAULT 0, run_at timestamptz DEFAULT NULL,
    delay interval DEFAULT NULL, timeout interval DEFAULT NULL, workflow_version integer DEFAULT NULL, headers jsonb DEFAULT NULL,
    attributes jsonb DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS SETOF text LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_enqueue_workflows_1_0';
REVOKE ALL ON FUNCTION pawl.enqueue_workflows(text, jsonb[], text[], text[], text, text, integer, timestamptz, interval, interval, integer, jsonb,
    jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.enqueue_workflows(text, jsonb[], text[], text[], text, text, integer, timestamptz, interval, interval, integer, jsonb, jsonb,
    jsonb) IS
'Enqueues any number of workflows of one name. Returns their ids in the order of the inputs.
inputs: the input of each.
workflow_ids, partition_keys: arrays of the same length, an element may be NULL; or NULL.
The other arguments are those of pawl.enqueue_workflow, for all of them.';

CREATE FUNCTION pawl.insert_child(parent_key bigint, workflow_name text, input jsonb, id text, queue text, priority integer, run_at timestamptz,
    timeout interval, deadline_at timestamptz, partition_key text, workflow_version integer, headers jsonb, attributes jsonb, detached boolean,
    OUT workflow_key bigint, OUT workflow_id text)
RETURNS record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_insert_child_1_0';
REVOKE ALL ON FUNCTION pawl.insert_child(bigint, text, jsonb, text, text, integer, timestamptz, interval, timestamptz, text, integer, jsonb, jsonb,
    boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.insert_child(bigint, text, jsonb, text, text, integer, timestamptz, interval, timestamptz, text, integer, jsonb, jsonb,
    boolean) IS 'Internal: enqueues a child whose arguments are complete. workflow_key is NULL if that id exists already.';

CREATE FUNCTION pawl.next_instant(cron text, timezone text, after timestamptz) RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pawl_next_instant_1_0';
REVOKE ALL ON FUNCTION pawl.next_instant(text, text, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.next_instant(text, text, timestamptz) IS
'The first instant after a given one that cron text means in a time zone: what pawl.create_schedule would run at. NULL: none comes.
cron: minute, hour, day of month, month and day of week, or six fields with the second before them; or @yearly, @annually, @monthly, @weekly, @daily,
@midnight, @hourly. A field is *, a value, a range 1-5, a step */5 or 10-30/5, or a list of these; months and days of the week have names (JAN, MON), and 7 is
Sunday too. If neither day field begins with *, one of the two is enough; otherwise both must match.
timezone: a full name like Europe/Berlin. Where its clocks change, a time that is left out runs once, at the change, and one that comes twice runs the first
time. Text whose hour field holds every hour goes by the time that passes instead: */15 * * * * is every quarter of an hour, the repeated hour''s too.
after: the instant itself is not answered.
Errors: 22023 names the field, what was found there and what it may hold.';

CREATE FUNCTION pawl.instants(cron text, timezone text, after timestamptz, until timestamptz, max_instants integer) RETURNS SETOF timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pawl_instants_1_0';
REVOKE ALL ON FUNCTION pawl.instants(text, text, timestamptz, timestamptz, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.instants(text, text, timestamptz, timestamptz, integer) IS
'Internal: the instants after one time, up to and with another, in order.';

CREATE FUNCTION pawl.check_scheduled(schedule pawl.schedule) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_check_scheduled_1_0';
REVOKE ALL ON FUNCTION pawl.check_scheduled(pawl.schedule) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_scheduled(pawl.schedule) IS
'Internal: refuses a schedule whose workflow the outer user could not enqueue now.';

CREATE FUNCTION pawl.insert_scheduled(schedule pawl.schedule, workflow_id text, scheduled_at timestamptz, run_at timestamptz) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_insert_scheduled_1_0';
REVOKE ALL ON FUNCTION pawl.insert_scheduled(pawl.schedule, text, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.insert_scheduled(pawl.schedule, text, timestamptz, timestamptz) IS
'Internal: enqueues the workflow of a schedule, in the name of who made that. False: this id exists.';

CREATE FUNCTION pawl.enqueue_on_change() RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pawl_enqueue_on_change_1_0';
REVOKE ALL ON FUNCTION pawl.enqueue_on_change() FROM PUBLIC;
COMMENT ON FUNCTION pawl.enqueue_on_change() IS
'Trigger function, AFTER and FOR EACH ROW: enqueues a workflow for each changed row, with the right of the table''s owner.
CREATE TRIGGER ship AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change(''ship_order'', ''queue=shipping'', ''workflow_id=order-{id}'');
The first argument is the workflow_name, the others are key=value with the arguments of pawl.enqueue_workflow as keys, and:
input: row (the default: NEW, on DELETE OLD) or change: {"table": "public.orders", "operation": "UPDATE", "new": {...}, "old": {...}}.
columns: a,b sends those columns only.
{column} in a value is filled from the row, {{ is a brace; a NULL there is an error (22004) that names the column. In headers and attributes it is filled
inside JSON strings; a string that is only "{column}" becomes the column''s value as JSON.';

CREATE FUNCTION pawl.find_targets(workflow_ids text[])
RETURNS TABLE (workflow_id text, workflow_key bigint, workflow_name text, queue_id integer, claimed_by uuid, ended boolean)
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off
AS 'MODULE_PATHNAME', 'pawl_find_targets_1_0';
REVOKE ALL ON FUNCTION pawl.find_targets(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.find_targets(text[]) IS 'Internal: the workflows of these ids, as they are at this moment, also for a REPEATABLE READ transaction.';

CREATE FUNCTION pawl.make_workflow_id() RETURNS text
LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pawl_make_workflow_id_1_0';
REVOKE ALL ON FUNCTION pawl.make_workflow_id() FROM PUBLIC;
COMMENT ON FUNCTION pawl.make_workflow_id() IS 'Internal: a UUIDv7.';

CREATE FUNCTION pawl.check_payload(argument text, value jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pawl_check_payload_1_0';
REVOKE ALL ON FUNCTION pawl.check_payload(text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_payload(text, jsonb) IS 'Internal: refuses an SQL NULL, and a value over pawl.max_payload.';

CREATE FUNCTION pawl.check_document(argument text, value jsonb) RETURNS void
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pawl_check_document_1_0';
REVOKE ALL ON FUNCTION pawl.check_document(text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_document(text, jsonb) IS 'Internal: refuses headers or attributes that are no JSON object, or over 8 kB.';

CREATE FUNCTION pawl.claim_workflows(worker_id uuid, max_workflows integer, workflow_names text[], workflow_versions integer[],
    queues text[] DEFAULT NULL, alone boolean DEFAULT false)
RETURNS TABLE (workflow_key bigint, epoch integer, replay boolean, workflow_version integer, priority integer, recoveries integer,
    created_at timestamptz, workflow_id text, workflow_name text, queue text, partition_key text, input jsonb, headers jsonb, attributes jsonb,
    deadline_at timestamptz, deadline_in bigint, cancel_reason text, sql_handler boolean, probation boolean, parent_workflow_id text)
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS 'MODULE_PATHNAME', 'pawl_claim_workflows_1_0';
REVOKE ALL ON FUNCTION pawl.claim_workflows(uuid, integer, text[], integer[], text[], boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.claim_workflows(uuid, integer, text[], integer[], text[], boolean) IS
'Claims queued workflows for a worker: it owns them until it completes, parks or releases them, or is declared dead. READ COMMITTED only.
worker_id: as registered; one that is not known or has ended is refused (PW004).
max_workflows: how many at most. A claim that takes so many wakes the next waiting worker.
workflow_names, workflow_versions: what it can run, arrays of one length; SQL handlers come by themselves. A workflow that never ran gets the highest
version offered for its name. One that began is on the version that it began with, until no live worker offers that: then on the next higher one that is
offered. A pinned one never moves.
queues: the queues it serves, NULL for all.
alone: one workflow that was there at two crashes in a row, and nothing else. Other claims leave those alone: run it with nothing beside it, until it has
recorded a step.
Result: epoch names this claim in every later call; the fence of pawl.record_step is worker_id:epoch. replay: it ran before, so read its recorded steps in
a later statement. recoveries: how many crashes it survived. deadline_at, deadline_in: when it is to fail with reason timeout, and in how many
microseconds from now. cancel_reason: request or parent, if its cancellation was asked for. sql_handler: pawl.run_handler runs it. probation: it was
claimed alone. Nothing while the database is held (pawl.release_hold).';

CREATE FUNCTION pawl.arm_worker(worker_id uuid, workflow_names text[], workflow_versions integer[], queues text[] DEFAULT NULL) RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS 'MODULE_PATHNAME', 'pawl_arm_worker_1_0';
REVOKE ALL ON FUNCTION pawl.arm_worker(uuid, text[], integer[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.arm_worker(uuid, text[], integer[], text[]) IS
'Arms this session: from now on a commit that makes one of these workflows claimable wakes it. Claim once more after it, then CALL pawl.wait.
worker_id, workflow_names, workflow_versions, queues: what the worker could claim now.
Result: how many milliseconds to wait at most: until the next delayed or parked workflow is due, or pawl.poll_interval; -1: until woken.';

CREATE PROCEDURE pawl.wait(timeout_ms integer, INOUT woken boolean) LANGUAGE c AS 'MODULE_PATHNAME', 'pawl_wait_1_0';
REVOKE ALL ON PROCEDURE pawl.wait(integer, boolean) FROM PUBLIC;
COMMENT ON PROCEDURE pawl.wait(integer, boolean) IS
'Waits until this armed session is woken, or the time is over. Ends its transaction first, so that it holds no snapshot; outside a transaction block only.
timeout_ms: what pawl.arm_worker answered; -1 waits until woken. NULL: as it was found by the claim after a wait that ran out, which arms the session anew
before it looks.
woken: true if something became claimable.';

CREATE FUNCTION pawl.create_handler(workflow_name text, function regprocedure, workflow_version integer DEFAULT 1, role name DEFAULT NULL,
    on_existing text DEFAULT 'raise')
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_create_handler_1_0';
REVOKE ALL ON FUNCTION pawl.create_handler(text, regprocedure, integer, name, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.create_handler(text, regprocedure, integer, name, text) IS
'Makes a workflow of one SQL function: every worker runs it, in one transaction with the end of the workflow, so that what it does happens exactly once.
An error ends the workflow as failed; 40001 and 40P01 run it again.
workflow_name: 1 to 128 bytes. A plugin''s handler of the same name and version comes first where there is one.
function: ''app.close_books(jsonb)'': it is given the input; or (jsonb, text): the input and the workflow_id; or (). What it returns, as jsonb, is the
output; void is null. One of that name that another owner made later is not run.
workflow_version: from 1.
role: runs with the rights of this role, which the caller must be able to become and which must be able to execute the function; NULL: the caller''s. Names
in the function are looked up in the caller''s search_path of now, unless it sets its own.
A function whose owner is no superuser does not run as one.
on_existing: raise (42710), keep (leave it as it is) or replace (by who made it, members of that role, or superusers).
As any role but the worker''s own it is a security-restricted operation, as in REFRESH MATERIALIZED VIEW: SET ROLE, temporary tables, PREPARE, LISTEN and
cursors WITH HOLD are refused (42501), deferred constraints are checked at once; settings that it changes are reset after it.';

CREATE FUNCTION pawl.drop_handler(workflow_name text, workflow_version integer DEFAULT 1) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_drop_handler_1_0';
REVOKE ALL ON FUNCTION pawl.drop_handler(text, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.drop_handler(text, integer) IS
'Takes a workflow back that pawl.create_handler made. True: it is gone; false: there was none. Workflows of it wait for another handler of that version.
workflow_name, workflow_version: as given to pawl.create_handler; by who made it, members of that role, or superusers.';

CREATE FUNCTION pawl.run_handler(worker_id uuid, workflow_key bigint, epoch integer) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_run_handler_1_0';
REVOKE ALL ON FUNCTION pawl.run_handler(uuid, bigint, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.run_handler(uuid, bigint, integer) IS
'Runs the function of a claimed workflow (sql_handler in the answer of the claim) and ends the workflow as succeeded: both when this transaction commits, or
neither. An error of the function is raised with its SQLSTATE: roll back, and end the workflow as failed; after 40001 and 40P01 call it again.
worker_id, workflow_key, epoch: as claimed.
Result: NULL: done; fenced, cancelled_request or cancelled_parent: nothing was run. fenced also says that its handler was dropped after the claim: the
workflow is handed back.
Errors: PW001 (fenced) and PW009 (being cancelled) if that came about while the function ran: roll back.';

CREATE FUNCTION pawl.mark_ready(queue_id integer, rank bigint, ready_key bigint, workflow_name text, workflow_version integer, partitioned boolean)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_ready_1_0';
REVOKE ALL ON FUNCTION pawl.mark_ready(integer, bigint, bigint, text, integer, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_ready(integer, bigint, bigint, text, integer, boolean) IS
'Internal: an entry becomes claimable when this commits; ready_key NULL: it is about to be due. Wakes a worker that waits for it.';

CREATE FUNCTION pawl.mark_room(queue_id integer, worker_id uuid, partitioned boolean) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_room_1_0';
REVOKE ALL ON FUNCTION pawl.mark_room(integer, uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_room(integer, uuid, boolean) IS
'Internal: what this worker ran of a queue runs no more when this commits. Wakes a worker that found the queue full; all of them, if it was full for a partition.';

CREATE FUNCTION pawl.arm_signals(worker_id uuid) RETURNS integer
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_arm_signals_1_0';
REVOKE ALL ON FUNCTION pawl.arm_signals(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.arm_signals(uuid) IS
'Arms this session: from now on a commit that leaves a signal for this worker, or one that anybody may look at, wakes it. Take signals once more after it,
then CALL pawl.wait. A session of its own: arming it for claims ends this.
worker_id: as registered.
Result: how many milliseconds to wait at most, five times pawl.poll_interval; -1: until woken.';

CREATE FUNCTION pawl.mark_signals(worker_id uuid) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_signals_1_0';
REVOKE ALL ON FUNCTION pawl.mark_signals(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_signals(uuid) IS
'Internal: this transaction leaves a row in pawl.signal. Wakes the session that this worker takes its signals with; NULL, or it does not wait: any other.';

CREATE FUNCTION pawl.mark_locks() RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_locks_1_0';
REVOKE ALL ON FUNCTION pawl.mark_locks() FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_locks() IS
'Internal: this transaction is about to lock entries that can be claimed, or the gate of a queue, and claims pass them by. If it is rolled back, claims look at
them again.';

CREATE FUNCTION pawl.mark_pause() RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_pause_1_0';
REVOKE ALL ON FUNCTION pawl.mark_pause() FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_pause() IS
'Internal: this transaction pauses a queue. Its commit waits for the claims that are under way, and claims that begin meanwhile wait for it.';

CREATE FUNCTION pawl.mark_ends(workflow_keys bigint[]) RETURNS void
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_ends_1_0';
REVOKE ALL ON FUNCTION pawl.mark_ends(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_ends(bigint[]) IS 'Internal: these workflows end with this transaction. Wakes the sessions that wait for one of them.';

CREATE PROCEDURE pawl.wait_for_workflow(workflow_id text, timeout interval DEFAULT NULL, INOUT status text DEFAULT NULL, INOUT output jsonb DEFAULT NULL,
    INOUT error jsonb DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'pawl_wait_for_workflow_1_0';
REVOKE ALL ON PROCEDURE pawl.wait_for_workflow(text, interval, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON PROCEDURE pawl.wait_for_workflow(text, interval, text, jsonb, jsonb) IS
'Waits until a workflow ends, as a web request does that answers with its output: CALL pawl.wait_for_workflow(''order-42'', ''20 s''). The commit that ends
it wakes this session; meanwhile it holds no snapshot, lock or transaction of the application. With autocommit only: in a transaction block, or called by a
function, it is an error (25001), because what the transaction enqueued does not start before its commit.
workflow_id: PW010 if there is none.
timeout: how long at most; NULL: as long as it takes. Zero only looks.
status: as in pawl.workflows. One that is not succeeded, failed or cancelled says that the time was over first; then output and error are NULL.
output, error: of a workflow that this role enqueued, or a role that it is a member of; with the access inspect, of any. Otherwise NULL.
Errors: PW006 for a role that may not read pawl.workflows, and whose access to enqueue is narrowed to something else.';

CREATE FUNCTION pawl.mark_all() RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_all_1_0';
REVOKE ALL ON FUNCTION pawl.mark_all() FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_all() IS 'Internal: every waiting worker looks again when this commits.';

CREATE FUNCTION pawl.mark_offers() RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_mark_offers_1_0';
REVOKE ALL ON FUNCTION pawl.mark_offers() FROM PUBLIC;
COMMENT ON FUNCTION pawl.mark_offers() IS
'Internal: what live workers offer to run changed. When this commits, every claim reads it anew, and every waiting worker looks again.';

CREATE FUNCTION pawl.invalidate_caches() RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pawl_invalidate_caches_1_0';
REVOKE ALL ON FUNCTION pawl.invalidate_caches() FROM PUBLIC;
COMMENT ON FUNCTION pawl.invalidate_caches() IS
'Internal: every session forgets the queues, access rules and handlers that it looked up, when this commits.';

CREATE FUNCTION pawl.outer_user() RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pawl_outer_user_1_0';
REVOKE ALL ON FUNCTION pawl.outer_user() FROM PUBLIC;
COMMENT ON FUNCTION pawl.outer_user() IS
'Internal: the role of SET ROLE or the session''s user, never a definer; in a function that is run as a workflow, the role it runs as.';

CREATE FUNCTION pawl.may_inspect() RETURNS boolean LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pawl_may_inspect_1_0';
REVOKE ALL ON FUNCTION pawl.may_inspect() FROM PUBLIC;
COMMENT ON FUNCTION pawl.may_inspect() IS 'Whether the outer user may read payloads: the access inspect, the owner, or a superuser.';

CREATE FUNCTION pawl.wakeup_statistics(OUT wakes bigint, OUT rescued_by_poll bigint, OUT stragglers bigint, OUT laps bigint,
    OUT rescued_by_reset bigint)
RETURNS record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'pawl_wakeup_statistics_1_0';
REVOKE ALL ON FUNCTION pawl.wakeup_statistics() FROM PUBLIC;
COMMENT ON FUNCTION pawl.wakeup_statistics() IS
'Counters since the server''s start, of all databases. wakes: workers woken. rescued_by_poll: claims that found something after a wait that was not woken,
nor until something was due (prepared transactions, replication; anything else is a bug). stragglers: keys committed behind a mark. laps: sessions that missed some of those and began
anew. rescued_by_reset: found only when marks began anew after a minute; each is a bug.';
