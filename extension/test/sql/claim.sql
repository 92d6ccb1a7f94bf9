-- What a claim takes, in which order, and what it says of it. The races are in specs/ and attacks/.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill'), ('nobody');
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
SELECT pawl.create_queue('q1'), pawl.create_queue('q2'), pawl.create_queue('q3');
SET pawl.poll_interval = 0;
SET client_min_messages = notice;
SELECT held FROM pawl.register_worker(:me, 'w', 'h', 1, '1', 1, 10, NULL, '{ship,ship,bill}', '{1,2,1}', '{p,p,p}');
CREATE FUNCTION pg_temp.claim(n integer, queues text[] DEFAULT NULL, names text[] DEFAULT '{ship,ship,bill}', versions integer[] DEFAULT '{1,2,1}')
RETURNS TABLE (ids text) LANGUAGE sql AS $$
    SELECT string_agg(workflow_id, ' ') FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', n, names, versions, queues)
$$;

-- Nothing.
SELECT * FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);
-- One, whole.
SELECT pawl.enqueue_workflow('ship', '{"order": 1}', workflow_id => 'first', priority => 3, partition_key => NULL, headers => '{"h": 1}', attributes => '{"a": 1}');
SELECT epoch, replay, workflow_version, priority, recoveries, created_at = (SELECT created_at FROM pawl.workflow) AS created, workflow_id, workflow_name, queue, partition_key,
    input, headers, attributes FROM pawl.claim_workflows(:me, 10, '{ship,ship,bill}', '{1,2,1}', NULL);
SELECT status, claimed_by, epoch, workflow_version, pinned, started_at IS NOT NULL AS started, claimed_at - started_at < interval '1 second' AS first, rank, ready_key IS NOT NULL AS ready FROM pawl.workflow;
-- Not again.
SELECT * FROM pg_temp.claim(10);
-- Handed back and claimed again: a replay, of the next epoch, at once before what never started.
SELECT * FROM pawl.enqueue_workflow('ship', workflow_id => 'second', priority => 3);
SELECT r.* FROM pawl.workflow w, pawl.release_workflows(:me, ARRAY[w.workflow_key], ARRAY[1]) r WHERE workflow_id = 'first';
SELECT workflow_id, epoch, replay, recoveries FROM pawl.claim_workflows(:me, 1, '{ship,ship,bill}', '{1,2,1}', NULL);
SELECT started_at < claimed_at AS started_before FROM pawl.workflow WHERE workflow_id = 'first';
SELECT workflow_id, epoch, replay FROM pawl.claim_workflows(:me, 10, '{ship,ship,bill}', '{1,2,1}', NULL);
-- A large input comes whole.
SELECT pawl.enqueue_workflow('ship', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 100) i), workflow_id => 'large');
SELECT workflow_id, jsonb_array_length(input) FROM pawl.claim_workflows(:me, 10, '{ship,ship,bill}', '{1,2,1}', NULL);
TRUNCATE pawl.workflow, pawl.payload;

-- Order: priority, then first in; not more than asked for; many names and queues.
SELECT count(pawl.enqueue_workflow('ship', workflow_id => 'p' || p || '-' || i, priority => p)) FROM unnest(ARRAY[1, 0, -1]) p, generate_series(1, 3) i;
SELECT * FROM pg_temp.claim(4);
SELECT * FROM pg_temp.claim(4);
SELECT * FROM pg_temp.claim(4);
SELECT count(pawl.enqueue_workflow('ship', workflow_id => q || '-' || i, queue => q)) FROM unnest(ARRAY['q1', 'q2', 'q3']) q, generate_series(1, 4) i;
SELECT * FROM pg_temp.claim(10, '{q2}');
SELECT * FROM pg_temp.claim(10, '{}');
SELECT * FROM pg_temp.claim(10, '{unknown}');
-- Every queue gets its turn at being the first.
SELECT count(DISTINCT left(ids, 2)) FROM (SELECT c.ids FROM generate_series(1, 4) g, pg_temp.claim(1 + g * 0, '{q1,q3}') c) turns;
SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NULL;
SELECT length(ids) FROM pg_temp.claim(100);
SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NULL;
TRUNCATE pawl.workflow;

