-- Durable calls: effects are done and waits are tried in the transaction that records them as steps. docs/durable-calls.md has their arguments.

CREATE FUNCTION pawl.call_problem(kind text, arguments jsonb, inner_call boolean DEFAULT false) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known CONSTANT text[] := CASE kind
        WHEN 'send' THEN '{workflow_id,message,topic}'
        WHEN 'set_event' THEN '{key,value}'
        WHEN 'write_stream' THEN '{key,value}'
        WHEN 'close_stream' THEN '{key}'
        WHEN 'merge_attributes' THEN '{attributes}'
        WHEN 'start_child' THEN '{workflow_name,input,workflow_id,queue,priority,partition_key,delay,timeout,workflow_version,headers,attributes,detached}'
        WHEN 'cancel_workflow' THEN '{workflow_id,reason}'
        WHEN 'sleep' THEN '{seconds,until}'
        WHEN 'receive' THEN '{topic,timeout}'
        WHEN 'get_event' THEN '{workflow_id,key,timeout}'
        WHEN 'read_stream' THEN '{workflow_id,key,from,limit,timeout}'
        WHEN 'await_child' THEN '{workflow_id,timeout}'
        WHEN 'await_children' THEN '{workflow_ids,mode,timeout}'
        WHEN 'race' THEN CASE WHEN NOT inner_call THEN '{of,offer}'::text[] END
        WHEN 'step' THEN CASE WHEN inner_call THEN '{}'::text[] END
        END;
    needed text[] := CASE
        WHEN kind IN ('send', 'cancel_workflow', 'await_child') THEN '{workflow_id}'
        WHEN kind IN ('set_event', 'write_stream', 'close_stream') THEN '{key}'
        WHEN kind IN ('get_event', 'read_stream') THEN '{workflow_id,key}'
        WHEN kind = 'merge_attributes' THEN '{attributes}'
        WHEN kind = 'start_child' THEN '{workflow_name}'
        WHEN kind = 'await_children' THEN '{workflow_ids}'
        WHEN kind = 'race' THEN '{of}'
        ELSE '{}' END;
    name text;
    value jsonb;
    form text;
    alternative jsonb;
    problem text;
