-- What happens, while it happens: for pawl tail, and for whoever else looks again and again.

CREATE FUNCTION pawl.recent_activity(since timestamptz, workflow_name text DEFAULT NULL, queue text DEFAULT NULL, steps boolean DEFAULT true)
RETURNS TABLE (at timestamptz, event text, workflow_id text, workflow_name text, queue text, status text, step_name text, kind text, attempts integer,
    took interval, error jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET jit = off SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off AS $$
    WITH RECURSIVE queues AS MATERIALIZED (
        SELECT q.queue_id, q.queue_name FROM pawl.queue q UNION SELECT 0, 'default'),
    ended AS MATERIALIZED (
        SELECT h.workflow_key, h.workflow_id, h.workflow_name, h.queue_id, h.status, h.started_at, h.completed_at, h.error
        FROM pawl.workflow_history h WHERE h.completed_at >= $1),
    enqueued AS (
        SELECT w.created_at, w.workflow_id, w.workflow_name, w.queue_id, w.status FROM pawl.workflow w WHERE w.created_at >= $1
        UNION ALL
        SELECT h.created_at, h.workflow_id, h.workflow_name, h.queue_id, h.status FROM pawl.workflow_history h WHERE h.created_at >= $1),
    -- Each is the next by the index.
    partitions AS (
        SELECT q.queue_id, p.partition_key, 1 AS n FROM queues q CROSS JOIN LATERAL (SELECT w.partition_key FROM pawl.workflow w
            WHERE w.queue_id = q.queue_id AND w.partition_key IS NOT NULL AND w.ready_key IS NOT NULL ORDER BY w.partition_key LIMIT 1) p
        WHERE $4
        UNION ALL
        SELECT l.queue_id, p.partition_key, l.n + 1 FROM partitions l CROSS JOIN LATERAL (SELECT w.partition_key FROM pawl.workflow w
            WHERE w.queue_id = l.queue_id AND w.partition_key > l.partition_key AND w.ready_key IS NOT NULL ORDER BY w.partition_key LIMIT 1) p
        WHERE l.n < 10000),
    -- Steps have no index by time. Those that ran since have ended, run still, or have parked: a wait that was recorded since. What runs stands at the
    -- head of its queue or partition, or in a limited queue by itself.
    ran AS MATERIALIZED (
        SELECT r.workflow_key FROM queues q CROSS JOIN LATERAL (
            (SELECT w.workflow_key, w.claimed_by FROM pawl.workflow w
                WHERE w.queue_id = q.queue_id AND w.partition_key IS NULL AND w.ready_key IS NOT NULL ORDER BY w.rank, w.ready_key LIMIT 10000)
            UNION ALL
            (SELECT w.workflow_key, w.claimed_by FROM pawl.workflow w WHERE w.running_in = q.queue_id AND w.claimed_by IS NOT NULL LIMIT 10000)) r
        WHERE $4 AND r.claimed_by IS NOT NULL
        UNION
        SELECT r.workflow_key FROM (SELECT p.*, count(*) OVER (PARTITION BY p.queue_id) AS of_queue FROM partitions p) p
            CROSS JOIN LATERAL (SELECT w.workflow_key, w.claimed_by FROM pawl.workflow w
                WHERE w.queue_id = p.queue_id AND w.partition_key = p.partition_key AND w.ready_key IS NOT NULL
                ORDER BY w.rank, w.ready_key LIMIT 10000 / p.of_queue) r
        WHERE r.claimed_by IS NOT NULL
        UNION
        SELECT s.workflow_key FROM pawl.workflow_step s WHERE $4 AND s.status IN ('waiting', 'retrying') AND s.created_at >= $1),
    recorded AS (
        SELECT s.*, e.workflow_id, e.workflow_name, e.queue_id FROM ended e JOIN pawl.workflow_step s ON s.workflow_key = e.workflow_key
        WHERE $4 AND s.completed_at >= $1
        UNION ALL
        SELECT s.*, w.workflow_id, w.workflow_name, w.queue_id FROM ran r JOIN pawl.workflow w ON w.workflow_key = r.workflow_key
            JOIN pawl.workflow_step s ON s.workflow_key = w.workflow_key
        WHERE s.completed_at >= $1)
    SELECT a.at, a.event, a.workflow_id, a.workflow_name, q.queue_name, a.status, a.step_name, a.kind, a.attempts, a.took,
        CASE WHEN (SELECT pawl.may_inspect()) THEN a.error END
    FROM (
        SELECT e.created_at AS at, 'enqueued' AS event, e.workflow_id, e.workflow_name, e.queue_id, e.status, NULL AS step_name, NULL AS kind,
            NULL::integer AS attempts, NULL::interval AS took, NULL::jsonb AS error
        FROM enqueued e
        UNION ALL
        SELECT s.completed_at, 'step', s.workflow_id, s.workflow_name, s.queue_id, s.status, s.step_name, s.kind, s.attempts,
            s.completed_at - s.started_at, s.error
        FROM recorded s
        UNION ALL
        SELECT e.completed_at, 'ended', e.workflow_id, e.workflow_name, e.queue_id, e.status, NULL, NULL, NULL, e.completed_at - e.started_at, e.error
        FROM ended e) a
        LEFT JOIN queues q ON q.queue_id = a.queue_id
    WHERE ($2 IS NULL OR a.workflow_name = $2) AND ($3 IS NULL OR q.queue_name = $3)
    ORDER BY a.at, a.workflow_id, array_position(ARRAY['enqueued', 'step', 'ended'], a.event), a.step_name
$$;
REVOKE ALL ON FUNCTION pawl.recent_activity(timestamptz, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION pawl.recent_activity(timestamptz, text, text, boolean) IS
'What happened since a time, the oldest first: workflows that were enqueued or ended, and steps that were recorded. What it costs is what happened since, and
the unfinished workflows at the heads of the queues and their partitions. A transaction that commits late adds to what is past: look again from some
seconds before.
since: from then on.
workflow_name, queue: of these workflows only.
steps: whether steps are wanted, too.
Result: event is enqueued, step or ended; status is that of the step, or of the workflow as it is now; took is from the start to the end of the step or of
the workflow; error is NULL without the access inspect.';
