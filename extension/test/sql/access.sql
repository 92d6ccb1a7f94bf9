-- grant_access and revoke_access: each access reaches what it lists, and nothing else.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;
CREATE ROLE pawl_test_app;
CREATE ROLE pawl_test_eye;
CREATE ROLE pawl_test_member IN ROLE pawl_test_eye;
CREATE ROLE pawl_test_worker;
-- What a role may do in schema pawl.
CREATE FUNCTION pg_temp.may(role text) RETURNS TABLE (what text) LANGUAGE sql AS $$
    SELECT 'usage' WHERE has_schema_privilege(role, 'pawl', 'USAGE')
    UNION ALL
    SELECT DISTINCT 'execute ' || p.proname FROM pg_proc p WHERE p.pronamespace = 'pawl'::regnamespace AND has_function_privilege(role, p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'table ' || c.relname FROM pg_class c WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        AND has_table_privilege(role, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
    UNION ALL
    SELECT 'sequence ' || c.relname FROM pg_class c WHERE c.relnamespace = 'pawl'::regnamespace
        AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(role, c.oid, 'USAGE, SELECT, UPDATE') ELSE false END
    ORDER BY 1
$$;

-- Nothing for PUBLIC.
SELECT * FROM pg_temp.may('pawl_test_app');
-- The worker protocol, and nothing else.
SELECT pawl.grant_access('pawl_test_worker', 'work');
SELECT * FROM pg_temp.may('pawl_test_worker');
SELECT pawl.grant_access('pawl_test_eye', 'observe');
SELECT * FROM pg_temp.may('pawl_test_member');
SELECT pawl.grant_access('pawl_test_app', 'enqueue');
SELECT * FROM pg_temp.may('pawl_test_app') WHERE what !~ 'enqueue';
SELECT pawl.grant_access('pawl_test_app', 'operate');
SELECT * FROM pg_temp.may('pawl_test_app') WHERE what !~ 'enqueue';
SELECT pawl.grant_access('pawl_test_app', 'send');
SELECT pawl.grant_access('pawl_test_app', 'send', queue => 'default');
SELECT * FROM pawl.access_rule ORDER BY role_name, access, queue_name;
-- Twice is once.
SELECT pawl.grant_access('pawl_test_app', 'send');
SELECT count(*) FROM pawl.access_rule WHERE access = 'send';

-- Payloads: observe reads NULL, inspect reads them; so does a member, and SET ROLE counts.
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, input, progress, attributes)
    VALUES ('secret', 'ship', 'x', 1, nextval('pawl.key_seq'), '{"card": 4711}', '{"half": "card 4711"}', '{"customer": 42}');
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output)
    SELECT workflow_key, 1, 1, 'pay', 'step', 'succeeded', '{"card": 4711}' FROM pawl.workflow;
SET ROLE pawl_test_member;
SELECT workflow_id, input, progress, attributes FROM pawl.workflows;
SELECT workflow_id, step_name, output FROM pawl.workflow_steps;
-- A condition on a payload sees no more than its reader.
SELECT count(*) FROM pawl.workflows WHERE input ->> 'card' = '4711';
SELECT count(w.status), count(h.workflow_name) FROM pawl.workers w FULL JOIN pawl.handlers h USING (worker_id);
SELECT * FROM pawl.workflow;
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.payload;
RESET ROLE;
SELECT pawl.grant_access('pawl_test_eye', 'inspect');
SET ROLE pawl_test_member;
SELECT workflow_id, input, progress FROM pawl.workflows;
SELECT step_name, output FROM pawl.workflow_steps;
RESET ROLE;
SELECT pawl.revoke_access('pawl_test_eye', 'inspect');
SET ROLE pawl_test_member;
SELECT workflow_id, input, progress FROM pawl.workflows;
RESET ROLE;

-- Narrowed: not what concerns more than one workflow.
SELECT pawl.revoke_access('pawl_test_app', 'operate');
SELECT pawl.grant_access('pawl_test_app', 'operate', workflow_name => 'ship');
SELECT * FROM pg_temp.may('pawl_test_app') WHERE what !~ 'enqueue';
-- Taking back one narrowed grant leaves the others; without a narrowing all of them go.
SELECT pawl.grant_access('pawl_test_app', 'operate', workflow_name => 'bill');
SELECT pawl.revoke_access('pawl_test_app', 'operate', workflow_name => 'bill');
SELECT workflow_name FROM pawl.access_rule WHERE access = 'operate';
SELECT pawl.revoke_access('pawl_test_app', 'operate');
SELECT count(*) FROM pawl.access_rule WHERE access = 'operate';
SELECT pawl.revoke_access('pawl_test_app', 'operate');
SELECT pawl.revoke_access('pawl_test_app', 'send');
SELECT pawl.revoke_access('pawl_test_app', 'enqueue');
SELECT * FROM pg_temp.may('pawl_test_app');

