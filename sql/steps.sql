-- Checkpoints. The primary key of pawl.workflow_step is the guard against double execution; the lock on the workflow's row is the fence:
-- an unlocked look would let a step commit after its workflow was reclaimed.

CREATE FUNCTION pawl.get_recorded_steps(worker_id uuid, workflow_keys bigint[], epochs integer[], after_key bigint, after_name text, max_bytes bigint)
RETURNS TABLE (workflow_key bigint, step_number integer, step_name text, kind text, status text, output jsonb, error jsonb, attempts integer,
    due_in bigint, started_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    owned bigint[];
    own_key bigint;
    bytes bigint := 0;
BEGIN
    IF cardinality(workflow_keys) IS DISTINCT FROM cardinality(epochs) OR workflow_keys IS NULL THEN
        PERFORM pawl.refuse_lengths(cardinality(workflow_keys), cardinality(epochs));
    END IF;
    IF get_recorded_steps.worker_id IS NULL OR max_bytes IS NULL OR (after_key IS NULL) <> (after_name IS NULL) THEN
        PERFORM pawl.refuse_argument('worker_id and max_bytes must not be null, after_key and after_name come together',
            'A page begins after one step of one workflow.', 'Give both of the last row that was read, or neither.');
    END IF;
    SELECT coalesce(array_agg(w.workflow_key ORDER BY w.workflow_key), '{}') INTO owned
        FROM unnest(workflow_keys, epochs) a (workflow_key, epoch) JOIN pawl.workflow w ON w.workflow_key = a.workflow_key
        WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = get_recorded_steps.worker_id AND w.epoch = a.epoch;
    FOREACH own_key IN ARRAY owned LOOP
        CONTINUE WHEN own_key < after_key;
        FOR workflow_key, step_number, step_name, kind, status, output, error, attempts, due_in, started_at IN
            SELECT s.workflow_key, s.step_number, s.step_name, s.kind, s.status, s.output, s.error, s.attempts,
                CASE WHEN s.status IN ('waiting', 'retrying') AND isfinite(s.due_at)
                    THEN (extract(epoch FROM s.due_at - clock_timestamp()) * 1000000)::bigint END,
                CASE WHEN s.status = 'retrying' THEN coalesce(s.started_at, clock_timestamp()) END
            FROM pawl.workflow_step s
            WHERE s.workflow_key = own_key AND s.step_name > CASE WHEN own_key = after_key THEN after_name ELSE '' END
            ORDER BY s.step_name
        LOOP
            RETURN NEXT;
            -- Compressed, a value says nothing about what it will take.
            bytes := bytes
                + CASE WHEN output IS NULL THEN 0 WHEN pg_column_compression(output) IS NULL THEN pg_column_size(output)
                    ELSE octet_length(output::text) END
                + CASE WHEN error IS NULL THEN 0 WHEN pg_column_compression(error) IS NULL THEN pg_column_size(error)
                    ELSE octet_length(error::text) END;
            IF bytes >= max_bytes THEN
                RETURN;
            END IF;
        END LOOP;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION pawl.get_recorded_steps(uuid, bigint[], integer[], bigint, text, bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.get_recorded_steps(uuid, bigint[], integer[], bigint, text, bigint) IS
'The recorded steps of claimed workflows, a page at a time, ordered by workflow_key and step_name. An empty answer: all are read.
worker_id, workflow_keys, epochs: as claimed; workflows that this worker does not own any more are left out.
after_key, after_name: the last row of the page before, NULL for the first page.
max_bytes: a page ends with the row whose outputs and errors reach this many bytes, so it has at least one row while any is left.
Result: status is succeeded, failed, waiting (a wait that is not over) or retrying (an attempt failed, with its error). due_in: of the last two, in how
many microseconds from now it is over or tried again by itself; negative: since then; NULL: never. started_at: of one that is retrying, when its first
attempt began.';

CREATE FUNCTION pawl.check_payloads(payloads jsonb[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Shown with a unit, and '1500B' is none that pg_size_bytes knows.
    max_payload bigint := coalesce(pg_size_bytes(regexp_replace(nullif(current_setting('pawl.max_payload', true), ''), '([0-9])B$', '\1')), 1048576);
    bytes bigint;
BEGIN
    -- As text a value has at most six times the bytes that it has in memory.
    IF pg_column_size(payloads) <= max_payload / 6 THEN
        RETURN;
    END IF;
    SELECT octet_length(p::text) INTO bytes FROM unnest(payloads) p
        WHERE pg_column_size(p) > max_payload / 6 AND octet_length(p::text) > max_payload LIMIT 1;
    IF bytes IS NOT NULL THEN
        PERFORM pawl.refuse_argument('a payload is too large', format('It has %s bytes; pawl.max_payload is %s.', bytes, max_payload),
            'Store it elsewhere and record where, or raise pawl.max_payload.');
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_payloads(jsonb[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_payloads(jsonb[]) IS 'Internal: refuses a value over pawl.max_payload.';

CREATE FUNCTION pawl.record_steps(worker_id uuid, workflow_keys bigint[], epochs integer[], step_names text[], step_numbers integer[], kinds text[],
    outputs jsonb[], errors jsonb[], started_ats timestamptz[])
RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    max_steps CONSTANT integer := coalesce(nullif(current_setting('pawl.max_steps', true), '')::integer, 50000);
    now CONSTANT timestamptz := clock_timestamp();     -- also how this call knows its own rows again
    taken bigint[] := '{}'; -- ordinals of steps that are recorded already
    found bigint[];
    written integer;
    bad integer;
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(step_names) AND rows = cardinality(step_numbers) AND rows = cardinality(kinds)
            AND rows = cardinality(outputs) AND rows = cardinality(errors) AND rows = cardinality(started_ats)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(step_names), cardinality(step_numbers), cardinality(kinds),
            cardinality(outputs), cardinality(errors), cardinality(started_ats));
    END IF;
    IF pg_column_size(outputs) + pg_column_size(errors) > 4000 + 32 * rows THEN
        PERFORM pawl.check_payloads(outputs), pawl.check_payloads(errors);
    END IF;
    LOOP
        BEGIN
            -- Nearly always none of it is recorded yet, and a plain insert costs a quarter less than one that must expect a conflict.
            WITH owned AS MATERIALIZED (
                SELECT w.workflow_key, w.epoch FROM pawl.workflow w
                WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = record_steps.worker_id AND w.cancel_requested_at IS NULL
                ORDER BY w.workflow_key FOR SHARE OF w)
            INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, output, error, started_at, completed_at)
            SELECT a.workflow_key, a.epoch, a.step_name, a.step_number, a.kind, CASE WHEN a.error IS NULL THEN 'succeeded' ELSE 'failed' END,
                a.output, a.error, a.started_at, now
            FROM unnest(workflow_keys, epochs, step_names, step_numbers, kinds, outputs, errors, started_ats) WITH ORDINALITY
                    a (workflow_key, epoch, step_name, step_number, kind, output, error, started_at, ordinal)
                JOIN owned o ON o.workflow_key = a.workflow_key AND o.epoch = a.epoch
            WHERE a.step_name <> '' AND octet_length(a.step_name) <= 512 AND a.step_number BETWEEN 1 AND max_steps
                AND a.kind <> '' AND octet_length(a.kind) <= 32 AND (a.output IS NULL) <> (a.error IS NULL)
                AND (a.error IS NULL OR jsonb_typeof(a.error) = 'object')
                AND a.ordinal <> ALL (taken);
            GET DIAGNOSTICS written = ROW_COUNT;
            EXIT;
        EXCEPTION WHEN unique_violation THEN
            -- Without what is recorded; of a step given twice the first is.
            SELECT array_agg(a.ordinal) INTO found
            FROM (SELECT u.workflow_key, u.step_name, u.ordinal,
                        row_number() OVER (PARTITION BY u.workflow_key, u.step_name ORDER BY u.ordinal) AS repeat
                    FROM unnest(workflow_keys, step_names) WITH ORDINALITY u (workflow_key, step_name, ordinal)) a
            WHERE a.repeat > 1 OR (
                SELECT true FROM pawl.workflow_step s WHERE s.workflow_key = a.workflow_key AND s.step_name = a.step_name LIMIT 1);
            IF found IS NULL OR found <@ taken THEN
                RAISE;      -- what is in the way is not to be seen: not READ COMMITTED
            END IF;
            taken := found;
        END;
    END LOOP;
    IF written = rows THEN
        RETURN;
    END IF;

    -- Which were not, and why. A wrong row undoes them all.
    SELECT count(*) INTO bad FROM unnest(workflow_keys, epochs, step_names, step_numbers, kinds, outputs, errors)
            a (workflow_key, epoch, step_name, step_number, kind, output, error)
        WHERE (a.workflow_key IS NOT NULL AND a.epoch IS NOT NULL AND a.step_name <> '' AND octet_length(a.step_name) <= 512 AND a.step_number > 0
            AND a.kind <> '' AND octet_length(a.kind) <= 32 AND (a.output IS NULL) <> (a.error IS NULL)
            AND (a.error IS NULL OR jsonb_typeof(a.error) = 'object')) IS NOT TRUE;
    IF bad > 0 THEN
        PERFORM pawl.refuse_argument('a step cannot be recorded as it is', format('%s of %s rows are wrong; nothing was recorded.', bad, rows),
            'Each row has a workflow_key, an epoch, a step_name of 1 to 512 bytes, a step_number from 1, a kind of 1 to 32 bytes, and either an output '
            'or an error, which is a JSON object.');
    END IF;
    RETURN QUERY
    SELECT r.ordinal::integer, r.refusal FROM (
        SELECT a.ordinal, CASE
                WHEN s.status IN ('succeeded', 'failed') AND s.epoch = a.epoch AND (w.workflow_key IS NOT NULL OR (
                    -- A resend of what was sent together with the workflow's end.
                    SELECT true FROM pawl.workflow_history h
                    WHERE h.workflow_key = a.workflow_key AND h.worker_id = record_steps.worker_id AND h.epoch = a.epoch LIMIT 1))
                    THEN CASE WHEN s.completed_at = now AND a.repeat = 1 THEN NULL ELSE 'recorded' END
                WHEN w.workflow_key IS NULL THEN 'fenced'
                WHEN w.cancel_requested_at IS NOT NULL THEN 'cancelled_' || w.cancel_reason
                WHEN s.workflow_key IS NOT NULL THEN 'exists'
                ELSE 'too_many_steps' END AS refusal
        FROM (SELECT u.workflow_key, u.epoch, u.step_name, u.ordinal,
                    row_number() OVER (PARTITION BY u.workflow_key, u.step_name ORDER BY u.ordinal) AS repeat
                FROM unnest(workflow_keys, epochs, step_names) WITH ORDINALITY u (workflow_key, epoch, step_name, ordinal)) a
            LEFT JOIN (SELECT l.workflow_key, l.epoch, l.cancel_requested_at, coalesce(l.cancel_reason, 'request') AS cancel_reason FROM pawl.workflow l
                    WHERE l.workflow_key = ANY (workflow_keys) AND l.claimed_by = record_steps.worker_id) w
                ON w.workflow_key = a.workflow_key AND w.epoch = a.epoch
            LEFT JOIN LATERAL (SELECT l.workflow_key, l.epoch, l.status, l.completed_at FROM pawl.workflow_step l
                    WHERE l.workflow_key = a.workflow_key AND l.step_name = a.step_name OFFSET 0) s ON true) r
    WHERE r.refusal IS NOT NULL ORDER BY r.ordinal;
END $$;
REVOKE ALL ON FUNCTION pawl.record_steps(uuid, bigint[], integer[], text[], integer[], text[], jsonb[], jsonb[], timestamptz[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_steps(uuid, bigint[], integer[], text[], integer[], text[], jsonb[], jsonb[], timestamptz[]) IS
'Records steps of any number of claimed workflows. Answers the refused rows only: fenced (another worker owns the workflow, or it ended), recorded (by this
very run: a resend), cancelled_request and cancelled_parent (its cancellation was asked for: nothing of it is recorded any more), exists (recorded by an earlier
run), too_many_steps (step_number over pawl.max_steps).
worker_id, workflow_keys, epochs: as claimed.
step_names: 1 to 512 bytes. step_numbers: from 1, in the order of the run. kinds: step, transaction, query; 1 to 32 bytes.
outputs, errors: one of the two for each row, the other NULL; an error is a JSON object. started_ats: by the worker''s clock, may be NULL.';

CREATE FUNCTION pawl.record_attempts(worker_id uuid, workflow_keys bigint[], epochs integer[], step_names text[], step_numbers integer[], kinds text[],
    attempts integer[], outputs jsonb[], errors jsonb[], retry_ins bigint[], started_ats timestamptz[], cancellings boolean[])
RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    max_steps CONSTANT integer := coalesce(nullif(current_setting('pawl.max_steps', true), '')::integer, 50000);
    now CONSTANT timestamptz := clock_timestamp();
    bad integer;
    done integer[];
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(step_names) AND rows = cardinality(step_numbers) AND rows = cardinality(kinds)
            AND rows = cardinality(attempts) AND rows = cardinality(outputs) AND rows = cardinality(errors) AND rows = cardinality(retry_ins)
            AND rows = cardinality(started_ats) AND rows = cardinality(cancellings)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(step_names), cardinality(step_numbers), cardinality(kinds),
            cardinality(attempts), cardinality(outputs), cardinality(errors), cardinality(retry_ins), cardinality(started_ats), cardinality(cancellings));
    END IF;
    SELECT count(*) INTO bad FROM unnest(workflow_keys, epochs, step_names, step_numbers, kinds, attempts, outputs, errors, retry_ins)
            a (workflow_key, epoch, step_name, step_number, kind, attempts, output, error, retry_in)
        WHERE (a.workflow_key IS NOT NULL AND a.epoch IS NOT NULL AND a.step_name <> '' AND octet_length(a.step_name) <= 512 AND a.step_number > 0
            AND a.kind <> '' AND octet_length(a.kind) <= 32 AND a.attempts > 0 AND (a.output IS NULL) <> (a.error IS NULL)
            AND (a.error IS NULL OR jsonb_typeof(a.error) = 'object')
            -- A year is more than any back-off, and no sum of it with a time overflows.
            AND (a.retry_in IS NULL OR (a.error IS NOT NULL AND a.retry_in BETWEEN 0 AND 31536000000000))) IS NOT TRUE;
    IF bad > 0 THEN
        PERFORM pawl.refuse_argument('an attempt cannot be recorded as it is', format('%s of %s rows are wrong; nothing was recorded.', bad, rows),
            'Each row has a workflow_key, an epoch, a step_name of 1 to 512 bytes, a step_number from 1, a kind of 1 to 32 bytes, attempts from 1, and '
            'either an output or an error, which is a JSON object. retry_in comes with an error, and is at most a year of microseconds.');
    END IF;
    IF pg_column_size(outputs) + pg_column_size(errors) > 4000 + 32 * rows THEN
        PERFORM pawl.check_payloads(outputs), pawl.check_payloads(errors);
    END IF;
    WITH owned AS MATERIALIZED (
        SELECT w.workflow_key, w.epoch, w.cancel_requested_at FROM pawl.workflow w
        WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = record_attempts.worker_id
        ORDER BY w.workflow_key FOR SHARE OF w),
    -- Of two attempts of one step the later one says all there is to say.
    last AS MATERIALIZED (
        SELECT DISTINCT ON (a.workflow_key, a.step_name) a.*
        FROM unnest(workflow_keys, epochs, step_names, step_numbers, kinds, attempts, outputs, errors, retry_ins, started_ats, cancellings)
                WITH ORDINALITY a (workflow_key, epoch, step_name, step_number, kind, attempts, output, error, retry_in, started_at, cancelling, ordinal)
            JOIN owned o ON o.workflow_key = a.workflow_key AND o.epoch = a.epoch
        WHERE a.step_number <= max_steps AND (o.cancel_requested_at IS NULL OR a.cancelling)
        ORDER BY a.workflow_key, a.step_name, a.ordinal DESC),
    written AS (
        INSERT INTO pawl.workflow_step AS s (workflow_key, epoch, step_name, step_number, kind, status, output, error, attempts, started_at, completed_at,
            due_at)
        SELECT a.workflow_key, a.epoch, a.step_name, a.step_number, a.kind,
            CASE WHEN a.retry_in IS NOT NULL THEN 'retrying' WHEN a.error IS NULL THEN 'succeeded' ELSE 'failed' END, a.output, a.error, a.attempts,
            a.started_at, CASE WHEN a.retry_in IS NULL THEN now END, now + a.retry_in * interval '1 microsecond'
        FROM last a ORDER BY a.workflow_key, a.step_name
        -- The step is the first attempt's: where it stands in the run, and when it began.
        ON CONFLICT (workflow_key, step_name) DO UPDATE SET epoch = excluded.epoch, status = excluded.status, output = excluded.output,
            error = excluded.error, attempts = excluded.attempts, completed_at = excluded.completed_at, due_at = excluded.due_at
            WHERE s.status = 'retrying' AND s.kind = excluded.kind
                AND (excluded.attempts > s.attempts OR (excluded.attempts = s.attempts AND excluded.status <> 'retrying'))
        RETURNING s.workflow_key, s.step_name)
    SELECT array_agg(a.ordinal) INTO done
    FROM unnest(workflow_keys, epochs, step_names, attempts) WITH ORDINALITY a (workflow_key, epoch, step_name, attempts, ordinal)
        JOIN written r ON r.workflow_key = a.workflow_key AND r.step_name = a.step_name
        JOIN last l ON l.workflow_key = a.workflow_key AND l.step_name = a.step_name AND l.epoch = a.epoch;
    IF cardinality(done) = rows OR rows = 0 THEN
        RETURN;
    END IF;

    RETURN QUERY
    SELECT a.ordinal::integer, CASE
            -- By this very run, and not an attempt that goes further than what is there.
            WHEN (s.status IN ('succeeded', 'failed') OR (s.status = 'retrying' AND a.retry_in IS NOT NULL)) AND s.kind = a.kind
                AND s.epoch = a.epoch AND s.attempts >= a.attempts AND (w.workflow_key IS NOT NULL OR (
                SELECT true FROM pawl.workflow_history h
                WHERE h.workflow_key = a.workflow_key AND h.worker_id = record_attempts.worker_id AND h.epoch = a.epoch LIMIT 1)) THEN 'recorded'
            WHEN w.workflow_key IS NULL THEN 'fenced'
            WHEN w.cancel_requested_at IS NOT NULL AND a.cancelling IS NOT TRUE THEN 'cancelled_' || w.cancel_reason
            WHEN s.workflow_key IS NOT NULL THEN 'exists'
            ELSE 'too_many_steps' END
    FROM unnest(workflow_keys, epochs, step_names, kinds, attempts, retry_ins, cancellings) WITH ORDINALITY
            a (workflow_key, epoch, step_name, kind, attempts, retry_in, cancelling, ordinal)
        LEFT JOIN (SELECT l.workflow_key, l.epoch, l.cancel_requested_at, coalesce(l.cancel_reason, 'request') AS cancel_reason FROM pawl.workflow l
                WHERE l.workflow_key = ANY (workflow_keys) AND l.claimed_by = record_attempts.worker_id) w
            ON w.workflow_key = a.workflow_key AND w.epoch = a.epoch
        LEFT JOIN LATERAL (SELECT l.workflow_key, l.epoch, l.kind, l.status, l.attempts FROM pawl.workflow_step l
                WHERE l.workflow_key = a.workflow_key AND l.step_name = a.step_name OFFSET 0) s ON true
    WHERE a.ordinal <> ALL (coalesce(done, '{}')) ORDER BY a.ordinal;
END $$;
REVOKE ALL ON FUNCTION pawl.record_attempts(uuid, bigint[], integer[], text[], integer[], text[], integer[], jsonb[], jsonb[], bigint[], timestamptz[],
    boolean[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_attempts(uuid, bigint[], integer[], text[], integer[], text[], integer[], jsonb[], jsonb[], bigint[], timestamptz[],
    boolean[]) IS
'Records attempts of steps: those that are to be followed by another, and outcomes after such a one. Like pawl.record_steps, whose refusals it answers, but
it replaces a row that is retrying, and keeps that row''s step_number and started_at.
attempts: how often the step was tried, from 1.
outputs, errors: one of the two for each row, the other NULL; an error is a JSON object.
retry_ins: in how many microseconds the step is tried again, with an error; NULL: this is its outcome.
cancellings: true for what undoes a workflow: it is recorded although its cancellation was asked for.
The other arguments are those of pawl.record_steps.';

CREATE FUNCTION pawl.refuse_cancelled(workflow_key bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    one pawl.workflow;
BEGIN
    SELECT w.* INTO one FROM pawl.workflow w WHERE w.workflow_key = refuse_cancelled.workflow_key;
    RAISE EXCEPTION USING ERRCODE = 'PW009', MESSAGE = format('workflow "%s" is being cancelled', one.workflow_id),
        DETAIL = CASE one.cancel_reason WHEN 'parent' THEN 'The cancellation of its parent' ELSE 'Its cancellation' END || ' was asked for'
            || coalesce(' by ' || one.cancelled_by, '') || coalesce(': ' || one.cancel_note, '.'),
        HINT = 'Roll back and stop: nothing of it is recorded any more but what undoes it.';
END $$;
REVOKE ALL ON FUNCTION pawl.refuse_cancelled(bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.refuse_cancelled(bigint) IS 'Internal: raises PW009, with who asked for the cancellation, and why.';

CREATE FUNCTION pawl.record_step(workflow_id text, fence text, step_name text, output jsonb, error jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    number integer;
    own_key bigint;
    cancelled boolean;
BEGIN
    IF workflow_id IS NULL OR step_name IS NULL OR step_name = '' OR octet_length(step_name) > 512 OR (output IS NULL) = (error IS NULL)
        OR jsonb_typeof(error) <> 'object' THEN
        PERFORM pawl.refuse_argument('a step cannot be recorded as it is', CASE
            WHEN workflow_id IS NULL THEN 'workflow_id is null.'
            WHEN step_name IS NULL OR step_name = '' THEN 'step_name is null or empty.'
            WHEN octet_length(step_name) > 512 THEN 'step_name has more than 512 bytes.'
            WHEN (output IS NULL) = (error IS NULL) THEN 'output and error are both given, or both null.'
            ELSE 'error is not a JSON object.' END,
            'Give a step_name of 1 to 512 bytes, and either an output or an error, which is a JSON object.');
    END IF;
    IF (fence ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}:[0-9]{1,9}(:[0-9]{1,9}(:[1-9][0-9]{0,8}(:cancelling)?)?)?$') IS NOT TRUE THEN
        PERFORM pawl.refuse_argument('malformed fence', format('It is %s.', coalesce(quote_literal(left(fence, 80)), 'null')),
            'Hand on the fence that came with the claim: worker_id:epoch, worker_id:epoch:step_number, or worker_id:epoch:step_number:attempts, '
            'perhaps with :cancelling behind it.');
    END IF;
    IF pg_column_size(output) > 4000 OR pg_column_size(error) > 4000 THEN
        PERFORM pawl.check_payloads(ARRAY[output, error]);
    END IF;
    SELECT w.workflow_key, w.cancel_requested_at IS NOT NULL INTO own_key, cancelled FROM pawl.workflow w
        WHERE w.workflow_id = record_step.workflow_id AND w.claimed_by = left(fence, 36)::uuid AND w.epoch = split_part(fence, ':', 2)::integer
        FOR SHARE;
    IF own_key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PW001', MESSAGE = format('the fence of workflow "%s" is overtaken', left(record_step.workflow_id, 512)),
            DETAIL = CASE WHEN EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_id = record_step.workflow_id)
                THEN 'Another run of it has begun, or will.' ELSE 'It has ended, or there is none.' END,
            HINT = 'Roll back and stop: what is left to do, another worker does.';
    END IF;
    IF cancelled AND split_part(fence, ':', 5) = '' THEN
        PERFORM pawl.refuse_cancelled(own_key);
    END IF;
    number := nullif(split_part(fence, ':', 3), '')::integer;
    IF number IS NULL THEN
        SELECT coalesce(max(s.step_number), 0) + 1 INTO number FROM pawl.workflow_step s WHERE s.workflow_key = own_key;
    END IF;
    IF number > coalesce(nullif(current_setting('pawl.max_steps', true), '')::integer, 50000) OR number < 1 THEN
        PERFORM pawl.refuse_argument(format('step number %s is out of range', number),
            format('A workflow has at most %s steps.', coalesce(nullif(current_setting('pawl.max_steps', true), ''), '50000')),
            'Split the work over several workflows, or raise pawl.max_steps.');
    END IF;
    INSERT INTO pawl.workflow_step AS s (workflow_key, epoch, step_name, step_number, kind, status, output, error, attempts, started_at, completed_at)
        VALUES (own_key, split_part(fence, ':', 2)::integer, step_name, number,
            CASE WHEN split_part(fence, ':', 5) = '' THEN 'transaction' ELSE 'compensation' END,
            CASE WHEN error IS NULL THEN 'succeeded' ELSE 'failed' END, output, error, coalesce(nullif(split_part(fence, ':', 4), '')::integer, 1),
            now(), clock_timestamp())
        -- An attempt before this one failed, and was to be followed by another.
        ON CONFLICT (workflow_key, step_name) DO UPDATE SET epoch = excluded.epoch, status = excluded.status, output = excluded.output,
            error = excluded.error, attempts = greatest(s.attempts, excluded.attempts), completed_at = excluded.completed_at, due_at = NULL
            WHERE s.status = 'retrying' AND s.kind = excluded.kind;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('step "%s" of workflow "%s" is recorded already', step_name, workflow_id),
            HINT = 'Roll back: what this transaction did was done before. Read the recorded step and go on from it.';
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.record_step(text, text, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_step(text, text, text, jsonb, jsonb) IS
'Records a step inside any transaction, which thereby becomes the step: both commit, or neither. PW001: fenced, another worker owns the workflow or it
ended. PW009: its cancellation was asked for. 23505: the step is recorded already. After any of them, roll back.
workflow_id: of a workflow that the worker claimed.
fence: worker_id:epoch, worker_id:epoch:step_number, or worker_id:epoch:step_number:attempts, from the claim; it also says in whose name this is done. With
:cancelling behind it, it is a compensation, which undoes something, and is recorded although the workflow is being cancelled. A step that is retrying is
replaced.
step_name: 1 to 512 bytes.
output, error: one of the two, the other NULL; an error is a JSON object.';
