-- Rewinding and forking: what is undone, what is copied, and what neither touches.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.message,
    pawl.event, pawl.stream_entry, pawl.closed_stream, pawl.queue, pawl.access_rule, pawl.installation, pawl.signal, pawl.waiter, pawl.cancel_request,
    pawl.audit_entry;
INSERT INTO pawl.known_handler VALUES ('ship'), ('bill');
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
CREATE FUNCTION pg_temp.key(id text) RETURNS bigint LANGUAGE sql AS $$
    SELECT workflow_key FROM pawl.workflow WHERE workflow_id = id UNION ALL SELECT workflow_key FROM pawl.workflow_history WHERE workflow_id = id
$$;
-- A claim by hand: epoch 1, 2, 3.
CREATE FUNCTION pg_temp.claim(id text) RETURNS integer LANGUAGE sql AS $$
    UPDATE pawl.workflow SET claimed_by = '00000000-0000-4000-8000-000000000001', status = 'running', epoch = epoch + 1, rank = rank & ~1::bigint,
        started_at = coalesce(started_at, now()), workflow_version = coalesce(workflow_version, 1) WHERE workflow_id = id RETURNING epoch
$$;
CREATE FUNCTION pg_temp.started(id text, input jsonb DEFAULT '{"order": 1}', name text DEFAULT 'ship') RETURNS integer LANGUAGE sql AS $$
    SELECT pawl.enqueue_workflow(name, input, workflow_id => id);
    SELECT pg_temp.claim(id)
