-- What people do to workflows: cancel, resume, move, export.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.signal, pawl.waiter, pawl.cancel_request, pawl.audit_entry;
INSERT INTO pawl.known_handler VALUES ('ship'), ('bill');
SET client_min_messages = notice;
\set me '\'00000000-0000-4000-8000-000000000001\''
-- A workflow as a claim leaves it, perhaps the child of another.
CREATE FUNCTION pg_temp.claimed(id text, parent text DEFAULT NULL, detached boolean DEFAULT false, name text DEFAULT 'ship') RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, status, claimed_by, claimed_at, started_at, epoch,
        workflow_version, input, parent_key, detached)
    VALUES (id, name, 'somebody', 1, nextval('pawl.key_seq'), 'running', '00000000-0000-4000-8000-000000000001', now(), now(), 1, 1, '{"order": 1}',
        (SELECT workflow_key FROM pawl.workflow WHERE workflow_id = parent), detached)
    RETURNING workflow_key
$$;
CREATE FUNCTION pg_temp.parked(id text, parent text DEFAULT NULL, detached boolean DEFAULT false) RETURNS void LANGUAGE sql AS $$
    SELECT pg_temp.claimed(id, parent, detached);
    UPDATE pawl.workflow SET status = 'waiting', claimed_by = NULL, ready_key = NULL, due_at = '2199-01-01', waiting_for = 'spring' WHERE workflow_id = id
$$;
CREATE FUNCTION pg_temp.queued(id text, parent text DEFAULT NULL, detached boolean DEFAULT false) RETURNS void LANGUAGE sql AS $$
    SELECT pawl.enqueue_workflow('ship', workflow_id => id);
    UPDATE pawl.workflow SET parent_key = (SELECT workflow_key FROM pawl.workflow WHERE workflow_id = parent), detached = $3 WHERE workflow_id = id
$$;
CREATE FUNCTION pg_temp.key(id text) RETURNS bigint LANGUAGE sql AS $$
    SELECT workflow_key FROM pawl.workflow WHERE workflow_id = id UNION ALL SELECT workflow_key FROM pawl.workflow_history WHERE workflow_id = id
$$;
CREATE FUNCTION pg_temp.finish(id text, status text, reason text, error jsonb) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT refusal FROM pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[pg_temp.key(id)],
        (SELECT array_agg(epoch) FROM pawl.workflow WHERE workflow_id = id), ARRAY[status], ARRAY[reason],
        ARRAY[CASE WHEN error IS NULL AND status = 'succeeded' THEN '1'::jsonb END], ARRAY[error])
$$;

-- Never started: it ends at once, and says who wanted it and why. Whoever waits for it is told.
SELECT pg_temp.queued('new');
SELECT pawl.cancel_workflow('new', 'ordered by mistake');
SELECT status, status_reason, error, cancel_requested_at IS NOT NULL AS asked, completed_at IS NOT NULL AS completed, worker_id, started_at
    FROM pawl.workflows WHERE workflow_id = 'new';
