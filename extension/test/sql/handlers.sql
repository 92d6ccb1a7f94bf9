-- Workflows that are one SQL function.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.sql_handler, pawl.signal, pawl.cancel_request;
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
CREATE ROLE pawl_test_worker LOGIN;
CREATE ROLE pawl_test_maker LOGIN;
CREATE ROLE pawl_test_app;
CREATE ROLE pawl_test_mallory LOGIN;
GRANT pawl_test_app TO pawl_test_maker;
SELECT pawl.grant_access('pawl_test_worker', 'work'), pawl.grant_access('pawl_test_maker', 'operate'), pawl.grant_access('pawl_test_mallory', 'operate');
CREATE SCHEMA pawl_test;
GRANT USAGE, CREATE ON SCHEMA pawl_test TO pawl_test_maker, pawl_test_app, pawl_test_mallory;
-- A workflow as a claim leaves it, and its run by the worker.
CREATE FUNCTION pawl_test.claim(id text, name text, input jsonb DEFAULT '{"order": 7}', version integer DEFAULT 1) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, status, claimed_by, claimed_at, started_at, epoch,
        workflow_version, input)
    VALUES (id, name, 'somebody', 1, nextval('pawl.key_seq'), 'running', '00000000-0000-4000-8000-000000000001', now(), now(), 1, version, input)
