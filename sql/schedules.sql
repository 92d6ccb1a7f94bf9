-- Schedules. Every worker fires what is due, with the schedule's row locked, and the instant is the id of the workflow: so each is enqueued once.

-- The row, locked, for somebody who may operate on what it enqueues.
CREATE FUNCTION pawl.lock_schedule(name text, missing_ok boolean DEFAULT false) RETURNS pawl.schedule LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    schedule pawl.schedule;
    near text;
BEGIN
    PERFORM pawl.check_name('name', lock_schedule.name, 128);
    SELECT s.* INTO schedule FROM pawl.schedule s WHERE s.schedule_name = lock_schedule.name FOR UPDATE;
    IF NOT FOUND AND lock_schedule.missing_ok THEN
        RETURN NULL;
    ELSIF NOT FOUND THEN
        near := pawl.nearest(lock_schedule.name, ARRAY(SELECT s.schedule_name FROM pawl.schedule s ORDER BY s.schedule_name LIMIT 100));
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('schedule "%s" does not exist', lock_schedule.name),
            HINT = coalesce(format('Perhaps you meant "%s"; ', near), '') || 'SELECT schedule FROM pawl.schedules lists them.';
    END IF;
    PERFORM pawl.check_schedule_access('operate', schedule);
    RETURN schedule;
