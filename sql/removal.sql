-- What leaves for good: ended workflows, with all that was kept of them, or only what they were about.

-- Who waits for one that has ended, and has not looked yet, still has its row in pawl.waiter.
CREATE FUNCTION pawl.find_holders(workflow_keys bigint[]) RETURNS TABLE (workflow_key bigint, holder_key bigint) LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT h.workflow_key, h.parent_key FROM pawl.workflow_history h
        WHERE h.workflow_key = ANY (workflow_keys) AND (SELECT true FROM pawl.workflow w WHERE w.workflow_key = h.parent_key LIMIT 1)
    UNION ALL
    SELECT a.target_key, a.workflow_key FROM pawl.waiter a WHERE a.target_key = ANY (workflow_keys);
END $$;
REVOKE ALL ON FUNCTION pawl.find_holders(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.find_holders(bigint[]) IS
'Internal: of these ended workflows those that an unfinished one may still ask about, with that one: the parent, or whoever waits.';

CREATE FUNCTION pawl.refuse_held(workflow_id text, holder_key bigint, verb text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PW011', MESSAGE = format('workflow "%s" cannot be %s', refuse_held.workflow_id, verb),
        DETAIL = format('Workflow "%s" has not ended, and may still need what is recorded.',
            (SELECT w.workflow_id FROM pawl.workflow w WHERE w.workflow_key = holder_key)),
        HINT = 'Do it when that one has ended. Nothing was changed.';
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_held(text, bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_held(text, bigint, text) IS 'Internal: says which unfinished workflow keeps one from being removed.';

-- By key, and of whatever has one. What retention deletes and what people delete is the same.
CREATE FUNCTION pawl.erase_workflows(workflow_keys bigint[]) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    keys bigint[];
BEGIN
    -- What somebody is resuming, or deleting, is let be.
    WITH locked AS MATERIALIZED (
        SELECT h.workflow_key FROM pawl.workflow_history h WHERE h.workflow_key = ANY (erase_workflows.workflow_keys)
        ORDER BY h.workflow_key FOR UPDATE SKIP LOCKED)
    SELECT array_agg(l.workflow_key) INTO keys FROM locked l;
    -- By a later snapshot than the locks.
    keys := ARRAY(SELECT k FROM unnest(keys) k EXCEPT SELECT f.workflow_key FROM pawl.find_holders(keys) f);
    DELETE FROM pawl.workflow_history h WHERE h.workflow_key = ANY (keys);
    DELETE FROM pawl.workflow_step s WHERE s.workflow_key = ANY (keys);
    DELETE FROM pawl.payload p WHERE p.workflow_key = ANY (keys);
    DELETE FROM pawl.message m WHERE m.workflow_key = ANY (keys);
    DELETE FROM pawl.event e WHERE e.workflow_key = ANY (keys);
    DELETE FROM pawl.stream_entry e WHERE e.workflow_key = ANY (keys);
    DELETE FROM pawl.closed_stream c WHERE c.workflow_key = ANY (keys);
    -- Signals stay: a worker takes them soon, and one may be for somebody who is about to wait. So do requests to cancel it that came too late.
    RETURN cardinality(keys);
END $$;
REVOKE ALL ON FUNCTION pawl.erase_workflows(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.erase_workflows(bigint[]) IS
'Internal: deletes ended workflows, with their steps, payloads, messages, events and streams, and answers how many. Left out: those that have not ended,
whose parent has not, for which somebody waits, or whose row another transaction holds.';

CREATE FUNCTION pawl.delete_workflows(workflow_ids text[]) RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    keys bigint[];
    ended bigint[];
BEGIN
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key) INTO ids, keys FROM pawl.find_operable(workflow_ids, NULL) f;
    SELECT array_agg(l.workflow_key) INTO ended FROM pawl.lock_ended(keys) l;
    PERFORM pawl.erase_workflows(ended);
    RETURN QUERY SELECT pawl.record_workflows('delete_workflow', ids, keys,
        ARRAY(SELECT e FROM unnest(ended) e EXCEPT SELECT h.workflow_key FROM pawl.workflow_history h WHERE h.workflow_key = ANY (ended)), NULL);
END $$;
REVOKE ALL ON FUNCTION pawl.delete_workflows(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.delete_workflows(text[]) IS
'Deletes workflows as pawl.delete_workflow does, all in this transaction. Returns the ids of those it deleted: the unfinished, and those that somebody
still waits for, are left out.
workflow_ids: an id that names none is PW010, and nothing is changed.';

CREATE FUNCTION pawl.delete_workflow(workflow_id text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own_key bigint;
BEGIN
    IF EXISTS (SELECT FROM pawl.delete_workflows(ARRAY[delete_workflow.workflow_id])) THEN
        RETURN true;
    END IF;
    SELECT h.workflow_key INTO own_key FROM pawl.workflow_history h WHERE h.workflow_id = delete_workflow.workflow_id;
    PERFORM pawl.refuse_held(delete_workflow.workflow_id, f.holder_key, 'deleted') FROM pawl.find_holders(ARRAY[own_key]) f;
    RETURN false;
END $$;
REVOKE ALL ON FUNCTION pawl.delete_workflow(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.delete_workflow(text) IS
'Deletes an ended workflow with all that was kept of it: payloads, steps, messages, events and streams. True: it is gone; false: it has not ended, nothing
is changed. Its children stay. Its id is free again: enqueueing it once more runs it once more. What was done to it stays in pawl.audit. A
message that was sent to it before it ended, and committed only after this, stays unread.
workflow_id: PW010 if there is none. PW011 while its parent has not ended, or another workflow waits for it.
Errors: PW006 for a role whose access is narrowed to something else.';

CREATE FUNCTION pawl.family_of(workflow_key bigint) RETURNS bigint[] LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    family bigint[] := ARRAY[$1];
    level bigint[] := family;
BEGIN
    -- Level by level, each bounded by an array: a join could be planned to read the whole index.
    WHILE level <> '{}' LOOP
        level := ARRAY(SELECT c.workflow_key FROM pawl.workflow c WHERE c.parent_key = ANY (level)
            UNION ALL SELECT c.workflow_key FROM pawl.workflow_history c WHERE c.parent_key = ANY (level));
        family := family || level;
    END LOOP;
    RETURN family;
END $$;
REVOKE ALL ON FUNCTION pawl.family_of(bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.family_of(bigint) IS 'Internal: a workflow, its children, detached ones too, and theirs.';

CREATE FUNCTION pawl.redacted_error(error jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN error IS NOT NULL THEN jsonb_build_object('code', error -> 'code', 'type', error -> 'type', 'message', 'redacted',
        'step', error -> 'step', 'attempt', error -> 'attempt', 'detail', NULL, 'cause', NULL) END
$$;
REVOKE ALL ON FUNCTION pawl.redacted_error(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.redacted_error(jsonb) IS 'Internal: what is left of an error: its code, type, step and attempt.';

-- The caller has locked them all.
CREATE FUNCTION pawl.redact_ended(workflow_keys bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    redacted CONSTANT jsonb := '{"redacted": true}';
BEGIN
    UPDATE pawl.workflow_history h SET redacted_at = clock_timestamp(), input = redacted,
        output = CASE WHEN h.status = 'succeeded' THEN redacted END, error = pawl.redacted_error(h.error),
        progress = NULL, headers = NULL, attributes = NULL, cancel_note = NULL
        WHERE h.workflow_key = ANY (workflow_keys);
    DELETE FROM pawl.payload p WHERE p.workflow_key = ANY (workflow_keys);
    UPDATE pawl.workflow_step s SET output = CASE WHEN s.output IS NOT NULL THEN redacted END, error = pawl.redacted_error(s.error), arguments = NULL
        WHERE s.workflow_key = ANY (workflow_keys);
    UPDATE pawl.message m SET message = redacted WHERE m.workflow_key = ANY (workflow_keys);
    UPDATE pawl.event e SET value = redacted WHERE e.workflow_key = ANY (workflow_keys);
    UPDATE pawl.stream_entry e SET value = redacted WHERE e.workflow_key = ANY (workflow_keys);
    DELETE FROM pawl.cancel_request r WHERE r.workflow_key = ANY (workflow_keys);
END $$;
REVOKE ALL ON FUNCTION pawl.redact_ended(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.redact_ended(bigint[]) IS 'Internal: takes the payloads out of ended workflows.';

-- Whoever keeps a workflow from being redacted: itself or one of its family that has not ended, a parent, somebody who waits.
CREATE FUNCTION pawl.redaction_holder(family bigint[]) RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
    RETURN coalesce((SELECT min(w.workflow_key) FROM pawl.workflow w WHERE w.workflow_key = ANY (family)),
        (SELECT min(f.holder_key) FROM pawl.find_holders(family) f));
END $$;
REVOKE ALL ON FUNCTION pawl.redaction_holder(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.redaction_holder(bigint[]) IS 'Internal: an unfinished workflow that needs the payloads of one of these; NULL: none does.';

CREATE FUNCTION pawl.redact_workflows(workflow_ids text[]) RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    keys bigint[];
    locked bigint[];
    one record;
    redacted bigint[] := '{}';
BEGIN
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key) INTO ids, keys FROM pawl.find_operable(workflow_ids, NULL) f;
    -- All families at once: one after the other, two calls could wait for each other.
    locked := ARRAY(SELECT l.workflow_key FROM pawl.lock_ended(ARRAY(SELECT unnest(pawl.family_of(k)) FROM unnest(keys) k)) l);
    -- By a later snapshot than the locks: nobody resumes what is locked, and what has ended starts no child. What was started, and ended, since the
    -- first look is not locked.
    FOR one IN
        SELECT f.workflow_id, array_agg(f.member) AS family
        FROM (SELECT g.workflow_id, g.workflow_key, unnest(pawl.family_of(g.workflow_key)) AS member FROM unnest(ids, keys) g (workflow_id, workflow_key)) f
        GROUP BY f.workflow_key, f.workflow_id
        HAVING bool_and(f.member IN (SELECT unnest(locked)) AND f.member NOT IN (SELECT h.workflow_key FROM pawl.find_holders(locked) h))
        ORDER BY f.workflow_key
    LOOP
        -- Whoever was asked for has an entry in the audit at the end, and the rest of the family one here.
        PERFORM pawl.redact_ended(one.family), pawl.record_action('redact_workflow', 'workflow', ARRAY(SELECT h.workflow_id FROM pawl.workflow_history h
                WHERE h.workflow_key = ANY (ARRAY(SELECT unnest(one.family) EXCEPT SELECT unnest(keys || redacted))) ORDER BY h.workflow_key),
            NULL, jsonb_build_object('with', one.workflow_id));
        redacted := redacted || one.family;
    END LOOP;
    RETURN QUERY SELECT pawl.record_workflows('redact_workflow', ids, keys, redacted, NULL);
END $$;
REVOKE ALL ON FUNCTION pawl.redact_workflows(text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.redact_workflows(text[]) IS
'Redacts workflows as pawl.redact_workflow does, all in this transaction. Returns the ids of those it redacted: those that have not ended, or that an
unfinished one may still ask about, are left out.
workflow_ids: an id that names none is PW010, and nothing is changed.';

CREATE FUNCTION pawl.redact_workflow(workflow_id text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (SELECT FROM pawl.redact_workflows(ARRAY[redact_workflow.workflow_id])) THEN
        RETURN true;
    END IF;
    PERFORM pawl.refuse_held(redact_workflow.workflow_id, h, 'redacted')
        FROM pawl.find_workflows(ARRAY[redact_workflow.workflow_id]) f, pawl.redaction_holder(pawl.family_of(f.workflow_key)) h WHERE h IS NOT NULL;
    RETURN false;
END $$;
REVOKE ALL ON FUNCTION pawl.redact_workflow(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.redact_workflow(text) IS
'Takes the payloads out of an ended workflow, its children, detached ones too, and theirs: input, output, progress, headers, attributes, messages, values of
events and streams, outputs of steps, and of errors the message, detail and cause. Where there was a value it reads {"redacted": true}. Ids, names, times,
statuses and codes stay. It can be deleted, and not run again: resuming, rewinding and forking it is PW011. True: it is done; false: somebody else was
at it, call it again. Vacuum frees what the values took; write-ahead log and backups keep them. What its parent and its forks recorded is theirs.
pawl.audit has an entry for each of them (detail.with: the one that was asked for), and keeps the reasons that were given for what was done to them. A
message that was sent to one before it ended, and committed only after this, can still be read: redacting once more takes it too.
workflow_id: PW010 if there is none. PW011 if it, one of its children or of theirs, or its parent has not ended, or somebody waits for one of them.
Errors: PW006 for a role whose access is narrowed to something else.';
