-- How claims come to know of a lane that nobody has told them of: after a restart of the server there are no lanes until somebody says so. Rows put
-- there by hand stand for that, each in a queue of its own. The races are in specs/ and attacks/.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.queue_gate, pawl.queue_rate_slot, pawl.access_rule, pawl.installation, pawl.message, pawl.signal, pawl.waiter, pawl.cancel_request;
SET pawl.poll_interval = 0;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT held FROM pawl.register_worker(:other, 'beta', 'machine', 2, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
CREATE FUNCTION pg_temp.runs(id text, worker uuid DEFAULT '00000000-0000-4000-8000-000000000001') RETURNS void LANGUAGE sql AS $$
    SELECT pawl.create_queue(id);
    INSERT INTO pawl.workflow (workflow_id, workflow_name, workflow_version, queue_id, partition_key, enqueued_by, rank, ready_key, status, claimed_by,
        claimed_at, started_at, epoch, input)
    SELECT id, 'ship', 1, q.queue_id, 'p', 'x', 1, nextval('pawl.key_seq'), 'running', worker, now(), now(), 1, '{}' FROM pawl.queue q
    WHERE q.queue_name = id
$$;
CREATE FUNCTION pg_temp.waits(id text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_temp.runs(id);
    UPDATE pawl.workflow SET status = 'waiting', claimed_by = NULL, ready_key = NULL WHERE workflow_id = id;
    INSERT INTO pawl.workflow_step (workflow_key, step_name, step_number, kind, status, epoch, arguments)
        SELECT workflow_key, 'receive', 1, 'receive', 'waiting', 1, '{"topic": ""}' FROM pawl.workflow WHERE workflow_id = id
$$;
CREATE FUNCTION pg_temp.failed(id text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_temp.runs(id);
    SELECT r.* FROM pawl.workflow w, pawl.record_steps(w.claimed_by, ARRAY[w.workflow_key], '{1}', '{pack}', '{1}', '{step}', '{1}', '{NULL}', ARRAY[now()]) r
        WHERE workflow_id = id;
    SELECT c.* FROM pawl.workflow w, pawl.complete_workflows(w.claimed_by, ARRAY[w.workflow_key], '{1}', '{failed}', '{error}', '{NULL}', ARRAY['{"code": "E"}'::jsonb]) c
        WHERE workflow_id = id
$$;
CREATE FUNCTION pg_temp.claim(n integer DEFAULT 100) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT workflow_id FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', n, '{ship}', '{1}', NULL) ORDER BY 1
$$;
-- It has looked for lanes.
SELECT pg_temp.claim();

-- Whatever makes a partitioned entry claimable tells of its lane.
SELECT pg_temp.runs('released'), pg_temp.runs('continued'), pg_temp.runs('parked'), pg_temp.runs('handed back', :other), pg_temp.waits('cancelled'),
    pg_temp.waits('signalled'), pg_temp.failed('resumed'), pg_temp.failed('rewound'), pg_temp.failed('forked');
SELECT r.* FROM pawl.workflow w, pawl.release_workflows(:me, ARRAY[w.workflow_key], '{1}') r WHERE workflow_id = 'released';
SELECT c.* FROM pawl.workflow w, pawl.continue_workflows(:me, ARRAY[w.workflow_key], '{1}', '{1}') c WHERE workflow_id = 'continued';
-- It waits for nothing any more.
SELECT p.* FROM pawl.workflow w, pawl.park_workflows(:me, ARRAY[w.workflow_key], '{1}', '{x}') p WHERE workflow_id = 'parked';
SELECT pawl.unregister_worker(:other);
SELECT pawl.cancel_workflow('cancelled');
SELECT pawl.send_message('signalled', '1');
SELECT count(*) FROM pawl.take_signals(:me);
SELECT pawl.resume_workflow('resumed'), pawl.rewind_workflow('rewound', 'pack'), pawl.fork_workflow('forked', new_workflow_id => 'fork');
SELECT pg_temp.claim();
-- One that nobody could run until now.
SELECT pg_temp.runs('moved');
UPDATE pawl.workflow SET status = 'enqueued', claimed_by = NULL, workflow_version = 7 WHERE workflow_id = 'moved';
SELECT pawl.move_workflows('ship', 7, 1);
SELECT pg_temp.claim();
SELECT workflow_id, status FROM pawl.workflow WHERE claimed_by IS NULL;

-- A claim that has left partitions to the next one; the database is held before that.
DELETE FROM pawl.workflow;
SELECT count(*) FROM pawl.enqueue_workflows('nobody', array_fill('{}'::jsonb, ARRAY[600]), partition_keys => ARRAY(SELECT 'p' || i FROM generate_series(1, 600) i));
SELECT pg_temp.claim();
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL);
UPDATE pawl.installation SET held_at = now();
SELECT pg_temp.claim();
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL);
SELECT pawl.release_hold();
DELETE FROM pawl.workflow;

-- A wait that ended because something was due was no poll, though another has made that claimable meanwhile.
SELECT rescued_by_poll AS rescued_before FROM pawl.wakeup_statistics() \gset
SELECT pawl.enqueue_workflow('ship', workflow_id => 'due', delay => '50 ms');
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL) BETWEEN 0 AND 50 AS soon;
CALL pawl.wait(NULL, NULL);
UPDATE pawl.workflow SET status = 'enqueued', due_at = NULL, ready_key = nextval('pawl.key_seq');
SELECT pg_temp.claim();
SELECT rescued_by_poll - :rescued_before AS rescued FROM pawl.wakeup_statistics();
DELETE FROM pawl.workflow;
