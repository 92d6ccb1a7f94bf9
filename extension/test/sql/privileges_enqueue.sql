-- Who may enqueue what: EXECUTE to call at all, the rules of pawl.grant_access for what may be named; and in whose name it is written.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill');
SELECT pawl.create_queue('shipping');
CREATE ROLE pawl_test_wide;
CREATE ROLE pawl_test_narrow;
CREATE ROLE pawl_test_heir IN ROLE pawl_test_narrow;
CREATE ROLE pawl_test_distant NOINHERIT IN ROLE pawl_test_wide;
CREATE ROLE pawl_test_nobody;
CREATE ROLE pawl_test_login;
GRANT pawl_test_wide, pawl_test_narrow TO pawl_test_login;
SET client_min_messages = notice;

-- Without a grant: no right to the schema; with EXECUTE by hand, no rule.
SET ROLE pawl_test_nobody;
SELECT pawl.enqueue_workflow('ship');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
GRANT USAGE ON SCHEMA pawl TO pawl_test_nobody;
SET ROLE pawl_test_nobody;
SELECT pawl.enqueue_workflow('ship');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

SELECT pawl.grant_access('pawl_test_wide', 'enqueue');
SELECT pawl.grant_access('pawl_test_narrow', 'enqueue', workflow_name => 'ship');
SELECT pawl.grant_access('pawl_test_narrow', 'enqueue', workflow_name => 'bill', queue => 'shipping');
SET ROLE pawl_test_wide;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'wide-1'), pawl.enqueue_workflow('anything', workflow_id => 'wide-2', queue => 'shipping');
-- It reads nothing by that.
SELECT count(*) FROM pawl.workflows;
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pawl.workflow;
SELECT nextval('pawl.key_seq');
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'narrow-1'), pawl.enqueue_workflow('ship', workflow_id => 'narrow-2', queue => 'shipping');
SELECT pawl.enqueue_workflow('bill', workflow_id => 'narrow-3', queue => 'shipping');
SELECT pawl.enqueue_workflow('bill');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('anything');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['{}'::jsonb], ARRAY['narrow-4']);
SELECT * FROM pawl.enqueue_workflows('bill', ARRAY['{}'::jsonb], ARRAY['narrow-5']);
\echo :LAST_ERROR_SQLSTATE
-- Also of what exists: who may not enqueue it does not learn that it is there.
SELECT pawl.enqueue_workflow('anything', workflow_id => 'wide-2');
\echo :LAST_ERROR_SQLSTATE
-- Members have the access of their roles, if they inherit it.
SET ROLE pawl_test_heir;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'heir-1');
SELECT pawl.enqueue_workflow('bill');
\echo :LAST_ERROR_SQLSTATE
SET ROLE pawl_test_distant;
SELECT pawl.enqueue_workflow('ship');
\echo :LAST_ERROR_SQLSTATE
-- One rule that matches is enough.
SET ROLE pawl_test_login;
SELECT pawl.enqueue_workflow('anything', workflow_id => 'login-1');
RESET ROLE;

-- What a session has cached is forgotten when a rule changes, and comes back when that is rolled back.
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('bill');
RESET ROLE;
SELECT pawl.grant_access('pawl_test_narrow', 'enqueue', workflow_name => 'bill');
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('bill', workflow_id => 'narrow-6');
RESET ROLE;
BEGIN;
SELECT pawl.grant_access('pawl_test_narrow', 'enqueue');
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('anything', workflow_id => 'narrow-7');
ROLLBACK;
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('anything');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT pawl.revoke_access('pawl_test_narrow', 'enqueue', workflow_name => 'bill');
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('bill', queue => 'shipping');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
-- A transaction whose snapshot is older than a rule sees the rule, and leaves nothing stale behind.
SELECT pawl.grant_access('pawl_test_narrow', 'enqueue', workflow_name => 'bill');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM pawl.workflow WHERE workflow_name = 'none';
\! psql -qX -c "SELECT pawl.revoke_access('pawl_test_narrow', 'enqueue', workflow_name => 'bill')" pawl_regression
SET LOCAL ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('bill', workflow_id => 'narrow-rr');
ROLLBACK;
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('bill', workflow_id => 'narrow-rr');
RESET ROLE;
-- Membership that changes is seen as well.
GRANT pawl_test_wide TO pawl_test_narrow;
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('anything', workflow_id => 'narrow-8');
RESET ROLE;
REVOKE pawl_test_wide FROM pawl_test_narrow;
SET ROLE pawl_test_narrow;
SELECT pawl.enqueue_workflow('anything');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- A definer's function enqueues with the definer's EXECUTE, in the name of the outer user; its rules are asked of the outer user too.
CREATE FUNCTION pg_temp.by_definer(name text, id text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN pawl.enqueue_workflow(name, workflow_id => id); END $$;
SELECT pg_temp.by_definer('ship', 'definer-1');
SELECT workflow_id, enqueued_by FROM pawl.workflows WHERE workflow_id ~ '^(wide|narrow|heir|login)' ORDER BY 1;
SELECT enqueued_by = current_user AS mine FROM pawl.workflows WHERE workflow_id = 'definer-1';

-- A trigger enqueues with its table owner's right, whoever writes the row.
CREATE TABLE owned (id integer);
ALTER TABLE owned OWNER TO pawl_test_wide;
GRANT INSERT ON owned TO pawl_test_nobody;
CREATE TRIGGER t AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'workflow_id=owned-{id}');
SET ROLE pawl_test_nobody;
INSERT INTO owned VALUES (1);
RESET ROLE;
SELECT workflow_id, enqueued_by FROM pawl.workflows WHERE workflow_id LIKE 'owned-%';
ALTER TABLE owned OWNER TO pawl_test_narrow;
SET ROLE pawl_test_nobody;
INSERT INTO owned VALUES (2);
RESET ROLE;
CREATE TRIGGER u AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('bill', 'workflow_id=bill-{id}');
SET ROLE pawl_test_nobody;
INSERT INTO owned VALUES (3);
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
ALTER TABLE owned OWNER TO pawl_test_nobody;
-- Nor if the owner has no right at all, whoever made the trigger.
INSERT INTO owned VALUES (4);
\echo :LAST_ERROR_SQLSTATE
SELECT workflow_id, enqueued_by FROM pawl.workflows WHERE workflow_id ~ '^(owned|bill)-' ORDER BY 1;

-- After an error inside, the user is the caller again.
SET ROLE pawl_test_wide;
DO $$
BEGIN
    BEGIN
        PERFORM pawl.enqueue_workflow('ship', workflow_id => 'wide-1', on_existing => 'raise');
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE '% as %', SQLSTATE, current_user;
    END;
END $$;
SELECT current_user, session_user <> current_user AS set;
SELECT count(*) FROM pawl.workflow;
RESET ROLE;

-- Payloads.
SELECT pawl.may_inspect();
SET ROLE pawl_test_wide;
SELECT pawl.may_inspect();
RESET ROLE;

DROP TABLE owned;
SET client_min_messages = warning;
DROP OWNED BY pawl_test_wide, pawl_test_narrow, pawl_test_heir, pawl_test_distant, pawl_test_nobody, pawl_test_login;
DROP ROLE pawl_test_wide, pawl_test_narrow, pawl_test_heir, pawl_test_distant, pawl_test_nobody, pawl_test_login;
TRUNCATE pawl.workflow, pawl.access_rule, pawl.known_handler, pawl.queue;
