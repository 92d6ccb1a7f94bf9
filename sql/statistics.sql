-- How it goes: what ended in a period, how long it waited and ran, what its steps took. What is read is what ended in that period, and its
-- steps, by their key; however much there is besides.

CREATE FUNCTION pawl.since(period interval) RETURNS timestamptz LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF since.period IS NULL OR since.period <= interval '0' OR since.period > interval '1000 years' THEN
        PERFORM pawl.refuse_argument('period must be longer than nothing', format('It is %s.', coalesce(since.period::text, 'null')),
            'Give how far to look back, like ''1 hour''.');
    END IF;
    RETURN now() - since.period;
END $$;
REVOKE ALL ON FUNCTION pawl.since(interval) FROM PUBLIC;
COMMENT ON FUNCTION pawl.since(interval) IS 'Internal: when that period began, which is one up to now.';

CREATE FUNCTION pawl.workflow_statistics(period interval DEFAULT '1 hour', workflow_name text DEFAULT NULL)
RETURNS TABLE (workflow_name text, queue text, ended bigint, succeeded bigint, failed bigint, cancelled bigint, per_second numeric, error_rate numeric,
    waited_p50 interval, waited_p95 interval, waited_p99 interval, ran_p50 interval, ran_p95 interval, ran_p99 interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
    SELECT g.workflow_name, CASE g.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = g.queue_id) END,
        g.ended, g.succeeded, g.failed, g.ended - g.succeeded - g.failed, round(g.ended / extract(epoch FROM now() - pawl.since($1)), 3),
        round(g.failed::numeric / nullif(g.succeeded + g.failed, 0), 4), g.waited[1], g.waited[2], g.waited[3], g.ran[1], g.ran[2], g.ran[3]
    FROM (
        SELECT h.workflow_name, h.queue_id, count(*) AS ended, count(*) FILTER (WHERE h.status = 'succeeded') AS succeeded,
            count(*) FILTER (WHERE h.status = 'failed') AS failed,
            percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY h.started_at - greatest(h.created_at, h.run_at)) AS waited,
            percentile_cont('{0.5,0.95,0.99}'::double precision[]) WITHIN GROUP (ORDER BY h.completed_at - h.started_at) AS ran
        FROM pawl.workflow_history h
        WHERE h.completed_at > pawl.since($1) AND ($2 IS NULL OR h.workflow_name = $2)
        GROUP BY h.workflow_name, h.queue_id) g
    ORDER BY g.ended DESC, g.workflow_name, g.queue_id
$$;
REVOKE ALL ON FUNCTION pawl.workflow_statistics(interval, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.workflow_statistics(interval, text) IS
'The workflows that ended lately, by name and queue: how many, how well, and how long they took.
period: how far to look back. What it costs is what ended in that time, whatever else there is.
workflow_name: of this name only.
Result: per_second is ended by the period; error_rate is failed as a part of succeeded and failed together. waited: from when it was enqueued, or from
its run_at, to its first start; ran: from there to its end, waits included; as median, 95th and 99th percentile.';

CREATE FUNCTION pawl.step_statistics(period interval DEFAULT '1 hour', workflow_name text DEFAULT NULL)
RETURNS TABLE (workflow_name text, step_name text, kind text, recorded bigint, failed bigint, retries bigint,
    took_p50 interval, took_p95 interval, took_p99 interval, took_max interval)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT g.workflow_name, g.step_name, g.kind, g.recorded, g.failed, g.retries, g.took[1], g.took[2], g.took[3], g.took[4]
    FROM (
        SELECT h.workflow_name, n.step_name, s.kind, count(*) AS recorded, count(*) FILTER (WHERE s.status = 'failed') AS failed,
            sum(s.attempts - 1)::bigint AS retries,
            percentile_cont('{0.5,0.95,0.99,1}'::double precision[]) WITHIN GROUP (ORDER BY s.completed_at - s.started_at) AS took
        FROM pawl.workflow_history h JOIN pawl.workflow_step s ON s.workflow_key = h.workflow_key
            CROSS JOIN LATERAL (SELECT CASE WHEN s.step_name ~ '[[#]' THEN regexp_replace(s.step_name, '\[[^]]*\]|#[0-9]+', '', 'g')
                ELSE s.step_name END AS step_name) n
        WHERE h.completed_at > pawl.since($1) AND ($2 IS NULL OR h.workflow_name = $2)
        GROUP BY h.workflow_name, n.step_name, s.kind) g
    ORDER BY g.workflow_name, g.took[2] DESC NULLS LAST, g.step_name, g.kind
$$;
REVOKE ALL ON FUNCTION pawl.step_statistics(interval, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.step_statistics(interval, text) IS
'The steps of the workflows that ended lately, by name, the slowest of each workflow first. What an unfinished workflow recorded is not in it:
pawl.workflow_steps shows those that are retrying.
period: how far to look back. What it costs is what ended in that time, with its steps.
workflow_name: of workflows of this name only.
Result: step_name without the numbers of branches and repeats: charge/reserve for charge[42]/reserve#2. recorded: how many; failed: how many of them ended
so; retries: attempts beyond the first of each. took: from its start, retries included, to when it was recorded as over.';

CREATE FUNCTION pawl.find_oldest_waiting() RETURNS TABLE (queue text, workflow_name text, waiting bigint, oldest_at timestamptz,
    oldest_workflow_id text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT CASE g.queue_id WHEN 0 THEN 'default' ELSE (SELECT q.queue_name FROM pawl.queue q WHERE q.queue_id = g.queue_id) END, g.workflow_name,
        g.waiting, greatest(o.created_at, o.run_at), o.workflow_id
    FROM (
        -- The least pair of time and key: which one that is, in one pass.
        SELECT r.queue_id, r.workflow_name, count(*) AS waiting,
            min(ARRAY[(extract(epoch FROM greatest(r.created_at, r.run_at)) * 1000000)::bigint, r.workflow_key]) AS oldest
        FROM (
            -- Each half has its index.
            SELECT w.* FROM pawl.workflow w WHERE w.partition_key IS NULL AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL
            UNION ALL
            SELECT w.* FROM pawl.workflow w WHERE w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL AND w.claimed_by IS NULL) r
        GROUP BY r.queue_id, r.workflow_name) g
    CROSS JOIN LATERAL (SELECT w.created_at, w.run_at, w.workflow_id FROM pawl.workflow w WHERE w.workflow_key = g.oldest[2] LIMIT 1) o
    ORDER BY g.oldest[1];
END $$;
REVOKE ALL ON FUNCTION pawl.find_oldest_waiting() FROM PUBLIC;
COMMENT ON FUNCTION pawl.find_oldest_waiting() IS 'Internal: what pawl.oldest_waiting shows.';
