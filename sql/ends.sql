-- How a run ends: the workflow is complete, parks, or is handed back. A completion moves its row to the history in one statement.

CREATE FUNCTION pawl.complete_workflows(worker_id uuid, workflow_keys bigint[], epochs integer[], statuses text[], status_reasons text[],
    outputs jsonb[], errors jsonb[])
RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    now CONSTANT timestamptz := clock_timestamp();
    good integer;
    marks integer;
    moved bigint[];
    moved_keys bigint[];
    told bigint[];          -- those of them that somebody may wait for
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(statuses) AND rows = cardinality(status_reasons) AND rows = cardinality(outputs)
            AND rows = cardinality(errors)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(statuses), cardinality(status_reasons), cardinality(outputs),
            cardinality(errors));
    END IF;
    IF to_regclass('pawl.workflow_history_' || to_char(now AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL THEN
        PERFORM pawl.add_history_partition(now);
    END IF;
    -- ANY bounds the index scan whatever the planner believes of the table, and each side of the join is in key order: so are the locks.
    WITH asked AS MATERIALIZED (
        SELECT a.* FROM unnest(workflow_keys, epochs, statuses, status_reasons, outputs, errors) WITH ORDINALITY
            a (workflow_key, epoch, status, status_reason, output, error, ordinal)
        WHERE a.workflow_key IS NOT NULL AND a.epoch IS NOT NULL AND (a.error IS NULL OR jsonb_typeof(a.error) = 'object') AND CASE a.status
            WHEN 'succeeded' THEN a.status_reason IS NULL AND a.output IS NOT NULL AND a.error IS NULL
            WHEN 'failed' THEN a.status_reason IN ('error', 'timeout', 'crashes', 'determinism', 'bad_input') AND a.output IS NULL
                AND a.error IS NOT NULL
            WHEN 'cancelled' THEN a.status_reason IN ('request', 'parent') AND a.output IS NULL
            ELSE false END
        ORDER BY a.workflow_key),
    gone AS (
        DELETE FROM pawl.workflow w USING asked a
        WHERE w.workflow_key = ANY (workflow_keys) AND w.workflow_key = a.workflow_key AND w.epoch = a.epoch
            AND w.claimed_by = complete_workflows.worker_id
        RETURNING w.*, a.ordinal, a.status AS end_status, a.status_reason, a.output, a.error),
    stored AS (
        INSERT INTO pawl.payload (workflow_key, name, value)
        SELECT g.workflow_key, 'output', g.output FROM gone g WHERE pg_column_size(g.output) > 2000),
    ended AS (
        INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, run_at, started_at, completed_at, deadline_at, cancel_requested_at,
            scheduled_at, worker_id, epoch, queue_id, priority, workflow_version, recoveries, pinned, detached, status, status_reason,
            workflow_id, workflow_name, partition_key, deduplication_id, forked_from, schedule_name, enqueued_by,
            cancelled_by, cancel_note, headers, attributes, progress, input, output, error)
        SELECT g.workflow_key, g.parent_key, g.created_at, g.run_at, g.started_at, now, g.deadline_at, g.cancel_requested_at,
            g.scheduled_at, g.claimed_by, g.epoch, g.queue_id, g.priority, g.workflow_version, g.recoveries, g.pinned, g.detached, g.end_status,
            g.status_reason, g.workflow_id, g.workflow_name, g.partition_key, g.deduplication_id, g.forked_from, g.schedule_name, g.enqueued_by,
            g.cancelled_by, g.cancel_note, g.headers, g.attributes, g.progress, g.input,
            CASE WHEN pg_column_size(g.output) <= 2000 THEN g.output END,
            CASE WHEN g.end_status = 'cancelled' AND g.cancelled_by IS NOT NULL
                THEN pawl.cancel_error(g.error, g.status_reason, g.cancelled_by, g.cancel_note) ELSE g.error END
        FROM gone g),
    freed AS MATERIALIZED (
        SELECT pawl.mark_room(g.running_in, g.claimed_by, g.partition_key IS NOT NULL) FROM gone g WHERE g.running_in IS NOT NULL)
    SELECT (SELECT count(*) FROM asked), (SELECT count(*) FROM freed), array_agg(g.ordinal), array_agg(g.workflow_key),
            coalesce(array_agg(g.workflow_key) FILTER (WHERE g.parent_key IS NOT NULL), '{}')
        INTO good, marks, moved, moved_keys, told FROM gone g;
    IF good <> rows THEN
        PERFORM pawl.refuse_argument('a workflow cannot end as it is said to', format('%s of %s rows are wrong; nothing was written.', rows - good, rows),
            'succeeded has an output and nothing else; failed an error, which is a JSON object, and a reason (error, timeout, crashes, determinism, '
            'bad_input); cancelled a reason (request, parent) and perhaps an error.');
    END IF;
    IF pg_column_size(outputs) + pg_column_size(errors) > 4000 + 32 * rows THEN
        PERFORM pawl.check_payloads(outputs), pawl.check_payloads(errors);
    END IF;
    -- In later statements: who came to wait for one of these had its row locked until he had committed that.
    PERFORM pawl.mark_ends(moved_keys);
    DELETE FROM pawl.waiter w WHERE w.workflow_key = ANY (moved_keys);
    told := told || ARRAY(SELECT DISTINCT w.target_key FROM pawl.waiter w WHERE w.target_key = ANY (moved_keys) AND w.target_key <> ALL (told));
    IF told <> '{}' THEN
        INSERT INTO pawl.signal (workflow_key) SELECT k FROM unnest(told) k;
        PERFORM pawl.mark_signals(complete_workflows.worker_id);
    END IF;
    IF cardinality(moved) = rows OR rows = 0 THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT a.ordinal::integer, CASE WHEN (SELECT true FROM pawl.workflow_history h
            WHERE h.workflow_key = a.workflow_key AND h.worker_id = complete_workflows.worker_id AND h.epoch = a.epoch LIMIT 1)
            THEN 'recorded' ELSE 'fenced' END
        FROM unnest(workflow_keys, epochs) WITH ORDINALITY a (workflow_key, epoch, ordinal)
        WHERE a.ordinal <> ALL (coalesce(moved, '{}')) ORDER BY a.ordinal;
END $$;
REVOKE ALL ON FUNCTION pawl.complete_workflows(uuid, bigint[], integer[], text[], text[], jsonb[], jsonb[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.complete_workflows(uuid, bigint[], integer[], text[], text[], jsonb[], jsonb[]) IS
'Ends claimed workflows. Answers the refused rows only: fenced (another worker owns it, or it ended otherwise), recorded (this worker and epoch ended it
already: a resend).
worker_id, workflow_keys, epochs: as claimed.
statuses: succeeded, failed or cancelled. status_reasons: NULL for succeeded; error, timeout, crashes, determinism or bad_input for failed; request or
parent for cancelled.
outputs: of succeeded ones, at least a JSON null; NULL for the others. errors: JSON objects, for failed and perhaps cancelled ones.';

CREATE FUNCTION pawl.park_workflows(worker_id uuid, workflow_keys bigint[], epochs integer[], waiting_fors text[])
RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    own_keys bigint[];
    marks integer;
    done integer[];
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(waiting_fors)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(waiting_fors));
    END IF;
    PERFORM pawl.check_isolation('park_workflows');
    PERFORM pawl.check_name('waiting_for', w, 1024) FROM unnest(waiting_fors) w;
    WITH owned AS MATERIALIZED (
        SELECT w.workflow_key FROM pawl.workflow w
        WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = park_workflows.worker_id
        ORDER BY w.workflow_key FOR NO KEY UPDATE OF w)
    SELECT coalesce(array_agg(o.workflow_key), '{}') INTO own_keys FROM owned o;
    -- Locked first, then looked at, by another snapshot: a message whose signal finds the row locked, or still claimed, is seen here.
    WITH waits AS MATERIALIZED (
        SELECT k AS workflow_key, n.due_at, n.next_at IS NULL OR n.is_over AS is_over
        FROM unnest(own_keys) k CROSS JOIN LATERAL (
            SELECT min(s.due_at) AS due_at, min(coalesce(s.due_at, 'infinity')) AS next_at,
                bool_or(CASE s.status WHEN 'retrying' THEN s.due_at <= clock_timestamp() ELSE pawl.is_over(s.kind, s.arguments, s.due_at, k) END) AS is_over
            FROM pawl.workflow_step s WHERE s.workflow_key = k AND s.status IN ('waiting', 'retrying') OFFSET 0) n),
    parked AS (
        UPDATE pawl.workflow w SET
            status = CASE WHEN c.over THEN 'enqueued' ELSE 'waiting' END,
            ready_key = CASE WHEN c.over THEN nextval('pawl.key_seq') END,
            due_at = CASE WHEN NOT c.over THEN least(n.due_at, w.deadline_at) END,
            waiting_for = CASE WHEN NOT c.over THEN a.waiting_for END,
            claimed_by = NULL, rank = w.rank & ~1::bigint,
            running_in = CASE WHEN (SELECT true FROM pawl.queue q WHERE q.queue_id = w.running_in AND q.hold_while_waiting) THEN w.running_in END,
            -- It has passed a checkpoint, and its run ends as it should.
            probation = false, crashes = CASE WHEN w.crashes > 0 AND EXISTS (SELECT FROM pawl.workflow_step s
                WHERE s.workflow_key = w.workflow_key AND s.epoch = w.epoch) THEN 0 ELSE w.crashes END
        FROM unnest(workflow_keys, epochs, waiting_fors) WITH ORDINALITY a (workflow_key, epoch, waiting_for, ordinal)
            JOIN waits n ON n.workflow_key = a.workflow_key
            CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM pawl.workflow l WHERE l.workflow_key = a.workflow_key
                AND (n.is_over OR l.cancel_requested_at IS NOT NULL OR l.deadline_at <= clock_timestamp()))) c (over)
        WHERE w.workflow_key = ANY (own_keys) AND w.workflow_key = a.workflow_key AND w.epoch = a.epoch
        RETURNING a.ordinal, w.queue_id, w.rank, w.ready_key, w.due_at, w.workflow_name, w.workflow_version, w.partition_key),
    freed AS MATERIALIZED (
        SELECT pawl.mark_room(p.queue_id, park_workflows.worker_id, p.partition_key IS NOT NULL) FROM parked p),
    marked AS MATERIALIZED (
        -- A due time within the horizon of a waiting worker is told: it may have looked before.
        SELECT pawl.mark_ready(p.queue_id, p.rank, p.ready_key, p.workflow_name, p.workflow_version, p.partition_key IS NOT NULL) FROM parked p
        WHERE p.ready_key IS NOT NULL OR p.due_at IS NOT NULL)
    SELECT (SELECT count(*) FROM marked) + (SELECT count(*) FROM freed), array_agg(p.ordinal) INTO marks, done FROM parked p;
    RETURN QUERY SELECT o, 'fenced' FROM generate_series(1, rows) o WHERE o <> ALL (coalesce(done, '{}'));
