-- The life of a worker: registration, heartbeat, death, and what becomes of its workflows.
-- Its life is a session-level advisory lock (1346459468, worker_number) on its life line. In the same class, -1 is the lock of whoever reclaims.
-- A claim holds (1346459469, worker_number) shared while it is under way, a transaction of a handler (1346459470, worker_number).

CREATE FUNCTION pawl.lease() RETURNS interval LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT interval '10 seconds'
$$;
REVOKE ALL ON FUNCTION pawl.lease() FROM PUBLIC;
COMMENT ON FUNCTION pawl.lease() IS 'Internal: how long after its last heartbeat a worker counts as alive.';

CREATE FUNCTION pawl.check_installation() RETURNS pawl.installation LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    here pawl.installation;
    last pawl.installation;
    now timestamptz := clock_timestamp();
BEGIN
    SELECT true, c.system_identifier, d.oid, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer,
            -- The first worker there is: nobody can be on the way back.
            pg_postmaster_start_time(), now, now
        INTO here FROM pg_control_system() c, pg_database d WHERE d.datname = current_database();
    INSERT INTO pawl.installation VALUES (here.*) ON CONFLICT DO NOTHING;
    SELECT i.* INTO last FROM pawl.installation i FOR UPDATE;

    IF last.system_identifier <> here.system_identifier THEN
        here.held_reason := format('these rows were written by another cluster (system identifier %s, this one is %s)',
            last.system_identifier, here.system_identifier);
    ELSIF last.database_oid <> here.database_oid THEN
        here.held_reason := format('these rows were written in another database (oid %s, this one is %s)', last.database_oid, here.database_oid);
    ELSIF last.timeline <> here.timeline AND last.heartbeat_at < now - interval '5 minutes' THEN
        -- A failover goes on; a restored backup is older than that.
        here.held_reason := format('this cluster was restored from a backup (timeline %s, was %s) and the last heartbeat is of %s',
            here.timeline, last.timeline, to_char(last.heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    END IF;
    UPDATE pawl.installation i SET system_identifier = here.system_identifier, database_oid = here.database_oid, timeline = here.timeline,
        timeline_since = CASE WHEN last.timeline = here.timeline THEN last.timeline_since ELSE now END, heartbeat_at = now,
        held_at = CASE WHEN here.held_reason IS NULL THEN last.held_at ELSE coalesce(last.held_at, now) END,
        held_reason = CASE WHEN last.held_at IS NULL THEN here.held_reason ELSE last.held_reason END
        RETURNING i.* INTO last;
    RETURN last;
END $$;
REVOKE ALL ON FUNCTION pawl.check_installation() FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_installation() IS 'Internal: compares where the tables live with where they last lived; holds a restored copy.';

CREATE FUNCTION pawl.release_hold(reason text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was_held boolean;
BEGIN
    PERFORM pawl.check_installation();
    UPDATE pawl.installation SET held_at = NULL, held_reason = NULL, released_at = clock_timestamp(), released_by = pawl.outer_user(),
        released_reason = reason WHERE held_at IS NOT NULL;
    was_held := FOUND;
    IF was_held THEN
        PERFORM pawl.record_action('release_hold', 'database', ARRAY[current_database()::text], reason);
        PERFORM pawl.mark_all();
    END IF;
    RETURN was_held;
END $$;
REVOKE ALL ON FUNCTION pawl.release_hold(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.release_hold(text) IS
'Lets a restored copy run. A database that was restored from a dump or a backup, cloned, or upgraded by pg_upgrade is held when its first worker
registers. While it is held nothing can be claimed, so that no side effect happens twice unasked. Answers whether it was held.
reason: for pawl.audit.';

-- The rule of versions: work in flight stays on its version while a live worker offers that, and otherwise moves to the next higher one that is
-- offered. So whoever offers a version may take what is on it, and on those below it down to the next one that is offered.
CREATE FUNCTION pawl.offered_versions(workflow_names text[], workflow_versions integer[])
RETURNS TABLE (workflow_name text, workflow_version integer, above integer, sql_handler boolean) LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    WITH mine AS MATERIALIZED (
        SELECT h.n, h.v FROM unnest($1, $2) h (n, v) UNION SELECT s.workflow_name, s.workflow_version FROM pawl.sql_handler s),
    offered AS (
        SELECT m.n, m.v FROM mine m UNION SELECT h.workflow_name, h.workflow_version
        FROM pawl.worker_handler h JOIN pawl.worker w ON w.worker_id = h.worker_id WHERE w.ended_at IS NULL)
    SELECT o.n, o.v, o.above, NOT EXISTS (SELECT FROM unnest($1, $2) h (n, v) WHERE h.n = o.n AND h.v = o.v)
    FROM (SELECT f.n, f.v, coalesce(lag(f.v) OVER (PARTITION BY f.n ORDER BY f.v), 0) AS above FROM offered f) o
    WHERE EXISTS (SELECT FROM mine m WHERE m.n = o.n AND m.v = o.v)
    ORDER BY o.n, o.v
$$;
REVOKE ALL ON FUNCTION pawl.offered_versions(text[], integer[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.offered_versions(text[], integer[]) IS
'Internal: what a worker with these handlers may run, SQL handlers included: of workflows that began and are not pinned, those on a version over `above`
and up to workflow_version. sql_handler: it is an SQL function, which no handler of its own hides.';

-- Hands workflows back that an ended worker had claimed. What somebody has locked (a step of the old worker that commits just now) is left for
-- the next try: a heartbeat waits for nobody. Answers how many it handed back or ended.
CREATE FUNCTION pawl.hand_back(workflow_keys bigint[], owners uuid[], epochs integer[], crashed boolean[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_nestloop = off AS $$
DECLARE
    max_crashes integer := coalesce(nullif(current_setting('pawl.max_recoveries', true), '')::integer, 3);
    returned integer;
    marks integer;
    poisoned bigint[];
    now timestamptz := clock_timestamp();
BEGIN
    WITH lost AS MATERIALIZED (
        SELECT w.workflow_key, l.owner, l.crashed,
            CASE WHEN NOT l.crashed THEN 0
                -- A step that waits or is to be tried again is a checkpoint too.
                WHEN (SELECT true FROM pawl.workflow_step s WHERE s.workflow_key = w.workflow_key AND s.epoch = w.epoch LIMIT 1) THEN 1
                ELSE w.crashes + 1 END AS crashes,
            w.probation
        FROM unnest(workflow_keys, owners, epochs, crashed) l (workflow_key, owner, epoch, crashed)
            JOIN pawl.workflow w ON w.workflow_key = l.workflow_key
        WHERE w.workflow_key = ANY (workflow_keys) AND w.claimed_by = l.owner AND w.epoch = l.epoch
        ORDER BY w.workflow_key
        FOR UPDATE OF w SKIP LOCKED),
    back AS (
        UPDATE pawl.workflow w SET status = 'enqueued', rank = w.rank & ~1::bigint, ready_key = nextval('pawl.key_seq'), claimed_by = NULL,
            running_in = NULL, recoveries = w.recoveries + CASE WHEN l.crashed THEN 1 ELSE 0 END, crashes = l.crashes, probation = false
        FROM lost l WHERE w.workflow_key = ANY (workflow_keys) AND w.workflow_key = l.workflow_key
        -- The first two crashes may be another's fault: only those that it met alone count.
        RETURNING w.workflow_key, w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key, w.crashes, l.owner,
            l.probation AND l.crashes - 2 >= max_crashes AS poisoned),
    marked AS MATERIALIZED (
        SELECT pawl.mark_ready(b.queue_id, b.rank, b.ready_key, b.workflow_name, b.workflow_version, b.partition_key IS NOT NULL)
        FROM back b WHERE b.crashes < 2),
    freed AS MATERIALIZED (
        SELECT pawl.mark_room(b.queue_id, b.owner, b.partition_key IS NOT NULL) FROM back b)
    SELECT (SELECT count(*) FROM marked) + (SELECT count(*) FROM freed), count(*), array_agg(b.workflow_key) FILTER (WHERE b.poisoned)
        INTO marks, returned, poisoned FROM back b;
    IF poisoned IS NULL THEN
        RETURN returned;
    END IF;

    PERFORM pawl.add_history_partition(now);
    WITH gone AS (DELETE FROM pawl.workflow w WHERE w.workflow_key = ANY (poisoned) RETURNING w.*)
    INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, run_at, started_at, completed_at, deadline_at, cancel_requested_at,
        scheduled_at, worker_id, epoch, queue_id, priority, workflow_version, recoveries, pinned, detached, status, status_reason, workflow_id,
        workflow_name, partition_key, deduplication_id, forked_from, schedule_name, enqueued_by, cancelled_by, cancel_note, headers,
        attributes, progress, input, error)
    SELECT g.workflow_key, g.parent_key, g.created_at, g.run_at, g.started_at, now, g.deadline_at, g.cancel_requested_at,
        g.scheduled_at, o.owner, g.epoch, g.queue_id, g.priority, g.workflow_version, g.recoveries, g.pinned, g.detached, 'failed', 'crashes',
        g.workflow_id, g.workflow_name, g.partition_key, g.deduplication_id, g.forked_from, g.schedule_name, g.enqueued_by, g.cancelled_by,
        g.cancel_note, g.headers, g.attributes, g.progress, g.input, jsonb_build_object('code', 'crashes', 'type', 'pawl', 'message', format(
            'Its worker died %s times in a row while it ran this workflow, the last %s of them with nothing beside it, and no step was recorded '
            'in between: see the log of worker %s.', g.crashes, max_crashes, o.owner), 'step', NULL, 'attempt', NULL,
            'detail', jsonb_build_object('crashes', g.crashes, 'recoveries', g.recoveries, 'worker_id', o.owner), 'cause', NULL)
    FROM gone g JOIN unnest(workflow_keys, owners) o (workflow_key, owner) ON o.workflow_key = g.workflow_key;
    PERFORM pawl.signal_ends(poisoned);
    RETURN returned;
END $$;
REVOKE ALL ON FUNCTION pawl.hand_back(bigint[], uuid[], integer[], boolean[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.hand_back(bigint[], uuid[], integer[], boolean[]) IS
'Internal: makes workflows of ended workers claimable again. One that was there at two crashes in a row is left to a claim of it alone; one that crashed
so too often fails.';

-- A worker that was stopped, and not killed, keeps its sessions: a handler's open transaction would hold its locks for as long as nobody lets the
-- process go on. What it did is rolled back, and its step is not recorded: its workflow is another's to run.
CREATE FUNCTION pawl.end_transactions(worker_ids uuid[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder record;
BEGIN
    -- Whoever has the lock took it, and so can be ended by it: nobody can put it on another's session.
    FOR holder IN
        SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database JOIN pawl.worker w ON w.worker_number = l.objid::bigint
        WHERE w.worker_id = ANY (worker_ids) AND w.ended_at IS NOT NULL AND d.datname = current_database() AND l.locktype = 'advisory'
            AND l.classid = 1346459470 AND l.objsubid = 2 AND l.granted AND l.pid <> pg_backend_pid()
    LOOP
        BEGIN
            PERFORM pg_terminate_backend(holder.pid);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING USING ERRCODE = 'insufficient_privilege', MESSAGE = format('a transaction of a dead worker is still open in process %s', holder.pid),
                DETAIL = 'The owner of the extension may not end it.', HINT = format('SELECT pg_terminate_backend(%s);', holder.pid);
        END;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION pawl.end_transactions(uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.end_transactions(uuid[]) IS 'Internal: ends the sessions in which handlers of ended workers have transactions open.';

CREATE FUNCTION pawl.forget_signals(worker_ids uuid[]) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
BEGIN
    DELETE FROM pawl.signal s WHERE s.signal_key = ANY (ARRAY(
        SELECT l.signal_key FROM pawl.signal l WHERE l.worker_id = ANY (worker_ids) FOR UPDATE SKIP LOCKED));
    -- They may have been about to look at others.
    PERFORM pawl.mark_signals(NULL);
    RETURN EXISTS (SELECT FROM pawl.signal s WHERE s.worker_id = ANY (worker_ids));
END $$;
REVOKE ALL ON FUNCTION pawl.forget_signals(uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.forget_signals(uuid[]) IS 'Internal: drops the signals that were routed to ended workers. Answers whether some are left, locked by another.';

CREATE FUNCTION pawl.reclaim_lost_workflows(worker_id uuid, impatient boolean) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = on SET enable_bitmapscan = on AS $$
#variable_conflict use_column
DECLARE
    me ALIAS FOR $1;
    lease CONSTANT interval := pawl.lease();
    now timestamptz := clock_timestamp();
    other record;
    settling boolean;       -- the server has just started, or was promoted: a free lock means nothing yet
    tried uuid[];
    quiet uuid[];           -- those of them with no claim under way
    lost_keys bigint[];
    lost_owners uuid[];
    lost_epochs integer[];
    lost_crashed boolean[];
    returned integer := 0;
    unheard boolean;        -- signals to one of them are locked just now
BEGIN
    SELECT greatest(pg_postmaster_start_time(), i.timeline_since) > now - lease INTO settling FROM pawl.installation i;
    -- A shared try lock: those who look at the same moment do not take one another for the worker.
    FOR other IN
        SELECT w.worker_id, w.heartbeat_at, w.suspected_at, l.free
        FROM pawl.worker w CROSS JOIN LATERAL (SELECT pg_try_advisory_xact_lock_shared(1346459468, w.worker_number) AS free) l
        WHERE w.ended_at IS NULL AND w.worker_id <> me AND (l.free OR w.suspected_at IS NOT NULL OR w.heartbeat_at < now - lease)
        ORDER BY w.worker_id
    LOOP
        IF other.heartbeat_at < now - lease
            -- Half a beat less than a second: two looks of one worker are two beats of half a second apart.
            OR (other.free AND NOT settling AND other.suspected_at < now - interval '900 milliseconds') THEN
            UPDATE pawl.worker w SET status = 'dead', ended_at = now, suspected_at = NULL
            WHERE w.worker_id = (SELECT l.worker_id FROM pawl.worker l WHERE l.worker_id = other.worker_id AND l.ended_at IS NULL
                AND l.heartbeat_at = other.heartbeat_at FOR UPDATE SKIP LOCKED);
            IF FOUND THEN
                PERFORM pawl.mark_offers();
            END IF;
        ELSIF other.free AND NOT settling AND other.suspected_at IS NULL THEN
            UPDATE pawl.worker w SET suspected_at = now
            WHERE w.worker_id = (SELECT l.worker_id FROM pawl.worker l WHERE l.worker_id = other.worker_id AND l.ended_at IS NULL
                FOR UPDATE SKIP LOCKED);
        ELSIF NOT other.free AND other.suspected_at IS NOT NULL THEN
            UPDATE pawl.worker w SET suspected_at = NULL
            WHERE w.worker_id = (SELECT l.worker_id FROM pawl.worker l WHERE l.worker_id = other.worker_id AND l.ended_at IS NULL
                FOR UPDATE SKIP LOCKED);
        END IF;
    END LOOP;

    -- What ended and may still own something: tried at once, and again each second while another transaction has a lock on some of it.
    SELECT array_agg(w.worker_id) INTO tried FROM pawl.worker w
        WHERE w.ended_at IS NOT NULL AND w.reclaimed_at IS NULL AND (w.suspected_at IS NULL OR w.suspected_at < now - interval '1 second');
    IF (tried IS NULL AND NOT impatient) OR NOT pg_try_advisory_xact_lock(1346459468, -1) THEN
        RETURN 0;
    END IF;
    PERFORM pawl.end_transactions(tried);
    -- A claim under way has rows that are not to be seen yet; one that begins later waits for us, and then sees that its worker has ended.
    SELECT array_agg(w.worker_id) INTO quiet
        FROM (SELECT w.worker_id, w.worker_number FROM pawl.worker w WHERE w.worker_id = ANY (tried) ORDER BY w.worker_id OFFSET 0) w
        WHERE pg_try_advisory_xact_lock(1346459469, w.worker_number);
    SELECT array_agg(w.workflow_key), array_agg(w.claimed_by), array_agg(w.epoch), array_agg(k.status IS DISTINCT FROM 'stopped')
        INTO lost_keys, lost_owners, lost_epochs, lost_crashed
        FROM pawl.workflow w LEFT JOIN pawl.worker k ON k.worker_id = w.claimed_by
        WHERE w.claimed_by IS NOT NULL AND (k.worker_id IS NULL OR k.ended_at IS NOT NULL);
    IF lost_keys IS NOT NULL THEN
        returned := pawl.hand_back(lost_keys, lost_owners, lost_epochs, lost_crashed);
    END IF;
    -- After the workflows: who routed a signal to the worker had its workflow's row locked, and what is handed back looks for itself.
    unheard := pawl.forget_signals(tried);
    UPDATE pawl.worker w SET suspected_at = now,
        reclaimed_at = CASE WHEN w.worker_id = ANY (quiet) AND NOT unheard AND (returned = coalesce(cardinality(lost_keys), 0)
            OR w.worker_id <> ALL (lost_owners)) THEN now END
        WHERE w.worker_id = ANY (tried);
    RETURN returned;
END $$;
REVOKE ALL ON FUNCTION pawl.reclaim_lost_workflows(uuid, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.reclaim_lost_workflows(uuid, boolean) IS
'Internal: looks for dead workers and hands their workflows back; impatient: also looks for what belongs to no live worker at all.';

CREATE FUNCTION pawl.holds_life_line(worker_number integer) RETURNS boolean LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.classid = 1346459468 AND l.objid::bigint = $1 AND l.objsubid = 2
            AND l.pid = pg_backend_pid() AND l.mode = 'ExclusiveLock' AND l.granted)
$$;
REVOKE ALL ON FUNCTION pawl.holds_life_line(integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.holds_life_line(integer) IS 'Internal: whether this session is the life line of that worker.';

CREATE FUNCTION pawl.register_worker(worker_id uuid, worker_name text, hostname text, pid integer, version text, protocol integer,
    concurrency integer, queues text[], workflow_names text[], workflow_versions integer[], plugins text[])
RETURNS TABLE (worker_number integer, heartbeat_interval interval, lease interval, max_payload integer, held boolean, held_reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known pawl.worker;
    place pawl.installation;
    stale record;
BEGIN
    IF register_worker.protocol IS DISTINCT FROM 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'PW003', MESSAGE = 'the worker speaks another protocol than the extension',
            DETAIL = format('The worker speaks protocol %s, the extension protocol 1.', coalesce(register_worker.protocol::text, 'null')),
            HINT = 'Install pawld and the extension of one release, then ALTER EXTENSION pawl UPDATE.';
    END IF;
    IF register_worker.worker_id IS NULL THEN
        PERFORM pawl.refuse_argument('worker_id must not be null', 'It is the incarnation of the worker.', 'Give a random uuid, a new one each time.');
    END IF;
    PERFORM pawl.check_name('worker_name', register_worker.worker_name, 128);
    PERFORM pawl.check_name('hostname', register_worker.hostname, 255);
    PERFORM pawl.check_name('version', register_worker.version, 128);
    IF register_worker.pid IS NULL OR register_worker.concurrency IS NULL OR register_worker.concurrency < 1 THEN
        PERFORM pawl.refuse_argument('pid must not be null, and concurrency must be at least 1',
            format('pid is %s, concurrency is %s.', coalesce(register_worker.pid::text, 'null'), coalesce(register_worker.concurrency::text, 'null')),
            'concurrency is how many workflows the worker runs at once.');
    END IF;
    IF cardinality(workflow_names) IS DISTINCT FROM cardinality(workflow_versions) OR cardinality(workflow_names) IS DISTINCT FROM cardinality(plugins)
        OR workflow_names IS NULL THEN
        PERFORM pawl.refuse_lengths(cardinality(workflow_names), cardinality(workflow_versions), cardinality(plugins));
    END IF;
    PERFORM pawl.check_name('a workflow name', h.workflow_name, 128), pawl.check_name('a plugin', h.plugin, 1024)
        FROM unnest(workflow_names, plugins) h (workflow_name, plugin);
    PERFORM pawl.check_name('a queue', q, 128) FROM unnest(register_worker.queues) q;
    IF EXISTS (SELECT FROM unnest(workflow_versions) v WHERE v IS NULL OR v < 1)
        OR EXISTS (SELECT FROM unnest(workflow_names, workflow_versions) h (n, v) GROUP BY h.n, h.v HAVING count(*) > 1) THEN
        PERFORM pawl.refuse_argument('workflow_versions are wrong', 'Each is at least 1, and no handler is given twice.',
            'Give each name and version once.');
    END IF;
    PERFORM pawl.may_inspect();         -- loads the library: its settings are known and checked from then on

    SELECT w.* INTO known FROM pawl.worker w WHERE w.worker_id = register_worker.worker_id FOR UPDATE;
    IF known.worker_id IS NOT NULL AND (known.ended_at IS NOT NULL OR NOT pawl.holds_life_line(known.worker_number)) THEN
        RAISE EXCEPTION USING ERRCODE = 'PW004', MESSAGE = format('worker %s cannot register again', register_worker.worker_id),
            DETAIL = CASE WHEN known.ended_at IS NULL THEN 'This session is not its life line.' ELSE format('It is %s.', known.status) END,
            HINT = 'Drop what it was running and register with a new worker_id.';
    END IF;
    place := pawl.check_installation();
    IF known.worker_id IS NOT NULL THEN
        UPDATE pawl.worker w SET heartbeat_at = clock_timestamp(), worker_name = register_worker.worker_name, hostname = register_worker.hostname,
            pid = register_worker.pid, version = register_worker.version, concurrency = register_worker.concurrency, queues = register_worker.queues
            WHERE w.worker_id = known.worker_id;
        DELETE FROM pawl.worker_handler h WHERE h.worker_id = known.worker_id;
    ELSE
        -- An incarnation that this session was the life line of is over.
        FOR stale IN SELECT l.objid FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'advisory' AND l.classid = 1346459468
            AND l.objsubid = 2 AND l.mode = 'ExclusiveLock' AND l.objid::bigint BETWEEN 1 AND 2147483647 LOOP
            PERFORM pg_advisory_unlock(1346459468, stale.objid::bigint::integer);
        END LOOP;
        -- So is one of the same process whose life line is gone: it says so by taking a new incarnation.
        FOR stale IN SELECT w.worker_id, w.worker_number FROM pawl.worker w
            WHERE w.ended_at IS NULL AND w.worker_name = register_worker.worker_name AND w.hostname = register_worker.hostname
                AND w.pid = register_worker.pid ORDER BY w.worker_id FOR UPDATE SKIP LOCKED LOOP
            IF pg_try_advisory_xact_lock_shared(1346459468, stale.worker_number) THEN
                UPDATE pawl.worker w SET status = 'dead', ended_at = clock_timestamp(), suspected_at = NULL WHERE w.worker_id = stale.worker_id;
            END IF;
        END LOOP;
        LOOP
            known.worker_number := nextval('pawl.worker_number_seq');
            EXIT WHEN pg_try_advisory_lock(1346459468, known.worker_number);
        END LOOP;
        INSERT INTO pawl.worker (worker_id, worker_number, pid, protocol, concurrency, status, worker_name, hostname, version, role_name, queues)
            VALUES (register_worker.worker_id, known.worker_number, register_worker.pid, register_worker.protocol, register_worker.concurrency,
                'running', register_worker.worker_name, register_worker.hostname, register_worker.version, pawl.outer_user(), register_worker.queues);
    END IF;
    INSERT INTO pawl.worker_handler (worker_id, workflow_name, workflow_version, plugin)
        SELECT register_worker.worker_id, h.n, h.v, h.p FROM unnest(workflow_names, workflow_versions, plugins) h (n, v, p);
    PERFORM pawl.mark_offers();
    INSERT INTO pawl.known_handler (workflow_name)
        SELECT n FROM unnest(workflow_names) n WHERE NOT EXISTS (SELECT FROM pawl.known_handler k WHERE k.workflow_name = n)
        GROUP BY n ORDER BY n ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM pawl.invalidate_caches();
    END IF;
    PERFORM pawl.prepare_history();
    PERFORM pawl.reclaim_lost_workflows(register_worker.worker_id, false);

    RETURN QUERY SELECT known.worker_number, interval '500 milliseconds', pawl.lease(),
        coalesce((SELECT s.setting::integer FROM pg_settings s WHERE s.name = 'pawl.max_payload'), 1048576),
        place.held_at IS NOT NULL, place.held_reason;
END $$;
REVOKE ALL ON FUNCTION pawl.register_worker(uuid, text, text, integer, text, integer, integer, text[], text[], integer[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.register_worker(uuid, text, text, integer, text, integer, integer, text[], text[], integer[], text[]) IS
'Registers a worker; this session is its life line: it takes a session-level advisory lock that is the worker''s life.
worker_id: a random incarnation. Registering it again on the same session replaces its handlers; an ended one is refused (PW004).
worker_name, hostname, pid, version: for people, in pawl.workers. A worker with the name, hostname and pid of another whose life line is gone ends that one.
protocol: 1, otherwise PW003.
concurrency: how many workflows it runs at once.
queues: the queues it serves, NULL for all.
workflow_names, workflow_versions, plugins: the handlers it can run, arrays of one length.
Result: worker_number (of its lock), heartbeat_interval and lease to keep, max_payload in bytes, whether the database is held, and why.';

CREATE FUNCTION pawl.has_room(queue_id integer, partition_key text, running_in integer, worker_id uuid) RETURNS boolean LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT FROM pawl.queue q CROSS JOIN LATERAL (
            SELECT count(*) AS all_of_it, count(*) FILTER (WHERE w.partition_key = $2) AS of_partition, count(*) FILTER (WHERE w.claimed_by = $4) AS of_worker
            FROM pawl.workflow w WHERE w.running_in = q.queue_id AND (w.claimed_by IS NOT NULL OR q.hold_while_waiting)) r
        WHERE q.queue_id = $1 AND (q.paused_at IS NOT NULL OR r.of_worker >= q.worker_concurrency
            OR (($3 IS NULL OR NOT q.hold_while_waiting) AND (r.all_of_it >= q.concurrency OR ($2 IS NOT NULL AND r.of_partition >= q.partition_concurrency)))))
$$;
REVOKE ALL ON FUNCTION pawl.has_room(integer, text, integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.has_room(integer, text, integer, uuid) IS
'Internal: whether a workflow that ran before could run now in this worker, as far as it is for its queue. running_in: the permit that it kept.';

CREATE FUNCTION pawl.has_suspects(worker_id uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    served text[];
BEGIN
    SELECT k.queues INTO served FROM pawl.worker k WHERE k.worker_id = has_suspects.worker_id;
    RETURN EXISTS (
        WITH mine AS MATERIALIZED (
            SELECT o.workflow_name, o.workflow_version, o.above
            FROM (SELECT coalesce(array_agg(h.workflow_name), '{}') AS names, coalesce(array_agg(h.workflow_version), '{}') AS versions
                    FROM pawl.worker_handler h WHERE h.worker_id = has_suspects.worker_id) a, pawl.offered_versions(a.names, a.versions) o)
        SELECT FROM pawl.workflow w
        WHERE w.crashes >= 2 AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL
            AND (served IS NULL OR CASE w.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = w.queue_id) END
                = ANY (served))
            -- Whoever has to run it alone runs nothing else until then.
            AND pawl.has_room(w.queue_id, w.partition_key, w.running_in, has_suspects.worker_id)
            AND EXISTS (SELECT FROM mine m WHERE m.workflow_name = w.workflow_name AND (w.workflow_version IS NULL
                OR m.workflow_version = w.workflow_version
                OR (NOT w.pinned AND w.workflow_version > m.above AND w.workflow_version < m.workflow_version))));
END $$;
REVOKE ALL ON FUNCTION pawl.has_suspects(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.has_suspects(uuid) IS 'Internal: whether something of what waits to be claimed alone is for this worker.';

-- An idle worker's half-second: all that is looked for nearly always in vain is one statement.
CREATE FUNCTION pawl.heartbeat(worker_id uuid, running integer, status text)
RETURNS TABLE (alive boolean, held boolean, reclaimed integer, suspects boolean, schedule_in bigint, retention boolean,
    alone boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    stale boolean;          -- the installation's own heartbeat
    hourly boolean;
    next_at timestamptz;    -- of a schedule
BEGIN
    IF heartbeat.worker_id IS NULL OR running IS NULL OR heartbeat.running < 0 OR heartbeat.status IS NULL
        OR heartbeat.status NOT IN ('running', 'draining') THEN
        PERFORM pawl.refuse_argument('a heartbeat needs a worker_id, how many workflows run, and a status',
            format('running is %s, status is %s.', coalesce(heartbeat.running::text, 'null'), coalesce(quote_literal(left(heartbeat.status, 64)), 'null')),
            'running is at least 0, status is running or draining.');
    END IF;
    WITH beat AS (
        UPDATE pawl.worker w SET heartbeat_at = clock_timestamp(), running = heartbeat.running, status = heartbeat.status
        WHERE w.worker_id = heartbeat.worker_id AND w.ended_at IS NULL
        -- A lost standby must not make everyone look dead.
        RETURNING set_config('synchronous_commit', 'off', true))
    SELECT EXISTS (SELECT FROM beat), i.held_at IS NOT NULL, i.heartbeat_at < clock_timestamp() - interval '10 seconds',
            i.maintained_at < clock_timestamp() - interval '1 hour',
            NOT EXISTS (SELECT FROM pawl.worker w WHERE w.worker_id <> heartbeat.worker_id AND (w.ended_at IS NULL OR w.reclaimed_at IS NULL)),
            EXISTS (SELECT FROM pawl.workflow w WHERE w.crashes >= 2 AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL),
            (SELECT s.next_at FROM pawl.schedule s WHERE s.next_at IS NOT NULL ORDER BY s.next_at LIMIT 1),
            -- As in retention_is_due.
            i.held_at IS NULL AND coalesce(i.retention_at <= clock_timestamp(), true) AND heartbeat.status = 'running'
        INTO alive, held, stale, hourly, alone, suspects, next_at, retention FROM (SELECT) one LEFT JOIN pawl.installation i ON true;
    reclaimed := 0;
    IF NOT alive THEN
        suspects := false;
        retention := false;
        RETURN NEXT;
        RETURN;
    END IF;
    IF stale THEN
        UPDATE pawl.installation i SET heartbeat_at = clock_timestamp()
            WHERE i.singleton = (SELECT l.singleton FROM pawl.installation l FOR UPDATE SKIP LOCKED);
    END IF;
    IF hourly THEN
        UPDATE pawl.installation i SET maintained_at = clock_timestamp() WHERE i.singleton = (
            SELECT l.singleton FROM pawl.installation l WHERE l.maintained_at < clock_timestamp() - interval '1 hour' FOR UPDATE SKIP LOCKED);
        hourly := FOUND;
    END IF;
    IF hourly OR NOT alone THEN
        reclaimed := pawl.reclaim_lost_workflows(heartbeat.worker_id, hourly);
    END IF;
    IF hourly THEN
        PERFORM pawl.prepare_history();
        WITH gone AS (DELETE FROM pawl.worker w WHERE w.ended_at < clock_timestamp() - interval '1 day' AND w.reclaimed_at IS NOT NULL
            RETURNING w.worker_id)
        DELETE FROM pawl.worker_handler h USING gone g WHERE h.worker_id = g.worker_id;
    END IF;
    IF suspects THEN
        suspects := NOT held AND pawl.has_suspects(heartbeat.worker_id);
    END IF;
    IF next_at IS NOT NULL AND NOT held AND heartbeat.status = 'running' THEN
        schedule_in := extract(epoch FROM next_at - clock_timestamp()) * 1000000;
    END IF;
    RETURN NEXT;
END $$;
REVOKE ALL ON FUNCTION pawl.heartbeat(uuid, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.heartbeat(uuid, integer, text) IS
'Says that a worker lives; each 500 ms, on its life line, or each second while it is alone. Also finds dead workers and hands their workflows back, and once an hour makes partitions ahead
and forgets workers that ended over a day ago.
worker_id: as registered. running: how many workflows it runs. status: running or draining.
Result: alive (false: it was declared dead; drop every run and register a new worker_id), held (a restored copy: nothing can be claimed until
release_hold), reclaimed (how many workflows of dead workers it handed back), suspects (some that were there at two crashes in a row wait to be claimed
alone: pawl.claim_workflows(..., alone => true), once nothing else runs), schedule_in (in how many microseconds a schedule is due: then call
pawl.run_schedules, on a session of its own; NULL: none is, the database is held, or the worker is draining), retention (ended workflows may be
past theirs: then call pawl.run_retention, on the same one), alone (no other worker lives, or has left something to hand back).';

CREATE FUNCTION pawl.unregister_worker(worker_id uuid) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known pawl.worker;
    own_keys bigint[];
    own_epochs integer[];
    quiet boolean;          -- no claim of its is under way
    returned integer := 0;
BEGIN
    SELECT w.* INTO known FROM pawl.worker w WHERE w.worker_id = unregister_worker.worker_id FOR UPDATE;
    IF known.worker_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PW004', MESSAGE = format('worker %s is not known', coalesce(unregister_worker.worker_id::text, 'null')),
            HINT = 'Register it first; workers that ended over a day ago are forgotten.';
    ELSIF known.ended_at IS NULL THEN
        UPDATE pawl.worker w SET status = 'stopped', ended_at = clock_timestamp(), running = 0, suspected_at = NULL WHERE w.worker_id = known.worker_id;
        PERFORM pawl.mark_offers();
        quiet := pg_try_advisory_xact_lock(1346459469, known.worker_number);
        SELECT array_agg(w.workflow_key), array_agg(w.epoch) INTO own_keys, own_epochs FROM pawl.workflow w WHERE w.claimed_by = known.worker_id;
        IF own_keys IS NOT NULL THEN
            returned := pawl.hand_back(own_keys, array_fill(known.worker_id, ARRAY[cardinality(own_keys)]), own_epochs,
                array_fill(false, ARRAY[cardinality(own_keys)]));
        END IF;
        -- What was locked just now, others hand back at their next heartbeat.
        quiet := NOT pawl.forget_signals(ARRAY[known.worker_id]) AND quiet;
        UPDATE pawl.worker w SET reclaimed_at = CASE WHEN quiet AND returned = coalesce(cardinality(own_keys), 0) THEN clock_timestamp() END
            WHERE w.worker_id = known.worker_id;
    END IF;
    IF pawl.holds_life_line(known.worker_number) THEN
        PERFORM pg_advisory_unlock(1346459468, known.worker_number);
    END IF;
    RETURN returned;
END $$;
REVOKE ALL ON FUNCTION pawl.unregister_worker(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.unregister_worker(uuid) IS
'The orderly end of a worker, on its life line: hands back what it still holds (not counted as a crash) and gives up its lock. Answers how many it handed back.
worker_id: as registered; one that ended already is no error, an unknown one is (PW004).';
