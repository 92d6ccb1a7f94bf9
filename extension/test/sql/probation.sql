-- From the first crash to the last: who is suspected runs alone, until it records something or has crashed too often.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.signal, pawl.waiter;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill');
SELECT pawl.create_queue('q1');
SET client_min_messages = notice;
SET pawl.poll_interval = 0;
\set watcher '\'00000000-0000-4000-8000-000000000001\''
SELECT held FROM pawl.register_worker(:watcher, 'watcher', 'h', 1, '1', 1, 10, NULL, '{ship}', '{2}', '{p}');
CREATE FUNCTION pg_temp.worker(n integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-4000-8000-' || to_char(n, 'FM000000000000'))::uuid $$;
-- A worker comes, claims, and dies; the watcher notices. What it claimed, and what became of it.
CREATE FUNCTION pg_temp.life(n integer, alone boolean, fate text DEFAULT 'crash', step text DEFAULT NULL, names text[] DEFAULT '{ship}', versions integer[] DEFAULT '{2}')
RETURNS TABLE (claimed text, probation boolean) LANGUAGE plpgsql AS $$
DECLARE
    it record;
BEGIN
    INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
        VALUES (pg_temp.worker(n), 1, 1, 1, 'running', 'w' || n, 'h', '1', 'r');
    FOR it IN SELECT c.* FROM pawl.claim_workflows(pg_temp.worker(n), 100, names, versions, NULL, alone) c ORDER BY c.workflow_id LOOP
        claimed := it.workflow_id;
        probation := it.probation;
        RETURN NEXT;
        IF step IS NOT NULL THEN
            PERFORM pawl.record_steps(pg_temp.worker(n), ARRAY[it.workflow_key], ARRAY[it.epoch], ARRAY[step], '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
        END IF;
        IF fate = 'retry' THEN
            PERFORM pawl.record_attempts(pg_temp.worker(n), ARRAY[it.workflow_key], ARRAY[it.epoch], '{try}', '{1}', '{step}', '{1}', '{NULL}',
                ARRAY['{"code": "x"}'::jsonb], '{1000000}', '{NULL}', '{f}');
        ELSIF fate = 'release' THEN
            PERFORM pawl.release_workflows(pg_temp.worker(n), ARRAY[it.workflow_key], ARRAY[it.epoch]);
        END IF;
    END LOOP;
    IF fate = 'unregister' THEN
        PERFORM pawl.unregister_worker(pg_temp.worker(n));
    ELSE
        UPDATE pawl.worker w SET heartbeat_at = now() - interval '1 minute' WHERE w.worker_id = pg_temp.worker(n);
        PERFORM pawl.heartbeat('00000000-0000-4000-8000-000000000001', 0, 'running');
    END IF;
END $$;
CREATE VIEW pg_temp.now AS SELECT workflow_id, status, crashes, probation, recoveries, workflow_version FROM pawl.workflow ORDER BY 1;

-- Two crashes take everybody along: the second time with suspicion.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'poison'), pawl.enqueue_workflow('ship', workflow_id => 'beside');
SELECT * FROM pg_temp.life(11, false);
SELECT * FROM pg_temp.now;
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
SELECT * FROM pg_temp.life(12, false);
SELECT * FROM pg_temp.now;
-- From now on nobody takes them with others.
SELECT * FROM pg_temp.life(13, false);
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
-- One at a time; the innocent one records a step, and is rid of it, though its worker dies of something else then.
SELECT claimed, probation FROM pg_temp.life(14, true);
SELECT * FROM pg_temp.now;
SELECT claimed, probation FROM pg_temp.life(15, true, 'crash', 'done');
SELECT * FROM pg_temp.now;
SELECT claimed, probation FROM pg_temp.life(16, true);
SELECT * FROM pg_temp.now;
-- The third time alone is the last.
INSERT INTO pawl.waiter (target_key, workflow_key, step_name) SELECT p.workflow_key, b.workflow_key, 'wait' FROM pawl.workflow p, pawl.workflow b
    WHERE p.workflow_id = 'poison' AND b.workflow_id = 'beside';
SELECT claimed, probation FROM pg_temp.life(17, true);
SELECT * FROM pg_temp.now;
SELECT workflow_id, status, status_reason, recoveries, error ->> 'code' AS code, error -> 'detail' -> 'crashes' AS crashes FROM pawl.workflows WHERE status = 'failed';
-- Who waits for it is told.
SELECT h.workflow_id, s.worker_id FROM pawl.signal s JOIN pawl.workflow_history h USING (workflow_key);
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
SELECT * FROM pg_temp.life(18, false, 'unregister');
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step, pawl.signal, pawl.waiter;

-- What clears the count: an attempt that is to be repeated, an orderly end, a hand-back, parking. Nothing else does.
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, workflow_version, started_at, input, crashes, recoveries)
    SELECT v, 'ship', 'x', 0, nextval('pawl.key_seq'), 2, now(), '{}', 3, 3 FROM unnest(ARRAY['a', 'b', 'c', 'd']) v;
