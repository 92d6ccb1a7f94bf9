-- The views that users read. UNION ALL of bare tables with scalar expressions over them: a condition on a plain column then reaches an index of
-- each table and partition. Payload columns read NULL for whoever has only the access observe; that is asked once for a query, not for each row.

CREATE VIEW pawl.workflows AS
SELECT
    w.workflow_id,
    w.workflow_name,
    w.workflow_version,
    CASE w.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = w.queue_id) END AS queue,
    w.status,
    NULL::text AS status_reason,
    w.priority,
    w.partition_key,
    -- It passes on to what replace enqueued beside a started one, whose row stays as it is.
    CASE WHEN NOT w.deduplication_started OR NOT EXISTS (SELECT FROM pawl.workflow n WHERE n.queue_id = w.queue_id
            AND n.deduplication_id = w.deduplication_id AND (NOT n.deduplication_started OR n.workflow_key > w.workflow_key))
        THEN w.deduplication_id END AS deduplication_id,
    CASE WHEN (SELECT pawl.may_inspect()) THEN CASE WHEN w.input IS NOT NULL THEN w.input
        ELSE (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = w.workflow_key AND p.name = 'input') END END AS input,
    NULL::jsonb AS output,
    NULL::jsonb AS error,
    CASE WHEN (SELECT pawl.may_inspect()) THEN w.progress END AS progress,
    w.headers,
    w.attributes,
    CASE WHEN w.parent_key IS NOT NULL THEN coalesce((SELECT u.workflow_id FROM pawl.workflow u WHERE u.workflow_key = w.parent_key),
        (SELECT u.workflow_id FROM pawl.workflow_history u WHERE u.workflow_key = w.parent_key)) END AS parent_workflow_id,
    w.forked_from,
    w.schedule_name,
    w.scheduled_at,
    w.enqueued_by,
    w.claimed_by AS worker_id,
    w.recoveries,
    w.waiting_for,
    w.due_at AS wake_at,
    coalesce(w.cancel_requested_at, (SELECT r.requested_at FROM pawl.cancel_request r WHERE r.workflow_key = w.workflow_key
        ORDER BY r.request_key LIMIT 1)) AS cancel_requested_at,
    w.created_at,
    w.run_at,
    w.started_at,
    NULL::timestamptz AS completed_at,
    w.deadline_at,
    w.workflow_key,
    w.parent_key
FROM pawl.workflow w
UNION ALL
SELECT
    h.workflow_id,
    h.workflow_name,
    h.workflow_version,
    CASE h.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = h.queue_id) END,
    h.status,
    h.status_reason,
    h.priority,
    h.partition_key,
    h.deduplication_id,
    CASE WHEN (SELECT pawl.may_inspect()) THEN CASE WHEN h.input IS NOT NULL THEN h.input
        ELSE (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = h.workflow_key AND p.name = 'input') END END,
    CASE WHEN (SELECT pawl.may_inspect()) THEN CASE WHEN h.output IS NOT NULL OR h.status <> 'succeeded' THEN h.output
        ELSE (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = h.workflow_key AND p.name = 'output') END END,
    CASE WHEN (SELECT pawl.may_inspect()) THEN h.error END,
    CASE WHEN (SELECT pawl.may_inspect()) THEN h.progress END,
    h.headers,
    h.attributes,
    CASE WHEN h.parent_key IS NOT NULL THEN coalesce((SELECT u.workflow_id FROM pawl.workflow u WHERE u.workflow_key = h.parent_key),
        (SELECT u.workflow_id FROM pawl.workflow_history u WHERE u.workflow_key = h.parent_key)) END,
    h.forked_from,
    h.schedule_name,
    h.scheduled_at,
    h.enqueued_by,
    h.worker_id,
    h.recoveries,
    NULL,
    NULL,
    h.cancel_requested_at,
    h.created_at,
    h.run_at,
    h.started_at,
    h.completed_at,
    h.deadline_at,
    h.workflow_key,
    h.parent_key
