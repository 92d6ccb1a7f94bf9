-- A database that has been in use for two months: :history workflows that ended, half as many that have not, and what belongs to them.
-- Rows are made directly, not by the functions, so that it takes seconds.
SET client_min_messages = warning;
SET synchronous_commit = off;
SELECT (SELECT queue_id FROM pawl.queue WHERE queue_name = 'mail') AS mail, (SELECT queue_id FROM pawl.queue WHERE queue_name = 'limited') AS limited,
    (SELECT queue_id FROM pawl.queue WHERE queue_name = 'tenants') AS tenants, (SELECT queue_id FROM pawl.queue WHERE queue_name = 'paused') AS paused \gset

INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, started_at, completed_at, worker_id, epoch, queue_id, priority, workflow_version,
    recoveries, pinned, status, status_reason, workflow_id, workflow_name, enqueued_by, attributes, input, output, error)
SELECT i, CASE WHEN i % 10 = 0 THEN i - 1 END, e.at - interval '1 minute', e.at - interval '30 seconds', e.at, '00000000-0000-4000-8000-000000000009', 1,
    CASE WHEN i % 3 = 0 THEN :mail ELSE 0 END, 0, 1, 0, false,
    CASE WHEN i % 20 = 7 THEN 'failed' WHEN i % 50 = 9 THEN 'cancelled' ELSE 'succeeded' END,
    CASE WHEN i % 20 = 7 THEN 'error' WHEN i % 50 = 9 THEN 'request' END,
    'h-' || i, (ARRAY['ship', 'pack', 'mail', 'report'])[1 + i % 4], 'shop', CASE WHEN i % 10 = 1 THEN jsonb_build_object('customer', i % 10000) END,
    CASE WHEN i % 10 <> 3 THEN jsonb_build_object('order', i) END, CASE WHEN i % 20 <> 7 AND i % 50 <> 9 THEN '{"ok": true}'::jsonb END,
    CASE WHEN i % 20 = 7 THEN '{"code": "E", "message": "the carrier said no"}'::jsonb END
FROM generate_series(1, :history) i, LATERAL (SELECT now() - interval '60 days' * (1 - i::double precision / :history) - interval '2 minutes') e (at);

-- Of ten that have not ended four wait their turn (one of them for a handler that nobody has, in front of all), one is delayed, three are parked,
-- one is in a limited queue and one in a partition.
INSERT INTO pawl.workflow (workflow_key, ready_key, rank, parent_key, created_at, started_at, due_at, deadline_at, queue_id, workflow_version, epoch, crashes, status,
    workflow_id, workflow_name, partition_key, deduplication_id, enqueued_by, waiting_for, attributes, input)
SELECT :history + i, CASE WHEN i % 10 < 4 OR i % 10 > 7 THEN :history + i END, CASE WHEN i % 10 = 0 THEN -1 ELSE 1 END, CASE WHEN i % 10 = 6 THEN :history + i - 1 END,
    now() - interval '1 day' * (1 - 2.0 * i / :history), CASE WHEN i % 10 BETWEEN 5 AND 7 THEN now() - interval '1 hour' END,
    CASE WHEN i % 10 IN (4, 5) THEN now() + interval '1 day' END, CASE WHEN i % 100 = 5 THEN now() + interval '2 days' END,
    CASE i % 10 WHEN 8 THEN :limited WHEN 9 THEN :tenants WHEN 3 THEN :paused ELSE 0 END, CASE WHEN i % 10 BETWEEN 5 AND 7 THEN 1 END, CASE WHEN i % 10 BETWEEN 5 AND 7 THEN 1 ELSE 0 END,
    CASE WHEN i % 10000 = 1 THEN 2 ELSE 0 END,
    CASE WHEN i % 10 = 4 THEN 'delayed' WHEN i % 10 BETWEEN 5 AND 7 THEN 'waiting' ELSE 'enqueued' END,
    'w-' || i, CASE WHEN i % 10 = 0 THEN 'nobody' ELSE (ARRAY['ship', 'pack'])[1 + i % 2] END, CASE WHEN i % 10 = 9 THEN 'tenant-' || i % 100 END,
    CASE WHEN i % 10 = 1 THEN 'd-' || i END, 'shop', CASE WHEN i % 10 BETWEEN 5 AND 7 THEN 'approval' END,
    CASE WHEN i % 10 = 1 THEN jsonb_build_object('customer', i % 10000) END, '{}'
