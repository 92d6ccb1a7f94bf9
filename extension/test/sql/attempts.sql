-- Attempts of steps: what is retried, how it comes out, and what a cancellation still lets through.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
SET client_min_messages = notice;
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
-- One attempt: with retry_in it is retrying.
CREATE FUNCTION pg_temp.attempt(id text, step text, attempt integer, output jsonb, error jsonb, retry_in bigint, epoch integer DEFAULT 1,
    cancelling boolean DEFAULT false, kind text DEFAULT 'step', number integer DEFAULT 1)
RETURNS TABLE (ordinal integer, refusal text) LANGUAGE sql AS $$
    SELECT * FROM pawl.record_attempts('00000000-0000-4000-8000-000000000001', pg_temp.keys(id), ARRAY[epoch], ARRAY[step], ARRAY[number], ARRAY[kind],
        ARRAY[attempt], ARRAY[output], ARRAY[error], ARRAY[retry_in], ARRAY['2026-01-01 00:00:00+00'::timestamptz + attempt * interval '1 hour'], ARRAY[cancelling])
$$;
CREATE VIEW pg_temp.steps AS
    SELECT w.workflow_id, s.step_name, s.step_number, s.kind, s.status, s.attempts, s.epoch, s.output, s.error ->> 'code' AS code,
        s.started_at - '2026-01-01 00:00:00+00' AS started, s.completed_at IS NOT NULL AS completed, round(extract(epoch FROM s.due_at - now())) AS due
    FROM pawl.workflow_step s JOIN pawl.workflow w USING (workflow_key) ORDER BY w.workflow_id, s.step_name;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
SELECT pg_temp.claimed('one', :me) > 0, pg_temp.claimed('two', :me) > 0, pg_temp.claimed('cancelled', :me) > 0, pg_temp.claimed('with_parent', :me) > 0;

-- Tried, tried again, over: one row, which counts its attempts and keeps when and where it began.
SELECT * FROM pg_temp.attempt('one', 'pay', 1, NULL, '{"code": "first"}', 60000000, number => 3);
SELECT * FROM pg_temp.steps;
SELECT status, attempts, error, completed_at FROM pawl.workflow_steps WHERE workflow_id = 'one';
-- A resend changes nothing, not even when it is due.
SELECT * FROM pg_temp.attempt('one', 'pay', 1, NULL, '{"code": "resent"}', 120000000);
SELECT * FROM pg_temp.attempt('one', 'pay', 2, NULL, '{"code": "second"}', 600000000, number => 7);
SELECT * FROM pg_temp.steps;
-- Another run goes on from there.
UPDATE pawl.workflow SET epoch = 2 WHERE workflow_id = 'one';
SELECT * FROM pg_temp.attempt('one', 'pay', 3, NULL, '{"code": "old run"}', NULL, epoch => 1);
SELECT workflow_key = (pg_temp.keys('one'))[1] AS own, step_number, step_name, kind, status, output, error, attempts,
    due_in BETWEEN 590000000 AND 600000000 AS due
    FROM pawl.get_recorded_steps(:me, pg_temp.keys('one'), '{2}', NULL, NULL, 1000000);