FROM pawl.workflow_history h;
COMMENT ON VIEW pawl.workflows IS
'Every workflow, unfinished or ended. By index: workflow_id, workflow_key, parent_key, created_at, status of what did not succeed with created_at,
attributes @> ''{...}''.';
COMMENT ON COLUMN pawl.workflows.workflow_id IS 'Its name: given at enqueue, or a UUIDv7.';
COMMENT ON COLUMN pawl.workflows.workflow_name IS 'Which handler runs it.';
COMMENT ON COLUMN pawl.workflows.workflow_version IS 'The version of the handler: given at enqueue, or set by the first claim.';
COMMENT ON COLUMN pawl.workflows.queue IS 'The queue it was enqueued in.';
COMMENT ON COLUMN pawl.workflows.status IS
'enqueued, delayed (before run_at), running, waiting (parked), succeeded, failed, or cancelled.';
COMMENT ON COLUMN pawl.workflows.status_reason IS
'Of failed: error, timeout, crashes, determinism or bad_input. Of cancelled: request or parent. Otherwise NULL.';
COMMENT ON COLUMN pawl.workflows.priority IS 'Lower runs first.';
COMMENT ON COLUMN pawl.workflows.partition_key IS 'The tenant it counts for.';
COMMENT ON COLUMN pawl.workflows.deduplication_id IS 'Unique among the unfinished workflows of its queue. NULL once it passed on to another by on_duplicate => ''replace''.';
COMMENT ON COLUMN pawl.workflows.input IS 'What the handler is given. NULL without the access inspect.';
COMMENT ON COLUMN pawl.workflows.output IS 'What the handler returned. NULL without the access inspect.';
COMMENT ON COLUMN pawl.workflows.error IS
'Why it failed: {"code", "type", "message", "step", "attempt", "detail", "cause"}. NULL without the access inspect.';
COMMENT ON COLUMN pawl.workflows.progress IS 'What the handler last said about its progress. NULL without the access inspect.';
COMMENT ON COLUMN pawl.workflows.headers IS 'Trace context and the like, as given at enqueue.';
COMMENT ON COLUMN pawl.workflows.attributes IS 'What users search by, as given at enqueue.';
COMMENT ON COLUMN pawl.workflows.parent_workflow_id IS 'The workflow that started it as a child.';
COMMENT ON COLUMN pawl.workflows.forked_from IS 'The workflow that it was forked from.';
COMMENT ON COLUMN pawl.workflows.schedule_name IS 'The schedule that enqueued it.';
COMMENT ON COLUMN pawl.workflows.scheduled_at IS 'The time that the schedule enqueued it for.';
COMMENT ON COLUMN pawl.workflows.enqueued_by IS 'The role that enqueued it.';
COMMENT ON COLUMN pawl.workflows.worker_id IS 'The worker that runs it, or that ended it.';
COMMENT ON COLUMN pawl.workflows.recoveries IS 'How often its worker crashed while it ran.';
COMMENT ON COLUMN pawl.workflows.waiting_for IS 'What it waits for while it is parked.';
COMMENT ON COLUMN pawl.workflows.wake_at IS 'When a delayed or waiting one becomes runnable by itself.';
COMMENT ON COLUMN pawl.workflows.cancel_requested_at IS 'When somebody asked for its cancellation.';
COMMENT ON COLUMN pawl.workflows.created_at IS 'When it was enqueued: the start of that transaction.';
COMMENT ON COLUMN pawl.workflows.run_at IS 'Not before this time, as asked for.';
COMMENT ON COLUMN pawl.workflows.started_at IS 'When it was first claimed.';
COMMENT ON COLUMN pawl.workflows.completed_at IS 'When it ended.';
COMMENT ON COLUMN pawl.workflows.deadline_at IS 'When it fails with reason timeout.';
COMMENT ON COLUMN pawl.workflows.workflow_key IS 'Its key: pawl.workflow_steps joins on it.';
COMMENT ON COLUMN pawl.workflows.parent_key IS 'The workflow_key of its parent: children are found by it.';