BEGIN
    IF known IS NULL THEN
        RETURN format('There is no durable call of kind "%s" here.', left(kind, 64));
    ELSIF jsonb_typeof(arguments) IS DISTINCT FROM 'object' THEN
        RETURN 'The arguments of a call are a JSON object.';
    END IF;
    FOR name, value IN SELECT m.key, m.value FROM jsonb_each(arguments) m LOOP
        IF name <> ALL (known) THEN
            RETURN format('"%s" is no argument of %s.', left(name, 64), kind);
        END IF;
        form := jsonb_typeof(value);
        CONTINUE WHEN form = 'null';
        IF (CASE
            WHEN name IN ('workflow_id', 'workflow_name', 'queue', 'partition_key', 'mode', 'reason') THEN form <> 'string'
            WHEN name = 'topic' THEN form <> 'string' OR octet_length(value #>> '{}') > 128
            WHEN name = 'key' THEN form <> 'string' OR value = '""' OR octet_length(value #>> '{}') > 128
            WHEN name IN ('seconds', 'delay') THEN form <> 'number'
            WHEN name IN ('timeout', 'until') THEN CASE form WHEN 'number' THEN false
                WHEN 'string' THEN kind = 'start_child' OR pawl.parse_time(value #>> '{}') IS NULL ELSE true END
            WHEN name IN ('priority', 'workflow_version') THEN CASE form
                WHEN 'number' THEN (value #>> '{}')::numeric NOT BETWEEN -2147483648 AND 2147483647 OR (value #>> '{}')::numeric % 1 <> 0 ELSE true END
            WHEN name IN ('from', 'limit') THEN CASE form
                WHEN 'number' THEN (value #>> '{}')::numeric NOT BETWEEN 1 AND CASE name WHEN 'from' THEN 1000000000000000000 ELSE 100000 END
                    OR (value #>> '{}')::numeric % 1 <> 0 ELSE true END
            WHEN name IN ('headers', 'attributes', 'offer') THEN form <> 'object'
            WHEN name = 'detached' THEN form <> 'boolean'
            WHEN name IN ('workflow_ids', 'of') THEN form <> 'array'
            ELSE false END)
        THEN
            RETURN format('"%s" of %s is not as it should be: a %s.', name, kind, form);
        END IF;
        needed := array_remove(needed, name);
    END LOOP;
    IF needed <> '{}' THEN
        RETURN format('%s needs "%s".', kind, needed[1]);
    END IF;
    CASE kind
        WHEN 'sleep' THEN
            IF (coalesce(arguments -> 'seconds', 'null') = 'null') = (coalesce(arguments -> 'until', 'null') = 'null') THEN
                RETURN 'sleep needs either "seconds" or "until".';
            END IF;
        WHEN 'await_children' THEN
            IF coalesce(arguments ->> 'mode', 'all') NOT IN ('all', 'any') THEN
                RETURN '"mode" of await_children is all or any.';
            ELSIF EXISTS (SELECT FROM jsonb_array_elements(arguments -> 'workflow_ids') i WHERE jsonb_typeof(i) <> 'string') THEN
                RETURN '"workflow_ids" of await_children holds something that is no text.';
            ELSIF arguments ->> 'mode' = 'any' AND jsonb_array_length(arguments -> 'workflow_ids') = 0 THEN
                RETURN 'Of no workflow at all none ends first.';
            END IF;
        WHEN 'race' THEN
            IF jsonb_array_length(arguments -> 'of') = 0 THEN
                RETURN 'A race needs at least one alternative.';
            END IF;
            FOR alternative IN SELECT a FROM jsonb_array_elements(arguments -> 'of') a LOOP
                IF jsonb_typeof(alternative) <> 'object' OR jsonb_typeof(alternative -> 'kind') IS DISTINCT FROM 'string' THEN
                    RETURN 'An alternative of a race is a JSON object with a "kind".';
                ELSIF alternative ->> 'kind' NOT IN ('sleep', 'receive', 'get_event', 'read_stream', 'await_child', 'await_children', 'step') THEN
                    RETURN format('"%s" is no alternative of a race.', left(alternative ->> 'kind', 64));
                END IF;
                problem := pawl.call_problem(alternative ->> 'kind', alternative - 'kind', true);
                IF problem IS NOT NULL THEN
                    RETURN problem;
                END IF;
            END LOOP;
            RETURN pawl.offer_problem(arguments -> 'of', arguments -> 'offer');
        ELSE
            NULL;
    END CASE;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.call_problem(text, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.call_problem(text, jsonb, boolean) IS 'Internal: what is wrong with the arguments of a durable call; NULL: nothing.';

CREATE FUNCTION pawl.offer_problem(alternatives jsonb, offer jsonb) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(offer, 'null') = 'null' THEN
        RETURN NULL;
    ELSIF jsonb_typeof(offer) <> 'object' OR jsonb_typeof(offer -> 'index') IS DISTINCT FROM 'number' OR offer - '{index,output,error}'::text[] <> '{}'
        OR jsonb_typeof(coalesce(offer -> 'error', 'null')) NOT IN ('object', 'null')
        OR (offer ->> 'index')::numeric % 1 <> 0 OR (offer ->> 'index')::numeric NOT BETWEEN 0 AND jsonb_array_length(alternatives) - 1
    THEN
        RETURN 'An offer is {"index": n, "output": ...} or {"index": n, "error": {...}}, and n is that of an alternative.';
    ELSIF alternatives -> (offer ->> 'index')::integer ->> 'kind' <> 'step' THEN
        RETURN 'Only an alternative of kind step can be offered.';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.offer_problem(jsonb, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.offer_problem(jsonb, jsonb) IS 'Internal: what is wrong with the offer of a step to a race; NULL: nothing.';

-- The arguments of a wait as its step row keeps them, when it is over by itself, and whom it waits for.
CREATE FUNCTION pawl.resolve_wait(kind text, arguments jsonb, step_name text, OUT kept jsonb, OUT due_at timestamptz, OUT targets bigint[],
    OUT failure jsonb) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    ids text[];
    missing text;
    alternative jsonb;
    inner_wait record;
BEGIN
    due_at := pawl.due_after(CASE kind WHEN 'sleep' THEN coalesce(nullif(arguments -> 'seconds', 'null'), arguments -> 'until')
        ELSE arguments -> 'timeout' END, now);
    IF kind = 'sleep' AND jsonb_typeof(arguments -> 'until') = 'number' THEN
        due_at := pawl.due_after(arguments -> 'until', '1970-01-01 00:00:00+00');
    END IF;
    IF kind IN ('get_event', 'read_stream', 'await_child') THEN
        ids := ARRAY[arguments ->> 'workflow_id'];
        SELECT ARRAY[w.workflow_key] INTO targets FROM pawl.workflow w WHERE w.workflow_id = ids[1];
        IF NOT FOUND THEN
            -- Both tables in one statement: it may go from one to the other meanwhile.
            SELECT ARRAY[t.workflow_key] INTO targets FROM pawl.find_targets(ids) t;
        END IF;
        IF NOT FOUND THEN
            missing := ids[1];
        END IF;
    ELSIF kind = 'await_children' THEN
        ids := ARRAY(SELECT jsonb_array_elements_text(arguments -> 'workflow_ids'));
        SELECT coalesce(array_agg(t.workflow_key ORDER BY i.ordinal), '{}'), min(i.id) FILTER (WHERE t.workflow_key IS NULL) INTO targets, missing
            FROM unnest(ids) WITH ORDINALITY i (id, ordinal)
                LEFT JOIN (SELECT w.workflow_id, w.workflow_key FROM pawl.workflow w WHERE w.workflow_id = ANY (ids)
                    UNION ALL SELECT h.workflow_id, h.workflow_key FROM pawl.workflow_history h WHERE h.workflow_id = ANY (ids)) t
                ON t.workflow_id = i.id;
    END IF;
    IF missing IS NOT NULL THEN
        targets := '{}';
        failure := pawl.call_error('unknown_workflow', format('Workflow "%s" does not exist.', left(missing, 512)), step_name,
            jsonb_build_object('workflow_id', left(missing, 512)));
        RETURN;
    END IF;
    CASE kind
        WHEN 'sleep', 'step' THEN
            kept := '{}';
        WHEN 'receive' THEN
            kept := jsonb_build_object('topic', coalesce(arguments ->> 'topic', ''));
        WHEN 'get_event' THEN
            kept := jsonb_build_object('workflow_id', ids[1], 'target', targets[1], 'key', arguments -> 'key');
        WHEN 'read_stream' THEN
            kept := jsonb_build_object('workflow_id', ids[1], 'target', targets[1], 'key', arguments -> 'key',
                'from', coalesce((arguments ->> 'from')::numeric::bigint, 1), 'limit', coalesce((arguments ->> 'limit')::numeric::integer, 100));
        WHEN 'await_child' THEN
            kept := jsonb_build_object('workflow_id', ids[1], 'target', targets[1]);
        WHEN 'await_children' THEN
            kept := jsonb_build_object('workflow_ids', to_jsonb(ids), 'targets', to_jsonb(targets), 'mode', coalesce(arguments ->> 'mode', 'all'));
        WHEN 'race' THEN
            kept := '[]';
            targets := '{}';
            FOR alternative IN SELECT a FROM jsonb_array_elements(arguments -> 'of') a LOOP
                SELECT r.* INTO inner_wait FROM pawl.resolve_wait(alternative ->> 'kind', alternative - 'kind', step_name) r;
                kept := kept || jsonb_build_array(jsonb_build_object('kind', alternative -> 'kind') || CASE WHEN inner_wait.failure IS NOT NULL
                    THEN jsonb_build_object('error', inner_wait.failure) ELSE inner_wait.kept || jsonb_build_object('due_at', inner_wait.due_at) END);
                targets := targets || coalesce(inner_wait.targets, '{}');
                due_at := least(due_at, inner_wait.due_at);
            END LOOP;
            kept := jsonb_build_object('of', kept);
    END CASE;
END $$;
REVOKE ALL ON FUNCTION pawl.resolve_wait(text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.resolve_wait(text, jsonb, text) IS
'Internal: the arguments of a wait with its workflows as keys and its times absolute; or the failure that it is over with at once.';

-- Effects. The caller holds the workflow's row.
CREATE FUNCTION pawl.do_effect(kind text, arguments jsonb, workflow_key bigint, step_name text,
    OUT output jsonb, OUT failure jsonb, OUT child_key bigint, OUT signalled bigint, OUT owner uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $3;
    id CONSTANT text := arguments ->> 'workflow_id';
    event_name CONSTANT text := arguments ->> 'key';
    value CONSTANT jsonb := coalesce(arguments -> CASE kind WHEN 'send' THEN 'message' ELSE 'value' END, 'null');
    target record;
    place bigint;
BEGIN
    IF kind IN ('send', 'cancel_workflow') THEN
        SELECT w.workflow_key, w.claimed_by, false AS ended INTO target FROM pawl.workflow w WHERE w.workflow_id = id;
        IF NOT FOUND THEN
            SELECT t.workflow_key, t.claimed_by, t.ended INTO target FROM pawl.find_targets(ARRAY[id]) t;
        END IF;
        IF NOT FOUND THEN
            failure := pawl.call_error('unknown_workflow', format('Workflow "%s" does not exist.', left(id, 512)), step_name,
                jsonb_build_object('workflow_id', left(id, 512)));
            RETURN;
        ELSIF target.ended THEN
            output := 'false';
            RETURN;
        END IF;
    END IF;
    CASE kind
        WHEN 'send' THEN
            PERFORM pawl.check_payload('message', value);
            INSERT INTO pawl.message (workflow_key, topic, sent_by, message)
                VALUES (target.workflow_key, coalesce(arguments ->> 'topic', ''), pawl.outer_user(), value);
            output := 'true';
            signalled := target.workflow_key;
            owner := target.claimed_by;
        WHEN 'set_event' THEN
            PERFORM pawl.check_payload('value', value);
            INSERT INTO pawl.event (workflow_key, key, step_name, value) VALUES (own_key, event_name, do_effect.step_name, value);
            output := 'null';
            signalled := own_key;
        WHEN 'write_stream' THEN
            PERFORM pawl.check_payload('value', value);
            PERFORM FROM pawl.closed_stream c WHERE c.workflow_key = own_key AND c.key = event_name;
            IF FOUND THEN
                failure := pawl.call_error('stream_closed', format('Stream "%s" is closed.', event_name), step_name);
                RETURN;
            END IF;
            place := pawl.append_entry(own_key, event_name, step_name, 1, value);
            output := to_jsonb(place);
            signalled := own_key;
        WHEN 'close_stream' THEN
            INSERT INTO pawl.closed_stream (workflow_key, key, step_name) VALUES (own_key, event_name, do_effect.step_name) ON CONFLICT DO NOTHING;
            output := 'null';
            signalled := own_key;
        WHEN 'merge_attributes' THEN
            SELECT coalesce(w.attributes, '{}') || (arguments -> 'attributes') INTO output FROM pawl.workflow w WHERE w.workflow_key = own_key;
            output := output - ARRAY(SELECT m.key FROM jsonb_each(arguments -> 'attributes') m WHERE m.value = 'null');
            PERFORM pawl.check_document('attributes', output);
            UPDATE pawl.workflow w SET attributes = do_effect.output WHERE w.workflow_key = own_key;
        WHEN 'start_child' THEN
            SELECT c.workflow_key, jsonb_build_object('workflow_id', c.workflow_id) INTO child_key, output
                FROM pawl.enqueue_child(own_key, arguments ->> 'workflow_name', arguments) c;
        WHEN 'cancel_workflow' THEN
            output := to_jsonb(cardinality(pawl.request_cancel(ARRAY[target.workflow_key], arguments ->> 'reason')) > 0);
    END CASE;
END $$;
REVOKE ALL ON FUNCTION pawl.do_effect(text, jsonb, bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.do_effect(text, jsonb, bigint, text) IS 'Internal: does what a durable call asks for, and says what its step is to record.';

CREATE FUNCTION pawl.append_entry(workflow_key bigint, key text, step_name text, attempt integer, value jsonb) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    place bigint;
BEGIN
    SELECT e.position INTO place FROM pawl.stream_entry e WHERE e.workflow_key = append_entry.workflow_key AND e.key = append_entry.key
        ORDER BY e.position DESC LIMIT 1;
    place := coalesce(place, 0) + 1;
    INSERT INTO pawl.stream_entry (workflow_key, key, position, step_name, attempt, value)
        VALUES (append_entry.workflow_key, append_entry.key, place, append_entry.step_name, append_entry.attempt, append_entry.value);
    RETURN place;
END $$;
REVOKE ALL ON FUNCTION pawl.append_entry(bigint, text, text, integer, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.append_entry(bigint, text, text, integer, jsonb) IS
'Internal: appends to a stream. The caller holds the workflow''s row: nobody else counts its positions.';

-- One call of a workflow whose row is locked. Answers what the step has come to, and leaves signals and marks to the caller.
CREATE FUNCTION pawl.perform_call(workflow_key bigint, epoch integer, cancelled text, step_name text, step_number integer, kind text, arguments jsonb,
    started_at timestamptz, max_steps integer, OUT refusal text, OUT status text, OUT output jsonb, OUT error jsonb, OUT due_at timestamptz,
    OUT targets bigint[], OUT signalled bigint, OUT owner uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    own_key ALIAS FOR $1;
    own_name ALIAS FOR $4;
    waits CONSTANT boolean := perform_call.kind IN ('sleep', 'receive', 'get_event', 'read_stream', 'await_child', 'await_children', 'race');
    step record;
    is_new boolean;
    problem text;
    wait record;
    is_over boolean;
    effect record;
BEGIN
    SELECT s.epoch, s.kind, s.status, s.output, s.error, s.arguments, s.due_at INTO step FROM pawl.workflow_step s
        WHERE s.workflow_key = own_key AND s.step_name = own_name;
    is_new := NOT FOUND;
    IF NOT is_new AND step.kind <> perform_call.kind THEN
        refusal := 'invalid';
        error := pawl.call_error('determinism', format('Step "%s" is recorded as %s, and the workflow now asks for %s.', own_name, step.kind,
            perform_call.kind), own_name, jsonb_build_object('recorded', step.kind, 'asked', perform_call.kind), NULL, 'Pawl.Determinism');
        RETURN;
    ELSIF NOT is_new AND step.status IN ('succeeded', 'failed') THEN
        status := step.status;
        output := step.output;
        error := step.error;
        RETURN;
    ELSIF cancelled IS NOT NULL THEN
        refusal := cancelled;
        RETURN;
    END IF;

    IF is_new THEN
        problem := CASE WHEN coalesce(own_name, '') = '' OR octet_length(own_name) > 512 THEN 'The name of a step has 1 to 512 bytes.'
            WHEN coalesce(step_number, 0) < 1 THEN 'The number of a step is at least 1.'
            ELSE pawl.call_problem(perform_call.kind, perform_call.arguments) END;
        IF problem IS NOT NULL THEN
            refusal := 'invalid';
            error := pawl.call_error('22023', problem, own_name, NULL, NULL, 'Pawl.SQL');
            RETURN;
        ELSIF step_number > max_steps THEN
            refusal := 'invalid';
            error := pawl.call_error('too_many_steps', 'The workflow has more steps than pawl.max_steps allows. Split the work over several workflows.',
                own_name);
            RETURN;
        END IF;
    END IF;

    IF NOT waits THEN
        SELECT e.* INTO effect FROM pawl.do_effect(perform_call.kind, perform_call.arguments, own_key, own_name) e;
        status := CASE WHEN effect.failure IS NULL THEN 'succeeded' ELSE 'failed' END;
        output := effect.output;
        error := effect.failure;
        signalled := effect.signalled;
        owner := effect.owner;
        INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, output, error, child_key, started_at, completed_at)
            VALUES (own_key, perform_call.epoch, own_name, perform_call.step_number, perform_call.kind, perform_call.status, perform_call.output,
                perform_call.error, effect.child_key, perform_call.started_at, clock_timestamp());
        RETURN;
    END IF;

    IF is_new THEN
        SELECT r.kept AS arguments, r.due_at, r.targets, r.failure INTO wait FROM pawl.resolve_wait(perform_call.kind, perform_call.arguments, own_name) r;
        error := wait.failure;
    ELSE
        SELECT step.arguments AS arguments, step.due_at AS due_at, CASE WHEN perform_call.kind IN ('sleep', 'receive') THEN '{}'
            ELSE ARRAY(SELECT w.target_key FROM pawl.waiter w WHERE w.workflow_key = own_key AND w.step_name = own_name) END AS targets INTO wait;
        problem := pawl.offer_problem(wait.arguments -> 'of', perform_call.arguments -> 'offer');
        IF problem IS NOT NULL THEN
            refusal := 'invalid';
            error := pawl.call_error('22023', problem, own_name, NULL, NULL, 'Pawl.SQL');
            RETURN;
        END IF;
    END IF;

    is_over := error IS NOT NULL OR coalesce(perform_call.arguments -> 'offer', 'null') <> 'null'
        OR pawl.is_over(perform_call.kind, wait.arguments, wait.due_at, own_key);
    -- Its children may be cancelled before it has heard of its own cancellation: then it waits for that.
    IF is_over AND perform_call.kind NOT IN ('sleep', 'receive') AND error IS NULL THEN
        PERFORM FROM pawl.cancel_request r WHERE r.workflow_key = own_key LIMIT 1;
        is_over := NOT FOUND;
    END IF;
    IF is_over AND error IS NULL THEN
        SELECT o.is_over, o.output, o.error INTO is_over, output, error FROM pawl.take_outcome(perform_call.kind, wait.arguments, wait.due_at, own_key,
            own_name, nullif(perform_call.arguments -> 'offer', 'null')) o;
    END IF;
    IF NOT is_over THEN
        status := 'waiting';
        due_at := wait.due_at;
        targets := wait.targets;
        IF is_new THEN
            INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, arguments, due_at, child_key, started_at)
                VALUES (own_key, perform_call.epoch, own_name, perform_call.step_number, perform_call.kind, 'waiting', wait.arguments, wait.due_at,
                    CASE perform_call.kind WHEN 'await_child' THEN wait.targets[1] END, perform_call.started_at);
            IF cardinality(wait.targets) = 1 THEN
                INSERT INTO pawl.waiter (target_key, workflow_key, step_name) VALUES (wait.targets[1], own_key, own_name);
            ELSIF wait.targets <> '{}' THEN
                INSERT INTO pawl.waiter (target_key, workflow_key, step_name) SELECT DISTINCT t, own_key, own_name FROM unnest(wait.targets) t;
            END IF;
        ELSIF step.epoch <> perform_call.epoch THEN
            -- A run that has come back to a wait has passed a checkpoint: a crash from here on is not held against it.
            UPDATE pawl.workflow_step s SET epoch = perform_call.epoch WHERE s.workflow_key = own_key AND s.step_name = own_name
                AND EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_key = own_key AND w.crashes > 0);
        END IF;
        RETURN;
    END IF;

    status := CASE WHEN error IS NULL THEN 'succeeded' ELSE 'failed' END;
    IF is_new THEN
        INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, output, error, child_key, started_at, completed_at)
            VALUES (own_key, perform_call.epoch, own_name, perform_call.step_number, perform_call.kind, perform_call.status, perform_call.output,
                perform_call.error, CASE perform_call.kind WHEN 'await_child' THEN wait.targets[1] END, perform_call.started_at, clock_timestamp());
    ELSE
        UPDATE pawl.workflow_step s SET epoch = perform_call.epoch, step_number = coalesce(perform_call.step_number, s.step_number),
            status = perform_call.status, output = perform_call.output, error = perform_call.error, arguments = NULL, due_at = NULL,
            completed_at = clock_timestamp()
            WHERE s.workflow_key = own_key AND s.step_name = own_name;
        IF wait.targets <> '{}' THEN
            DELETE FROM pawl.waiter w WHERE w.workflow_key = own_key AND w.step_name = own_name;
        END IF;
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.perform_call(bigint, integer, text, text, integer, text, jsonb, timestamptz, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.perform_call(bigint, integer, text, text, integer, text, jsonb, timestamptz, integer) IS
'Internal: performs one durable call and records it.';

-- All calls of one batch. careful: each in a subtransaction, so that what one of them cannot do becomes its recorded failure.
CREATE FUNCTION pawl.perform_each(workflow_keys bigint[], epochs integer[], cancelled text[], step_names text[], step_numbers integer[], kinds text[],
    arguments jsonb[], started_ats timestamptz[], careful boolean)
RETURNS TABLE (ordinal integer, refusal text, status text, output jsonb, error jsonb, due_in bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    max_steps CONSTANT integer := coalesce(nullif(current_setting('pawl.max_steps', true), '')::integer, 50000);
    call record;
    result record;
    signals bigint[] := '{}';
    owners uuid[] := '{}';
    again integer[] := '{}';        -- waits that are not over, for something of another workflow
    awaited bigint[] := '{}';       -- and those workflows
    dues timestamptz[] := '{}';
    marks integer;
    state text;
    message text;
    detail text;
    hint text;
BEGIN
    FOR call IN
        SELECT c.* FROM unnest(workflow_keys, epochs, cancelled, step_names, step_numbers, kinds, arguments, started_ats) WITH ORDINALITY
            c (workflow_key, epoch, cancelled, step_name, step_number, kind, arguments, started_at, ordinal)
    LOOP
        ordinal := call.ordinal;
        refusal := NULL;
        status := NULL;
        output := NULL;
        error := NULL;
        due_in := NULL;
        IF call.cancelled = 'fenced' THEN
            refusal := 'fenced';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF careful THEN
            BEGIN
                SELECT p.* INTO result FROM pawl.perform_call(call.workflow_key, call.epoch, call.cancelled, call.step_name, call.step_number,
                    call.kind, call.arguments, call.started_at, max_steps) p;
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
                -- What is no fault of the call goes to the worker.
                IF state !~ '^(0A|22|PW)' OR call.kind NOT IN ('send', 'set_event', 'write_stream', 'merge_attributes', 'start_child',
                    'cancel_workflow') THEN
                    RAISE;
                END IF;
                error := pawl.call_error(state, message, call.step_name, jsonb_strip_nulls(jsonb_build_object('detail', nullif(detail, ''),
                    'hint', nullif(hint, ''))), NULL, 'Pawl.SQL');
                INSERT INTO pawl.workflow_step (workflow_key, epoch, step_name, step_number, kind, status, error, started_at, completed_at)
                    VALUES (call.workflow_key, call.epoch, call.step_name, call.step_number, call.kind, 'failed', perform_each.error, call.started_at,
                        clock_timestamp());
                status := 'failed';
                RETURN NEXT;
                CONTINUE;
            END;
        ELSE
            SELECT p.* INTO result FROM pawl.perform_call(call.workflow_key, call.epoch, call.cancelled, call.step_name, call.step_number,
                call.kind, call.arguments, call.started_at, max_steps) p;
        END IF;
        IF result.signalled IS NOT NULL THEN
            signals := signals || result.signalled;
            IF cardinality(owners) < 32 THEN
                owners := owners || result.owner;
            END IF;
        END IF;
        IF result.targets <> '{}' THEN
            again := again || ordinal;
            dues := dues || result.due_at;
            awaited := awaited || result.targets;
            CONTINUE;
        END IF;
        refusal := result.refusal;
        status := result.status;
        output := result.output;
        error := result.error;
        due_in := CASE WHEN result.due_at < 'infinity' THEN (extract(epoch FROM result.due_at - clock_timestamp()) * 1000000)::bigint END;
        RETURN NEXT;
    END LOOP;

    IF signals <> '{}' THEN
        INSERT INTO pawl.signal (workflow_key) SELECT DISTINCT k FROM unnest(signals) k;
        PERFORM pawl.mark_signals(o) FROM (SELECT DISTINCT u FROM unnest(owners) u) s (o);
    END IF;
    IF again = '{}' THEN
        RETURN;
    END IF;

    -- A workflow that ends sees who waits for it, or is seen to have ended: for that its completion waits for this transaction, or this one for it.
    -- Children tell without being asked. Only what somebody runs is locked, all of it in key order, so that nobody's transaction is waited for but a
    -- worker's. If it is handed back meanwhile a claim passes it by: so it is marked.
    awaited := ARRAY(SELECT w.workflow_key FROM pawl.workflow w
        WHERE w.workflow_key = ANY (awaited) AND w.parent_key IS NULL AND w.claimed_by IS NOT NULL AND w.workflow_key <> ALL (workflow_keys));
    IF awaited <> '{}' THEN
        WITH running AS MATERIALIZED (
            SELECT w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key FROM pawl.workflow w
            WHERE w.workflow_key = ANY (awaited) ORDER BY w.workflow_key FOR KEY SHARE OF w),
        marked AS MATERIALIZED (
            -- In a limited queue it has no key; any fresh one is higher than this.
            SELECT pawl.mark_ready(r.queue_id, r.rank & ~1::bigint, coalesce(r.ready_key, 1), r.workflow_name, r.workflow_version,
                r.partition_key IS NOT NULL) FROM running r)
        SELECT count(*) INTO marks FROM marked;
    END IF;
    FOR i IN 1 .. cardinality(again) LOOP
        ordinal := again[i];
        refusal := NULL;
        status := 'waiting';
        output := NULL;
        error := NULL;
        IF awaited <> '{}' THEN
            SELECT p.refusal, p.status, p.output, p.error INTO refusal, status, output, error FROM pawl.perform_call(workflow_keys[ordinal],
                epochs[ordinal], cancelled[ordinal], step_names[ordinal], step_numbers[ordinal], kinds[ordinal], arguments[ordinal],
                started_ats[ordinal], max_steps) p;
        END IF;
        due_in := CASE WHEN status = 'waiting' AND dues[i] < 'infinity'
            THEN (extract(epoch FROM dues[i] - clock_timestamp()) * 1000000)::bigint END;
        RETURN NEXT;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION pawl.perform_each(bigint[], integer[], text[], text[], integer[], text[], jsonb[], timestamptz[], boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.perform_each(bigint[], integer[], text[], text[], integer[], text[], jsonb[], timestamptz[], boolean) IS
'Internal: performs the calls of a batch, one after another.';

CREATE FUNCTION pawl.perform_calls(worker_id uuid, workflow_keys bigint[], epochs integer[], step_names text[], step_numbers integer[], kinds text[],
    arguments jsonb[], started_ats timestamptz[])
RETURNS TABLE (ordinal integer, refusal text, status text, output jsonb, error jsonb, due_in bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    states text[];          -- of each call: fenced, cancelled_request, cancelled_parent, or NULL
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(step_names) AND rows = cardinality(step_numbers) AND rows = cardinality(kinds)
            AND rows = cardinality(arguments) AND rows = cardinality(started_ats)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(step_names), cardinality(step_numbers), cardinality(kinds),
            cardinality(arguments), cardinality(started_ats));
    END IF;
    PERFORM pawl.check_isolation('perform_calls');
    -- The fence. Not FOR SHARE: of two calls about one workflow the second sees what the first has done, and two sharers make a MultiXact.
    WITH owned AS MATERIALIZED (
        SELECT w.workflow_key, w.epoch, CASE WHEN w.cancel_requested_at IS NOT NULL THEN 'cancelled_' || coalesce(w.cancel_reason, 'request') END AS state
        FROM pawl.workflow w
        WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = perform_calls.worker_id
        ORDER BY w.workflow_key FOR NO KEY UPDATE OF w)
    SELECT array_agg(CASE WHEN o.workflow_key IS NULL THEN 'fenced' ELSE o.state END ORDER BY a.ordinal) INTO states
        FROM unnest(workflow_keys, epochs) WITH ORDINALITY a (workflow_key, epoch, ordinal)
            LEFT JOIN owned o ON o.workflow_key = a.workflow_key AND o.epoch = a.epoch;
    BEGIN
        RETURN QUERY SELECT p.* FROM pawl.perform_each(workflow_keys, epochs, states, step_names, step_numbers, kinds, arguments, started_ats, false) p
            ORDER BY p.ordinal;
    EXCEPTION WHEN OTHERS THEN
        IF SQLSTATE !~ '^(0A|22|PW)' THEN
            RAISE;
        END IF;
        RETURN QUERY SELECT p.* FROM pawl.perform_each(workflow_keys, epochs, states, step_names, step_numbers, kinds, arguments, started_ats, true) p
            ORDER BY p.ordinal;
    END;
END $$;
REVOKE ALL ON FUNCTION pawl.perform_calls(uuid, bigint[], integer[], text[], integer[], text[], jsonb[], timestamptz[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.perform_calls(uuid, bigint[], integer[], text[], integer[], text[], jsonb[], timestamptz[]) IS
'Performs durable calls of any number of claimed workflows, in the order given, and records them as steps: an effect is done, a wait is tried. Answers a row
for every call. Call it again for a wait that is not over: its arguments and its time are those of the first call.
worker_id, workflow_keys, epochs: as claimed.
step_names: 1 to 512 bytes. step_numbers: from 1, in the order of the run.
kinds: send, set_event, write_stream, close_stream, merge_attributes, start_child, cancel_workflow, sleep, receive, get_event, read_stream, await_child,
await_children, race. arguments: JSON objects, as docs/durable-calls.md has them; of a race also "offer": {"index": n, "output": ...} or {"index": n,
"error": {...}}, what an alternative of kind step has come to.
started_ats: by the worker''s clock, may be NULL.
Result: refusal (fenced; cancelled_request or cancelled_parent: its cancellation was asked for, and nothing was done; invalid: error says why the call
cannot be), or else status: succeeded (output; of a wait {"value": ...}, or null when its timeout passed), failed (error), or waiting (due_in:
microseconds until it is over by itself, NULL: never). What was recorded before is answered again.';

CREATE FUNCTION pawl.emit_values(worker_id uuid, workflow_keys bigint[], epochs integer[], kinds text[], arguments jsonb[])
RETURNS TABLE (ordinal integer, refusal text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    rows CONSTANT integer := cardinality(workflow_keys);
    states text[];
    written bigint[];
    emission record;
BEGIN
    IF (rows = cardinality(epochs) AND rows = cardinality(kinds) AND rows = cardinality(arguments)) IS NOT TRUE THEN
        PERFORM pawl.refuse_lengths(rows, cardinality(epochs), cardinality(kinds), cardinality(arguments));
    END IF;
    PERFORM pawl.check_isolation('emit_values');
    WITH owned AS MATERIALIZED (
        SELECT w.workflow_key, w.epoch, CASE WHEN w.cancel_requested_at IS NOT NULL THEN 'cancelled_' || coalesce(w.cancel_reason, 'request') END AS state
        FROM pawl.workflow w
        WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = emit_values.worker_id
        ORDER BY w.workflow_key FOR NO KEY UPDATE OF w)
    SELECT array_agg(CASE
            WHEN o.workflow_key IS NULL THEN 'fenced'
            WHEN o.state IS NOT NULL THEN o.state
            WHEN (jsonb_typeof(a.arguments) = 'object' AND CASE a.kind WHEN 'progress' THEN a.arguments - '{value}'::text[] = '{}'
                WHEN 'stream' THEN a.arguments - '{key,value,step,attempt}'::text[] = '{}' AND jsonb_typeof(a.arguments -> 'key') = 'string'
                    AND octet_length(a.arguments ->> 'key') BETWEEN 1 AND 128
                    AND jsonb_typeof(coalesce(a.arguments -> 'step', 'null')) IN ('string', 'null')
                    AND CASE jsonb_typeof(a.arguments -> 'attempt') WHEN 'number' THEN (a.arguments ->> 'attempt')::numeric BETWEEN 1 AND 2147483647
                        ELSE coalesce(a.arguments -> 'attempt', 'null') = 'null' END
                ELSE false END) IS NOT TRUE THEN 'invalid'
            WHEN a.kind = 'stream' AND EXISTS (SELECT FROM pawl.closed_stream c WHERE c.workflow_key = a.workflow_key AND c.key = a.arguments ->> 'key')
                THEN 'stream_closed'
            END ORDER BY a.ordinal) INTO states
        FROM unnest(workflow_keys, epochs, kinds, arguments) WITH ORDINALITY a (workflow_key, epoch, kind, arguments, ordinal)
            LEFT JOIN owned o ON o.workflow_key = a.workflow_key AND o.epoch = a.epoch;
    PERFORM pawl.check_payload('value', coalesce(a.arguments -> 'value', 'null'))
        FROM unnest(arguments, states) a (arguments, state) WHERE a.state IS NULL;
    -- The latest of each workflow.
    UPDATE pawl.workflow w SET progress = p.value
        FROM (SELECT DISTINCT ON (a.workflow_key) a.workflow_key, coalesce(a.arguments -> 'value', 'null') AS value
            FROM unnest(workflow_keys, kinds, arguments, states) WITH ORDINALITY a (workflow_key, kind, arguments, state, ordinal)
            WHERE a.kind = 'progress' AND a.state IS NULL ORDER BY a.workflow_key, a.ordinal DESC) p
        WHERE w.workflow_key = ANY (workflow_keys) AND w.workflow_key = p.workflow_key;
    WITH entries AS (
        SELECT a.workflow_key, a.arguments ->> 'key' AS key, coalesce(a.arguments ->> 'step', '') AS step_name,
            coalesce((a.arguments ->> 'attempt')::numeric::integer, 1) AS attempt, coalesce(a.arguments -> 'value', 'null') AS value,
            row_number() OVER (PARTITION BY a.workflow_key, a.arguments ->> 'key' ORDER BY a.ordinal) AS number
        FROM unnest(workflow_keys, kinds, arguments, states) WITH ORDINALITY a (workflow_key, kind, arguments, state, ordinal)
        WHERE a.kind = 'stream' AND a.state IS NULL),
    lasts AS MATERIALIZED (
        SELECT d.workflow_key, d.key, coalesce((SELECT e.position FROM pawl.stream_entry e WHERE e.workflow_key = d.workflow_key AND e.key = d.key
                ORDER BY e.position DESC LIMIT 1), 0) AS position
        FROM (SELECT DISTINCT n.workflow_key, n.key FROM entries n) d),
    appended AS (
        INSERT INTO pawl.stream_entry (workflow_key, key, position, step_name, attempt, value)
        SELECT n.workflow_key, n.key, l.position + n.number, n.step_name, n.attempt, n.value
        FROM entries n JOIN lasts l ON l.workflow_key = n.workflow_key AND l.key = n.key
        RETURNING workflow_key)
    SELECT array_agg(DISTINCT p.workflow_key) INTO written FROM appended p;
    IF written IS NOT NULL THEN
        INSERT INTO pawl.signal (workflow_key) SELECT k FROM unnest(written) k;
        PERFORM pawl.mark_signals(NULL);
    END IF;
    RETURN QUERY SELECT s.ordinal::integer, s.state FROM unnest(states) WITH ORDINALITY s (state, ordinal) WHERE s.state IS NOT NULL ORDER BY s.ordinal;
END $$;
REVOKE ALL ON FUNCTION pawl.emit_values(uuid, bigint[], integer[], text[], jsonb[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.emit_values(uuid, bigint[], integer[], text[], jsonb[]) IS
'Writes values of claimed workflows that are no steps: at least once, if they are sent again. Answers the refused rows only: fenced, cancelled_request,
cancelled_parent, stream_closed, invalid (a kind or arguments that cannot be).
worker_id, workflow_keys, epochs: as claimed.
kinds: progress, arguments {"value": ...}: the latest one counts; or stream, arguments {"key": text, "value": ..., "step": text, "attempt": n}: appended.
A value over pawl.max_payload refuses the whole call (22023).';
