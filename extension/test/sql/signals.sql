-- Signals: what wakes parked workflows, tells running ones, and is left for another time. Parking and continuing as new.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.message, pawl.event, pawl.stream_entry, pawl.closed_stream, pawl.waiter, pawl.signal,
    pawl.cancel_request;
SELECT pawl.invalidate_caches();
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT held FROM pawl.register_worker(:other, 'beta', 'machine', 2, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
CREATE FUNCTION pg_temp.call(id text, step text, kind text, arguments jsonb DEFAULT '{}') RETURNS TABLE (refusal text, status text, output jsonb) LANGUAGE sql AS $$
    SELECT p.refusal, p.status, p.output FROM pawl.workflow w, pawl.perform_calls(w.claimed_by, ARRAY[w.workflow_key], ARRAY[w.epoch], ARRAY[step],
        ARRAY[1], ARRAY[kind], ARRAY[arguments], ARRAY[now()]) p WHERE w.workflow_id = id
$$;
CREATE FUNCTION pg_temp.park(VARIADIC ids text[]) RETURNS TABLE (ordinal integer, refusal text) LANGUAGE sql AS $$
    SELECT p.* FROM (SELECT array_agg(w.workflow_key) AS keys, array_agg(w.epoch) AS epochs, array_agg('a wait'::text) AS waits,
            (array_agg(w.claimed_by))[1] AS worker
        FROM pawl.workflow w WHERE w.workflow_id = ANY (ids)) a, pawl.park_workflows(a.worker, a.keys, a.epochs, a.waits) p
$$;
CREATE FUNCTION pg_temp.take(worker uuid) RETURNS TABLE (workflow_id text, epoch integer, cancel_reason text, more boolean) LANGUAGE sql AS $$
    SELECT w.workflow_id, t.epoch, t.cancel_reason, t.more FROM pawl.take_signals(worker) t LEFT JOIN pawl.workflow w ON w.workflow_key = t.workflow_key
    ORDER BY 1
$$;
CREATE FUNCTION pg_temp.states() RETURNS TABLE (workflow_id text, status text, waiting_for text, ready boolean, claimed boolean, due text) LANGUAGE sql AS $$
    SELECT w.workflow_id, w.status, w.waiting_for, w.ready_key IS NOT NULL, w.claimed_by IS NOT NULL,
        CASE WHEN w.due_at IS NULL THEN NULL WHEN w.due_at > now() + interval '30 minutes' THEN 'later' ELSE 'soon' END
    FROM pawl.workflow w ORDER BY 1
$$;
SELECT pawl.enqueue_workflow('ship', workflow_id => i) FROM unnest('{a,b,c,d,e}'::text[]) i;
SELECT count(*) FROM pawl.claim_workflows(:me, 5, '{ship}', '{1}', NULL);

-- Parked: the earliest time of its waits, of the attempts that come, and its deadline.
SELECT pg_temp.call('a', 'wait', 'receive', '{"timeout": 7200}');
SELECT pg_temp.call('a', 'nap', 'sleep', '{"seconds": 600}');
SELECT pg_temp.call('b', 'wait', 'receive');
SELECT pg_temp.call('c', 'wait', 'get_event', '{"workflow_id": "e", "key": "ready"}');
SELECT pg_temp.call('d', 'wait', 'await_child', '{"workflow_id": "e"}');
SELECT * FROM pg_temp.park('a', 'b', 'c', 'd');
SELECT * FROM pg_temp.states();
SELECT (SELECT count(*) FROM pawl.waiter) AS waiters, ready_key IS NULL AND due_at IS NULL AND rank % 2 = 0 AS forever FROM pawl.workflow WHERE workflow_id = 'b';
-- Parked once: after that it is not this worker's.
SELECT * FROM pg_temp.park('a');

-- A message of another topic wakes nobody; the right one does, under a fresh key. A take by the other worker does it as well.
SELECT pawl.send_message('b', '1', 'other');
SELECT * FROM pg_temp.take(:me);
SELECT pawl.send_message('b', '1'), pawl.send_message('e', '1');
SELECT * FROM pg_temp.take(:other);
SELECT * FROM pg_temp.states() WHERE workflow_id IN ('b', 'e');
-- e runs at :me: the other worker passed its signal on.
SELECT right(worker_id::text, 1) AS worker, count(*) FROM pawl.signal GROUP BY 1;
SELECT * FROM pg_temp.take(:other);
SELECT * FROM pg_temp.take(:me);
SELECT count(*) FROM pawl.signal;
-- An event that somebody waits for, and one that nobody does.
SELECT pg_temp.call('e', 'unready', 'set_event', '{"key": "other"}');
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.states() WHERE workflow_id = 'c';
SELECT pg_temp.call('e', 'ready', 'set_event', '{"key": "ready"}');
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.states() WHERE workflow_id = 'c';
-- The end of another one.
SELECT p.* FROM pawl.workflow w, pawl.complete_workflows(:me, ARRAY[w.workflow_key], ARRAY[1], '{succeeded}', '{NULL}', '{1}', '{NULL}') p WHERE workflow_id = 'e';
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.states();
SELECT workflow_id, replay FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL);
SELECT w.workflow_id, (pg_temp.call(w.workflow_id, 'wait', s.kind)).* FROM pawl.workflow w JOIN pawl.workflow_step s USING (workflow_key)
    WHERE w.claimed_by IS NOT NULL AND s.step_name = 'wait' ORDER BY 1;