SELECT s.workflow_key = pg_temp.key('new') AS told, worker_id FROM pawl.signal s;
SELECT pawl.cancel_workflow('new');
SELECT pawl.cancel_workflow('nobody');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.cancel_workflow(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.cancel_workflow('new', repeat('x', 1025));
\echo :LAST_ERROR_SQLSTATE
-- Enqueued in the same transaction; a delayed one; one whose input is kept apart.
BEGIN;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'same', run_at => '2199-01-01', input => to_jsonb(repeat('x', 5000)));
SELECT pawl.cancel_workflow('same');
COMMIT;
SELECT status, length(input #>> '{}') FROM pawl.workflows WHERE workflow_id = 'same';

-- Parked: claimable at once.
SELECT pg_temp.parked('asleep');
SELECT pawl.cancel_workflow('asleep', 'enough');
SELECT status, ready_key IS NOT NULL AS claimable, rank, due_at, waiting_for, cancel_requested_at IS NOT NULL AS asked, cancel_reason, cancelled_by, cancel_note
    FROM pawl.workflow WHERE workflow_id = 'asleep';
-- Again: nothing changes.
SELECT pawl.cancel_workflow('asleep', 'more than enough');
SELECT cancel_note FROM pawl.workflow WHERE workflow_id = 'asleep';
SELECT count(*) FROM pawl.cancel_request;

-- Claimed: its row is not touched, the views show it, and a signal says so.
TRUNCATE pawl.signal;
SELECT pg_temp.claimed('busy') > 0;
SELECT pawl.cancel_workflow('busy', 'first'), pawl.cancel_workflow('busy', 'second');
SELECT status, cancel_requested_at IS NOT NULL AS asked FROM pawl.workflows WHERE workflow_id = 'busy';
SELECT cancel_requested_at, cancel_reason FROM pawl.workflow WHERE workflow_id = 'busy';
SELECT DISTINCT s.workflow_key = pg_temp.key('busy') AS told, worker_id FROM pawl.signal s;
-- A worker takes the signal: the first one counts.
SELECT pawl.apply_cancel_requests(ARRAY[pg_temp.key('busy')]);
SELECT cancel_requested_at IS NOT NULL AS asked, cancel_reason, cancelled_by, cancel_note, status, claimed_by IS NOT NULL AS claimed
    FROM pawl.workflow WHERE workflow_id = 'busy';
SELECT count(*) FROM pawl.cancel_request;
-- Its end: what the run had to say, and who asked for it.
SELECT pg_temp.finish('busy', 'cancelled', 'request', NULL);
SELECT status, status_reason, error, cancel_requested_at IS NOT NULL AS asked FROM pawl.workflows WHERE workflow_id = 'busy';
SELECT pg_temp.claimed('busy too') > 0;
SELECT pawl.cancel_workflow('busy too', 'why not');
SELECT pawl.apply_cancel_requests(ARRAY[pg_temp.key('busy too')]);
SELECT pg_temp.finish('busy too', 'cancelled', 'request', '{"code": "refund", "message": "not refunded", "detail": {"order": 7}}');
SELECT error FROM pawl.workflows WHERE workflow_id = 'busy too';
-- It ended before it heard of it: as it would have ended, and the request is dropped.
SELECT pg_temp.claimed('done') > 0;
SELECT pawl.cancel_workflow('done');
SELECT pg_temp.finish('done', 'succeeded', NULL, NULL);
SELECT status, error FROM pawl.workflows WHERE workflow_id = 'done';
SELECT pawl.apply_cancel_requests(ARRAY[pg_temp.key('done')]);
SELECT count(*) FROM pawl.cancel_request;
-- A role that asks is named, also under SET ROLE.
CREATE ROLE pawl_test_operator;
SELECT pawl.grant_access('pawl_test_operator', 'operate');
SELECT pg_temp.queued('named');
SET ROLE pawl_test_operator;
SELECT pawl.cancel_workflow('named');
RESET ROLE;
SELECT error #>> '{detail,cancelled_by}' FROM pawl.workflows WHERE workflow_id = 'named';

-- Three levels: a root that runs, children of each kind, and theirs. Detached ones, and what belongs to those, go on.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request;
SELECT pg_temp.claimed('root') > 0, pg_temp.claimed('root/busy', 'root') > 0, pg_temp.parked('root/asleep', 'root'), pg_temp.queued('root/new', 'root'),
    pg_temp.claimed('root/busy/busy', 'root/busy') > 0, pg_temp.parked('root/busy/asleep', 'root/busy'), pg_temp.queued('root/asleep/new', 'root/asleep'),
    pg_temp.parked('root/free', 'root', true), pg_temp.queued('root/free/new', 'root/free'), pg_temp.queued('other');
SELECT pawl.cancel_workflow('root', 'stop');
SELECT w.workflow_id, w.status, w.status_reason, w.cancel_requested_at IS NOT NULL AS asked, r.cancel_reason AS requested, u.cancel_reason AS in_row,
    u.ready_key IS NOT NULL AS claimable
    FROM pawl.workflows w LEFT JOIN pawl.cancel_request r ON r.workflow_key = w.workflow_key LEFT JOIN pawl.workflow u ON u.workflow_key = w.workflow_key
    ORDER BY 1;
SELECT error FROM pawl.workflows WHERE workflow_id = 'root/new';
-- A child that the parent started while it was not yet told.
SELECT pg_temp.claimed('root/late', 'root') > 0, pg_temp.queued('root/later', 'root'), pg_temp.queued('root/late/new', 'root/late');
SELECT pawl.apply_cancel_requests(array_agg(workflow_key)) FROM pawl.workflow;
SELECT w.workflow_id, w.status, w.status_reason, w.cancel_requested_at IS NOT NULL AS asked FROM pawl.workflows w WHERE workflow_id LIKE '%late%' ORDER BY 1;
SELECT workflow_id, cancel_reason, cancel_note FROM pawl.workflow WHERE cancel_requested_at IS NOT NULL ORDER BY 1;

-- Below children that have ended, however deep, but not below a detached one; and each that is cancelled is in the audit, with what it was cancelled with.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request, pawl.audit_entry;
SELECT pg_temp.claimed('root') > 0, pg_temp.claimed('root/over', 'root') > 0, pg_temp.claimed('root/over/busy', 'root/over') > 0,
    pg_temp.parked('root/over/asleep', 'root/over'), pg_temp.queued('root/over/new', 'root/over'), pg_temp.claimed('root/over/over', 'root/over') > 0,
    pg_temp.claimed('root/over/over/busy', 'root/over/over') > 0, pg_temp.claimed('root/free', 'root', true) > 0,
    pg_temp.claimed('root/free/busy', 'root/free') > 0, pg_temp.claimed('asked', 'root') > 0;
SELECT pg_temp.finish(i, 'succeeded', NULL, NULL) FROM unnest('{root/over,root/over/over,root/free}'::text[]) i;
SELECT * FROM pawl.cancel_workflows('{root,asked}', 'stop');
SELECT w.workflow_id, w.status, w.status_reason, w.cancel_requested_at IS NOT NULL AS asked, r.cancel_reason AS requested, u.cancel_reason AS in_row
    FROM pawl.workflows w LEFT JOIN pawl.cancel_request r ON r.workflow_key = w.workflow_key LEFT JOIN pawl.workflow u ON u.workflow_key = w.workflow_key
    ORDER BY 1;
SELECT role_name = current_user AS by_me, action, object_name, reason, detail FROM pawl.audit ORDER BY object_name;
-- What they start before they hear of it, too: below one that ended since, and below one that ended without hearing of it.
SELECT pg_temp.claimed('root/late', 'root') > 0, pg_temp.queued('root/late/new', 'root/late'), pg_temp.queued('root/over/busy/new', 'root/over/busy');
SELECT pg_temp.finish(i, 'succeeded', NULL, NULL) FROM unnest('{root/late,root/over/busy}'::text[]) i;
SELECT pawl.apply_cancel_requests(ARRAY(SELECT workflow_key FROM pawl.cancel_request));
SELECT workflow_id, status, status_reason FROM pawl.workflows WHERE workflow_id LIKE '%/new' ORDER BY 1;
SELECT by_me, object_name, reason, detail FROM (SELECT *, role_name = current_user AS by_me FROM pawl.audit) a WHERE object_name ~ 'late|busy/' ORDER BY object_name;
SELECT count(*) FROM pawl.cancel_request;
-- The setting is a reason too.
SELECT pg_temp.claimed('for a reason') > 0, pg_temp.queued('for a reason/new', 'for a reason');
SET pawl.reason = 'ticket 42';
SELECT pawl.cancel_workflow('for a reason');
RESET pawl.reason;
SELECT object_name, reason, detail FROM pawl.audit WHERE object_name LIKE 'for a reason%' ORDER BY 1;
SELECT error ->> 'message' AS why FROM pawl.workflows WHERE workflow_id = 'for a reason/new';
-- What a handler cancels, no person did.
SELECT pg_temp.claimed('caller') > 0, pg_temp.claimed('called') > 0, pg_temp.queued('called/new', 'called');
SELECT status, output FROM pawl.perform_calls(:me, ARRAY[pg_temp.key('caller')], '{1}', '{cancel}', '{1}', '{cancel_workflow}', '{"{\"workflow_id\": \"called\"}"}', '{NULL}');
SELECT pawl.apply_cancel_requests(ARRAY[pg_temp.key('called')]);
SELECT workflow_id, status FROM pawl.workflows WHERE workflow_id LIKE 'called%' ORDER BY 1;
SELECT count(*) FROM pawl.audit WHERE object_name LIKE 'called%';
-- Never started, and asked for while somebody had it locked: it ends when that is heard of, however far off its start, and in a paused queue.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request, pawl.audit_entry;
SELECT pg_temp.queued('new'), pg_temp.queued('put off'), pg_temp.queued('paused'), pawl.create_queue('stopped'), pawl.pause_queue('stopped');
UPDATE pawl.workflow SET status = 'delayed', ready_key = NULL, due_at = '2199-01-01' WHERE workflow_id = 'put off';
UPDATE pawl.workflow w SET queue_id = q.queue_id FROM pawl.queue q WHERE w.workflow_id = 'paused' AND q.queue_name = 'stopped';
INSERT INTO pawl.cancel_request (workflow_key, cancel_reason, cancelled_by, cancel_note) SELECT workflow_key, 'request', 'somebody', 'stop' FROM pawl.workflow;
INSERT INTO pawl.signal (workflow_key) SELECT workflow_key FROM pawl.workflow;
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (:me, 1, 1, 10, 'running', 'w', 'localhost', '0', 'somebody');
SELECT count(*) FROM pawl.take_signals(:me);
SELECT workflow_id, status, status_reason, error #>> '{detail,cancelled_by}' AS by, error ->> 'message' AS why FROM pawl.workflows ORDER BY 1;
DELETE FROM pawl.worker;
SELECT pawl.drop_queue('stopped');
-- Fast with many children that have ended, some of which left something running.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request, pawl.audit_entry;
SELECT pg_temp.claimed('root') > 0;
INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status, workflow_id,
    workflow_name, enqueued_by)