$$;
-- A step of kind step, or a durable call.
CREATE FUNCTION pg_temp.did(id text, number integer, step_name text, kind text DEFAULT 'step', arguments jsonb DEFAULT '{}', error jsonb DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    me CONSTANT uuid := '00000000-0000-4000-8000-000000000001';
    keys CONSTANT bigint[] := ARRAY[pg_temp.key(id)];
    epochs CONSTANT integer[] := ARRAY(SELECT w.epoch FROM pawl.workflow w WHERE w.workflow_id = id);
BEGIN
    IF kind IN ('step', 'transaction', 'compensation') THEN
        RETURN coalesce((SELECT r.refusal FROM pawl.record_steps(me, keys, epochs, ARRAY[step_name], ARRAY[number], ARRAY[kind],
            ARRAY[CASE WHEN error IS NULL THEN to_jsonb(number) END], ARRAY[error], ARRAY[now()]) r), 'recorded');
    END IF;
    RETURN (SELECT concat_ws(' ', p.refusal, p.status, p.output::text) FROM pawl.perform_calls(me, keys, epochs, ARRAY[step_name], ARRAY[number],
        ARRAY[kind], ARRAY[arguments], ARRAY[now()]) p);
END $$;
CREATE FUNCTION pg_temp.emit(id text, key text, step text, value text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT e.refusal FROM pawl.emit_values('00000000-0000-4000-8000-000000000001', ARRAY[pg_temp.key(id)],
        ARRAY(SELECT w.epoch FROM pawl.workflow w WHERE w.workflow_id = id), '{stream}',
        ARRAY[jsonb_strip_nulls(jsonb_build_object('key', key, 'value', value, 'step', step))]) e
$$;
CREATE FUNCTION pg_temp.finish(id text, status text DEFAULT 'succeeded', reason text DEFAULT NULL, error jsonb DEFAULT NULL, output jsonb DEFAULT '"done"')
RETURNS SETOF text LANGUAGE sql AS $$
    SELECT refusal FROM pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[pg_temp.key(id)],
        (SELECT array_agg(epoch) FROM pawl.workflow WHERE workflow_id = id), ARRAY[status], ARRAY[reason],
        ARRAY[CASE WHEN status = 'succeeded' THEN output END], ARRAY[error])
$$;
-- All that is kept of a workflow, but for keys and times.
CREATE FUNCTION pg_temp.kept(id text) RETURNS TABLE (what text, name text, value text) LANGUAGE sql AS $$
    SELECT 'step', step_number || ' ' || step_name, concat_ws(' ', kind, status, output::text, error ->> 'code') FROM pawl.workflow_step
        WHERE workflow_key = pg_temp.key(id)
    UNION ALL SELECT 'event', key || ' ' || row_number() OVER (PARTITION BY key ORDER BY event_key), concat(value, ' by ', step_name) FROM pawl.event
        WHERE workflow_key = pg_temp.key(id)
    UNION ALL SELECT 'entry', key || ' ' || position, concat(value, ' by ', step_name) FROM pawl.stream_entry WHERE workflow_key = pg_temp.key(id)
    UNION ALL SELECT 'closed', key, step_name FROM pawl.closed_stream WHERE workflow_key = pg_temp.key(id)
    UNION ALL SELECT 'message', topic || ' ' || row_number() OVER (PARTITION BY topic ORDER BY message_key), concat(message, ' by ', coalesce(consumed_by, 'nobody'))
        FROM pawl.message WHERE workflow_key = pg_temp.key(id)
    UNION ALL SELECT 'waits for', CASE w.target_key WHEN pg_temp.key('helper') THEN 'helper' END, w.step_name FROM pawl.waiter w WHERE workflow_key = pg_temp.key(id)
    ORDER BY 1, 2
$$;
-- A history with all there is: a round before this one, two branches, repeats, a wait that is not over, a failure that was caught.
CREATE PROCEDURE pg_temp.live(id text) LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    PERFORM pg_temp.started(id);
    PERFORM pawl.send_message(id, to_jsonb('m' || i)) FROM generate_series(1, 4) i;
    COMMIT;
    -- The round before: the same names.
    PERFORM pg_temp.did(id, 1, 'stage', 'set_event', '{"key": "stage", "value": "before"}'); COMMIT;
    PERFORM pg_temp.did(id, 2, 'approval', 'receive', '{}'); COMMIT;
    PERFORM pg_temp.did(id, 3, 'write', 'write_stream', '{"key": "log", "value": "before"}'); COMMIT;
    PERFORM pawl.continue_workflows('00000000-0000-4000-8000-000000000001', ARRAY[pg_temp.key(id)], '{1}', '{"{\"order\": 2}"}'); COMMIT;
    PERFORM pg_temp.claim(id);
    PERFORM pg_temp.did(id, 1, 'fetch'); COMMIT;
    PERFORM pg_temp.emit(id, 'log', NULL, 'between'); COMMIT;
    PERFORM pg_temp.did(id, 2, 'stage', 'set_event', '{"key": "stage", "value": "first"}'); COMMIT;
    PERFORM pg_temp.did(id, 3, 'left/wait', 'await_child', '{"workflow_id": "helper"}'); COMMIT;
    PERFORM pg_temp.did(id, 4, 'right/approval', 'receive', '{}'); COMMIT;
    PERFORM pg_temp.did(id, 5, 'right/try', error => '{"code": "caught"}'); COMMIT;
    PERFORM pg_temp.emit(id, 'log', 'right/pay', 'in a body'); COMMIT;
    PERFORM pg_temp.did(id, 6, 'right/pay'); COMMIT;
    PERFORM pg_temp.did(id, 7, 'stage#2', 'set_event', '{"key": "stage", "value": "second"}'); COMMIT;
    PERFORM pg_temp.did(id, 8, 'write', 'write_stream', '{"key": "log", "value": "after"}'); COMMIT;
    PERFORM pg_temp.did(id, 9, 'close', 'close_stream', '{"key": "log"}'); COMMIT;
    PERFORM pg_temp.did(id, 10, 'approval', 'receive', '{}'); COMMIT;
    PERFORM pg_temp.emit(id, 'other', NULL, 'at the end'); COMMIT;
END $$;
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (:me, 1, 1, 10, 'running', 'w', 'localhost', '0', 'somebody');
SELECT pawl.enqueue_workflow('bill', workflow_id => 'helper');

CALL pg_temp.live('order');
SELECT * FROM pg_temp.kept('order');
-- A fork from the failure of one that has not failed; of a step that is not there; of the wrong two.
SELECT pawl.fork_workflow('order', from_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('order', from_step => 'right/pai');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('order', from_step => 'fetch', from_failure => true);
\echo :LAST_ERROR_SQLSTATE
-- While it runs, from each of some steps. What waits is not copied.
SELECT pawl.fork_workflow('order', 'right/pay', new_workflow_id => 'fork at pay'), pawl.fork_workflow('order', 'write', new_workflow_id => 'fork at write'),
    pawl.fork_workflow('order', 'fetch', new_workflow_id => 'fork at fetch'), pawl.fork_workflow('order', new_workflow_id => 'fork');
SELECT * FROM pg_temp.kept('fork at pay');
SELECT * FROM pg_temp.kept('fork at write');
SELECT * FROM pg_temp.kept('fork at fetch');
SELECT * FROM pg_temp.kept('fork');
SELECT workflow_id, forked_from, status, rank, epoch, workflow_version, input, claimed_by, started_at, deadline_at, parent_key FROM pawl.workflow
    WHERE forked_from IS NOT NULL ORDER BY 1;
-- Its run has recorded none of that itself.
SELECT pg_temp.claim('fork at pay'), pg_temp.did('fork at pay', 1, 'fetch'), pg_temp.did('fork at pay', 7, 'right/pay'),
    pg_temp.did('fork at pay', 2, 'stage', 'set_event', '{"key": "stage", "value": "changed"}');
SELECT pawl.get_event('fork at pay', 'stage'), pawl.get_event('order', 'stage');

-- Rewound to each of some steps, the last first.
SELECT pawl.rewind_workflow('order', 'approval');
SELECT pg_temp.finish('order', output => to_jsonb(repeat('x', 3000)));
SELECT pawl.rewind_workflow('order', 'aproval');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.rewind_workflow('order', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.rewind_workflow('order', 'approval', reason => 'the wrong one approved');
SELECT * FROM pg_temp.kept('order');
SELECT status, rank, ready_key > workflow_key AS fresh, epoch, claimed_by, (SELECT count(*) FROM pawl.payload p WHERE p.workflow_key = w.workflow_key) AS payloads
    FROM pawl.workflow w WHERE workflow_id = 'order';
SELECT pg_temp.claim('order'), pg_temp.did('order', 10, 'approval', 'receive', '{}'), pg_temp.did('order', 9, 'close', 'close_stream', '{"key": "log"}');
SELECT pg_temp.finish('order', output => to_jsonb(repeat('y', 3000)));
SELECT pawl.rewind_workflow('order', 'right/pay');
SELECT * FROM pg_temp.kept('order');
SELECT pg_temp.claim('order'), pg_temp.finish('order', 'failed', 'error', '{"code": "x"}');
SELECT pawl.rewind_workflow('order', 'fetch', 3);
SELECT * FROM pg_temp.kept('order');
SELECT workflow_version, rank FROM pawl.workflow WHERE workflow_id = 'order';

-- After each kind of end.
SELECT pg_temp.started(i), pg_temp.did(i, 1, 'fetch'), pg_temp.did(i, 2, 'pay', error => '{"code": "declined"}')
    FROM unnest('{succeeded,error,timeout,crashes,determinism,bad_input,request,parent}'::text[]) i;
UPDATE pawl.workflow SET deadline_at = '2020-01-01', crashes = 2, recoveries = 5, probation = true, priority = 4, deduplication_id = workflow_id
    WHERE workflow_id = ANY ('{succeeded,error,timeout,crashes,determinism,bad_input,request,parent}');
SELECT pg_temp.finish(i, 'failed', i, '{"code": "declined", "step": "pay"}') FROM unnest('{error,timeout,crashes,determinism,bad_input}'::text[]) i;
SELECT pg_temp.finish(i, 'cancelled', i) FROM unnest('{request,parent}'::text[]) i;
SELECT pg_temp.finish('succeeded');
SELECT i, pawl.fork_workflow(i, from_failure => true, new_workflow_id => i || ' again')
    FROM unnest('{error,timeout,crashes,determinism,bad_input,request,parent}'::text[]) i;
-- A run of the same epoch has not recorded what was copied either.
SELECT pg_temp.claim('error again'), pg_temp.did('error again', 1, 'fetch');
SELECT pawl.fork_workflow('succeeded', from_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.rewind_workflows('{succeeded,error,timeout,crashes,determinism,bad_input,request,parent,order}', 'pay', reason => 'once more');
SELECT DISTINCT status, rank, epoch, deadline_at, crashes, probation, recoveries, cancel_requested_at, deduplication_id = workflow_id AS deduplicated
    FROM pawl.workflow WHERE deduplication_id IS NOT NULL;
SELECT w.workflow_id, string_agg(s.step_name, ' ' ORDER BY s.step_number) FROM pawl.workflow w JOIN pawl.workflow_step s USING (workflow_key)
    WHERE deduplication_id IS NOT NULL OR workflow_id LIKE '% again' GROUP BY 1 ORDER BY 1;

-- An unknown id stops all of them; an ended one that has not recorded the step is left out.
SELECT pg_temp.started('empty'), pg_temp.finish('empty');
SELECT pg_temp.claim('error'), pg_temp.finish('error', 'failed', 'error', '{"code": "x"}');
SELECT pawl.rewind_workflows('{error,nobody}', 'fetch');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM pawl.workflows WHERE workflow_id = 'error';
SELECT * FROM pawl.rewind_workflows('{error,empty}', 'fetch');
SELECT pawl.rewind_workflow('empty', 'fetch');
\echo :LAST_ERROR_SQLSTATE
-- Compensated: only from its first step, with nothing kept.
SELECT pg_temp.did(i, n, s, k, error => e) FROM pg_temp.started('undone') q, (VALUES ('undone', 1, 'reserve', 'step', NULL::jsonb),
    ('undone', 2, 'pay', 'step', '{"code": "x"}'), ('undone', 3, '%compensate', 'compensation', '{"code": "x"}'),
    ('undone', 4, '%compensate/release', 'compensation', NULL)) v (i, n, s, k, e);
SELECT pg_temp.finish('undone', 'failed', 'error', '{"code": "x", "step": "pay"}');
SELECT pawl.rewind_workflow('undone', 'pay');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.rewind_workflow('undone', '%compensate/release');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.rewind_workflows('{undone}', 'pay');
SELECT pawl.fork_workflow('undone', from_failure => true);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('undone', new_workflow_id => 'undone again'), pawl.fork_workflow('undone', 'reserve', new_workflow_id => 'undone and again');
SELECT pawl.rewind_workflow('undone', 'reserve');
SELECT count(*) FROM pg_temp.kept('undone');
-- Its deduplication_id is taken.
SELECT pg_temp.claim('timeout'), pg_temp.finish('timeout');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'holder', deduplication_id => 'timeout');
SELECT pawl.rewind_workflow('timeout', 'fetch');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.rewind_workflows('{timeout}', 'fetch');
SELECT count(*) FROM pg_temp.kept('timeout');
-- A cancellation that came too late is not of the run that it has now.
SELECT pg_temp.claim('crashes'), pawl.cancel_workflow('crashes');
SELECT pg_temp.finish('crashes');
SELECT pawl.rewind_workflow('crashes', 'fetch');
SELECT pawl.apply_cancel_requests(ARRAY[pg_temp.key('crashes')]);
SELECT status, cancel_requested_at FROM pawl.workflows WHERE workflow_id = 'crashes';

-- Forks: another input, large or small; another version; an id that is taken; several; not another queue.
SELECT pawl.fork_workflow('order', new_workflow_id => 'large', input => to_jsonb(repeat('x', 3000)), workflow_version => 7);
SELECT pawl.fork_workflow('large', new_workflow_id => 'as large'), pawl.fork_workflow('large', new_workflow_id => 'small', input => 'null');
SELECT workflow_id, length(input::text), workflow_version, forked_from FROM pawl.workflows WHERE workflow_id IN ('large', 'as large', 'small') ORDER BY 1;
SELECT count(*) FROM pawl.payload p JOIN pawl.workflow w USING (workflow_key) WHERE w.workflow_id IN ('large', 'as large', 'small');
SELECT pawl.fork_workflow('order', input => to_jsonb(repeat('x', 2000000)));
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('order', new_workflow_id => 'large');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('order', new_workflow_id => 'empty');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('order', workflow_version => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('nobody');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.fork_workflows('{small,order,small}', new_workflow_ids => '{one,two,three}');
SELECT count(DISTINCT f) FROM pawl.fork_workflows('{small,order,small}') f;
SELECT pawl.fork_workflows('{small,order}', new_workflow_ids => '{four}');
\echo :LAST_ERROR_SQLSTATE
-- However the elements of an array are counted.
SELECT * FROM pawl.fork_workflows('[0:1]={small,order}', new_workflow_ids => '[5:6]={five,six}');
SELECT * FROM pawl.fork_workflows('{{small,order}}', new_workflow_ids => '{{seven,eight}}');
SELECT workflow_id, forked_from FROM pawl.workflow WHERE workflow_id IN ('five', 'six', 'seven', 'eight') ORDER BY 1;
SELECT pawl.create_queue('gone'), pawl.enqueue_workflow('ship', workflow_id => 'stranded', queue => 'gone'), pawl.cancel_workflow('stranded');
DELETE FROM pawl.queue;
SELECT pawl.fork_workflow('stranded');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_workflow('stranded');
\echo :LAST_ERROR_SQLSTATE
-- Several at once: NULL for each that cannot be forked so, and nothing of it is made.
SELECT pg_temp.started('redacted'), pg_temp.did('redacted', 1, 'fetch'), pg_temp.finish('redacted');
SELECT pawl.redact_workflow('redacted');
SELECT pg_temp.did(i, n, s, k) FROM pg_temp.started('compensated') q, (VALUES ('compensated', 1, 'reserve', 'step'), ('compensated', 2, 'fetch', 'step'),
    ('compensated', 3, '%compensate', 'compensation')) v (i, n, s, k);
SELECT pg_temp.finish('compensated', 'failed', 'error', '{"code": "x"}');
SELECT last_value AS last_key FROM pawl.key_seq \gset
SELECT f FROM pawl.fork_workflows('{redacted,succeeded,compensated,empty,stranded,request}', 'fetch',
    new_workflow_ids => '{nine,ten,eleven,twelve,thirteen,fourteen}', input => to_jsonb(repeat('x', 3000))) f;
SELECT pg_temp.claim('bad_input'), pg_temp.finish('bad_input', 'failed', 'error', '{"code": "x"}');
SELECT f FROM pawl.fork_workflows('{timeout,bad_input,succeeded}', from_failure => true, new_workflow_ids => '{fifteen,sixteen,seventeen}') f;
SELECT w.workflow_id, count(p) AS payloads, count(s) AS steps FROM pawl.workflow w LEFT JOIN pawl.payload p USING (workflow_key)
    LEFT JOIN pawl.workflow_step s USING (workflow_key) WHERE workflow_key > :last_key GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT workflow_key) FROM (SELECT workflow_key FROM pawl.payload UNION ALL SELECT workflow_key FROM pawl.workflow_step) k WHERE workflow_key > :last_key;
SELECT * FROM pawl.rewind_workflows('{redacted,compensated,empty,stranded}', 'fetch');
-- An id that is taken is not left out.
SELECT pawl.fork_workflows('{succeeded,request}', new_workflow_ids => '{eighteen,ten}');
\echo :LAST_ERROR_SQLSTATE
-- A fork that was cancelled before it ran and resumed is yet to start, with its steps.
SELECT pawl.fork_workflow('request again', 'pay', new_workflow_id => 'with steps'), pawl.cancel_workflow('with steps'), pawl.resume_workflow('with steps');
SELECT rank & 1 AS first, started_at, forked_from, (SELECT count(*) FROM pg_temp.kept('with steps')) AS kept FROM pawl.workflow WHERE workflow_id = 'with steps';

-- Only whoever may operate on all of them; what was done is in the audit.
CREATE ROLE regress_biller;
SELECT pawl.grant_access('regress_biller', 'operate', 'bill');
SELECT pg_temp.started('theirs', name => 'bill'), pg_temp.did('theirs', 1, 'fetch'), pg_temp.finish('theirs');
TRUNCATE pawl.audit_entry;
SET ROLE regress_biller;
SELECT pawl.rewind_workflows('{empty,theirs}', 'fetch');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('empty');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('theirs', 'fetch', new_workflow_id => 'their fork'), pawl.rewind_workflow('theirs', 'fetch', 2, 'why not');
RESET ROLE;
SELECT enqueued_by FROM pawl.workflow WHERE workflow_id = 'their fork';
SELECT role_name, action, object_kind, object_name, reason, detail FROM pawl.audit ORDER BY audit_key;
SET client_min_messages = warning;
DROP OWNED BY regress_biller;
DROP ROLE regress_biller;

-- One with very many steps, among the few of most others that the planner knows of: each row is looked at once, not once for each other.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step, pawl.stream_entry, pawl.event, pawl.message, pawl.closed_stream;
CREATE FUNCTION pg_temp.long(id text, steps integer) RETURNS bigint LANGUAGE sql AS $$
    SELECT pg_temp.started(id);
    INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status)
        SELECT pg_temp.key(id), 1, n, 'write#' || n, 'write_stream', 'succeeded' FROM generate_series(1, steps) n;
    INSERT INTO pawl.stream_entry (workflow_key, position, attempt, key, step_name, value)
        SELECT pg_temp.key(id), n, 1, 's', 'write#' || n, '1' FROM generate_series(1, steps) n;
    INSERT INTO pawl.event (workflow_key, key, step_name, value) SELECT pg_temp.key(id), 'e', 'write#' || n, '1' FROM generate_series(1, steps) n;
    INSERT INTO pawl.message (workflow_key, topic, consumed_by, consumed_at, sent_by, message)
        SELECT pg_temp.key(id), 't', 'write#' || n, now(), 'x', '1' FROM generate_series(1, steps) n
    RETURNING 0::bigint
$$;
SELECT count(pg_temp.long('short' || n, 2)) FROM generate_series(1, 300) n;
ANALYZE pawl.workflow, pawl.workflow_step, pawl.stream_entry, pawl.event, pawl.message;
SELECT pg_temp.long('long', 30000);
SELECT pg_temp.finish('long');
SET statement_timeout = '60s';
SELECT pawl.fork_workflow('long', 'write#15000', new_workflow_id => 'fork of long'), pawl.rewind_workflow('long', 'write#2');
RESET statement_timeout;
SELECT w.workflow_id, (SELECT count(*) FROM pawl.workflow_step s WHERE s.workflow_key = w.workflow_key) AS steps,
    (SELECT count(*) FROM pawl.stream_entry s WHERE s.workflow_key = w.workflow_key) AS entries,
    (SELECT count(*) FROM pawl.event s WHERE s.workflow_key = w.workflow_key) AS events,
    (SELECT count(*) FROM pawl.message s WHERE s.workflow_key = w.workflow_key AND s.consumed_by IS NOT NULL) AS messages
    FROM pawl.workflow w WHERE workflow_id LIKE '%long' ORDER BY 1;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step, pawl.stream_entry, pawl.event, pawl.message;
