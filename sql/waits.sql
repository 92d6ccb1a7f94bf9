-- When a wait is over, and with what. One function decides the first, and who looks is not important: the run that waits, a signal, or parking.
-- The arguments of a wait are those that its step row keeps: workflows as keys, times absolute. Callers pin the plan (jit, sequential scans off).

CREATE FUNCTION pawl.call_error(code text, message text, step_name text, detail jsonb DEFAULT NULL, cause jsonb DEFAULT NULL, type text DEFAULT 'Pawl')
RETURNS jsonb LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('code', code, 'type', type, 'message', message, 'step', step_name, 'attempt', 1, 'detail', detail, 'cause', cause)
$$;
REVOKE ALL ON FUNCTION pawl.call_error(text, text, text, jsonb, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.call_error(text, text, text, jsonb, jsonb, text) IS 'Internal: an error in the standard form.';

CREATE FUNCTION pawl.parse_time(value text) RETURNS timestamptz LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$' THEN
        RETURN NULL;
    END IF;
    RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.parse_time(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.parse_time(text) IS 'Internal: an RFC 3339 time; NULL: it is none.';

CREATE FUNCTION pawl.due_after(value jsonb, now timestamptz) RETURNS timestamptz LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seconds numeric;
BEGIN
    IF jsonb_typeof(value) = 'string' THEN
        RETURN pawl.parse_time(value #>> '{}');
    ELSIF jsonb_typeof(value) = 'number' THEN
        seconds := (value #>> '{}')::numeric;
        -- Over a thousand years is for ever.
        RETURN CASE WHEN seconds > 31556952000 THEN 'infinity'
            ELSE now + make_interval(secs => greatest(seconds, 0)::double precision) END;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.due_after(jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.due_after(jsonb, timestamptz) IS 'Internal: a number of seconds from now, or an RFC 3339 text, as a time.';

CREATE FUNCTION pawl.is_over(kind text, arguments jsonb, due_at timestamptz, workflow_key bigint) RETURNS boolean LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $4;
    target CONSTANT bigint := arguments ->> 'target';
    alternative jsonb;
    found_key bigint;
BEGIN
    IF due_at <= clock_timestamp() THEN
        RETURN true;
    END IF;
    CASE kind
        WHEN 'sleep', 'step' THEN
            RETURN false;
        WHEN 'receive' THEN
            PERFORM FROM pawl.message m WHERE m.workflow_key = own_key AND m.topic = arguments ->> 'topic' AND m.consumed_by IS NULL LIMIT 1;
            RETURN FOUND;
        WHEN 'get_event' THEN
            PERFORM FROM pawl.event e WHERE e.workflow_key = target AND e.key = arguments ->> 'key' LIMIT 1;
            IF FOUND THEN
                RETURN true;
            END IF;
            PERFORM FROM pawl.workflow w WHERE w.workflow_key = target;
            RETURN NOT FOUND;
        WHEN 'read_stream' THEN
            PERFORM FROM pawl.stream_entry e WHERE e.workflow_key = target AND e.key = arguments ->> 'key'
                AND e.position >= (arguments ->> 'from')::bigint LIMIT 1;
            IF NOT FOUND THEN
                PERFORM FROM pawl.closed_stream c WHERE c.workflow_key = target AND c.key = arguments ->> 'key';
            END IF;
            IF FOUND THEN
                RETURN true;
            END IF;
            PERFORM FROM pawl.workflow w WHERE w.workflow_key = target;
            RETURN NOT FOUND;
        WHEN 'await_child' THEN
            PERFORM FROM pawl.workflow w WHERE w.workflow_key = target;
            RETURN NOT FOUND;
        WHEN 'await_children' THEN
            IF arguments ->> 'mode' = 'all' THEN
                PERFORM FROM pawl.workflow w
                    WHERE w.workflow_key = ANY (ARRAY(SELECT jsonb_array_elements_text(arguments -> 'targets')::bigint)) LIMIT 1;
                RETURN NOT FOUND;
            END IF;
            RETURN (SELECT count(*) FROM pawl.workflow w
                    WHERE w.workflow_key = ANY (ARRAY(SELECT jsonb_array_elements_text(arguments -> 'targets')::bigint)))
                < (SELECT count(DISTINCT t) FROM jsonb_array_elements(arguments -> 'targets') t);
        WHEN 'race' THEN
            FOR alternative IN SELECT a FROM jsonb_array_elements(arguments -> 'of') a LOOP
                IF alternative ? 'error' OR pawl.is_over(alternative ->> 'kind', alternative, (alternative ->> 'due_at')::timestamptz, own_key) THEN
                    RETURN true;
                END IF;
            END LOOP;
            RETURN false;
    END CASE;
END $$;
REVOKE ALL ON FUNCTION pawl.is_over(text, jsonb, timestamptz, bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.is_over(text, jsonb, timestamptz, bigint) IS
'Internal: whether a wait of a workflow is over: what it waits for is there, or its time has come.';

CREATE FUNCTION pawl.ended_workflows(workflow_keys bigint[])
RETURNS TABLE (workflow_key bigint, workflow_id text, status text, status_reason text, completed_at timestamptz, output jsonb, error jsonb,
    redacted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.workflow_key, h.workflow_id, h.status, h.status_reason, h.completed_at, CASE WHEN h.output IS NOT NULL OR h.status <> 'succeeded' THEN h.output
        ELSE (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = h.workflow_key AND p.name = 'output' LIMIT 1) END, h.error,
        h.redacted_at IS NOT NULL
    FROM pawl.workflow_history h WHERE h.workflow_key = ANY (workflow_keys)
$$;
REVOKE ALL ON FUNCTION pawl.ended_workflows(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.ended_workflows(bigint[]) IS 'Internal: what workflows have come to, with their outputs wherever they are.';

CREATE FUNCTION pawl.redacted_failure(workflow_id text, step_name text) RETURNS jsonb LANGUAGE sql IMMUTABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.call_error('redacted', format('Workflow "%s" was redacted: the value is gone.', workflow_id), step_name,
        jsonb_build_object('workflow_id', workflow_id))
$$;
REVOKE ALL ON FUNCTION pawl.redacted_failure(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.redacted_failure(text, text) IS 'Internal: the error of a wait for what somebody has redacted.';

-- The callers have asked is_over, and hold the workflow's row: nobody else takes its messages. Whatever else it waits for may have been resumed or
-- rewound since then: so what it has come to, and whether it has not ended, is asked in one statement, and the wait may not be over after all.
CREATE FUNCTION pawl.take_outcome(kind text, arguments jsonb, due_at timestamptz, workflow_key bigint, step_name text, offer jsonb,
    OUT is_over boolean, OUT output jsonb, OUT error jsonb) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $4;
    target CONSTANT bigint := arguments ->> 'target';
    targets CONSTANT bigint[] := ARRAY(SELECT jsonb_array_elements_text(arguments -> 'targets')::bigint);
    most CONSTANT integer := arguments ->> 'limit';
    max_bytes CONSTANT bigint := coalesce(pg_size_bytes(regexp_replace(
        nullif(current_setting('pawl.max_payload', true), ''), '([0-9])B$', '\1')), 1048576);
    answer jsonb;
    goes_on boolean := false;       -- the workflow that it waits for has not ended
    is_closed boolean;
    is_whole boolean;
    is_redacted boolean;
    ended record;
    alternative jsonb;
    index integer := 0;
    inner_due timestamptz;
BEGIN
    CASE kind
        WHEN 'sleep' THEN
            answer := 'null';
        WHEN 'receive' THEN
            UPDATE pawl.message m SET consumed_by = take_outcome.step_name, consumed_at = clock_timestamp()
                WHERE m.workflow_key = own_key AND m.message_key = (SELECT l.message_key FROM pawl.message l WHERE l.workflow_key = own_key
                    AND l.topic = arguments ->> 'topic' AND l.consumed_by IS NULL ORDER BY l.message_key LIMIT 1)
                RETURNING m.message INTO answer;
        WHEN 'get_event' THEN
            SELECT l.value, t.goes_on, NOT t.goes_on AND l.value IS NOT NULL AND EXISTS (SELECT FROM pawl.workflow_history h
                    WHERE h.workflow_key = target AND h.redacted_at IS NOT NULL)
                INTO answer, goes_on, is_redacted
                FROM (SELECT EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_key = target)) t (goes_on)
                    LEFT JOIN (SELECT e.value FROM pawl.event e WHERE e.workflow_key = target AND e.key = arguments ->> 'key'
                        ORDER BY e.event_key DESC LIMIT 1) l ON true;
        WHEN 'read_stream' THEN
            -- All in one statement: it may be rewound meanwhile.
            SELECT jsonb_agg(jsonb_build_object('position', e.position, 'attempt', e.attempt, 'value', e.value) ORDER BY e.position)
                    FILTER (WHERE e.fits), count(e.position) = count(*) FILTER (WHERE e.fits), t.goes_on, t.is_closed OR NOT t.goes_on,
                    NOT t.goes_on AND count(e.position) > 0
                        AND EXISTS (SELECT FROM pawl.workflow_history h WHERE h.workflow_key = target AND h.redacted_at IS NOT NULL)
                INTO answer, is_whole, goes_on, is_closed, is_redacted
                FROM (SELECT EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_key = target),
                        EXISTS (SELECT FROM pawl.closed_stream c WHERE c.workflow_key = target AND c.key = arguments ->> 'key')) t (goes_on, is_closed)
                    LEFT JOIN (SELECT l.position, l.attempt, l.value,
                        row_number() OVER w = 1 OR (row_number() OVER w <= most AND sum(pg_column_size(l.value)) OVER w <= max_bytes) AS fits
                    FROM (SELECT s.position, s.attempt, s.value FROM pawl.stream_entry s
                        WHERE s.workflow_key = target AND s.key = arguments ->> 'key' AND s.position >= (arguments ->> 'from')::bigint
                        ORDER BY s.position LIMIT most + 1) l
                    WINDOW w AS (ORDER BY l.position)) e ON true
                GROUP BY t.goes_on, t.is_closed;
            IF answer IS NOT NULL OR is_closed THEN
                answer := jsonb_build_object('entries', coalesce(answer, '[]'), 'closed', is_closed AND is_whole);
            END IF;
        WHEN 'await_child' THEN
            SELECT EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_key = target) AS goes_on, e.* INTO ended
                FROM (SELECT) t LEFT JOIN pawl.ended_workflows(ARRAY[target]) e ON true;
            goes_on := ended.goes_on;
            is_redacted := ended.redacted AND ended.status = 'succeeded';
            IF ended.status = 'succeeded' THEN
                answer := ended.output;
            ELSIF ended.status = 'cancelled' THEN
                error := pawl.call_error('child_cancelled', format('Workflow "%s" was cancelled.', ended.workflow_id), step_name,
                    jsonb_build_object('workflow_id', ended.workflow_id), ended.error);
            ELSIF ended.status = 'failed' THEN
                error := pawl.call_error(coalesce(ended.error ->> 'code', ended.status_reason),
                    format('Workflow "%s" failed: %s', ended.workflow_id, coalesce(ended.error ->> 'message', ended.status_reason)), step_name,
                    ended.error -> 'detail', ended.error, coalesce(ended.error ->> 'type', 'Pawl'));
            ELSIF NOT goes_on THEN
                error := pawl.call_error('unknown_workflow', format('Workflow "%s" does not exist any more.', arguments ->> 'workflow_id'),
                    step_name, jsonb_build_object('workflow_id', arguments -> 'workflow_id'));
            END IF;
        WHEN 'await_children' THEN
            SELECT CASE WHEN arguments ->> 'mode' = 'any' THEN (array_agg(c.one ORDER BY c.completed_at, c.ordinal) FILTER (WHERE c.ended))[1]
                    WHEN bool_and(c.ended) IS NOT FALSE THEN coalesce(jsonb_agg(c.one ORDER BY c.ordinal), '[]') END
                INTO answer
                FROM (
                    SELECT t.ordinal, e.completed_at, w.workflow_key IS NULL AS ended,
                        jsonb_build_object('workflow_id', arguments -> 'workflow_ids' -> (t.ordinal::integer - 1))
                            || CASE WHEN e.workflow_key IS NULL THEN jsonb_build_object('status', 'failed', 'output', NULL,
                                    'error', pawl.call_error('unknown_workflow', 'The workflow does not exist any more.', take_outcome.step_name))
                                WHEN e.redacted AND e.status = 'succeeded' THEN jsonb_build_object('status', 'failed', 'output', NULL,
                                    'error', pawl.redacted_failure(e.workflow_id, take_outcome.step_name))
                                ELSE jsonb_build_object('status', e.status, 'output', e.output, 'error', e.error) END AS one
                    FROM unnest(targets) WITH ORDINALITY t (workflow_key, ordinal)
                        LEFT JOIN pawl.ended_workflows(targets) e ON e.workflow_key = t.workflow_key
                        LEFT JOIN (SELECT u.workflow_key FROM pawl.workflow u WHERE u.workflow_key = ANY (targets)) w
                            ON w.workflow_key = t.workflow_key) c;
            goes_on := answer IS NULL;
        WHEN 'race' THEN
            FOR alternative IN SELECT a FROM jsonb_array_elements(arguments -> 'of') a LOOP
                IF alternative ? 'error' THEN
                    answer := jsonb_build_object('winner', index, 'error', alternative -> 'error');
                ELSIF alternative ->> 'kind' = 'step' THEN
                    IF (offer ->> 'index')::numeric = index THEN
                        answer := jsonb_build_object('winner', index) || CASE WHEN coalesce(offer -> 'error', 'null') <> 'null'
                            THEN jsonb_build_object('error', offer -> 'error') ELSE jsonb_build_object('value', offer -> 'output') END;
                    END IF;
                ELSE
                    inner_due := alternative ->> 'due_at';
                    IF pawl.is_over(alternative ->> 'kind', alternative, inner_due, own_key) THEN
                        SELECT o.output, o.error INTO answer, error FROM pawl.take_outcome(alternative ->> 'kind', alternative, inner_due, own_key,
                            step_name, NULL) o WHERE o.is_over;
                        answer := jsonb_build_object('winner', index) || CASE WHEN error IS NOT NULL THEN jsonb_build_object('error', error)
                            WHEN answer = 'null' THEN '{"none": true}' ELSE answer END;
                        error := NULL;
                    END IF;
                END IF;
                EXIT WHEN answer IS NOT NULL;
                index := index + 1;
            END LOOP;
            goes_on := answer IS NULL;
    END CASE;
    is_over := NOT goes_on OR answer IS NOT NULL OR (kind <> 'race' AND coalesce(due_at <= clock_timestamp(), false));
    IF is_redacted THEN
        error := pawl.redacted_failure(arguments ->> 'workflow_id', step_name);
    ELSIF is_over AND error IS NULL THEN
        -- What is recorded: the value, or none. A race always has one.
        output := CASE WHEN answer IS NULL THEN 'null' WHEN kind = 'race' THEN answer ELSE jsonb_build_object('value', answer) END;
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.take_outcome(text, jsonb, timestamptz, bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.take_outcome(text, jsonb, timestamptz, bigint, text, jsonb) IS
'Internal: what a wait that is over has come to, as its step records it; a message is consumed by that. Or that it is not over any more.';
