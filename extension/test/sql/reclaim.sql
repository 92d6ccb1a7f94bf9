-- What becomes of a dead worker's workflows. Sessions that end here are the workers that die.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
CREATE SCHEMA pawl_test;
CREATE FUNCTION pawl_test.claimed(id text, worker uuid, crashes integer DEFAULT 0, step_in_epoch integer DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, priority, rank, ready_key, status, claimed_by, claimed_at, started_at, epoch,
        workflow_version, recoveries, crashes)
    VALUES (id, 'ship', 'somebody', 3, 7, nextval('pawl.key_seq'), 'running', worker, now(), now(), 5, 1, crashes, crashes);
    INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output)
        SELECT workflow_key, step_in_epoch, 1, 'a', 'step', 'succeeded', '1' FROM pawl.workflow WHERE workflow_id = id AND step_in_epoch IS NOT NULL;
$$;
-- Beats until something was reclaimed. After a start of the server only stale heartbeats count for ten seconds.
CREATE PROCEDURE pawl_test.beat_until_reclaimed(worker uuid) LANGUAGE plpgsql AS $$
DECLARE
    got integer;
    deadline timestamptz := clock_timestamp() + interval '60 seconds';
BEGIN
    LOOP
        SELECT reclaimed INTO got FROM pawl.heartbeat(worker, 0, 'running');
        COMMIT;
        EXIT WHEN got > 0;
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'nothing was reclaimed';
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;
    RAISE NOTICE '% reclaimed', got;
END $$;
CREATE PROCEDURE pawl_test.wait_until_gone(worker uuid) LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '60 seconds';
BEGIN
    WHILE EXISTS (SELECT FROM pg_locks l JOIN pawl.worker w ON w.worker_number = l.objid::bigint
            WHERE w.worker_id = worker AND l.locktype = 'advisory' AND l.classid = 1346459468) LOOP
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'the lock is still there';
        END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT pawl_test.claimed('first', :me);
SELECT pawl_test.claimed('second', :me, 1);
-- A step in this run: the count of crashes begins anew. A step of an earlier run: it does not.
SELECT pawl_test.claimed('progress', :me, 2, 5);
SELECT pawl_test.claimed('no_progress', :me, 1, 4);
SELECT pawl_test.claimed('suspect', :me, 2);
-- On probation: only such crashes count.
SELECT pawl_test.claimed('probation', :me, 3), pawl_test.claimed('poison', :me, 4);
UPDATE pawl.workflow SET probation = true WHERE workflow_id IN ('probation', 'poison');
SELECT last_value AS key_before FROM pawl.key_seq \gset

-- The worker is killed.
\c -
\set SHOW_CONTEXT never
CALL pawl_test.wait_until_gone(:me);
SELECT held FROM pawl.register_worker(:other, 'beta', 'machine', 2, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
-- One look at a free lock is not enough.
SELECT status FROM pawl.workers WHERE worker_id = :me;
CALL pawl_test.beat_until_reclaimed(:other);
SELECT status, ended_at IS NOT NULL AS ended FROM pawl.workers WHERE worker_id = :me;
SELECT workflow_id, status, rank, ready_key > :key_before AS fresh_key, claimed_by, epoch, recoveries, crashes, probation, workflow_version
    FROM pawl.workflow ORDER BY 1;
SELECT status, status_reason, recoveries, error - 'detail' AS error, error #- '{detail,worker_id}' -> 'detail' AS detail, worker_id
    FROM pawl.workflows WHERE workflow_id = 'poison';
-- Fenced from then on; a heartbeat tells it that it is dead.
SELECT * FROM pawl.complete_workflows(:me, ARRAY(SELECT workflow_key FROM pawl.workflow WHERE workflow_id = 'first'), '{5}', '{succeeded}', '{NULL}',
    '{1}', '{NULL}');
SELECT alive FROM pawl.heartbeat(:me, 0, 'running');
SELECT alive, reclaimed FROM pawl.heartbeat(:other, 0, 'running');

-- A stale heartbeat is death too, without a second look.
TRUNCATE pawl.workflow;
SELECT pawl_test.claimed('stale', :other);
\c -
\set SHOW_CONTEXT never
UPDATE pawl.worker SET heartbeat_at = now() - interval '9 seconds' WHERE worker_id = :other;
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (:me::uuid, 9, 1, 1, 'running', 'watcher', 'machine', '1', 'x') ON CONFLICT (worker_id) DO UPDATE SET status = 'running', ended_at = NULL,
    reclaimed_at = NULL, heartbeat_at = clock_timestamp();
UPDATE pawl.worker SET heartbeat_at = now() - interval '11 seconds' WHERE worker_id = :other;
SELECT reclaimed FROM pawl.heartbeat(:me, 0, 'running');
SELECT status FROM pawl.workers WHERE worker_id = :other;
SELECT status, recoveries, crashes FROM pawl.workflow;

-- The same process with a new incarnation: the one before is over at once.
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000003', 'gamma', 'machine', 3, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
TRUNCATE pawl.workflow;
SELECT pawl_test.claimed('mine', '00000000-0000-4000-8000-000000000003');
\c -
\set SHOW_CONTEXT never
CALL pawl_test.wait_until_gone('00000000-0000-4000-8000-000000000003');
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000004', 'gamma', 'machine', 3, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT status FROM pawl.workers WHERE worker_id = '00000000-0000-4000-8000-000000000003';
SELECT status, recoveries, crashes FROM pawl.workflow;

-- The orderly end hands back, counts nothing, and clears what was counted.
TRUNCATE pawl.workflow;
SELECT pawl_test.claimed('orderly', '00000000-0000-4000-8000-000000000004', 2);
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000004');
SELECT status, rank, claimed_by, recoveries, crashes FROM pawl.workflow;

-- What belongs to no worker at all is found by the hourly look.
TRUNCATE pawl.workflow;
SELECT pawl_test.claimed('orphan', '00000000-0000-4000-8000-00000000000f');
-- The watcher has no life line: it lives because this says so.
UPDATE pawl.worker SET status = 'running', ended_at = NULL, suspected_at = NULL, heartbeat_at = clock_timestamp() WHERE worker_id = :me;
UPDATE pawl.installation SET maintained_at = now() - interval '2 hours';
SELECT reclaimed FROM pawl.heartbeat(:me, 0, 'running');
SELECT status, recoveries FROM pawl.workflow;

-- pawl.max_recoveries says how many crashes are too many.
TRUNCATE pawl.workflow;
SELECT pawl_test.claimed('once', '00000000-0000-4000-8000-00000000000f', 2);
UPDATE pawl.workflow SET probation = true;
UPDATE pawl.worker SET status = 'running', ended_at = NULL, suspected_at = NULL, heartbeat_at = clock_timestamp() WHERE worker_id = :me;
UPDATE pawl.installation SET maintained_at = now() - interval '2 hours';
SET pawl.max_recoveries = 1;
SELECT reclaimed FROM pawl.heartbeat(:me, 0, 'running');
SELECT status, status_reason FROM pawl.workflows WHERE workflow_id = 'once';
RESET pawl.max_recoveries;
SET client_min_messages = warning;
DROP SCHEMA pawl_test CASCADE;