SELECT -i, pg_temp.key('root'), now(), now(), 1, 0, 0, 0, false, 'succeeded', 'over-' || i, 'ship', 'somebody' FROM generate_series(1, 100000) i;
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, parent_key, ready_key)
SELECT 'left-' || i, 'ship', 'somebody', 1, -i * 1000, nextval('pawl.key_seq') FROM generate_series(1, 100) i;
SET statement_timeout = '20s';
SELECT pawl.cancel_workflow('root');
SELECT pawl.apply_cancel_requests(ARRAY[pg_temp.key('root')]);
RESET statement_timeout;
SELECT status, count(*) FROM pawl.workflows WHERE workflow_id LIKE 'left-%' GROUP BY 1;

-- Several at once: all that had not ended; an unknown id changes nothing.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request;
SELECT pg_temp.queued(i) FROM unnest('{c,a,b}'::text[]) i;
SELECT pawl.cancel_workflows('{a,nobody}');
SELECT count(*) FROM pawl.workflow;
SELECT pawl.cancel_workflow('b');
SELECT * FROM pawl.cancel_workflows('{a,b,c,a}', 'all of them');
SELECT * FROM pawl.cancel_workflows('{}');
SELECT * FROM pawl.cancel_workflows(NULL);
\echo :LAST_ERROR_SQLSTATE

