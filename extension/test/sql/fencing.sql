-- A worker that was overtaken writes nothing, by any function of the protocol.
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

SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT pg_temp.claimed('kept', :me) > 0, pg_temp.claimed('lost', :me, 1) > 0;
-- `lost` was reclaimed, and another run of it has begun.
UPDATE pawl.workflow SET claimed_by = :other, epoch = 2 WHERE workflow_id = 'lost';
CREATE TEMP TABLE before AS SELECT * FROM pawl.workflow WHERE workflow_id = 'lost';

SELECT * FROM pawl.record_steps(:me, pg_temp.keys('lost', 'kept'), '{1,1}', '{a,a}', '{1,1}', '{step,step}', '{1,1}', '{NULL,NULL}', '{NULL,NULL}');
SELECT pawl.record_step('lost', :me || ':1:2', 'b', '1', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.park_workflows(:me, pg_temp.keys('lost'), '{1}', '{sleep}');
SELECT * FROM pawl.perform_calls(:me, pg_temp.keys('lost'), '{1}', '{c}', '{1}', '{set_event}', '{"{\"key\": \"e\"}"}', '{NULL}');
SELECT * FROM pawl.emit_values(:me, pg_temp.keys('lost'), '{1}', '{progress}', '{"{\"value\": 1}"}');
SELECT * FROM pawl.continue_workflows(:me, pg_temp.keys('lost'), '{1}', '{1}');
SELECT * FROM pawl.release_workflows(:me, pg_temp.keys('lost'), '{1}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('lost'), '{1}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT * FROM pawl.get_recorded_steps(:me, pg_temp.keys('lost'), '{1}', NULL, NULL, 1000);
-- The epoch alone is not enough, nor is the worker alone.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('lost'), '{2}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:other, pg_temp.keys('lost'), '{1}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('lost'), '{2}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:other, pg_temp.keys('lost'), '{1}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT pawl.record_step('lost', :me || ':2', 'b', '1', NULL);
SELECT pawl.record_step('lost', :other || ':1', 'b', '1', NULL);
SELECT pawl.record_step('nobody', :other || ':1', 'b', '1', NULL);
-- Nothing was written.
SELECT count(*) FROM pawl.workflow_steps WHERE workflow_id = 'lost';
SELECT count(*) FROM (SELECT * FROM pawl.workflow WHERE workflow_id = 'lost' EXCEPT SELECT * FROM before) changed;

-- The new owner writes.
SELECT * FROM pawl.record_steps(:other, pg_temp.keys('lost'), '{2}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:other, pg_temp.keys('lost'), '{2}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT status FROM pawl.workflows WHERE workflow_id = 'lost';
-- After the end the old one is fenced as well; the one who ended it is told that it did, in both.
SELECT * FROM pawl.record_steps(:me, pg_temp.keys('lost'), '{1}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:other, pg_temp.keys('lost'), '{2}', '{a}', '{1}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.record_steps(:other, pg_temp.keys('lost'), '{2}', '{new}', '{2}', '{step}', '{1}', '{NULL}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:me, pg_temp.keys('lost'), '{1}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT * FROM pawl.complete_workflows(:other, pg_temp.keys('lost'), '{2}', '{succeeded}', '{NULL}', '{1}', '{NULL}');
SELECT pawl.record_step('lost', :other || ':2', 'b', '1', NULL);
