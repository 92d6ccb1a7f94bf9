-- The months of pawl.workflow_history. Partitions made at run time are not members of the extension: they dump and restore as ordinary tables.

-- One statement that a completion can afford: the name of the month's partition.
CREATE FUNCTION pawl.history_partition_name(at timestamptz) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'workflow_history_' || to_char(at AT TIME ZONE 'UTC', 'YYYY_MM')
$$;
REVOKE ALL ON FUNCTION pawl.history_partition_name(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.history_partition_name(timestamptz) IS 'Internal: the name of the history partition of a month.';

CREATE FUNCTION pawl.add_history_partition(at timestamptz) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    partition text := pawl.history_partition_name(at);
    month timestamp := date_trunc('month', at AT TIME ZONE 'UTC');
BEGIN
    IF to_regclass('pawl.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    -- One creator at a time; whoever waited finds it made. The lock that ATTACH takes, and not an advisory one: with a table's lock come
    -- the messages by which this session learns what was made meanwhile.
    LOCK TABLE pawl.workflow_history IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass('pawl.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE pawl.%I (LIKE pawl.workflow_history INCLUDING CONSTRAINTS, CONSTRAINT %I PRIMARY KEY (workflow_key)) '
        'WITH (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_scale_factor = 0.05)', partition, partition || '_pkey');
    EXECUTE format('CREATE UNIQUE INDEX %I ON pawl.%I (workflow_id)', partition || '_workflow_id_idx', partition);
    EXECUTE format('CREATE INDEX %I ON pawl.%I (created_at)', partition || '_created_at_idx', partition);
    EXECUTE format('CREATE INDEX %I ON pawl.%I (status, created_at) WHERE status <> ''succeeded''',
        partition || '_status_created_at_idx', partition);
    -- A B-tree: the pages of what retention deleted are used again, and summaries of them (BRIN) would only widen.
    EXECUTE format('CREATE INDEX %I ON pawl.%I (completed_at)', partition || '_completed_at_idx', partition);
    EXECUTE format('CREATE INDEX %I ON pawl.%I (parent_key) WHERE parent_key IS NOT NULL', partition || '_parent_key_idx', partition);
    EXECUTE format('CREATE INDEX %I ON pawl.%I USING gin (attributes jsonb_path_ops) WHERE attributes IS NOT NULL',
        partition || '_attributes_idx', partition);
    -- ATTACH and not PARTITION OF: it does not lock out those who read or insert meanwhile.
    EXECUTE format('ALTER TABLE pawl.workflow_history ATTACH PARTITION pawl.%I FOR VALUES FROM (%L) TO (%L)', partition,
        to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00', to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    EXECUTE format('COMMENT ON TABLE pawl.%I IS %L', partition, format('Workflows that ended in %s (UTC).', to_char(month, 'YYYY-MM')));
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.add_history_partition(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION pawl.add_history_partition(timestamptz) IS 'Internal: makes the history partition of that month if there is none; true if it did.';

-- Whoever makes them ahead has time: a vacuum or an analyze of the history may hold the lock for long.
CREATE FUNCTION pawl.prepare_history() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
    PERFORM pawl.add_history_partition(clock_timestamp()), pawl.add_history_partition(clock_timestamp() + interval '1 month');
EXCEPTION WHEN lock_not_available THEN
    NULL;   -- the next time
END $$;
REVOKE ALL ON FUNCTION pawl.prepare_history() FROM PUBLIC;
COMMENT ON FUNCTION pawl.prepare_history() IS 'Internal: makes the history partitions of this month and the next, unless that would have to wait.';

CREATE FUNCTION pawl.history_months() RETURNS TABLE (partition regclass, month timestamptz) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid::regclass, to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC'
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'pawl.workflow_history'::regclass AND c.relname ~ '^workflow_history_\d{4}_\d{2}$'
$$;
REVOKE ALL ON FUNCTION pawl.history_months() FROM PUBLIC;
COMMENT ON FUNCTION pawl.history_months() IS 'Internal: the partitions of the history, and when the month of each begins.';

CREATE FUNCTION pawl.tidy_history() RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' SET enable_seqscan = off AS $$
DECLARE
    past record;
    occupied boolean;
BEGIN
    FOR past IN SELECT m.* FROM pawl.history_months() m
        WHERE m.month < date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' ORDER BY m.month
    LOOP
        -- Dropping one waits for every reader of the history, and whoever ends a workflow waits behind it: a tenth of a second at most.
        BEGIN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', past.partition) INTO occupied;
            IF NOT occupied THEN
                LOCK TABLE pawl.workflow_history IN ACCESS EXCLUSIVE MODE;
                -- Once more, now that nobody can insert.
                EXECUTE format('SELECT EXISTS (SELECT FROM %s)', past.partition) INTO occupied;
                IF NOT occupied THEN
                    EXECUTE format('DROP TABLE %s', past.partition);
                END IF;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            NULL;   -- the next time
        END;
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION pawl.tidy_history() FROM PUBLIC;
COMMENT ON FUNCTION pawl.tidy_history() IS 'Internal: drops the empty partitions of past months.';