-- Resume: after each kind of end.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request, pawl.workflow_step;
SELECT pg_temp.claimed(i) > 0 FROM unnest('{error,timeout,crashes,determinism,bad_input}'::text[]) i;
UPDATE pawl.workflow SET deadline_at = '2020-01-01', crashes = 2, recoveries = 5, probation = true, epoch = 3, priority = 4, workflow_version = 2, pinned = true,
    deduplication_id = workflow_id, headers = '{"h": 1}', attributes = '{"a": 1}', progress = '1', run_at = '2020-01-01';
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output, error, attempts, due_at)
    SELECT workflow_key, 1, n, s, 'step', t, CASE t WHEN 'succeeded' THEN '1'::jsonb END, CASE t WHEN 'failed' THEN '{"code": "x"}'::jsonb END, 2,
        CASE t WHEN 'waiting' THEN '2030-01-01'::timestamptz END
    FROM pawl.workflow, (VALUES (1, 'fetch', 'succeeded'), (2, 'try', 'failed'), (3, 'pay', 'failed'), (4, 'nap', 'waiting')) v (n, s, t);
SELECT pg_temp.finish(i, 'failed', i, '{"code": "declined", "step": "pay"}') FROM unnest('{error,timeout,crashes,bad_input}'::text[]) i;
-- Determinism: the step that does not fit succeeded, and is kept.
SELECT pg_temp.finish('determinism', 'failed', 'determinism', '{"code": "determinism", "step": "fetch"}');
SELECT i, pawl.resume_workflow(i, reason => 'the bank is back') FROM unnest('{error,timeout,crashes,determinism,bad_input}'::text[]) i;
SELECT count(*) FROM pawl.workflow_history;
SELECT DISTINCT status, rank, ready_key > workflow_key AS fresh, epoch, deadline_at, crashes, probation, recoveries, priority, workflow_version, pinned, deduplication_id = workflow_id
    AS deduplicated, headers, attributes, progress, input, claimed_by, running_in, run_at, due_at FROM pawl.workflow;
