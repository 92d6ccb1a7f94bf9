-- Queues: made, altered, paused. What their limits mean is in extension/src/gate.c, where claims keep to them.

CREATE FUNCTION pawl.check_limit(argument text, value integer, lowest integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF value < lowest OR value > 1000000 THEN
        PERFORM pawl.refuse_argument(format('%s must be from %s to 1000000', argument, lowest), format('It is %s.', value),
            CASE lowest WHEN 0 THEN '0 lets nothing start.' ELSE 'pawl.pause_queue lets nothing start.' END
                || ' For no limit leave it out, or give pawl.alter_queue -1.');
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_limit(text, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_limit(text, integer, integer) IS 'Internal: refuses a limit that cannot be; NULL is none.';

-- The caller has locked the queue's row. Whoever claims from it goes by the old limits until then; later claims see these.
CREATE FUNCTION pawl.set_limits(queue_id integer, concurrency integer, worker_concurrency integer, rate_limit integer, rate_period interval,
    partition_concurrency integer, hold_while_waiting boolean)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    id ALIAS FOR $1;
    held CONSTANT boolean := (SELECT q.hold_while_waiting FROM pawl.queue q WHERE q.queue_id = id);
    marks integer;
    slots integer;
    latest timestamptz[];   -- first starts that the new limit has to remember, the last one first
BEGIN
    PERFORM pawl.check_limit('concurrency', set_limits.concurrency, 0), pawl.check_limit('worker_concurrency', set_limits.worker_concurrency, 0),
        pawl.check_limit('partition_concurrency', set_limits.partition_concurrency, 0), pawl.check_limit('rate_limit', set_limits.rate_limit, 1);
    IF (set_limits.rate_limit IS NULL) <> (set_limits.rate_period IS NULL) THEN
        PERFORM pawl.refuse_argument('rate_limit and rate_period belong together',
            format('%s is missing.', CASE WHEN set_limits.rate_limit IS NULL THEN 'rate_limit' ELSE 'rate_period' END),
            'rate_limit => 50, rate_period => ''1 second'' lets 50 start in any second.');
    ELSIF set_limits.rate_period <= interval '0' OR set_limits.rate_period > interval '366 days' THEN
        PERFORM pawl.refuse_argument('rate_period must be positive, and at most 366 days', format('It is %s.', set_limits.rate_period),
            'Give an interval like ''1 second'' or ''1 hour''.');
    ELSIF set_limits.hold_while_waiting IS NULL THEN
        PERFORM pawl.refuse_argument('hold_while_waiting must not be null', 'It is whether a parked workflow still counts as running.',
            'Leave it out for false.');
    END IF;

    PERFORM pawl.mark_locks();
    -- What runs in a queue that had no limit is counted by the first claim after this.
    INSERT INTO pawl.queue_gate (queue_id, counted) VALUES (id, false) ON CONFLICT DO NOTHING;
    PERFORM FROM pawl.queue_gate g WHERE g.queue_id = id FOR UPDATE;
    UPDATE pawl.queue q SET concurrency = set_limits.concurrency, worker_concurrency = set_limits.worker_concurrency,
        rate_limit = set_limits.rate_limit, rate_period = set_limits.rate_period, partition_concurrency = set_limits.partition_concurrency,
        hold_while_waiting = set_limits.hold_while_waiting WHERE q.queue_id = id;

    -- A permit that was kept before hold_while_waiting was switched off may be another's by now. Those that woke up get a new place: claims have
    -- passed them by while they are locked.
    IF set_limits.hold_while_waiting AND NOT held THEN
        WITH forgotten AS (
            UPDATE pawl.workflow w SET running_in = NULL, ready_key = CASE WHEN w.ready_key IS NOT NULL THEN nextval('pawl.key_seq') END
            WHERE w.workflow_key = ANY (ARRAY(
                SELECT l.workflow_key FROM pawl.workflow l WHERE l.running_in = id AND l.claimed_by IS NULL ORDER BY l.workflow_key FOR NO KEY UPDATE))
            RETURNING w.queue_id, w.rank, w.ready_key, w.workflow_name, w.workflow_version, w.partition_key),
        marked AS MATERIALIZED (
            SELECT pawl.mark_ready(f.queue_id, f.rank, f.ready_key, f.workflow_name, f.workflow_version, f.partition_key IS NOT NULL)
            FROM forgotten f WHERE f.ready_key IS NOT NULL)
        SELECT count(*) INTO marks FROM marked;
    END IF;

    SELECT count(*) INTO slots FROM pawl.queue_rate_slot s WHERE s.queue_id = id;
    IF slots <> coalesce(set_limits.rate_limit, 0) THEN
        latest := ARRAY(SELECT s.used_at FROM pawl.queue_rate_slot s WHERE s.queue_id = id ORDER BY s.used_at DESC
            LIMIT coalesce(set_limits.rate_limit, 0));
        DELETE FROM pawl.queue_rate_slot s WHERE s.queue_id = id;
        INSERT INTO pawl.queue_rate_slot (queue_id, slot, used_at)
            SELECT id, i, coalesce(latest[set_limits.rate_limit - i], '-infinity') FROM generate_series(0, set_limits.rate_limit - 1) i;
        UPDATE pawl.queue_gate g SET next_slot = 0 WHERE g.queue_id = id;
    END IF;
    UPDATE pawl.queue_gate g SET counted = false FROM pawl.queue q WHERE g.queue_id = id AND q.queue_id = id AND NOT q.limited AND g.counted;
    PERFORM pawl.invalidate_caches(), pawl.mark_all();
END $$;
REVOKE ALL ON FUNCTION pawl.set_limits(integer, integer, integer, integer, interval, integer, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.set_limits(integer, integer, integer, integer, interval, integer, boolean) IS
'Internal: gives a queue these limits, once they are found to be possible; a rate limit remembers the starts that the one before it knew of.';

-- Queue 0, default, is there without a row; whoever changes it makes the row.
CREATE FUNCTION pawl.lock_queue(name text) RETURNS pawl.queue LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known pawl.queue;
BEGIN
    PERFORM pawl.check_name('name', name, 128);
    IF name = 'default' THEN
        INSERT INTO pawl.queue (queue_id, queue_name, created_by) VALUES (0, 'default', pawl.outer_user()) ON CONFLICT DO NOTHING;
    END IF;
    SELECT q.* INTO known FROM pawl.queue q WHERE q.queue_name = name FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PW005', MESSAGE = format('queue "%s" does not exist', name), DETAIL = 'Nothing was changed.',
            HINT = coalesce(format('Perhaps you meant "%s"; or make', pawl.nearest(name, ARRAY(SELECT q.queue_name FROM pawl.queue q ORDER BY q.queue_id LIMIT 99))),
                'Make') || format(' it with: SELECT pawl.create_queue(%L);', name);
    END IF;
    RETURN known;
END $$;
REVOKE ALL ON FUNCTION pawl.lock_queue(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.lock_queue(text) IS 'Internal: the row of a queue, locked; PW005 if there is none.';

CREATE FUNCTION pawl.create_queue(name text, concurrency integer DEFAULT NULL, worker_concurrency integer DEFAULT NULL,
    rate_limit integer DEFAULT NULL, rate_period interval DEFAULT NULL, partition_concurrency integer DEFAULT NULL,
    hold_while_waiting boolean DEFAULT false, on_existing text DEFAULT 'raise', options jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    new_id integer;
BEGIN
    PERFORM pawl.check_name('name', create_queue.name, 128);
    IF on_existing IS NULL OR on_existing NOT IN ('raise', 'keep', 'replace') THEN
        PERFORM pawl.refuse_argument('on_existing is not one of raise, keep, replace', format('It is %s.', coalesce(quote_literal(on_existing), 'null')),
            'raise: an error if the queue exists; keep: leave it as it is; replace: give it these limits.');
    END IF;
    PERFORM pawl.check_options(options, '{}', ARRAY['concurrency', 'worker_concurrency', 'rate_limit', 'rate_period',
        'partition_concurrency', 'hold_while_waiting', 'on_existing']);
    IF create_queue.name <> 'default' THEN
        INSERT INTO pawl.queue (queue_name, created_by) VALUES (create_queue.name, pawl.outer_user()) ON CONFLICT DO NOTHING
            RETURNING queue_id INTO new_id;
    END IF;
    IF new_id IS NOT NULL THEN
        -- Nothing can be running in it.
        INSERT INTO pawl.queue_gate (queue_id, counted) VALUES (new_id, true);
    ELSIF on_existing = 'raise' THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('queue "%s" exists', create_queue.name),
            DETAIL = CASE create_queue.name WHEN 'default' THEN 'The queue default is always there.' ELSE 'Nothing was changed.' END,
            HINT = 'Give on_existing => ''keep'' to leave it as it is, or ''replace'' to give it these limits.';
    ELSIF on_existing = 'keep' THEN
        RETURN;
    ELSE
        new_id := (pawl.lock_queue(create_queue.name)).queue_id;
    END IF;
    PERFORM pawl.set_limits(new_id, create_queue.concurrency, create_queue.worker_concurrency, create_queue.rate_limit, create_queue.rate_period,
            create_queue.partition_concurrency, create_queue.hold_while_waiting),
        pawl.record_action('create_queue', 'queue', ARRAY[create_queue.name], NULL, nullif(jsonb_strip_nulls(jsonb_build_object(
            'concurrency', create_queue.concurrency, 'worker_concurrency', create_queue.worker_concurrency, 'rate_limit', create_queue.rate_limit,
            'rate_period', create_queue.rate_period, 'partition_concurrency', create_queue.partition_concurrency,
            'hold_while_waiting', nullif(create_queue.hold_while_waiting, false))), '{}'));
END $$;
REVOKE ALL ON FUNCTION pawl.create_queue(text, integer, integer, integer, interval, integer, boolean, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.create_queue(text, integer, integer, integer, interval, integer, boolean, text, jsonb) IS
'Makes a queue. Limits hold over all workers, exactly, from one commit to the next; NULL is no limit, and a queue without limits costs nothing for them.
name: 1 to 128 bytes; "default" is always there.
concurrency: how many of it may run at once; 0 lets nothing start.
worker_concurrency: how many of it may run at once in one worker.
rate_limit, rate_period: how many may start in any period of that length. First starts count; what wakes up or is run again after a crash takes none.
partition_concurrency: how many of each partition_key may run at once. Partitions are served in turn, with this limit or without.
hold_while_waiting: a workflow that waits in rows only (a long sleep, a message, a child) still counts as running, and goes on without a new permit.
on_existing: raise (42710), keep (leave it as it is) or replace (give it these limits; what it holds stays).
options: a JSON object; there are no options yet, and an unknown key is an error that names the nearest.';

CREATE FUNCTION pawl.alter_queue(name text, concurrency integer DEFAULT NULL, worker_concurrency integer DEFAULT NULL,
    rate_limit integer DEFAULT NULL, rate_period interval DEFAULT NULL, partition_concurrency integer DEFAULT NULL,
    hold_while_waiting boolean DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    old pawl.queue;
BEGIN
    PERFORM pawl.check_options(options, '{}', ARRAY['concurrency', 'worker_concurrency', 'rate_limit', 'rate_period',
        'partition_concurrency', 'hold_while_waiting']);
    old := pawl.lock_queue(alter_queue.name);
    IF alter_queue.rate_limit = -1 AND alter_queue.rate_period IS NOT NULL THEN
        PERFORM pawl.refuse_argument('rate_limit and rate_period belong together', 'rate_limit is -1, no limit, and rate_period is given.',
            'Leave rate_period out: it goes with the limit.');
    END IF;
    PERFORM pawl.set_limits(old.queue_id,
            nullif(coalesce(alter_queue.concurrency, old.concurrency), -1), nullif(coalesce(alter_queue.worker_concurrency, old.worker_concurrency), -1),
            nullif(coalesce(alter_queue.rate_limit, old.rate_limit), -1),
            CASE WHEN alter_queue.rate_limit IS DISTINCT FROM -1 THEN coalesce(alter_queue.rate_period, old.rate_period) END,
            nullif(coalesce(alter_queue.partition_concurrency, old.partition_concurrency), -1),
            coalesce(alter_queue.hold_while_waiting, old.hold_while_waiting)),
        pawl.record_action('alter_queue', 'queue', ARRAY[alter_queue.name], NULL, jsonb_strip_nulls(jsonb_build_object(
            'concurrency', alter_queue.concurrency, 'worker_concurrency', alter_queue.worker_concurrency, 'rate_limit', alter_queue.rate_limit,
            'rate_period', alter_queue.rate_period, 'partition_concurrency', alter_queue.partition_concurrency,
            'hold_while_waiting', alter_queue.hold_while_waiting)));
END $$;
REVOKE ALL ON FUNCTION pawl.alter_queue(text, integer, integer, integer, interval, integer, boolean, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.alter_queue(text, integer, integer, integer, interval, integer, boolean, jsonb) IS
'Changes limits of a queue, at once for every claim that begins after this commits. What runs goes on: a lower limit only stops new starts.
name: PW005 if there is none; "default" can be altered too.
concurrency, worker_concurrency, rate_limit, rate_period, partition_concurrency, hold_while_waiting: as in pawl.create_queue. NULL leaves it as it is, -1 is
no limit; rate_limit -1 takes rate_period along.
options: a JSON object; there are no options yet, and an unknown key is an error that names the nearest.
Claims of this queue pass it by until the end of this transaction.';

CREATE FUNCTION pawl.pause_queue(name text, reason text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF reason IS NOT NULL THEN
        PERFORM pawl.check_name('reason', reason, 1024);
    END IF;
    IF (pawl.lock_queue(name)).paused_at IS NOT NULL THEN
        RETURN false;
    END IF;
    UPDATE pawl.queue q SET paused_at = clock_timestamp(), paused_by = pawl.outer_user(), paused_reason = reason WHERE q.queue_name = name;
    PERFORM pawl.record_action('pause_queue', 'queue', ARRAY[name], reason), pawl.mark_pause();
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.pause_queue(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.pause_queue(text, text) IS
'Lets nothing of a queue start, nor go on that was parked, until pawl.resume_queue. What runs goes on; enqueueing works as before. True: it is paused now;
false: it was paused already.
Once it is committed nothing more starts: the commit waits for claims that are under way, some milliseconds. If one takes over 2 s, it fails (55P03) and the
queue is not paused. A transaction prepared for two-phase commit does not wait.
name: PW005 if there is none.
reason: 1 to 1024 bytes, for people: pawl.queues shows it.';

CREATE FUNCTION pawl.resume_queue(name text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (pawl.lock_queue(name)).paused_at IS NULL THEN
        RETURN false;
    END IF;
    UPDATE pawl.queue q SET paused_at = NULL, paused_by = NULL, paused_reason = NULL WHERE q.queue_name = name;
    PERFORM pawl.record_action('resume_queue', 'queue', ARRAY[name], NULL), pawl.mark_all();
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.resume_queue(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.resume_queue(text) IS
'Lets the workflows of a paused queue run again, at once. True: it was paused; false: it was not.
name: PW005 if there is none.';

CREATE FUNCTION pawl.drop_queue(name text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id integer;
    unfinished bigint;
BEGIN
    PERFORM pawl.check_name('name', name, 128);
    IF name = 'default' THEN
        PERFORM pawl.refuse_argument('queue "default" cannot be dropped', 'It is where workflows go that name no queue.',
            'SELECT pawl.pause_queue(''default''); lets nothing of it start.');
    END IF;
    SELECT q.queue_id INTO id FROM pawl.queue q WHERE q.queue_name = name FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    SELECT count(*) INTO unfinished FROM pawl.workflow w WHERE w.queue_id = id;
    IF unfinished > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'object_in_use', MESSAGE = format('queue "%s" is not empty', name),
            DETAIL = format('It has %s unfinished %s.', unfinished, CASE unfinished WHEN 1 THEN 'workflow' ELSE 'workflows' END),
            HINT = format('Cancel them or let them end: SELECT workflow_id, status FROM pawl.workflows WHERE queue = %L;', name);
    END IF;
    PERFORM pawl.mark_locks();
    DELETE FROM pawl.queue_gate g WHERE g.queue_id = id;
    DELETE FROM pawl.queue_rate_slot s WHERE s.queue_id = id;
    DELETE FROM pawl.queue q WHERE q.queue_id = id;
    PERFORM pawl.invalidate_caches(), pawl.record_action('drop_queue', 'queue', ARRAY[name], NULL);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.drop_queue(text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.drop_queue(text) IS
'Drops an empty queue. True: it is gone; false: there was none. Ended workflows of it stay, without the name of a queue.
name: 55006 while it has unfinished workflows; "default" cannot be dropped.
Enqueue nothing into it meanwhile: what another transaction has enqueued and commits after this belongs to no queue.';
