-- What leaves for good: ended workflows, with all that was kept of them.

-- By key, and of whatever has one. What is deleted here is no more than what retention deletes, and both are told nothing that they cannot do.
CREATE FUNCTION pawl.erase_workflows(workflow_keys bigint[]) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    keys bigint[];
    parents bigint[];
BEGIN
    -- What somebody is resuming, or deleting, is let be.
    WITH locked AS MATERIALIZED (
        SELECT h.workflow_key, h.parent_key FROM pawl.workflow_history h WHERE h.workflow_key = ANY (erase_workflows.workflow_keys)
        ORDER BY h.workflow_key FOR UPDATE SKIP LOCKED)
    SELECT array_agg(l.workflow_key), array_agg(l.parent_key) INTO keys, parents FROM locked l;
    -- By a later snapshot than the locks. Who waits for one that has ended and has not looked yet still has its row in pawl.waiter.
    keys := ARRAY(SELECT k.workflow_key FROM unnest(keys, parents) k (workflow_key, parent_key)
        EXCEPT SELECT k.workflow_key FROM unnest(keys, parents) k (workflow_key, parent_key)
            JOIN (SELECT w.workflow_key FROM pawl.workflow w WHERE w.workflow_key = ANY (parents)) p ON p.workflow_key = k.parent_key
        EXCEPT SELECT w.target_key FROM pawl.waiter w WHERE w.target_key = ANY (keys));
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
    own_parent bigint;
    holder text;
BEGIN
    IF EXISTS (SELECT FROM pawl.delete_workflows(ARRAY[delete_workflow.workflow_id])) THEN
        RETURN true;
    END IF;
    SELECT h.workflow_key, h.parent_key INTO own_key, own_parent FROM pawl.workflow_history h WHERE h.workflow_id = delete_workflow.workflow_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT w.workflow_id INTO holder FROM pawl.workflow w
        WHERE w.workflow_key = own_parent OR w.workflow_key IN (SELECT a.workflow_key FROM pawl.waiter a WHERE a.target_key = own_key)
        ORDER BY w.workflow_key LIMIT 1;
    RAISE EXCEPTION USING ERRCODE = 'PW011', MESSAGE = format('workflow "%s" cannot be deleted', delete_workflow.workflow_id),
        DETAIL = coalesce(format('Workflow "%s" has not ended, and may still ask how this one did.', holder), 'Somebody waits for it.'),
        HINT = 'Delete it when that one has ended.';
END $$;
REVOKE ALL ON FUNCTION pawl.delete_workflow(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.delete_workflow(text) IS
'Deletes an ended workflow with all that was kept of it: payloads, steps, messages, events and streams. True: it is gone; false: it has not ended, nothing
is changed. Its children stay. Its id is free again: enqueueing it once more runs it once more. What was done to it stays in pawl.audit.
workflow_id: PW010 if there is none. PW011 while its parent has not ended, or another workflow waits for it.
Errors: PW006 for a role whose access is narrowed to something else.';
