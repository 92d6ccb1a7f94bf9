-- More lanes than there are places for, which they keep until the server stops: so this comes last. What has no place is claimed all the same.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.queue_gate, pawl.queue_rate_slot, pawl.access_rule, pawl.installation;
SET pawl.poll_interval = 0;
\set me '\'00000000-0000-4000-8000-000000000001\''
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
CREATE FUNCTION pg_temp.claim(n integer DEFAULT 100, queues text[] DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(workflow_id, ' ') FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', n, '{ship}', '{1}', queues)
$$;
SELECT count(pawl.enqueue_workflow('ship', priority => i)) FROM generate_series(1, 512) i;
DELETE FROM pawl.workflow;

SELECT pawl.create_queue('plain'), pawl.create_queue('parts'), pawl.create_queue('limited', partition_concurrency => 1), pawl.create_queue('paused');
SELECT pawl.pause_queue('paused');
SELECT count(pawl.enqueue_workflow('ship', workflow_id => q || '-' || t || '-' || i, queue => q, partition_key => nullif(t, 'none')))
    FROM (VALUES ('plain', 'none'), ('parts', 'a'), ('parts', 'b'), ('limited', 'a'), ('limited', 'b'), ('paused', 'none'), ('paused', 'a')) k (q, t),
        generate_series(1, 2) i;
SELECT pg_temp.claim(queues => '{limited}');
SELECT pg_temp.claim(1);
SELECT pg_temp.claim(3, '{parts}');
SELECT pg_temp.claim();
SELECT pg_temp.claim();
SELECT workflow_id FROM pawl.workflow WHERE claimed_by IS NULL ORDER BY 1;
-- Who waits for it is woken.
SELECT pawl.arm_worker(:me, '{ship}', '{1}', NULL);
SELECT wakes AS wakes_before FROM pawl.wakeup_statistics() \gset
SELECT pawl.enqueue_workflow('ship', workflow_id => 'more', queue => 'parts', partition_key => 'c');
SELECT wakes - :wakes_before AS wakes FROM pawl.wakeup_statistics();
SELECT pg_temp.claim();
SELECT pawl.unregister_worker(:me);
TRUNCATE pawl.workflow, pawl.queue, pawl.queue_gate, pawl.queue_rate_slot;