-- A join with the bare union: the planner takes it apart and may begin at either side, so that a workflow_id, a workflow_key and a status are all
-- looked up by index, also when pawl.workflows is joined to it. (Two joins under a UNION ALL are a scan in that last case.)
CREATE VIEW pawl.workflow_steps AS
SELECT
    w.workflow_id,
    s.step_name,
    s.step_number,
    s.kind,
    s.status,
    CASE WHEN (SELECT pawl.may_inspect()) THEN s.output END AS output,
    CASE WHEN (SELECT pawl.may_inspect()) THEN s.error END AS error,
    s.attempts,
    CASE WHEN s.child_key IS NOT NULL THEN coalesce((SELECT u.workflow_id FROM pawl.workflow u WHERE u.workflow_key = s.child_key),
        (SELECT u.workflow_id FROM pawl.workflow_history u WHERE u.workflow_key = s.child_key)) END AS child_workflow_id,
    s.created_at,
    s.started_at,
    s.completed_at,
    s.workflow_key,
    s.due_at,
    s.arguments - '{target,targets}'::text[] AS waits_for
FROM pawl.workflow_step s
JOIN (
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow u
    UNION ALL
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow_history u) w ON w.workflow_key = s.workflow_key;
COMMENT ON VIEW pawl.workflow_steps IS
'The recorded steps of every workflow. By index: workflow_id, workflow_key, status of what did not succeed with created_at.';
COMMENT ON COLUMN pawl.workflow_steps.workflow_id IS 'The workflow it is a step of.';
COMMENT ON COLUMN pawl.workflow_steps.step_name IS 'Its name, with the branches it is in and #2, #3 for repeats: charge[42]/reserve#2.';
COMMENT ON COLUMN pawl.workflow_steps.step_number IS 'Its place in the run that recorded it, from 1.';
COMMENT ON COLUMN pawl.workflow_steps.kind IS
'step, transaction, query or compensation; or what it asked the host for: sleep, receive, send, set_event, get_event, start_child, await_child and so on.';
COMMENT ON COLUMN pawl.workflow_steps.status IS 'waiting (a sleep, receive or child that is not over), retrying, succeeded or failed.';
COMMENT ON COLUMN pawl.workflow_steps.output IS 'What it returned. NULL without the access inspect.';
COMMENT ON COLUMN pawl.workflow_steps.error IS
'Why it failed: {"code", "type", "message", "step", "attempt", "detail", "cause"}. NULL without the access inspect.';
COMMENT ON COLUMN pawl.workflow_steps.attempts IS 'How often it was tried.';
COMMENT ON COLUMN pawl.workflow_steps.child_workflow_id IS 'The workflow that it started or waits for.';
COMMENT ON COLUMN pawl.workflow_steps.created_at IS 'When it was recorded: the start of that transaction.';
COMMENT ON COLUMN pawl.workflow_steps.started_at IS 'When it began, by the worker''s clock; for a transaction, by the database''s.';
COMMENT ON COLUMN pawl.workflow_steps.completed_at IS 'When it was recorded as over.';
COMMENT ON COLUMN pawl.workflow_steps.workflow_key IS 'The key of its workflow: pawl.workflows joins on it.';
COMMENT ON COLUMN pawl.workflow_steps.due_at IS 'Of a waiting one: when it is over by itself, NULL: never. Of a retrying one: when it is tried again.';
COMMENT ON COLUMN pawl.workflow_steps.waits_for IS 'Of a waiting one: what it waits for, like {"topic": "approval"}.';

CREATE VIEW pawl.messages AS
SELECT
    w.workflow_id,
    m.topic,
    CASE WHEN (SELECT pawl.may_inspect()) THEN m.message END AS message,
    m.idempotency_key,
    m.sent_by,
    m.created_at,
    m.consumed_at,
    m.consumed_by,
    m.message_key,
    m.workflow_key