FROM generate_series(1, :history / 2) i;

INSERT INTO pawl.payload SELECT i, 'input', jsonb_build_object('text', repeat('x', 100)) FROM generate_series(3, :history, 10) i;
INSERT INTO pawl.workflow_step (workflow_key, created_at, started_at, completed_at, epoch, step_number, attempts, step_name, kind, status, output, error)
SELECT i, e.at, e.at - interval '2 seconds', e.at, 1, n, CASE WHEN i % 50 = 0 THEN 3 ELSE 1 END, s.name, 'step',
    CASE WHEN n = 2 AND i % 20 = 7 THEN 'failed' ELSE 'succeeded' END, '{"n": 1}', CASE WHEN n = 2 AND i % 20 = 7 THEN '{"code": "E", "message": "no"}'::jsonb END
FROM generate_series(1, :history) i, LATERAL (SELECT now() - interval '60 days' * (1 - i::double precision / :history) - interval '2 minutes') e (at),
    unnest('{reserve,label#2}'::text[]) WITH ORDINALITY s (name, n);
-- The parked ones wait for a message, an event of another, and a child.
INSERT INTO pawl.workflow_step (workflow_key, created_at, epoch, step_number, step_name, kind, status, arguments, due_at, child_key)
SELECT w.workflow_key, now() - interval '1 day' * (w.workflow_key % 60), 1, 1, 'approval', CASE w.workflow_key % 10 WHEN 5 THEN 'await_child' WHEN 6 THEN 'receive' ELSE 'get_event' END, 'waiting',
    CASE w.workflow_key % 10 WHEN 5 THEN jsonb_build_object('target', w.workflow_key + 1) WHEN 6 THEN '{"topic": ""}'
        ELSE jsonb_build_object('target', w.workflow_key - 1, 'key', 'ready') END, w.due_at, CASE WHEN w.workflow_key % 10 = 5 THEN w.workflow_key + 1 END
FROM pawl.workflow w WHERE w.status = 'waiting';
INSERT INTO pawl.waiter SELECT w.workflow_key + CASE w.workflow_key % 10 WHEN 5 THEN 1 ELSE -1 END, w.workflow_key, 'approval' FROM pawl.workflow w
    WHERE w.status = 'waiting' AND w.workflow_key % 10 <> 6;
INSERT INTO pawl.message (workflow_key, created_at, consumed_at, topic, consumed_by, idempotency_key, sent_by, message)
    SELECT i, now(), now(), '', 'approval', 'k', 'shop', '1' FROM generate_series(1, :history, 4) i;
INSERT INTO pawl.event (workflow_key, key, step_name, value) SELECT i, 'ready', 's', '1' FROM generate_series(1, :history, 5) i;
INSERT INTO pawl.stream_entry (workflow_key, position, attempt, key, step_name, value)
    SELECT i, p, 1, 'log', 's', '1' FROM generate_series(1, :history, 20) i, generate_series(1, 5) p;
INSERT INTO pawl.signal (workflow_key) SELECT w.workflow_key FROM pawl.workflow w WHERE w.status = 'waiting' ORDER BY w.workflow_key LIMIT 30000;
INSERT INTO pawl.audit_entry (role_name, action, object_kind, object_name) SELECT 'clerk', 'cancel_workflow', 'workflow', 'h-' || i FROM generate_series(1, :history, 10) i;
SELECT pawl.create_schedule('nightly-' || i, '0 2 * * *', 'report', on_existing => 'keep') FROM generate_series(1, 1000) i \g /dev/null
UPDATE pawl.installation SET retention_at = NULL;