-- Grants end with their role, though pawl remembers them by its name: another one of that name has none of them.
CREATE ROLE pawl_test_bob;
SELECT pawl.grant_access('pawl_test_bob', a) FROM unnest('{enqueue,inspect,operate}'::text[]) a;
DROP OWNED BY pawl_test_bob;
DROP ROLE pawl_test_bob;
CREATE ROLE pawl_test_bob;
-- What it has as a member of another role is not widened.
SELECT pawl.grant_access('pawl_test_app', 'enqueue', workflow_name => 'bill'), pawl.grant_access('pawl_test_app', 'operate', workflow_name => 'bill');
GRANT pawl_test_app, pawl_test_eye TO pawl_test_bob;
SET ROLE pawl_test_bob;
SELECT workflow_id, input FROM pawl.workflows WHERE workflow_id = 'secret';
SELECT pawl.enqueue_workflow('ship');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.cancel_workflow('secret');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('bill', workflow_id => 'bill'), pawl.cancel_workflow('bill');
RESET ROLE;
REVOKE pawl_test_app, pawl_test_eye FROM pawl_test_bob;
-- Nor is what it is granted itself.
SELECT pawl.grant_access('pawl_test_bob', 'operate', workflow_name => 'bill'), pawl.grant_access('pawl_test_bob', 'observe');
SELECT access, workflow_name FROM pawl.access_rule WHERE role_name = 'pawl_test_bob' ORDER BY 1;
SET ROLE pawl_test_bob;
SELECT workflow_id, input FROM pawl.workflows WHERE workflow_id = 'secret';
SELECT pawl.cancel_workflow('secret');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
-- What a session has found out before it forgets when they are taken back.
SELECT pawl.grant_access('pawl_test_bob', 'enqueue');
GRANT pawl_test_app TO pawl_test_bob;
SET ROLE pawl_test_bob;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'ship');
RESET ROLE;
DROP OWNED BY pawl_test_bob;
SET ROLE pawl_test_bob;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'ship');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
-- Taking one back does not give back the others.
SELECT pawl.revoke_access('pawl_test_bob', 'observe');
SELECT count(*) FROM pawl.access_rule WHERE role_name = 'pawl_test_bob';
SELECT pawl.revoke_access('pawl_test_app', 'enqueue'), pawl.revoke_access('pawl_test_app', 'operate');
-- One that has lost the schema alone gets back no more than it is granted then.
SELECT pawl.grant_access('pawl_test_bob', 'operate', workflow_name => 'bill');
REVOKE USAGE ON SCHEMA pawl FROM pawl_test_bob;
SELECT pawl.grant_access('pawl_test_bob', 'observe');
SELECT has_function_privilege('pawl_test_bob', 'pawl.cancel_workflow(text,text)', 'EXECUTE');
DROP OWNED BY pawl_test_bob;
DELETE FROM pawl.access_rule WHERE role_name = 'pawl_test_bob';
DROP ROLE pawl_test_bob;

-- Bad arguments.
SELECT pawl.grant_access('pawl_test_nobody', 'work');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.grant_access('public', 'work');
SELECT pawl.grant_access(NULL, 'work');
SELECT pawl.grant_access('pawl_test_app', 'enque');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.grant_access('pawl_test_app', NULL);
SELECT pawl.grant_access('pawl_test_app', 'observe', workflow_name => 'ship');
SELECT pawl.grant_access('pawl_test_app', 'work', queue => 'default');
SELECT pawl.grant_access('pawl_test_app', 'enqueue', workflow_name => '');
SELECT pawl.grant_access('pawl_test_app', 'enqueue', queue => 'nowhere');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.revoke_access('pawl_test_app', 'enque');
SELECT count(*) FROM pawl.access_rule WHERE role_name = 'pawl_test_app';
-- Nobody else can grant.
SET ROLE pawl_test_worker;
SELECT pawl.grant_access('pawl_test_worker', 'inspect');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.mark_all();
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.hand_back('{}', '{}', '{}', '{}');
RESET ROLE;

-- A definer runs no function of its caller: an operator or length() of theirs is not found.
CREATE SCHEMA pawl_test_evil;
CREATE FUNCTION pawl_test_evil.octet_length(text) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END';
CREATE FUNCTION pawl_test_evil.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
GRANT USAGE ON SCHEMA pawl_test_evil TO pawl_test_worker;
SET search_path = pawl_test_evil, pg_catalog;
SET ROLE pawl_test_worker;
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT * FROM pawl.record_steps('00000000-0000-4000-8000-000000000001', '{1}', '{1}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
RESET ROLE;
RESET search_path;
SELECT role_name FROM pawl.workers;
-- Every function of the extension that runs as its owner pins its search_path; PUBLIC may call none.
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'pawl'::regnamespace AND p.prosecdef
    AND NOT ('search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}')));
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'pawl'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE');

SET client_min_messages = warning;
DROP SCHEMA pawl_test_evil CASCADE;
SELECT pawl.revoke_access('pawl_test_eye', 'observe');
SELECT pawl.revoke_access('pawl_test_worker', 'work');
DROP ROLE pawl_test_app, pawl_test_member, pawl_test_eye, pawl_test_worker;