SELECT claimed, probation FROM pg_temp.life(21, true, 'retry');
SELECT claimed, probation FROM pg_temp.life(22, true, 'unregister');
SELECT claimed, probation FROM pg_temp.life(23, true, 'release');
SELECT claimed, probation FROM pg_temp.life(24, true);
SELECT * FROM pg_temp.now;
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, due_at)
    SELECT workflow_key, epoch + 1, 1, 'nap', 'sleep', 'waiting', 'infinity' FROM pawl.workflow WHERE workflow_id = 'd';
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (pg_temp.worker(25), 1, 1, 1, 'running', 'w25', 'h', '1', 'r');
SELECT p.* FROM pawl.claim_workflows(pg_temp.worker(25), 1, '{ship}', '{2}', NULL, true) c,
    pawl.park_workflows(pg_temp.worker(25), ARRAY[c.workflow_key], ARRAY[c.epoch], '{nap}') p;
SELECT * FROM pg_temp.now WHERE workflow_id = 'd';
TRUNCATE pawl.workflow, pawl.workflow_step;

-- Whose it is to run them: the same names, versions and queues as for any claim.
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, workflow_version, pinned, queue_id, started_at, input, crashes)
    SELECT v, n, 'x', 0, nextval('pawl.key_seq'), k, p, coalesce((SELECT queue_id FROM pawl.queue WHERE queue_name = q), 0), now(), '{}', 2
    FROM (VALUES ('other_name', 'bill', 1, false, 'default'), ('newer', 'ship', 3, false, 'default'), ('pinned', 'ship', 1, true, 'default'),
        ('elsewhere', 'ship', 2, false, 'q1')) s (v, n, k, p, q);
UPDATE pawl.worker SET queues = '{default}' WHERE worker_id = :watcher;
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
SELECT workflow_id FROM pawl.claim_workflows(:watcher, 10, '{ship}', '{2}', '{default}', true);
UPDATE pawl.worker SET queues = '{q1,default}' WHERE worker_id = :watcher;
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
SELECT workflow_id, queue FROM pawl.claim_workflows(:watcher, 10, '{ship}', '{2}', '{q1,default}', true);
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
-- An older one that nobody offers any more is this worker's to take over.
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, workflow_version, started_at, input, crashes)
    VALUES ('older', 'ship', 'x', 0, nextval('pawl.key_seq'), 1, now(), '{}', 2);
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (pg_temp.worker(31), 1, 1, 1, 'running', 'w31', 'h', '1', 'r');
INSERT INTO pawl.worker_handler (worker_id, workflow_name, workflow_version, plugin) VALUES (pg_temp.worker(31), 'ship', 1, 'p');
SELECT pawl.mark_offers();
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
SELECT workflow_id, workflow_version FROM pawl.claim_workflows(:watcher, 10, '{ship}', '{2}', NULL, true);
UPDATE pawl.worker SET ended_at = now(), status = 'dead' WHERE worker_id = pg_temp.worker(31);
SELECT pawl.mark_offers();
SELECT workflow_id, workflow_version FROM pawl.claim_workflows(:watcher, 10, '{ship}', '{2}', NULL, true);
-- A held copy has none.
UPDATE pawl.workflow SET claimed_by = NULL;
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
UPDATE pawl.installation SET held_at = now();
SELECT suspects FROM pawl.heartbeat(:watcher, 0, 'running');
SELECT count(*) FROM pawl.claim_workflows(:watcher, 10, '{ship}', '{2}', NULL, true);
UPDATE pawl.installation SET held_at = NULL;
TRUNCATE pawl.workflow;

-- Looking for them reads an index that is nearly always empty, also with a plan of another day.
VACUUM ANALYZE pawl.workflow;
SELECT bool_or(suspects) FROM generate_series(1, 10) i, pawl.heartbeat(:watcher, i * 0, 'running');
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, input) SELECT i, 'ship', 'x', 1, nextval('pawl.key_seq'), '{}' FROM generate_series(1, 5000) i;
BEGIN;
SELECT seq_scan AS scans, coalesce(idx_tup_fetch, 0) AS fetched FROM pg_stat_xact_user_tables WHERE relid = 'pawl.workflow'::regclass \gset
SELECT bool_or(suspects) FROM generate_series(1, 10) i, pawl.heartbeat(:watcher, i * 0, 'running');
SELECT count(*) FROM pawl.claim_workflows(:watcher, 10, '{ship}', '{2}', NULL, true);
SELECT seq_scan - :scans AS seq_scans, coalesce(idx_tup_fetch, 0) - :fetched < 100 AS by_index FROM pg_stat_xact_user_tables WHERE relid = 'pawl.workflow'::regclass;
COMMIT;

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue;
SELECT pawl.mark_offers();
