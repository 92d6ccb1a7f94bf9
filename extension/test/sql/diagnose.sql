-- pawl.diagnose(): a sound database has no findings, and each planted fault is found with what mends it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.sql_handler, pawl.signal, pawl.cancel_request, pawl.schedule;
SELECT pawl.add_history_partition(now()) \g /dev/null
SELECT pawl.add_history_partition(now() + interval '1 month') \g /dev/null
CREATE ROLE pawl_test_daemon;
SELECT pawl.grant_access('pawl_test_daemon', 'work');
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '
-- These clusters run without fsync.
CREATE VIEW pg_temp.found AS SELECT * FROM pawl.diagnose() WHERE object <> 'fsync';
CREATE FUNCTION pg_temp.worker(name text, role text, names text[] = '{}', versions integer[] = '{}', queues text[] = NULL, version text = '1.0')
RETURNS uuid LANGUAGE sql AS $$
    INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name, queues, heartbeat_at)
        VALUES (md5(name)::uuid, 7, 1, 10, 'running', name, 'machine', version, role, queues, clock_timestamp() + interval '1 hour');
    INSERT INTO pawl.worker_handler (worker_id, workflow_name, workflow_version, plugin) SELECT md5(name)::uuid, n, v, 'p' FROM unnest(names, versions) u (n, v);
    SELECT md5(name)::uuid
$$;
CREATE FUNCTION pg_temp.workflow(id text, name text, queue integer = 0, version integer = NULL, pinned boolean = false, age interval = '1 minute')
RETURNS void LANGUAGE sql AS $$
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, queue_id, workflow_version, pinned, created_at, input)
        VALUES (id, name, 'x', 1, nextval('pawl.key_seq'), queue, version, pinned, now() - age, '{}')
$$;

-- Nothing at all, and then one worker and work that it can run.
SELECT * FROM pg_temp.found;
SELECT pg_temp.workflow('w1', 'ship');
SELECT pg_temp.worker('alpha', 'pawl_test_daemon', '{ship,ship}', '{2,3}') \g /dev/null
SELECT * FROM pg_temp.found;

-- Handlers and versions.
SELECT pg_temp.workflow('m' || i, 'bill') FROM generate_series(1, 2) i \g /dev/null
SELECT pg_temp.workflow('on-1', 'ship', version => 1), pg_temp.workflow('pinned-1', 'ship', version => 1, pinned => true),
    pg_temp.workflow('on-4', 'ship', version => 4) \g /dev/null
SELECT * FROM pg_temp.found;
-- An SQL handler is offered by every worker.
INSERT INTO pawl.sql_handler (workflow_name, workflow_version, function_signature, function_owner, search_path, role_name, created_by)
    VALUES ('bill', 1, 'f(jsonb)', 'r', '', 'r', 'r');
SELECT * FROM pg_temp.found WHERE finding = 'missing_handler';
TRUNCATE pawl.sql_handler;
DELETE FROM pawl.workflow WHERE workflow_id <> 'w1';

-- Queues: unserved, limited, without a limit, paused.
INSERT INTO pawl.queue (queue_id, queue_name, concurrency, created_by) VALUES (-1, 'ovens', 2, 'x'), (-2, 'docks', NULL, 'x');
SELECT pg_temp.workflow('q1', 'ship', queue => -1, age => '3 hours'), pg_temp.workflow('q2', 'ship', queue => -2, age => '3 days') \g /dev/null
SELECT * FROM pg_temp.found;
UPDATE pawl.worker SET queues = '{default,ovens}';
SELECT * FROM pg_temp.found;
UPDATE pawl.worker SET queues = NULL;
UPDATE pawl.queue SET paused_at = now() - interval '2 days', paused_by = 'ada', paused_reason = 'a fire';
SELECT * FROM pg_temp.found;
UPDATE pawl.queue SET paused_at = now() - interval '2 hours';
SELECT * FROM pg_temp.found;
DELETE FROM pawl.workflow WHERE workflow_id <> 'w1';
-- One worker has the version, another serves the queue.
UPDATE pawl.queue SET paused_at = NULL;
SELECT pg_temp.worker('beta', 'pawl_test_daemon', '{ship}', '{1}', '{docks}') \g /dev/null
UPDATE pawl.worker SET queues = '{default,ovens}' WHERE worker_name = 'alpha';
SELECT pg_temp.workflow('both', 'ship', queue => -1, version => 1, pinned => true, age => '3 hours') \g /dev/null
SELECT * FROM pg_temp.found;
DELETE FROM pawl.worker WHERE worker_name = 'beta';
UPDATE pawl.worker SET queues = NULL;
DELETE FROM pawl.workflow WHERE workflow_id <> 'w1';
TRUNCATE pawl.queue;

