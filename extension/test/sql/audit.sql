-- What people do is written down: by whom, what, to which object, and why. What changes nothing is not.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.signal,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.cancel_request, pawl.sql_handler, pawl.audit_entry;
CREATE ROLE regress_operator;
CREATE ROLE regress_clerk;
SET client_min_messages = notice;
SELECT pawl.grant_access('regress_operator', 'operate'), pawl.grant_access('regress_clerk', 'send', workflow_name => 'ship', queue => 'default');
SELECT pawl.grant_access('regress_operator', 'operate');
SELECT pawl.revoke_access('regress_clerk', 'send'), pawl.revoke_access('regress_clerk', 'send');
CREATE FUNCTION public.regress_close(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
SELECT pawl.enqueue_workflow('regress_close', workflow_id => 'a'), pawl.enqueue_workflow('regress_close', workflow_id => 'b', workflow_version => 1);

SET ROLE regress_operator;
SELECT pawl.create_handler('regress_close', 'public.regress_close(jsonb)');
SELECT pawl.create_handler('regress_close', 'public.regress_close(jsonb)', on_existing => 'keep');
SELECT pawl.create_handler('regress_close', 'public.regress_close(jsonb)', on_existing => 'replace');
SELECT pawl.move_workflows('regress_close', 1, 2), pawl.move_workflows('regress_close', 1, 2);
SELECT pawl.cancel_workflow('a', 'the customer left'), pawl.cancel_workflow('a', 'has left');
SELECT pawl.resume_workflow('a', 3, 'is back'), pawl.resume_workflow('a');
SELECT pawl.fork_workflow('a', new_workflow_id => 'a again', input => '7');
SELECT * FROM pawl.cancel_workflows('{b,a}', 'both');
SELECT * FROM pawl.redact_workflows('{b,a again}');
SELECT pawl.delete_workflow('b'), pawl.delete_workflow('a again');
SELECT pawl.drop_handler('regress_close'), pawl.drop_handler('regress_close');
SELECT pawl.release_hold('not held');
RESET ROLE;
-- A copy of another database.
UPDATE pawl.installation SET system_identifier = 1;
SET ROLE regress_operator;
SELECT pawl.release_hold('the old server is off');
RESET ROLE;
-- Rolled back, it was not done.
BEGIN;
SELECT pawl.cancel_workflow('a again');
ROLLBACK;

SELECT role_name = 'regress_operator' AS by_operator, action, object_kind, CASE object_kind WHEN 'database' THEN (object_name = current_database())::text ELSE object_name END,
    reason, detail FROM pawl.audit ORDER BY audit_key;
-- The setting tells why where no argument does, also in a session that has not called any function yet; the transaction ends it.
SELECT pawl.grant_access('regress_operator', 'enqueue');
SELECT max(audit_key) AS last FROM pawl.audit \gset
\c -
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET ROLE regress_operator;
BEGIN;
SET LOCAL pawl.reason = 'ticket 42';
SELECT pawl.create_queue('lane'), pawl.pause_queue('lane'), pawl.resume_queue('lane'), pawl.alter_queue('lane', concurrency => 2), pawl.drop_queue('lane');
SELECT pawl.create_schedule('nightly', '@daily', 'regress_close'), pawl.drop_schedule('nightly');
SELECT pawl.set_retention('regress_close', keep => 10), pawl.set_retention('regress_close');
SELECT pawl.move_workflows('regress_close', 3, 4), pawl.cancel_workflow('a again', 'an argument goes first');
SELECT pawl.fork_workflow('a', new_workflow_id => 'a once more'), pawl.redact_workflow('a again'), pawl.delete_workflow('a again');
COMMIT;
SET pawl.reason = '';
SELECT pawl.cancel_workflow('a once more');
RESET ROLE;
SELECT action, object_name, reason FROM pawl.audit WHERE audit_key > :last ORDER BY audit_key;
SET pawl.reason = 'not needed any more';
SELECT pawl.revoke_access('regress_operator', 'operate');
SELECT action, object_name, reason FROM pawl.audit ORDER BY audit_key DESC LIMIT 1;
RESET pawl.reason;

TRUNCATE pawl.installation, pawl.access_rule;
DROP FUNCTION public.regress_close(jsonb);
DROP OWNED BY regress_operator, regress_clerk;
DROP ROLE regress_operator, regress_clerk;
