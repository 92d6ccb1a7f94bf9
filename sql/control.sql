-- What people do to workflows that are there: cancel them, resume them, move them to another version, export them. rewind.sql and removal.sql go on.
-- None of it waits for a worker, or lets one wait: what is claimed is asked by a row and a signal, and only what nobody has claimed is locked.

CREATE FUNCTION pawl.check_workflow_ids(workflow_ids text[], reason text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF workflow_ids IS NULL THEN
        PERFORM pawl.refuse_argument('workflow_ids must not be null', 'Each element is the id of one workflow.', 'An empty array changes nothing.');
    END IF;
    PERFORM pawl.check_name('workflow_id', i, 512) FROM unnest(workflow_ids) i;
    IF reason IS NOT NULL THEN
        PERFORM pawl.check_name('reason', reason, 1024);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_workflow_ids(text[], text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_workflow_ids(text[], text) IS 'Internal: refuses ids and a reason that cannot be.';

-- Unfinished and ended ones in one statement, so that none is missed while it goes from one table to the other.
CREATE FUNCTION pawl.find_workflows(workflow_ids text[]) RETURNS TABLE (workflow_id text, workflow_key bigint, workflow_name text, queue_id integer,
    ended boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.workflow_id, w.workflow_key, w.workflow_name, w.queue_id, false FROM pawl.workflow w WHERE w.workflow_id = ANY (workflow_ids)
    UNION ALL
    SELECT h.workflow_id, h.workflow_key, h.workflow_name, h.queue_id, true FROM pawl.workflow_history h WHERE h.workflow_id = ANY (workflow_ids);
END $$;
REVOKE ALL ON FUNCTION pawl.find_workflows(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.find_workflows(text[]) IS 'Internal: the workflows of these ids.';

CREATE FUNCTION pawl.refuse_unknown(workflow_ids text[], known text[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    missing text;
BEGIN
    SELECT i INTO missing FROM unnest(workflow_ids) i WHERE i <> ALL (coalesce(known, '{}')) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PW010', MESSAGE = format('workflow "%s" does not exist', missing),
            DETAIL = 'None of that id was enqueued, or it ended so long ago that it was deleted. Nothing was changed.',
            HINT = 'SELECT workflow_id FROM pawl.workflows lists those there are.';
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_unknown(text[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_unknown(text[], text[]) IS 'Internal: raises PW010 for an id that names no workflow.';

-- How each of these begins: every id names a workflow, and the caller may operate on all of them.
CREATE FUNCTION pawl.find_operable(workflow_ids text[], reason text) RETURNS TABLE (workflow_id text, workflow_key bigint, ended boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    names text[];
    queue_ids integer[];
    keys bigint[];
    ends boolean[];
BEGIN
    PERFORM pawl.check_workflow_ids(workflow_ids, reason);
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key), array_agg(f.workflow_name), array_agg(f.queue_id), array_agg(f.ended)
        INTO ids, keys, names, queue_ids, ends FROM pawl.find_workflows(workflow_ids) f;
    PERFORM pawl.refuse_unknown(workflow_ids, ids), pawl.check_narrowing('operate', names, queue_ids);
    RETURN QUERY SELECT f.* FROM unnest(ids, keys, ends) f ORDER BY 2;
END $$;
REVOKE ALL ON FUNCTION pawl.find_operable(text[], text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.find_operable(text[], text) IS
'Internal: the workflows of these ids by their keys. Refuses what cannot be an id or a reason, unknown ids, and a caller who may not operate on one of them.';

-- How each of these ends.
CREATE FUNCTION pawl.record_workflows(action text, workflow_ids text[], workflow_keys bigint[], changed bigint[], reason text,
    detail jsonb DEFAULT NULL) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids CONSTANT text[] := ARRAY(SELECT f.workflow_id FROM unnest(workflow_ids, workflow_keys) f (workflow_id, workflow_key)
        WHERE f.workflow_key = ANY (changed) ORDER BY f.workflow_key);
BEGIN
    PERFORM pawl.record_action(record_workflows.action, 'workflow', ids, record_workflows.reason,
        nullif(jsonb_strip_nulls(record_workflows.detail), '{}'));
    RETURN QUERY SELECT i FROM unnest(ids) i;
END $$;
REVOKE ALL ON FUNCTION pawl.record_workflows(text, text[], bigint[], bigint[], text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_workflows(text, text[], bigint[], bigint[], text, jsonb) IS
'Internal: writes to pawl.audit what was done to those of these workflows that were changed, and answers their ids. Members of detail that are null are
left out.';

-- The version that a workflow is to go on with.
CREATE FUNCTION pawl.check_version(workflow_version integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF workflow_version < 1 THEN
        PERFORM pawl.refuse_argument('workflow_version must be at least 1', format('It is %s.', workflow_version),
            'Leave it out to go on with the version that it had.');
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_version(integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_version(integer) IS 'Internal: refuses a version that no handler can have.';

-- The error of a cancelled workflow says who asked for it and why. Whatever its run had to say stays.
CREATE FUNCTION pawl.cancel_error(error jsonb, cancel_reason text, cancelled_by text, cancel_note text) RETURNS jsonb LANGUAGE sql IMMUTABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('code', 'cancelled', 'type', 'pawl', 'message', coalesce(cancel_note,
                CASE cancel_reason WHEN 'parent' THEN 'Its parent was cancelled.' ELSE 'It was cancelled on request.' END),
            'step', NULL, 'attempt', NULL, 'detail', NULL, 'cause', NULL)
        || coalesce(error, '{}')
        || CASE WHEN coalesce(jsonb_typeof(error -> 'detail'), 'null') IN ('null', 'object') THEN jsonb_build_object('detail',
            coalesce(nullif(error -> 'detail', 'null'), '{}') || jsonb_build_object('cancelled_by', cancelled_by, 'reason', cancel_note)) ELSE '{}' END
$$;
REVOKE ALL ON FUNCTION pawl.cancel_error(jsonb, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.cancel_error(jsonb, text, text, text) IS
'Internal: the error of a cancelled workflow, with who asked for it and the reason that was given.';

-- Cancels unfinished workflows, and with each its children and theirs, also where one in between has ended. Locks only what is there for it to lock: a
-- transaction of a user that stays open must hold up no worker, and two that talk about the same workflows must not wait for one another. What could not
-- be locked is asked, and this is called again once that was heard of, with the time when it was asked.
CREATE FUNCTION pawl.cancel_tree(workflow_keys bigint[], cancel_reason text, cancel_note text, cancelled_by text, audited boolean DEFAULT false,
    asked_at timestamptz DEFAULT NULL) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    keys bigint[];          -- all of them that have not ended
    ids text[];
    tops integer[];         -- with which of the given ones each is cancelled; NULL: it is one of them
    given bigint[];         -- those that are there
    given_ids text[];
    parents bigint[];       -- whose children are looked for next, ended ones too
    parent_tops integer[];
    since timestamptz;      -- what ended before that has no child that is looked for
    level bigint[];
    free bigint[] := '{}';  -- those of keys that nobody has claimed; locked
    busy bigint[];          -- the others
    ended bigint[];         -- of the free ones those that never ran
    asked bigint[];
    marks bigint;
BEGIN
    SELECT coalesce(array_agg(f.workflow_key) FILTER (WHERE NOT f.ended), '{}'), coalesce(array_agg(f.workflow_id) FILTER (WHERE NOT f.ended), '{}'),
            array_agg(f.workflow_key), array_agg(f.workflow_id), coalesce(asked_at, min(f.created_at)) - interval '1 minute'
        INTO keys, ids, given, given_ids, since
        FROM (
            SELECT w.workflow_key, w.workflow_id, w.created_at, false AS ended FROM pawl.workflow w WHERE w.workflow_key = ANY (cancel_tree.workflow_keys)
            UNION ALL
            -- It ended before it heard of it: what it had started until then is cancelled all the same.
            SELECT h.workflow_key, h.workflow_id, h.created_at, true FROM pawl.workflow_history h
            WHERE h.workflow_key = ANY (cancel_tree.workflow_keys) AND h.completed_at >= asked_at - interval '1 minute') f;
    IF given IS NULL THEN
        RETURN '{}';
    END IF;
    parents := given;
    parent_tops := ARRAY(SELECT generate_series(1, cardinality(given)));
    tops := array_fill(NULL::integer, ARRAY[cardinality(keys)]);
    level := keys;
    -- A claim passes by what is locked, so nobody who is in a hurry waits for these.
    PERFORM pawl.mark_locks();
    -- Level by level, each bounded by an array: a join could be planned to read the whole index. What is locked starts no child any more, so those that
    -- it has are found by the statement after that.
    WHILE parents <> '{}' LOOP
        WITH locked AS MATERIALIZED (
            SELECT w.workflow_key FROM pawl.workflow w
            WHERE w.workflow_key = ANY (level) AND w.claimed_by IS NULL AND w.cancel_requested_at IS NULL
            ORDER BY w.workflow_key FOR UPDATE SKIP LOCKED)
        SELECT free || coalesce(array_agg(l.workflow_key), '{}') INTO free FROM locked l;
        WITH children AS MATERIALIZED (
            SELECT w.workflow_key, w.workflow_id, w.parent_key, false AS ended FROM pawl.workflow w WHERE w.parent_key = ANY (parents) AND NOT w.detached
            UNION ALL
            SELECT h.workflow_key, h.workflow_id, h.parent_key, true FROM pawl.workflow_history h
            WHERE h.parent_key = ANY (parents) AND h.completed_at >= since AND NOT h.detached)
        SELECT coalesce(array_agg(c.workflow_key), '{}'), coalesce(array_agg(p.top), '{}'),
                coalesce(array_agg(c.workflow_key) FILTER (WHERE NOT c.ended), '{}'),
                ids || coalesce(array_agg(c.workflow_id) FILTER (WHERE NOT c.ended), '{}'), tops || coalesce(array_agg(p.top) FILTER (WHERE NOT c.ended), '{}')
            INTO parents, parent_tops, level, ids, tops
            FROM children c JOIN unnest(parents, parent_tops) p (workflow_key, top) ON p.workflow_key = c.parent_key
            WHERE NOT EXISTS (SELECT FROM unnest(given) k WHERE k = c.workflow_key);
        keys := keys || level;
    END LOOP;

    IF cardinality(free) > 0 THEN
        PERFORM pawl.add_history_partition(now);
        WITH gone AS (
            DELETE FROM pawl.workflow w WHERE w.workflow_key = ANY (free) AND w.started_at IS NULL RETURNING w.*),
        moved AS (
            INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, run_at, started_at, completed_at, deadline_at,
                cancel_requested_at, scheduled_at, epoch, queue_id, priority, workflow_version, recoveries, pinned, detached, status, status_reason,
                workflow_id, workflow_name, partition_key, deduplication_id, forked_from, schedule_name, enqueued_by, cancelled_by, cancel_note,
                headers, attributes, progress, input, error)
            SELECT g.workflow_key, g.parent_key, g.created_at, g.run_at, g.started_at, now, g.deadline_at,
                now, g.scheduled_at, g.epoch, g.queue_id, g.priority, g.workflow_version, g.recoveries, g.pinned, g.detached, 'cancelled', r.reason,
                g.workflow_id, g.workflow_name, g.partition_key, g.deduplication_id, g.forked_from, g.schedule_name, g.enqueued_by,
                cancel_tree.cancelled_by, cancel_tree.cancel_note, g.headers, g.attributes, g.progress, g.input,
                pawl.cancel_error(NULL, r.reason, cancel_tree.cancelled_by, cancel_tree.cancel_note)
            FROM gone g JOIN (
                SELECT a.workflow_key, CASE WHEN a.top IS NULL THEN cancel_tree.cancel_reason ELSE 'parent' END AS reason
                FROM unnest(keys, tops) a (workflow_key, top)) r ON r.workflow_key = g.workflow_key)
        SELECT coalesce(array_agg(g.workflow_key), '{}') INTO ended FROM gone g;
        PERFORM pawl.signal_ends(ended);
        -- Parked ones wake up, so that a worker ends them.
        WITH woken AS (
            UPDATE pawl.workflow w SET cancel_requested_at = now, cancel_reason = CASE WHEN r.top IS NULL THEN cancel_tree.cancel_reason ELSE 'parent' END,
                cancelled_by = cancel_tree.cancelled_by, cancel_note = cancel_tree.cancel_note, status = 'enqueued', waiting_for = NULL, due_at = NULL,
                rank = w.rank & ~1::bigint, ready_key = nextval('pawl.key_seq')
            FROM unnest(keys, tops) r (workflow_key, top)
            WHERE w.workflow_key = ANY (free) AND w.workflow_key = r.workflow_key
            RETURNING w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key),
        marked AS MATERIALIZED (
            SELECT pawl.mark_ready(w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key IS NOT NULL) FROM woken w)
        SELECT count(*) INTO marks FROM marked;
    END IF;
    busy := ARRAY(SELECT k FROM unnest(keys) k EXCEPT SELECT f FROM unnest(free) f);
    IF busy <> '{}' THEN
        WITH requested AS (
            INSERT INTO pawl.cancel_request (workflow_key, requested_at, cancel_reason, cancelled_by, cancel_note, audited)
            SELECT r.workflow_key, now, CASE WHEN r.top IS NULL THEN cancel_tree.cancel_reason ELSE 'parent' END, cancel_tree.cancelled_by,
                cancel_tree.cancel_note, cancel_tree.audited
            -- Of one that has ended meanwhile too: it may have started another before.
            FROM unnest(keys, tops) r (workflow_key, top)
                LEFT JOIN (SELECT w.workflow_key, w.cancel_requested_at FROM pawl.workflow w WHERE w.workflow_key = ANY (busy)) w
                    ON w.workflow_key = r.workflow_key
            WHERE r.workflow_key = ANY (busy) AND w.cancel_requested_at IS NULL
                AND (asked_at IS NULL OR NOT EXISTS (SELECT FROM pawl.cancel_request q WHERE q.workflow_key = ANY (busy) AND q.workflow_key = r.workflow_key))
            RETURNING workflow_key)
        SELECT array_agg(r.workflow_key) INTO asked FROM requested r;
        IF asked IS NOT NULL THEN
            PERFORM pawl.signal_workflows(asked);
        END IF;
    END IF;
    IF cancel_tree.audited THEN
        -- Those that were given are the caller's to record.
        INSERT INTO pawl.audit_entry (role_name, action, object_kind, object_name, reason, detail)
        SELECT cancel_tree.cancelled_by, 'cancel_workflow', 'workflow', r.workflow_id, cancel_tree.cancel_note, jsonb_build_object('with', given_ids[r.top])
        FROM unnest(keys, ids, tops) r (workflow_key, workflow_id, top) JOIN unnest(free || asked) c (workflow_key) ON c.workflow_key = r.workflow_key
        WHERE r.top IS NOT NULL ORDER BY r.workflow_key;
    END IF;
    RETURN keys;
END $$;
REVOKE ALL ON FUNCTION pawl.cancel_tree(bigint[], text, text, text, boolean, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.cancel_tree(bigint[], text, text, text, boolean, timestamptz) IS
'Internal: asks for the cancellation of unfinished workflows and of their children; answers the keys of all that had not ended. audited: the children go to
pawl.audit. asked_at: it was asked for before, then, and is heard of now.';

CREATE FUNCTION pawl.request_cancel(workflow_keys bigint[], reason text) RETURNS bigint[] LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.cancel_tree(workflow_keys, 'request', reason, pawl.outer_user())
$$;
REVOKE ALL ON FUNCTION pawl.request_cancel(bigint[], text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.request_cancel(bigint[], text) IS
'Internal: asks for the cancellation of workflows and of their children; answers the keys of all that had not ended.';

-- The caller holds the rows that are there. What never ran ends. Of any other the row says it, and from then on its run records nothing more and starts no
-- child; what it had started until then is seen by the statement after that, and cancelled too.
CREATE FUNCTION pawl.apply_cancel_requests(workflow_keys bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    asked record;
BEGIN
    FOR asked IN
        WITH taken AS (
            DELETE FROM pawl.cancel_request r
            WHERE r.workflow_key = ANY (apply_cancel_requests.workflow_keys) AND r.request_key = ANY (ARRAY (
                SELECT l.request_key FROM pawl.cancel_request l WHERE l.workflow_key = ANY (apply_cancel_requests.workflow_keys)
                FOR UPDATE SKIP LOCKED))
            RETURNING r.*),
        first AS (
            SELECT DISTINCT ON (t.workflow_key) t.* FROM taken t ORDER BY t.workflow_key, t.request_key),
        done AS (
            UPDATE pawl.workflow w SET cancel_requested_at = f.requested_at, cancel_reason = f.cancel_reason, cancelled_by = f.cancelled_by,
                cancel_note = f.cancel_note
            FROM first f WHERE w.workflow_key = ANY (apply_cancel_requests.workflow_keys) AND w.workflow_key = f.workflow_key
                AND w.cancel_requested_at IS NULL AND (w.claimed_by IS NOT NULL OR w.started_at IS NOT NULL))
        SELECT f.cancel_reason, f.cancel_note, f.cancelled_by, f.audited, min(f.requested_at) AS requested_at, array_agg(f.workflow_key) AS keys
        FROM first f GROUP BY f.cancel_reason, f.cancel_note, f.cancelled_by, f.audited
    LOOP
        PERFORM pawl.cancel_tree(asked.keys, asked.cancel_reason, asked.cancel_note, asked.cancelled_by, asked.audited, asked.requested_at);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION pawl.apply_cancel_requests(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.apply_cancel_requests(bigint[]) IS
'Internal: puts the cancellations that were asked for into the rows of these workflows, which the caller has locked, or ends those that never ran; requests of
ended ones are dropped.';

CREATE FUNCTION pawl.cancel_workflows(workflow_ids text[], reason text DEFAULT NULL) RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    keys bigint[];
    unfinished bigint[];
    why CONSTANT text := coalesce(reason, nullif(current_setting('pawl.reason', true), ''));
BEGIN
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key) INTO ids, keys FROM pawl.find_operable(workflow_ids, reason) f WHERE NOT f.ended;
    unfinished := pawl.cancel_tree(keys, 'request', why, pawl.outer_user(), true);
    RETURN QUERY SELECT pawl.record_workflows('cancel_workflow', ids, keys, unfinished, why);
END $$;
REVOKE ALL ON FUNCTION pawl.cancel_workflows(text[], text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.cancel_workflows(text[], text) IS
'Cancels workflows as pawl.cancel_workflow does, all in this transaction. Returns the ids of those that had not ended.
workflow_ids: an id that names none is PW010, and nothing is changed.
reason: 1 to 1024 bytes, for people.';

CREATE FUNCTION pawl.cancel_workflow(workflow_id text, reason text DEFAULT NULL) RETURNS boolean LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pawl.cancel_workflows(ARRAY[workflow_id], reason))
$$;
REVOKE ALL ON FUNCTION pawl.cancel_workflow(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.cancel_workflow(text, text) IS
'Cancels a workflow and its children, and theirs, also those of children that have ended, but for detached ones. True: asked for, now or before; false: it
had ended.
One that never started ends at once. Any other is told when this commits: its run is interrupted, its compensations run, then it ends as cancelled
(status_reason request; of children parent); a step that ends after that is not recorded. A parked one wakes up for it. A run that is over
before it hears of it ends as it would have ended.
Nothing here waits for a worker, and no worker waits for the end of this transaction.
workflow_id: PW010 if there is none.
reason: 1 to 1024 bytes, for people: detail.reason of the error of what was cancelled, beside detail.cancelled_by; and in pawl.audit, which names the
children too, in detail.with the workflow that was to be cancelled.
Errors: PW006 for a role whose access is narrowed to something else.';

-- Whoever is second waits here, and does not find them any more.
CREATE FUNCTION pawl.lock_ended(workflow_keys bigint[]) RETURNS SETOF pawl.workflow_history LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH locked AS MATERIALIZED (
        SELECT h FROM pawl.workflow_history h WHERE h.workflow_key = ANY (lock_ended.workflow_keys) ORDER BY h.workflow_key FOR UPDATE)
    SELECT (l.h).* FROM locked l;
END $$;
REVOKE ALL ON FUNCTION pawl.lock_ended(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.lock_ended(bigint[]) IS 'Internal: those of these workflows that have ended, by their keys and locked.';

-- From the history back among the unfinished ones, under its key: so its steps, messages and children are still its own. The caller has locked it.
CREATE FUNCTION pawl.reopen_workflow(ended pawl.workflow_history, workflow_version integer, verb text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    ready CONSTANT bigint := nextval('pawl.key_seq');
    version CONSTANT integer := coalesce(reopen_workflow.workflow_version, ended.workflow_version);
    -- One that never ran is yet to start.
    rank CONSTANT bigint := 2 * ended.priority::bigint + CASE WHEN ended.started_at IS NULL THEN 1 ELSE 0 END;
    holder text;
BEGIN
    IF ended.redacted_at IS NOT NULL OR NOT pawl.queue_is_there(ended.queue_id) THEN
        IF verb IS NOT NULL THEN
            PERFORM pawl.refuse_redacted(ended.workflow_id, ended.redacted_at, verb), pawl.check_queue_is_there(ended.workflow_id, ended.queue_id);
        END IF;
        RETURN false;
    END IF;
    -- The epoch stays: the next claim gets a higher one than any fence there is.
    INSERT INTO pawl.workflow (workflow_key, ready_key, rank, parent_key, created_at, run_at, started_at, scheduled_at, epoch, queue_id, priority,
        workflow_version, recoveries, pinned, detached, status, workflow_id, workflow_name, partition_key, deduplication_id, forked_from,
        schedule_name, enqueued_by, headers, attributes, progress, input)
    VALUES (ended.workflow_key, ready, rank, ended.parent_key, ended.created_at, ended.run_at, ended.started_at, ended.scheduled_at, ended.epoch,
        ended.queue_id, ended.priority, version, ended.recoveries, ended.pinned, ended.detached, 'enqueued', ended.workflow_id,
        ended.workflow_name, ended.partition_key, ended.deduplication_id, ended.forked_from, ended.schedule_name, ended.enqueued_by, ended.headers,
        ended.attributes, ended.progress, ended.input)
    ON CONFLICT DO NOTHING;
    -- The index knows of those that are yet to start, and this row is among them until it is claimed.
    IF NOT FOUND OR EXISTS (SELECT FROM pawl.workflow w WHERE w.queue_id = ended.queue_id AND w.deduplication_id = ended.deduplication_id
            AND w.workflow_key <> ended.workflow_key) THEN
        IF verb IS NULL THEN
            DELETE FROM pawl.workflow w WHERE w.workflow_key = ended.workflow_key;
            RETURN false;
        END IF;
        SELECT w.workflow_id INTO holder FROM pawl.workflow w
            WHERE w.queue_id = ended.queue_id AND w.deduplication_id = ended.deduplication_id AND w.workflow_key <> ended.workflow_key LIMIT 1;
        RAISE EXCEPTION USING ERRCODE = 'PW002', MESSAGE = format('workflow "%s" cannot be %s', ended.workflow_id, verb),
            DETAIL = CASE WHEN holder IS NULL THEN 'Another unfinished workflow has its id.'
                ELSE format('Workflow "%s" has its deduplication_id "%s" now, and has not ended.', holder, ended.deduplication_id) END,
            HINT = 'Do it when that one has ended, or cancel that one first. Nothing was changed.';
    END IF;
    DELETE FROM pawl.workflow_history h WHERE h.workflow_key = ended.workflow_key;
    DELETE FROM pawl.payload p WHERE p.workflow_key = ended.workflow_key AND p.name = 'output';
    -- A cancellation that came after its end was of the run that it had.
    DELETE FROM pawl.cancel_request r WHERE r.workflow_key = ended.workflow_key;
    PERFORM pawl.mark_ready(ended.queue_id, rank, ready, ended.workflow_name, version, ended.partition_key IS NOT NULL);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.reopen_workflow(pawl.workflow_history, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.reopen_workflow(pawl.workflow_history, integer, text) IS
'Internal: makes an ended workflow unfinished again. verb: what is done to it, for an error that says why it cannot be; NULL: false is answered then, and
nothing was changed. The caller deletes the steps that are to run again, and then calls pawl.await_again.';

CREATE FUNCTION pawl.await_again(workflow_key bigint) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
    INSERT INTO pawl.waiter (target_key, workflow_key, step_name)
        SELECT DISTINCT t::bigint, s.workflow_key, s.step_name
        FROM pawl.workflow_step s, unnest('{$.target,$.targets[*],$.of[*].target,$.of[*].targets[*]}'::jsonpath[]) p,
            jsonb_path_query(s.arguments, p) t
        WHERE s.workflow_key = $1 AND s.status = 'waiting' AND jsonb_typeof(t) = 'number';
    -- What was being tried has its time anew: otherwise one that was resumed a day later failed before it was tried once.
    UPDATE pawl.workflow_step s SET started_at = clock_timestamp() WHERE s.workflow_key = $1 AND s.status = 'retrying'
$$;
REVOKE ALL ON FUNCTION pawl.await_again(bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.await_again(bigint) IS
'Internal: what a workflow that was reopened waits for of others tells it again: its end had taken that back. What it was trying has its time anew.';

CREATE FUNCTION pawl.refuse_redacted(workflow_id text, redacted_at timestamptz, verb text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF redacted_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PW011', MESSAGE = format('workflow "%s" cannot be %s', workflow_id, verb),
            DETAIL = 'It was redacted: its input, and what its steps returned, is gone. Nothing was changed.',
            HINT = 'Enqueue a new workflow, under another workflow_id.';
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_redacted(text, timestamptz, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_redacted(text, timestamptz, text) IS 'Internal: refuses to run a workflow whose payloads are gone.';

CREATE FUNCTION pawl.queue_is_there(queue_id integer) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT $1 = 0 OR EXISTS (SELECT FROM pawl.queue q WHERE q.queue_id = $1)
$$;
REVOKE ALL ON FUNCTION pawl.queue_is_there(integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.queue_is_there(integer) IS 'Internal: whether a queue was not dropped.';

CREATE FUNCTION pawl.check_queue_is_there(workflow_id text, queue_id integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT pawl.queue_is_there(queue_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'PW005', MESSAGE = format('the queue of workflow "%s" does not exist any more', workflow_id),
            DETAIL = 'It was dropped after the workflow had ended.', HINT = 'Enqueue a new workflow with its input, in another queue.';
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_queue_is_there(text, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_queue_is_there(text, integer) IS 'Internal: refuses to run a workflow in a queue that was dropped.';

CREATE FUNCTION pawl.is_compensated(workflow_key bigint) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = $1 AND s.kind = 'compensation')
$$;
REVOKE ALL ON FUNCTION pawl.is_compensated(bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.is_compensated(bigint) IS 'Internal: whether what its steps did was undone, or is in part.';

CREATE FUNCTION pawl.resume_each(workflow_ids text[], workflow_version integer, reason text, leave_out boolean) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    keys bigint[];
    one pawl.workflow_history;
    resumed bigint[];
BEGIN
    PERFORM pawl.check_version(resume_each.workflow_version);
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key) INTO ids, keys FROM pawl.find_operable(workflow_ids, reason) f;
    FOR one IN SELECT l.* FROM pawl.lock_ended(keys) l LOOP
        IF one.status = 'succeeded' THEN
            CONTINUE WHEN leave_out;
            RAISE EXCEPTION USING ERRCODE = 'PW011', MESSAGE = format('workflow "%s" cannot be resumed', one.workflow_id),
                DETAIL = 'It succeeded.', HINT = 'Rewind it to one of its steps, or fork it.';
        ELSIF pawl.is_compensated(one.workflow_key) THEN
            CONTINUE WHEN leave_out;
            PERFORM pawl.refuse_compensated(one.workflow_id, 'resumed');
        END IF;
        CONTINUE WHEN NOT pawl.reopen_workflow(one, resume_each.workflow_version, CASE WHEN NOT leave_out THEN 'resumed' END);
        -- Only the failure that ended it runs again; whatever else is recorded stays as it is.
        DELETE FROM pawl.workflow_step s
            WHERE s.workflow_key = one.workflow_key AND s.step_name = one.error ->> 'step' AND s.status = 'failed';
        PERFORM pawl.await_again(one.workflow_key);
        resumed := resumed || one.workflow_key;
    END LOOP;
    RETURN QUERY SELECT pawl.record_workflows('resume_workflow', ids, keys, resumed, reason,
        jsonb_build_object('workflow_version', resume_each.workflow_version));
END $$;
REVOKE ALL ON FUNCTION pawl.resume_each(text[], integer, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.resume_each(text[], integer, text, boolean) IS
'Internal: resumes workflows, and answers the ids of those it resumed. leave_out: what has ended and cannot be resumed is left out; otherwise it is an error.';

CREATE FUNCTION pawl.resume_workflows(workflow_ids text[], workflow_version integer DEFAULT NULL, reason text DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.resume_each(workflow_ids, workflow_version, reason, true)
$$;
REVOKE ALL ON FUNCTION pawl.resume_workflows(text[], integer, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.resume_workflows(text[], integer, text) IS
'Resumes workflows as pawl.resume_workflow does, all in this transaction. Returns the ids of those it resumed. Left out is what pawl.resume_workflow
refuses: the unfinished, the succeeded, the compensated, the redacted, those whose queue was dropped, and those whose deduplication_id another
unfinished one has; of several that had the same one the first to be enqueued is resumed. pawl.resume_workflow says which it is.
workflow_ids: an id that names none is PW010, and nothing is changed.
workflow_version, reason: as in pawl.resume_workflow.';

CREATE FUNCTION pawl.resume_workflow(workflow_id text, workflow_version integer DEFAULT NULL, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pawl.resume_each(ARRAY[workflow_id], workflow_version, reason, false))
$$;
REVOKE ALL ON FUNCTION pawl.resume_workflow(text, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.resume_workflow(text, integer, text) IS
'Lets a workflow that failed or was cancelled go on from its checkpoints. True: it goes on; false: it has not ended, nothing is changed.
Only the failure that ended it runs again: the failed step that its error names. Steps that succeeded, and failures that the handler went on after, are
answered from the record. What it waits for keeps its time: a sleep that is over is over. Its deadline, its cancellation and its crashes in a row are
forgotten, its recoveries are not. Its children are not resumed with it; one that failed and is waited for is resumed before its parent.
workflow_id: PW010 if there is none. PW011 if it succeeded, its compensations have begun, or it was redacted. PW002 if another unfinished workflow has its
deduplication_id. PW005 if its queue was dropped.
workflow_version: goes on with this version of its handler; NULL: the one it had.
reason: 1 to 1024 bytes, for pawl.audit.
Errors: PW006 for a role whose access is narrowed to something else.';

CREATE FUNCTION pawl.move_workflows(workflow_name text, from_version integer, to_version integer) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    queue_ids integer[];
    moved bigint;
    marks bigint;
BEGIN
    PERFORM pawl.check_name('workflow_name', move_workflows.workflow_name, 128);
    IF from_version IS NULL OR to_version IS NULL OR to_version < 1 OR from_version < 1 OR from_version = to_version THEN
        PERFORM pawl.refuse_argument('from_version and to_version must be two different versions, from 1',
            format('They are %s and %s.', coalesce(from_version::text, 'null'), coalesce(to_version::text, 'null')),
            'SELECT workflow_name, workflow_version FROM pawl.handlers lists what can be run.');
    END IF;
    SELECT array_agg(DISTINCT w.queue_id) INTO queue_ids FROM pawl.workflow w
        WHERE w.workflow_name = move_workflows.workflow_name AND w.workflow_version = from_version;
    queue_ids := coalesce(queue_ids, '{0}');
    PERFORM pawl.check_narrowing('operate', array_fill(move_workflows.workflow_name, ARRAY[cardinality(queue_ids)]), queue_ids);
    PERFORM pawl.mark_locks();
    -- A claim's mark may have passed those that nobody could run until now: they get a fresh key.
    WITH locked AS MATERIALIZED (
        SELECT w.workflow_key FROM pawl.workflow w
        WHERE w.workflow_name = move_workflows.workflow_name AND w.workflow_version = from_version AND w.queue_id = ANY (queue_ids)
        ORDER BY w.workflow_key FOR UPDATE),
    changed AS (
        UPDATE pawl.workflow w SET workflow_version = to_version,
            ready_key = CASE WHEN w.claimed_by IS NULL AND w.ready_key IS NOT NULL THEN nextval('pawl.key_seq') ELSE w.ready_key END
        FROM locked l WHERE w.workflow_key = l.workflow_key
        RETURNING w.queue_id, w.rank, w.ready_key, w.due_at, w.claimed_by, w.workflow_name, w.workflow_version, w.partition_key),
    marked AS MATERIALIZED (
        SELECT pawl.mark_ready(c.queue_id, c.rank, c.ready_key, c.workflow_name, c.workflow_version, c.partition_key IS NOT NULL) FROM changed c
        WHERE c.claimed_by IS NULL AND (c.ready_key IS NOT NULL OR c.due_at IS NOT NULL))
    SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM marked) INTO moved, marks;
    IF moved > 0 THEN
        PERFORM pawl.record_action('move_workflows', 'handler', ARRAY[move_workflows.workflow_name], NULL,
            jsonb_build_object('from_version', from_version, 'to_version', to_version, 'moved', moved));
    END IF;
    RETURN moved;
END $$;
REVOKE ALL ON FUNCTION pawl.move_workflows(text, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.move_workflows(text, integer, integer) IS
'Moves every unfinished workflow of a name from one version of its handler to another, pinned ones too. Returns how many.
One that is running goes on as it began; its next run has the new version. Recorded steps are matched by name: what does not fit ends the workflow as
failed (status_reason determinism), and it can be resumed with another version.
workflow_name, from_version, to_version: those that never ran and are not pinned have no version yet, and are not moved.
It locks what it moves, and the worker of a running one waits for the end of this transaction: make it a transaction of its own.
In pawl.audit it is one entry, of the handler, however many it moves.
Errors: PW006 for a role whose access is narrowed to something else.';

CREATE FUNCTION pawl.export_workflow(workflow_id text) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    exported jsonb;
BEGIN
    PERFORM pawl.check_workflow_ids(ARRAY[export_workflow.workflow_id], NULL);
    -- One statement: the workflow and its steps as of one moment.
    SELECT jsonb_build_object('format', 1, 'workflow_id', w.workflow_id, 'workflow_name', w.workflow_name, 'workflow_version', w.workflow_version,
            'input', coalesce(w.input, (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = w.workflow_key AND p.name = 'input')),
            'headers', w.headers, 'attributes', w.attributes, 'status', w.status, 'status_reason', w.status_reason,
            'output', coalesce(w.output, (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = w.workflow_key AND p.name = 'output')),
            'error', w.error, 'created_at', w.created_at, 'started_at', w.started_at, 'completed_at', w.completed_at, 'deadline_at', w.deadline_at,
            'steps', coalesce((SELECT jsonb_agg(jsonb_build_object('step_name', s.step_name, 'step_number', s.step_number, 'kind', s.kind,
                    'status', s.status, 'output', s.output, 'error', s.error, 'attempts', s.attempts, 'arguments', s.arguments,
                    'started_at', s.started_at, 'completed_at', s.completed_at, 'due_at', s.due_at) ORDER BY s.step_number, s.step_name)
                FROM pawl.workflow_step s WHERE s.workflow_key = w.workflow_key), '[]'))
        INTO exported
        FROM (
            SELECT u.workflow_key, u.workflow_id, u.workflow_name, u.workflow_version, u.input, u.headers, u.attributes, u.status,
                NULL AS status_reason, NULL::jsonb AS output, NULL::jsonb AS error, u.created_at, u.started_at, NULL::timestamptz AS completed_at,
                u.deadline_at
            FROM pawl.workflow u WHERE u.workflow_id = export_workflow.workflow_id
            UNION ALL
            SELECT h.workflow_key, h.workflow_id, h.workflow_name, h.workflow_version, h.input, h.headers, h.attributes, h.status,
                h.status_reason, h.output, h.error, h.created_at, h.started_at, h.completed_at, h.deadline_at
            FROM pawl.workflow_history h WHERE h.workflow_id = export_workflow.workflow_id) w;
    IF exported IS NULL THEN
        PERFORM pawl.refuse_unknown(ARRAY[export_workflow.workflow_id], NULL);
    END IF;
    RETURN exported;
END $$;
REVOKE ALL ON FUNCTION pawl.export_workflow(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.export_workflow(text) IS
'The history of a workflow as one JSON object, to check with it whether a handler still fits: {"format": 1, "workflow_id", "workflow_name",
"workflow_version", "input", "headers", "attributes", "status", "status_reason", "output", "error", "created_at", "started_at", "completed_at",
"deadline_at", "steps": [{"step_name", "step_number", "kind", "status", "output", "error", "attempts", "arguments", "started_at", "completed_at",
"due_at"}]}, the steps in the order of their numbers.
workflow_id: PW010 if there is none.';
