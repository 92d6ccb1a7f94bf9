-- Retention: which rule holds for what, and what is deleted when. Nothing that is unfinished or awaited ever is.
\set SHOW_CONTEXT never
\set VERBOSITY default
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.message, pawl.event, pawl.stream_entry, pawl.closed_stream, pawl.waiter, pawl.signal,
    pawl.cancel_request, pawl.audit_entry, pawl.retention_rule, pawl.retention_walk, pawl.retention_kept;
SELECT pawl.invalidate_caches();
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
SELECT pawl.create_queue('bulk');
-- Ended so long ago.
CREATE FUNCTION pg_temp.ended(id text, name text, ago interval, status text DEFAULT 'succeeded', queue text DEFAULT NULL, parent bigint DEFAULT NULL)
RETURNS bigint LANGUAGE sql AS $$
    SELECT pawl.add_history_partition(now() - ago);
    UPDATE pawl.retention_walk SET walked_to = least(walked_to, now() - ago - interval '1 second');    -- none has come by it
    INSERT INTO pawl.workflow_history (workflow_key, parent_key, created_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status,
        workflow_id, workflow_name, enqueued_by)
    SELECT nextval('pawl.key_seq'), parent, now() - ago - interval '1 minute', now() - ago, 1,
        coalesce((SELECT q.queue_id FROM pawl.queue q WHERE q.queue_name = queue), 0), 0, 0, false, status, id, name, 'clerk'
    RETURNING workflow_key
$$;
-- Many that ended from then on, ten in a millisecond, the names in turn; or all at one instant.
CREATE FUNCTION pg_temp.many(count integer, names text[], ago interval, per interval DEFAULT '1 millisecond') RETURNS void LANGUAGE sql AS $$
    SELECT pawl.add_history_partition(now() - ago), pawl.add_history_partition(now() - ago + count / 10 * per);
    INSERT INTO pawl.workflow_history (workflow_key, created_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status, workflow_id,
        workflow_name, enqueued_by)
    SELECT k, now() - ago, now() - ago + i / 10 * per, 1, 0, 0, 0, false, 'succeeded', 'many-' || k, names[1 + i % cardinality(names)], 'clerk'
    FROM (SELECT nextval('pawl.key_seq') AS k, i FROM generate_series(1, count) i) x
$$;
-- Calls until there is nothing more, without the rest between: how many answered that there is.
CREATE FUNCTION pg_temp.run() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 0 .. 10000 LOOP
        UPDATE pawl.installation SET retention_at = NULL;
        IF NOT pawl.run_retention('00000000-0000-4000-8000-000000000001') THEN
            RETURN n;
        END IF;
    END LOOP;
END $$;
-- Rows that this transaction has read so far, of the history and of what is listed.
CREATE FUNCTION pg_temp.reads() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(s.seq_tup_read + s.idx_tup_fetch) FROM pg_stat_xact_all_tables s WHERE s.schemaname = 'pawl' AND s.relname ~ '^(workflow_history_|retention_kept)'
$$;
CREATE FUNCTION pg_temp.left_over() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(workflow_id, ' ' ORDER BY workflow_id) FROM pawl.workflow_history
$$;

-- Nobody is there yet.
SELECT pawl.retention_is_due(), pawl.run_retention(:me);
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{shop}');
SELECT pawl.retention_is_due(), pawl.run_retention(:other);
SELECT retention FROM pawl.heartbeat(:me, 0, 'running');
SELECT retention FROM pawl.heartbeat(:me, 0, 'draining');

