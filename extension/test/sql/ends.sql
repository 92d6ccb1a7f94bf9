-- How a run ends: completion, parking, handing back.
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
SELECT pg_temp.claimed(i, :me) > 0 AS claimed FROM unnest('{won,lost,stopped,large,parked,back,never}'::text[]) i;

SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('stopped', 'won', 'lost'), '{1,1,1}', '{cancelled,succeeded,failed}', '{request,NULL,error}',
    '{NULL,"{\"paid\": true}",NULL}', ARRAY[NULL, NULL, '{"code": "declined", "message": "no"}']::jsonb[]);
SELECT workflow_id, status, status_reason, input, output, error, completed_at IS NOT NULL AS completed, worker_id FROM pawl.workflows
    WHERE completed_at IS NOT NULL ORDER BY 1;
SELECT count(*) FROM pawl.workflow WHERE workflow_id IN ('won', 'lost', 'stopped');
-- A large output lives in pawl.payload, and is read all the same; so is a large input.
INSERT INTO pawl.payload SELECT workflow_key, 'input', to_jsonb(repeat('i', 5000)) FROM pawl.workflow WHERE workflow_id = 'large';
UPDATE pawl.workflow SET input = NULL WHERE workflow_id = 'large';
SELECT length(input #>> '{}') FROM pawl.workflows WHERE workflow_id = 'large';
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('large'), '{1}', '{succeeded}', '{NULL}', ARRAY[to_jsonb(repeat('o', 3000))], '{NULL}');
SELECT (SELECT count(*) FROM pawl.payload p WHERE p.workflow_key = h.workflow_key) AS payloads, h.input IS NULL AND h.output IS NULL AS elsewhere
    FROM pawl.workflow_history h WHERE h.workflow_id = 'large';
SELECT length(input #>> '{}') AS input, length(output #>> '{}') AS output FROM pawl.workflows WHERE workflow_id = 'large';
-- A resend is told, also within one call.
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('won', 'never', 'never'), '{1,1,1}', '{succeeded,succeeded,succeeded}', '{NULL,NULL,NULL}',
    '{1,2,3}', '{NULL,NULL,NULL}');
SELECT output FROM pawl.workflows WHERE workflow_id IN ('won', 'never') ORDER BY workflow_id;

-- Wrong rows: nothing of the call is written.
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1,1}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back', 'parked'), '{1,1}', '{succeeded,succeeded}', '{NULL,NULL}', '{1,NULL}', '{NULL,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{succeeded}', '{error}', '{1}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{failed}', '{error}', '{NULL}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{failed}', '{NULL}', '{NULL}', ARRAY['{}'::jsonb]);
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{failed}', '{bored}', '{NULL}', ARRAY['{}'::jsonb]);
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{failed}', '{error}', '{NULL}', '{"[]"}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{done}', '{NULL}', '{1}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{NULL}', '{NULL}', '{1}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('back'), '{1}', '{succeeded}', '{NULL}', ARRAY[to_jsonb(repeat('x', 1100000))], '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, '{}', '{}', '{}', '{}', '{}', '{}');
SELECT workflow_id, status FROM pawl.workflows WHERE workflow_id IN ('back', 'parked') ORDER BY 1;

-- Parked: no worker, no ready key, due when it said; even rank, so that it goes before what never ran.
SELECT ordinal, refusal, status, due_in > 0 AS later FROM pawl.perform_calls(:me, pg_temp.keys('parked'), '{1}', '{nap}', '{1}', '{sleep}',
    ARRAY['{"until": "2099-01-01T00:00:00Z"}'::jsonb], '{NULL}');
SELECT * FROM pawl.park_workflows(:me, pg_temp.keys('nobody', 'parked'), '{1,1}', '{x,sleep}');
SELECT status, worker_id, waiting_for, wake_at AT TIME ZONE 'UTC' AS wake_at FROM pawl.workflows WHERE workflow_id = 'parked';
SELECT ready_key, rank, due_at IS NOT NULL AS due, claimed_by, running_in FROM pawl.workflow WHERE workflow_id = 'parked';
SELECT * FROM pawl.park_workflows(:me, pg_temp.keys('back'), '{1}', '{NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.park_workflows(:me, pg_temp.keys('back'), '{1}', '{a,b}');

-- Handed back: claimable again under a fresh key, not counted as a crash.
SELECT ready_key AS old_key FROM pawl.workflow WHERE workflow_id = 'back' \gset
SELECT * FROM pawl.release_workflows(:me, pg_temp.keys('back', 'parked'), '{1,1}');
SELECT status, rank, ready_key > :old_key AS fresh, claimed_by, recoveries, crashes, epoch FROM pawl.workflow WHERE workflow_id = 'back';
SELECT * FROM pawl.release_workflows(:me, pg_temp.keys('back'), NULL);
SELECT * FROM pawl.release_workflows(:me, '{}', '{}');
-- Negative priorities keep their place.
SELECT pg_temp.claimed('urgent', :me) > 0 AS claimed;
UPDATE pawl.workflow SET priority = -5, rank = -9 WHERE workflow_id = 'urgent';
SELECT * FROM pawl.release_workflows(:me, pg_temp.keys('urgent'), '{1}');
SELECT rank FROM pawl.workflow WHERE workflow_id = 'urgent';
