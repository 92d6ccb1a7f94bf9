-- Queues. Limits come later: an argument that asks for one is refused.

CREATE FUNCTION pawl.create_queue(name text, concurrency integer DEFAULT NULL, worker_concurrency integer DEFAULT NULL,
    rate_limit integer DEFAULT NULL, rate_period interval DEFAULT NULL, partition_concurrency integer DEFAULT NULL,
    hold_while_waiting boolean DEFAULT false, on_existing text DEFAULT 'raise', options jsonb DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    limit_argument text;
BEGIN
    PERFORM pawl.check_name('name', create_queue.name, 128);
    IF on_existing IS NULL OR on_existing NOT IN ('raise', 'keep', 'replace') THEN
        PERFORM pawl.refuse_argument('on_existing is not one of raise, keep, replace', format('It is %s.', coalesce(quote_literal(on_existing), 'null')),
            'raise: an error if the queue exists; keep: leave it as it is; replace: give it these limits.');
    END IF;
    PERFORM pawl.check_options(options, '{}', ARRAY['concurrency', 'worker_concurrency', 'rate_limit', 'rate_period',
        'partition_concurrency', 'hold_while_waiting', 'on_existing']);
    limit_argument := CASE
        WHEN concurrency IS NOT NULL THEN 'concurrency'
        WHEN worker_concurrency IS NOT NULL THEN 'worker_concurrency'
        WHEN rate_limit IS NOT NULL THEN 'rate_limit'
        WHEN rate_period IS NOT NULL THEN 'rate_period'
        WHEN partition_concurrency IS NOT NULL THEN 'partition_concurrency'
        WHEN hold_while_waiting THEN 'hold_while_waiting' END;
    IF limit_argument IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported', MESSAGE = format('%s is not supported yet', limit_argument),
            DETAIL = 'Queues have no limits in this version.', HINT = format('Leave %s out.', limit_argument);
    END IF;

    -- Queue 0, default, is there without a row; replacing it makes the row.
    IF create_queue.name = 'default' AND on_existing = 'replace' THEN
        INSERT INTO pawl.queue (queue_id, queue_name, created_by) VALUES (0, 'default', pawl.outer_user()) ON CONFLICT DO NOTHING;
    ELSIF create_queue.name <> 'default' THEN
        INSERT INTO pawl.queue (queue_name, created_by) VALUES (create_queue.name, pawl.outer_user()) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            PERFORM pawl.invalidate_caches();
            PERFORM pawl.mark_all();
            RETURN;
        END IF;
    END IF;
    IF on_existing = 'raise' THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_object', MESSAGE = format('queue "%s" exists', create_queue.name),
            DETAIL = CASE create_queue.name WHEN 'default' THEN 'The queue default is always there.' ELSE 'Nothing was changed.' END,
            HINT = 'Give on_existing => ''keep'' to leave it as it is, or ''replace'' to give it these limits.';
    ELSIF on_existing = 'replace' THEN
        UPDATE pawl.queue q SET concurrency = NULL, worker_concurrency = NULL, rate_limit = NULL, rate_period = NULL,
            partition_concurrency = NULL, hold_while_waiting = false WHERE q.queue_name = create_queue.name;
        PERFORM pawl.invalidate_caches();
        PERFORM pawl.mark_all();
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.create_queue(text, integer, integer, integer, interval, integer, boolean, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.create_queue(text, integer, integer, integer, interval, integer, boolean, text, jsonb) IS
'Makes a queue.
name: 1 to 128 bytes; "default" is always there.
concurrency, worker_concurrency, rate_limit with rate_period, partition_concurrency, hold_while_waiting: limits; not supported yet (0A000).
on_existing: raise (42710), keep (leave it as it is) or replace (give it these limits; what it holds stays).
options: a JSON object; there are no options yet, and an unknown key is an error that names the nearest.';