-- Schedules: paused, late, refused, missed, without a handler.
INSERT INTO pawl.schedule (schedule_name, next_at, paused_at, paused_by, missed, missed_at, last_error, cron, timezone, catch_up, jitter, overlap, workflow_name,
        queue_name, input, created_by)
    SELECT n, now() + next, now() + paused, 'ada', missed, CASE WHEN missed > 0 THEN now() - missed * interval '1 hour' END, error, '@daily', 'UTC', '1 hour', '0', 'skip', name, 'default', '{}', 'x'
    FROM (VALUES ('sound', interval '1 hour', NULL, 25, NULL, 'ship'), ('paused', NULL, interval '-3 days', 0, NULL, 'ship'),
        ('late', interval '-5 minutes', NULL, 0, NULL, 'ship'), ('refused', interval '1 hour', NULL, 1, 'queue "gone" does not exist', 'ship'),
        ('unknown', interval '1 hour', NULL, 0, NULL, 'bill')) s (n, next, paused, missed, error, name);
SELECT * FROM pg_temp.found;
DELETE FROM pawl.schedule WHERE schedule_name <> 'sound';

-- Work that is stuck.
SELECT pg_temp.workflow('c1', 'ship', age => '2 days'), pg_temp.workflow('c2', 'ship', age => '2 days'), pg_temp.workflow('r1', 'ship'),
    pg_temp.workflow('s1', 'ship'), pg_temp.workflow('hangs', 'ship', age => '2 days'), pg_temp.workflow('goes', 'ship', age => '2 days'),
    pg_temp.workflow('rests', 'ship', age => '2 days'), pg_temp.workflow('young', 'ship', age => '2 days') \g /dev/null
UPDATE pawl.workflow SET claimed_by = md5('alpha')::uuid, started_at = created_at, status = 'running',
    claimed_at = now() - CASE workflow_id WHEN 'young' THEN interval '50 minutes' ELSE '70 minutes' END
    WHERE workflow_id IN ('c1', 'c2', 'hangs', 'goes', 'rests', 'young');
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, completed_at)
    SELECT workflow_key, 1, 1, 'done', 'step', CASE workflow_id WHEN 'rests' THEN 'waiting' ELSE 'succeeded' END,
        CASE workflow_id WHEN 'goes' THEN now() - interval '50 minutes' WHEN 'hangs' THEN now() - interval '61 minutes' END
    FROM pawl.workflow WHERE workflow_id IN ('hangs', 'goes', 'rests');
UPDATE pawl.workflow SET cancel_requested_at = now() - interval '3 hours' WHERE workflow_id = 'c1';
INSERT INTO pawl.cancel_request (workflow_key, requested_at, cancel_reason, cancelled_by)
    SELECT workflow_key, now() - interval '2 hours', 'request', 'ada' FROM pawl.workflow WHERE workflow_id = 'c2';
INSERT INTO pawl.workflow_step (workflow_key, created_at, epoch, step_number, step_name, kind, status, attempts)
    SELECT workflow_key, now() - interval '2 hours', 1, 1, 'charge', 'step', 'retrying', 120 FROM pawl.workflow WHERE workflow_id = 'r1';
UPDATE pawl.workflow SET crashes = 2 WHERE workflow_id = 's1';
INSERT INTO pawl.signal (workflow_key) SELECT i FROM generate_series(1, 10001) i;
SELECT * FROM pg_temp.found;
DELETE FROM pawl.workflow WHERE workflow_id <> 'w1';
TRUNCATE pawl.signal, pawl.cancel_request, pawl.workflow_step;

DELETE FROM pawl.workflow;
UPDATE pawl.worker SET heartbeat_at = now() - interval '90 seconds';
SELECT finding FROM pg_temp.found;
TRUNCATE pawl.schedule;
SELECT finding FROM pg_temp.found;
UPDATE pawl.worker SET heartbeat_at = now() + interval '1 hour';
SELECT pg_temp.workflow('w1', 'ship') \g /dev/null

-- Workers: none, one that is silent, one whose workflows cannot be handed back, two releases, too powerful, too many.
UPDATE pawl.worker SET heartbeat_at = now() - interval '90 seconds';
SELECT * FROM pg_temp.found;
UPDATE pawl.worker SET ended_at = now(), status = 'dead';
SELECT * FROM pg_temp.found;
SELECT pg_temp.worker('beta', 'pawl_test_daemon', '{ship}', '{3}', version => '1.1') \g /dev/null
SELECT * FROM pg_temp.found;
UPDATE pawl.worker SET ended_at = now() - interval '5 minutes' WHERE worker_name = 'alpha';
SELECT * FROM pg_temp.found;
SELECT worker_number AS number FROM pawl.worker WHERE worker_name = 'alpha' \gset
SELECT pg_advisory_lock(1346459470, :number) \g /dev/null
SELECT cure = format('SELECT pg_terminate_backend(%s);', pg_backend_pid()) AS names_the_holder FROM pg_temp.found;
SELECT pg_advisory_unlock(1346459470, :number) \g /dev/null
UPDATE pawl.worker SET ended_at = NULL, heartbeat_at = now() + interval '1 hour' WHERE worker_name = 'alpha';
SELECT * FROM pg_temp.found;
UPDATE pawl.worker SET version = '1.0';
CREATE ROLE pawl_test_boss SUPERUSER;
UPDATE pawl.worker SET role_name = 'pawl_test_boss' WHERE worker_name = 'beta';
SELECT * FROM pg_temp.found;
UPDATE pawl.worker SET role_name = 'pawl_test_daemon';
DROP ROLE pawl_test_boss;
SELECT count(pg_temp.worker('many ' || i, 'pawl_test_daemon')) FROM generate_series(1, 13) i;
SELECT * FROM pg_temp.found;
DELETE FROM pawl.worker WHERE worker_name <> 'alpha';

