-- A restored copy holds still until somebody releases it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
CREATE FUNCTION pg_temp.register(n integer) RETURNS TABLE (held boolean, held_reason text) LANGUAGE sql AS $$
    SELECT held, regexp_replace(held_reason, '\d+', 'N', 'g')
    FROM pawl.register_worker(('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}')
$$;
-- The first worker writes down where this is.
SELECT * FROM pg_temp.register(1);
SELECT system_identifier = (SELECT system_identifier FROM pg_control_system()) AS system,
    database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS database, timeline, held_at FROM pawl.installation;
SELECT * FROM pg_temp.register(2);
SELECT pawl.release_hold('nothing to release');

-- Another cluster.
UPDATE pawl.installation SET system_identifier = 1;
SELECT * FROM pg_temp.register(3);
SELECT held FROM pawl.heartbeat('00000000-0000-4000-8000-000000000003', 0, 'running');
-- It stays held, and says why it was held first.
UPDATE pawl.installation SET database_oid = 1;
SELECT * FROM pg_temp.register(4);
SELECT pawl.release_hold('checked by hand');
SELECT held_at, held_reason, released_at IS NOT NULL AS released, released_by = current_user AS by_me, released_reason FROM pawl.installation;
SELECT held FROM pawl.heartbeat('00000000-0000-4000-8000-000000000004', 0, 'running');
SELECT * FROM pg_temp.register(5);

-- Another database.
UPDATE pawl.installation SET database_oid = 1;
SELECT * FROM pg_temp.register(6);
SELECT pawl.release_hold();
-- Another timeline: a failover goes on, an old backup is held.
UPDATE pawl.installation SET timeline = timeline + 1, heartbeat_at = now() - interval '4 minutes', timeline_since = now() - interval '1 day';
SELECT * FROM pg_temp.register(7);
SELECT timeline_since > now() - interval '1 minute' AS just_seen FROM pawl.installation;
UPDATE pawl.installation SET timeline = timeline + 1, heartbeat_at = timestamptz '2026-01-02 03:04:05Z';
SELECT * FROM pg_temp.register(8);
SELECT pawl.release_hold();
-- The heartbeat is written down at most every ten seconds.
UPDATE pawl.installation SET heartbeat_at = now() - interval '9 seconds';
SELECT alive FROM pawl.heartbeat('00000000-0000-4000-8000-000000000008', 0, 'running');
SELECT heartbeat_at < now() - interval '8 seconds' AS kept FROM pawl.installation;
UPDATE pawl.installation SET heartbeat_at = now() - interval '11 seconds';
SELECT alive FROM pawl.heartbeat('00000000-0000-4000-8000-000000000008', 0, 'running');
SELECT heartbeat_at < now() - interval '8 seconds' AS kept FROM pawl.installation;
