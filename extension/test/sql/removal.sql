-- Deleting ended workflows: with everything that was kept of them, and never one that is still awaited.
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
-- A workflow as a claim leaves it, perhaps the child of another.
CREATE FUNCTION pg_temp.claimed(id text, parent text DEFAULT NULL, name text DEFAULT 'ship') RETURNS SETOF text LANGUAGE sql AS $$
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, status, claimed_by, claimed_at, started_at, epoch,
        workflow_version, parent_key)
    VALUES (id, name, 'somebody', 1, nextval('pawl.key_seq'), 'running', '00000000-0000-4000-8000-000000000001', now(), now(), 1, 1, pg_temp.key(parent));
    INSERT INTO pawl.payload VALUES (pg_temp.key(id), 'input', '"long"');
    SELECT NULL::text WHERE false
$$;
CREATE FUNCTION pg_temp.call(id text, step_name text, kind text, arguments jsonb) RETURNS TABLE (refusal text, status text, output text) LANGUAGE sql AS $$
    SELECT refusal, status, left(output::text, 20) FROM pawl.perform_calls('00000000-0000-4000-8000-000000000001', ARRAY[pg_temp.key(id)], '{1}', ARRAY[step_name],
        '{1}', ARRAY[kind], ARRAY[arguments], ARRAY[now()])
$$;
CREATE FUNCTION pg_temp.finish(id text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT refusal FROM pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[pg_temp.key(id)], '{1}', '{succeeded}', '{NULL}',
        ARRAY[to_jsonb(repeat('x', 5000))], '{NULL}')
