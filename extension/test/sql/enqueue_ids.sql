-- An id names one workflow as long as its row is there; a deduplication_id one unfinished workflow of its queue.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill');
SELECT pawl.create_queue('other');
\set me '\'00000000-0000-4000-8000-000000000001\''
SELECT held FROM pawl.register_worker(:me, 'w', 'h', 1, '1', 1, 10, NULL, '{ship,bill}', '{1,1}', '{p,p}');
CREATE FUNCTION pg_temp.end_all() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 100, '{ship,bill}', '{1,1}', NULL) c
        CROSS JOIN LATERAL (SELECT count(*) FROM pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[c.workflow_key],
            ARRAY[c.epoch], '{succeeded}', '{NULL}', '{1}', '{NULL}')) e
$$;
SET client_min_messages = notice;

-- The same id again: the first one stays as it is.
SELECT pawl.enqueue_workflow('ship', '1', workflow_id => 'a');
SELECT pawl.enqueue_workflow('ship', '2', workflow_id => 'a');
SELECT pawl.enqueue_workflow('ship', '3', workflow_id => 'a', on_existing => 'skip') IS NULL AS skipped;
SELECT pawl.enqueue_workflow('ship', '4', workflow_id => 'a', on_existing => 'raise');
\echo :LAST_ERROR_SQLSTATE
-- Of another workflow it is an error, whatever on_existing says.
SELECT pawl.enqueue_workflow('bill', '5', workflow_id => 'a');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('bill', '6', workflow_id => 'a', on_existing => 'skip');
-- In another queue it is the same id.
SELECT pawl.enqueue_workflow('ship', '7', workflow_id => 'a', queue => 'other');
-- Twice in one transaction, in one statement.
BEGIN;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'b'), pawl.enqueue_workflow('ship', workflow_id => 'b', on_existing => 'skip') IS NULL AS skipped;
SAVEPOINT s;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'c');
ROLLBACK TO s;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'c', on_existing => 'raise');
COMMIT;
SELECT workflow_id, input, queue FROM pawl.workflows ORDER BY 1;

-- Remembered when it has ended.
SELECT pg_temp.end_all();
SELECT pawl.enqueue_workflow('ship', workflow_id => 'a');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'a', on_existing => 'skip') IS NULL AS skipped;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'a', on_existing => 'raise');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('bill', workflow_id => 'a');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pawl.workflow;
-- In a transaction whose snapshot is older than its end, too.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'a');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'a');
COMMIT;
-- In an older month.
SELECT pawl.add_history_partition('2001-01-15 00:00:00+00');
UPDATE pawl.workflow_history SET completed_at = '2001-01-20 00:00:00+00' WHERE workflow_id = 'b';
SELECT pawl.enqueue_workflow('ship', workflow_id => 'b', on_existing => 'skip') IS NULL AS skipped;
SELECT count(*) FROM pawl.workflow;
-- Without its row it is forgotten.
DELETE FROM pawl.workflow_history WHERE workflow_id = 'a';
SELECT pawl.enqueue_workflow('bill', workflow_id => 'a');
SELECT count(*) FROM pawl.workflow;
-- A month dropped between two calls of one session.
DROP TABLE pawl.workflow_history_2001_01;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'b');
SELECT count(*) FROM pawl.workflow;
SELECT pg_temp.end_all();

-- A deduplication_id: unique among what is unfinished in its queue.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd1', deduplication_id => 'customer-7');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd2', deduplication_id => 'customer-7');
SELECT pawl.enqueue_workflow('ship', deduplication_id => 'customer-7');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd2', deduplication_id => 'customer-7', on_duplicate => 'skip') IS NULL AS skipped;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd2', deduplication_id => 'customer-7', on_duplicate => 'raise');
\echo :LAST_ERROR_SQLSTATE
-- Also of another workflow name, but not of another queue.
SELECT pawl.enqueue_workflow('bill', workflow_id => 'd3', deduplication_id => 'customer-7');
SELECT pawl.enqueue_workflow('bill', workflow_id => 'd4', queue => 'other', deduplication_id => 'customer-7');
-- The id comes first.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd1', deduplication_id => 'customer-7', on_duplicate => 'raise');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd1', deduplication_id => 'another');
SELECT workflow_id, queue, deduplication_id FROM pawl.workflows WHERE workflow_id ~ '^d' ORDER BY 1;
SELECT count(*) FROM pawl.workflow;
-- While it runs it still holds it; ended, no more.
SELECT workflow_id, epoch FROM pawl.claim_workflows(:me, 1, '{ship}', '{1}', NULL);
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd5', deduplication_id => 'customer-7');
SELECT count(*) FROM pawl.workflow w CROSS JOIN LATERAL pawl.complete_workflows(:me, ARRAY[w.workflow_key], ARRAY[1], '{failed}', '{error}', '{NULL}', '{"{}"}') WHERE w.workflow_id = 'd1';
SELECT pawl.enqueue_workflow('ship', workflow_id => 'd5', deduplication_id => 'customer-7');

SELECT pawl.unregister_worker(:me);
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue;