FROM pawl.message m
JOIN (
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow u
    UNION ALL
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow_history u) w ON w.workflow_key = m.workflow_key;
COMMENT ON VIEW pawl.messages IS 'The messages that were sent to workflows, received or not. By index: workflow_id, workflow_key.';
COMMENT ON COLUMN pawl.messages.workflow_id IS 'The workflow it was sent to.';
COMMENT ON COLUMN pawl.messages.topic IS 'Its topic; the empty one is a topic too.';
COMMENT ON COLUMN pawl.messages.message IS 'The message itself. NULL without the access inspect.';
COMMENT ON COLUMN pawl.messages.idempotency_key IS 'The key it was sent under, if there was one.';
COMMENT ON COLUMN pawl.messages.sent_by IS 'The role that sent it; of one that a workflow sent, the role of its worker.';
COMMENT ON COLUMN pawl.messages.created_at IS 'When it was sent: the start of that transaction.';
COMMENT ON COLUMN pawl.messages.consumed_at IS 'When it was received; NULL: it was not yet.';
COMMENT ON COLUMN pawl.messages.consumed_by IS 'The step that received it.';
COMMENT ON COLUMN pawl.messages.message_key IS 'Its place: messages of one topic are received in this order.';
COMMENT ON COLUMN pawl.messages.workflow_key IS 'The key of its workflow: pawl.workflows joins on it.';

CREATE VIEW pawl.events AS
SELECT
    w.workflow_id,
    e.key,
    CASE WHEN (SELECT pawl.may_inspect()) THEN e.value END AS value,
    e.event_key = (SELECT l.event_key FROM pawl.event l WHERE l.workflow_key = e.workflow_key AND l.key = e.key
        ORDER BY l.event_key DESC LIMIT 1) AS is_latest,
    e.step_name,
    e.created_at,
    e.event_key,
    e.workflow_key
FROM pawl.event e
JOIN (
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow u
    UNION ALL
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow_history u) w ON w.workflow_key = e.workflow_key;
COMMENT ON VIEW pawl.events IS 'The events of workflows, with every value that they had. By index: workflow_id, workflow_key, key.';
COMMENT ON COLUMN pawl.events.workflow_id IS 'The workflow that set it.';
COMMENT ON COLUMN pawl.events.key IS 'Its name.';
COMMENT ON COLUMN pawl.events.value IS 'What it was set to. NULL without the access inspect.';
COMMENT ON COLUMN pawl.events.is_latest IS 'Whether that is its value now.';
COMMENT ON COLUMN pawl.events.step_name IS 'The step that set it.';
COMMENT ON COLUMN pawl.events.created_at IS 'When it was set: the start of that transaction.';
COMMENT ON COLUMN pawl.events.event_key IS 'The order in which the values were set.';
COMMENT ON COLUMN pawl.events.workflow_key IS 'The key of its workflow: pawl.workflows joins on it.';

CREATE VIEW pawl.stream_entries AS
SELECT
    w.workflow_id,
    e.key,
    e.position,
    e.attempt,
    CASE WHEN (SELECT pawl.may_inspect()) THEN e.value END AS value,
    e.step_name,
    e.created_at,
    e.workflow_key
FROM pawl.stream_entry e
JOIN (
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow u
    UNION ALL
    SELECT u.workflow_key, u.workflow_id FROM pawl.workflow_history u) w ON w.workflow_key = e.workflow_key;