$$;
-- Every table that has keys of workflows, and how many rows it has of those.
CREATE FUNCTION pg_temp.left_of(keys bigint[]) RETURNS TABLE (relation text, left_of bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR relation IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = 'workflow_key' ORDER BY 1
    LOOP
        EXECUTE format('SELECT count(*) FROM pawl.%I WHERE workflow_key = ANY ($1)', relation) INTO left_of USING keys;
        RETURN NEXT;
    END LOOP;
END $$;

-- One that has left something everywhere, and another that has the same and stays.
SELECT pg_temp.claimed(id) FROM unnest('{gone,kept}'::text[]) id;
SELECT pawl.send_message(id, '"read"'), pawl.send_message(id, '"unread"', 'other') FROM unnest('{gone,kept}'::text[]) id;
SELECT id, c.* FROM unnest('{gone,kept}'::text[]) id, LATERAL (
    SELECT * FROM pg_temp.call(id, 'event', 'set_event', '{"key": "e", "value": 1}')
    UNION ALL SELECT * FROM pg_temp.call(id, 'stream', 'write_stream', '{"key": "s", "value": 1}')
    UNION ALL SELECT * FROM pg_temp.call(id, 'closing', 'close_stream', '{"key": "s"}')
    UNION ALL SELECT * FROM pg_temp.call(id, 'message', 'receive', '{}')
    UNION ALL SELECT * FROM pg_temp.call(id, 'wait', 'sleep', '{"seconds": 1000}')) c;
SELECT pawl.cancel_workflow('gone', 'too late');
-- It runs: it is not deleted.
SELECT pawl.delete_workflow('gone');
SELECT pg_temp.finish('gone'), pg_temp.finish('kept');
SELECT pg_temp.key('gone') AS gone, pg_temp.key('kept') AS kept \gset
SELECT * FROM pg_temp.left_of(ARRAY[:gone]);
SELECT pawl.delete_workflow('gone');
-- Signals, and a request that came too late, are for a worker to drop.
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (:me, 1, 1, 10, 'running', 'w', 'localhost', '0', 'somebody');
SELECT count(*) FROM pawl.take_signals(:me);
SELECT * FROM pg_temp.left_of(ARRAY[:gone]) WHERE left_of > 0;
SELECT relation, left_of FROM pg_temp.left_of(ARRAY[:kept]) WHERE left_of > 0;
SELECT pawl.delete_workflow('gone');
\echo :LAST_ERROR_SQLSTATE

-- Awaited: by a parent that has not ended, whether it waits or not; and by another that waits.
SELECT pg_temp.claimed('parent');
SELECT pg_temp.claimed('child', 'parent'), pg_temp.claimed('stranger');
SELECT pg_temp.claimed('helper');
SELECT * FROM pg_temp.call('stranger', 'help', 'await_child', '{"workflow_id": "helper"}');
SELECT pg_temp.finish('child'), pg_temp.finish('helper');
SELECT pawl.delete_workflow('child');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.delete_workflow('helper');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pg_temp.call('stranger', 'help', 'await_child', '{"workflow_id": "helper"}');
SELECT pg_temp.finish('parent');
SELECT * FROM pawl.delete_workflows('{stranger,helper,child,parent,kept,child}') AS deleted;
SELECT workflow_id, status FROM pawl.workflows ORDER BY 1;
SELECT * FROM pawl.delete_workflows('{}') AS deleted;
SELECT * FROM pawl.delete_workflows('{stranger,nobody}') AS deleted;
\echo :LAST_ERROR_SQLSTATE

-- What retention calls: by key, and it says how many.
SELECT pg_temp.finish('stranger');
SELECT pg_temp.key('stranger') AS stranger \gset
SELECT pawl.erase_workflows(ARRAY[:stranger, :stranger, :gone, 1]), pawl.erase_workflows('{}'), pawl.erase_workflows(NULL);
SELECT * FROM pg_temp.left_of(ARRAY[:stranger]) WHERE left_of > 0;

-- Redacting: nothing that was said is left in any table, of the workflow, its children and theirs; what is left is the record.
CREATE FUNCTION pg_temp.secrets() RETURNS TABLE (relation text, secrets bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR relation IN SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
    LOOP
        EXECUTE format('SELECT count(*) FROM pawl.%I t WHERE t::text LIKE ''%%secret%%''', relation) INTO secrets;
        IF secrets > 0 THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.secretive(id text, parent text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT pg_temp.claimed(id, parent);
    UPDATE pawl.workflow SET input = '"secret"', headers = '{"h": "secret"}', attributes = '{"a": "secret"}', progress = '"secret"' WHERE workflow_id = id;
    UPDATE pawl.payload SET value = '"secret"' WHERE workflow_key = pg_temp.key(id);
    INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output, error, arguments) VALUES
        (pg_temp.key(id), 1, 1, 'fetch', 'step', 'succeeded', '"secret"', NULL, NULL),
        (pg_temp.key(id), 1, 2, 'pay', 'step', 'failed', NULL, '{"code": "declined", "type": "Bank", "message": "secret", "step": "pay", "attempt": 2,
            "detail": {"x": "secret"}, "cause": {"message": "secret"}}', NULL),
        (pg_temp.key(id), 1, 3, 'wait', 'receive', 'waiting', NULL, NULL, '{"topic": "secret"}');
    SELECT pawl.send_message(id, '"secret"');
    SELECT status FROM pg_temp.call(id, 'event', 'set_event', '{"key": "e", "value": "secret"}');
    SELECT status FROM pg_temp.call(id, 'stream', 'write_stream', '{"key": "s", "value": "secret"}')
$$;
SELECT pg_temp.secretive('root', NULL);
SELECT pg_temp.secretive('root/a', 'root');
SELECT pg_temp.secretive('root/a/b', 'root/a'), pg_temp.secretive('other', NULL);
UPDATE pawl.workflow SET detached = true WHERE workflow_id = 'root/a/b';
SELECT pawl.cancel_workflow('root', 'a secret reason');
SELECT pg_temp.key('root') AS root, pg_temp.key('other') AS other \gset
SELECT pawl.redact_workflow('root');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.apply_cancel_requests(ARRAY(SELECT workflow_key FROM pawl.workflow WHERE workflow_id = 'root'));
SELECT refusal FROM pawl.complete_workflows(:me, ARRAY[:root], '{1}', '{cancelled}', '{request}', '{NULL}', ARRAY['{"code": "x", "message": "secret"}']::jsonb[]);
SELECT pawl.redact_workflow('root');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.finish('root/a'), pg_temp.finish('other');
-- A grandchild has not ended, though a detached one.
SELECT * FROM pawl.redact_workflows('{root,root/a,other}') AS redacted;
SELECT pg_temp.finish('root/a/b');
SELECT * FROM pg_temp.secrets();
SELECT pawl.redact_workflow('root');
-- Why it was cancelled is the audit's to keep.
SELECT * FROM pg_temp.secrets();
SELECT workflow_id, status, status_reason, input, output, error, progress, headers, attributes FROM pawl.workflows WHERE workflow_id LIKE 'root%' ORDER BY 1;
SELECT step_name, step_number, kind, status, output, error, waits_for FROM pawl.workflow_steps WHERE workflow_id = 'root' ORDER BY step_number;
SELECT message FROM pawl.messages WHERE workflow_id = 'root' UNION ALL SELECT value FROM pawl.events WHERE workflow_id = 'root'
    UNION ALL SELECT value FROM pawl.stream_entries WHERE workflow_id = 'root';
-- A message that was sent before the end, and committed only now: redacted by doing it again.
INSERT INTO pawl.message (workflow_key, topic, sent_by, message) VALUES (pg_temp.key('root/a/b'), 'late', 'somebody', '"secret"');
SELECT * FROM pg_temp.secrets();
SELECT pawl.redact_workflow('root');
SELECT * FROM pg_temp.secrets();
-- It does not run again; it can be redacted again, and deleted.
SELECT pawl.resume_workflow('root');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.rewind_workflow('root', 'pay');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fork_workflow('root');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.redact_workflow('nobody');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.redact_workflow('root'), pawl.delete_workflow('root'), pawl.delete_workflow('other');
-- One that somebody may still ask about is not redacted.
SELECT pg_temp.claimed('asks');
SELECT pg_temp.claimed('asked', 'asks');
SELECT pg_temp.finish('asked');
SELECT pawl.redact_workflow('asked');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.redact_workflows('{asked,root/a}') AS redacted;

-- Only whoever may operate on all of them.
CREATE ROLE regress_biller;
SELECT pawl.grant_access('regress_biller', 'operate', 'bill');
SELECT pg_temp.claimed('ours'), pg_temp.claimed('theirs', name => 'bill');
SELECT pg_temp.finish('ours'), pg_temp.finish('theirs');
SET ROLE regress_biller;
SELECT pawl.delete_workflows('{ours,theirs}');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.redact_workflows('{ours,theirs}');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.redact_workflow('theirs');
SELECT pawl.delete_workflow('theirs');
RESET ROLE;
SELECT role_name = current_user AS mine, action, object_kind, object_name, reason, detail FROM pawl.audit ORDER BY audit_key;

DROP OWNED BY regress_biller;
DROP ROLE regress_biller;
