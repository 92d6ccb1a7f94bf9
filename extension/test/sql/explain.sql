-- explain_workflow: every reason that a workflow may have for not running, and what can be done about it.
\set SHOW_CONTEXT never
SET statement_timeout = '20 s';
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.queue_gate, pawl.queue_rate_slot, pawl.access_rule, pawl.installation, pawl.signal, pawl.cancel_request, pawl.sql_handler, pawl.audit_entry;
CREATE FUNCTION explain(id text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(regexp_replace(pawl.explain_workflow(id), '\S+ \S+ UTC \(in [^)]*\)', 'SOON', 'g'), '\S+ \S+ UTC \([^)]* ago\)', 'THEN', 'g') $$;
CREATE FUNCTION claim(at_most integer DEFAULT 10) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT c.workflow_id FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', at_most, '{ship,bill}', '{2,1}', '{default,small}') c $$;
-- How long ago and how long until.
SELECT regexp_replace(pawl.at_time(clock_timestamp() + t), '^.* UTC', 'T') FROM unnest('{-5 s,-3 hours,90.5 minutes}'::interval[]) t;
SELECT pawl.at_time('infinity');

-- Delayed; and nobody is there to run it.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'later', delay => '1 hour'), pawl.enqueue_workflow('ship', workflow_id => 'now');
SELECT explain(i) FROM unnest('{later,now}'::text[]) i;
-- No handler of its name, or version; none for its queue.
SELECT worker_number FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'w', 'h', 1, '1', 1, 3, '{default,small}', '{ship,bill}', '{2,1}', '{p,p}') \gset
SELECT pawl.create_queue('small'), pawl.create_queue('unserved');
SELECT pawl.enqueue_workflow('shop', workflow_id => 'misspelt'), pawl.enqueue_workflow('ship', workflow_id => 'pinned', workflow_version => 1),
    pawl.enqueue_workflow('ship', workflow_id => 'elsewhere', queue => 'unserved');
SELECT explain(i) FROM unnest('{misspelt,pinned,elsewhere,now}'::text[]) i;
INSERT INTO pawl.known_handler VALUES ('shop');
SELECT explain('misspelt');
SELECT claim();
SELECT explain('now');
UPDATE pawl.workflow SET claimed_by = NULL, status = 'enqueued', workflow_version = 3, ready_key = nextval('pawl.key_seq') WHERE workflow_id = 'now';
SELECT explain('now');
UPDATE pawl.workflow SET workflow_version = 1 WHERE workflow_id = 'now';
SELECT explain('now');

-- Held, paused, full, at its rate.
UPDATE pawl.installation SET held_at = now(), held_reason = 'another system identifier';
SELECT explain('now');
UPDATE pawl.installation SET held_at = NULL;
SELECT pawl.enqueue_workflow('bill', workflow_id => 'tenant-' || i, queue => 'small', partition_key => 'a') FROM generate_series(1, 3) i;
SELECT pawl.pause_queue('small', 'the printer burns');
SELECT replace(explain('tenant-1'), current_user, 'ME');
SELECT pawl.resume_queue('small');
SELECT pawl.alter_queue('small', concurrency => 1);
SELECT count(*) FROM claim(1);
SELECT explain('tenant-3');
SELECT pawl.alter_queue('small', concurrency => 5, partition_concurrency => 1);
SELECT explain('tenant-3');
SELECT pawl.alter_queue('small', partition_concurrency => -1, worker_concurrency => 1);
SELECT explain('tenant-3');
SELECT pawl.alter_queue('small', worker_concurrency => -1, rate_limit => 1, rate_period => '1 hour');
UPDATE pawl.queue_rate_slot SET used_at = clock_timestamp() - interval '10 minutes';
SELECT explain('tenant-3');
SELECT pawl.alter_queue('small', rate_limit => -1);
-- Locked; room, no room, and what comes before it; alone.
BEGIN;
SELECT FROM pawl.workflow WHERE workflow_id = 'tenant-3' FOR UPDATE;
SELECT replace(explain('tenant-3'), pg_backend_pid()::text, 'PID');
ROLLBACK;
SELECT explain('tenant-3');
UPDATE pawl.worker SET running = 3;
SELECT explain('tenant-3');
-- Another has room, and not its handler.
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (gen_random_uuid(), 9, 1, 10, 'running', 'other', 'h', '1', 'x');
SELECT explain('tenant-3');
DELETE FROM pawl.worker WHERE worker_name = 'other';
UPDATE pawl.workflow SET rank = rank + 2 WHERE workflow_id = 'tenant-3';
SELECT explain('tenant-3');
UPDATE pawl.worker SET status = 'draining', running = 0;
SELECT explain('tenant-3');
UPDATE pawl.worker SET status = 'running';
UPDATE pawl.workflow SET crashes = 2 WHERE workflow_id = 'tenant-3';
SELECT explain('tenant-3');

