-- What enqueue_workflow writes, for every argument, and that it is the caller's own transaction that writes it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship');
SET client_min_messages = notice;

-- Nothing but a name: the id is a UUIDv7 of now.
SELECT pawl.enqueue_workflow('ship') AS id \gset
SELECT :'id' ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS version_7,
    abs(extract(epoch FROM now()) * 1000 - ('x' || lpad(replace(left(:'id', 13), '-', ''), 16, '0'))::bit(64)::bigint) < 60000 AS of_now;
SELECT workflow_name, workflow_version, queue, status, priority, partition_key, deduplication_id, input, headers, attributes, enqueued_by = current_user AS mine,
    created_at = (SELECT w.created_at FROM pawl.workflow w) AS created, run_at, started_at, wake_at, deadline_at FROM pawl.workflows WHERE workflow_id = :'id';
SELECT rank, ready_key IS NOT NULL AS ready, pinned, queue_id, epoch, claimed_by FROM pawl.workflow WHERE workflow_id = :'id';
-- A thousand of them differ.
SELECT count(DISTINCT pawl.enqueue_workflow('ship')) FROM generate_series(1, 1000);

-- Every argument.
SELECT pawl.create_queue('shipping');
SELECT pawl.enqueue_workflow('ship', '{"order": 42}', workflow_id => 'order-42', on_existing => 'raise', queue => 'shipping', priority => -3,
    deduplication_id => 'customer-7', on_duplicate => 'raise', partition_key => 'tenant-1', workflow_version => 2,
    headers => '{"traceparent": "00-x"}', attributes => '{"customer": 7}', options => '{}');
SELECT workflow_id, workflow_name, workflow_version, queue, status, priority, partition_key, deduplication_id, input, headers, attributes
    FROM pawl.workflows WHERE workflow_id = 'order-42';
SELECT rank, pinned FROM pawl.workflow WHERE workflow_id = 'order-42';
SELECT workflow_id FROM pawl.workflows WHERE attributes @> '{"customer": 7}';
-- The extremes of a priority.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'low', priority => 2147483647), pawl.enqueue_workflow('ship', workflow_id => 'high', priority => -2147483648);
SELECT workflow_id, priority, rank FROM pawl.workflow WHERE workflow_id IN ('low', 'high') ORDER BY rank;

-- Any JSON is an input; null stays the JSON null.
SELECT pawl.enqueue_workflow('ship', input, workflow_id => 'input-' || n)
    FROM (VALUES (1, 'null'::jsonb), (2, '[]'), (3, '"x"'), (4, '1e400'), (5, 'false'), (6, '{"a": {"b": [1, null]}}')) i (n, input);
SELECT workflow_id, input, jsonb_typeof(input) FROM pawl.workflows WHERE workflow_id LIKE 'input-%' ORDER BY 1;
-- Over 2,000 bytes it lives elsewhere, and reads the same. Compressed it may still stay.
SELECT pawl.enqueue_workflow('ship', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 100) i), workflow_id => 'large');
SELECT w.input IS NULL AS moved, p.name, jsonb_array_length(p.value) FROM pawl.workflow w JOIN pawl.payload p USING (workflow_key) WHERE w.workflow_id = 'large';
SELECT jsonb_array_length(input), input ->> 99 = md5('100') AS whole FROM pawl.workflows WHERE workflow_id = 'large';
-- Enqueued again, it is not stored again.
SELECT pawl.enqueue_workflow('ship', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 100) i), workflow_id => 'large');
SELECT count(*) FROM pawl.payload;

-- Later: run_at and delay. What is past runs now, and remembers what was asked.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'at', run_at => '2100-01-01 00:00:00+00');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'in', delay => '1 day');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'never', run_at => 'infinity');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'past', run_at => '2000-01-01 00:00:00+00');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'long-ago', run_at => '-infinity');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'minus', delay => '-1 hour');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'zero', delay => '0');
SELECT workflow_id, w.status, ready_key IS NULL AS not_ready, due_at IS NOT NULL AS due, due_at = run_at AS as_asked FROM pawl.workflow w
    WHERE workflow_id IN ('at', 'in', 'never', 'past', 'long-ago', 'minus', 'zero') ORDER BY 1;