-- Names and versions: only what this worker runs; what is at the head and cannot be run is passed.
SELECT count(pawl.enqueue_workflow('nobody')) FROM generate_series(1, 500);
SELECT pawl.enqueue_workflow('ship', workflow_id => 'unpinned'), pawl.enqueue_workflow('ship', workflow_id => 'pinned-1', workflow_version => 1),
    pawl.enqueue_workflow('ship', workflow_id => 'pinned-2', workflow_version => 2), pawl.enqueue_workflow('ship', workflow_id => 'pinned-3', workflow_version => 3),
    pawl.enqueue_workflow('bill', workflow_id => 'bill');
SELECT * FROM pg_temp.claim(10, NULL, '{}', '{}');
SELECT * FROM pg_temp.claim(10, NULL, '{bill}', '{7}');
SELECT workflow_id, workflow_version, pinned FROM pawl.workflow WHERE claimed_by IS NOT NULL;
SELECT * FROM pg_temp.claim(10, NULL, '{ship}', '{1}');
SELECT * FROM pg_temp.claim(10);
SELECT workflow_id, workflow_version, pinned FROM pawl.workflow WHERE workflow_name <> 'nobody' ORDER BY 1;
-- An unpinned one starts at the highest version offered, and a started one stays on its own.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'fresh');
SELECT workflow_id, workflow_version FROM pawl.claim_workflows(:me, 10, '{ship,ship}', '{2,1}', NULL);
SELECT r.* FROM pawl.workflow w, pawl.release_workflows(:me, ARRAY[w.workflow_key], ARRAY[1]) r WHERE workflow_id = 'fresh';
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship,ship}', '{1,3}', NULL);
SELECT workflow_id, workflow_version FROM pawl.claim_workflows(:me, 10, '{ship,ship}', '{1,2}', NULL);
-- Handlers that come later find what was passed.
SELECT count(*) FROM pawl.claim_workflows(:me, 1000, '{nobody,ship}', '{1,2}', NULL);
TRUNCATE pawl.workflow;

-- What is due is claimable with a fresh key; what is not, not.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'soon', run_at => '2100-01-01 00:00:00+00'), pawl.enqueue_workflow('ship', workflow_id => 'later', delay => '1 hour');
SELECT * FROM pg_temp.claim(10);
UPDATE pawl.workflow SET due_at = now() - interval '1 second' WHERE workflow_id = 'soon';
SELECT pawl.enqueue_workflow('ship', workflow_id => 'after');
SELECT * FROM pg_temp.claim(10);
SELECT workflow_id, status, due_at IS NULL AS not_due, ready_key > (SELECT max(workflow_key) FROM pawl.workflow) AS fresh FROM pawl.workflow ORDER BY 1;
-- A parked one wakes by its time, as a replay before what never started.
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, arguments, due_at)
    SELECT workflow_key, 1, 1, 'wait', CASE workflow_id WHEN 'soon' THEN 'sleep' ELSE 'receive' END, 'waiting', '{"topic": ""}',
        CASE workflow_id WHEN 'soon' THEN now() + interval '1 hour' END FROM pawl.workflow WHERE workflow_id IN ('soon', 'after');
SELECT r.* FROM pawl.workflow w, pawl.park_workflows(:me, ARRAY[w.workflow_key], ARRAY[1], ARRAY['nap']) r WHERE workflow_id = 'soon';
SELECT r.* FROM pawl.workflow w, pawl.park_workflows(:me, ARRAY[w.workflow_key], ARRAY[1], ARRAY['a letter']) r WHERE workflow_id = 'after';
UPDATE pawl.workflow SET due_at = now() - interval '1 second' WHERE workflow_id = 'soon';
SELECT pawl.enqueue_workflow('ship', workflow_id => 'new');
SELECT workflow_id, epoch, replay FROM pawl.claim_workflows(:me, 1, '{ship}', '{2}', NULL);
SELECT workflow_id, status, waiting_for FROM pawl.workflow ORDER BY 1;
-- arm_worker says how long to wait: until the next is due, at most the poll.
UPDATE pawl.workflow SET due_at = now() + interval '20 minutes' WHERE workflow_id = 'later';
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL) BETWEEN 1100000 AND 1200000 AS until_due;
SET pawl.poll_interval = 250;
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL);
SET pawl.poll_interval = 0;
DELETE FROM pawl.workflow WHERE workflow_id = 'later';
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL);
TRUNCATE pawl.workflow;

