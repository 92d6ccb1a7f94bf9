-- 100 workflows from the queue to their end, in :steps + 2 transactions: claim, record each step, end.
WITH c AS MATERIALIZED (SELECT ctid FROM floor.workflow WHERE queue_id = 0 AND rank = 1 AND partition_key IS NULL AND ready_key >= :mark
    AND claimed_by IS NULL AND workflow_name = ANY ('{one_step}') ORDER BY ready_key LIMIT 100 FOR UPDATE SKIP LOCKED),
    u AS (UPDATE floor.workflow SET claimed_by = '00000000-0000-0000-0000-000000000001', status = 'running', started_at = now(),
        claimed_at = now(), epoch = epoch + 1, workflow_version = 1 WHERE ctid = ANY (ARRAY (SELECT ctid FROM c)) RETURNING workflow_key)
SELECT array_agg(workflow_key)::text AS keys, max(workflow_key) AS mark FROM u \gset
