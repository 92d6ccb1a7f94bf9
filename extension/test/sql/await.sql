-- wait_for_workflow: what it answers, to whom, and where it may be called. That an end wakes it: attacks/awaited.c.
\set SHOW_CONTEXT never
SET statement_timeout = '20 s';
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.signal, pawl.cancel_request;
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'w', 'h', 1, '1', 1, 10, NULL, '{ship,bill}', '{1,1}', '{p,p}');
CREATE FUNCTION finish(id text, status text, reason text, output jsonb, error jsonb) RETURNS bigint LANGUAGE sql AS $$
    WITH c AS (SELECT count(*) FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 10, '{ship,bill}', '{1,1}', NULL)) SELECT count FROM c;
    SELECT count(r.refusal) FROM pawl.workflow w, pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[w.workflow_key], ARRAY[w.epoch],
        ARRAY[finish.status], ARRAY[finish.reason], ARRAY[finish.output], ARRAY[finish.error]) r WHERE w.workflow_id = id $$;

SELECT pawl.enqueue_workflow('ship', workflow_id => 'good'), pawl.enqueue_workflow('ship', workflow_id => 'bad'),
    pawl.enqueue_workflow('ship', workflow_id => 'large'), pawl.enqueue_workflow('ship', workflow_id => 'nothing'),
    pawl.enqueue_workflow('ship', workflow_id => 'later', delay => '1 hour'), pawl.enqueue_workflow('bill', workflow_id => 'open');
-- Zero looks. A time that is over says how far it is.
CALL pawl.wait_for_workflow('good', '0');
CALL pawl.wait_for_workflow('later', '1 ms');
SELECT finish('good', 'succeeded', NULL, '{"a": 1}', NULL), finish('bad', 'failed', 'error', NULL, '{"code": "c", "message": "m"}'),
    finish('large', 'succeeded', NULL, (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 100) i), NULL), finish('nothing', 'succeeded', NULL, 'null', NULL);
SELECT pawl.cancel_workflow('later');
CALL pawl.wait_for_workflow('good');
CALL pawl.wait_for_workflow('bad', '1 minute');
CALL pawl.wait_for_workflow('nothing', NULL);
CALL pawl.wait_for_workflow('open', '0');
CALL pawl.wait_for_workflow('later', '1 minute') \gset
SELECT :'status' AS status, :'error'::jsonb ->> 'code' AS code;
CALL pawl.wait_for_workflow('large') \gset
SELECT jsonb_array_length(:'output') AS length;
DO $$
DECLARE
    status text; output jsonb; error jsonb;
BEGIN
    CALL pawl.wait_for_workflow('good', '1 minute', status, output, error);
    RAISE WARNING '% % %', status, output, error;
END $$;

-- What cannot be.
CALL pawl.wait_for_workflow('nobody', '1 minute');
\echo :LAST_ERROR_SQLSTATE
CALL pawl.wait_for_workflow(NULL);
\echo :LAST_ERROR_SQLSTATE
CALL pawl.wait_for_workflow('');
CALL pawl.wait_for_workflow('good', '-1 s');
\echo :LAST_ERROR_SQLSTATE
BEGIN;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'mine');
CALL pawl.wait_for_workflow('mine', '1 minute');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
CREATE FUNCTION waits() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    status text; output jsonb; error jsonb;
BEGIN
    CALL pawl.wait_for_workflow('good', '1 minute', status, output, error);
END $$;
SELECT waits();
\echo :LAST_ERROR_SQLSTATE
DROP FUNCTION waits;

-- Payloads are for who enqueued it, and who may inspect; others learn that it ended. A narrowed enqueuer waits for what it may enqueue.
CREATE ROLE await_web;
CREATE ROLE await_member IN ROLE await_web;
CREATE ROLE await_observer;
CREATE ROLE await_inspector;
CREATE ROLE await_other;
SELECT pawl.grant_access('await_web', 'enqueue', workflow_name => 'ship'), pawl.grant_access('await_observer', 'observe'),
    pawl.grant_access('await_inspector', 'inspect');
SET ROLE await_web;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'web');
RESET ROLE;
SELECT finish('web', 'succeeded', NULL, '"for the web"', NULL);
SET ROLE await_web;
CALL pawl.wait_for_workflow('web', '1 minute');
CALL pawl.wait_for_workflow('good', '1 minute');
CALL pawl.wait_for_workflow('open', '0');
\echo :LAST_ERROR_SQLSTATE
SET ROLE await_member;
CALL pawl.wait_for_workflow('web', '1 minute');
SET ROLE await_observer;
CALL pawl.wait_for_workflow('web', '1 minute');
CALL pawl.wait_for_workflow('open', '0');
SET ROLE await_inspector;
CALL pawl.wait_for_workflow('web', '1 minute');
CALL pawl.wait_for_workflow('bad', '1 minute');
SET ROLE await_other;
CALL pawl.wait_for_workflow('web', '0');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

SELECT pawl.revoke_access('await_web', 'enqueue', workflow_name => 'ship'), pawl.revoke_access('await_observer', 'observe'),
    pawl.revoke_access('await_inspector', 'inspect');
DROP ROLE await_web, await_member, await_observer, await_inspector, await_other;
DROP FUNCTION finish;
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000001');
TRUNCATE pawl.workflow, pawl.payload, pawl.workflow_history, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue, pawl.signal, pawl.cancel_request;
