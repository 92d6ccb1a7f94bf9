-- The views: their columns, and that what must be index work is.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;

-- A workflow as a claim leaves it.
CREATE FUNCTION pg_temp.claimed(id text, worker uuid, epoch integer DEFAULT 1) RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, status, claimed_by, claimed_at, started_at, epoch,
        workflow_version, input)
    VALUES (id, 'ship', 'somebody', 1, nextval('pawl.key_seq'), 'running', worker, now(), now(), epoch, 1, '{"order": 1}')
    RETURNING workflow_key
$$;
CREATE FUNCTION pg_temp.keys(VARIADIC ids text[]) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(coalesce((SELECT workflow_key FROM pawl.workflow WHERE workflow_id = i), (SELECT workflow_key FROM pawl.workflow_history
        WHERE workflow_id = i), -1) ORDER BY n) FROM unnest(ids) WITH ORDINALITY u (i, n)
$$;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
-- The columns of the contract, each with a comment.
\a
SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum) AS columns, count(*) FILTER (WHERE col_description(c.oid, a.attnum) IS NULL) AS uncommented
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind = 'v' GROUP BY c.relname ORDER BY 1;
\a
SELECT p.oid::regprocedure AS uncommented FROM pg_proc p WHERE p.pronamespace = 'pawl'::regnamespace AND obj_description(p.oid) IS NULL ORDER BY 1;
SELECT c.oid::regclass AS uncommented FROM pg_class c
    WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') AND obj_description(c.oid) IS NULL ORDER BY 1;

-- Enough rows for a scan to be tempting: 20,000 ended, 2,000 unfinished, two steps each.
SELECT pawl.add_history_partition(now() - interval '1 month') IS NOT NULL AS last_month;
SELECT pawl.add_history_partition(now()) IS NOT NULL AS this_month;
INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status, status_reason,
        workflow_id, workflow_name, enqueued_by, attributes, input, output, error)
    SELECT -i, CASE WHEN i % 100 = 0 THEN 1 - i END, t, t, 1, 0, 0, 0, false, CASE WHEN i % 200 = 0 THEN 'failed' ELSE 'succeeded' END,
        CASE WHEN i % 200 = 0 THEN 'error' END, 'ended-' || i, 'ship', 'x', CASE WHEN i % 10 = 0 THEN jsonb_build_object('customer', i) END, '{}',
        CASE WHEN i % 200 = 0 THEN NULL ELSE '1'::jsonb END, CASE WHEN i % 200 = 0 THEN '{"code": "x"}'::jsonb END
    FROM (SELECT i, date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '10 seconds' * (i - 19000) / 10 AS t FROM generate_series(1, 20000) i) x;
INSERT INTO pawl.workflow (workflow_key, created_at, rank, ready_key, workflow_id, workflow_name, enqueued_by, input)
    SELECT -100000 - i, now(), 1, -i, 'live-' || i, 'ship', 'x', '{}' FROM generate_series(1, 2000) i;
INSERT INTO pawl.workflow_step (workflow_key, created_at, epoch, step_number, step_name, kind, status, output, error)
    SELECT h.workflow_key, h.created_at, 1, n, 'step_' || n, 'step', CASE WHEN h.status = 'failed' AND n = 2 THEN 'failed' ELSE 'succeeded' END,
        CASE WHEN h.status = 'failed' AND n = 2 THEN NULL ELSE '1'::jsonb END, CASE WHEN h.status = 'failed' AND n = 2 THEN '{}'::jsonb END
    FROM pawl.workflow_history h, generate_series(1, 2) n;
VACUUM ANALYZE pawl.workflow, pawl.workflow_history, pawl.workflow_step;
-- The scans in a plan that read a whole table with rows in it.
CREATE FUNCTION pg_temp.scans(query text) RETURNS TABLE (scan text) LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF (SELECT c.reltuples > 100 FROM pg_class c WHERE c.relnamespace = 'pawl'::regnamespace
                AND c.relname = substring(line FROM 'Seq Scan on (\w+)')) THEN
            scan := trim(line);
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflows WHERE status = 'failed' AND created_at > now() - interval '1 month' $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflow_steps WHERE status = 'failed' AND created_at > now() - interval '1 hour' $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflows WHERE workflow_id = 'ended-77' $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflow_steps WHERE workflow_id = 'ended-77' $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflows w JOIN pawl.workflow_steps s USING (workflow_key) WHERE w.workflow_id = 'ended-77' $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflow_steps WHERE workflow_key = -77 $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflows WHERE parent_key = -99 $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflows WHERE attributes @> '{"customer": 420}' $$);
SELECT * FROM pg_temp.scans($$ SELECT * FROM pawl.workflows ORDER BY created_at DESC LIMIT 50 $$);
-- The net has holes of the right size.
SELECT count(*) > 0 AS caught FROM pg_temp.scans($$ SELECT * FROM pawl.workflows WHERE enqueued_by = 'x' $$);
SELECT count(*) FROM pawl.workflows WHERE status = 'failed';
SELECT count(*) FROM pawl.workflow_steps WHERE status = 'failed';
SELECT step_name, status FROM pawl.workflow_steps WHERE workflow_id = 'ended-200' ORDER BY step_number;
SELECT workflow_id, parent_workflow_id FROM pawl.workflows WHERE parent_key = -199;

-- The inspection of payloads is asked for once in a query, not for each row: an InitPlan and never a SubPlan.
CREATE FUNCTION pg_temp.asked_per_row(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    line text; n bigint := 0;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
        IF line ~ 'may_inspect' AND line !~ '^ *Output: pawl\.may_inspect\(\)$' THEN
            n := n + 1;
        END IF;
    END LOOP;
    RETURN n;
END $$;
SELECT pg_temp.asked_per_row('SELECT * FROM pawl.workflows'), pg_temp.asked_per_row('SELECT * FROM pawl.workflow_steps');
SELECT pg_temp.asked_per_row('SELECT pawl.may_inspect() AND workflow_key > 0 FROM pawl.workflow') > 0 AS caught;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step;
