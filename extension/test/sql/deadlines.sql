-- Timeouts, and what a child inherits.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill');
SELECT pawl.create_queue('q1');
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
SELECT held FROM pawl.register_worker(:me, 'w', 'h', 1, '1', 1, 10, NULL, '{ship,bill}', '{1,1}', '{p,p}');
CREATE FUNCTION pg_temp.child(arguments jsonb, name text DEFAULT 'bill') RETURNS TABLE (id text) LANGUAGE sql AS $$
    SELECT c.workflow_id
    FROM pawl.workflow p, pawl.enqueue_child(p.workflow_key, name, arguments) c WHERE p.workflow_id = 'parent'
$$;

-- A timeout counts from the first start, not from the enqueue, and once.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'limited', timeout => '1 hour');
SELECT * FROM pawl.enqueue_workflows('ship', ARRAY['{}', '{}']::jsonb[], workflow_ids => ARRAY['many-1', 'many-2'], timeout => '90 minutes');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'free');
SELECT workflow_id, timeout, deadline_at FROM pawl.workflow ORDER BY 1;
SELECT workflow_id, deadline_in BETWEEN 3500000000 AND 5400000000 AS about, cancel_reason, sql_handler, probation, parent_workflow_id
    FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}') c ORDER BY 1;
SELECT workflow_id, deadline_at - started_at AS allowed FROM pawl.workflow ORDER BY 1;
CREATE TEMP TABLE before AS SELECT workflow_id, deadline_at FROM pawl.workflow;
SELECT count(r.*) FROM pawl.workflow w, pawl.release_workflows(:me, ARRAY[w.workflow_key], ARRAY[1]) r;
SELECT workflow_id, c.deadline_at = b.deadline_at AS the_same FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}') c JOIN before b USING (workflow_id) ORDER BY 1;
-- A deadline that has passed is claimed all the same, and said to have.
SELECT count(r.*) FROM pawl.workflow w, pawl.release_workflows(:me, ARRAY[w.workflow_key], ARRAY[2]) r;
UPDATE pawl.workflow SET deadline_at = now() - interval '1 minute' WHERE workflow_id = 'limited';
UPDATE pawl.workflow SET deadline_at = 'infinity' WHERE workflow_id = 'many-1';
UPDATE pawl.workflow SET cancel_requested_at = now(), cancel_reason = 'request' WHERE workflow_id = 'free';
SELECT workflow_id, deadline_in < -60000000 AS passed, deadline_in IS NULL AS never, cancel_reason FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}') ORDER BY 1;
TRUNCATE pawl.workflow;

-- A child inherits headers, attributes, priority and partition_key; its deadline is at most its parent's.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'parent', priority => 5, partition_key => 'tenant', headers => '{"trace": "t"}', attributes => '{"customer": 42}',
    timeout => '1 hour');
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}');
SELECT id ~ '^[0-9a-f-]{36}$' AS made FROM pg_temp.child('{"input": {"n": 1}}');
SELECT * FROM pg_temp.child('{"workflow_id": "own", "priority": -1, "partition_key": "other", "headers": {}, "attributes": {"a": 1}, "queue": "q1", "timeout": 60,
    "workflow_version": 3, "detached": true, "input": [1]}');
SELECT * FROM pg_temp.child('{"workflow_id": "nulls", "priority": null, "partition_key": null, "headers": null, "attributes": null, "queue": null, "timeout": null,
    "workflow_version": null, "detached": null, "delay": null}');
SELECT * FROM pg_temp.child('{"workflow_id": "later", "delay": 0.000001, "timeout": "2100-01-01T00:00:00Z"}');
SELECT * FROM pg_temp.child('{"workflow_id": "much_later", "delay": 86400}');
SELECT id ~ '^[0-9a-f-]{36}$' AS made FROM pg_temp.child(NULL);
SELECT c.workflow_id = ANY (ARRAY['own', 'nulls', 'later', 'much_later']) AS named, c.workflow_name, c.priority, c.rank, c.partition_key, c.headers, c.attributes,
    q.queue_name, c.timeout, c.deadline_at = p.deadline_at AS capped, c.workflow_version, c.pinned, c.detached, c.input, c.status, c.due_at = c.deadline_at AS due_at_deadline
    FROM pawl.workflow p JOIN pawl.workflow c ON c.parent_key = p.workflow_key LEFT JOIN pawl.queue q ON q.queue_id = c.queue_id
    WHERE p.workflow_id = 'parent' ORDER BY c.workflow_key;