END $$;
REVOKE ALL ON FUNCTION pawl.lock_schedule(text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.lock_schedule(text, boolean) IS
'Internal: a schedule, locked for the outer user to change it. If there is none: 42704, or NULL with missing_ok.';

CREATE FUNCTION pawl.check_schedule_access(access text, schedule pawl.schedule) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.check_narrowing(access, ARRAY[schedule.workflow_name],
        ARRAY[(SELECT q.queue_id FROM pawl.queue q WHERE q.queue_name = schedule.queue_name)])
$$;
REVOKE ALL ON FUNCTION pawl.check_schedule_access(text, pawl.schedule) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_schedule_access(text, pawl.schedule) IS 'Internal: refuses an outer user whose access is narrowed to something else.';

-- Refuses what cannot be, and sets the columns that come from the options; those that are not given stay, those that are null go back to the default.
CREATE FUNCTION pawl.check_schedule(schedule pawl.schedule, options jsonb) RETURNS pawl.schedule LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT interval := '1000 years';         -- they are added to times
    given CONSTANT jsonb := coalesce(check_schedule.options, '{}');
    wrong text;
BEGIN
    PERFORM pawl.check_name('name', schedule.schedule_name, 128);
    PERFORM pawl.check_name('cron', schedule.cron, 256), pawl.check_name('timezone', schedule.timezone, 256);
    PERFORM pawl.next_instant(schedule.cron, schedule.timezone, clock_timestamp());
    IF schedule.overlap IS NULL OR schedule.overlap NOT IN ('skip', 'allow', 'cancel') THEN
        PERFORM pawl.refuse_argument('overlap is not one of skip, allow, cancel', format('It is %s.', coalesce(quote_literal(left(schedule.overlap, 64)), 'null')),
            'If a run of the schedule has not ended when the next is due: skip leaves that out, allow starts it too, cancel cancels the first.');
    END IF;
    IF schedule.catch_up BETWEEN interval '0' AND most IS NOT TRUE OR schedule.jitter BETWEEN interval '0' AND most IS NOT TRUE THEN
        PERFORM pawl.refuse_argument('catch_up and jitter must be from 0 to 1000 years',
            format('catch_up is %s, jitter is %s.', coalesce(schedule.catch_up::text, 'null'), coalesce(schedule.jitter::text, 'null')),
            'catch_up: how late an instant may still be run; jitter: within what time after its instant a run starts.');
    END IF;
    PERFORM pawl.check_options(given, ARRAY['priority', 'partition_key', 'timeout', 'workflow_version', 'headers', 'attributes'],
        ARRAY['cron', 'workflow_name', 'input', 'queue', 'timezone', 'catch_up', 'overlap', 'jitter', 'on_existing']);
    SELECT o.key INTO wrong FROM jsonb_each(given) o
        WHERE o.value <> 'null' AND (jsonb_typeof(o.value) <> CASE WHEN o.key IN ('priority', 'workflow_version') THEN 'number'
                WHEN o.key IN ('partition_key', 'timeout') THEN 'string' ELSE 'object' END
            OR CASE WHEN jsonb_typeof(o.value) = 'number' THEN o.value::numeric <> trunc(o.value::numeric) OR abs(o.value::numeric) > 2147483647 END)
        ORDER BY o.key LIMIT 1;
    IF FOUND THEN
        PERFORM pawl.refuse_argument(format('option "%s" has a wrong type', wrong), format('It is %s.', left((given -> wrong)::text, 64)),
            'priority and workflow_version are integers, partition_key and timeout ("1 hour") texts, headers and attributes objects.');
    END IF;
    IF given ? 'priority' THEN
        schedule.priority := coalesce((given ->> 'priority')::integer, 0);
    END IF;
    IF given ? 'partition_key' THEN
        schedule.partition_key := given ->> 'partition_key';
    END IF;
    IF given ? 'timeout' THEN
        BEGIN
            schedule.timeout := (given ->> 'timeout')::interval;
        EXCEPTION WHEN data_exception THEN
            PERFORM pawl.refuse_argument('option "timeout" is no interval', format('It is %s.', left((given -> 'timeout')::text, 64)), 'Give a text like "1 hour".');
        END;
    END IF;
    IF given ? 'workflow_version' THEN
        schedule.workflow_version := (given ->> 'workflow_version')::integer;
    END IF;
    IF given ? 'headers' THEN
        schedule.headers := nullif(given -> 'headers', 'null');
    END IF;
    IF given ? 'attributes' THEN
        schedule.attributes := nullif(given -> 'attributes', 'null');
    END IF;
    -- What it will enqueue for as long as it is there, its maker must be able to enqueue now.
    IF NOT has_function_privilege(pawl.outer_user(), (SELECT p.oid FROM pg_proc p
            WHERE p.proname = 'enqueue_workflow' AND p.pronamespace = 'pawl'::regnamespace), 'EXECUTE') THEN
        RAISE EXCEPTION USING ERRCODE = 'PW006', MESSAGE = format('role %s may not enqueue', pawl.outer_user()),
            DETAIL = 'A schedule enqueues in the name of who made it.', HINT = format('Grant it with: SELECT pawl.grant_access(%L, ''enqueue'');', pawl.outer_user());
    END IF;
    PERFORM pawl.check_scheduled(schedule);
    PERFORM pawl.check_schedule_access('operate', schedule);
    RETURN schedule;
END $$;
REVOKE ALL ON FUNCTION pawl.check_schedule(pawl.schedule, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_schedule(pawl.schedule, jsonb) IS 'Internal: refuses a schedule that cannot be; answers it with its options set.';

CREATE FUNCTION pawl.create_schedule(name text, cron text, workflow_name text, input jsonb DEFAULT '{}', queue text DEFAULT 'default',
    timezone text DEFAULT 'UTC', catch_up interval DEFAULT '1 hour', overlap text DEFAULT 'skip', jitter interval DEFAULT '0',
    on_existing text DEFAULT 'raise', options jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    made pawl.schedule;
    detail jsonb;
BEGIN
    IF create_schedule.on_existing IS NULL OR create_schedule.on_existing NOT IN ('raise', 'keep', 'replace') THEN
        PERFORM pawl.refuse_argument('on_existing is not one of raise, keep, replace',
            format('It is %s.', coalesce(quote_literal(left(create_schedule.on_existing, 64)), 'null')),
            'raise: an error if the schedule exists; keep: leave it as it is; replace: make it this one.');
    END IF;
    made.schedule_name := create_schedule.name;
    made.cron := create_schedule.cron;
    made.timezone := create_schedule.timezone;
    made.workflow_name := create_schedule.workflow_name;
    made.queue_name := create_schedule.queue;
    made.input := create_schedule.input;
    made.catch_up := create_schedule.catch_up;
    made.overlap := create_schedule.overlap;
    made.jitter := create_schedule.jitter;
    made.priority := 0;
    made := pawl.check_schedule(made, create_schedule.options);
    detail := jsonb_build_object('cron', made.cron, 'timezone', made.timezone, 'workflow_name', made.workflow_name, 'queue', made.queue_name);

    LOOP
        INSERT INTO pawl.schedule (schedule_name, next_at, cron, timezone, workflow_name, queue_name, input, catch_up, overlap, jitter, priority,
                partition_key, timeout, workflow_version, headers, attributes, created_by)
            VALUES (made.schedule_name, pawl.next_instant(made.cron, made.timezone, clock_timestamp()), made.cron, made.timezone, made.workflow_name,
                made.queue_name, made.input, made.catch_up, made.overlap, made.jitter, made.priority, made.partition_key, made.timeout,
                made.workflow_version, made.headers, made.attributes, pawl.outer_user())
            ON CONFLICT DO NOTHING;
        IF FOUND THEN
            EXIT;
        ELSIF create_schedule.on_existing = 'raise' THEN
            RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('schedule "%s" exists', made.schedule_name),
                DETAIL = 'Nothing was changed.', HINT = 'Give on_existing => ''keep'' to leave it as it is, or ''replace'' to make it this one.';
        ELSIF create_schedule.on_existing = 'keep' THEN
            RETURN;
        -- One that is dropped meanwhile is made.
        ELSIF (pawl.lock_schedule(made.schedule_name, missing_ok => true)).schedule_name IS NOT NULL THEN
            PERFORM pawl.change_schedule(made, pawl.outer_user());
            detail := detail || '{"replaced": true}';
            EXIT;
        END IF;
    END LOOP;
    PERFORM pawl.record_action('create_schedule', 'schedule', ARRAY[made.schedule_name], NULL, detail);
END $$;
REVOKE ALL ON FUNCTION pawl.create_schedule(text, text, text, jsonb, text, text, interval, text, interval, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.create_schedule(text, text, text, jsonb, text, text, interval, text, interval, text, jsonb) IS
'Makes a schedule: at each instant that its cron text means, a worker enqueues a workflow, whose id is name@2026-11-21T02:00:00Z, the instant in UTC. So each
instant is enqueued once, with any number of workers, as long as its workflow is kept.
name: 1 to 128 bytes.
cron: as in pawl.next_instant; wrong text is an error (22023) that names the field.
workflow_name, input, queue: what is enqueued, as in pawl.enqueue_workflow. Whoever makes the schedule must be able to enqueue it, now; enqueued_by is
their name.
timezone: a full name like Europe/Berlin; pawl.next_instant says what happens where its clocks change.
catch_up: instants that passed while no worker ran, or while the database was held, are enqueued late if they are younger than this, at least 10 seconds;
the others are counted as missed. At most 1000 years.
overlap: when a run of this schedule, whoever started it, has not ended: skip (the instant is counted as skipped) | allow (both run) | cancel (the
unfinished ones are cancelled, and the next is enqueued at once).
jitter: each run starts within this time after its instant; how much later is always the same for one instant. At most 1000 years.
on_existing: raise (42710), keep (leave it as it is) or replace (make it this one; its counts and its pause stay).
options: priority, partition_key, timeout, workflow_version, headers, attributes, as in pawl.enqueue_workflow.
What cannot be enqueued when its instant comes (its queue was dropped) is counted as missed; last_error says why, and the next instant is tried.';

-- next_at stays where nothing changed about time: what is due just now is not lost.
CREATE FUNCTION pawl.change_schedule(changed pawl.schedule, created_by text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    UPDATE pawl.schedule s SET cron = changed.cron, timezone = changed.timezone, workflow_name = changed.workflow_name, queue_name = changed.queue_name,
        input = changed.input, catch_up = changed.catch_up, overlap = changed.overlap, jitter = changed.jitter, priority = changed.priority,
        partition_key = changed.partition_key, timeout = changed.timeout, workflow_version = changed.workflow_version, headers = changed.headers,
        attributes = changed.attributes, created_by = change_schedule.created_by,
        next_at = CASE WHEN s.paused_at IS NOT NULL THEN NULL WHEN (s.cron, s.timezone) = (changed.cron, changed.timezone) THEN s.next_at
            ELSE pawl.next_instant(changed.cron, changed.timezone, clock_timestamp()) END
    WHERE s.schedule_name = changed.schedule_name
$$;
REVOKE ALL ON FUNCTION pawl.change_schedule(pawl.schedule, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.change_schedule(pawl.schedule, text) IS 'Internal: gives a locked schedule another definition.';

CREATE FUNCTION pawl.alter_schedule(name text, cron text DEFAULT NULL, workflow_name text DEFAULT NULL, input jsonb DEFAULT NULL, queue text DEFAULT NULL,
    timezone text DEFAULT NULL, catch_up interval DEFAULT NULL, overlap text DEFAULT NULL, jitter interval DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    changed pawl.schedule := pawl.lock_schedule(alter_schedule.name);
BEGIN
    changed.cron := coalesce(alter_schedule.cron, changed.cron);
    changed.timezone := coalesce(alter_schedule.timezone, changed.timezone);
    changed.workflow_name := coalesce(alter_schedule.workflow_name, changed.workflow_name);
    changed.queue_name := coalesce(alter_schedule.queue, changed.queue_name);
    changed.input := coalesce(alter_schedule.input, changed.input);
    changed.catch_up := coalesce(alter_schedule.catch_up, changed.catch_up);
    changed.overlap := coalesce(alter_schedule.overlap, changed.overlap);
    changed.jitter := coalesce(alter_schedule.jitter, changed.jitter);
    changed := pawl.check_schedule(changed, alter_schedule.options);
    PERFORM pawl.change_schedule(changed, changed.created_by);
    PERFORM pawl.record_action('alter_schedule', 'schedule', ARRAY[changed.schedule_name], NULL, jsonb_strip_nulls(jsonb_build_object(
        'cron', alter_schedule.cron, 'timezone', alter_schedule.timezone, 'workflow_name', alter_schedule.workflow_name, 'queue', alter_schedule.queue,
        'catch_up', alter_schedule.catch_up, 'overlap', alter_schedule.overlap, 'jitter', alter_schedule.jitter)));
END $$;
REVOKE ALL ON FUNCTION pawl.alter_schedule(text, text, text, jsonb, text, text, interval, text, interval, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.alter_schedule(text, text, text, jsonb, text, text, interval, text, interval, jsonb) IS
'Changes a schedule, from its next instant on; what it enqueued stays as it is. NULL leaves as it is.
name: of the schedule (42704 if there is none).
cron, workflow_name, input, queue, timezone, catch_up, overlap, jitter: as in pawl.create_schedule. Whoever alters it must be able to enqueue what it
enqueues; enqueued_by stays the name of who made it.
options: those given are changed, one that is null goes back to its default, the others stay.';

CREATE FUNCTION pawl.pause_schedule(name text, reason text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    schedule pawl.schedule := pawl.lock_schedule(pause_schedule.name);
BEGIN
    IF pause_schedule.reason IS NOT NULL THEN
        PERFORM pawl.check_name('reason', pause_schedule.reason, 1024);
    END IF;
    IF schedule.paused_at IS NOT NULL THEN
        RETURN false;
    END IF;
    UPDATE pawl.schedule s SET next_at = NULL, paused_at = clock_timestamp(), paused_by = pawl.outer_user(), paused_reason = pause_schedule.reason
        WHERE s.schedule_name = schedule.schedule_name;
    PERFORM pawl.record_action('pause_schedule', 'schedule', ARRAY[schedule.schedule_name], pause_schedule.reason);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.pause_schedule(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.pause_schedule(text, text) IS
'Pauses a schedule: nothing is enqueued until pawl.resume_schedule. What it enqueued goes on. False: it was paused already.
name: of the schedule (42704 if there is none).
reason: kept in pawl.schedules and pawl.audit.';

CREATE FUNCTION pawl.resume_schedule(name text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    schedule pawl.schedule := pawl.lock_schedule(resume_schedule.name);
BEGIN
    IF schedule.paused_at IS NULL THEN
        RETURN false;
    END IF;
    UPDATE pawl.schedule s SET next_at = pawl.next_instant(schedule.cron, schedule.timezone, clock_timestamp()), paused_at = NULL, paused_by = NULL,
        paused_reason = NULL WHERE s.schedule_name = schedule.schedule_name;
    PERFORM pawl.record_action('resume_schedule', 'schedule', ARRAY[schedule.schedule_name], NULL);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.resume_schedule(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.resume_schedule(text) IS
'Lets a paused schedule go on from now: instants that passed while it was paused are neither enqueued nor counted (pawl.backfill_schedule enqueues them). False:
it was not paused.
name: of the schedule (42704 if there is none).';

CREATE FUNCTION pawl.drop_schedule(name text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF (pawl.lock_schedule(drop_schedule.name, missing_ok => true)).schedule_name IS NULL THEN
        RETURN false;
    END IF;
    DELETE FROM pawl.schedule s WHERE s.schedule_name = drop_schedule.name;
    PERFORM pawl.record_action('drop_schedule', 'schedule', ARRAY[drop_schedule.name], NULL);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.drop_schedule(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.drop_schedule(text) IS
'Drops a schedule; what it enqueued stays. False: there was none.
name: of the schedule. One that is made again under the name enqueues no instant twice.';

CREATE FUNCTION pawl.trigger_schedule(name text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    schedule pawl.schedule := pawl.lock_schedule(trigger_schedule.name);
    workflow_id text := format('%s@manual-%s', schedule.schedule_name, nextval('pawl.key_seq'));
BEGIN
    PERFORM pawl.insert_scheduled(schedule, workflow_id, NULL, NULL);
    PERFORM pawl.record_action('trigger_schedule', 'schedule', ARRAY[schedule.schedule_name], NULL, jsonb_build_object('workflow_id', workflow_id));
    RETURN workflow_id;
END $$;
REVOKE ALL ON FUNCTION pawl.trigger_schedule(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.trigger_schedule(text) IS
'Enqueues a workflow of a schedule now, also of a paused one and whatever its overlap says, and returns its id, name@manual-... Its instants stay as they are.
name: of the schedule (42704 if there is none).';

CREATE FUNCTION pawl.run_id(name text, instant timestamptz) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT name || to_char(instant AT TIME ZONE 'UTC', '"@"YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
REVOKE ALL ON FUNCTION pawl.run_id(text, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.run_id(text, timestamptz) IS 'Internal: the workflow_id of an instant of a schedule.';

CREATE FUNCTION pawl.backfill_schedule(name text, since timestamptz, until timestamptz) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 100000;
    schedule pawl.schedule := pawl.lock_schedule(backfill_schedule.name);
    instants timestamptz[];
    enqueued integer;
BEGIN
    IF since IS NULL OR until IS NULL OR since > until OR until > clock_timestamp() OR NOT isfinite(since) THEN
        PERFORM pawl.refuse_argument('since and until must be a time that has passed', format('since is %s, until is %s.', coalesce(since::text, 'null'),
            coalesce(until::text, 'null')), 'Give since before until, and until not after now: what comes later is enqueued by itself.');
    END IF;
    instants := ARRAY(SELECT pawl.instants(schedule.cron, schedule.timezone, since - interval '1 microsecond', until, most + 1));
    IF cardinality(instants) > most THEN
        PERFORM pawl.refuse_argument(format('the schedule has over %s instants in that time', most), 'They are enqueued in one transaction.',
            'Backfill it in parts.');
    END IF;
    SELECT count(*) FILTER (WHERE pawl.insert_scheduled(schedule, i.id, i.instant, NULL)) INTO enqueued
        FROM (SELECT pawl.run_id(schedule.schedule_name, i) AS id, i AS instant FROM unnest(instants) i) i
        -- Hashed, unlike <> ALL.
        WHERE i.id NOT IN (SELECT f.workflow_id FROM pawl.find_workflows(ARRAY(SELECT pawl.run_id(schedule.schedule_name, u) FROM unnest(instants) u)) f);
    UPDATE pawl.schedule s SET fired = s.fired + enqueued, missed_at = CASE WHEN s.missed_at NOT BETWEEN since AND until THEN s.missed_at END
        WHERE s.schedule_name = schedule.schedule_name;
    PERFORM pawl.record_action('backfill_schedule', 'schedule', ARRAY[schedule.schedule_name], NULL,
        jsonb_build_object('since', since, 'until', until, 'enqueued', enqueued));
    RETURN enqueued;
END $$;
REVOKE ALL ON FUNCTION pawl.backfill_schedule(text, timestamptz, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.backfill_schedule(text, timestamptz, timestamptz) IS
'Enqueues the instants of a schedule between two times, both included, that were not enqueued yet: missed, skipped or paused ones, and those from before it
was made. Returns how many. Without jitter, and whatever its overlap says. An instant whose workflow was deleted is enqueued again.
name: of the schedule (42704 if there is none).
since, until: until is at most now. At most 100000 instants in one call.';

-- Enqueues one instant. fired, skipped (an earlier run goes on), or existing (it was enqueued before).
CREATE FUNCTION pawl.fire_instant(schedule pawl.schedule, instant timestamptz) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    id CONSTANT text := pawl.run_id(schedule.schedule_name, instant);
    unfinished bigint[];
    run_at timestamptz;
BEGIN
    IF schedule.overlap <> 'allow' THEN
        unfinished := ARRAY(SELECT w.workflow_key FROM pawl.workflow w WHERE w.schedule_name = schedule.schedule_name AND w.workflow_id <> id
            LIMIT CASE schedule.overlap WHEN 'skip' THEN 1 END);
    END IF;
    IF unfinished <> '{}' AND schedule.overlap = 'skip' THEN
        RETURN CASE WHEN EXISTS (SELECT FROM pawl.find_workflows(ARRAY[id])) THEN 'existing' ELSE 'skipped' END;
    END IF;
    IF schedule.jitter > interval '0' THEN
        run_at := instant + schedule.jitter * ((hashtextextended(id, 0) & 2147483647) / 2147483648.0);
    END IF;
    IF NOT pawl.insert_scheduled(schedule, id, instant, run_at) THEN
        RETURN 'existing';
    ELSIF unfinished <> '{}' THEN
        PERFORM pawl.cancel_tree(unfinished, 'request', format('The next run of schedule "%s" was due.', schedule.schedule_name), schedule.created_by);
    END IF;
    RETURN 'fired';
END $$;
REVOKE ALL ON FUNCTION pawl.fire_instant(pawl.schedule, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.fire_instant(pawl.schedule, timestamptz) IS 'Internal: enqueues one instant of a locked schedule; fired, skipped or existing.';

-- The time is an argument, so that tests can let years pass.
CREATE FUNCTION pawl.fire_schedules(now timestamptz) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 1000;  -- schedules that this call comes to, and instants that it enqueues
    -- Of each schedule, at most 100: what is behind keeps nothing waiting that is on time.
    share CONSTANT integer := most / greatest(10,
        (SELECT count(*) FROM (SELECT FROM pawl.schedule s WHERE s.next_at <= fire_schedules.now LIMIT most) d));
    visited integer := 0;
    horizon timestamptz;            -- what is older is missed
    schedule pawl.schedule;
    instants timestamptz[];
    instant timestamptz;
    outcome text;
    blocked boolean;                -- somebody has a lock that its workflow needs: it comes again
    more boolean := false;
BEGIN
    FOR schedule IN
        -- Those that are on time come first.
        SELECT s.* FROM pawl.schedule s WHERE s.next_at <= fire_schedules.now ORDER BY s.next_at DESC LIMIT most FOR UPDATE SKIP LOCKED
    LOOP
        visited := visited + 1;
        BEGIN
            -- So late is also a scheduler that ran all the time.
            horizon := fire_schedules.now - greatest(schedule.catch_up, interval '10 seconds');
            IF schedule.next_at < horizon THEN
                instants := schedule.next_at || ARRAY(SELECT pawl.instants(schedule.cron, schedule.timezone, schedule.next_at,
                    horizon - interval '1 microsecond', 100000));
                schedule.missed := schedule.missed + cardinality(instants);
                schedule.missed_at := instants[cardinality(instants)];
                schedule.next_at := pawl.next_instant(schedule.cron, schedule.timezone, instants[cardinality(instants)]);
            END IF;
            instants := '{}';
            IF schedule.next_at BETWEEN horizon AND fire_schedules.now THEN
                instants := schedule.next_at || ARRAY(SELECT pawl.instants(schedule.cron, schedule.timezone, schedule.next_at, fire_schedules.now,
                    share - 1));
                schedule.next_at := pawl.next_instant(schedule.cron, schedule.timezone, instants[cardinality(instants)]);
            END IF;
        EXCEPTION WHEN data_exception THEN
            -- Its zone went with an update of the time zones, or so: only a person can say what is meant.
            schedule.next_at := NULL;
            schedule.last_error := SQLERRM;
            schedule.paused_at := clock_timestamp();
            schedule.paused_by := 'pawl';
            schedule.paused_reason := SQLERRM;
            instants := '{}';
        END;
        blocked := false;
        FOREACH instant IN ARRAY instants LOOP
            BEGIN
                outcome := pawl.fire_instant(schedule, instant);
                schedule.last_error := NULL;
            EXCEPTION WHEN lock_not_available THEN
                schedule.next_at := instant;
                schedule.last_error := 'an open transaction has a lock that its workflow needs; it is tried again';
                blocked := true;
                EXIT;
            WHEN OTHERS THEN
                -- The server's own trouble: all of it is done again.
                IF left(SQLSTATE, 2) IN ('40', '53', '55', '57', '58', 'XX') THEN
                    RAISE;
                END IF;
                outcome := 'missed';
                schedule.last_error := SQLERRM;
            END;
            IF outcome = 'fired' THEN
                schedule.fired := schedule.fired + 1;
                schedule.last_at := instant;
                schedule.last_workflow_id := pawl.run_id(schedule.schedule_name, instant);
            ELSIF outcome = 'skipped' THEN
                schedule.skipped := schedule.skipped + 1;
            ELSIF outcome = 'missed' THEN
                schedule.missed := schedule.missed + 1;
                schedule.missed_at := instant;
            END IF;
        END LOOP;
        UPDATE pawl.schedule s SET next_at = schedule.next_at, last_at = schedule.last_at, last_workflow_id = schedule.last_workflow_id,
            missed_at = schedule.missed_at, fired = schedule.fired, missed = schedule.missed, skipped = schedule.skipped, last_error = schedule.last_error, paused_at = schedule.paused_at,
            paused_by = schedule.paused_by, paused_reason = schedule.paused_reason
            WHERE s.schedule_name = schedule.schedule_name;
        more := more OR coalesce(schedule.next_at <= fire_schedules.now AND NOT blocked, false);
    END LOOP;
    RETURN more OR visited = most;
END $$;
REVOKE ALL ON FUNCTION pawl.fire_schedules(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.fire_schedules(timestamptz) IS
'Internal: enqueues what is due at that time, a bounded batch. Answers whether more is due that it did not come to.';

CREATE FUNCTION pawl.run_schedules(worker_id uuid) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    PERFORM pawl.check_isolation('run_schedules');
    IF NOT EXISTS (SELECT FROM pawl.worker w WHERE w.worker_id = run_schedules.worker_id AND w.ended_at IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'PW004', MESSAGE = format('worker %s is not known, or has ended', coalesce(run_schedules.worker_id::text, 'null')),
            HINT = 'Register it first, with a new worker_id.';
    END IF;
    IF EXISTS (SELECT FROM pawl.installation i WHERE i.held_at IS NOT NULL) THEN
        RETURN NULL;
    ELSIF pawl.fire_schedules(clock_timestamp()) THEN
        RETURN 0;
    END IF;
    -- What is due and still there, somebody else has locked.
    RETURN (SELECT extract(epoch FROM s.next_at - clock_timestamp()) * 1000000 FROM pawl.schedule s WHERE s.next_at > clock_timestamp()
        ORDER BY s.next_at LIMIT 1);
END $$;
REVOKE ALL ON FUNCTION pawl.run_schedules(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.run_schedules(uuid) IS
'Enqueues what schedules are due, a bounded batch; those that another worker has locked are passed by. READ COMMITTED only. Nothing while the database is held.
worker_id: as registered (PW004 otherwise).
Call it with a lock_timeout: a schedule whose workflow_id somebody is just taking must not hold up the others.
Result: in how many microseconds to call it again; 0: at once, there is more; NULL: no schedule has a next instant.';