SELECT workflow_id, run_at AT TIME ZONE 'UTC' AS run_at FROM pawl.workflows WHERE workflow_id IN ('at', 'never', 'past', 'long-ago') ORDER BY 1;
SELECT wake_at - clock_timestamp() BETWEEN interval '23 hours 59 minutes' AND interval '1 day' AS tomorrow FROM pawl.workflows WHERE workflow_id = 'in';

-- One transaction with the caller's: rolled back, nothing is there; a savepoint takes back its own.
BEGIN;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'undone');
ROLLBACK;
BEGIN;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'outer');
SAVEPOINT s;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'inner');
SELECT pawl.enqueue_workflow('ship', queue => 'nowhere');
ROLLBACK TO s;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'inner-2');
COMMIT;
SELECT workflow_id FROM pawl.workflows WHERE workflow_id IN ('undone', 'outer', 'inner', 'inner-2') ORDER BY 1;
-- An exception block of plpgsql is a savepoint.
DO $$
BEGIN
    PERFORM pawl.enqueue_workflow('ship', workflow_id => 'kept');
    BEGIN
        PERFORM pawl.enqueue_workflow('ship', workflow_id => 'caught');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        PERFORM pawl.enqueue_workflow('ship', workflow_id => 'handled');
    END;
END $$;
SELECT workflow_id FROM pawl.workflows WHERE workflow_id IN ('kept', 'caught', 'handled') ORDER BY 1;
-- From a function, a cursor, a prepared statement, another isolation level.
CREATE FUNCTION pg_temp.enqueue(id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN pawl.enqueue_workflow('ship', workflow_id => id); END $$;
SELECT pg_temp.enqueue('by-function');
PREPARE e AS SELECT pawl.enqueue_workflow('ship', workflow_id => $1);
EXECUTE e('by-prepared');
EXECUTE e('by-prepared-2');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'by-rr');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'by-serializable');
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT pawl.enqueue_workflow('ship', workflow_id => 'by-cursor');
FETCH c;
COMMIT;
SELECT workflow_id FROM pawl.workflows WHERE workflow_id LIKE 'by-%' ORDER BY 1;

-- Before its queue's cache heard of a queue, and after it was dropped.
SELECT pawl.create_queue('young');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'young-1', queue => 'young');
BEGIN;
SELECT pawl.create_queue('younger');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'younger-1', queue => 'younger');
ROLLBACK;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'younger-2', queue => 'younger');
SELECT workflow_id, queue FROM pawl.workflows WHERE workflow_id LIKE 'young%' ORDER BY 1;

-- A version that no worker offers is worth one NOTICE in a session; so is a name that none ever offered.
SELECT pawl.enqueue_workflow('ship', workflow_version => 7) IS NOT NULL AS enqueued;
SELECT pawl.enqueue_workflow('ship', workflow_version => 7) IS NOT NULL AS enqueued;
SELECT pawl.enqueue_workflow('unheard of') IS NOT NULL AS enqueued;
SELECT pawl.enqueue_workflow('unheard of') IS NOT NULL AS enqueued;
SELECT pawl.enqueue_workflow('unheard of too') IS NOT NULL AS enqueued;
SET pawl.require_handler = on;
SELECT pawl.enqueue_workflow('unheard of');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship') IS NOT NULL AS enqueued;
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'w', 'h', 1, '1', 1, 1, NULL, '{unheard of}', '{1}', '{p}');
SELECT pawl.enqueue_workflow('unheard of') IS NOT NULL AS enqueued;
RESET pawl.require_handler;
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000001');

-- Refused where it cannot be written, before anything is looked at.
BEGIN READ ONLY;
SELECT pawl.enqueue_workflow('ship', queue => 'nowhere');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN READ ONLY;
SELECT pawl.enqueue_workflows('ship', ARRAY['{}'::jsonb]);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT proname, proparallel, provolatile, prosecdef FROM pg_proc
    WHERE pronamespace = 'pawl'::regnamespace AND proname IN ('enqueue_workflow', 'enqueue_workflows', 'enqueue_on_change') ORDER BY 1;
SELECT p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'pawl'::regnamespace AND l.lanname = 'c' AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY 1;

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.payload, pawl.workflow_history, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue;