END $$;
REVOKE ALL ON FUNCTION pawl.park_workflows(uuid, bigint[], integer[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.park_workflows(uuid, bigint[], integer[], text[]) IS
'Parks claimed workflows: from then on they are only rows, until one of the waits that pawl.perform_calls recorded of them is over, a step is to be tried
again, or their deadline or cancellation comes. One for which that is so already becomes claimable instead. Answers the refused rows only: fenced.
worker_id, workflow_keys, epochs: as claimed.
waiting_fors: what each waits for, for people.';

CREATE FUNCTION pawl.continue_workflows(worker_id uuid, workflow_keys bigint[], epochs integer[], inputs jsonb[])
RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    marks integer;
    done integer[];
    own_keys bigint[];
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(inputs)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(inputs));
    END IF;
    PERFORM pawl.check_payload('input', i) FROM unnest(inputs) i;
    WITH asked AS MATERIALIZED (
        SELECT a.* FROM unnest(workflow_keys, epochs, inputs) WITH ORDINALITY a (workflow_key, epoch, input, ordinal) ORDER BY a.workflow_key),
    continued AS (
        UPDATE pawl.workflow w SET status = 'enqueued', ready_key = nextval('pawl.key_seq'), claimed_by = NULL, running_in = NULL,
            rank = w.rank & ~1::bigint, crashes = 0, probation = false,
            input = CASE WHEN pg_column_size(a.input) <= 2000 THEN a.input END
        FROM asked a WHERE w.workflow_key = ANY (workflow_keys) AND w.workflow_key = a.workflow_key AND w.epoch = a.epoch
            AND w.claimed_by = continue_workflows.worker_id
        RETURNING a.ordinal, a.input, w.workflow_key, w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key),
    marked AS MATERIALIZED (
        SELECT pawl.mark_ready(c.queue_id, c.rank, c.ready_key, c.workflow_name, c.workflow_version, c.partition_key IS NOT NULL),
            pawl.mark_room(c.queue_id, continue_workflows.worker_id, c.partition_key IS NOT NULL) FROM continued c)
    SELECT (SELECT count(*) FROM marked), array_agg(c.ordinal), array_agg(c.workflow_key) INTO marks, done, own_keys FROM continued c;
    -- The rows are this transaction's: whatever else its run recorded came before.
    DELETE FROM pawl.workflow_step s WHERE s.workflow_key = ANY (own_keys);
    DELETE FROM pawl.waiter w WHERE w.workflow_key = ANY (own_keys);
    DELETE FROM pawl.payload p WHERE p.workflow_key = ANY (own_keys) AND p.name = 'input';
    INSERT INTO pawl.payload (workflow_key, name, value)
        SELECT a.workflow_key, 'input', a.input FROM unnest(workflow_keys, inputs) WITH ORDINALITY a (workflow_key, input, ordinal)
        WHERE a.ordinal = ANY (done) AND pg_column_size(a.input) > 2000;
    RETURN QUERY
    SELECT a.ordinal::integer, CASE WHEN (SELECT true FROM pawl.workflow w WHERE w.workflow_key = a.workflow_key AND w.epoch = a.epoch
            AND w.claimed_by IS NULL LIMIT 1) THEN 'recorded' ELSE 'fenced' END
        FROM unnest(workflow_keys, epochs) WITH ORDINALITY a (workflow_key, epoch, ordinal)
        WHERE a.ordinal <> ALL (coalesce(done, '{}')) ORDER BY a.ordinal;
END $$;
REVOKE ALL ON FUNCTION pawl.continue_workflows(uuid, bigint[], integer[], jsonb[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.continue_workflows(uuid, bigint[], integer[], jsonb[]) IS
'Begins claimed workflows anew: with another input and without recorded steps, claimable at once. Their ids, messages, events, streams, children and
deadlines stay. Answers the refused rows only: fenced, recorded (done already under this epoch: a resend).
worker_id, workflow_keys, epochs: as claimed.
inputs: any JSON values up to pawl.max_payload.';

CREATE FUNCTION pawl.release_workflows(worker_id uuid, workflow_keys bigint[], epochs integer[]) RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    marks integer;
    done integer[];
BEGIN
    IF (rows = cardinality(epochs)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs));
    END IF;
    WITH asked AS MATERIALIZED (
        SELECT a.* FROM unnest(workflow_keys, epochs) WITH ORDINALITY a (workflow_key, epoch, ordinal) ORDER BY a.workflow_key),
    released AS (
        UPDATE pawl.workflow w SET status = 'enqueued', ready_key = nextval('pawl.key_seq'), claimed_by = NULL, running_in = NULL,
            rank = w.rank & ~1::bigint, crashes = 0, probation = false
        FROM asked a WHERE w.workflow_key = ANY (workflow_keys) AND w.workflow_key = a.workflow_key AND w.epoch = a.epoch
            AND w.claimed_by = release_workflows.worker_id
        RETURNING a.ordinal, w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key),
    marked AS MATERIALIZED (
        SELECT pawl.mark_ready(r.queue_id, r.rank, r.ready_key, r.workflow_name, r.workflow_version, r.partition_key IS NOT NULL),
            pawl.mark_room(r.queue_id, release_workflows.worker_id, r.partition_key IS NOT NULL) FROM released r)
    SELECT (SELECT count(*) FROM marked), array_agg(p.ordinal) INTO marks, done FROM released p;
    RETURN QUERY SELECT o, 'fenced' FROM generate_series(1, rows) o WHERE o <> ALL (coalesce(done, '{}'));
END $$;
REVOKE ALL ON FUNCTION pawl.release_workflows(uuid, bigint[], integer[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.release_workflows(uuid, bigint[], integer[]) IS
'Hands claimed workflows back, claimable at once by anyone and not counted as a crash. Answers the refused rows only: fenced.
worker_id, workflow_keys, epochs: as claimed.';

CREATE FUNCTION pawl.release_unknown(worker_id uuid, known_keys bigint[], known_epochs integer[]) RETURNS TABLE (released integer, remaining integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys bigint[];
    epochs integer[];
BEGIN
    IF (release_unknown.worker_id IS NOT NULL AND cardinality(known_keys) = cardinality(known_epochs)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(cardinality(known_keys), cardinality(known_epochs));
    END IF;
    SELECT coalesce(array_agg(w.workflow_key), '{}'), coalesce(array_agg(w.epoch), '{}') INTO keys, epochs FROM pawl.workflow w
        WHERE w.claimed_by = release_unknown.worker_id AND NOT EXISTS (
            SELECT FROM unnest(known_keys, known_epochs) k (workflow_key, epoch) WHERE k.workflow_key = w.workflow_key AND k.epoch = w.epoch);
    released := 0;
    IF cardinality(keys) > 0 THEN
        released := pawl.hand_back(keys, array_fill(release_unknown.worker_id, ARRAY[cardinality(keys)]), epochs,
            array_fill(false, ARRAY[cardinality(keys)]));
    END IF;
    remaining := cardinality(keys) - released;
    RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION pawl.release_unknown(uuid, bigint[], integer[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.release_unknown(uuid, bigint[], integer[]) IS
'Hands back what this worker has claimed and does not know of, because the answer to a claim was lost. Not counted as a crash.
worker_id: as registered. Call it on the session that claims, between two claims, when the session whose answer was lost is gone.
known_keys, known_epochs: what the worker knows that it holds.
Result: released, and remaining: locked just now by another transaction; call it again.';