-- Out of the box: 30 days and 90 days.
SELECT workflow_name, queue, succeeded, failed, keep, changed_at, changed_by FROM pawl.retention;
SELECT pg_temp.ended('new-s', 'ship', '29 days'), pg_temp.ended('old-s', 'ship', '31 days'), pg_temp.ended('ancient-s', 'ship', '700 days'),
    pg_temp.ended('new-f', 'ship', '89 days', 'failed'), pg_temp.ended('old-f', 'ship', '91 days', 'failed'),
    pg_temp.ended('new-c', 'ship', '89 days', 'cancelled'), pg_temp.ended('old-c', 'ship', '91 days', 'cancelled') \g /dev/null
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();
-- It is not due again for an hour, and another round finds nothing.
SELECT pawl.retention_is_due(), retention_at BETWEEN now() + interval '50 minutes' AND now() + interval '61 minutes' FROM pawl.installation;
SELECT pawl.run_retention(:me);
SELECT pg_temp.run() >= 0, pg_temp.left_over();
-- A restored copy that is held deletes nothing.
UPDATE pawl.installation SET retention_at = NULL, held_at = now();
SELECT pg_temp.ended('old-held', 'ship', '31 days') \g /dev/null
SELECT pawl.retention_is_due(), pawl.run_retention(:me);
UPDATE pawl.installation SET held_at = NULL;
SELECT pawl.retention_is_due();
DELETE FROM pawl.workflow_history;

-- What cannot be.
SELECT pawl.set_retention('ship', 'bulk');
SELECT pawl.set_retention('');
SELECT pawl.set_retention(queue => 'bullk', keep => 1);
SELECT pawl.set_retention(keep => -1);
SELECT pawl.set_retention(keep => 100001);
-- A rule for a name beats one for a queue, and that the default; what a rule leaves out is as the default says.
SELECT pawl.set_retention(failed => '1 month');
SELECT pawl.set_retention(queue => 'bulk', succeeded => '1 day', failed => '-1');
SELECT pawl.set_retention('ship', succeeded => '2 years');
SELECT workflow_name, queue, succeeded, failed, keep, changed_at = now() AS today, changed_by = session_user AS mine FROM pawl.retention ORDER BY 1, 2;
SELECT object_name, action, detail FROM pawl.audit WHERE object_kind = 'retention' ORDER BY audit_key;
SELECT pg_temp.ended('ship-s', 'ship', '600 days'), pg_temp.ended('ship-bulk-s', 'ship', '2 days', queue => 'bulk'),
    pg_temp.ended('ship-old-f', 'ship', '31 days', 'failed', 'bulk'), pg_temp.ended('bulk-old-s', 'pack', '25 hours', queue => 'bulk'),
    pg_temp.ended('bulk-s', 'pack', '23 hours', queue => 'bulk'), pg_temp.ended('bulk-f', 'pack', '700 days', 'failed', 'bulk'),
    pg_temp.ended('pack-s', 'pack', '29 days'), pg_temp.ended('pack-old-s', 'pack', '31 days'), pg_temp.ended('pack-f', 'pack', '29 days', 'failed'),
    pg_temp.ended('pack-old-c', 'pack', '31 days', 'cancelled') \g /dev/null
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();
-- Without the rule for the name the rows that were passed under it come under the next one.
SELECT pawl.set_retention('ship');
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();
SELECT workflow_name, queue FROM pawl.retention ORDER BY 1, 2;
SELECT pawl.set_retention(), pawl.set_retention(queue => 'bulk');
DELETE FROM pawl.workflow_history;

-- With all that belongs to them, and nothing of another.
SELECT pg_temp.ended('gone', 'ship', '31 days') AS gone, pg_temp.ended('stays', 'ship', '1 day') AS stays \gset
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status)
    SELECT k, 1, i, 's' || i, 'step', 'succeeded' FROM unnest(ARRAY[:gone, :stays]) k, generate_series(1, 5) i;
INSERT INTO pawl.payload SELECT k, 'input', '1' FROM unnest(ARRAY[:gone, :stays]) k;
INSERT INTO pawl.message (workflow_key, topic, sent_by, message) SELECT k, '', 'clerk', '1' FROM unnest(ARRAY[:gone, :stays]) k;
INSERT INTO pawl.event (workflow_key, key, step_name, value) SELECT k, 'e', 's', '1' FROM unnest(ARRAY[:gone, :stays]) k;
INSERT INTO pawl.stream_entry (workflow_key, position, attempt, key, step_name, value) SELECT k, 1, 1, 'e', 's', '1' FROM unnest(ARRAY[:gone, :stays]) k;
SELECT pg_temp.run() > 0;
SELECT (SELECT array_agg(DISTINCT workflow_key) FROM pawl.workflow_step) = ARRAY[:stays::bigint] AS steps, (SELECT array_agg(workflow_key) FROM pawl.payload) = ARRAY[:stays::bigint] AS payloads,
    (SELECT array_agg(workflow_key) FROM pawl.message) = ARRAY[:stays::bigint] AS messages, (SELECT array_agg(workflow_key) FROM pawl.event) = ARRAY[:stays::bigint] AS events,
    (SELECT array_agg(workflow_key) FROM pawl.stream_entry) = ARRAY[:stays::bigint] AS entries;