SELECT * FROM pg_temp.attempt('one', 'pay', 3, '"paid"', NULL, NULL, epoch => 2);
SELECT * FROM pg_temp.steps;
SELECT status, attempts, due_in FROM pawl.get_recorded_steps(:me, pg_temp.keys('one'), '{2}', NULL, NULL, 1000000);
-- Over is over: a resend is told, and so is a later run.
SELECT * FROM pg_temp.attempt('one', 'pay', 3, '"paid"', NULL, NULL, epoch => 2);
SELECT * FROM pg_temp.attempt('one', 'pay', 4, NULL, '{"code": "late"}', 1, epoch => 2);
UPDATE pawl.workflow SET epoch = 3 WHERE workflow_id = 'one';
SELECT * FROM pg_temp.attempt('one', 'pay', 3, '"again"', NULL, NULL, epoch => 3);
-- Without a row that is retrying it is a plain insert; the last attempt may fail for good.
SELECT * FROM pg_temp.attempt('one', 'mail', 5, NULL, '{"code": "gave up"}', NULL, epoch => 3);
-- Giving up without a further attempt.
SELECT * FROM pg_temp.attempt('one', 'fax', 2, NULL, '{"code": "busy"}', 1000, epoch => 3);
SELECT * FROM pg_temp.attempt('one', 'fax', 2, NULL, '{"code": "busy"}', NULL, epoch => 3);
-- An attempt of another kind replaces nothing.
SELECT * FROM pg_temp.attempt('one', 'odd', 1, NULL, '{"code": "x"}', 1000, epoch => 3);
SELECT * FROM pg_temp.attempt('one', 'odd', 2, '1', NULL, NULL, epoch => 3, kind => 'transaction');
SELECT * FROM pg_temp.steps;
-- Nor of the same number.
SELECT * FROM pg_temp.attempt('one', 'odd', 1, '1', NULL, NULL, epoch => 3, kind => 'transaction');
-- record_steps does not touch what is retrying.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('one', 'one'), '{3,3}', '{odd,new}', '{1,1}', '{step,step}', '{1,1}', '{NULL,NULL}', '{NULL,NULL}');
-- When it is due, or never.
SELECT * FROM pg_temp.attempt('two', 'past', 1, NULL, '{}', 0);
UPDATE pawl.workflow_step SET due_at = now() - interval '10 seconds' WHERE step_name = 'past';
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status) SELECT workflow_key, 1, 2, 'wait', 'receive', 'waiting'
    FROM pawl.workflow WHERE workflow_id = 'two';
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, due_at) SELECT workflow_key, 1, 3, 'wait_long', 'sleep', 'waiting', 'infinity'
    FROM pawl.workflow WHERE workflow_id = 'two';
SELECT step_name, status, due_in BETWEEN -60000000 AND -10000000 AS past FROM pawl.get_recorded_steps(:me, pg_temp.keys('two'), '{1}', NULL, NULL, 1000000);

-- Many at once: two attempts of one step, a foreign one, and the limit of steps.
SET pawl.max_steps = 5;
SELECT * FROM pawl.record_attempts(:me, pg_temp.keys('two', 'two', 'one', 'two', 'two'), '{1,1,1,1,1}', '{a,a,a,b,c}', '{1,1,1,1,6}',
    '{step,step,step,step,step}', '{1,2,1,2,2}', '{NULL,1,1,2,3}', ARRAY['{}', NULL, NULL, NULL, NULL]::jsonb[], '{1,NULL,NULL,NULL,NULL}',
    '{NULL,NULL,NULL,NULL,NULL}', '{f,f,f,f,f}');