-- Partitions: each gets its turn; within one, the order of its entries.
SELECT count(pawl.enqueue_workflow('ship', workflow_id => 'big-' || to_char(i, 'FM000'), partition_key => 'big', queue => 'q1')) FROM generate_series(1, 200) i;
SELECT count(pawl.enqueue_workflow('ship', workflow_id => 'small-' || i, partition_key => 'small-' || i, queue => 'q1')) FROM generate_series(1, 5) i;
SELECT count(*) FILTER (WHERE partition_key <> 'big') >= 4 AS small_ones_too, count(*) FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', '{q1}');
SELECT count(*) AS out_of_order FROM pawl.workflow c, pawl.workflow u WHERE c.partition_key = 'big' AND u.partition_key = 'big'
    AND c.claimed_by IS NOT NULL AND u.claimed_by IS NULL AND u.ready_key < c.ready_key;
SELECT sum(n) FROM (SELECT g, (SELECT count(*) FROM pawl.claim_workflows(:me, 10 + g * 0, '{ship}', '{1}', '{q1}')) AS n FROM generate_series(1, 30) g) all_of_them;
SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NULL;
-- Partitioned and not, in one queue.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'with', partition_key => 'x'), pawl.enqueue_workflow('ship', workflow_id => 'without');
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', '{default}');
TRUNCATE pawl.workflow;

-- A held database gives nothing away, not even what is due.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'held'), pawl.enqueue_workflow('ship', workflow_id => 'due', run_at => '2100-01-01 00:00:00+00');
UPDATE pawl.workflow SET due_at = now() WHERE workflow_id = 'due';
UPDATE pawl.installation SET held_at = now(), held_reason = 'a test';
SELECT * FROM pg_temp.claim(10);
SELECT workflow_id, status FROM pawl.workflow ORDER BY 1;
SELECT pawl.release_hold('a test');
SELECT * FROM pg_temp.claim(10);
TRUNCATE pawl.workflow;

-- A claim that is rolled back took nothing, also to a savepoint.
SELECT count(pawl.enqueue_workflow('ship', workflow_id => 'back-' || i)) FROM generate_series(1, 3) i;
BEGIN;
SELECT * FROM pg_temp.claim(2);
ROLLBACK;
SELECT * FROM pg_temp.claim(2);
BEGIN;
SAVEPOINT s;
SELECT * FROM pg_temp.claim(2);
ROLLBACK TO s;
SELECT * FROM pg_temp.claim(2);
COMMIT;
TRUNCATE pawl.workflow;

-- What other sessions cannot be told of by the enqueue functions (replication, a dump) is found by the net: a session's first claim sees everything.
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, queue_id, input)
    SELECT 'bare', 'ship', 'x', 21, nextval('pawl.key_seq'), queue_id, '{}' FROM pawl.queue WHERE queue_name = 'q3';
\c -
\set SHOW_CONTEXT never
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);

-- The plan, with statistics that know of nothing and with those of another day: no scan or sort of the queue.
SELECT count(*) FROM pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[3000]));
BEGIN;
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);
SELECT seq_scan, idx_tup_fetch < 100 AS by_index FROM pg_stat_xact_user_tables WHERE relid = 'pawl.workflow'::regclass;
COMMIT;
ANALYZE pawl.workflow;
\c -
\set SHOW_CONTEXT never
BEGIN;
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);
SELECT seq_scan, idx_tup_fetch < 100 AS by_index FROM pg_stat_xact_user_tables WHERE relid = 'pawl.workflow'::regclass;
COMMIT;
DELETE FROM pawl.workflow WHERE claimed_by IS NULL;
ANALYZE pawl.workflow;
SELECT count(*) FROM pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[3000]));
\c -
\set SHOW_CONTEXT never
BEGIN;
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);
SELECT seq_scan, idx_tup_fetch < 100 AS by_index FROM pg_stat_xact_user_tables WHERE relid = 'pawl.workflow'::regclass;
COMMIT;
SHOW enable_seqscan;
SHOW enable_sort;

-- A worker that ended claims nothing any more.
SELECT ended_at FROM pawl.workers WHERE worker_id = :me;
UPDATE pawl.worker SET ended_at = now(), status = 'dead' WHERE worker_id = :me;
SELECT * FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue, pawl.installation;