-- In batches: a thousand of them, or 20,000 rows.
DELETE FROM pawl.workflow_history;
DELETE FROM pawl.workflow_step;
SELECT count(pg_temp.ended('many-' || i, 'ship', '31 days')) FROM generate_series(1, 2500) i;
UPDATE pawl.installation SET retention_at = NULL;
SELECT clock_timestamp() AS began \gset
SELECT pawl.run_retention(:me);
SELECT count(*) FROM pawl.workflow_history;
-- Then comes a rest as long as it took, and none of them does anything in it.
SELECT retention_at > :'began' AS "after it", retention_at - clock_timestamp() < clock_timestamp() - :'began' AS "not longer" FROM pawl.installation;
UPDATE pawl.installation SET retention_at = clock_timestamp() + interval '1 minute';
SELECT pawl.retention_is_due(), pawl.run_retention(:me);
SELECT retention FROM pawl.heartbeat(:me, 0, 'running');
SELECT count(*) FROM pawl.workflow_history;
SELECT pg_temp.run() BETWEEN 1 AND 10;
SELECT count(*) FROM pawl.workflow_history;
INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status)
    SELECT k, 1, i, 's' || i, 'step', 'succeeded' FROM (SELECT pg_temp.ended('long-' || n, 'ship', '31 days') AS k FROM generate_series(1, 3) n OFFSET 0) l, generate_series(1, 15000) i;
UPDATE pawl.installation SET retention_at = NULL;
SELECT pawl.run_retention(:me);
SELECT count(*) FROM pawl.workflow_history;
SELECT pg_temp.run() BETWEEN 1 AND 10;
SELECT count(*) FROM pawl.workflow_step;

-- Awaited: by a parent that has not ended, by whoever waits for it. When that is over they go, at the next round of the walk.
SELECT pawl.set_retention(succeeded => '0', failed => '0');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'parent'), pawl.enqueue_workflow('ship', workflow_id => 'waits') \g /dev/null
SELECT workflow_key AS parent FROM pawl.workflow WHERE workflow_id = 'parent' \gset
SELECT pg_temp.ended('child', 'ship', '700 days', parent => :parent), pg_temp.ended('orphan', 'ship', '700 days', parent => -1) \g /dev/null
SELECT pg_temp.ended('awaited', 'ship', '700 days') AS awaited \gset
INSERT INTO pawl.waiter SELECT :awaited, workflow_key, 'wait' FROM pawl.workflow WHERE workflow_id = 'waits';
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over(), count(*) AS unfinished FROM pawl.workflow;
DELETE FROM pawl.workflow;
DELETE FROM pawl.waiter;
SELECT pg_temp.run() >= 0, pg_temp.left_over();
UPDATE pawl.retention_walk SET began_at = now() - interval '8 days';
SELECT pg_temp.run() >= 0;
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();

-- By count: the newest stay, of all ends; what was deleted by hand, or is awaited, is not counted twice.
SELECT pawl.set_retention('ship', succeeded => '-1', failed => '-1', keep => 5);
SELECT count(pg_temp.ended('n' || lpad(i::text, 2, '0'), 'ship', make_interval(hours => i), (ARRAY['succeeded', 'failed', 'cancelled'])[1 + i % 3],
    CASE WHEN i % 2 = 0 THEN 'bulk' END)) FROM generate_series(1, 20) i;