SELECT count(*) FROM pawl.waiter;

-- What is there before it parks makes it claimable at once; so does a time that has passed, a deadline, a cancellation, and nothing to wait for at all.
SELECT pawl.send_message('b', '2', 't'), pg_temp.call('b', 'early', 'receive', '{"topic": "u"}');
SELECT pawl.send_message('b', '3', 'u');
SELECT pg_temp.call('c', 'late', 'receive', '{"topic": "z"}'), pg_temp.call('d', 'late', 'receive', '{"topic": "z"}');
UPDATE pawl.workflow SET deadline_at = now() + interval '2 hours' WHERE workflow_id = 'c';
UPDATE pawl.workflow SET deadline_at = now() - interval '1 second' WHERE workflow_id = 'd';
SELECT * FROM pg_temp.park('b', 'c', 'd');
SELECT * FROM pg_temp.states();
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL) ORDER BY 1;
UPDATE pawl.workflow SET deadline_at = NULL;
UPDATE pawl.workflow_step SET status = 'succeeded', output = '1' WHERE status = 'waiting' AND workflow_key = (SELECT workflow_key FROM pawl.workflow WHERE workflow_id = 'b');
UPDATE pawl.workflow_step SET status = 'retrying', due_at = now() - interval '1 second' WHERE step_name = 'late' AND workflow_key = (SELECT workflow_key FROM pawl.workflow WHERE workflow_id = 'd');
SELECT * FROM pg_temp.park('b', 'd');
SELECT * FROM pg_temp.states();

-- Cancelled while it is parked, and while it runs.
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL) ORDER BY 1;
SELECT pg_temp.call('b', 'again', 'receive', '{"topic": "y"}'), pg_temp.call('d', 'again', 'receive', '{"topic": "y"}');
SELECT * FROM pg_temp.park('b');
DELETE FROM pawl.signal;
SELECT pawl.cancel_workflow('b'), pawl.cancel_workflow('d');
SELECT * FROM pg_temp.take(:other);
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.states() WHERE workflow_id IN ('b', 'd');
SELECT pg_temp.call('d', 'after', 'set_event', '{"key": "k"}');
SELECT * FROM pg_temp.park('d');
SELECT * FROM pg_temp.states() WHERE workflow_id = 'd';

-- More than one take has: the rest is left, and said to be.
SELECT count(*) FROM pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[2300]), queue => 'default');
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, arguments)
    SELECT workflow_key, 1, 1, 'w', 'receive', 'waiting', '{"topic": "mass"}' FROM pawl.workflow WHERE status = 'enqueued' AND started_at IS NULL;
UPDATE pawl.workflow SET status = 'waiting', ready_key = NULL, started_at = now() WHERE status = 'enqueued' AND started_at IS NULL;
SELECT pawl.send_messages(array_agg(workflow_id), '1', 'mass') FROM pawl.workflow WHERE status = 'waiting' AND waiting_for IS NULL;
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.take(:me);
SELECT status, count(*) FROM pawl.workflow WHERE workflow_id > 'z' OR workflow_id < 'a' GROUP BY 1;
SELECT count(*) FROM pawl.signal;
DELETE FROM pawl.workflow WHERE workflow_id > 'z' OR workflow_id < 'a';
-- One thing that many wait for wakes them all, in more than one take.
SELECT count(*) FROM pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[2300]));
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, arguments)
    SELECT w.workflow_key, 1, 1, 'w', 'get_event', 'waiting', jsonb_build_object('target', a.workflow_key, 'key', 'go')
    FROM pawl.workflow w, pawl.workflow a WHERE a.workflow_id = 'a' AND w.status = 'enqueued' AND w.started_at IS NULL;