COMMENT ON VIEW pawl.stream_entries IS
'What workflows wrote to their streams. By index: workflow_id, workflow_key, key, position. A stream is closed by a step of kind close_stream, or by the
end of its workflow.';
COMMENT ON COLUMN pawl.stream_entries.workflow_id IS 'The workflow that wrote it.';
COMMENT ON COLUMN pawl.stream_entries.key IS 'The name of the stream.';
COMMENT ON COLUMN pawl.stream_entries.position IS 'Its place in the stream, from 1, without gaps.';
COMMENT ON COLUMN pawl.stream_entries.attempt IS 'Which attempt of the step wrote it: what a failed attempt wrote stays.';
COMMENT ON COLUMN pawl.stream_entries.value IS 'What was written. NULL without the access inspect.';
COMMENT ON COLUMN pawl.stream_entries.step_name IS 'The step that wrote it; empty: none was open.';
COMMENT ON COLUMN pawl.stream_entries.created_at IS 'When it was written: the start of that transaction.';
COMMENT ON COLUMN pawl.stream_entries.workflow_key IS 'The key of its workflow: pawl.workflows joins on it.';

CREATE VIEW pawl.workers AS
SELECT w.worker_id, w.worker_name,
    CASE WHEN w.ended_at IS NULL AND w.heartbeat_at <= clock_timestamp() - pawl.lease() THEN 'lost' ELSE w.status END AS status,
    w.hostname, w.pid, w.version, w.role_name, w.queues, w.concurrency, w.running, w.started_at, w.heartbeat_at, w.ended_at, w.worker_number, w.protocol
FROM pawl.worker w;
COMMENT ON VIEW pawl.workers IS 'The workers, and for a day those that ended.';
COMMENT ON COLUMN pawl.workers.worker_id IS 'Its incarnation: a worker that lost its life line gets a new one.';
COMMENT ON COLUMN pawl.workers.worker_name IS 'The name it was configured with.';
COMMENT ON COLUMN pawl.workers.status IS
'running, draining (it takes no new work), lost (not heard of for 10 seconds), stopped (orderly) or dead (it was lost, and its workflows handed back).';
COMMENT ON COLUMN pawl.workers.hostname IS 'The machine it runs on.';
COMMENT ON COLUMN pawl.workers.pid IS 'Its process there.';
COMMENT ON COLUMN pawl.workers.version IS 'The release of the worker.';
COMMENT ON COLUMN pawl.workers.role_name IS 'The role it is logged in as.';
COMMENT ON COLUMN pawl.workers.queues IS 'The queues it serves; NULL: all.';
COMMENT ON COLUMN pawl.workers.concurrency IS 'How many workflows it runs at once.';
COMMENT ON COLUMN pawl.workers.running IS 'How many it was running at its last heartbeat.';
COMMENT ON COLUMN pawl.workers.started_at IS 'When it registered.';
COMMENT ON COLUMN pawl.workers.heartbeat_at IS 'Its last heartbeat; there is one each 500 ms, or each second from a worker that is alone.';
COMMENT ON COLUMN pawl.workers.ended_at IS 'When it stopped or was declared dead.';
COMMENT ON COLUMN pawl.workers.worker_number IS 'The second key of its advisory lock; the first is 1346459468.';
COMMENT ON COLUMN pawl.workers.protocol IS 'The version of the worker protocol that it speaks.';

CREATE VIEW pawl.handlers AS
SELECT h.workflow_name, h.workflow_version, h.worker_id, w.worker_name, w.status AS worker_status, h.plugin, NULL::text AS function,
    NULL::text AS role_name, NULL::text AS created_by
