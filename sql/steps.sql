-- Checkpoints. The primary key of pawl.workflow_step is the guard against double execution; the lock on the workflow's row is the fence:
-- an unlocked look would let a step commit after its workflow was reclaimed.

CREATE FUNCTION pawl.get_recorded_steps(worker_id uuid, workflow_keys bigint[], epochs integer[], after_key bigint, after_name text, max_bytes bigint)
RETURNS TABLE (workflow_key bigint, step_number integer, step_name text, kind text, status text, output jsonb, error jsonb)
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
        FOR workflow_key, step_number, step_name, kind, status, output, error IN
            SELECT s.workflow_key, s.step_number, s.step_name, s.kind, s.status, s.output, s.error FROM pawl.workflow_step s
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
max_bytes: a page ends with the row whose outputs and errors reach this many bytes, so it has at least one row while any is left.';

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
    BEGIN
        -- Nearly always none of it is recorded yet, and a plain insert costs a quarter less than one that must expect a conflict.
        WITH owned AS MATERIALIZED (
            SELECT w.workflow_key, w.epoch FROM pawl.workflow w
            WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = record_steps.worker_id
            ORDER BY w.workflow_key FOR SHARE OF w)
        INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, output, error, started_at, completed_at)
        SELECT a.workflow_key, a.epoch, a.step_name, a.step_number, a.kind, CASE WHEN a.error IS NULL THEN 'succeeded' ELSE 'failed' END,
            a.output, a.error, a.started_at, now
        FROM unnest(workflow_keys, epochs, step_names, step_numbers, kinds, outputs, errors, started_ats) WITH ORDINALITY
                a (workflow_key, epoch, step_name, step_number, kind, output, error, started_at, ordinal)
            JOIN owned o ON o.workflow_key = a.workflow_key AND o.epoch = a.epoch
        WHERE a.step_name <> '' AND octet_length(a.step_name) <= 512 AND a.step_number BETWEEN 1 AND max_steps
            AND a.kind <> '' AND octet_length(a.kind) <= 32 AND (a.output IS NULL) <> (a.error IS NULL)
            AND (a.error IS NULL OR jsonb_typeof(a.error) = 'object');
        GET DIAGNOSTICS written = ROW_COUNT;
    EXCEPTION WHEN unique_violation THEN
        WITH owned AS MATERIALIZED (
            SELECT w.workflow_key, w.epoch FROM pawl.workflow w
            WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = record_steps.worker_id
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
        -- Of one step given twice the first is recorded, and the second refused: a hash join keeps no order.
        ORDER BY a.ordinal
        ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS written = ROW_COUNT;
    END;
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
                WHEN s.workflow_key IS NOT NULL AND s.epoch = a.epoch AND (w.workflow_key IS NOT NULL OR (
                    -- A resend of what was sent together with the workflow's end.
                    SELECT true FROM pawl.workflow_history h
                    WHERE h.workflow_key = a.workflow_key AND h.worker_id = record_steps.worker_id AND h.epoch = a.epoch LIMIT 1))
                    THEN CASE WHEN s.completed_at = now AND a.repeat = 1 THEN NULL ELSE 'recorded' END
                WHEN w.workflow_key IS NULL THEN 'fenced'
                WHEN s.workflow_key IS NOT NULL THEN 'exists'
                ELSE 'too_many_steps' END AS refusal
        FROM (SELECT u.workflow_key, u.epoch, u.step_name, u.ordinal,
                    row_number() OVER (PARTITION BY u.workflow_key, u.step_name ORDER BY u.ordinal) AS repeat
                FROM unnest(workflow_keys, epochs, step_names) WITH ORDINALITY u (workflow_key, epoch, step_name, ordinal)) a
            LEFT JOIN (SELECT l.workflow_key, l.epoch FROM pawl.workflow l
                    WHERE l.workflow_key = ANY (workflow_keys) AND l.claimed_by = record_steps.worker_id) w
                ON w.workflow_key = a.workflow_key AND w.epoch = a.epoch
            LEFT JOIN LATERAL (SELECT l.workflow_key, l.epoch, l.completed_at FROM pawl.workflow_step l
                    WHERE l.workflow_key = a.workflow_key AND l.step_name = a.step_name OFFSET 0) s ON true) r
    WHERE r.refusal IS NOT NULL ORDER BY r.ordinal;
END $$;
REVOKE ALL ON FUNCTION pawl.record_steps(uuid, bigint[], integer[], text[], integer[], text[], jsonb[], jsonb[], timestamptz[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_steps(uuid, bigint[], integer[], text[], integer[], text[], jsonb[], jsonb[], timestamptz[]) IS
'Records steps of any number of claimed workflows. Answers the refused rows only: fenced (another worker owns the workflow, or it ended), recorded (by this
very run: a resend), exists (recorded by an earlier run), too_many_steps (step_number over pawl.max_steps).
worker_id, workflow_keys, epochs: as claimed.
step_names: 1 to 512 bytes. step_numbers: from 1, in the order of the run. kinds: step, transaction, query; 1 to 32 bytes.
outputs, errors: one of the two for each row, the other NULL; an error is a JSON object. started_ats: by the worker''s clock, may be NULL.';

CREATE FUNCTION pawl.record_step(workflow_id text, fence text, step_name text, output jsonb, error jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    number integer;
    own_key bigint;
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
    IF (fence ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}:[0-9]{1,9}(:[0-9]{1,9})?$') IS NOT TRUE THEN
        PERFORM pawl.refuse_argument('malformed fence', format('It is %s.', coalesce(quote_literal(left(fence, 80)), 'null')),
            'Hand on the fence that came with the claim: worker_id:epoch or worker_id:epoch:step_number.');
    END IF;
    IF pg_column_size(output) > 4000 OR pg_column_size(error) > 4000 THEN
        PERFORM pawl.check_payloads(ARRAY[output, error]);
    END IF;
    SELECT w.workflow_key INTO own_key FROM pawl.workflow w
        WHERE w.workflow_id = record_step.workflow_id AND w.claimed_by = left(fence, 36)::uuid AND w.epoch = split_part(fence, ':', 2)::integer
        FOR SHARE;
    IF own_key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PW001', MESSAGE = format('the fence of workflow "%s" is overtaken', left(record_step.workflow_id, 512)),
            DETAIL = CASE WHEN EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_id = record_step.workflow_id)
                THEN 'Another run of it has begun, or will.' ELSE 'It has ended, or there is none.' END,
            HINT = 'Roll back and stop: what is left to do, another worker does.';
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
    INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, output, error, started_at, completed_at)
        VALUES (own_key, split_part(fence, ':', 2)::integer, step_name, number, 'transaction',
            CASE WHEN error IS NULL THEN 'succeeded' ELSE 'failed' END, output, error, now(), clock_timestamp())
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', MESSAGE = format('step "%s" of workflow "%s" is recorded already', step_name, workflow_id),
            HINT = 'Roll back: what this transaction did was done before. Read the recorded step and go on from it.';
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.record_step(text, text, text, jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_step(text, text, text, jsonb, jsonb) IS
'Records a step inside any transaction, which thereby becomes the step: both commit, or neither. PW001: fenced, another worker owns the workflow or it
ended. 23505: the step is recorded already. After either, roll back.
workflow_id: of a workflow that the worker claimed.
fence: worker_id:epoch or worker_id:epoch:step_number, from the claim; it also says in whose name this is done.
step_name: 1 to 512 bytes.
output, error: one of the two, the other NULL; an error is a JSON object.';