SELECT workflow_id, deadline_at = (SELECT deadline_at FROM pawl.workflow WHERE workflow_id = 'parent') AS capped FROM pawl.workflow WHERE workflow_id = 'much_later';
-- The first claim of a child: the earlier of its own and its parent's.
SELECT workflow_id, parent_workflow_id, deadline_in > 60000000 AS parents, deadline_in BETWEEN 50000000 AND 60000000 AS its_own
    FROM pawl.claim_workflows(:me, 10, '{bill,bill}', '{1,3}') WHERE workflow_id IN ('own', 'nulls') ORDER BY 1;
-- The same id again: the one there is, also when it has ended; another name is an error.
SELECT * FROM pg_temp.child('{"workflow_id": "own"}');
SELECT c.workflow_key = w.workflow_key AS the_same FROM pawl.workflow p, pawl.workflow w, pawl.enqueue_child(p.workflow_key, 'bill', '{"workflow_id": "own"}') c
    WHERE p.workflow_id = 'parent' AND w.workflow_id = 'own';
SELECT r.* FROM pawl.workflow w, pawl.complete_workflows(:me, ARRAY[w.workflow_key], ARRAY[w.epoch], '{succeeded}', '{NULL}', '{1}', '{NULL}') r WHERE workflow_id = 'own';
SELECT c.workflow_key = w.workflow_key AS the_same FROM pawl.workflow p, pawl.workflow_history w, pawl.enqueue_child(p.workflow_key, 'bill', '{"workflow_id": "own"}') c
    WHERE p.workflow_id = 'parent' AND w.workflow_id = 'own';
SELECT * FROM pg_temp.child('{"workflow_id": "own"}', 'ship');
\echo :LAST_ERROR_SQLSTATE
-- A parent that has ended: an orphan still says whose it is, and nothing new is started.
SELECT r.* FROM pawl.workflow w, pawl.complete_workflows(:me, ARRAY[w.workflow_key], ARRAY[w.epoch], '{succeeded}', '{NULL}', '{1}', '{NULL}') r WHERE workflow_id = 'parent';
SELECT count(r.*) FROM pawl.workflow w, pawl.release_workflows(:me, ARRAY[w.workflow_key], ARRAY[1]) r WHERE workflow_id = 'nulls';
SELECT workflow_id, parent_workflow_id FROM pawl.claim_workflows(:me, 10, '{bill,bill}', '{1,3}') WHERE workflow_id = 'nulls';
SELECT c.* FROM pawl.workflow_history p, pawl.enqueue_child(p.workflow_key, 'bill', '{}') c WHERE p.workflow_id = 'parent';
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pawl.workflow, pawl.workflow_history;

-- What cannot be.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'parent') \g /dev/null
SELECT * FROM pg_temp.child('[]');
SELECT * FROM pg_temp.child('{"partition": "x"}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pg_temp.child('{"priority": "high"}');
SELECT * FROM pg_temp.child('{"priority": 1.5}');
SELECT * FROM pg_temp.child('{"workflow_version": 99999999999}');
SELECT * FROM pg_temp.child('{"workflow_id": 7}');
SELECT * FROM pg_temp.child('{"detached": "yes"}');
SELECT * FROM pg_temp.child('{"delay": "soon"}');
SELECT * FROM pg_temp.child('{"delay": -1}');
SELECT * FROM pg_temp.child('{"timeout": 0}');
SELECT * FROM pg_temp.child('{"timeout": true}');
SELECT * FROM pg_temp.child('{"headers": []}');
SELECT * FROM pg_temp.child('{"queue": "nowhere"}');
\echo :LAST_ERROR_SQLSTATE
SET pawl.require_handler = on;
SELECT * FROM pg_temp.child('{}', 'unheard_of');
\echo :LAST_ERROR_SQLSTATE
RESET pawl.require_handler;
SELECT count(*) FROM pawl.workflow;

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue;