-- Held.
INSERT INTO pawl.installation VALUES (true, 1, 1, 1, now(), now(), now(), timestamptz '2026-01-02 03:04:05Z', 'written by another cluster');
SELECT * FROM pg_temp.found;
TRUNCATE pawl.installation;

-- Grants that are gone.
REVOKE EXECUTE ON FUNCTION pawl.claim_workflows, pawl.heartbeat FROM pawl_test_daemon;
CREATE ROLE pawl_test_clerk;
SELECT pawl.grant_access('pawl_test_clerk', 'enqueue', 'ship'), pawl.grant_access('pawl_test_clerk', 'observe') \g /dev/null
REVOKE EXECUTE ON FUNCTION pawl.enqueue_workflow FROM pawl_test_clerk;
REVOKE SELECT ON pawl.queues FROM pawl_test_clerk;
INSERT INTO pawl.access_rule (role_name, access) VALUES ('pawl_test_nobody', 'send');
SELECT * FROM pg_temp.found;
-- The cures are statements.
SELECT string_agg(cure, ' ') AS cures FROM pg_temp.found \gset
:cures
SELECT * FROM pg_temp.found;
-- Whoever observes may ask, and nobody else.
SET ROLE pawl_test_clerk;
SELECT count(*) FROM pawl.diagnose() WHERE object <> 'fsync';
SET ROLE pawl_test_daemon;
SELECT count(*) FROM pawl.diagnose();
RESET ROLE;
SELECT pawl.revoke_access('pawl_test_clerk', 'enqueue'), pawl.revoke_access('pawl_test_clerk', 'observe') \g /dev/null

-- The database: vacuum, sequences, partitions, the extension's version. Times are of the moment.
CREATE FUNCTION pg_temp.database(what text, open_for interval = '15 minutes', dead_rows bigint = 100000)
RETURNS TABLE (severity text, finding text, object text, message text, cure text) LANGUAGE sql AS $$
    SELECT severity, finding, regexp_replace(object, '\d{4}_\d\d', 'MONTH'), regexp_replace(regexp_replace(message, '\d+ second', 'N second'), '\d{4}-\d\d', 'MONTH'),
        regexp_replace(cure, '\d{4}-\d\d-\d\d', 'DAY')
    FROM pawl.diagnose_database(open_for, dead_rows) WHERE finding = what
$$;
BEGIN;
SELECT txid_current() \g /dev/null
PREPARE TRANSACTION 'forgotten';
SELECT count(*) FROM pg_temp.database('prepared_transaction');
SELECT * FROM pg_temp.database('prepared_transaction', open_for => '0');
ROLLBACK PREPARED 'forgotten';
SELECT FROM pg_create_physical_replication_slot('pawl_test_gone', true) \g /dev/null
SELECT * FROM pg_temp.database('unused_slot');
SELECT pg_drop_replication_slot('pawl_test_gone') \g /dev/null
ALTER TABLE pawl.event SET (autovacuum_enabled = off);
SELECT * FROM pg_temp.database('autovacuum_off');
ALTER TABLE pawl.event RESET (autovacuum_enabled);
CREATE TABLE pawl.dead (n integer) WITH (autovacuum_enabled = off);
INSERT INTO pawl.dead SELECT generate_series(1, 200);
DELETE FROM pawl.dead WHERE n > 50;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT count(*) FROM pg_temp.database('vacuum_behind');
SELECT * FROM pg_temp.database('vacuum_behind', dead_rows => 100);
DROP TABLE pawl.dead;
SELECT last_value AS number FROM pawl.worker_number_seq \gset
SELECT setval('pawl.worker_number_seq', 2000000000) \g /dev/null
SELECT * FROM pg_temp.database('sequence_end');
SELECT setval('pawl.worker_number_seq', :number) \g /dev/null
BEGIN;
SELECT format('DROP TABLE pawl.%I', pawl.history_partition_name(now() + interval '1 month')) \gexec
SELECT * FROM pg_temp.database('missing_partition');
UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'pawl';
SELECT * FROM pg_temp.database('extension_version');
ROLLBACK;
ALTER DATABASE :"DBNAME" SET synchronous_commit = off;
ALTER DATABASE :"DBNAME" SET pawl.poll_interval = 0;
\c
SELECT * FROM pawl.diagnose() WHERE object <> 'fsync';
ALTER DATABASE :"DBNAME" RESET synchronous_commit;
ALTER DATABASE :"DBNAME" RESET pawl.poll_interval;
\c
SELECT * FROM pawl.diagnose() WHERE object <> 'fsync';

SELECT pawl.revoke_access('pawl_test_daemon', 'work') \g /dev/null
DROP ROLE pawl_test_daemon, pawl_test_clerk;
TRUNCATE pawl.workflow, pawl.worker, pawl.worker_handler;