FROM pawl.worker_handler h JOIN pawl.worker w ON w.worker_id = h.worker_id
WHERE w.ended_at IS NULL AND w.heartbeat_at > clock_timestamp() - pawl.lease()
UNION ALL
SELECT s.workflow_name, s.workflow_version, NULL, NULL, NULL, 'sql', s.function_signature, s.role_name, s.created_by
FROM pawl.sql_handler s;
COMMENT ON VIEW pawl.handlers IS 'What each live worker can run, and the SQL functions that all of them can.';
COMMENT ON COLUMN pawl.handlers.workflow_name IS 'The workflow name that the handler runs.';
COMMENT ON COLUMN pawl.handlers.workflow_version IS 'The version of the handler.';
COMMENT ON COLUMN pawl.handlers.worker_id IS 'The worker that can run it; NULL: each.';
COMMENT ON COLUMN pawl.handlers.worker_name IS 'The name of that worker.';
COMMENT ON COLUMN pawl.handlers.worker_status IS 'running or draining.';
COMMENT ON COLUMN pawl.handlers.plugin IS 'The plugin that registered it; sql: pawl.create_handler made it.';
COMMENT ON COLUMN pawl.handlers.function IS 'The SQL function that it is.';
COMMENT ON COLUMN pawl.handlers.role_name IS 'The role that the function runs as.';
COMMENT ON COLUMN pawl.handlers.created_by IS 'The role that made the handler.';

CREATE VIEW pawl.queues AS
SELECT q.queue_name AS queue, q.concurrency, q.worker_concurrency, q.partition_concurrency, q.rate_limit, q.rate_period, q.hold_while_waiting,
    q.paused_at IS NOT NULL AS paused, q.paused_at, q.paused_by, q.paused_reason, e.depth, e.running, e.oldest, q.created_at, q.created_by
FROM (
    SELECT q.queue_id, q.queue_name, q.concurrency, q.worker_concurrency, q.partition_concurrency, q.rate_limit, q.rate_period,
        q.hold_while_waiting, q.paused_at, q.paused_by, q.paused_reason, q.created_at, q.created_by FROM pawl.queue q
    UNION ALL
    SELECT 0, 'default', NULL, NULL, NULL, NULL, NULL, false, NULL, NULL, NULL, NULL, NULL
        WHERE NOT EXISTS (SELECT FROM pawl.queue d WHERE d.queue_id = 0)) q
CROSS JOIN LATERAL (
    -- Each part has its index.
    SELECT count(*) FILTER (WHERE c.claimed_by IS NULL) AS depth, count(*) FILTER (WHERE c.claimed_by IS NOT NULL) AS running,
        min(greatest(c.created_at, c.run_at)) FILTER (WHERE c.claimed_by IS NULL) AS oldest
    FROM (
        SELECT w.claimed_by, w.created_at, w.run_at FROM pawl.workflow w
            WHERE w.queue_id = q.queue_id AND w.partition_key IS NULL AND w.ready_key IS NOT NULL
        UNION ALL
        SELECT w.claimed_by, w.created_at, w.run_at FROM pawl.workflow w
            WHERE w.queue_id = q.queue_id AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL
        UNION ALL
        SELECT w.claimed_by, w.created_at, w.run_at FROM pawl.workflow w
            WHERE w.running_in = q.queue_id AND w.claimed_by IS NOT NULL AND w.ready_key IS NULL) c) e;
COMMENT ON VIEW pawl.queues IS 'The queues, their limits, and what is in them now.';
COMMENT ON COLUMN pawl.queues.queue IS 'The name of the queue; default is always there.';
COMMENT ON COLUMN pawl.queues.concurrency IS 'How many of it may run at once; NULL: no limit.';
COMMENT ON COLUMN pawl.queues.worker_concurrency IS 'How many of it may run at once in one worker; NULL: no limit.';
COMMENT ON COLUMN pawl.queues.partition_concurrency IS 'How many of each partition_key may run at once; NULL: no limit.';
COMMENT ON COLUMN pawl.queues.rate_limit IS 'How many may start in each rate_period; NULL: no limit.';
COMMENT ON COLUMN pawl.queues.rate_period IS 'The period of rate_limit.';
COMMENT ON COLUMN pawl.queues.hold_while_waiting IS 'Whether a parked workflow still counts as running.';
COMMENT ON COLUMN pawl.queues.paused IS 'Whether nothing of it starts.';
COMMENT ON COLUMN pawl.queues.paused_at IS 'Since when.';
COMMENT ON COLUMN pawl.queues.paused_by IS 'By whom.';
COMMENT ON COLUMN pawl.queues.paused_reason IS 'Why.';
COMMENT ON COLUMN pawl.queues.depth IS 'How many could run now and do not.';
COMMENT ON COLUMN pawl.queues.running IS 'How many run.';
COMMENT ON COLUMN pawl.queues.oldest IS 'When the oldest of those that could run was enqueued, or became due by its run_at.';
COMMENT ON COLUMN pawl.queues.created_at IS 'When it was made; NULL for default until it is altered.';
COMMENT ON COLUMN pawl.queues.created_by IS 'By whom.';