-- Running, and with a worker that says nothing any more.
SELECT pawl.enqueue_workflow('ship', '{}', workflow_id => 'runs');
SELECT count(*) > 0 FROM claim();
SELECT explain('runs');
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, attempts, due_at, error)
    SELECT workflow_key, 1, 1, 'buy_label', 'step', 'retrying', 2, clock_timestamp() + interval '1 minute', '{"message": "no paper"}' FROM pawl.workflow WHERE workflow_id = 'runs';
SELECT explain('runs');
SELECT pawl.cancel_workflow('runs', 'not wanted') IS TRUE;
SELECT replace(explain('runs'), current_user, 'ME');
UPDATE pawl.worker SET heartbeat_at = clock_timestamp() - interval '1 minute';
SELECT explain('now');
UPDATE pawl.workflow SET cancel_requested_at = NULL;
DELETE FROM pawl.cancel_request;
SELECT explain('runs');

-- Parked, by what it waits for.
SELECT workflow_key AS parked FROM pawl.workflow WHERE workflow_id = 'runs' \gset
SELECT workflow_key AS other FROM pawl.workflow WHERE workflow_id = 'later' \gset
SELECT workflow_key AS another FROM pawl.workflow WHERE workflow_id = 'now' \gset
UPDATE pawl.workflow SET claimed_by = NULL, status = 'waiting', ready_key = NULL WHERE workflow_id = 'runs';
CREATE FUNCTION waits(kind text, arguments jsonb, due_at timestamptz DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pawl.workflow_step s SET kind = waits.kind, status = 'waiting', arguments = waits.arguments, due_at = waits.due_at;
    RETURN explain('runs');
END $$;
SELECT waits('sleep', '{}', clock_timestamp() + interval '1 day');
SELECT waits('receive', '{"topic": "approval"}', clock_timestamp() + interval '3 days');
SELECT waits('receive', '{"topic": ""}', 'infinity');
SELECT waits('get_event', jsonb_build_object('target', :other, 'key', 'ready'));
SELECT waits('read_stream', jsonb_build_object('target', :other, 'key', 'log', 'from', 1));
SELECT waits('await_child', jsonb_build_object('target', :other));
SELECT waits('await_children', jsonb_build_object('targets', ARRAY[:other, :another, 0], 'mode', 'all'));
SELECT waits('await_children', jsonb_build_object('targets', ARRAY[:other, :another], 'mode', 'any'));
SELECT waits('race', jsonb_build_object('of', jsonb_build_array(jsonb_build_object('kind', 'receive', 'topic', 'approval'),
    jsonb_build_object('kind', 'sleep', 'due_at', clock_timestamp() + interval '1 day'), jsonb_build_object('kind', 'receive', 'error', '{}'))));
DELETE FROM pawl.workflow_step;
SELECT explain('runs');

-- Ended.
INSERT INTO pawl.workflow_history (workflow_key, created_at, completed_at, deadline_at, epoch, queue_id, priority, recoveries, pinned, status, status_reason, workflow_id,
    workflow_name, enqueued_by, cancelled_by, cancel_note, input, error)
SELECT -n, now(), now(), now(), 1, 0, 0, 4, false, s, r, 'ended-' || n, 'ship', 'me', by, note, '{}', e::jsonb FROM (VALUES
    (1, 'succeeded', NULL, NULL, NULL, NULL), (2, 'failed', 'error', NULL, NULL, '{"message": "no paper.", "step": "print"}'),
    (3, 'failed', 'timeout', NULL, NULL, '{}'), (4, 'failed', 'crashes', NULL, NULL, '{}'), (5, 'failed', 'determinism', NULL, NULL, '{"message": "m"}'),
    (6, 'failed', 'bad_input', NULL, NULL, '{"message": "$.id is missing"}'), (7, 'cancelled', 'request', 'eve', 'not wanted', '{}'),
    (8, 'cancelled', 'parent', 'eve', NULL, '{}')) h (n, s, r, by, note, e);
SELECT explain('ended-' || n) FROM generate_series(1, 8) n;
SELECT pawl.explain_workflow('nobody');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.explain_workflow(NULL);
\echo :LAST_ERROR_SQLSTATE

-- Whoever may not inspect does not read what an error says.
CREATE ROLE explain_observer;
SELECT pawl.grant_access('explain_observer', 'observe');
GRANT EXECUTE ON FUNCTION explain(text) TO explain_observer;
SET ROLE explain_observer;
SELECT explain('ended-2');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION explain(text) FROM explain_observer;
SELECT pawl.revoke_access('explain_observer', 'observe');
DROP ROLE explain_observer;
DROP FUNCTION explain, claim, waits;
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000001') IS NOT NULL AS gone;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue,
    pawl.queue_gate, pawl.queue_rate_slot, pawl.signal, pawl.cancel_request, pawl.audit_entry;
