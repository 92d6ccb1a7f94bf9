-- Children: what a workflow starts inherits from it.

CREATE FUNCTION pawl.child_time(argument text, value jsonb) RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF jsonb_typeof(value) = 'number' AND value::numeric BETWEEN 0 AND 315576000000 THEN
        RETURN clock_timestamp() + value::numeric * interval '1 second';
    ELSIF jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$' THEN
        RETURN (value #>> '{}')::timestamptz;
    END IF;
    PERFORM pawl.refuse_argument(format('%s is not a time', argument), format('It is %s.', left(value::text, 64)),
        'Give a number of seconds from now, at most 10000 years, or a text like "2026-11-21T17:00:00Z".');
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.child_time(text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.child_time(text, jsonb) IS 'Internal: a time in the arguments of start_child.';

CREATE FUNCTION pawl.enqueue_child(parent_key bigint, workflow_name text, arguments jsonb) RETURNS TABLE (workflow_key bigint, workflow_id text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known CONSTANT text[] := ARRAY['workflow_name', 'input', 'workflow_id', 'queue', 'priority', 'partition_key', 'delay', 'timeout',
        'workflow_version', 'headers', 'attributes', 'detached'];
    own CONSTANT jsonb := coalesce(jsonb_strip_nulls(enqueue_child.arguments - ARRAY['input', 'headers', 'attributes']), '{}');
    parent record;
    wrong text;
    timeout interval;
    deadline timestamptz;
    run_at timestamptz;
BEGIN
    IF jsonb_typeof(coalesce(enqueue_child.arguments, '{}')) <> 'object' THEN
        PERFORM pawl.refuse_argument('arguments must be a JSON object', format('It is a JSON %s.', jsonb_typeof(enqueue_child.arguments)),
            'Give an object like {"input": ...}, or NULL.');
    END IF;
    SELECT k INTO wrong FROM jsonb_object_keys(coalesce(enqueue_child.arguments, '{}')) k WHERE k <> ALL (known) ORDER BY k LIMIT 1;
    IF wrong IS NOT NULL THEN
        PERFORM pawl.refuse_argument(format('unknown member "%s"', left(wrong, 64)), 'A child is started with other arguments.',
            format('Perhaps you meant "%s".', pawl.nearest(wrong, known)));
    END IF;
    SELECT m.key INTO wrong FROM jsonb_each(own) m
        WHERE jsonb_typeof(m.value) IS DISTINCT FROM CASE WHEN m.key IN ('workflow_name', 'workflow_id', 'queue', 'partition_key') THEN 'string'
            WHEN m.key IN ('priority', 'workflow_version') THEN 'number' WHEN m.key = 'detached' THEN 'boolean' ELSE jsonb_typeof(m.value) END
        OR (m.key IN ('priority', 'workflow_version') AND jsonb_typeof(m.value) = 'number'
            AND NOT (m.value::numeric BETWEEN -2147483648 AND 2147483647 AND m.value::numeric = trunc(m.value::numeric)))
        ORDER BY m.key LIMIT 1;
    IF wrong IS NOT NULL THEN
        PERFORM pawl.refuse_argument(format('%s has a wrong type', wrong), format('It is %s.', left((own -> wrong)::text, 64)),
            'workflow_id, queue and partition_key are texts, priority and workflow_version integers, detached is true or false.');
    END IF;
    SELECT w.priority, w.partition_key, w.headers, w.attributes, w.deadline_at INTO parent FROM pawl.workflow w
        WHERE w.workflow_key = enqueue_child.parent_key;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PW001', MESSAGE = 'the parent has ended', HINT = 'Roll back and stop.';
    END IF;
    IF own ? 'delay' THEN
        run_at := pawl.child_time('delay', own -> 'delay');
    END IF;
    deadline := parent.deadline_at;
    IF jsonb_typeof(own -> 'timeout') = 'number' AND (own -> 'timeout')::numeric <= 315576000000 THEN
        timeout := (own -> 'timeout')::numeric * interval '1 second';
    ELSIF own ? 'timeout' THEN
        deadline := least(deadline, pawl.child_time('timeout', own -> 'timeout'));
    END IF;
    SELECT c.workflow_key, c.workflow_id INTO workflow_key, workflow_id FROM pawl.insert_child(enqueue_child.parent_key, enqueue_child.workflow_name,
        coalesce(enqueue_child.arguments -> 'input', '{}'), own ->> 'workflow_id', coalesce(own ->> 'queue', 'default'),
        coalesce((own ->> 'priority')::integer, parent.priority), run_at, timeout, deadline, coalesce(own ->> 'partition_key', parent.partition_key),
        (own ->> 'workflow_version')::integer, coalesce(nullif(enqueue_child.arguments -> 'headers', 'null'), parent.headers),
        coalesce(nullif(enqueue_child.arguments -> 'attributes', 'null'), parent.attributes), coalesce((own ->> 'detached')::boolean, false)) c;
    -- There is one of that id: it is the child, whosever it is.
    IF workflow_key IS NULL THEN
        SELECT w.workflow_key INTO workflow_key FROM pawl.workflow w WHERE w.workflow_id = enqueue_child.workflow_id;
    END IF;
    IF workflow_key IS NULL THEN
        SELECT t.workflow_key INTO workflow_key FROM pawl.find_targets(ARRAY[enqueue_child.workflow_id]) t;
    END IF;
    IF workflow_key IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = format('workflow "%s" was deleted meanwhile', workflow_id), HINT = 'Try again.';
    END IF;
    RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION pawl.enqueue_child(bigint, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.enqueue_child(bigint, text, jsonb) IS
'Internal: starts a child, or finds it. arguments: those of start_child (docs/durable-calls.md). What they leave out of headers, attributes, priority and
partition_key is the parent''s; its deadline is at most the parent''s.';
