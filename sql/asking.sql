-- explain_workflow: why a workflow is not running, in words. Each part answers a sentence, or NULL if it is not the reason. Nothing here locks or waits.

CREATE FUNCTION pawl.at_time(at timestamptz) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT isfinite(at) THEN at::text ELSE to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') || CASE
        WHEN at <= clock_timestamp() THEN ' (' || pawl.in_words(clock_timestamp() - at) || ' ago)'
        ELSE ' (in ' || pawl.in_words(at - clock_timestamp()) || ')' END END
$$;
REVOKE ALL ON FUNCTION pawl.at_time(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.at_time(timestamptz) IS 'Internal: a time for people, and how far it is from now.';

CREATE FUNCTION pawl.id_of(workflow_key bigint) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT w.workflow_id FROM pawl.workflow w WHERE w.workflow_key = id_of.workflow_key),
        (SELECT h.workflow_id FROM pawl.workflow_history h WHERE h.workflow_key = id_of.workflow_key LIMIT 1), '(deleted)')
$$;
REVOKE ALL ON FUNCTION pawl.id_of(bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.id_of(bigint) IS 'Internal: the id of a workflow, ended or not.';

-- The time-out of a wait comes after it; a race is as many waits.
CREATE FUNCTION pawl.explain_wait(workflow_id text, kind text, arguments jsonb, due_at timestamptz) RETURNS text LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target CONSTANT bigint := arguments ->> 'target';
    ids text;
    waited text;
BEGIN
    waited := CASE kind
        WHEN 'sleep' THEN format('sleeps until %s', pawl.at_time(due_at))
        WHEN 'receive' THEN format('waits for a message%s', coalesce(' of topic "' || nullif(arguments ->> 'topic', '') || '"', ''))
        WHEN 'get_event' THEN format('waits for event "%s" of workflow "%s"', arguments ->> 'key', pawl.id_of(target))
        WHEN 'read_stream' THEN format('waits for the next entry of stream "%s" of workflow "%s"', arguments ->> 'key', pawl.id_of(target))
        WHEN 'await_child' THEN format('waits for the end of workflow "%s"', pawl.id_of(target))
        ELSE 'waits' END;
    IF kind = 'await_children' THEN
        SELECT string_agg('"' || pawl.id_of(t.k) || '"', ', ') || CASE WHEN jsonb_array_length(arguments -> 'targets') > 5 THEN ', …' ELSE '' END
            INTO ids FROM (SELECT k::bigint FROM jsonb_array_elements_text(arguments -> 'targets') WITH ORDINALITY e (k, n)
                WHERE EXISTS (SELECT FROM pawl.workflow w WHERE w.workflow_key = k::bigint) ORDER BY n LIMIT 5) t (k);
        waited := format('waits for the end of %s workflows: %s', CASE arguments ->> 'mode' WHEN 'all' THEN 'all of these' ELSE 'one of these' END, ids);
    ELSIF kind = 'race' THEN
        SELECT string_agg(pawl.explain_wait(explain_wait.workflow_id, a ->> 'kind', a, (a ->> 'due_at')::timestamptz), ', or ')
            INTO waited FROM jsonb_array_elements(arguments -> 'of') a WHERE NOT a ? 'error';
        RETURN waited;
    END IF;
    RETURN waited || CASE WHEN kind <> 'sleep' AND isfinite(due_at) THEN ', at most until ' || pawl.at_time(due_at) ELSE '' END
        || CASE kind WHEN 'receive' THEN format(' (SELECT pawl.send_message(%L, …%s);)', workflow_id,
            coalesce(', topic => ' || quote_literal(nullif(arguments ->> 'topic', '')), ''))
        WHEN 'await_child' THEN format(' (SELECT pawl.explain_workflow(%L);)', pawl.id_of(target)) ELSE '' END;
END $$;
REVOKE ALL ON FUNCTION pawl.explain_wait(text, text, jsonb, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_wait(text, text, jsonb, timestamptz) IS 'Internal: what a wait is for, as the end of a sentence about its workflow.';

CREATE FUNCTION pawl.explain_waits(it pawl.workflow) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(CASE s.status
            WHEN 'retrying' THEN format('tries step "%s" again at %s, after %s failed', s.step_name, pawl.at_time(s.due_at),
                pawl.count_of(s.attempts, 'attempt'))
                || CASE WHEN pawl.may_inspect() THEN coalesce(': ' || nullif(s.error ->> 'message', ''), '') ELSE '' END
            ELSE pawl.explain_wait(it.workflow_id, s.kind, s.arguments, s.due_at) END, '; it ' ORDER BY s.step_number, s.step_name)
    FROM (SELECT * FROM pawl.workflow_step s WHERE s.workflow_key = it.workflow_key AND s.status IN ('waiting', 'retrying') LIMIT 5) s
$$;
REVOKE ALL ON FUNCTION pawl.explain_waits(pawl.workflow) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_waits(pawl.workflow) IS 'Internal: what a workflow waits for, as the end of a sentence; NULL: nothing.';

CREATE FUNCTION pawl.explain_end(it pawl.workflow_history) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    why text := CASE it.status_reason
        WHEN 'timeout' THEN 'it was not over at its deadline, ' || pawl.at_time(it.deadline_at)
        WHEN 'crashes' THEN format('its worker died too often while it ran, %s in all', pawl.count_of(it.recoveries, 'time'))
        WHEN 'determinism' THEN 'its handler does not fit what it recorded before'
        WHEN 'bad_input' THEN 'its handler cannot read its input'
        ELSE 'its handler failed' END || coalesce(' in step "' || nullif(it.error ->> 'step', '') || '"', '')
        || CASE WHEN pawl.may_inspect() THEN coalesce(': ' || nullif(it.error ->> 'message', ''), '') ELSE '' END;
BEGIN
    RETURN CASE it.status
        WHEN 'succeeded' THEN format('It succeeded at %s.', pawl.at_time(it.completed_at))
        WHEN 'failed' THEN format('It failed at %s: %s. SELECT pawl.resume_workflow(%L); goes on from its checkpoints once that is mended.',
            pawl.at_time(it.completed_at), rtrim(why, '.'), it.workflow_id)
        ELSE format('It was cancelled at %s%s%s. SELECT pawl.resume_workflow(%L); goes on from its checkpoints, unless its compensations have begun.',
            pawl.at_time(it.completed_at), CASE it.status_reason WHEN 'parent' THEN ' with its parent' ELSE '' END
                || coalesce(' by ' || it.cancelled_by, ''), coalesce(': ' || it.cancel_note, ''), it.workflow_id) END;
END $$;
REVOKE ALL ON FUNCTION pawl.explain_end(pawl.workflow_history) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_end(pawl.workflow_history) IS 'Internal: how a workflow ended.';

CREATE FUNCTION pawl.explain_cancel(it pawl.workflow) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('Its cancellation was asked for by %s at %s%s: ', c.cancelled_by, pawl.at_time(c.requested_at),
        coalesce(' (' || c.cancel_note || ')', ''))
    FROM (SELECT it.cancelled_by, it.cancel_requested_at, it.cancel_note, 0::bigint WHERE it.cancel_requested_at IS NOT NULL
        UNION ALL SELECT r.cancelled_by, r.requested_at, r.cancel_note, r.request_key FROM pawl.cancel_request r WHERE r.workflow_key = it.workflow_key
        ORDER BY 4 LIMIT 1) c (cancelled_by, requested_at, cancel_note)
$$;
REVOKE ALL ON FUNCTION pawl.explain_cancel(pawl.workflow) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_cancel(pawl.workflow) IS 'Internal: who asked for the cancellation of a workflow, as the beginning of a sentence; NULL: nobody.';

CREATE FUNCTION pawl.explain_run(it pawl.workflow) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT EXISTS (SELECT FROM pawl.live_workers() l WHERE l.worker_id = it.claimed_by)
        THEN format('worker "%s", which has run it since %s, was last heard of %s: the next live worker takes it over%s.',
            coalesce(w.worker_name, it.claimed_by::text), pawl.at_time(it.claimed_at), coalesce(pawl.at_time(w.heartbeat_at), 'over a day ago'),
            CASE WHEN EXISTS (SELECT FROM pawl.live_workers()) THEN '' ELSE ', and none is running: systemctl start pawld@NAME' END)
        ELSE format('it is running on worker "%s" (process %s on %s) since %s%s.', w.worker_name, w.pid, w.hostname, pawl.at_time(it.claimed_at),
            coalesce('; it ' || pawl.explain_waits(it), '')) END
    FROM (SELECT) one LEFT JOIN pawl.worker w ON w.worker_id = it.claimed_by
$$;
REVOKE ALL ON FUNCTION pawl.explain_run(pawl.workflow) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_run(pawl.workflow) IS 'Internal: who runs a workflow, and what it waits for in the meantime.';

-- Who may run it, as far as names, versions and queues go.
CREATE FUNCTION pawl.explain_handlers(it pawl.workflow, queue text) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    versions integer[];     -- that are offered
    fits boolean;
    served text;            -- by those who offer it
    near text;
BEGIN
    IF NOT EXISTS (SELECT FROM pawl.live_workers()) THEN
        RETURN 'no worker is running: systemctl start pawld@NAME.';
    END IF;
    WITH offered AS (
        SELECT h.workflow_version, w.queues FROM pawl.live_workers() w JOIN pawl.worker_handler h ON h.worker_id = w.worker_id
        WHERE h.workflow_name = it.workflow_name
        UNION ALL
        SELECT s.workflow_version, w.queues FROM pawl.live_workers() w CROSS JOIN pawl.sql_handler s WHERE s.workflow_name = it.workflow_name),
    judged AS (
        SELECT o.*, it.workflow_version IS NULL OR o.workflow_version = it.workflow_version
            OR (NOT it.pinned AND o.workflow_version > it.workflow_version) AS fitting FROM offered o)
    SELECT array_agg(DISTINCT j.workflow_version ORDER BY j.workflow_version), bool_or(j.fitting),
            CASE WHEN bool_or(j.fitting AND (j.queues IS NULL OR queue = ANY (j.queues))) IS NOT TRUE
                THEN (SELECT string_agg(DISTINCT '"' || q || '"', ', ') FROM judged k, unnest(k.queues) q WHERE k.fitting) END
        INTO versions, fits, served FROM judged j;
    IF versions IS NULL THEN
        SELECT n.name INTO near FROM (SELECT pawl.nearest(it.workflow_name, ARRAY(SELECT h.workflow_name FROM pawl.worker_handler h
                JOIN pawl.live_workers() w ON w.worker_id = h.worker_id
                UNION SELECT s.workflow_name FROM pawl.sql_handler s ORDER BY 1 LIMIT 100)) AS name) n;
        RETURN format('no live worker offers a handler of "%s"%s%s: put the plugin that has it into the plugin directory of a worker, '
            'and systemctl reload pawld@NAME.',
            it.workflow_name, CASE WHEN EXISTS (SELECT FROM pawl.known_handler k WHERE k.workflow_name = it.workflow_name) THEN ', as one did before'
                ELSE ', and none ever did' END, coalesce(' (the nearest name is "' || near || '")', ''));
    ELSIF NOT fits THEN
        RETURN format('it %s version %s of "%s", and live workers offer version %s: load the plugin that has it, or '
            'SELECT pawl.move_workflows(%L, %s, %s);',
            CASE WHEN it.pinned THEN 'is pinned to' ELSE 'began with' END, it.workflow_version, it.workflow_name, array_to_string(versions, ', '),
            it.workflow_name, it.workflow_version, versions[array_upper(versions, 1)]);
    ELSIF served IS NOT NULL THEN
        RETURN format('no worker that has its handler serves queue "%s", only %s: add it to PAWL_QUEUE in /etc/pawl/NAME.env, '
            'and systemctl restart pawld@NAME.',
            queue, served);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.explain_handlers(pawl.workflow, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_handlers(pawl.workflow, text) IS 'Internal: why no worker can run a workflow; NULL: one can.';

CREATE FUNCTION pawl.explain_queue(it pawl.workflow, q pawl.queue) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    running bigint;
    free_at timestamptz;
BEGIN
    IF q.paused_at IS NOT NULL THEN
        RETURN format('queue "%s" was paused by %s at %s%s: SELECT pawl.resume_queue(%L);', q.queue_name, q.paused_by, pawl.at_time(q.paused_at),
            coalesce(' (' || q.paused_reason || ')', ''), q.queue_name);
    ELSIF it.running_in IS NOT NULL AND q.hold_while_waiting THEN
        RETURN NULL;        -- it has its permit still
    END IF;
    SELECT count(*) INTO running FROM pawl.workflow w WHERE w.running_in = q.queue_id AND (w.claimed_by IS NOT NULL OR q.hold_while_waiting);
    IF running >= q.concurrency THEN
        RETURN format('queue "%s" is full, %s of %s run: it starts when one of them ends, or SELECT pawl.alter_queue(%L, concurrency => …);',
            q.queue_name, running, q.concurrency, q.queue_name);
    END IF;
    IF it.partition_key IS NOT NULL THEN
        SELECT count(*) INTO running FROM pawl.workflow w WHERE w.running_in = q.queue_id AND w.partition_key = it.partition_key
            AND (w.claimed_by IS NOT NULL OR q.hold_while_waiting);
        IF running >= q.partition_concurrency THEN
            RETURN format('partition "%s" of queue "%s" is full, %s of %s run: it starts when one of them ends, or '
                'SELECT pawl.alter_queue(%L, partition_concurrency => …);', it.partition_key, q.queue_name, running, q.partition_concurrency, q.queue_name);
        END IF;
    END IF;
    IF it.rank & 1 = 1 AND q.rate_limit IS NOT NULL THEN
        SELECT min(s.used_at) + q.rate_period INTO free_at FROM pawl.queue_rate_slot s WHERE s.queue_id = q.queue_id;
        IF free_at > clock_timestamp() THEN
            RETURN format('queue "%s" has had its %s in %s: the next may start at %s, or SELECT pawl.alter_queue(%L, rate_limit => …);',
                q.queue_name, pawl.count_of(q.rate_limit, 'start'), q.rate_period, pawl.at_time(free_at), q.queue_name);
        END IF;
    END IF;
    IF q.worker_concurrency IS NOT NULL AND NOT EXISTS (SELECT FROM pawl.live_workers() l WHERE (
            SELECT count(*) FROM pawl.workflow w WHERE w.running_in = q.queue_id AND w.claimed_by = l.worker_id) < q.worker_concurrency) THEN
        RETURN format('every worker runs the %s of queue "%s" that it may: start more workers, or SELECT pawl.alter_queue(%L, worker_concurrency => …);',
            q.worker_concurrency, q.queue_name, q.queue_name);
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.explain_queue(pawl.workflow, pawl.queue) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_queue(pawl.workflow, pawl.queue) IS 'Internal: which limit of its queue keeps a workflow from running; NULL: none.';

-- It could be claimed, as far as it and its queue go.
CREATE FUNCTION pawl.explain_workers(it pawl.workflow, queue text) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    workers bigint;
    room bigint;
    ahead bigint;
    locker integer;
BEGIN
    IF it.crashes >= 2 THEN
        RETURN format('its worker died %s in a row while it ran, so it is run alone: a worker takes it when it has ended what it runs now.',
            pawl.count_of(it.crashes, 'time'));
    END IF;
    SELECT count(*), sum(greatest(w.concurrency - w.running, 0)) INTO workers, room FROM pawl.live_workers() w
        WHERE (w.queues IS NULL OR queue = ANY (w.queues)) AND w.status = 'running' AND EXISTS (
            SELECT FROM (SELECT h.workflow_version FROM pawl.worker_handler h WHERE h.worker_id = w.worker_id AND h.workflow_name = it.workflow_name
                UNION ALL SELECT s.workflow_version FROM pawl.sql_handler s WHERE s.workflow_name = it.workflow_name) o
            WHERE it.workflow_version IS NULL OR o.workflow_version = it.workflow_version OR (NOT it.pinned AND o.workflow_version > it.workflow_version));
    IF workers = 0 THEN
        RETURN 'the workers that could run it are shutting down, and take nothing new: systemctl start pawld@NAME.';
    END IF;
    SELECT l.pid INTO locker FROM pawl.workflow w JOIN pg_locks l ON l.locktype = 'transactionid' AND l.transactionid = w.xmax AND l.granted
        WHERE w.workflow_key = it.workflow_key;
    IF FOUND THEN
        RETURN format('an open transaction has it locked, that of process %s: it is claimed once that ends (SELECT * FROM pg_stat_activity WHERE pid = %1$s;).',
            locker);
    ELSIF room > 0 THEN
        RETURN 'nothing keeps it from running: a worker has room for it, and takes it within a second.';
    END IF;
    SELECT count(*) INTO ahead FROM (
        SELECT FROM pawl.workflow w WHERE w.queue_id = it.queue_id AND w.partition_key IS NOT DISTINCT FROM it.partition_key AND w.ready_key IS NOT NULL
            AND w.claimed_by IS NULL AND (w.rank < it.rank OR (w.rank = it.rank AND w.ready_key < it.ready_key)) LIMIT 10000) a;
    RETURN format('%s, and %s%s of queue "%s" %s before it: start more workers, or raise PAWL_CONCURRENCY.',
        CASE workers WHEN 1 THEN 'the worker that could run it runs as many workflows as it may'
            ELSE 'all ' || workers || ' workers that could run it run as many workflows as they may' END,
        CASE ahead WHEN 10000 THEN 'at least ' ELSE '' END, ahead, queue, CASE ahead WHEN 1 THEN 'comes' ELSE 'come' END);
END $$;
REVOKE ALL ON FUNCTION pawl.explain_workers(pawl.workflow, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_workers(pawl.workflow, text) IS 'Internal: what a workflow that could be claimed waits for.';

CREATE FUNCTION pawl.explain_workflow(workflow_id text) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    it pawl.workflow;
    ended pawl.workflow_history;
    its_queue pawl.queue;
    sentence text;
BEGIN
    PERFORM pawl.check_name('workflow_id', explain_workflow.workflow_id, 512);
    SELECT w.* INTO it FROM pawl.workflow w WHERE w.workflow_id = explain_workflow.workflow_id;
    IF NOT FOUND THEN
        SELECT h.* INTO ended FROM pawl.workflow_history h WHERE h.workflow_id = explain_workflow.workflow_id;
        IF NOT FOUND THEN
            PERFORM pawl.refuse_unknown(ARRAY[explain_workflow.workflow_id], NULL);
        END IF;
        RETURN pawl.explain_end(ended);
    END IF;
    SELECT q.* INTO its_queue FROM pawl.queue q WHERE q.queue_id = it.queue_id;
    its_queue.queue_name := coalesce(its_queue.queue_name, 'default');
    IF it.claimed_by IS NOT NULL THEN
        sentence := pawl.explain_run(it);
    ELSIF it.status = 'waiting' THEN
        sentence := format('it is parked; it %s.', coalesce(pawl.explain_waits(it), 'waits for ' || coalesce(it.waiting_for, 'nothing any more')));
    ELSIF it.due_at > clock_timestamp() THEN
        sentence := format('it is delayed until %s.', pawl.at_time(it.due_at));
    ELSE
        sentence := coalesce(
            (SELECT format('the database is a restored copy, held since %s, and nothing runs (%s): SELECT pawl.release_hold(''why''); once the '
                'original is out of the way.', pawl.at_time(i.held_at), i.held_reason) FROM pawl.installation i WHERE i.held_at IS NOT NULL),
            pawl.explain_handlers(it, its_queue.queue_name),
            pawl.explain_queue(it, its_queue),
            pawl.explain_workers(it, its_queue.queue_name));
    END IF;
    sentence := coalesce(pawl.explain_cancel(it), '') || sentence;
    RETURN upper(left(sentence, 1)) || substr(sentence, 2);
END $$;
REVOKE ALL ON FUNCTION pawl.explain_workflow(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.explain_workflow(text) IS
'Why a workflow is not running, in a sentence, with what can be done about it: whether it ended and how, who runs it, what it waits for, which step is tried
again and when, which limit of its queue is reached, which handler is missing. What an error says is left out for whoever may not inspect.
workflow_id: PW010 if there is none.';