CREATE VIEW pawl.schedules AS
SELECT s.schedule_name AS schedule, s.cron, s.timezone, s.workflow_name, CASE WHEN (SELECT pawl.may_inspect()) THEN s.input END AS input,
    s.queue_name AS queue, s.catch_up, s.overlap, s.jitter,
    jsonb_strip_nulls(jsonb_build_object('priority', nullif(s.priority, 0), 'partition_key', s.partition_key, 'timeout', s.timeout,
        'workflow_version', s.workflow_version)) || CASE WHEN s.headers IS NULL THEN '{}' ELSE jsonb_build_object('headers', s.headers) END
        || CASE WHEN s.attributes IS NULL THEN '{}' ELSE jsonb_build_object('attributes', s.attributes) END AS options,
    s.paused_at IS NOT NULL AS paused, s.paused_at, s.paused_by, s.paused_reason, s.next_at, s.last_at, s.last_workflow_id, s.fired, s.missed,
    s.missed_at, s.skipped, s.last_error, s.created_at, s.created_by
FROM pawl.schedule s;
COMMENT ON VIEW pawl.schedules IS 'The schedules: what they enqueue, when they did and will, and how often they did not.';
COMMENT ON COLUMN pawl.schedules.schedule IS 'The name of the schedule.';
COMMENT ON COLUMN pawl.schedules.cron IS 'At which times.';
COMMENT ON COLUMN pawl.schedules.timezone IS 'Of which clock.';
COMMENT ON COLUMN pawl.schedules.workflow_name IS 'What it enqueues.';
COMMENT ON COLUMN pawl.schedules.input IS 'With what input. NULL without the access inspect.';
COMMENT ON COLUMN pawl.schedules.queue IS 'In which queue.';
COMMENT ON COLUMN pawl.schedules.catch_up IS 'How late an instant may still be enqueued.';
COMMENT ON COLUMN pawl.schedules.overlap IS 'What is done while an earlier run has not ended: skip, allow or cancel.';
COMMENT ON COLUMN pawl.schedules.jitter IS 'Within what time after its instant each run starts.';
COMMENT ON COLUMN pawl.schedules.options IS 'The options that were given.';
COMMENT ON COLUMN pawl.schedules.paused IS 'Whether nothing is enqueued.';
COMMENT ON COLUMN pawl.schedules.paused_at IS 'Since when.';
COMMENT ON COLUMN pawl.schedules.paused_by IS 'By whom; pawl: its next instant cannot be told, because its time zone is not known any more.';
COMMENT ON COLUMN pawl.schedules.paused_reason IS 'Why.';
COMMENT ON COLUMN pawl.schedules.next_at IS 'The next instant; one that has passed is about to be enqueued. NULL: it is paused.';
COMMENT ON COLUMN pawl.schedules.last_at IS 'The latest instant that was enqueued.';
COMMENT ON COLUMN pawl.schedules.last_workflow_id IS 'As which workflow.';
COMMENT ON COLUMN pawl.schedules.fired IS 'How many instants were enqueued, backfilled ones too.';
COMMENT ON COLUMN pawl.schedules.missed IS 'How many were not: they were older than catch_up, or could not be enqueued.';
COMMENT ON COLUMN pawl.schedules.missed_at IS 'The latest instant that was missed; NULL: it was backfilled, or none was.';
COMMENT ON COLUMN pawl.schedules.skipped IS 'How many were left out, because an earlier run had not ended.';
COMMENT ON COLUMN pawl.schedules.last_error IS 'Why the latest instant could not be enqueued; NULL: it could.';
COMMENT ON COLUMN pawl.schedules.created_at IS 'When it was made.';
COMMENT ON COLUMN pawl.schedules.created_by IS 'By whom: enqueued_by of what it enqueues.';

