-- The months of the history.
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
-- A completion that finds no partition makes it.
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.this_month() RETURNS text LANGUAGE sql AS $$ SELECT 'workflow_history_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') $$;
DO $$ BEGIN EXECUTE format('DROP TABLE IF EXISTS pawl.%I', pg_temp.this_month()); END $$;
SELECT pg_temp.claimed('one', :me) > 0 AS claimed;
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('one'), '{1}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT tableoid::regclass::text = 'pawl.' || pg_temp.this_month() AS in_this_month FROM pawl.workflow_history;
-- Registering makes this month and the next.
DO $$ BEGIN EXECUTE format('DROP TABLE IF EXISTS pawl.%I', 'workflow_history_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')); END $$;
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT to_regclass('pawl.workflow_history_' || to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYY_MM')) IS NOT NULL AS next_month;

-- What a partition is like; it does not matter what the session thinks of dates.
SET timezone = 'Asia/Kolkata';
SET datestyle = 'German';
SELECT pawl.add_history_partition('2031-12-31 23:59:59.999999Z');
SELECT pawl.add_history_partition('2031-12-05 00:00Z');
RESET timezone;
RESET datestyle;
SET timezone = 'UTC';
SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = 'pawl.workflow_history_2031_12'::regclass;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'pawl' AND tablename = 'workflow_history_2031_12' ORDER BY 1;
SELECT conname FROM pg_constraint WHERE conrelid = 'pawl.workflow_history_2031_12'::regclass AND contype <> 'n' ORDER BY 1;
SELECT obj_description('pawl.workflow_history_2031_12'::regclass);
-- It is no member of the extension, so that a dump has it; nobody is granted anything.
SELECT count(*) FROM pg_depend WHERE objid = 'pawl.workflow_history_2031_12'::regclass AND deptype = 'e';
SELECT relacl FROM pg_class WHERE oid = 'pawl.workflow_history_2031_12'::regclass;
-- The parent has neither key nor index.
SELECT count(*) FROM pg_index WHERE indrelid = 'pawl.workflow_history'::regclass;
DROP TABLE pawl.workflow_history_2031_12;
