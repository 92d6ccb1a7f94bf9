-- What is wrong, and what mends it. Each part answers findings; pawl.diagnose() is all of them. Nothing here locks or waits, and no scan is longer
-- than its bound: an operator asks when a database is in trouble.

CREATE FUNCTION pawl.in_words(duration interval) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN u.n = 1 THEN '1 ' || u.unit ELSE u.n || ' ' || u.unit || 's' END
    FROM (SELECT CASE WHEN s < 120 THEN s WHEN s < 7200 THEN s / 60 WHEN s < 172800 THEN s / 3600 ELSE s / 86400 END AS n,
            CASE WHEN s < 120 THEN 'second' WHEN s < 7200 THEN 'minute' WHEN s < 172800 THEN 'hour' ELSE 'day' END AS unit
        FROM (SELECT extract(epoch FROM duration)::bigint AS s) e) u
$$;
REVOKE ALL ON FUNCTION pawl.in_words(interval) FROM PUBLIC;
COMMENT ON FUNCTION pawl.in_words(interval) IS 'Internal: a duration for people, in one unit, rounded down.';

CREATE FUNCTION pawl.count_of(n bigint, thing text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT n || ' ' || thing || CASE WHEN n = 1 THEN '' ELSE 's' END
$$;
REVOKE ALL ON FUNCTION pawl.count_of(bigint, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.count_of(bigint, text) IS 'Internal: so many things, in the singular or the plural.';

-- A worker that was killed alone is dead for everybody but its row: nobody is there to write it down.
CREATE FUNCTION pawl.live_workers() RETURNS SETOF pawl.worker LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT w.* FROM pawl.worker w WHERE w.ended_at IS NULL AND w.heartbeat_at > clock_timestamp() - pawl.lease()
$$;
REVOKE ALL ON FUNCTION pawl.live_workers() FROM PUBLIC;
COMMENT ON FUNCTION pawl.live_workers() IS 'Internal: the workers that were heard of within a lease.';

CREATE FUNCTION pawl.diagnose_workers() RETURNS TABLE (severity text, finding text, object text, message text, cure text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    sessions integer;       -- that a worker opens at most
BEGIN
    RETURN QUERY SELECT 'error', 'held', current_database()::text,
        format('nothing runs: this is a restored copy, held since %s: %s', to_char(i.held_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), i.held_reason),
        'SELECT pawl.release_hold(''why'');  -- once the original is out of the way'
    FROM pawl.installation i WHERE i.held_at IS NOT NULL;

    RETURN QUERY SELECT 'error', 'no_worker', current_database()::text, 'there are unfinished workflows or schedules, and no worker is running',
        'systemctl start pawld@NAME'
    WHERE NOT EXISTS (SELECT FROM pawl.live_workers())
        AND (EXISTS (SELECT FROM pawl.workflow) OR EXISTS (SELECT FROM pawl.schedule s WHERE s.paused_at IS NULL));

    RETURN QUERY SELECT 'error', 'silent_worker', w.worker_name,
        format('worker "%s" (process %s on %s) was last heard of %s ago: it was killed, is stopped, or cannot reach the server', w.worker_name, w.pid,
            w.hostname, pawl.in_words(now - w.heartbeat_at)),
        format('journalctl -u ''pawld@*'' on %s; what it ran goes on when another worker runs: systemctl restart pawld@NAME', w.hostname)
    FROM pawl.worker w WHERE w.ended_at IS NULL AND w.heartbeat_at <= now - pawl.lease();

    RETURN QUERY SELECT 'error', 'unreclaimed_worker', w.worker_name,
        format('worker "%s" ended %s ago, and its workflows could not be handed back: another session has them locked', w.worker_name,
            pawl.in_words(now - w.ended_at)),
        coalesce((SELECT format('SELECT pg_terminate_backend(%s);', l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.classid IN (1346459469, 1346459470) AND l.objsubid = 2
                    AND l.objid::bigint = w.worker_number LIMIT 1),
            'SELECT pid, state, xact_start FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL ORDER BY xact_start;')
    FROM pawl.worker w
    WHERE w.ended_at < now - interval '1 minute' AND w.reclaimed_at IS NULL AND EXISTS (SELECT FROM pawl.live_workers());

    RETURN QUERY SELECT 'note', 'mixed_workers', current_database()::text,
        format('workers of different releases run: %s', string_agg(v.text, ', ' ORDER BY v.text)),
        'Restart those of the older release: systemctl restart pawld@NAME'
    FROM (SELECT format('%s (protocol %s) on %s', w.version, w.protocol, string_agg(DISTINCT w.hostname, ' and ')) AS text
        FROM pawl.live_workers() w GROUP BY w.version, w.protocol) v
    HAVING count(*) > 1;

    RETURN QUERY SELECT 'warning', 'powerful_worker', r.rolname::text,
        format('handlers run as %I, which may do whatever the owner of the extension may: a handler can change or read anything', r.rolname),
        format('CREATE ROLE pawl LOGIN; SELECT pawl.grant_access(''pawl'', ''work'');  -- and let the workers of %I log in as that', r.rolname)
    FROM (SELECT DISTINCT w.role_name FROM pawl.live_workers() w) w JOIN pg_roles r ON r.rolname = w.role_name
        JOIN pg_extension e ON e.extname = 'pawl'
    WHERE pg_has_role(r.oid, e.extowner, 'MEMBER');

    sessions := CASE WHEN EXISTS (SELECT FROM pawl.sql_handler) THEN 23 ELSE 15 END;
    RETURN QUERY SELECT 'warning', 'few_connections', 'max_connections',
        format('%s take up to %s sessions each, and the server has %s: handlers wait for sessions, or workers and applications are refused',
            pawl.count_of(s.workers, 'worker'), sessions, s.available),
        format('ALTER SYSTEM SET max_connections = %s;  -- and restart the server', s.reserved + s.workers * sessions * 2)
    FROM (SELECT (SELECT count(*) FROM pawl.live_workers()) AS workers, r.reserved, current_setting('max_connections')::integer - r.reserved AS available
        FROM (SELECT sum(p.setting::integer) AS reserved FROM pg_settings p
            WHERE p.name IN ('superuser_reserved_connections', 'reserved_connections')) r) s
    WHERE s.workers * sessions > s.available;
END $$;
REVOKE ALL ON FUNCTION pawl.diagnose_workers() FROM PUBLIC;
COMMENT ON FUNCTION pawl.diagnose_workers() IS 'Internal: the findings about workers.';

CREATE FUNCTION pawl.diagnose_work() RETURNS TABLE (severity text, finding text, object text, message text, cure text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
BEGIN
    -- The oldest and the newest: what nobody can run stays at one end, what was enqueued by mistake is at the other.
    RETURN QUERY WITH seen AS MATERIALIZED (
        (SELECT w.workflow_key, w.workflow_name, w.workflow_version, w.pinned, w.queue_id,
                CASE WHEN w.started_at IS NULL AND w.claimed_by IS NULL AND w.ready_key IS NOT NULL THEN greatest(w.created_at, w.run_at) END AS ready_at
            FROM pawl.workflow w ORDER BY w.created_at LIMIT 50000)
        UNION
        (SELECT w.workflow_key, w.workflow_name, w.workflow_version, w.pinned, w.queue_id,
                CASE WHEN w.started_at IS NULL AND w.claimed_by IS NULL AND w.ready_key IS NOT NULL THEN greatest(w.created_at, w.run_at) END
            FROM pawl.workflow w ORDER BY w.created_at DESC LIMIT 50000)),
    offered AS MATERIALIZED (
        SELECT h.workflow_name, h.workflow_version, w.queues FROM pawl.live_workers() w JOIN pawl.worker_handler h ON h.worker_id = w.worker_id
        UNION ALL
        SELECT s.workflow_name, s.workflow_version, w.queues FROM pawl.live_workers() w CROSS JOIN pawl.sql_handler s),
    kinds AS MATERIALIZED (
        SELECT k.*, coalesce(q.queue_name, 'default') AS queue,
            -- Who can run it: somebody; otherwise nobody at all, nobody in its version, or somebody for other queues.
            CASE WHEN o.served THEN 'served' WHEN o.fits THEN 'unserved' WHEN o.fits IS NULL THEN 'missing' ELSE 'stranded' END AS state
        FROM (SELECT s.workflow_name, s.workflow_version, s.pinned, s.queue_id, count(*) AS n, min(s.ready_at) AS oldest
            FROM seen s GROUP BY s.workflow_name, s.workflow_version, s.pinned, s.queue_id) k
        LEFT JOIN pawl.queue q ON q.queue_id = k.queue_id
        CROSS JOIN LATERAL (
            SELECT bool_or(f.fits) AS fits, bool_or(f.fits AND (o.queues IS NULL OR coalesce(q.queue_name, 'default') = ANY (o.queues))) AS served
            FROM offered o CROSS JOIN LATERAL (SELECT k.workflow_version IS NULL OR o.workflow_version = k.workflow_version
                OR (NOT k.pinned AND o.workflow_version > k.workflow_version) AS fits) f
            WHERE o.workflow_name = k.workflow_name) o
        -- Without any worker nothing is offered, and that is a finding of its own.
        WHERE EXISTS (SELECT FROM pawl.live_workers()))
    SELECT 'error', 'missing_handler', k.workflow_name,
        format('%s named "%s" cannot run: no live worker offers a handler of that name', pawl.count_of(sum(k.n)::bigint, 'unfinished workflow'),
            k.workflow_name),
        'Put the plugin that has it into the plugin directory of a worker, and: systemctl reload pawld@NAME'
    FROM kinds k WHERE k.state = 'missing' GROUP BY k.workflow_name
    UNION ALL
    SELECT 'error', 'stranded_version', format('%s version %s', k.workflow_name, k.workflow_version),
        format('%s named "%s" cannot run: %s version %s, and live workers offer %s', pawl.count_of(sum(k.n)::bigint, 'unfinished workflow'),
            k.workflow_name, CASE WHEN k.pinned THEN 'pinned to' ELSE 'begun on' END, k.workflow_version,
            (SELECT string_agg(DISTINCT o.workflow_version::text, ', ') FROM offered o WHERE o.workflow_name = k.workflow_name)),
        format('SELECT pawl.move_workflows(%L, %s, %s);  -- or load the plugin that has version %s', k.workflow_name, k.workflow_version,
            (SELECT coalesce(min(o.workflow_version) FILTER (WHERE o.workflow_version > k.workflow_version), max(o.workflow_version))
                FROM offered o WHERE o.workflow_name = k.workflow_name), k.workflow_version)
    FROM kinds k WHERE k.state = 'stranded' GROUP BY k.workflow_name, k.workflow_version, k.pinned
    UNION ALL
    SELECT 'error', 'unserved_queue', k.queue,
        format('%s in queue "%s" cannot run: no live worker that has their handler, in their version, serves that queue',
            pawl.count_of(sum(k.n)::bigint, 'unfinished workflow'), k.queue),
        format('Add %s to PAWL_QUEUE in /etc/pawl/NAME.env, and: systemctl restart pawld@NAME', k.queue)
    FROM kinds k WHERE k.state = 'unserved' GROUP BY k.queue
    UNION ALL
    SELECT 'warning', CASE WHEN q.limits IS NULL THEN 'backlog' ELSE 'full_queue' END, k.queue,
        format('the oldest workflow in queue "%s" that could start has waited for %s: %s', k.queue, pawl.in_words(now - min(k.oldest)),
            coalesce('the queue is limited to ' || q.limits, 'the queue has no limit, so its workers are full')),
        CASE WHEN q.limits IS NULL
            THEN 'SELECT worker_name, running, concurrency FROM pawl.workers WHERE ended_at IS NULL;  -- start more, or raise PAWL_CONCURRENCY'
            ELSE format('SELECT pawl.alter_queue(%L, %s);  -- raises the limit, if what it protects allows that', k.queue, q.raised) END
    FROM kinds k LEFT JOIN LATERAL (
        SELECT l.paused_at,
            concat_ws(', ', l.concurrency || ' running', l.worker_concurrency || ' running in each worker',
                l.partition_concurrency || ' running of each partition', l.rate_limit || ' starts per ' || l.rate_period) AS limits,
            concat_ws(', ', 'concurrency => ' || 2 * l.concurrency + 1, 'worker_concurrency => ' || 2 * l.worker_concurrency + 1,
                'partition_concurrency => ' || 2 * l.partition_concurrency + 1, 'rate_limit => ' || 2 * l.rate_limit) AS raised
        FROM pawl.queue l WHERE l.queue_id = k.queue_id) l ON true
        CROSS JOIN LATERAL (SELECT nullif(l.limits, '') AS limits, l.raised) q
    WHERE k.state = 'served' AND k.oldest < now - interval '1 hour' AND l.paused_at IS NULL
        AND NOT EXISTS (SELECT FROM pawl.installation i WHERE i.held_at IS NOT NULL)
    GROUP BY k.queue, q.limits, q.raised;

    RETURN QUERY SELECT 'warning', 'forgotten_pause', q.queue_name,
        format('queue "%s" was paused %s ago by %s%s, and work waits in it', q.queue_name, pawl.in_words(now - q.paused_at), q.paused_by,
            coalesce(' (' || q.paused_reason || ')', '')),
        format('SELECT pawl.resume_queue(%L);', q.queue_name)
    FROM pawl.queue q
    WHERE q.paused_at < now - interval '1 day' AND (
        EXISTS (SELECT FROM pawl.workflow w
            WHERE w.queue_id = q.queue_id AND w.partition_key IS NULL AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL)
        OR EXISTS (SELECT FROM pawl.workflow w
            WHERE w.queue_id = q.queue_id AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL));

    RETURN QUERY SELECT 'warning', 'stuck_cancellation', l.workflow_name,
        format('%s named "%s" should have been cancelled over an hour ago, first "%s": a handler does not come to its end',
            pawl.count_of(l.n, 'workflow'), l.workflow_name, l.first),
        format('SELECT pawl.explain_workflow(%L);  -- if its worker hangs: systemctl restart pawld@NAME', l.first)
    FROM (
        SELECT w.workflow_name, count(DISTINCT w.workflow_key) AS n, (array_agg(w.workflow_id ORDER BY r.requested_at))[1] AS first
        FROM (
            SELECT c.workflow_key, c.requested_at FROM (SELECT * FROM pawl.cancel_request LIMIT 50000) c
            UNION ALL
            SELECT u.workflow_key, u.cancel_requested_at FROM (SELECT * FROM pawl.workflow ORDER BY created_at LIMIT 50000) u) r
            CROSS JOIN LATERAL (SELECT * FROM pawl.workflow u WHERE u.workflow_key = r.workflow_key LIMIT 1) w
        WHERE r.requested_at < now - interval '1 hour'
        GROUP BY w.workflow_name) l;

    RETURN QUERY SELECT 'warning', 'long_retry', format('%s, step %s', l.workflow_name, l.step_name),
        format('step "%s" of %s named "%s" has been tried again for over an hour, first of "%s"', l.step_name, pawl.count_of(l.n, 'workflow'),
            l.workflow_name, l.first),
        format('SELECT attempts, error FROM pawl.workflow_steps WHERE workflow_id = %L AND step_name = %L;', l.first, l.step_name)
    FROM (
        SELECT w.workflow_name, r.step_name, count(*) AS n, (array_agg(w.workflow_id ORDER BY r.since))[1] AS first
        FROM (SELECT s.workflow_key, s.step_name, coalesce(s.started_at, s.created_at) AS since FROM pawl.workflow_step s
                WHERE s.status = 'retrying' ORDER BY s.created_at LIMIT 50000) r
            CROSS JOIN LATERAL (SELECT * FROM pawl.workflow u WHERE u.workflow_key = r.workflow_key LIMIT 1) w
        WHERE r.since < now - interval '1 hour'
        GROUP BY w.workflow_name, r.step_name) l;

    RETURN QUERY SELECT 'warning', 'long_run', l.workflow_name,
        format('%s named "%s" ran for over an hour and recorded no step in the last, first "%s": a handler hangs, or one step takes that long',
            pawl.count_of(l.n, 'workflow'), l.workflow_name, l.first),
        format('SELECT pawl.explain_workflow(%L);  -- says which worker runs it; if it hangs: systemctl restart pawld@NAME', l.first)
    FROM (
        SELECT w.workflow_name, count(*) AS n, (array_agg(w.workflow_id ORDER BY w.claimed_at))[1] AS first
        FROM (SELECT * FROM pawl.workflow ORDER BY created_at LIMIT 50000) w
        WHERE w.claimed_at < now - interval '1 hour' AND w.claimed_by = ANY (ARRAY(SELECT l.worker_id FROM pawl.live_workers() l))
            -- What waits, is tried again or should be cancelled is known to.
            AND w.cancel_requested_at IS NULL AND NOT EXISTS (SELECT FROM pawl.cancel_request r WHERE r.workflow_key = w.workflow_key)
            AND (SELECT true FROM pawl.workflow_step s WHERE s.workflow_key = w.workflow_key
                AND (s.status IN ('waiting', 'retrying') OR s.completed_at > now - interval '1 hour') LIMIT 1) IS NULL
        GROUP BY w.workflow_name) l;

    RETURN QUERY SELECT 'warning', 'suspects', w.workflow_name,
        format('two crashes of workers in a row met %s named "%s", "%s" among them: each waits to run alone',
            pawl.count_of(count(*), 'workflow'), w.workflow_name, min(w.workflow_id)),
        'journalctl -u ''pawld@*'' -p warning  -- shows what the worker died of'
    FROM (SELECT * FROM pawl.workflow c WHERE c.crashes >= 2 AND c.ready_key IS NOT NULL AND c.claimed_by IS NULL LIMIT 10000) w
    GROUP BY w.workflow_name;

    RETURN QUERY SELECT 'warning', 'many_signals', 'pawl.signal',
        'over ten thousand signals wait: workflows do not hear of messages, ends of children and cancellations in time',
        'SELECT worker_name, status, heartbeat_at FROM pawl.workers;  -- start more workers, and look for long transactions'
    FROM (SELECT count(*) AS n FROM (SELECT FROM pawl.signal LIMIT 10001) s) c WHERE c.n > 10000;
END $$;
REVOKE ALL ON FUNCTION pawl.diagnose_work() FROM PUBLIC;
COMMENT ON FUNCTION pawl.diagnose_work() IS 'Internal: the findings about unfinished workflows and the queues they are in.';

CREATE FUNCTION pawl.diagnose_schedules() RETURNS TABLE (severity text, finding text, object text, message text, cure text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY SELECT 'warning', 'forgotten_pause', s.schedule_name,
        format('schedule "%s" was paused %s ago by %s%s, and its instants pass by', s.schedule_name, pawl.in_words(now - s.paused_at), s.paused_by,
            coalesce(' (' || s.paused_reason || ')', '')),
        format('SELECT pawl.resume_schedule(%L);', s.schedule_name)
    FROM pawl.schedule s WHERE s.paused_at < now - interval '1 day';

    RETURN QUERY SELECT 'error', 'late_schedule', s.schedule_name,
        format('schedule "%s" should have fired %s ago, and no worker did it', s.schedule_name, pawl.in_words(now - s.next_at)),
        'journalctl -u ''pawld@*'' -p warning'
    FROM pawl.schedule s WHERE s.next_at < now - interval '1 minute' AND EXISTS (SELECT FROM pawl.live_workers())
        AND NOT EXISTS (SELECT FROM pawl.installation i WHERE i.held_at IS NOT NULL);

    RETURN QUERY SELECT 'warning', 'schedule_error', s.schedule_name,
        format('schedule "%s" could not enqueue its latest instant: %s', s.schedule_name, s.last_error),
        format('SELECT pawl.alter_schedule(%L, queue => ''default'');  -- or whatever the message asks for', s.schedule_name)
    FROM pawl.schedule s WHERE s.last_error IS NOT NULL AND s.paused_at IS NULL;

    RETURN QUERY SELECT 'note', 'missed_instants', s.schedule_name,
        format('schedule "%s" has missed %s since it was made, the latest %s ago: nobody was there within its catch_up, or they could not be enqueued',
            s.schedule_name, pawl.count_of(s.missed, 'instant'), pawl.in_words(now - s.missed_at)),
        format('SELECT pawl.backfill_schedule(%L, now() - interval ''1 day'', now());  -- from before the first that is wanted', s.schedule_name)
    FROM pawl.schedule s WHERE s.missed_at > now - interval '1 day';

    RETURN QUERY SELECT 'warning', 'missing_handler', s.schedule_name,
        format('schedule "%s" enqueues "%s", and no live worker offers a handler of that name', s.schedule_name, s.workflow_name),
        'Put the plugin that has it into the plugin directory of a worker, and: systemctl reload pawld@NAME'
    FROM pawl.schedule s
    WHERE s.paused_at IS NULL AND EXISTS (SELECT FROM pawl.live_workers())
        AND NOT EXISTS (SELECT FROM pawl.live_workers() w JOIN pawl.worker_handler h ON h.worker_id = w.worker_id
            WHERE h.workflow_name = s.workflow_name)
        AND NOT EXISTS (SELECT FROM pawl.sql_handler h WHERE h.workflow_name = s.workflow_name);
END $$;
REVOKE ALL ON FUNCTION pawl.diagnose_schedules() FROM PUBLIC;
COMMENT ON FUNCTION pawl.diagnose_schedules() IS 'Internal: the findings about schedules.';

CREATE FUNCTION pawl.diagnose_access() RETURNS TABLE (severity text, finding text, object text, message text, cure text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH wanted AS (
        SELECT a.role_name, a.access, a.workflow_name, a.queue_name FROM pawl.access_rule a
        UNION SELECT w.role_name, 'work', NULL, NULL FROM pawl.live_workers() w),
    missing AS (
        SELECT w.role_name, w.access, w.workflow_name, w.queue_name, p.proname::text AS name
        FROM wanted w JOIN pg_roles r ON r.rolname = w.role_name
            JOIN pawl.access_routines() a ON a.access = w.access AND (a.narrowed OR (w.workflow_name IS NULL AND w.queue_name IS NULL))
            JOIN pg_proc p ON p.proname = a.routine_name AND p.pronamespace = 'pawl'::regnamespace
        WHERE NOT has_function_privilege(r.oid, p.oid, 'EXECUTE')
        UNION ALL
        SELECT w.role_name, w.access, NULL, NULL, c.relname
        FROM wanted w JOIN pg_roles r ON r.rolname = w.role_name
            JOIN pg_class c ON c.relnamespace = 'pawl'::regnamespace AND c.relkind = 'v'
        WHERE w.access IN ('observe', 'inspect') AND NOT has_table_privilege(r.oid, c.oid, 'SELECT'))
    SELECT CASE WHEN m.access = 'work' THEN 'error' ELSE 'warning' END, 'missing_grant', m.role_name,
        format('role %I should have the access %s and may not use pawl.%s%s', m.role_name, m.access, min(m.name),
            CASE WHEN count(*) > 1 THEN format(' and %s more', count(*) - 1) ELSE '' END),
        format('SELECT pawl.grant_access(%s);', concat_ws(', ', quote_literal(m.role_name), quote_literal(m.access),
            'workflow_name => ' || quote_literal(m.workflow_name), 'queue => ' || quote_literal(m.queue_name)))
    FROM missing m GROUP BY m.role_name, m.access, m.workflow_name, m.queue_name
    UNION ALL
    SELECT 'note', 'gone_role', a.role_name,
        format('pawl.grant_access granted %s to role %I, which does not exist any more', string_agg(DISTINCT a.access, ', '), a.role_name),
        format('DELETE FROM pawl.access_rule WHERE role_name = %L;', a.role_name)
    FROM pawl.access_rule a WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = a.role_name) GROUP BY a.role_name
$$;
REVOKE ALL ON FUNCTION pawl.diagnose_access() FROM PUBLIC;
COMMENT ON FUNCTION pawl.diagnose_access() IS 'Internal: the findings about who may do what.';

CREATE FUNCTION pawl.diagnose_database(open_for interval DEFAULT '15 minutes', dead_rows bigint DEFAULT 100000)
RETURNS TABLE (severity text, finding text, object text, message text, cure text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    held_back CONSTANT text := 'vacuum removes nothing that was deleted since, so pawl''s tables grow and claims slow down';
BEGIN
    RETURN QUERY SELECT 'warning', 'old_transaction', a.pid::text,
        format('process %s (role %s, application "%s", %s) has had a %s open for %s, its last query began %s ago: %s', a.pid, coalesce(a.usename, 'none'),
            a.application_name, coalesce(a.state, a.backend_type), CASE WHEN a.backend_xid IS NULL THEN 'snapshot' ELSE 'transaction' END,
            pawl.in_words(now - a.xact_start), pawl.in_words(now - a.query_start), held_back),
        format('SELECT pg_terminate_backend(%s);', a.pid)
    FROM pg_stat_activity a
    WHERE (a.datid IS NULL OR a.datname = current_database()) AND a.xact_start <= now - open_for
        AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL) AND a.pid <> pg_backend_pid() AND a.backend_type <> 'autovacuum worker';
    RETURN QUERY SELECT 'warning', 'prepared_transaction', p.gid,
        format('transaction "%s" of role %s was prepared %s ago and neither committed nor rolled back: %s', p.gid, p.owner, pawl.in_words(now - p.prepared), held_back),
        format('ROLLBACK PREPARED %L;  -- or COMMIT PREPARED, whatever its coordinator decided', p.gid)
    FROM pg_prepared_xacts p WHERE p.database = current_database() AND p.prepared <= now - open_for;
    RETURN QUERY SELECT 'warning', 'unused_slot', s.slot_name::text,
        format('nobody reads the replication slot "%s": it keeps WAL%s', s.slot_name,
            CASE WHEN s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL THEN ', and ' || held_back ELSE ' until the disk is full' END),
        format('SELECT pg_drop_replication_slot(%L);  -- or start its standby or subscriber again', s.slot_name)
    FROM pg_replication_slots s
    WHERE NOT s.active AND (s.restart_lsn IS NOT NULL OR s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL);
    RETURN QUERY SELECT 'warning', 'autovacuum_off', c.oid::regclass::text, format('autovacuum is switched off for %s', c.oid::regclass),
        format('ALTER TABLE %s RESET (autovacuum_enabled);', c.oid::regclass)
    FROM pg_class c CROSS JOIN LATERAL pg_options_to_table(c.reloptions) o
    WHERE c.relnamespace = 'pawl'::regnamespace AND o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean;
    RETURN QUERY SELECT 'warning', 'vacuum_behind', c.oid::regclass::text,
        format('%s dead rows wait for vacuum in %s, beside %s live ones', pg_stat_get_dead_tuples(c.oid), c.oid::regclass, pg_stat_get_live_tuples(c.oid)),
        format('VACUUM (ANALYZE) %s;', c.oid::regclass)
    FROM pg_class c
    WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind = 'r'
        AND pg_stat_get_dead_tuples(c.oid) >= greatest(dead_rows, pg_stat_get_live_tuples(c.oid));

    PERFORM pawl.may_inspect();         -- loads the library, and with it its settings
    RETURN QUERY SELECT f.severity, 'setting', s.name, format('%s is %s: %s', s.name, s.reset_val, f.message),
        CASE WHEN s.context = 'postmaster' THEN format('ALTER SYSTEM SET %s = %s;  -- and restart the server', s.name, f.better)
            WHEN s.name LIKE 'pawl.%' THEN format('ALTER DATABASE %I RESET %s;', current_database(), s.name)
            ELSE format('ALTER SYSTEM SET %s = %s; SELECT pg_reload_conf();', s.name, f.better) END
    FROM pg_settings s JOIN (VALUES
        ('error', 'autovacuum', 'off', 'on', 'dead rows are never removed, and pawl''s tables grow without end'),
        ('error', 'track_counts', 'off', 'on', 'autovacuum does not work without it'),
        ('error', 'fsync', 'off', 'on', 'a crash of the machine can destroy the database'),
        ('error', 'full_page_writes', 'off', 'on', 'a crash of the machine can destroy the database, unless its storage writes whole pages'),
        ('warning', 'synchronous_commit', 'off', 'on', 'a crash of the server loses the last commits, although callers were told of them'),
        ('warning', 'pawl.poll_interval', '0', NULL, 'workers never find prepared transactions, replicated rows, and rows written by other means')
        ) f (severity, name, value, better, message) ON f.name = s.name AND f.value = s.reset_val;

    RETURN QUERY SELECT 'error', 'sequence_end', 'pawl.' || l.name,
        format('pawl.%s is at %s of %s; at its end %s', l.name, pg_sequence_last_value(q.seqrelid), q.seqmax, l.then_what), l.cure
    FROM pg_sequence q JOIN (VALUES
        ('key_seq', 'nothing can be enqueued', 'Enqueue what is unfinished in a new database: this one has no keys left'),
        ('queue_id_seq', 'no queue can be made', 'Make it in a new database: this one has no ids left'),
        ('worker_number_seq', 'no worker can register', 'ALTER SEQUENCE pawl.worker_number_seq RESTART;')
        ) l (name, then_what, cure) ON q.seqrelid = ('pawl.' || l.name)::regclass
    WHERE pg_sequence_last_value(q.seqrelid) > q.seqmax / 10 * 9;

    RETURN QUERY SELECT 'note', 'missing_partition', 'pawl.' || pawl.history_partition_name(m.at),
        format('the history has no partition for %s; a heartbeat makes those of this month and the next', to_char(m.at AT TIME ZONE 'UTC', 'YYYY-MM')),
        format('SELECT pawl.add_history_partition(%L);', to_char(m.at AT TIME ZONE 'UTC', 'YYYY-MM-DD'))
    FROM (VALUES (now), (now + interval '1 month')) m (at)
    WHERE to_regclass('pawl.' || pawl.history_partition_name(m.at)) IS NULL AND EXISTS (SELECT FROM pawl.live_workers());

    RETURN QUERY SELECT 'error', 'extension_version', 'pawl',
        format('the files of pawl %s are installed, and this database has %s', a.default_version, a.installed_version), 'ALTER EXTENSION pawl UPDATE;'
    FROM pg_available_extensions a WHERE a.name = 'pawl' AND a.installed_version <> a.default_version;
END $$;
REVOKE ALL ON FUNCTION pawl.diagnose_database(interval, bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.diagnose_database(interval, bigint) IS
'Internal: the findings about the server and the database. open_for: from when on a transaction is old; dead_rows: how many dead rows are many.';

CREATE FUNCTION pawl.diagnose() RETURNS TABLE (severity text, finding text, object text, message text, cure text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT f.severity, f.finding, f.object, f.message, f.cure
    FROM (SELECT * FROM pawl.diagnose_workers() UNION ALL SELECT * FROM pawl.diagnose_work()
        UNION ALL SELECT * FROM pawl.diagnose_schedules() UNION ALL SELECT * FROM pawl.diagnose_access() UNION ALL SELECT * FROM pawl.diagnose_database()) f
    ORDER BY array_position(ARRAY['error', 'warning', 'note'], f.severity), f.finding, f.object
$$;
REVOKE ALL ON FUNCTION pawl.diagnose() FROM PUBLIC;
COMMENT ON FUNCTION pawl.diagnose() IS
'What is wrong with this installation, worst first; no row: nothing was found. docs/operations.md lists the findings. Of unfinished workflows it looks at
the 50,000 oldest and the 50,000 newest. pawl doctor asks it, and looks at the machine it runs on too.
Result: severity (error: something does not run, or can be lost; warning: it hurts, or will; note: worth knowing), finding (a code), object (what it is
about), message (what happened), cure (the SQL statement or the command that mends it).';
