-- Signals: something happened at a workflow. Whoever makes it happen inserts a row, in that transaction, and locks nothing of the workflow; a worker
-- takes the row after the commit and finds out whom it concerns.

CREATE FUNCTION pawl.signal_workflows(workflow_keys bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO pawl.signal (workflow_key) SELECT k FROM unnest(workflow_keys) k;
    -- Any worker will do; the one that runs it has the shortest way.
    PERFORM pawl.mark_signals(o.claimed_by) FROM (SELECT DISTINCT w.claimed_by FROM pawl.workflow w WHERE w.workflow_key = ANY (workflow_keys)) o;
    IF NOT FOUND THEN
        PERFORM pawl.mark_signals(NULL);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.signal_workflows(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.signal_workflows(bigint[]) IS
'Internal: something happened at these workflows; they and those who wait for them look again after the commit.';

CREATE FUNCTION pawl.signal_ends(workflow_keys bigint[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
    IF cardinality(workflow_keys) > 0 THEN
        DELETE FROM pawl.waiter w WHERE w.workflow_key = ANY (workflow_keys);
        INSERT INTO pawl.signal (workflow_key) SELECT k FROM unnest(workflow_keys) k;
        PERFORM pawl.mark_signals(NULL);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.signal_ends(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.signal_ends(bigint[]) IS
'Internal: these workflows end with this transaction, which has deleted their rows: those who wait for them look after the commit, and they wait for nothing.';
