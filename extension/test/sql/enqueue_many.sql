-- Many at once: the ids in the order of the inputs, by the rules of one.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill');
SELECT pawl.create_queue('shipping');
SET client_min_messages = notice;

SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['1', '2', '3']::jsonb[], workflow_ids => ARRAY['c', 'a', 'b']);
SELECT workflow_id, input FROM pawl.workflows ORDER BY workflow_key;
-- Made ids, and given ones among them.
SELECT count(DISTINCT id), bool_and(id ~ '^[0-9a-f-]{14}7') AS version_7 FROM pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[1000])) id;
SELECT n, CASE WHEN id ~ '^[0-9a-f-]{36}$' THEN 'made' ELSE id END AS id
    FROM pawl.enqueue_workflows('ship', ARRAY['{}', '{}', '{}']::jsonb[], workflow_ids => ARRAY[NULL, 'given', NULL]) WITH ORDINALITY e (id, n);
-- Nothing is nothing.
SELECT * FROM pawl.enqueue_workflows('ship', '{}');
SELECT * FROM pawl.enqueue_workflows('ship', '{}', workflow_ids => '{}', partition_keys => '{}');
-- The options are those of all.
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['1', '2']::jsonb[], workflow_ids => ARRAY['x', 'y'], partition_keys => ARRAY['t1', NULL], queue => 'shipping',
    priority => 5, delay => '1 hour', workflow_version => 3, headers => '{"h": 1}', attributes => '{"a": 1}', options => '{}');
SELECT workflow_id, input, queue, status, priority, partition_key, workflow_version, headers, attributes, wake_at > now() AS later FROM pawl.workflows
    WHERE workflow_id IN ('x', 'y') ORDER BY 1;
SELECT workflow_id, rank, pinned, ready_key FROM pawl.workflow WHERE workflow_id IN ('x', 'y') ORDER BY 1;
-- Existing ones, also within the call: return, skip (NULL in its place), raise.
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['11', '12', '13', '14']::jsonb[], workflow_ids => ARRAY['new-1', 'a', 'new-2', 'new-1']);
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['21', '22', '23', '24']::jsonb[], workflow_ids => ARRAY['new-3', 'a', 'new-3', 'new-4'], on_existing => 'skip');
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['31', '32']::jsonb[], workflow_ids => ARRAY['new-5', 'a'], on_existing => 'raise');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['31', '32']::jsonb[], workflow_ids => ARRAY['new-5', 'new-5'], on_existing => 'raise');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.enqueue_workflows('bill', ARRAY['41', '42']::jsonb[], workflow_ids => ARRAY['new-6', 'a']);
\echo :LAST_ERROR_SQLSTATE
SELECT workflow_id, input FROM pawl.workflows WHERE workflow_id ~ '^new|^a$' ORDER BY 1;
-- Ended ones are remembered.
\set me '\'00000000-0000-4000-8000-000000000001\''
SELECT held FROM pawl.register_worker(:me, 'w', 'h', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{p}');
SELECT count(*) FROM pawl.claim_workflows(:me, 10000, '{ship}', '{1}', NULL) c CROSS JOIN LATERAL (SELECT count(*) FROM pawl.complete_workflows(:me,
    ARRAY[c.workflow_key], ARRAY[c.epoch], '{succeeded}', '{NULL}', '{1}', '{NULL}')) e;
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['51', '52']::jsonb[], workflow_ids => ARRAY['new-1', 'new-7'], on_existing => 'skip');
SELECT workflow_id, input FROM pawl.workflow WHERE status = 'enqueued';
-- Large inputs among small ones.
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['1', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 100) i), '3'], workflow_ids => ARRAY['s1', 'l2', 's3']);
SELECT w.workflow_id, w.input IS NULL AS moved, jsonb_array_length(p.value) FROM pawl.workflow w LEFT JOIN pawl.payload p USING (workflow_key)
    WHERE w.workflow_id IN ('s1', 'l2', 's3') ORDER BY 1;
-- All or none.
BEGIN;
SELECT count(*) FROM pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[10]), workflow_ids => (SELECT array_agg('gone-' || i) FROM generate_series(1, 10) i));
ROLLBACK;
SELECT count(*) FROM pawl.workflow WHERE workflow_id LIKE 'gone-%';
-- In older snapshots.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['1', '2']::jsonb[], workflow_ids => ARRAY['new-1', 'rr']);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['1', '2']::jsonb[], workflow_ids => ARRAY['new-1', 'serializable']);
COMMIT;
SELECT pawl.unregister_worker(:me);
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue;
