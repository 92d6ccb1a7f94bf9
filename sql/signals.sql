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
        PERFORM pawl.mark_signals(NULL), pawl.mark_ends(workflow_keys);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.signal_ends(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.signal_ends(bigint[]) IS
'Internal: these workflows end with this transaction, which has deleted their rows: those who wait for them look after the commit, and they wait for nothing.';

CREATE FUNCTION pawl.take_signals(worker_id uuid) RETURNS TABLE (workflow_key bigint, epoch integer, cancel_reason text, more boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    me ALIAS FOR $1;
    most CONSTANT integer := 1000;
    taken bigint[];
    wide bigint[];          -- at which something happened, for whoever waits for it
    keys bigint[];          -- whom it concerns
    held bigint[];          -- those of them that are claimed, parked, or to be cancelled
    locked bigint[];
    asked bigint[];         -- those whose cancellation was asked for
    marks integer;
    others uuid[];
BEGIN
    IF me IS NULL THEN
        PERFORM pawl.refuse_argument('worker_id must not be null', 'Signals are taken by a worker.', 'Give the worker_id that was registered.');
    END IF;
    PERFORM pawl.check_isolation('take_signals');
    more := false;
    -- Nearly always there is none at all, and the next statement has many parts to set up.
    PERFORM FROM pawl.signal LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- Sorted by worker_id too, or the planner does not see that the index gives that order of those without one.
    WITH mine AS MATERIALIZED (
        SELECT s.signal_key FROM pawl.signal s WHERE s.worker_id = me ORDER BY s.signal_key LIMIT most FOR UPDATE SKIP LOCKED),
    anybodys AS MATERIALIZED (
        SELECT s.signal_key FROM pawl.signal s WHERE s.worker_id IS NULL ORDER BY s.worker_id, s.signal_key LIMIT most FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM pawl.signal s WHERE s.signal_key = ANY (ARRAY(SELECT m.signal_key FROM mine m UNION ALL SELECT a.signal_key FROM anybodys a))
        RETURNING s.workflow_key, s.worker_id IS NULL AND NOT s.itself AS wide)
    SELECT array_agg(g.workflow_key), array_agg(g.workflow_key) FILTER (WHERE g.wide), (SELECT count(*) FROM mine) = most OR (SELECT count(*) FROM anybodys) = most
        INTO taken, wide, more FROM gone g;
    IF taken IS NULL THEN
        RETURN;
    END IF;
    keys := ARRAY(SELECT t FROM unnest(taken) t UNION SELECT w.workflow_key FROM pawl.waiter w WHERE w.target_key = ANY (wide) ORDER BY 1);
    IF cardinality(keys) > 2 * most THEN
        INSERT INTO pawl.signal (workflow_key, itself) SELECT k, true FROM unnest(keys[2 * most + 1:]) k;
        keys := keys[:2 * most];
        more := true;
    END IF;
    IF more THEN
        PERFORM pawl.mark_signals(NULL);
    END IF;

    -- What can be claimed is let be: its run will try its waits, and a claim would pass by what is locked here.
    asked := ARRAY(SELECT r.workflow_key FROM pawl.cancel_request r WHERE r.workflow_key = ANY (keys));
    held := ARRAY(SELECT w.workflow_key FROM pawl.workflow w
        WHERE w.workflow_key = ANY (keys) AND (w.claimed_by IS NOT NULL OR w.ready_key IS NULL OR w.workflow_key = ANY (asked)));
    WITH mine AS MATERIALIZED (
        SELECT w.workflow_key FROM pawl.workflow w WHERE w.workflow_key = ANY (held) ORDER BY w.workflow_key FOR NO KEY UPDATE OF w SKIP LOCKED)
    SELECT coalesce(array_agg(m.workflow_key), '{}') INTO locked FROM mine m;
    IF cardinality(locked) < cardinality(held) THEN
        -- Somebody is at work on them, or has ended them: once more.
        INSERT INTO pawl.signal (workflow_key, itself) SELECT h, true FROM unnest(held) h WHERE h <> ALL (locked);
        more := true;
    END IF;
    IF asked <> '{}' THEN
        PERFORM pawl.apply_cancel_requests(ARRAY(SELECT a FROM unnest(asked) a WHERE a = ANY (locked) OR a <> ALL (held)));
    END IF;

    -- By a snapshot that is later than the locks, and than the commits of all who signalled.
    WITH woken AS (
        UPDATE pawl.workflow w SET status = 'enqueued', ready_key = nextval('pawl.key_seq'), rank = w.rank & ~1::bigint, due_at = NULL,
            waiting_for = NULL
        WHERE w.workflow_key = ANY (locked) AND w.claimed_by IS NULL AND w.status = 'waiting' AND (w.cancel_requested_at IS NOT NULL OR (
            SELECT bool_or(pawl.is_over(s.kind, s.arguments, s.due_at, w.workflow_key)) FROM pawl.workflow_step s
            WHERE s.workflow_key = w.workflow_key AND s.status = 'waiting' LIMIT 1))
        RETURNING w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key),
    passed AS (
        -- They became claimable just now, and a claim may have passed them by.
        SELECT w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key FROM pawl.workflow w
        WHERE w.workflow_key = ANY (locked) AND w.claimed_by IS NULL AND w.ready_key IS NOT NULL),
    marked AS MATERIALIZED (
        SELECT pawl.mark_ready(r.queue_id, r.rank, r.ready_key, r.workflow_name, r.workflow_version, r.partition_key IS NOT NULL)
        FROM (SELECT * FROM woken UNION ALL SELECT * FROM passed) r)
    SELECT count(*) INTO marks FROM marked;
    WITH routed AS (
        INSERT INTO pawl.signal (workflow_key, worker_id)
        SELECT w.workflow_key, w.claimed_by FROM pawl.workflow w
        WHERE w.workflow_key = ANY (locked) AND w.claimed_by <> me
            AND w.claimed_by = ANY (ARRAY(SELECT k.worker_id FROM pawl.worker k WHERE k.ended_at IS NULL))
        RETURNING worker_id)
    SELECT array_agg(DISTINCT r.worker_id) INTO others FROM routed r;
    PERFORM pawl.mark_signals(o) FROM unnest(others) o;

    RETURN QUERY SELECT w.workflow_key, w.epoch, CASE WHEN w.cancel_requested_at IS NOT NULL THEN coalesce(w.cancel_reason, 'request') END,
            take_signals.more
        FROM pawl.workflow w WHERE w.workflow_key = ANY (locked) AND w.claimed_by = me;
    IF more AND NOT FOUND THEN
        workflow_key := NULL;
        RETURN NEXT;
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.take_signals(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.take_signals(uuid) IS
'Takes signals, up to a thousand of this worker and as many that anybody may take. Wakes the parked workflows whose waits are over; tells the other workers
about those that they run; and answers those that this worker runs: their waits are to be tried again, or their cancellation was asked for. READ COMMITTED
only.
worker_id: as registered.
Result: workflow_key and epoch, which may be of a run that is over; cancel_reason: request, parent or NULL. more: there are further ones, or some could
not be looked at now: call it again soon. A row with a NULL workflow_key says only that.';
