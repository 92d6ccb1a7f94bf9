-- Recording steps and reading them.
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

SELECT pg_temp.claimed('one', :me) > 0, pg_temp.claimed('two', :me) > 0, pg_temp.claimed('third', :me) > 0;

-- Several workflows, a success and a failure, in any order.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two', 'one', 'two'), '{1,1,1}', '{pay,pay,ship}', '{1,1,2}', '{step,transaction,step}',
    '{"{\"ok\": true}",NULL,"null"}', ARRAY[NULL, '{"code": "declined", "message": "no"}', NULL]::jsonb[], ARRAY[now(), NULL, now()]);
SELECT workflow_id, step_name, step_number, kind, status, output, error, attempts, completed_at IS NOT NULL AS completed
    FROM pawl.workflow_steps ORDER BY 1, 3;
-- A resend is told, row by row; what is new is recorded all the same.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two', 'two', 'one'), '{1,1,1}', '{pay,more,pay}', '{1,3,1}', '{step,step,step}',
    '{9,9,9}', '{NULL,NULL,NULL}', '{NULL,NULL,NULL}');
SELECT step_name, output FROM pawl.workflow_steps WHERE workflow_id = 'two' ORDER BY step_number;
-- Twice in one call: the first counts.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('one', 'one'), '{1,1}', '{twice,twice}', '{2,2}', '{step,step}', '{1,2}', '{NULL,NULL}', '{NULL,NULL}');
SELECT output FROM pawl.workflow_steps WHERE step_name = 'twice';
-- Recorded by an earlier run: exists.
UPDATE pawl.workflow SET epoch = 2 WHERE workflow_id = 'one';
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('one'), '{2}', '{pay}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
-- The limit of steps.
SET pawl.max_steps = 5;
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two', 'two'), '{1,1}', '{five,six}', '{5,6}', '{step,step}', '{1,1}', '{NULL,NULL}', '{NULL,NULL}');
SELECT pawl.record_step('two', :me || ':1:6', 'six', '1', NULL);
\echo :LAST_ERROR_SQLSTATE
RESET pawl.max_steps;
-- Nothing at all is no error.
SELECT * FROM pawl.record_steps(:me, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');

-- Wrong rows: nothing of the call is recorded.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1,1}', '{x}', '{9}', '{step}', '{1}', '{NULL}', '{NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.record_steps(:me, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two', 'two'), '{1,1}', '{x,""}', '{9,9}', '{step,step}', '{1,1}', '{NULL,NULL}', '{NULL,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', ARRAY[repeat('x', 513)], '{9}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{x}', '{0}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{x}', '{9}', '{NULL}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{x}', '{9}', '{step}', '{NULL}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{x}', '{9}', '{step}', '{1}', ARRAY['{}'::jsonb], '{NULL}');
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{x}', '{9}', '{step}', '{NULL}', '{7}', '{NULL}');
SELECT * FROM pawl.record_steps(:me, ARRAY[NULL::bigint], '{1}', '{x}', '{9}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('two'), '{1}', '{x}', '{9}', '{step}', ARRAY[to_jsonb(repeat('x', 1100000))], '{NULL}', '{NULL}');
SELECT count(*) FROM pawl.workflow_steps WHERE step_name IN ('x', '');

-- A transaction that is a step: both commit, or neither.
CREATE TEMP TABLE effect (n integer);
BEGIN;
INSERT INTO effect VALUES (1);
SELECT pawl.record_step('third', :me || ':1:1', 'reserve', '{"n": 1}', NULL);
ROLLBACK;
SELECT (SELECT count(*) FROM effect) AS effects, count(*) AS steps FROM pawl.workflow_steps WHERE workflow_id = 'third';
BEGIN;
INSERT INTO effect VALUES (1);
SELECT pawl.record_step('third', :me || ':1:1', 'reserve', '{"n": 1}', NULL);
COMMIT;
-- Again: a unique violation, and its effect is undone.
BEGIN;
INSERT INTO effect VALUES (1);
SELECT pawl.record_step('third', :me || ':1:1', 'reserve', '{"n": 1}', NULL);
\echo :LAST_ERROR_SQLSTATE
COMMIT;
-- Without a step number the next is taken; other isolation levels do.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pawl.record_step('third', :me || ':1', 'fail', NULL, '{"code": "x"}');
COMMIT;
SELECT (SELECT count(*) FROM effect) AS effects, step_name, step_number, kind, status, output, error, started_at IS NOT NULL AS started
    FROM pawl.workflow_steps WHERE workflow_id = 'third' ORDER BY step_number;
SELECT pawl.record_step('third', NULL, 'x', '1', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.record_step('third', 'nonsense', 'x', '1', NULL);
SELECT pawl.record_step('third', :me || ':99999999999', 'x', '1', NULL);
SELECT pawl.record_step('third', :me || ':1:0', 'x', '1', NULL);
SELECT pawl.record_step(NULL, :me || ':1', 'x', '1', NULL);
SELECT pawl.record_step('third', :me || ':1', '', '1', NULL);
SELECT pawl.record_step('third', :me || ':1', repeat('x', 513), '1', NULL);
SELECT pawl.record_step('third', :me || ':1', 'x', NULL, NULL);
SELECT pawl.record_step('third', :me || ':1', 'x', '1', '{}');
SELECT pawl.record_step('third', :me || ':1', 'x', NULL, '1');
SELECT pawl.record_step('third', :me || ':1', 'x', to_jsonb(repeat('x', 1100000)), NULL);

-- Reading them a page at a time: in order, each once, an empty page at the end.
TRUNCATE pawl.workflow_step;
SELECT r.* FROM generate_series(1, 7) i, pawl.record_steps(:me, pg_temp.keys('two', 'third'), '{1,1}', ARRAY['s' || i, 's' || i], ARRAY[i, i],
    '{step,step}', ARRAY[to_jsonb(repeat('x', 1000)), to_jsonb(repeat('y', 50000))], '{NULL,NULL}', '{NULL,NULL}') r;
CREATE FUNCTION pg_temp.pages(bytes bigint) RETURNS TABLE (pages integer, steps bigint, distinct_steps bigint, in_order boolean) LANGUAGE plpgsql AS $$
DECLARE
    last_key bigint; last_name text; got record; n integer;
BEGIN
    CREATE TEMP TABLE read (i serial, k bigint, s text);
    pages := 0;
    LOOP
        n := 0;
        FOR got IN SELECT * FROM pawl.get_recorded_steps('00000000-0000-4000-8000-000000000001', pg_temp.keys('third', 'two', 'one'), '{1,1,2}',
            last_key, last_name, bytes) LOOP
            INSERT INTO read (k, s) VALUES (got.workflow_key, got.step_name);
            last_key := got.workflow_key; last_name := got.step_name; n := n + 1;
        END LOOP;
        EXIT WHEN n = 0;
        pages := pages + 1;
    END LOOP;
    SELECT count(*), count(DISTINCT (k, s)), array_agg((k, s) ORDER BY i) = array_agg((k, s) ORDER BY k, s) INTO steps, distinct_steps, in_order FROM read;
    DROP TABLE read;
    RETURN NEXT;
END $$;
SELECT * FROM pg_temp.pages(1);
SELECT * FROM pg_temp.pages(120000);
SELECT * FROM pg_temp.pages(100000000);
SELECT * FROM pawl.get_recorded_steps(:me, '{1,2}', '{1}', NULL, NULL, 1000);
SELECT * FROM pawl.get_recorded_steps(:me, '{1}', '{1}', 1, NULL, 1000);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.get_recorded_steps(:me, '{1}', '{1}', NULL, NULL, NULL);
