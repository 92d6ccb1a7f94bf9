-- A plan made while the queue was empty serves a deep one: each batch reads its own rows, and not the table or a whole index.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;
SET pawl_test.worker = '00000000-0000-4000-8000-000000000001';
SELECT pawl.add_history_partition(now()) IS NOT NULL AS this_month;
VACUUM ANALYZE pawl.workflow;
VACUUM ANALYZE pawl.workflow_step, pawl.message, pawl.event, pawl.signal, pawl.waiter;
CREATE FUNCTION pg_temp.keys(n integer) RETURNS bigint[] LANGUAGE sql AS $$ SELECT array_agg(-i::bigint) FROM generate_series(n * 100 + 1, n * 100 + 100) i $$;
-- One batch of a hundred through each function.
CREATE FUNCTION pg_temp.batch(n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    me uuid := current_setting('pawl_test.worker');
    keys bigint[] := pg_temp.keys(n);
    epochs integer[] := array_fill(1, ARRAY[100]);
    nothing jsonb[] := array_fill(NULL::jsonb, ARRAY[100]);
    one jsonb[] := array_fill('1'::jsonb, ARRAY[100]);
BEGIN
    PERFORM pawl.record_steps(me, keys, epochs, array_fill('second'::text, ARRAY[100]), array_fill(2, ARRAY[100]), array_fill('step'::text, ARRAY[100]),
        one, nothing, array_fill(NULL::timestamptz, ARRAY[100]));
    PERFORM pawl.get_recorded_steps(me, keys, epochs, NULL, NULL, 1000000);
    PERFORM pawl.complete_workflows(me, keys[1:50], epochs[1:50], array_fill('succeeded'::text, ARRAY[50]), array_fill(NULL::text, ARRAY[50]), one[1:50],
        nothing[1:50]);
    PERFORM pawl.perform_calls(me, keys[51:80], epochs[51:80], array_fill('wait'::text, ARRAY[30]), array_fill(3, ARRAY[30]),
        array_fill('receive'::text, ARRAY[30]), array_fill('{}'::jsonb, ARRAY[30]), array_fill(NULL::timestamptz, ARRAY[30]));
    PERFORM pawl.perform_calls(me, keys[81:90], epochs[81:90], array_fill('told'::text, ARRAY[10]), array_fill(3, ARRAY[10]),
        array_fill('set_event'::text, ARRAY[10]), array_fill('{"key": "e", "value": 1}'::jsonb, ARRAY[10]), array_fill(NULL::timestamptz, ARRAY[10]));
    PERFORM pawl.emit_values(me, keys[81:90], epochs[81:90], array_fill('progress'::text, ARRAY[10]), array_fill('{"value": 1}'::jsonb, ARRAY[10]));
    PERFORM pawl.park_workflows(me, keys[51:70], epochs[51:70], array_fill('x'::text, ARRAY[20]));
    PERFORM pawl.signal_workflows(keys[51:60]);
    PERFORM pawl.take_signals(me);
    PERFORM pawl.continue_workflows(me, keys[71:72], epochs[71:72], one[71:72]);
    PERFORM pawl.release_workflows(me, keys[71:90], epochs[71:90]);
    PERFORM pawl.hand_back(keys[91:100], array_fill(me, ARRAY[10]), epochs[91:100], array_fill(true, ARRAY[10]));
END $$;
-- Often enough for the plans to be kept.
SELECT count(*) FROM generate_series(1, 8) i, pg_temp.batch(i);
INSERT INTO pawl.workflow (workflow_key, workflow_id, workflow_name, enqueued_by, rank, ready_key, status, claimed_by, claimed_at, epoch, input)
    SELECT -i, 'w' || i, 'ship', 'x', 1, -i, 'running', current_setting('pawl_test.worker')::uuid, now(), 1, '{}' FROM generate_series(1, 10000) i;
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output)
    SELECT -i, 1, 1, 'first', 'step', 'succeeded', '1' FROM generate_series(1, 10000) i;
-- How many entries the indexes and scans of both tables returned.
BEGIN;
CREATE FUNCTION pg_temp.read() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_tuples_returned(c.oid)) FROM pg_class c
    WHERE c.oid IN ('pawl.workflow'::regclass, 'pawl.workflow_step'::regclass)
        OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN ('pawl.workflow'::regclass, 'pawl.workflow_step'::regclass))
$$;
SELECT pg_temp.read() AS before \gset
SELECT pg_temp.batch(42);
SELECT pg_temp.read() - :before < 3000 AS few_read;
-- The measure measures.
SELECT pg_temp.read() AS before \gset
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM pawl.workflow WHERE workflow_key < 0 AND claimed_by IS NOT NULL;
SELECT pg_temp.read() - :before > 9000 AS caught;
COMMIT;
SELECT status, count(*) FROM pawl.workflows WHERE workflow_key BETWEEN -4300 AND -4201 GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM pawl.workflow_step WHERE step_name = 'second';
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step, pawl.event, pawl.signal;
