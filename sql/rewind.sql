-- Running a part again: a rewind undoes the steps from one on, and the same workflow runs them again; a fork is another workflow that has the steps
-- before it. What was before and what after is told by step_number: a step that begins after another one was recorded has the higher number, also in
-- another branch and in another run. Whoever has 50,000 steps is joined by hashes: planned for one of the many that have few, it took minutes.

CREATE FUNCTION pawl.refuse_step(workflow_id text, workflow_key bigint, from_step text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    names CONSTANT text[] := ARRAY(SELECT s.step_name FROM pawl.workflow_step s
        WHERE s.workflow_key = refuse_step.workflow_key AND s.kind <> 'compensation' ORDER BY s.step_number LIMIT 200);
BEGIN
    PERFORM pawl.refuse_argument(format('workflow "%s" has recorded no step "%s"', workflow_id, left(from_step, 512)),
        'A step is named with the branches it is in and its number of repeats, as pawl.workflow_steps shows it. Nothing was changed.',
        CASE WHEN names = '{}' THEN 'It has recorded none at all.' ELSE format('Perhaps you meant "%s".', pawl.nearest(from_step, names)) END);
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_step(text, bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_step(text, bigint, text) IS 'Internal: says that a workflow has recorded no such step, and names the nearest.';

-- An effect is written in the transaction that records its step, so both have its time; that tells it from what a step of the same name did before
-- the workflow continued as new. What a body wrote to a stream has no such bond: it goes with the name; what was written outside of any step, or
-- in one that was never recorded, goes if it came after all that is kept.
CREATE FUNCTION pawl.undone_from(workflow_key bigint, cut integer) RETURNS TABLE (kind text, key text, place bigint) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $1;
    kept_until CONSTANT timestamptz := (SELECT coalesce(max(s.completed_at) FILTER (WHERE s.step_number < cut), min(s.created_at))
        FROM pawl.workflow_step s WHERE s.workflow_key = own_key);
BEGIN
    RETURN QUERY
    WITH undone AS MATERIALIZED (
        SELECT s.step_name, s.kind, s.created_at FROM pawl.workflow_step s WHERE s.workflow_key = own_key AND s.step_number >= cut)
    SELECT 'event', e.key, e.event_key FROM pawl.event e JOIN undone u ON u.step_name = e.step_name AND u.created_at = e.created_at
        WHERE e.workflow_key = own_key
    UNION ALL
    SELECT 'close', c.key, NULL FROM pawl.closed_stream c JOIN undone u ON u.step_name = c.step_name AND u.created_at = c.closed_at
        WHERE c.workflow_key = own_key
    UNION ALL
    SELECT 'message', NULL, m.message_key FROM pawl.message m JOIN undone u ON u.step_name = m.consumed_by AND m.consumed_at >= u.created_at
        WHERE m.workflow_key = own_key
    UNION ALL
    SELECT 'entry', e.key, e.position FROM pawl.stream_entry e LEFT JOIN undone u ON u.step_name = e.step_name
        WHERE e.workflow_key = own_key AND CASE WHEN u.step_name IS NOT NULL THEN u.kind <> 'write_stream' OR u.created_at = e.created_at
            ELSE e.created_at > kept_until AND NOT EXISTS (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = own_key AND s.step_name = e.step_name) END;
END $$;
REVOKE ALL ON FUNCTION pawl.undone_from(bigint, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.undone_from(bigint, integer) IS
'Internal: what the steps from a number on have left: event (event_key), close (of a stream), message (consumed by them; message_key), entry (position).';

CREATE FUNCTION pawl.undo_steps(workflow_key bigint, cut integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $1;
BEGIN
    WITH undone AS MATERIALIZED (SELECT u.* FROM pawl.undone_from(own_key, cut) u),
    events AS (
        DELETE FROM pawl.event e USING undone u WHERE u.kind = 'event' AND e.workflow_key = own_key AND e.key = u.key AND e.event_key = u.place),
    closes AS (
        DELETE FROM pawl.closed_stream c USING undone u WHERE u.kind = 'close' AND c.workflow_key = own_key AND c.key = u.key),
    entries AS (
        DELETE FROM pawl.stream_entry e USING undone u WHERE u.kind = 'entry' AND e.workflow_key = own_key AND e.key = u.key AND e.position = u.place),
    messages AS (
        UPDATE pawl.message m SET consumed_by = NULL, consumed_at = NULL FROM undone u
        WHERE u.kind = 'message' AND m.workflow_key = own_key AND m.message_key = u.place)
    DELETE FROM pawl.workflow_step s WHERE s.workflow_key = own_key AND s.step_number >= cut;
END $$;
REVOKE ALL ON FUNCTION pawl.undo_steps(bigint, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.undo_steps(bigint, integer) IS 'Internal: deletes the steps from a number on, with what they have left.';

CREATE FUNCTION pawl.rewind_each(workflow_ids text[], from_step text, workflow_version integer, reason text, leave_out boolean) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    keys bigint[];
    one pawl.workflow_history;
    cut integer;
    rewound bigint[];
BEGIN
    PERFORM pawl.check_name('from_step', from_step, 512), pawl.check_version(rewind_each.workflow_version);
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key) INTO ids, keys FROM pawl.find_operable(workflow_ids, reason) f;
    FOR one IN SELECT l.* FROM pawl.lock_ended(keys) l LOOP
        SELECT s.step_number INTO cut FROM pawl.workflow_step s
            WHERE s.workflow_key = one.workflow_key AND s.step_name = from_step AND s.kind <> 'compensation';
        IF NOT FOUND THEN
            CONTINUE WHEN leave_out;
            PERFORM pawl.refuse_step(one.workflow_id, one.workflow_key, from_step);
        -- A step that is answered from the record must not have been undone.
        ELSIF pawl.is_compensated(one.workflow_key)
            AND EXISTS (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = one.workflow_key AND s.step_number < cut) THEN
            CONTINUE WHEN leave_out;
            PERFORM pawl.refuse_compensated(one.workflow_id, 'rewound to that step');
        END IF;
        CONTINUE WHEN NOT pawl.reopen_workflow(one, rewind_each.workflow_version, CASE WHEN NOT leave_out THEN 'rewound' END);
        PERFORM pawl.undo_steps(one.workflow_key, cut);
        PERFORM pawl.await_again(one.workflow_key);
        rewound := rewound || one.workflow_key;
    END LOOP;
    RETURN QUERY SELECT pawl.record_workflows('rewind_workflow', ids, keys, rewound, reason,
        jsonb_build_object('from_step', from_step, 'workflow_version', rewind_each.workflow_version));
END $$;
REVOKE ALL ON FUNCTION pawl.rewind_each(text[], text, integer, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.rewind_each(text[], text, integer, text, boolean) IS
'Internal: rewinds workflows, and answers the ids of those it rewound. leave_out: what has ended and cannot be rewound is left out; otherwise it is an error.';

CREATE FUNCTION pawl.rewind_workflows(workflow_ids text[], from_step text, workflow_version integer DEFAULT NULL, reason text DEFAULT NULL)
RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.rewind_each(workflow_ids, from_step, workflow_version, reason, true)
$$;
REVOKE ALL ON FUNCTION pawl.rewind_workflows(text[], text, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.rewind_workflows(text[], text, integer, text) IS
'Rewinds workflows as pawl.rewind_workflow does, all in this transaction. Returns the ids of those it rewound. Left out is what pawl.rewind_workflow
refuses: the unfinished, those that have not recorded from_step, those whose compensations have begun, unless from_step is their first one, the
redacted, those whose queue was dropped, and those whose deduplication_id another unfinished one has; of several that had the same one the
first to be enqueued is rewound. pawl.rewind_workflow says which it is.
workflow_ids: an id that names none is PW010, and nothing is changed.
from_step, workflow_version, reason: as in pawl.rewind_workflow.';

CREATE FUNCTION pawl.rewind_workflow(workflow_id text, from_step text, workflow_version integer DEFAULT NULL, reason text DEFAULT NULL) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pawl.rewind_each(ARRAY[workflow_id], from_step, workflow_version, reason, false))
$$;
REVOKE ALL ON FUNCTION pawl.rewind_workflow(text, text, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.rewind_workflow(text, text, integer, text) IS
'Lets an ended workflow run again from one of its steps, whatever it ended with. True: it does; false: it has not ended, nothing is changed.
That step, and every one that began later in any branch, is forgotten; earlier ones are answered from the record, the waits among them go on. With the
steps go the events that they set, what they wrote to streams and that they closed them; messages that they received can be received again. What they
did elsewhere stays done: transactions, messages to others, attributes, progress, and children. A child that was started under an id of its own is found
again, ended or not; of any other another one is started. Its deadline, its cancellation and its crashes in a row are forgotten.
workflow_id: PW010 if there is none. PW011 if its compensations have begun, unless from_step is its first one, or if it was redacted. PW002 if another
unfinished workflow has its deduplication_id. PW005 if its queue was dropped.
from_step: the name of a recorded step, as in pawl.workflow_steps; of another one the nearest is named (22023).
workflow_version: goes on with this version of its handler; NULL: the one it had.
reason: 1 to 1024 bytes, for pawl.audit.
Errors: PW006 for a role whose access is narrowed to something else.';

CREATE FUNCTION pawl.refuse_compensated(workflow_id text, verb text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PW011', MESSAGE = format('workflow "%s" cannot be %s', workflow_id, verb),
        DETAIL = 'Its compensations have begun: what its steps did was undone, or is in part.',
        HINT = 'Rewind it to its first step, or fork it from the beginning.';
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_compensated(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_compensated(text, text) IS 'Internal: says that the steps of a workflow cannot be relied on.';

CREATE FUNCTION pawl.copy_workflow(workflow_key bigint, from_step text, from_failure boolean, new_workflow_id text, input jsonb, workflow_version integer,
    leave_out boolean) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $1;
    new_key CONSTANT bigint := nextval('pawl.key_seq');
    copy record;
BEGIN
    -- One statement, and so one snapshot: a worker that runs it may go on meanwhile, and nothing of it is locked.
    WITH source AS MATERIALIZED (
        SELECT w.workflow_id, w.workflow_name, w.workflow_version, w.pinned, w.queue_id, w.priority, w.partition_key, w.headers, w.attributes, w.input,
            w.status, NULL::jsonb AS error, NULL::timestamptz AS redacted_at
        FROM pawl.workflow w WHERE w.workflow_key = own_key
        UNION ALL
        SELECT h.workflow_id, h.workflow_name, h.workflow_version, h.pinned, h.queue_id, h.priority, h.partition_key, h.headers, h.attributes, h.input,
            h.status, h.error, h.redacted_at
        FROM pawl.workflow_history h WHERE h.workflow_key = own_key),
    -- Without a step to begin at nothing is copied; without the one that its failure names, all of it is.
    place AS MATERIALIZED (
        SELECT CASE WHEN from_step IS NULL AND NOT from_failure THEN 0
            ELSE coalesce((SELECT s.step_number FROM pawl.workflow_step s WHERE s.workflow_key = own_key AND s.kind <> 'compensation'
                    AND s.step_name = coalesce(from_step, c.error ->> 'step') AND (NOT from_failure OR s.status = 'failed')),
                CASE WHEN from_failure THEN 2147483647 END) END AS number
        FROM source c),
    refusal AS MATERIALIZED (
        SELECT CASE WHEN p.number IS NULL THEN 'step'
            WHEN from_failure AND c.status NOT IN ('failed', 'cancelled') THEN 'status'
            WHEN pawl.is_compensated(own_key) AND EXISTS (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = own_key AND s.step_number < p.number
                AND s.status IN ('succeeded', 'failed') AND s.kind <> 'compensation') THEN 'compensated'
            WHEN c.redacted_at IS NOT NULL OR NOT pawl.queue_is_there(c.queue_id) THEN 'gone' END AS reason
        FROM source c, place p),
    -- No row if it is refused: then nothing is copied.
    cut AS MATERIALIZED (SELECT p.number FROM place p, refusal r WHERE r.reason IS NULL),
    kept AS MATERIALIZED (
        SELECT s.* FROM pawl.workflow_step s, cut c
        WHERE s.workflow_key = own_key AND s.step_number < c.number AND s.status IN ('succeeded', 'failed') AND s.kind <> 'compensation'),
    undone AS MATERIALIZED (SELECT u.* FROM cut c, pawl.undone_from(own_key, c.number) u),
    made AS (
        -- Yet to start, for the limits of its queue; a claim of what has forked_from says that there are steps to be read.
        INSERT INTO pawl.workflow (workflow_key, ready_key, rank, queue_id, priority, workflow_version, pinned, workflow_id, workflow_name, partition_key,
            forked_from, enqueued_by, headers, attributes, input)
        SELECT new_key, new_key, 2 * c.priority::bigint + 1, c.queue_id, c.priority,
            coalesce(copy_workflow.workflow_version, c.workflow_version), c.pinned, new_workflow_id, c.workflow_name, c.partition_key,
            c.workflow_id, pawl.outer_user(), c.headers, c.attributes,
            CASE WHEN copy_workflow.input IS NULL THEN c.input WHEN pg_column_size(copy_workflow.input) <= 2000 THEN copy_workflow.input END
        FROM source c, cut ON CONFLICT DO NOTHING
        RETURNING queue_id, rank, workflow_name, workflow_version, partition_key),
    payload AS (
        INSERT INTO pawl.payload (workflow_key, name, value)
        SELECT new_key, 'input', copy_workflow.input FROM cut WHERE pg_column_size(copy_workflow.input) > 2000
        UNION ALL
        SELECT new_key, 'input', p.value FROM pawl.payload p, cut WHERE p.workflow_key = own_key AND p.name = 'input' AND copy_workflow.input IS NULL),
    steps AS (
        -- Epoch 0: no run of the copy has recorded them.
        INSERT INTO pawl.workflow_step (workflow_key, created_at, started_at, completed_at, child_key, epoch, step_number, attempts, step_name, kind,
            status, output, error)
        SELECT new_key, k.created_at, k.started_at, k.completed_at, k.child_key, 0, k.step_number, k.attempts, k.step_name, k.kind, k.status, k.output,
            k.error
        FROM kept k),
    events AS (
        INSERT INTO pawl.event (workflow_key, event_key, created_at, key, step_name, value)
        SELECT new_key, e.event_key, e.created_at, e.key, e.step_name, e.value FROM pawl.event e, cut c
        WHERE e.workflow_key = own_key AND c.number > 0
            AND NOT EXISTS (SELECT FROM undone u WHERE u.kind = 'event' AND u.key = e.key AND u.place = e.event_key)),
    entries AS (
        INSERT INTO pawl.stream_entry (workflow_key, position, created_at, attempt, key, step_name, value)
        SELECT new_key, e.position, e.created_at, e.attempt, e.key, e.step_name, e.value FROM pawl.stream_entry e, cut c
        WHERE e.workflow_key = own_key AND c.number > 0
            AND NOT EXISTS (SELECT FROM undone u WHERE u.kind = 'entry' AND u.key = e.key AND u.place = e.position)),
    closes AS (
        INSERT INTO pawl.closed_stream (workflow_key, closed_at, key, step_name)
        SELECT new_key, s.closed_at, s.key, s.step_name FROM pawl.closed_stream s, cut c
        WHERE s.workflow_key = own_key AND c.number > 0 AND NOT EXISTS (SELECT FROM undone u WHERE u.kind = 'close' AND u.key = s.key)),
    messages AS (
        INSERT INTO pawl.message (workflow_key, message_key, created_at, consumed_at, topic, consumed_by, idempotency_key, sent_by, message)
        SELECT new_key, m.message_key, m.created_at, m.consumed_at, m.topic, m.consumed_by, m.idempotency_key, m.sent_by, m.message
        FROM pawl.message m, cut c
        WHERE m.workflow_key = own_key AND c.number > 0 AND m.consumed_by IS NOT NULL
            AND NOT EXISTS (SELECT FROM undone u WHERE u.kind = 'message' AND u.place = m.message_key))
    SELECT c.workflow_id, c.status, c.redacted_at, c.queue_id, r.reason, m.rank, m.workflow_name, m.workflow_version, m.partition_key
        INTO copy FROM source c CROSS JOIN refusal r LEFT JOIN made m ON true;

    IF copy.workflow_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'the workflow was deleted meanwhile', HINT = 'Nothing was changed.';
    ELSIF copy.reason IS NOT NULL AND leave_out THEN
        RETURN false;
    ELSIF copy.reason = 'step' THEN
        PERFORM pawl.refuse_step(copy.workflow_id, own_key, from_step);
    ELSIF copy.reason = 'status' THEN
        RAISE EXCEPTION USING ERRCODE = 'PW011', MESSAGE = format('workflow "%s" has not failed', copy.workflow_id),
            DETAIL = CASE copy.status WHEN 'succeeded' THEN 'It succeeded.' ELSE 'It has not ended.' END,
            HINT = 'Name the step to begin at as from_step, or leave both out for a fork from the beginning.';
    ELSIF copy.reason = 'compensated' THEN
        PERFORM pawl.refuse_compensated(copy.workflow_id, 'forked from there');
    ELSIF copy.reason = 'gone' THEN
        PERFORM pawl.refuse_redacted(copy.workflow_id, copy.redacted_at, 'forked'), pawl.check_queue_is_there(copy.workflow_id, copy.queue_id);
    ELSIF copy.rank IS NULL OR EXISTS (SELECT FROM pawl.find_targets(ARRAY[new_workflow_id]) t WHERE t.workflow_key <> new_key) THEN
        RAISE EXCEPTION USING ERRCODE = 'PW002', MESSAGE = format('workflow "%s" exists', new_workflow_id),
            DETAIL = format('A fork of "%s" cannot have its id. Nothing was changed.', copy.workflow_id),
            HINT = 'Give another new_workflow_id, or leave it out to have one made.';
    END IF;
    PERFORM pawl.mark_ready(copy.queue_id, copy.rank, new_key, copy.workflow_name, copy.workflow_version, copy.partition_key IS NOT NULL);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.copy_workflow(bigint, text, boolean, text, jsonb, integer, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.copy_workflow(bigint, text, boolean, text, jsonb, integer, boolean) IS
'Internal: makes one fork of a workflow. leave_out: false is answered, and nothing made, if it cannot be forked so; otherwise that is an error.';

CREATE FUNCTION pawl.fork_each(workflow_ids text[], from_step text, from_failure boolean, new_workflow_ids text[], input jsonb, workflow_version integer,
    leave_out boolean) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids text[];
    keys bigint[];
    one record;
    asked CONSTANT jsonb := jsonb_strip_nulls(jsonb_build_object('from_step', from_step, 'from_failure', nullif(from_failure, false),
        'new_input', nullif(fork_each.input IS NOT NULL, false), 'workflow_version', fork_each.workflow_version));
BEGIN
    IF from_failure IS NULL OR (from_failure AND from_step IS NOT NULL) THEN
        PERFORM pawl.refuse_argument('a fork begins either at from_step or with from_failure', 'A workflow can begin at one place only.',
            'Give one of them, or none for a fork from the beginning.');
    ELSIF from_step IS NOT NULL THEN
        PERFORM pawl.check_name('from_step', from_step, 512);
    END IF;
    IF fork_each.input IS NOT NULL THEN
        PERFORM pawl.check_payload('input', fork_each.input);
    END IF;
    PERFORM pawl.check_version(fork_each.workflow_version);
    IF cardinality(new_workflow_ids) <> cardinality(workflow_ids) THEN
        PERFORM pawl.refuse_argument('new_workflow_ids and workflow_ids have different lengths',
            format('There are %s and %s.', cardinality(new_workflow_ids), cardinality(workflow_ids)), 'Give one for each workflow, or NULL.');
    END IF;
    PERFORM pawl.check_name('new_workflow_id', n, 512) FROM unnest(new_workflow_ids) n WHERE n IS NOT NULL;
    SELECT array_agg(f.workflow_id), array_agg(f.workflow_key) INTO ids, keys FROM pawl.find_operable(workflow_ids, NULL) f;
    -- Not by subscripts: an array need not begin with 1.
    FOR one IN
        SELECT u.old_id, coalesce(u.new_id, pawl.make_workflow_id()) AS new_id FROM unnest(workflow_ids, new_workflow_ids) u (old_id, new_id)
    LOOP
        IF pawl.copy_workflow(keys[array_position(ids, one.old_id)], from_step, from_failure, one.new_id, fork_each.input, fork_each.workflow_version,
                leave_out) THEN
            -- Whichever of the two somebody looks for.
            PERFORM pawl.record_action('fork_workflow', 'workflow', ARRAY[one.old_id], NULL, jsonb_build_object('new_workflow_id', one.new_id) || asked),
                pawl.record_action('fork_workflow', 'workflow', ARRAY[one.new_id], NULL, jsonb_build_object('forked_from', one.old_id) || asked);
            RETURN NEXT one.new_id;
        ELSE
            RETURN NEXT NULL;
        END IF;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION pawl.fork_each(text[], text, boolean, text[], jsonb, integer, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.fork_each(text[], text, boolean, text[], jsonb, integer, boolean) IS
'Internal: forks workflows, and answers the ids of the new ones. leave_out: NULL for what cannot be forked so; otherwise it is an error.';

CREATE FUNCTION pawl.fork_workflows(workflow_ids text[], from_step text DEFAULT NULL, from_failure boolean DEFAULT false,
    new_workflow_ids text[] DEFAULT NULL, input jsonb DEFAULT NULL, workflow_version integer DEFAULT NULL) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.fork_each($1, $2, $3, $4, $5, $6, true)
$$;
REVOKE ALL ON FUNCTION pawl.fork_workflows(text[], text, boolean, text[], jsonb, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.fork_workflows(text[], text, boolean, text[], jsonb, integer) IS
'Forks workflows as pawl.fork_workflow does, all in this transaction. Returns a row for each of workflow_ids, in that order: the id of the new one, or NULL
for one that was left out. Left out is what pawl.fork_workflow refuses: those that have not recorded from_step, that have not failed (from_failure), whose
compensations have begun, the redacted, and those whose queue was dropped. pawl.fork_workflow says which it is.
workflow_ids: an id that names none is PW010, and nothing is changed.
new_workflow_ids: one for each, or NULL; one that exists is PW002, and nothing is changed.
from_step, from_failure, input, workflow_version: as in pawl.fork_workflow.';

CREATE FUNCTION pawl.fork_workflow(workflow_id text, from_step text DEFAULT NULL, from_failure boolean DEFAULT false,
    new_workflow_id text DEFAULT NULL, input jsonb DEFAULT NULL, workflow_version integer DEFAULT NULL) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.fork_each(ARRAY[$1], $2, $3, ARRAY[$4], $5, $6, false)
$$;
REVOKE ALL ON FUNCTION pawl.fork_workflow(text, text, boolean, text, jsonb, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.fork_workflow(text, text, boolean, text, jsonb, integer) IS
'Makes a new workflow that begins where another one stood, unfinished or ended; that one is not touched, and a worker that runs it goes on. Returns the
id of the new one; forked_from in pawl.workflows has the other.
Copied are the steps that began before that point and were over, with the events they set, what they wrote to streams and the messages they received:
the new one answers them from the record, and others see its events and streams as they were. What was waiting, or being tried again, begins anew.
Messages that nobody had received are not copied. A child that was started before is not started again: it is awaited by its id. Queue,
priority, partition_key, headers and attributes are those of the other; it has no parent, no deduplication_id, no schedule and no deadline.
workflow_id: PW010 if there is none. PW011 if its compensations have begun, unless nothing before them is copied, or if it was redacted. PW005 if its
queue was dropped.
from_step: the name of a recorded step, as in pawl.workflow_steps, which runs again; of another one the nearest is named (22023). Without it, and
without from_failure, the new one begins at the beginning, with nothing copied.
from_failure: it begins at the failed step that the error names, or, if the error names none, after all that was recorded; PW011 if it succeeded or
has not ended.
new_workflow_id: 1 to 512 bytes, PW002 if it exists; NULL makes a UUIDv7.
input: another input, up to pawl.max_payload; NULL: the same. Copied steps keep what they had made of the old one.
workflow_version: of its handler; NULL: the one of the other.
Errors: PW006 for a role whose access is narrowed to something else.';