$$;
CREATE FUNCTION pawl_test.key(id text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT workflow_key FROM pawl.workflow WHERE workflow_id = id $$;
\set run 'SET SESSION AUTHORIZATION pawl_test_worker; SELECT pawl.run_handler(:me, pawl_test.key(:id), 1); RESET SESSION AUTHORIZATION; SELECT status, output, error FROM pawl.workflows WHERE workflow_id = :id;'
GRANT USAGE ON SCHEMA pawl_test TO pawl_test_worker;

-- Who may make one.
SET SESSION AUTHORIZATION pawl_test_maker;
CREATE TABLE pawl_test.ledger (entry text, who text DEFAULT current_user, session text DEFAULT session_user);
GRANT ALL ON pawl_test.ledger TO pawl_test_app;
CREATE FUNCTION pawl_test.close_books(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pawl_test.ledger (entry) VALUES (input ->> 'order');
    RETURN jsonb_build_object('closed', input -> 'order', 'as', current_user);
END $$;
RESET SESSION AUTHORIZATION;
CREATE ROLE pawl_test_nobody LOGIN;
GRANT USAGE ON SCHEMA pawl TO pawl_test_nobody;
SET SESSION AUTHORIZATION pawl_test_nobody;
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_pretty(jsonb)');
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT pawl.grant_access('pawl_test_nobody', 'operate', workflow_name => 'books');
SET SESSION AUTHORIZATION pawl_test_nobody;
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_pretty(jsonb)');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION pawl_test_maker;
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)', role => 'pawl_test_mallory');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)', role => 'pawl_test_nowhere');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)', role => 'postgres');
\echo :LAST_ERROR_SQLSTATE
REVOKE ALL ON FUNCTION pawl_test.close_books(jsonb) FROM PUBLIC;
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)', role => 'pawl_test_app');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION pawl_test_mallory;
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)');
\echo :LAST_ERROR_SQLSTATE
-- A superuser does not lend his rights to whoever owns the function.
RESET SESSION AUTHORIZATION;
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION pawl_test_mallory;
-- A definer function acts with its owner's right, whoever calls it.
CREATE FUNCTION pawl_test.trap() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ SELECT pawl.create_handler('books', 'pg_catalog.jsonb_typeof(jsonb)', role => 'postgres') $$;
RESET SESSION AUTHORIZATION;
SELECT pawl_test.trap();
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION pawl_test_maker;
GRANT EXECUTE ON FUNCTION pawl_test.close_books(jsonb) TO pawl_test_app;
SELECT pawl.create_handler('books', 'pawl_test.close_books(jsonb)', role => 'pawl_test_app');
RESET SESSION AUTHORIZATION;
SELECT * FROM pawl.handlers;
-- What cannot be.
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_typeof(jsonb)');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_typeof(jsonb)', on_existing => 'keep');
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_typeof(jsonb)', on_existing => 'return');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_handler('', 'pg_catalog.jsonb_typeof(jsonb)');
SELECT pawl.create_handler('x', NULL);
SELECT pawl.create_handler('x', 0);
SELECT pawl.create_handler('x', 'pg_catalog.jsonb_typeof(jsonb)', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_handler('x', f) FROM unnest('{pg_catalog.length(text)}'::regprocedure[]) f;
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_handler('x', 'pg_catalog.jsonb_array_elements(jsonb)');
SELECT pawl.create_handler('x', 'pg_catalog.jsonb_agg(anyelement)');
SELECT pawl.create_handler('x', 'pg_catalog.suppress_redundant_updates_trigger()');
CREATE FUNCTION pg_temp.passing(jsonb) RETURNS void LANGUAGE sql AS '';
\set VERBOSITY sqlstate
SELECT pawl.create_handler('x', 'pg_temp.passing(jsonb)'::regprocedure);
\set VERBOSITY default
CREATE PROCEDURE pawl_test.procedure(jsonb) LANGUAGE sql AS '';
SELECT pawl.create_handler('x', 'pawl_test.procedure(jsonb)'::regprocedure);
-- By others: not replaced, not dropped; by whoever may become the maker, and by superusers.
SET SESSION AUTHORIZATION pawl_test_mallory;
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_typeof(jsonb)', on_existing => 'replace');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.drop_handler('books');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.drop_handler('books', 2);
RESET SESSION AUTHORIZATION;

-- It runs as the role, and ends the workflow in the same transaction.
\set id '\'b-1\''
SELECT pawl_test.claim(:id, 'books');
BEGIN;
:run
ROLLBACK;
SELECT count(*) FROM pawl_test.ledger;
SELECT status FROM pawl.workflows WHERE workflow_id = :id;
:run
SELECT * FROM pawl_test.ledger;
SELECT status_reason, worker_id, completed_at IS NOT NULL AS completed FROM pawl.workflows WHERE workflow_id = :id;
-- Fenced, cancelled: nothing runs.
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, 1, 1);
SELECT pawl.run_handler(:me, NULL, 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
\set id '\'b-2\''
SELECT pawl_test.claim(:id, 'books');
UPDATE pawl.workflow SET cancel_requested_at = now(), cancel_reason = 'parent';
:run
UPDATE pawl.workflow SET cancel_requested_at = NULL, cancel_reason = NULL, epoch = 2;
:run
SELECT count(*) FROM pawl_test.ledger;
-- Overtaken, or cancelled, while it ran: what it did is undone.
CREATE FUNCTION pawl_test.lose(input jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pawl_test.ledger (entry) VALUES ('lost');
    UPDATE pawl.workflow SET epoch = epoch + 1 WHERE input = '{"lose": 1}';
    UPDATE pawl.workflow SET cancel_requested_at = now(), cancel_reason = 'request' WHERE input = '{"lose": 2}'
$$;
SELECT pawl.create_handler('lose', 'pawl_test.lose(jsonb)');
\set id '\'l-1\''
SELECT pawl_test.claim(:id, 'lose', '{"lose": 1}');
:run
\set id '\'l-2\''
SELECT pawl_test.claim(:id, 'lose', '{"lose": 2}');
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key('l-1'), 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_handler(:me, pawl_test.key('l-2'), 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM pawl_test.ledger WHERE entry = 'lost';
SELECT workflow_id, status, cancel_requested_at FROM pawl.workflows WHERE workflow_id LIKE 'l-%' ORDER BY 1;

-- Arguments, and what it may return.
CREATE TYPE pawl_test.mood AS ENUM ('fine');
CREATE TYPE pawl_test.pair AS (a integer, b text);
CREATE DOMAIN pawl_test.positive AS integer CHECK (VALUE > 0);
CREATE FUNCTION pawl_test.r1() RETURNS integer LANGUAGE sql AS 'SELECT 42';
CREATE FUNCTION pawl_test.r2(jsonb, text) RETURNS text LANGUAGE sql AS 'SELECT $2 || upper($1 ->> ''order'')';
CREATE FUNCTION pawl_test.r3(jsonb) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION pawl_test.r4(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION pawl_test.r5(jsonb, OUT a integer, OUT b timestamptz) LANGUAGE sql AS 'SELECT 1, ''2026-01-01 00:00:00+00''::timestamptz';
CREATE FUNCTION pawl_test.r6(jsonb) RETURNS pawl_test.pair LANGUAGE plpgsql AS 'BEGIN RETURN (1, ''x''::text); END';
CREATE FUNCTION pawl_test.r7(jsonb) RETURNS pawl_test.mood LANGUAGE sql AS 'SELECT ''fine''::pawl_test.mood';
CREATE FUNCTION pawl_test.r8(jsonb) RETURNS numeric[] LANGUAGE sql AS 'SELECT ARRAY[1.5, 2]';
CREATE FUNCTION pawl_test.r9(jsonb) RETURNS pawl_test.positive LANGUAGE sql AS 'SELECT 3::pawl_test.positive';
CREATE FUNCTION pawl_test.r10(jsonb) RETURNS json LANGUAGE sql AS 'SELECT ''{"b":1, "a":2}''::json';
CREATE FUNCTION pawl_test.r11(jsonb) RETURNS pawl_test.ledger LANGUAGE sql AS 'SELECT ROW(''e'', ''w'', ''s'')::pawl_test.ledger';
CREATE FUNCTION pawl_test.r12(jsonb) RETURNS record LANGUAGE plpgsql AS 'BEGIN RETURN (1, ''x''::text); END';
CREATE FUNCTION pawl_test.r13(jsonb) RETURNS text LANGUAGE sql AS 'SELECT repeat(''x'', 3000)';
CREATE FUNCTION pawl_test.r14(jsonb) RETURNS text LANGUAGE sql AS 'SELECT repeat(''x'', 2000000)';
CREATE FUNCTION pawl_test.r15(jsonb) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''PW001''; END';
CREATE FUNCTION pawl_test.r16(jsonb) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''ABC12''; END';
CREATE FUNCTION pawl_test.r17(jsonb) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE SQLSTATE ''40001''; END';
SELECT count(pawl.create_handler(proname, p.oid)) FROM pg_proc p WHERE pronamespace = 'pawl_test'::regnamespace AND proname ~ '^r[0-9]';
SELECT count(pawl_test.claim(workflow_name, workflow_name, '{"order": "straße"}')) FROM pawl.sql_handler WHERE workflow_name ~ '^r[0-9]';
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT count(pawl.run_handler(:me, pawl_test.key('r' || i), 1)) FROM generate_series(1, 13) i;
SELECT pawl.run_handler(:me, pawl_test.key('r14'), 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_handler(:me, pawl_test.key('r15'), 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_handler(:me, pawl_test.key('r16'), 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_handler(:me, pawl_test.key('r17'), 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT workflow_id, status, left(output::text, 60) AS output FROM pawl.workflows WHERE workflow_id ~ '^r[0-9]' ORDER BY substr(workflow_id, 2)::integer;

-- Every worker runs it without being told, and a plugin's handler of the same name and version comes first.
TRUNCATE pawl.workflow;
SELECT pawl.create_handler('r1', 'pawl_test.r1()', 2);
SELECT pawl.enqueue_workflow('r1', workflow_id => 'newest'), pawl.enqueue_workflow('r1', workflow_id => 'pinned', workflow_version => 1);
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT workflow_id, workflow_version, sql_handler FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}') ORDER BY 1;
SELECT count(*) FROM (SELECT pawl.run_handler(:me, pawl_test.key('newest'), 1), pawl.run_handler(:me, pawl_test.key('pinned'), 1)) r;
RESET SESSION AUTHORIZATION;
SELECT pawl.enqueue_workflow('r1', workflow_id => 'own');
SELECT workflow_id, workflow_version, sql_handler FROM pawl.claim_workflows(:me, 10, '{ship,r1,r1}', '{1,1,2}');
-- Made while a worker is at it: its next claim knows; dropped: it does not any more.
SELECT pawl.enqueue_workflow('late', workflow_id => 'late');
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}');
SELECT pawl.create_handler('late', 'pawl_test.r1()');
SELECT workflow_id, sql_handler FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}');
SELECT pawl.drop_handler('late');
SELECT pawl.enqueue_workflow('late', workflow_id => 'later');
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}');
-- Also in flight, when nobody offers its version.
SELECT pawl_test.claim('old', 'r2', version => 3);
SELECT count(*) FROM pawl.release_workflows(:me, ARRAY[pawl_test.key('old')], '{1}');
SELECT pawl.create_handler('r2', 'pawl_test.r2(jsonb, text)', 5);
SELECT workflow_id, workflow_version, sql_handler FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}');
SELECT pawl.unregister_worker(:me);

-- Attacks. A handler's role against the worker and the next handler: each of these fails, and the next statement of the session is the worker's again.
SET SESSION AUTHORIZATION pawl_test_mallory;
CREATE FUNCTION pawl_test.attack(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE input ->> 'sql';
    RETURN current_user;
END $$;
SELECT pawl.create_handler('attack', 'pawl_test.attack(jsonb)');
RESET SESSION AUTHORIZATION;
CREATE TABLE pawl_test.attempt (n integer, sql text);
INSERT INTO pawl_test.attempt VALUES
    (1, 'RESET ROLE'), (2, 'SET ROLE pawl_test_worker'), (3, 'RESET SESSION AUTHORIZATION'), (4, 'SET SESSION AUTHORIZATION postgres'),
    (5, 'ALTER ROLE pawl_test_mallory SUPERUSER'), (6, 'CREATE TEMPORARY TABLE t (a integer)'),
    (7, 'CREATE FUNCTION pg_temp.f() RETURNS integer LANGUAGE sql AS ''SELECT 1'''),
    (8, 'PREPARE p AS SELECT 1'), (9, 'DEALLOCATE ALL'), (10, 'LISTEN x'), (11, 'DISCARD ALL'), (12, 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'),
    (13, 'SELECT pawl.heartbeat(''00000000-0000-4000-8000-000000000001'', 0, ''running'')'), (14, 'SELECT pawl.set_acting(10)'),
    (15, 'SET SESSION pawl.max_payload = 2048'), (16, 'COMMIT'), (17, 'SELECT * FROM pawl.workflow'),
    (18, 'CREATE DOMAIN pg_temp.uuid AS text CHECK (VALUE <> current_user)');
SELECT count(pawl_test.claim('a-' || n, 'attack', jsonb_build_object('sql', sql))) FROM pawl_test.attempt;
-- One by one, each in a transaction of its own.
CREATE PROCEDURE pawl_test.try(first integer, last integer) LANGUAGE plpgsql AS $$
DECLARE
    state text;
BEGIN
    FOR i IN first .. last LOOP
        BEGIN
            PERFORM pawl.run_handler('00000000-0000-4000-8000-000000000001', pawl_test.key('a-' || i), 1);
            state := 'ran';
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE;
        END;
        RAISE NOTICE '% % % %', i, state, current_user, session_user;
    END LOOP;
END $$;
GRANT EXECUTE ON PROCEDURE pawl_test.try(integer, integer) TO pawl_test_worker;
SET SESSION AUTHORIZATION pawl_test_worker;
CALL pawl_test.try(1, 18);
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM pawl.workflow WHERE workflow_name = 'attack';

-- Settings are undone; so is a search_path.
SELECT pawl_test.claim('s-1', 'attack', '{"sql": "SET search_path = pawl_test_evil, pg_catalog"}');
SELECT pawl_test.claim('s-2', 'attack', '{"sql": "SELECT set_config(''statement_timeout'', ''1'', false), set_config(''datestyle'', ''German'', false)"}');
SELECT pawl_test.claim('s-3', 'attack', '{"sql": "SET TRANSACTION READ ONLY"}');
SET SESSION AUTHORIZATION pawl_test_worker;
SET search_path = pg_catalog;
SELECT pawl.run_handler(:me, pawl_test.key('s-1'), 1);
SELECT pawl.run_handler(:me, pawl_test.key('s-2'), 1);
SELECT pawl.run_handler(:me, pawl_test.key('s-3'), 1);
SHOW search_path;
SHOW statement_timeout;
SHOW datestyle;
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT workflow_id, output FROM pawl.workflows WHERE workflow_id LIKE 's-%' ORDER BY 1;

-- Names in the function mean what they meant to its maker, whatever the session has in its search_path or among its temporary tables.
CREATE SCHEMA pawl_test_evil AUTHORIZATION pawl_test_worker;
GRANT USAGE ON SCHEMA pawl_test_evil TO PUBLIC;
SET SESSION AUTHORIZATION pawl_test_maker;
SET search_path = pawl_test;
CREATE TABLE orders (who text);
GRANT ALL ON orders TO pawl_test_app;
CREATE FUNCTION names(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO orders VALUES (current_user);
    RETURN jsonb_build_object('path', current_setting('search_path'), 'orders', 'orders'::regclass::oid::regclass::text, 'length', length('four'));
END $$;
CREATE FUNCTION names_pinned(jsonb) RETURNS text SET search_path = pg_catalog LANGUAGE sql AS $$ SELECT current_setting('search_path') $$;
SELECT pawl.create_handler('names', 'names(jsonb)', role => 'pawl_test_app'), pawl.create_handler('names_pinned', 'names_pinned(jsonb)');
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT pawl_test.claim('n-1', 'names'), pawl_test.claim('n-2', 'names_pinned');
SET SESSION AUTHORIZATION pawl_test_worker;
CREATE TEMPORARY TABLE orders (who text);
CREATE FUNCTION pg_temp.grab() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''grabbed by %'', current_user; END';
CREATE TRIGGER grab BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pg_temp.grab();
GRANT ALL ON orders TO PUBLIC;
CREATE FUNCTION pawl_test_evil.length(text) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''grabbed by %'', current_user; END';
SET search_path = pawl_test_evil, pg_catalog;
SELECT pawl.run_handler(:me, pawl_test.key('n-1'), 1), pawl.run_handler(:me, pawl_test.key('n-2'), 1);
RESET search_path;
DROP TABLE orders CASCADE;
DROP FUNCTION pg_temp.grab();
RESET SESSION AUTHORIZATION;
SELECT workflow_id, output FROM pawl.workflows WHERE workflow_id LIKE 'n-%' ORDER BY 1;

-- A cast of the result runs as the role, not as the extension's owner.
SET SESSION AUTHORIZATION pawl_test_mallory;
CREATE TYPE pawl_test.e AS ENUM ('a');
CREATE FUNCTION pawl_test.escalate(pawl_test.e) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'ALTER ROLE pawl_test_mallory SUPERUSER';
    RETURN '"superuser"';
EXCEPTION WHEN OTHERS THEN
    RETURN to_json(current_user || ': ' || sqlstate);
END $$;
CREATE CAST (pawl_test.e AS json) WITH FUNCTION pawl_test.escalate(pawl_test.e);
CREATE FUNCTION pawl_test.cast_me(jsonb) RETURNS pawl_test.e LANGUAGE sql AS $$ SELECT 'a'::pawl_test.e $$;
SELECT pawl.create_handler('cast', 'pawl_test.cast_me(jsonb)');
RESET SESSION AUTHORIZATION;
\set id '\'c-1\''
SELECT pawl_test.claim(:id, 'cast');
:run
SELECT rolsuper FROM pg_roles WHERE rolname = 'pawl_test_mallory';

-- Deferred triggers run as the role, before the end of the workflow; what they refuse, the function's error is.
SET SESSION AUTHORIZATION pawl_test_mallory;
CREATE TABLE pawl_test.later (who text);
CREATE TABLE pawl_test.trigger_ran (who text);
GRANT INSERT ON pawl_test.trigger_ran TO PUBLIC;
CREATE FUNCTION pawl_test.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO pawl_test.trigger_ran VALUES (current_user);
    IF NEW.who = 'bad' THEN RAISE EXCEPTION 'refused later' USING ERRCODE = 'check_violation'; END IF;
    RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER fire AFTER INSERT ON pawl_test.later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pawl_test.fire();
RESET SESSION AUTHORIZATION;
SELECT pawl_test.claim('d-1', 'attack', '{"sql": "INSERT INTO pawl_test.later VALUES (''good'')"}'),
    pawl_test.claim('d-2', 'attack', '{"sql": "INSERT INTO pawl_test.later VALUES (''bad'')"}'),
    pawl_test.claim('d-3', 'attack', '{"sql": "SET CONSTRAINTS ALL DEFERRED; INSERT INTO pawl_test.later VALUES (''good'')"}');
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key('d-1'), 1);
SELECT pawl.run_handler(:me, pawl_test.key('d-2'), 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_handler(:me, pawl_test.key('d-3'), 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT * FROM pawl_test.trigger_ran;

-- What it enqueues is the role's, with the role's access and not the worker's; so is what it cancels.
SET SESSION AUTHORIZATION pawl_test_mallory;
CREATE FUNCTION pawl_test.spawn(input jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN pawl.enqueue_workflow(input ->> 'name', workflow_id => input ->> 'id');
END $$;
SELECT pawl.create_handler('spawn', 'pawl_test.spawn(jsonb)');
RESET SESSION AUTHORIZATION;
SELECT pawl.grant_access('pawl_test_mallory', 'enqueue', workflow_name => 'books'), pawl.grant_access('pawl_test_worker', 'enqueue');
SELECT pawl_test.claim('e-1', 'spawn', '{"name": "books", "id": "spawned"}'), pawl_test.claim('e-2', 'spawn', '{"name": "attack", "id": "not spawned"}'),
    pawl_test.claim('e-3', 'attack', '{"sql": "SELECT pawl.cancel_workflow(''spawned'')"}'), pawl_test.claim('e-4', 'spawn', '{"name": "never seen"}');
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key('e-1'), 1);
SELECT pawl.run_handler(:me, pawl_test.key('e-2'), 1);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_handler(:me, pawl_test.key('e-3'), 1);
SELECT pawl.enqueue_workflow('books', workflow_id => 'by the worker');
RESET SESSION AUTHORIZATION;
SELECT workflow_id, enqueued_by, error #>> '{detail,cancelled_by}' AS cancelled_by FROM pawl.workflows WHERE workflow_id IN ('spawned', 'by the worker') ORDER BY 1;
-- A name that only a function runs is a known one: no NOTICE, and pawl.require_handler lets it pass.
SET pawl.require_handler = on;
SELECT pawl.enqueue_workflow('r1', workflow_id => 'known');
SELECT pawl.enqueue_workflow('r0', workflow_id => 'unknown');
RESET pawl.require_handler;

-- Another owner's function of the same name is not run; nor one that the role may not execute any more, or that is gone.
\set id '\'o-1\''
SELECT pawl_test.claim(:id, 'books');
DROP FUNCTION pawl_test.close_books(jsonb);
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key(:id), 1);
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION pawl_test_mallory;
CREATE FUNCTION pawl_test.close_books(jsonb) RETURNS text LANGUAGE sql AS 'SELECT current_user';
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key(:id), 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
ALTER FUNCTION pawl_test.close_books(jsonb) OWNER TO pawl_test_maker;
REVOKE ALL ON FUNCTION pawl_test.close_books(jsonb) FROM PUBLIC;
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key(:id), 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION pawl_test.close_books(jsonb) TO pawl_test_app;
:run
-- A role that became a superuser after the handler was made.
ALTER ROLE pawl_test_app SUPERUSER;
SELECT pawl_test.claim('o-3', 'books');
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key('o-3'), 1);
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
ALTER ROLE pawl_test_app NOSUPERUSER;
-- It is replaced, then dropped, by its maker; the workflow that was claimed meanwhile is handed back.
SET SESSION AUTHORIZATION pawl_test_maker;
SELECT pawl.create_handler('books', 'pg_catalog.jsonb_typeof(jsonb)', on_existing => 'replace');
RESET SESSION AUTHORIZATION;
SELECT function_signature, role_name, created_by FROM pawl.sql_handler WHERE workflow_name = 'books';
\set id '\'o-2\''
SELECT pawl_test.claim(:id, 'books');
SET SESSION AUTHORIZATION pawl_test_maker;
SELECT pawl.drop_handler('books'), pawl.drop_handler('books');
SET SESSION AUTHORIZATION pawl_test_worker;
SELECT pawl.run_handler(:me, pawl_test.key(:id), 1);
RESET SESSION AUTHORIZATION;
SELECT status, claimed_by, workflow_version FROM pawl.workflow WHERE workflow_id = :id;

-- As the session's own role nothing is to be protected, and more is possible.
CREATE FUNCTION pawl_test.temporary(jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMPORARY TABLE scratch ON COMMIT DROP AS SELECT 1;
    RETURN (SELECT count(*) FROM scratch);
END $$;
SELECT pawl.create_handler('temporary', 'pawl_test.temporary(jsonb)', role => 'pawl_test_worker');
GRANT TEMPORARY ON DATABASE pawl_regression TO pawl_test_worker;
\set id '\'t-1\''
SELECT pawl_test.claim(:id, 'temporary');
:run

SET client_min_messages = warning;
TRUNCATE pawl.sql_handler, pawl.workflow;
DROP SCHEMA pawl_test_evil CASCADE;
DROP SCHEMA pawl_test CASCADE;
SELECT pawl.revoke_access(r, 'operate') FROM unnest('{pawl_test_maker,pawl_test_mallory,pawl_test_nobody}'::name[]) r;
SELECT pawl.revoke_access('pawl_test_mallory', 'enqueue'), pawl.revoke_access('pawl_test_worker', 'enqueue'), pawl.revoke_access('pawl_test_worker', 'work');
REVOKE TEMPORARY ON DATABASE pawl_regression FROM pawl_test_worker;
REVOKE USAGE ON SCHEMA pawl FROM pawl_test_nobody;
DROP ROLE pawl_test_worker, pawl_test_maker, pawl_test_app, pawl_test_mallory, pawl_test_nobody;