SELECT pg_temp.ended('other', 'pack', '5 minutes') \g /dev/null
SELECT pawl.set_retention(succeeded => '1 day', failed => '1 day');
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();
SELECT pg_temp.ended('n00', 'ship', '2 minutes') \g /dev/null
SELECT pawl.delete_workflow('n01') \g /dev/null
SELECT pg_temp.run() >= 0, pg_temp.left_over();
SELECT pg_temp.ended('m0', 'ship', '90 seconds'), pg_temp.ended('m1', 'ship', '70 seconds') \g /dev/null
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();
-- In the queue of a rule, its name's rule is followed; a count for the rest counts neither.
SELECT pawl.set_retention(queue => 'bulk', keep => 1), pawl.set_retention(keep => 0);
SELECT pg_temp.ended('b1', 'pack', '3 hours', queue => 'bulk'), pg_temp.ended('b2', 'pack', '2 hours', queue => 'bulk'),
    pg_temp.ended('b-ship', 'ship', '80 seconds', queue => 'bulk') \g /dev/null
SELECT pg_temp.run() > 0;
SELECT pg_temp.left_over();

-- However many of another rule lie between, each row is read once to be judged, and a few times to be deleted.
DELETE FROM pawl.workflow_history;
SELECT pawl.set_retention('ship', succeeded => '1 day'), pawl.set_retention('pack', succeeded => '3 days'), pawl.set_retention(),
    pawl.set_retention(queue => 'bulk');
SELECT pg_temp.many(20000, '{ship,pack}', '2 days');
BEGIN;
SELECT pg_temp.reads() AS reads \gset
SELECT pg_temp.run() >= 10;
SELECT pg_temp.reads() - :reads < 4 * 20000 AS "few reads";
SELECT workflow_name, count(*) FROM pawl.workflow_history GROUP BY 1;
COMMIT;
-- Whatever ended at one instant, more than a batch of it, and awaited or not.
SELECT pg_temp.many(5000, '{ship,pack}', '1 day 1 hour', '0');
INSERT INTO pawl.waiter SELECT h.workflow_key, -1, 'wait' FROM pawl.workflow_history h WHERE h.workflow_name = 'ship' ORDER BY h.workflow_key LIMIT 1100;
SELECT pg_temp.run() > 0;
SELECT workflow_name, count(*) FROM pawl.workflow_history GROUP BY 1 ORDER BY 1;
DELETE FROM pawl.waiter;
-- Pages that are used again for what ends later do not make it read that too.
SELECT pawl.set_retention('pack', succeeded => '36 hours'), pg_temp.run() > 0;
VACUUM pawl.workflow_history;
SELECT pg_temp.many(10000, '{pack}', '12 hours');
BEGIN;
SELECT pg_temp.reads() AS reads \gset
SELECT pg_temp.run() >= 0;
SELECT pg_temp.reads() - :reads < 5000 AS "few reads";
SELECT workflow_name, count(*) FROM pawl.workflow_history GROUP BY 1;
COMMIT;
-- What is listed is not gone through for each batch.
DELETE FROM pawl.workflow_history;
SELECT pawl.set_retention('ship', succeeded => '-1', keep => 9000);
SELECT pg_temp.many(18000, '{ship}', '1 day');
BEGIN;
SELECT pg_temp.reads() AS reads \gset
SELECT pg_temp.run() >= 9;
SELECT pg_temp.reads() - :reads < 25 * 18000 AS "few reads";
SELECT count(*), min(completed_at) - max(completed_at) AS newest FROM pawl.workflow_history;
COMMIT;

-- A month that is over and empty is dropped; this one and the next are not. Their ids are free, and so is the month.
DELETE FROM pawl.workflow_history;
SELECT pg_temp.ended('keeps its month', 'ship', '700 days') \g /dev/null
SELECT pawl.set_retention('ship', succeeded => '-1'), pawl.set_retention('pack');
SELECT pg_temp.run() >= 0;
SELECT count(*), bool_or(month > now()) AS next, bool_or(month = date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') AS this FROM pawl.history_months();
SELECT pawl.enqueue_workflow('ship', workflow_id => 'n02'), pawl.enqueue_workflow('ship', workflow_id => 'keeps its month');
SELECT workflow_id, status FROM pawl.workflows ORDER BY 1;
SELECT pawl.add_history_partition(now() - interval '1 month');
SELECT pawl.set_retention('ship');
SELECT pg_temp.run() > 0;
SELECT count(*) FROM pawl.history_months();
DELETE FROM pawl.workflow;
DELETE FROM pawl.worker;