SELECT step_name, s.status, string_agg(workflow_id, ' ' ORDER BY workflow_id) AS workflows, max(due_at) AS due FROM pawl.workflow_step s
    JOIN pawl.workflow w USING (workflow_key) GROUP BY 1, 2 ORDER BY 1, 2;
-- Twice, of an unfinished one, of an unknown one.
SELECT pawl.resume_workflow('error');
SELECT pawl.resume_workflow('nobody');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_workflow('error', 0);
\echo :LAST_ERROR_SQLSTATE
-- Succeeded, and compensated: refused; several at once leave them out.
SELECT pg_temp.claimed('good') > 0, pg_temp.claimed('undone') > 0, pg_temp.claimed('bad') > 0;
SELECT pg_temp.finish('good', 'succeeded', NULL, NULL);
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, error)
    SELECT pg_temp.key('undone'), 1, 1, 'compensations', 'compensation', 'failed', '{"code": "x"}';
SELECT pg_temp.finish('undone', 'failed', 'error', '{"code": "x"}'), pg_temp.finish('bad', 'failed', 'error', '{"code": "x"}');
SELECT pawl.resume_workflow('good');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_workflow('undone');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.resume_workflows('{good,undone,bad,error}', 7);
SELECT workflow_version FROM pawl.workflow WHERE workflow_id = 'bad';
-- Cancelled: forgotten. One that never ran is yet to start.
SELECT pg_temp.queued('never ran'), pg_temp.parked('cancelled');
SELECT * FROM pawl.cancel_workflows('{never ran,cancelled}', 'why');
UPDATE pawl.workflow SET claimed_by = :me, status = 'running' WHERE workflow_id = 'cancelled';
SELECT pg_temp.finish('cancelled', 'cancelled', 'request', NULL);
SELECT * FROM pawl.resume_workflows('{never ran,cancelled}');
SELECT workflow_id, rank, started_at IS NOT NULL AS ran, cancel_requested_at, cancel_reason, cancelled_by, cancel_note FROM pawl.workflow
    WHERE workflow_id IN ('never ran', 'cancelled') ORDER BY 1;
-- Somebody else has its deduplication_id.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'first', deduplication_id => 'one');
SELECT pawl.cancel_workflow('first');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'next', deduplication_id => 'one');
SELECT pawl.resume_workflow('first');
\echo :LAST_ERROR_SQLSTATE
SELECT status FROM pawl.workflows WHERE workflow_id = 'first';
SELECT pawl.cancel_workflow('next'), pawl.resume_workflow('first');
-- Several at once: whatever cannot be resumed is left out, and as it was. Of two with one deduplication_id the second conflicts with the first.
SELECT pawl.enqueue_workflow('ship', workflow_id => i, deduplication_id => d), pawl.cancel_workflow(i)
    FROM (VALUES ('one of two', 'two'), ('two of two', 'two'), ('passed by', 'three'), ('redacted', NULL), ('free', NULL)) v (i, d);