CREATE VIEW pawl.oldest_waiting AS
SELECT o.queue, o.workflow_name, o.waiting, o.oldest_at, o.oldest_workflow_id
FROM pawl.find_oldest_waiting() o;
COMMENT ON VIEW pawl.oldest_waiting IS 'What could run now and does not, by queue and name, the longest wait first.';
COMMENT ON COLUMN pawl.oldest_waiting.queue IS 'The queue.';
COMMENT ON COLUMN pawl.oldest_waiting.workflow_name IS 'The name of the workflows.';
COMMENT ON COLUMN pawl.oldest_waiting.waiting IS 'How many of them could run now and do not.';
COMMENT ON COLUMN pawl.oldest_waiting.oldest_at IS 'When the oldest was enqueued, or became due by its run_at.';
COMMENT ON COLUMN pawl.oldest_waiting.oldest_workflow_id IS 'Which one that is.';

CREATE VIEW pawl.retention AS
SELECT r.workflow_name, r.queue, r.succeeded, r.failed, r.keep, r.changed_at, r.changed_by, r.inherited
FROM pawl.retention_in_force() r;
COMMENT ON VIEW pawl.retention IS
'How long ended workflows are kept: the row of their name, otherwise that of their queue, otherwise the default, which names neither. Set by pawl.set_retention.';
COMMENT ON COLUMN pawl.retention.workflow_name IS 'The workflow name that it is for.';
COMMENT ON COLUMN pawl.retention.queue IS 'The queue that it is for.';
COMMENT ON COLUMN pawl.retention.succeeded IS 'How long after its end one that succeeded is kept; NULL: for ever.';
COMMENT ON COLUMN pawl.retention.failed IS 'The same for one that failed or was cancelled.';
COMMENT ON COLUMN pawl.retention.keep IS 'How many of them are kept at most, the newest; NULL: any number.';
COMMENT ON COLUMN pawl.retention.changed_at IS 'When that was set; NULL: it never was.';
COMMENT ON COLUMN pawl.retention.changed_by IS 'By whom.';
COMMENT ON COLUMN pawl.retention.inherited IS 'Which of succeeded and failed it leaves to the default, and the default to what holds out of the box.';

CREATE VIEW pawl.audit AS
SELECT a.created_at, a.role_name, a.action, a.object_kind, a.object_name, a.reason, a.detail, a.audit_key
FROM pawl.audit_entry a;
COMMENT ON VIEW pawl.audit IS 'What people did to workflows, queues, schedules and the rest: who, when, what and why. By index: object_name, object_kind other than workflow, audit_key, created_at.';
COMMENT ON COLUMN pawl.audit.created_at IS 'When: the start of that transaction.';
COMMENT ON COLUMN pawl.audit.role_name IS 'Who: the role of SET ROLE or the session''s user.';
COMMENT ON COLUMN pawl.audit.action IS 'The function that was called, in the singular: cancel_workflow also for cancel_workflows.';
COMMENT ON COLUMN pawl.audit.object_kind IS 'workflow, queue, schedule, handler, retention, access or database.';
COMMENT ON COLUMN pawl.audit.object_name IS 'The workflow_id, or the name of the object.';
COMMENT ON COLUMN pawl.audit.reason IS 'The reason that was given, as an argument or as the setting pawl.reason.';
COMMENT ON COLUMN pawl.audit.detail IS 'What else was asked for, without payloads.';
COMMENT ON COLUMN pawl.audit.audit_key IS 'Grows with time.';
