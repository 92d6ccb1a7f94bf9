-- Registering, heartbeats, the orderly end, and what each refuses.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''

SELECT worker_number > 0 AS numbered, heartbeat_interval, lease, max_payload, held, held_reason
    FROM pawl.register_worker(:me, 'alpha', 'machine', 4711, '1.0', 1, 10, NULL, '{ship,bill}', '{2,1}', '{shop,shop}');
SELECT worker_name, status, hostname, pid, version, role_name = current_user AS by_me, queues, concurrency, running, protocol FROM pawl.workers;
SELECT workflow_name, workflow_version, worker_name, worker_status, plugin FROM pawl.handlers ORDER BY 1, 2;
SELECT workflow_name FROM pawl.known_handler ORDER BY 1;
-- Its life is an advisory lock of this session.
SELECT count(*) FROM pg_locks l JOIN pawl.workers w ON l.objid = w.worker_number
    WHERE l.locktype = 'advisory' AND l.classid = 1346459468 AND l.pid = pg_backend_pid() AND l.mode = 'ExclusiveLock';

-- The same worker again on the same session replaces its handlers and keeps its number.
SELECT (SELECT worker_number FROM pawl.workers) = worker_number AS same
    FROM pawl.register_worker(:me, 'alpha', 'machine', 4711, '1.0', 1, 20, '{shipping}', '{ship}', '{3}', '{shop}');
SELECT workflow_name, workflow_version FROM pawl.handlers;
SELECT queues, concurrency FROM pawl.workers;

SELECT * FROM pawl.heartbeat(:me, 3, 'draining');
SELECT status, running FROM pawl.workers;
-- Whoever is not heard of for a lease is lost, and offers nothing, before anybody has written that down.
UPDATE pawl.worker SET heartbeat_at = clock_timestamp() - interval '11 seconds';
SELECT status, ended_at FROM pawl.workers;
SELECT count(*) FROM pawl.handlers;
UPDATE pawl.worker SET heartbeat_at = clock_timestamp();
-- The heartbeat does not wait for a standby, and nothing after it in the session is changed.
BEGIN;
SELECT alive FROM pawl.heartbeat(:me, 0, 'running');
SHOW synchronous_commit;
COMMIT;
SHOW synchronous_commit;

-- Another protocol, an unknown worker, wrong arguments.
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '9', 2, 1, NULL, '{}', '{}', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', NULL, 1, NULL, '{}', '{}', '{}');
SELECT * FROM pawl.register_worker(NULL, 'beta', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.register_worker(:other, '', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
SELECT * FROM pawl.register_worker(:other, 'beta', NULL, 1, '1', 1, 1, NULL, '{}', '{}', '{}');
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 0, NULL, '{}', '{}', '{}');
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, NULL, '{a,b}', '{1}', '{p}');
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, NULL, NULL, NULL, NULL);
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, NULL, '{a,a}', '{1,1}', '{p,q}');
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, NULL, '{a}', '{0}', '{p}');
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, NULL, ARRAY[repeat('x', 129)], '{1}', '{p}');
SELECT * FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, '{""}', '{a}', '{1}', '{p}');
SELECT * FROM pawl.heartbeat(:other, 0, 'running');
SELECT * FROM pawl.heartbeat(:me, -1, 'running');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.heartbeat(:me, 0, 'asleep');
SELECT pawl.unregister_worker(:other);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pawl.workers;

-- The orderly end gives the lock up; the incarnation is never taken again.
SELECT pawl.unregister_worker(:me);
SELECT pawl.unregister_worker(:me);
SELECT status, ended_at IS NOT NULL AS ended FROM pawl.workers;
SELECT count(*) FROM pawl.handlers;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1346459468 AND pid = pg_backend_pid();
SELECT alive FROM pawl.heartbeat(:me, 0, 'running');
SELECT * FROM pawl.register_worker(:me, 'alpha', 'machine', 4711, '1.0', 1, 10, NULL, '{}', '{}', '{}');
\echo :LAST_ERROR_SQLSTATE

-- A session is the life line of one worker: a new incarnation on it ends the one before.
SELECT held FROM pawl.register_worker(:other, 'beta', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000003', 'beta', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
SELECT worker_id, status FROM pawl.workers WHERE worker_name = 'beta' ORDER BY 1;
-- Declared dead, it cannot come back, though its session still has the lock.
UPDATE pawl.worker SET status = 'dead', ended_at = now() WHERE worker_id = '00000000-0000-4000-8000-000000000003';
SELECT * FROM pawl.register_worker('00000000-0000-4000-8000-000000000003', 'beta', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
SELECT alive FROM pawl.heartbeat('00000000-0000-4000-8000-000000000003', 0, 'running');
UPDATE pawl.worker SET status = 'running', ended_at = NULL WHERE worker_id = '00000000-0000-4000-8000-000000000003';
-- From another session it cannot be registered again.
\c -
\set SHOW_CONTEXT never
SELECT * FROM pawl.register_worker('00000000-0000-4000-8000-000000000003', 'beta', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
\echo :LAST_ERROR_SQLSTATE

-- Ended over a day ago, a worker is forgotten by the hourly work, and partitions are there again.
UPDATE pawl.worker SET ended_at = now() - interval '25 hours', reclaimed_at = now() WHERE worker_id = :me;
UPDATE pawl.installation SET maintained_at = now() - interval '61 minutes';
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000004', 'gamma', 'machine', 1, '1', 1, 1, NULL, '{}', '{}', '{}');
SELECT count(*) FROM pawl.workers WHERE worker_id = :me;
SELECT alive FROM pawl.heartbeat('00000000-0000-4000-8000-000000000004', 0, 'running');
SELECT count(*) FROM pawl.workers WHERE worker_id = :me;
SELECT maintained_at > now() - interval '1 minute' AS maintained FROM pawl.installation;