INSERT INTO pawl.waiter (target_key, workflow_key, step_name) SELECT (arguments ->> 'target')::bigint, workflow_key, 'w' FROM pawl.workflow_step WHERE arguments ? 'target';
UPDATE pawl.workflow SET status = 'waiting', ready_key = NULL, started_at = now() WHERE status = 'enqueued' AND started_at IS NULL;
INSERT INTO pawl.event (workflow_key, key, step_name, value) SELECT workflow_key, 'go', 's', '1' FROM pawl.workflow WHERE workflow_id = 'a';
SELECT pawl.signal_workflows(ARRAY[workflow_key]) FROM pawl.workflow WHERE workflow_id = 'a';
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.take(:me);
SELECT * FROM pg_temp.take(:me);
SELECT status, count(*) FROM pawl.workflow WHERE workflow_id > 'z' OR workflow_id < 'a' GROUP BY 1;
DELETE FROM pawl.workflow WHERE workflow_id > 'z' OR workflow_id < 'a';

-- A worker that ended: what was routed to it goes, and its workflows find out by themselves.
INSERT INTO pawl.signal (workflow_key, worker_id) VALUES (1, :other);
SELECT pawl.unregister_worker(:other);
SELECT count(*) FROM pawl.signal;
SELECT pawl.take_signals(NULL);
SELECT pawl.arm_signals(NULL);
SET pawl.poll_interval = 250;
SELECT pawl.arm_signals(:me);
RESET pawl.poll_interval;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM pawl.take_signals(:me);
ROLLBACK;

-- Continue as new: the same workflow with another input and no steps; what else it has stays.
SELECT workflow_id FROM pawl.claim_workflows(:me, 10, '{ship}', '{1}', NULL) ORDER BY 1;
SELECT workflow_key AS c FROM pawl.workflow WHERE workflow_id = 'b' \gset
UPDATE pawl.workflow SET cancel_requested_at = NULL, cancel_reason = NULL, crashes = 2, deadline_at = '2099-01-01 00:00Z' WHERE workflow_key = :c;
SELECT pg_temp.call('b', 'say', 'set_event', '{"key": "kept"}'), pg_temp.call('b', 'tell', 'write_stream', '{"key": "kept"}'),
    pg_temp.call('b', 'wait_again', 'get_event', '{"workflow_id": "a", "key": "other"}');
INSERT INTO pawl.payload VALUES (:c, 'input', '"old"');
SELECT epoch FROM pawl.workflow WHERE workflow_key = :c \gset
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c, -1], ARRAY[:epoch, 1], ARRAY['{"round": 2}', '1']::jsonb[]);
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c], ARRAY[:epoch], ARRAY['{"round": 3}']::jsonb[]);
SELECT status, input, crashes, deadline_at IS NOT NULL AS deadline, ready_key IS NOT NULL AS ready, rank % 2 = 0 AS first FROM pawl.workflow WHERE workflow_key = :c;
SELECT (SELECT count(*) FROM pawl.workflow_step WHERE workflow_key = :c) AS steps, (SELECT count(*) FROM pawl.waiter WHERE workflow_key = :c) AS waiters,
    (SELECT count(*) FROM pawl.event WHERE workflow_key = :c) AS events, (SELECT count(*) FROM pawl.stream_entry WHERE workflow_key = :c) AS entries,
    (SELECT count(*) FROM pawl.message WHERE workflow_key = :c) > 0 AS messages, (SELECT count(*) FROM pawl.payload WHERE workflow_key = :c) AS payloads;
SELECT workflow_id, epoch = :epoch + 1 AS next, replay, input FROM pawl.claim_workflows(:me, 1, '{ship}', '{1}', NULL);
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c], ARRAY[:epoch], ARRAY['{"round": 3}']::jsonb[]);
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c], ARRAY[:epoch + 1], ARRAY[to_jsonb(repeat('i', 5000))]);
SELECT length(input #>> '{}') FROM pawl.workflows WHERE workflow_key = :c;
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c], ARRAY[:epoch + 1], '{NULL}');
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c], ARRAY[:epoch + 1], ARRAY[to_jsonb(repeat('i', 1100000))]);
SELECT * FROM pawl.continue_workflows(:me, ARRAY[:c], '{}', '{}');
SELECT pg_advisory_unlock_all();