SELECT pawl.create_queue('short-lived'), pawl.enqueue_workflow('ship', workflow_id => 'stranded', queue => 'short-lived'), pawl.cancel_workflow('stranded'),
    pawl.drop_queue('short-lived');
SELECT pawl.redact_workflow('redacted');
-- Its holder has started: the index does not tell.
SELECT pawl.enqueue_workflow('ship', workflow_id => 'passed on', deduplication_id => 'three');
UPDATE pawl.workflow SET claimed_by = :me, status = 'running', deduplication_started = true WHERE workflow_id = 'passed on';
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, error)
    SELECT pg_temp.key('passed by'), 1, 1, 'pay', 'step', 'failed', '{"code": "declined"}';
UPDATE pawl.workflow_history SET error = '{"code": "declined", "step": "pay"}' WHERE workflow_id = 'passed by';
SELECT pawl.resume_workflow('passed by');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_workflow('redacted');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_workflow('stranded');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.resume_workflows('{free,nobody}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.resume_workflows('{two of two,passed by,redacted,free,stranded,one of two,good,undone,bad}');
SELECT pawl.resume_workflow('two of two');
\echo :LAST_ERROR_SQLSTATE
SELECT workflow_id, status, (SELECT count(*) FROM pawl.workflow_step s WHERE s.workflow_key = w.workflow_key) AS steps FROM pawl.workflows w
    WHERE workflow_id IN ('two of two', 'passed by', 'redacted', 'free', 'stranded', 'one of two') ORDER BY 1;
-- A late answer of the run that it had before is fenced.
SELECT * FROM pawl.complete_workflows(:me, ARRAY[pg_temp.key('bad')], '{1}', '{succeeded}', '{NULL}', '{1}', '{NULL}');

-- What it waited for of others tells it again.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.workflow_step, pawl.waiter;
SELECT pg_temp.claimed('waiting') > 0, pg_temp.queued('one'), pg_temp.queued('two'), pg_temp.queued('three');
CREATE FUNCTION pg_temp.waits(epoch integer) RETURNS TABLE (status text) LANGUAGE sql AS $$
    SELECT p.status FROM pawl.perform_calls('00000000-0000-4000-8000-000000000001', array_fill(pg_temp.key('waiting'), ARRAY[4]), array_fill(epoch, ARRAY[4]),
        '{a,b,c,d}', '{1,2,3,4}', '{await_child,await_children,race,receive}', ARRAY['{"workflow_id": "one"}', '{"workflow_ids": ["one", "two"]}',
        '{"of": [{"kind": "get_event", "workflow_id": "three", "key": "target"}, {"kind": "await_children", "workflow_ids": ["two"]}, {"kind": "receive"}]}',
        '{"topic": "target"}']::jsonb[], '{NULL,NULL,NULL,NULL}') p ORDER BY p.ordinal
$$;
SELECT * FROM pg_temp.waits(1);
CREATE TEMPORARY TABLE waiters AS SELECT * FROM pawl.waiter;
SELECT pg_temp.finish('waiting', 'failed', 'error', '{"code": "x"}');
SELECT count(*) FROM pawl.waiter;
SELECT pawl.resume_workflow('waiting');
SELECT count(*), (SELECT count(*) FROM waiters NATURAL JOIN pawl.waiter) AS as_before FROM pawl.waiter;
-- What it was trying when it ended has all its time again, and what failed before counts as before.
SELECT pg_temp.claimed('trying') > 0;
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, attempts, step_name, kind, status, started_at, due_at)
    VALUES (pg_temp.key('trying'), 1, 1, 3, 'pay', 'step', 'retrying', now() - interval '1 day', now() - interval '1 hour');
