-- Statistics: exact figures over a known history; what lies before the period does not count.
\set SHOW_CONTEXT never
\set VERBOSITY default
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.queue, pawl.access_rule,
    pawl.installation, pawl.waiter, pawl.signal;
SELECT pawl.invalidate_caches();
\set me '\'00000000-0000-4000-8000-000000000001\''
SELECT pawl.create_queue('mail');
SELECT pawl.add_history_partition(now()), pawl.add_history_partition(now() - interval '2 hours') \g /dev/null
-- Number i waited i seconds and ran 2i seconds; every tenth failed, the twentieths were cancelled instead. Number 101 began too long ago.
CREATE FUNCTION pg_temp.ended(name text, queue integer, i integer, ago interval DEFAULT '1 minute') RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO pawl.workflow_history (workflow_key, created_at, run_at, started_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status,
        workflow_id, workflow_name, enqueued_by)
    SELECT nextval('pawl.key_seq'), e - make_interval(hours => 1, secs => 3 * i), e - make_interval(secs => 3 * i), e - make_interval(secs => 2 * i), e, 1, queue, 0, 0, false,
        CASE WHEN i % 20 = 0 THEN 'cancelled' WHEN i % 10 = 0 THEN 'failed' ELSE 'succeeded' END, name || '-' || queue || '-' || i, name, 'clerk'
    FROM (SELECT now() - ago) n (e) RETURNING workflow_key
$$;
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, attempts, started_at, completed_at)
    SELECT k, 1, n, s.name, 'step', CASE WHEN n = 1 AND i % 10 = 0 THEN 'failed' ELSE 'succeeded' END, CASE WHEN i % 50 = 0 THEN 4 ELSE 1 END,
        now() - make_interval(secs => n * i), now()
    FROM (SELECT i, pg_temp.ended('ship', 0, i) AS k FROM generate_series(1, 100) i OFFSET 0) e,
        unnest('{pack,label#2,charge[42]/reserve#3}'::text[]) WITH ORDINALITY s (name, n);
-- A wait that its workflow's end left open took no time.
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status)
    SELECT pg_temp.ended('ship', (SELECT queue_id FROM pawl.queue), 1), 1, 1, 'approval', 'receive', 'waiting';
SELECT pg_temp.ended('report', 0, 1, '5 minutes'), pg_temp.ended('report', 0, 20, '5 minutes'), pg_temp.ended('ship', 0, 101, '61 minutes') \g /dev/null
SELECT workflow_name, queue, ended, succeeded, failed, cancelled, per_second, error_rate FROM pawl.workflow_statistics();
SELECT workflow_name, queue, waited_p50, waited_p95, waited_p99, ran_p50, ran_p95, ran_p99 FROM pawl.workflow_statistics('1 hour', 'ship');
SELECT workflow_name, ended, per_second FROM pawl.workflow_statistics('2 minutes') ORDER BY ended;
SELECT workflow_name, sum(ended) FROM pawl.workflow_statistics('2 hours') GROUP BY 1 ORDER BY 1;
SELECT * FROM pawl.workflow_statistics('1 hour', 'unknown');
SELECT * FROM pawl.step_statistics('1 hour', 'ship');
SELECT count(*) FROM pawl.step_statistics('30 seconds');
SELECT pawl.workflow_statistics(NULL);
SELECT pawl.step_statistics('0');
SELECT pawl.step_statistics('-1 hour');

-- What could run and does not: neither what runs, nor what is delayed or parked.
SELECT count(*) FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{running}', '{1}', '{shop}');
SELECT pawl.enqueue_workflow('running', workflow_id => 'running'), pawl.enqueue_workflow('ship', workflow_id => 'delayed', delay => '1 day') \g /dev/null
SELECT count(*) FROM pawl.claim_workflows(:me, 1, '{running}', '{1}', NULL);
SELECT pawl.enqueue_workflow('ship', workflow_id => 's' || i) FROM generate_series(1, 3) i \g /dev/null
SELECT pawl.enqueue_workflow('ship', workflow_id => 'm1', queue => 'mail'), pawl.enqueue_workflow('ship', workflow_id => 'm2', queue => 'mail', partition_key => 'tenant') \g /dev/null
UPDATE pawl.workflow SET created_at = now() - interval '1 hour' * substr(workflow_id, 2)::integer WHERE workflow_id ~ '^[sm]\d';
-- It became due only now, however long ago it was enqueued.
UPDATE pawl.workflow SET run_at = now() - interval '1 minute' WHERE workflow_id = 's3';
SELECT queue, workflow_name, waiting, date_trunc('minute', now() - oldest_at) AS wait, oldest_workflow_id FROM pawl.oldest_waiting;

-- For whoever may look, payloads or not.
CREATE ROLE pawl_test_statistics;
SELECT pawl.grant_access('pawl_test_statistics', 'observe');
SET ROLE pawl_test_statistics;
SELECT count(*) FROM pawl.workflow_statistics();
SELECT count(*) FROM pawl.step_statistics();
SELECT count(*) FROM pawl.oldest_waiting;
RESET ROLE;
SELECT pawl.revoke_access('pawl_test_statistics', 'observe');
SET ROLE pawl_test_statistics;
SELECT count(*) FROM pawl.workflow_statistics();
RESET ROLE;
DROP ROLE pawl_test_statistics;
DELETE FROM pawl.workflow;
DELETE FROM pawl.worker;