RESET pawl.max_steps;
SELECT step_name, status, attempts, output FROM pg_temp.steps WHERE workflow_id = 'two' AND step_name IN ('a', 'b', 'c');
SELECT * FROM pawl.record_attempts(:me, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');
-- Wrong rows: nothing is recorded.
SELECT * FROM pawl.record_attempts(:me, '{1}', '{1}', '{x}', '{1}', '{step}', '{1}', '{1}', '{NULL}', '{NULL}', '{NULL}', '{}');
SELECT * FROM pg_temp.attempt('two', 'x', 0, '1', NULL, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pg_temp.attempt('two', 'x', 1, '1', NULL, 1000);
SELECT * FROM pg_temp.attempt('two', 'x', 1, NULL, '{}', -1);
SELECT * FROM pg_temp.attempt('two', 'x', 1, NULL, '{}', 9223372036854775807);
SELECT * FROM pg_temp.attempt('two', 'x', 1, NULL, '[]', NULL);
SELECT * FROM pg_temp.attempt('two', 'x', 1, to_jsonb(repeat('x', 1100000)), NULL, NULL);
SELECT count(*) FROM pawl.workflow_step WHERE step_name = 'x';

-- A transaction that ends a step which was tried before.
SELECT * FROM pg_temp.attempt('two', 'reserve', 1, NULL, '{"code": "40001"}', 1000, kind => 'transaction');
SELECT pawl.record_step('two', :me || ':1:9:2', 'reserve', '"reserved"', NULL);
SELECT * FROM pg_temp.steps WHERE step_name = 'reserve';
SELECT pawl.record_step('two', :me || ':1:9:3', 'reserve', '"again"', NULL);
\echo :LAST_ERROR_SQLSTATE
-- Nor does it replace what is of another kind, or a wait.
SELECT * FROM pg_temp.attempt('two', 'b2', 1, NULL, '{}', 1000);
SELECT pawl.record_step('two', :me || ':1:9:2', 'b2', '1', NULL);
SELECT pawl.record_step('two', :me || ':1:9:2', 'wait', '1', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.record_step('two', :me || ':1:10:4', 'fresh', '1', NULL);
SELECT attempts FROM pg_temp.steps WHERE step_name = 'fresh';
SELECT pawl.record_step('two', :me || ':1:10:0', 'x', '1', NULL);
SELECT pawl.record_step('two', :me || ':1:10:1:canceling', 'x', '1', NULL);
\echo :LAST_ERROR_SQLSTATE

-- Cancellation asked for: nothing is recorded any more but what undoes it. What was recorded before is told as such.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('cancelled'), '{1}', '{before}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
UPDATE pawl.workflow SET cancel_requested_at = now(), cancel_reason = 'request', cancelled_by = 'alice', cancel_note = 'The customer called.'
    WHERE workflow_id = 'cancelled';
UPDATE pawl.workflow SET cancel_requested_at = now(), cancel_reason = 'parent' WHERE workflow_id = 'with_parent';
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('cancelled', 'with_parent', 'two', 'cancelled', 'cancelled'), '{1,1,1,1,2}', '{after,after,after,before,fenced}',
    '{2,1,7,1,1}', '{step,step,step,step,step}', '{1,1,1,1,1}', '{NULL,NULL,NULL,NULL,NULL}', '{NULL,NULL,NULL,NULL,NULL}');
SELECT w.workflow_id, s.step_name FROM pawl.workflow_step s JOIN pawl.workflow w USING (workflow_key) WHERE s.step_name IN ('before', 'after') ORDER BY 1, 2;
SELECT * FROM pg_temp.attempt('cancelled', 'x', 2, '1', NULL, NULL);
SELECT * FROM pg_temp.attempt('with_parent', 'x', 2, NULL, '{}', 1000);
SELECT * FROM pg_temp.attempt('cancelled', 'undo', 1, NULL, '{}', 1000, cancelling => true);
SELECT * FROM pg_temp.attempt('cancelled', 'undo', 2, '1', NULL, NULL, cancelling => true);
SELECT step_name, status, attempts FROM pg_temp.steps WHERE workflow_id = 'cancelled';
BEGIN;
SELECT pawl.record_step('cancelled', :me || ':1:3:1', 'x', '1', NULL);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pawl.record_step('cancelled', :me || ':1:3', 'x', '1', NULL);
SELECT pawl.record_step('with_parent', :me || ':1:3', 'x', '1', NULL);
SELECT pawl.record_step('cancelled', :me || ':1:3:1:cancelling', 'undo#2', '1', NULL);
SELECT step_name, kind FROM pg_temp.steps WHERE step_name = 'undo#2';
SELECT pawl.record_step('cancelled', :other || ':1:3:1:cancelling', 'undo#3', '1', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM pawl.workflow_step WHERE step_name = 'x';

-- Outside READ COMMITTED what another recorded meanwhile may be in the way and not to be seen: an error, not an endless loop.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
ROLLBACK;

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step;