SELECT pg_temp.finish('trying', 'failed', 'timeout', '{"code": "x"}');
SELECT pawl.resume_workflow('trying');
SELECT status, attempts, now() - started_at < interval '1 minute' AS anew FROM pawl.workflow_step WHERE workflow_key = pg_temp.key('trying');

-- Move: what is claimable gets a fresh key.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request, pawl.workflow_step;
SELECT pg_temp.claimed('busy') > 0, pg_temp.parked('asleep'), pg_temp.queued('new'), pg_temp.claimed('back') > 0, pg_temp.claimed('bill', name => 'bill') > 0;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'pinned', workflow_version => 1);
SELECT pawl.enqueue_workflow('ship', workflow_id => 'delayed', workflow_version => 1, delay => '1 day');
SELECT count(*) FROM pawl.release_workflows(:me, ARRAY[pg_temp.key('back')], '{1}');
CREATE TEMPORARY TABLE before AS SELECT workflow_key, ready_key FROM pawl.workflow;
SELECT pawl.move_workflows('ship', 1, 3);
SELECT w.workflow_id, w.workflow_version, w.ready_key > b.ready_key AS fresh, w.pinned, w.status FROM pawl.workflow w JOIN before b USING (workflow_key) ORDER BY 1;
SELECT pawl.move_workflows('ship', 1, 3);
SELECT pawl.move_workflows('ship', 3, 3);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.move_workflows('ship', NULL, 3);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.move_workflows('ship', 3, 0);
\echo :LAST_ERROR_SQLSTATE

-- Export.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step;
SELECT pg_temp.claimed('told') > 0;
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output, error, attempts)
    VALUES (pg_temp.key('told'), 1, 2, 'pay', 'step', 'failed', NULL, '{"code": "declined"}', 3), (pg_temp.key('told'), 1, 1, 'reserve', 'transaction', 'succeeded', '{"left": 3}', NULL, 1);
SELECT jsonb_pretty(pawl.export_workflow('told') #- '{created_at}' #- '{started_at}');
UPDATE pawl.workflow SET input = NULL;
INSERT INTO pawl.payload SELECT workflow_key, 'input', to_jsonb(repeat('i', 5000)) FROM pawl.workflow;
SELECT * FROM pawl.complete_workflows(:me, ARRAY[pg_temp.key('told')], '{1}', '{succeeded}', '{NULL}', ARRAY[to_jsonb(repeat('o', 3000))], '{NULL}');
SELECT length(e ->> 'input') AS input, length(e ->> 'output') AS output, e ->> 'status' AS status FROM pawl.export_workflow('told') e;
SELECT pawl.export_workflow('nobody');
\echo :LAST_ERROR_SQLSTATE

-- Narrowed to a workflow_name or a queue.
SELECT pawl.revoke_access('pawl_test_operator', 'operate');
SELECT pawl.create_queue('eu');
SELECT pawl.grant_access('pawl_test_operator', 'operate', workflow_name => 'bill');
SELECT pawl.grant_access('pawl_test_operator', 'operate', queue => 'eu');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'ship'), pawl.enqueue_workflow('bill', workflow_id => 'bill'), pawl.enqueue_workflow('ship', workflow_id => 'eu', queue => 'eu');
SET ROLE pawl_test_operator;
SELECT pawl.cancel_workflow('ship');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.cancel_workflows('{ship,bill}');
SELECT * FROM pawl.cancel_workflows('{eu,bill}');
SELECT pawl.resume_workflow('eu');
SELECT pawl.resume_workflow('told');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.move_workflows('ship', 1, 2);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.move_workflows('bill', 1, 2);
SELECT pawl.export_workflow('bill');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT pawl.grant_access('pawl_test_operator', 'inspect');
SET ROLE pawl_test_operator;
SELECT pawl.export_workflow('told') ->> 'status';
RESET ROLE;
SET client_min_messages = warning;
SELECT pawl.revoke_access('pawl_test_operator', 'operate'), pawl.revoke_access('pawl_test_operator', 'inspect');
DROP ROLE pawl_test_operator;
