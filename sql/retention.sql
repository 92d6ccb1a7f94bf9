-- What has ended is deleted when it is old enough, in batches, by whichever worker's heartbeat finds that it is time.
-- The history has no index by name: nothing more that a completion would have to pay for. A walk goes through what ended, in the order of time, a
-- stretch at a time. There is one for each age that some rule names, and it comes by every row once, when the row reaches that age; and one that lists
-- those of which only so many are kept.

CREATE FUNCTION pawl.set_retention(workflow_name text DEFAULT NULL, queue text DEFAULT NULL, succeeded interval DEFAULT NULL,
    failed interval DEFAULT NULL, keep bigint DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    -- Stored as days and seconds, so that equal ages are the same; for ever is -1.
    succeeded_after CONSTANT interval := pawl.normal_age(set_retention.succeeded);
    failed_after CONSTANT interval := pawl.normal_age(set_retention.failed);
BEGIN
    IF set_retention.workflow_name IS NOT NULL THEN
        PERFORM pawl.check_name('workflow_name', set_retention.workflow_name, 128);
    END IF;
    IF set_retention.workflow_name IS NOT NULL AND set_retention.queue IS NOT NULL THEN
        PERFORM pawl.refuse_argument('a retention is for a workflow_name or for a queue', 'Both were given.',
            'Give one of them, or neither for the default. One for a name is followed whatever the queue.');
    END IF;
    IF set_retention.queue <> 'default' AND NOT EXISTS (SELECT FROM pawl.queue q WHERE q.queue_name = set_retention.queue) THEN
        RAISE EXCEPTION USING ERRCODE = 'PW005', MESSAGE = format('queue "%s" does not exist', set_retention.queue),
            HINT = format('Make it with: SELECT pawl.create_queue(%L);', set_retention.queue);
    END IF;
    IF set_retention.keep NOT BETWEEN 0 AND 100000 THEN
        PERFORM pawl.refuse_argument('keep is out of range', format('It is %s.', set_retention.keep),
            'Give 0 to 100000, or NULL for no bound. More than that is kept by age: give succeeded and failed.');
    END IF;

    DELETE FROM pawl.retention_rule r WHERE r.workflow_name IS NOT DISTINCT FROM set_retention.workflow_name
        AND r.queue_name IS NOT DISTINCT FROM set_retention.queue;
    IF num_nonnulls(succeeded_after, failed_after, set_retention.keep) > 0 THEN
        INSERT INTO pawl.retention_rule (workflow_name, queue_name, succeeded, failed, keep, changed_by)
            VALUES (set_retention.workflow_name, set_retention.queue, succeeded_after, failed_after, set_retention.keep, pawl.outer_user());
    END IF;
    -- Other rules now reach what the walks have passed.
    DELETE FROM pawl.retention_walk;
    DELETE FROM pawl.retention_kept WHERE true;
    UPDATE pawl.installation SET retention_at = NULL WHERE retention_at IS NOT NULL;
    PERFORM pawl.record_action('set_retention', 'retention', ARRAY[coalesce(set_retention.workflow_name, set_retention.queue, 'default')], NULL,
        jsonb_strip_nulls(jsonb_build_object('workflow_name', set_retention.workflow_name, 'queue', set_retention.queue,
            'succeeded', set_retention.succeeded, 'failed', set_retention.failed, 'keep', set_retention.keep)));
END $$;
REVOKE ALL ON FUNCTION pawl.set_retention(text, text, interval, interval, bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.set_retention(text, text, interval, interval, bigint) IS
'Says how long ended workflows are kept, with all that belongs to them: steps, payloads, messages, events and streams. What is unfinished is never
deleted, nor what an unfinished workflow started or waits for. Until it is called, what succeeded is kept for 30 days, and what failed or was cancelled
for 90. pawl.retention shows what is in force. Workers delete in small batches, so what is past its time may still be there for an hour or so.
workflow_name: for the workflows of this name; queue: for those of this queue, if there is none for their name. Neither: for all others. Not both: which
of three kinds of rule holds for one would be hard to foresee, and what is to be kept apart can have a queue of its own.
succeeded, failed: how long after its end one that succeeded, and one that failed or was cancelled, is kept; a month is 30 days. ''-1'' or anything over
1000 years (''infinity'' from PostgreSQL 17): for ever. NULL: as the default says.
keep: at most so many of them are kept, the newest of all ends; NULL: any number. This bound and the ages both hold. Up to 100000, for each of them is
in a list, pawl.retention_kept, that is gone through for every 10,000 that end; more than that is kept by age.
All three NULL: as if it had never been called for them.
Errors: 22023 for what cannot be; PW005 for a queue that does not exist.';

CREATE FUNCTION pawl.retention_in_force() RETURNS TABLE (workflow_name text, queue text, succeeded interval, failed interval, keep bigint,
    changed_at timestamptz, changed_by text, inherited text[], rule_key bigint, queue_id integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH rules AS (
        SELECT r.workflow_name, r.queue_name, r.succeeded, r.failed, r.keep, r.changed_at, r.changed_by, r.rule_key FROM pawl.retention_rule r
        UNION ALL
        SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
        WHERE NOT EXISTS (SELECT FROM pawl.retention_rule d WHERE d.workflow_name IS NULL AND d.queue_name IS NULL))
    SELECT r.workflow_name, r.queue_name,
        nullif(coalesce(r.succeeded, d.succeeded, interval '30 days'), interval '-1 second'),
        nullif(coalesce(r.failed, d.failed, interval '90 days'), interval '-1 second'),
        r.keep, r.changed_at, r.changed_by,
        array_remove(ARRAY[CASE WHEN r.succeeded IS NULL THEN 'succeeded' END, CASE WHEN r.failed IS NULL THEN 'failed' END], NULL), r.rule_key,
        CASE r.queue_name WHEN 'default' THEN 0 ELSE (SELECT q.queue_id FROM pawl.queue q WHERE q.queue_name = r.queue_name) END
    FROM rules r JOIN rules d ON d.workflow_name IS NULL AND d.queue_name IS NULL
$$;
REVOKE ALL ON FUNCTION pawl.retention_in_force() FROM PUBLIC;
COMMENT ON FUNCTION pawl.retention_in_force() IS 'Internal: the retention rules, with what they leave to the default filled in. NULL ages: for ever.';

CREATE FUNCTION pawl.normal_age(age interval) RETURNS interval LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE WHEN age < interval '0' OR age > interval '1000 years' THEN interval '-1 second'
        ELSE justify_hours(make_interval(secs => extract(epoch FROM age)::double precision)) END;
END $$;
REVOKE ALL ON FUNCTION pawl.normal_age(interval) FROM PUBLIC;
COMMENT ON FUNCTION pawl.normal_age(interval) IS 'Internal: an age as days and less, with 30 days for a month; -1 second: for ever.';

-- A restored copy that is held deletes nothing: somebody may have restored it for what is old.
CREATE FUNCTION pawl.retention_is_due() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pawl.installation i WHERE i.held_at IS NULL AND coalesce(i.retention_at <= clock_timestamp(), true))
$$;
REVOKE ALL ON FUNCTION pawl.retention_is_due() FROM PUBLIC;
COMMENT ON FUNCTION pawl.retention_is_due() IS 'Internal: whether it is time for pawl.run_retention.';

-- How many of them one transaction should delete: whoever has 50,000 steps goes alone.
CREATE FUNCTION pawl.bound_erasure(workflow_keys bigint[]) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    most CONSTANT integer := 20000;
    rows integer := 0;
    n integer := 0;
    k bigint;
BEGIN
    FOREACH k IN ARRAY workflow_keys LOOP
        rows := rows + 1
            + (SELECT count(*) FROM (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = k LIMIT most) x)
            + (SELECT count(*) FROM (SELECT FROM pawl.message m WHERE m.workflow_key = k LIMIT most) x)
            + (SELECT count(*) FROM (SELECT FROM pawl.event e WHERE e.workflow_key = k LIMIT most) x)
            + (SELECT count(*) FROM (SELECT FROM pawl.stream_entry e WHERE e.workflow_key = k LIMIT most) x);
        EXIT WHEN rows > most AND n > 0;
        n := n + 1;
    END LOOP;
    RETURN workflow_keys[:n];
END $$;
REVOKE ALL ON FUNCTION pawl.bound_erasure(bigint[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.bound_erasure(bigint[]) IS 'Internal: the first of these workflows, as many as have about 20,000 rows together, at least one.';

-- What was deleted or resumed since it was listed does not count.
CREATE FUNCTION pawl.prune_kept(rule_key bigint, until timestamptz) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM pawl.retention_kept k WHERE k.rule_key = prune_kept.rule_key AND k.completed_at <= until AND (
        SELECT true FROM pawl.workflow_history h WHERE h.workflow_key = k.workflow_key AND h.completed_at = k.completed_at LIMIT 1) IS NULL;
END $$;
REVOKE ALL ON FUNCTION pawl.prune_kept(bigint, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.prune_kept(bigint, timestamptz) IS
'Internal: of what a retention rule lists, and ended until then, takes off the list what is gone.';

-- What was gone when something was listed last is not counted; what has gone since is: as if this had come by before.
CREATE FUNCTION pawl.erase_surplus(most integer) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    rule record;
    keys bigint[];
    last timestamptz;
BEGIN
    FOR rule IN
        SELECT r.rule_key, l.listed - r.keep AS surplus
        FROM pawl.retention_rule r, LATERAL (SELECT count(*) AS listed FROM pawl.retention_kept k WHERE k.rule_key = r.rule_key) l
        WHERE r.keep < l.listed ORDER BY r.rule_key
    LOOP
        -- The oldest that nobody waits for.
        SELECT array_agg(o.workflow_key ORDER BY o.completed_at, o.workflow_key), max(o.completed_at) INTO keys, last FROM (
            SELECT k.workflow_key, k.completed_at
            FROM (SELECT k.workflow_key, k.completed_at FROM pawl.retention_kept k WHERE k.rule_key = rule.rule_key
                    ORDER BY k.completed_at, k.workflow_key LIMIT rule.surplus) k,
                LATERAL (SELECT h.parent_key FROM pawl.workflow_history h
                    WHERE h.workflow_key = k.workflow_key AND h.completed_at = k.completed_at LIMIT 1) h
            WHERE (SELECT true FROM pawl.waiter w WHERE w.target_key = k.workflow_key LIMIT 1) IS NULL
                AND (SELECT true FROM pawl.workflow p WHERE p.workflow_key = h.parent_key LIMIT 1) IS NULL
            LIMIT most) o;
        IF pawl.erase_workflows(pawl.bound_erasure(coalesce(keys, '{}'))) > 0 THEN
            PERFORM pawl.prune_kept(rule.rule_key, last);
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END $$;
REVOKE ALL ON FUNCTION pawl.erase_surplus(integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.erase_surplus(integer) IS 'Internal: deletes some of what is over the count of a retention rule. Answers whether it deleted any.';

-- One stretch of a walk. What it has read is behind it, so that nothing is read twice, whatever became of it.
CREATE FUNCTION pawl.walk_ended(age interval, until timestamptz, most integer, INOUT walked_to timestamptz, INOUT walked_key bigint,
    OUT keys bigint[], OUT enough boolean, OUT finished boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
#variable_conflict use_column
DECLARE
    longest CONSTANT integer := 10000;
    ended record;
    rows integer := 0;
    times timestamptz[] := '{}';
    rule_keys bigint[] := '{}';
    light integer;
BEGIN
    keys := '{}';
    enough := false;
    FOR ended IN
        WITH rules AS MATERIALIZED (SELECT r.* FROM pawl.retention_in_force() r)
        SELECT h.workflow_key, h.completed_at, r.rule_key, r.meant
        FROM pawl.workflow_history h CROSS JOIN LATERAL (
            SELECT r.rule_key, CASE WHEN walk_ended.age IS NULL THEN r.keep IS NOT NULL
                WHEN h.status = 'succeeded' THEN r.succeeded = walk_ended.age ELSE r.failed = walk_ended.age END AS meant
            FROM rules r
            WHERE r.workflow_name = h.workflow_name OR (r.workflow_name IS NULL AND coalesce(r.queue_id = h.queue_id, r.queue IS NULL))
            ORDER BY r.workflow_name, r.queue LIMIT 1) r
        WHERE h.completed_at >= walk_ended.walked_to AND h.completed_at < until
            AND (h.completed_at, h.workflow_key) > (walk_ended.walked_to, walk_ended.walked_key)
        ORDER BY h.completed_at, h.workflow_key LIMIT longest
    LOOP
        rows := rows + 1;
        walked_to := ended.completed_at;
        walked_key := ended.workflow_key;
        CONTINUE WHEN ended.meant IS NOT TRUE;
        keys := keys || ended.workflow_key;
        times := times || ended.completed_at;
        rule_keys := rule_keys || ended.rule_key;
        enough := walk_ended.age IS NOT NULL AND cardinality(keys) = most;
        EXIT WHEN enough;
    END LOOP;
    IF walk_ended.age IS NULL THEN
        INSERT INTO pawl.retention_kept (rule_key, completed_at, workflow_key) SELECT * FROM unnest(rule_keys, times, keys) ON CONFLICT DO NOTHING;
        PERFORM pawl.prune_kept(r.rule_key, 'infinity') FROM pawl.retention_rule r WHERE r.rule_key = ANY (rule_keys)
            AND r.keep < (SELECT count(*) FROM pawl.retention_kept k WHERE k.rule_key = r.rule_key);
        keys := '{}';
    ELSE
        light := cardinality(pawl.bound_erasure(keys));
        IF light < cardinality(keys) THEN
            enough := true;
            walked_to := times[light];
            walked_key := keys[light];
            keys := keys[:light];
        END IF;
    END IF;
    finished := rows < longest AND NOT enough;
END $$;
REVOKE ALL ON FUNCTION pawl.walk_ended(interval, timestamptz, integer, timestamptz, bigint) FROM PUBLIC;
COMMENT ON FUNCTION pawl.walk_ended(interval, timestamptz, integer, timestamptz, bigint) IS
'Internal: of the next 10,000 workflows that ended before `until`, from where the walk stands, those whose rule has this age: at most `most`, and about
20,000 rows of theirs, and whether that is enough for a transaction; and where it stands now. age NULL: lists those whose rule has a count, in
pawl.retention_kept.';

CREATE FUNCTION pawl.run_retention(worker_id uuid) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT integer := 1000;
    now CONSTANT timestamptz := clock_timestamp();
    stop CONSTANT timestamptz := now + interval '200 milliseconds';
    walk record;
    stretch record;
    done bigint := 0;       -- erased by this call
    more boolean := false;
BEGIN
    PERFORM pawl.check_isolation('run_retention');
    IF NOT EXISTS (SELECT FROM pawl.worker w WHERE w.worker_id = run_retention.worker_id AND w.ended_at IS NULL)
        OR NOT pg_try_advisory_xact_lock(1346459468, -2) THEN
        RETURN false;
    END IF;
    -- By a later snapshot than the lock: it may have been another worker's until just now.
    IF NOT pawl.retention_is_due() THEN
        RETURN false;
    END IF;
    INSERT INTO pawl.retention_walk (age)
        SELECT a.age FROM (SELECT r.succeeded FROM pawl.retention_in_force() r UNION SELECT r.failed FROM pawl.retention_in_force() r) a (age)
        WHERE a.age IS NOT NULL
        UNION ALL SELECT NULL WHERE EXISTS (SELECT FROM pawl.retention_rule r WHERE r.keep IS NOT NULL)
        ON CONFLICT DO NOTHING;

    <<walks>>
    FOR walk IN SELECT k.* FROM pawl.retention_walk k ORDER BY k.age LOOP
        LOOP
            more := clock_timestamp() > stop OR done >= most OR (walk.age IS NULL AND pawl.erase_surplus(most));
            EXIT walks WHEN more;
            -- Who ends a workflow says when before he commits: the last minute is left.
            SELECT s.* INTO stretch
                FROM pawl.walk_ended(walk.age, now - greatest(walk.age, interval '1 minute'), most, walk.walked_to, walk.walked_key) s;
            UPDATE pawl.retention_walk k SET walked_to = stretch.walked_to, walked_key = stretch.walked_key
                WHERE k.age IS NOT DISTINCT FROM walk.age AND (k.walked_to, k.walked_key) <> (stretch.walked_to, stretch.walked_key);
            walk.walked_to := stretch.walked_to;
            walk.walked_key := stretch.walked_key;
            IF stretch.keys <> '{}' THEN
                done := done + pawl.erase_workflows(stretch.keys);
            END IF;
            more := stretch.enough;
            EXIT walks WHEN more;
            EXIT WHEN stretch.finished;
        END LOOP;
    END LOOP;
    more := more OR done > 0 OR pawl.erase_surplus(most);
    IF NOT more THEN
        -- Whatever was awaited or locked when its walk came by is found when that begins again.
        DELETE FROM pawl.retention_walk k WHERE k.began_at < now - interval '7 days';
        PERFORM pawl.tidy_history();
    END IF;
    -- Half of the time is others', whichever worker has the next batch.
    UPDATE pawl.installation i SET retention_at = clock_timestamp() + CASE WHEN more THEN clock_timestamp() - now ELSE interval '1 hour' END
        WHERE i.singleton = (SELECT l.singleton FROM pawl.installation l FOR UPDATE SKIP LOCKED);
    RETURN more;
END $$;
REVOKE ALL ON FUNCTION pawl.run_retention(uuid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.run_retention(uuid) IS
'Deletes ended workflows that are past their retention: about a thousand at most, with about 20,000 rows of theirs, or for a fifth of a second. One worker
at a time does so, and after it nobody for as long as it took; any other is answered false. To be called when a heartbeat says retention, on a session of its
own, in READ COMMITTED. When there is nothing more, it drops the empty months of the history, and the next look is an hour later.
worker_id: as registered.
Result: whether there is more to do, after such a pause.';
