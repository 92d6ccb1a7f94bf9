-- Queues.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
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

-- Limits are refused, each by its name.
SELECT pawl.create_queue('limited', concurrency => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('limited', worker_concurrency => 1);
SELECT pawl.create_queue('limited', rate_limit => 1, rate_period => '1 second');
SELECT pawl.create_queue('limited', rate_period => '1 second');
SELECT pawl.create_queue('limited', partition_concurrency => 1);
SELECT pawl.create_queue('limited', hold_while_waiting => true);
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
