-- Queues.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.queue_gate, pawl.queue_rate_slot, pawl.audit_entry, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;

SELECT pawl.create_queue('shipping');
SELECT queue, concurrency, paused, depth, running, oldest, created_by = current_user AS by_me FROM pawl.queues ORDER BY queue;
SELECT pawl.create_queue('shipping');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('shipping', on_existing => 'keep');
SELECT queue_id AS before FROM pawl.queue WHERE queue_name = 'shipping' \gset
SELECT pawl.create_queue('shipping', on_existing => 'replace');
SELECT queue_id = :before AS same FROM pawl.queue WHERE queue_name = 'shipping';
-- default is there without a row, and gets one when it is replaced.
SELECT pawl.create_queue('default');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('default', on_existing => 'keep');
SELECT count(*) FROM pawl.queue WHERE queue_name = 'default';
SELECT pawl.create_queue('default', on_existing => 'replace');
SELECT queue_id FROM pawl.queue WHERE queue_name = 'default';
SELECT count(*) FROM pawl.queues WHERE queue = 'default';

-- What cannot be a limit.
SELECT pawl.create_queue('limited', concurrency => -1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('limited', worker_concurrency => 1000001);
SELECT pawl.create_queue('limited', partition_concurrency => -1);
SELECT pawl.create_queue('limited', rate_limit => 0, rate_period => '1 second');
SELECT pawl.create_queue('limited', rate_limit => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('limited', rate_period => '1 second');
SELECT pawl.create_queue('limited', rate_limit => 1, rate_period => '-1 second');
SELECT pawl.create_queue('limited', rate_limit => 1, rate_period => '2 years');
SELECT pawl.create_queue('limited', hold_while_waiting => NULL);
-- All of them, and what there is of them afterwards: given, changed, taken back one by one.
CREATE FUNCTION pg_temp.limits(name text) RETURNS TABLE (con integer, worker integer, part integer, rate integer, period interval, hold boolean,
    limited boolean, slots bigint, counted boolean) LANGUAGE sql AS $$
    SELECT q.concurrency, q.worker_concurrency, q.partition_concurrency, q.rate_limit, q.rate_period, q.hold_while_waiting, q.limited,
        (SELECT count(*) FROM pawl.queue_rate_slot s WHERE s.queue_id = q.queue_id), g.counted
    FROM pawl.queue q JOIN pawl.queue_gate g USING (queue_id) WHERE q.queue_name = name
$$;
SELECT pawl.create_queue('limited', 5, 2, 10, '1 minute', 1, true);
SELECT * FROM pg_temp.limits('limited');
SELECT pawl.alter_queue('limited', concurrency => 0, hold_while_waiting => false);
SELECT pawl.alter_queue('limited', rate_limit => 3);
SELECT pawl.alter_queue('limited', rate_period => '1 hour', partition_concurrency => -1);
SELECT * FROM pg_temp.limits('limited');
SELECT pawl.alter_queue('limited', rate_limit => -1);
SELECT pawl.alter_queue('limited', -1, -1);
SELECT * FROM pg_temp.limits('limited');
SELECT pawl.alter_queue('limited', concurrency => 4);
SELECT * FROM pg_temp.limits('limited');
SELECT pawl.create_queue('limited', worker_concurrency => 7, on_existing => 'replace');
SELECT * FROM pg_temp.limits('limited');
SELECT pawl.create_queue('limited', worker_concurrency => 8, on_existing => 'keep');
SELECT * FROM pg_temp.limits('limited');
-- A lower rate limit remembers the latest starts, a higher one all that are known.
SELECT pawl.create_queue('ring', rate_limit => 4, rate_period => '1 minute');
UPDATE pawl.queue_rate_slot SET used_at = timestamptz '2026-01-01' + slot * interval '1 day' WHERE queue_id = (SELECT queue_id FROM pawl.queue WHERE queue_name = 'ring');
UPDATE pawl.queue_gate SET next_slot = 2;
SELECT pawl.alter_queue('ring', rate_limit => 2);
SELECT slot, used_at AT TIME ZONE 'UTC' AS used_at FROM pawl.queue_rate_slot ORDER BY slot;
SELECT pawl.alter_queue('ring', rate_limit => 3);
SELECT slot, used_at = '-infinity' AS never FROM pawl.queue_rate_slot ORDER BY slot;
SELECT next_slot FROM pawl.queue_gate WHERE queue_id = (SELECT queue_id FROM pawl.queue WHERE queue_name = 'ring');
-- What cannot be altered.
SELECT pawl.alter_queue('limitet', concurrency => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.alter_queue(NULL, concurrency => 1);
SELECT pawl.alter_queue('limited', concurrency => -2);
SELECT pawl.alter_queue('limited', rate_limit => 5);
SELECT pawl.alter_queue('limited', rate_limit => -1, rate_period => '1 second');
SELECT pawl.alter_queue('limited', options => '{"concurrency": 1}');
SELECT * FROM pg_temp.limits('limited');
-- default too, by which it gets a row.
TRUNCATE pawl.queue;
SELECT pawl.alter_queue('default', concurrency => 3);
SELECT queue, concurrency, paused FROM pawl.queues;
SELECT pawl.alter_queue('default', concurrency => -1);

-- Pausing.
SELECT pawl.create_queue('shipping'), pawl.create_queue('limited', concurrency => 1);
SELECT queue_id AS before FROM pawl.queue WHERE queue_name = 'shipping' \gset
SELECT pawl.pause_queue('shipping', 'the carrier is down');
SELECT pawl.pause_queue('shipping', 'again');
SELECT queue, paused, paused_at IS NOT NULL AS at, paused_by = current_user AS by_me, paused_reason FROM pawl.queues WHERE queue = 'shipping';
SELECT pawl.resume_queue('shipping');
SELECT pawl.resume_queue('shipping');
SELECT paused, paused_at, paused_by, paused_reason FROM pawl.queues WHERE queue = 'shipping';
SELECT pawl.pause_queue('default'), pawl.resume_queue('default');
SELECT pawl.pause_queue('nowhere');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_queue('shippin');
SELECT pawl.pause_queue('shipping', '');
SELECT pawl.pause_queue(NULL);

-- Dropping.
SELECT pawl.drop_queue('nowhere');
SELECT pawl.drop_queue('default');
\echo :LAST_ERROR_SQLSTATE
SET client_min_messages = warning;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'in the way', queue => 'limited', delay => '1 day');
SET client_min_messages = notice;
SELECT pawl.drop_queue('limited');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.cancel_workflow('in the way');
SELECT pawl.drop_queue('limited');
SELECT workflow_id, queue FROM pawl.workflows;
SELECT count(*) FROM pawl.queue_gate g WHERE NOT EXISTS (SELECT FROM pawl.queue q WHERE q.queue_id = g.queue_id) AND g.queue_id > :before;
SELECT pawl.enqueue_workflow('ship', queue => 'limited');
\echo :LAST_ERROR_SQLSTATE
-- All of it is in the audit.
SELECT action, object_name, reason, detail FROM pawl.audit WHERE object_kind = 'queue' ORDER BY audit_key;

-- Bad names and options.
SELECT pawl.create_queue(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('');
SELECT pawl.create_queue(repeat('x', 129));
SELECT pawl.create_queue('limited', on_existing => 'ignore');
SELECT pawl.create_queue('limited', on_existing => NULL);
SELECT pawl.create_queue('limited', options => '[]');
SELECT pawl.create_queue('limited', options => '{"concurency": 1}');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('fine', options => '{}');
SELECT queue_name FROM pawl.queue ORDER BY 1;
-- A rollback leaves nothing.
BEGIN;
SELECT pawl.create_queue('gone');
ROLLBACK;
SELECT count(*) FROM pawl.queues WHERE queue = 'gone';

-- What is in a queue.
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, queue_id, partition_key, status, claimed_by, created_at)
    SELECT 'q' || i, 'ship', 'x', 1, CASE WHEN i = 5 THEN NULL ELSE nextval('pawl.key_seq') END, :before, CASE WHEN i % 2 = 0 THEN 'p' END,
        CASE i WHEN 4 THEN 'running' WHEN 5 THEN 'delayed' ELSE 'enqueued' END, CASE WHEN i = 4 THEN '00000000-0000-4000-8000-000000000001'::uuid END,
        timestamptz '2026-01-01 00:00Z' + i * interval '1 minute' FROM generate_series(1, 5) i;
SELECT queue, depth, running, oldest AT TIME ZONE 'UTC' AS oldest FROM pawl.queues WHERE queue IN ('shipping', 'fine') ORDER BY 1;
