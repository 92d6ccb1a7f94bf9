-- pawl.recent_activity(): what was enqueued, recorded and ended since a time, wherever its workflow is by now.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SELECT pawl.add_history_partition(now()) \g /dev/null
INSERT INTO pawl.queue (queue_id, queue_name, concurrency, created_by) VALUES (-1, 'ovens', NULL, 'x'), (-2, 'grills', 3, 'x');
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, partition_key, created_at)
    SELECT 'waits-' || i, 'bake', 'x', 1, i, 'a', now() - interval '1 day' FROM generate_series(1, 10001) i;
-- One that runs, one in a partition behind a long one, one in a limited queue, one that has parked since, one that waited all along, one that only waits
-- its turn; and an ended one.
INSERT INTO pawl.workflow (workflow_key, workflow_id, workflow_name, enqueued_by, rank, ready_key, queue_id, partition_key, running_in, claimed_by, status, created_at)
    SELECT i, id, 'bake', 'x', 1, CASE WHEN status <> 'waiting' AND queue <> -2 THEN -i END, queue, partition, CASE WHEN queue = -2 THEN queue END, CASE WHEN status = 'running' THEN gen_random_uuid() END, status,
        now() - age FROM (VALUES (1, 'runs', 'running', -1, NULL, interval '1 day'), (2, 'tenant', 'running', 0, 't', '1 day'),
        (7, 'grilled', 'running', -2, NULL, '1 day'), (3, 'parked', 'waiting', 0, NULL, '1 day'), (4, 'slept', 'waiting', 0, NULL, '1 day'), (5, 'new', 'enqueued', 0, NULL, '20 s'))
        w (i, id, status, queue, partition, age);
INSERT INTO pawl.workflow_history (workflow_key, workflow_id, workflow_name, enqueued_by, epoch, queue_id, priority, recoveries, pinned, status, error,
        created_at, started_at, completed_at)
    SELECT i, 'ended-' || i, 'bake', 'x', 0, 0, 0, 0, false, 'failed', '{"code": "E"}', now() - interval '1 day', now() - interval '1 hour',
        now() - i * interval '1 s' FROM (VALUES (6), (600)) h (i);
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, created_at, started_at, completed_at)
    SELECT i, 1, 1, 'mix', 'step', 'succeeded', now() - ago, now() - ago - interval '2 s', now() - ago
    FROM (VALUES (1, interval '15 s'), (2, '14 s'), (7, '13.5 s'), (3, '13 s'), (4, '1 hour'), (6, '12 s'), (600, '11 min')) s (i, ago);
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, created_at)
    VALUES (3, 1, 2, 'rest', 'sleep', 'waiting', now() - interval '12 s'), (4, 1, 2, 'rest', 'sleep', 'waiting', now() - interval '1 hour');
SELECT event, workflow_id, queue, status, step_name, kind, attempts, took, error FROM pawl.recent_activity(now() - interval '1 minute');
SELECT event, workflow_id FROM pawl.recent_activity(now() - interval '1 minute', queue => 'ovens');
SELECT event, workflow_id FROM pawl.recent_activity(now() - interval '1 minute', 'bake', steps => false);
SELECT event, workflow_id FROM pawl.recent_activity(now() - interval '1 minute', 'nothing');
-- Payloads are for those who may inspect.
CREATE ROLE pawl_test_eye;
SELECT pawl.grant_access('pawl_test_eye', 'observe');
SET ROLE pawl_test_eye;
SELECT workflow_id, error IS NULL AS hidden FROM pawl.recent_activity(now() - interval '1 minute', steps => false) WHERE event = 'ended';
RESET ROLE;
SELECT pawl.revoke_access('pawl_test_eye', 'observe');
DROP ROLE pawl_test_eye;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step, pawl.queue;
