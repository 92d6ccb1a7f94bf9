WITH d AS (DELETE FROM floor.workflow WHERE workflow_key = ANY (:keys::bigint[]) AND claimed_by = '00000000-0000-0000-0000-000000000001' RETURNING *)
INSERT INTO floor.workflow_history (workflow_key, parent_key, created_at, run_at, started_at, completed_at, deadline_at, cancel_requested_at,
    scheduled_at, worker_id, epoch, queue_id, priority, workflow_version, recoveries, pinned, status, workflow_id, workflow_name, partition_key,
    deduplication_id, forked_from, schedule_name, enqueued_by, headers, attributes, progress, input, output)
SELECT workflow_key, parent_key, created_at, run_at, started_at, now(), deadline_at, cancel_requested_at, scheduled_at, claimed_by, epoch, queue_id,
    priority, workflow_version, recoveries, pinned, 'succeeded', workflow_id, workflow_name, partition_key, deduplication_id, forked_from,
    schedule_name, enqueued_by, headers, attributes, progress, input, '1' FROM d;
