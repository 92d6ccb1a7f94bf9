-- What limits let a claim take. The races are in specs/ and attacks/.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.queue_gate, pawl.queue_rate_slot, pawl.access_rule, pawl.installation;
SET pawl.poll_interval = 0;
\set me '\'00000000-0000-4000-8000-000000000001\''
\set other '\'00000000-0000-4000-8000-000000000002\''
SELECT held FROM pawl.register_worker(:me, 'w', 'h', 1, '1', 1, 10, NULL, '{ship}', '{1}', '{p}');
INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
    VALUES (:other, 2, 1, 10, 'running', 'other', 'h', '1', 'x');
CREATE FUNCTION pg_temp.enqueue(queue text, prefix text, n integer, priority integer DEFAULT 0, partition_key text DEFAULT NULL) RETURNS bigint
LANGUAGE sql AS $$
    SELECT count(pawl.enqueue_workflow('ship', workflow_id => prefix || i, queue => queue, priority => priority, partition_key => partition_key))
    FROM generate_series(1, n) i
$$;
CREATE FUNCTION pg_temp.claim(n integer, worker uuid DEFAULT '00000000-0000-4000-8000-000000000001', alone boolean DEFAULT false) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(workflow_id, ' ') FROM pawl.claim_workflows(worker, n, '{ship}', '{1}', NULL, alone)
$$;
-- The fences of these, for what a worker does.
CREATE FUNCTION pg_temp.keys(ids text) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT array_agg(workflow_key ORDER BY workflow_key) FROM pawl.workflow WHERE workflow_id = ANY (string_to_array(ids, ' '))
$$;
CREATE FUNCTION pg_temp.epochs(ids text) RETURNS integer[] LANGUAGE sql AS $$
    SELECT array_agg(epoch ORDER BY workflow_key) FROM pawl.workflow WHERE workflow_id = ANY (string_to_array(ids, ' '))
$$;
CREATE FUNCTION pg_temp.complete(ids text, worker uuid DEFAULT '00000000-0000-4000-8000-000000000001') RETURNS bigint LANGUAGE sql AS $$
    SELECT n - count(c.*) FROM (SELECT cardinality(pg_temp.keys(ids)) AS n) k LEFT JOIN LATERAL pawl.complete_workflows(worker, pg_temp.keys(ids),
        pg_temp.epochs(ids), array_fill('succeeded'::text, ARRAY[n]), array_fill(NULL::text, ARRAY[n]), array_fill('1'::jsonb, ARRAY[n]),
        array_fill(NULL::jsonb, ARRAY[n])) c ON true GROUP BY n
$$;
-- Parks one that sleeps for a time.
CREATE FUNCTION pg_temp.park(id text, seconds integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    me CONSTANT uuid := '00000000-0000-4000-8000-000000000001';
BEGIN
    DELETE FROM pawl.workflow_step WHERE workflow_key = (SELECT workflow_key FROM pawl.workflow WHERE workflow_id = id);
    INSERT INTO pawl.workflow_step (workflow_key, step_name, step_number, kind, status, epoch, due_at, arguments)
        SELECT workflow_key, 'sleep', 1, 'sleep', 'waiting', epoch, now() + seconds * interval '1 second', '{}' FROM pawl.workflow WHERE workflow_id = id;
    PERFORM pawl.park_workflows(me, pg_temp.keys(id), pg_temp.epochs(id), '{a sleep}');
    RETURN (SELECT status || coalesce(', in ' || running_in, '') FROM pawl.workflow WHERE workflow_id = id);
END $$;
-- What was parked is due.
CREATE FUNCTION pg_temp.wake(id text) RETURNS void LANGUAGE sql AS $$
    UPDATE pawl.workflow_step SET due_at = now() WHERE workflow_key = (SELECT workflow_key FROM pawl.workflow WHERE workflow_id = id);
    UPDATE pawl.workflow SET due_at = now() WHERE workflow_id = id
$$;

-- Without limits: running_in stays empty, and the place in the queue too.
SELECT pg_temp.enqueue('default', 'free-', 2);
SELECT pg_temp.claim(10);
SELECT workflow_id, running_in, ready_key IS NOT NULL AS in_place FROM pawl.workflow ORDER BY 1;
SELECT pg_temp.complete('free-1 free-2');

-- Concurrency: over all workers, by priority, and again when something has ended, is handed back, or is begun anew.
SELECT pawl.create_queue('three', concurrency => 3);
SELECT pg_temp.enqueue('three', 'low-', 5, 1), pg_temp.enqueue('three', 'high-', 2, -1);
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10), pg_temp.claim(10, :other);
SELECT depth, running FROM pawl.queues WHERE queue = 'three';
SELECT running_in IS NOT NULL AS counted, ready_key FROM pawl.workflow WHERE workflow_id = 'low-1';
SELECT pg_temp.complete('high-1');
SELECT pg_temp.enqueue('three', 'urgent-', 1, -2);
SELECT pg_temp.claim(10, :other);
SELECT count(*) AS refused FROM pawl.release_workflows(:me, pg_temp.keys('high-2'), pg_temp.epochs('high-2'));
SELECT pg_temp.claim(10, :other);
SELECT count(*) AS refused FROM pawl.continue_workflows(:me, pg_temp.keys('low-1'), pg_temp.epochs('low-1'), '{2}');
-- Of equal priority, what ran before goes first.
SELECT pg_temp.claim(10);
SELECT status, ended_at IS NOT NULL FROM pawl.worker WHERE worker_id = :other;
-- A worker that dies gives its permits back.
UPDATE pawl.worker SET heartbeat_at = now() - interval '1 minute' WHERE worker_id = :other;
SELECT reclaimed FROM pawl.heartbeat(:me, 0, 'running');
SELECT pg_temp.claim(10);
SELECT workflow_id FROM pawl.workflow WHERE running_in IS NOT NULL ORDER BY 1;
UPDATE pawl.worker SET ended_at = NULL, status = 'running', heartbeat_at = now(), reclaimed_at = NULL WHERE worker_id = :other;
-- Lower: nothing more starts; higher: more does. 0: nothing.
SELECT pawl.alter_queue('three', concurrency => 1);
SELECT pg_temp.complete('urgent-1'), pg_temp.claim(10);
SELECT pg_temp.complete('high-2'), pg_temp.claim(10);
SELECT pg_temp.complete('low-1'), pg_temp.claim(10);
SELECT pawl.alter_queue('three', concurrency => 2);
SELECT pg_temp.claim(10);
SELECT pawl.alter_queue('three', concurrency => 0);
SELECT pg_temp.complete('low-2 low-3'), pg_temp.claim(10);
SELECT pawl.alter_queue('three', concurrency => -1);
SELECT pg_temp.claim(10);
SELECT workflow_id, running_in FROM pawl.workflow ORDER BY 1;
-- What was running when the first limit came counts too.
SELECT pg_temp.enqueue('three', 'more-', 3);
SELECT pawl.alter_queue('three', concurrency => 3);
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
SELECT workflow_id FROM pawl.workflow WHERE running_in IS NOT NULL ORDER BY 1;
SELECT pg_temp.complete('low-4 low-5 more-1');
SELECT pg_temp.complete(pg_temp.claim(10));

-- Of one worker.
SELECT pawl.create_queue('each', worker_concurrency => 2, concurrency => 3);
SELECT pg_temp.enqueue('each', 'each-', 6);
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10, :other);
SELECT pg_temp.complete('each-1');
SELECT pg_temp.claim(10, :other), pg_temp.claim(10, :other), pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history;

-- A rate limit: first starts only, whatever becomes of them, and what ran before takes no slot.
SELECT pawl.create_queue('rate', rate_limit => 3, rate_period => '1 hour');
SELECT pg_temp.enqueue('rate', 'rate-', 6);
SELECT pg_temp.claim(2);
SELECT pg_temp.complete('rate-1');
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
SELECT count(*) AS refused FROM pawl.release_workflows(:me, pg_temp.keys('rate-2 rate-3'), pg_temp.epochs('rate-2 rate-3'));
SELECT pg_temp.claim(1), pg_temp.claim(10);
-- The slots, as old as their starts; how long a waiter is to wait.
SELECT count(DISTINCT s.used_at), count(*) FROM pawl.queue_rate_slot s;
SELECT (SELECT max(used_at) FROM pawl.queue_rate_slot) = (SELECT max(started_at) FROM pawl.workflow) AS as_started;
SELECT pawl.arm_worker(:me, '{ship}', '{1}') BETWEEN 3500000 AND 3600001 AS until_a_slot_is_free;
UPDATE pawl.queue_rate_slot SET used_at = used_at - interval '1 hour' WHERE slot = 0;
SELECT pawl.arm_worker(:me, '{ship}', '{1}');
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
UPDATE pawl.queue_rate_slot SET used_at = used_at - interval '1 hour' WHERE slot > 0;
SELECT pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history;
-- Both kinds together.
SELECT pawl.create_queue('both', rate_limit => 2, rate_period => '1 hour', concurrency => 1);
SELECT pg_temp.enqueue('both', 'both-', 4);
SELECT pg_temp.claim(10);
SELECT pg_temp.complete('both-1'), pg_temp.claim(10);
SELECT pg_temp.complete('both-2'), pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history;

-- Partitions: so many of each, in turn, with what has ended in between; a partition that cannot go on hides none.
SELECT pawl.create_queue('parts', partition_concurrency => 1, concurrency => 4);
SELECT pg_temp.enqueue('parts', 'a-', 20, 0, 'a'), pg_temp.enqueue('parts', 'b-', 2, 0, 'b'), pg_temp.enqueue('parts', 'c-', 1, 5, 'c');
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
SELECT pg_temp.complete('a-1 b-1'), pg_temp.claim(10);
SELECT pawl.alter_queue('parts', partition_concurrency => 3);
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
SELECT pawl.alter_queue('parts', partition_concurrency => -1, concurrency => -1);
SELECT pg_temp.claim(3);
TRUNCATE pawl.workflow, pawl.workflow_history;
-- A tenant with 100,000 waiting does not delay one with three: they are among the first twelve, and soon.
SELECT pawl.create_queue('tenants', concurrency => 4);
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, queue_id, partition_key, input)
    SELECT 'large-' || i, 'ship', 'x', 1, nextval('pawl.key_seq'), q.queue_id, 'large', '1' FROM generate_series(1, 100000) i, pawl.queue q WHERE q.queue_name = 'tenants';
SELECT pg_temp.enqueue('tenants', 'small-', 3, 0, 'small');
SET statement_timeout = '10s';
SELECT count(*), count(*) FILTER (WHERE run LIKE 'small-%') AS small FROM (
    SELECT unnest(string_to_array(c.ids, ' ')) AS run FROM generate_series(1, 3) i CROSS JOIN LATERAL (
        SELECT ids FROM (SELECT pg_temp.claim(4 + 0 * i) AS ids OFFSET 0) o WHERE pg_temp.complete(o.ids) = 4) c) x;
RESET statement_timeout;
TRUNCATE pawl.workflow, pawl.workflow_history;
-- With a rate limit: what has begun goes on where it is at the head.
SELECT pawl.create_queue('part rate', rate_limit => 2, rate_period => '1 hour');
SELECT pg_temp.enqueue('part rate', 'a-', 3, 0, 'a'), pg_temp.enqueue('part rate', 'b-', 3, 0, 'b');
SELECT pg_temp.claim(10);
SELECT count(*) AS refused FROM pawl.release_workflows(:me, pg_temp.keys('a-1 b-1'), pg_temp.epochs('a-1 b-1'));
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history;
-- Behind a head that cannot run here what has begun goes on too, and what has not waits for a slot.
SELECT pawl.create_queue('behind', rate_limit => 1, rate_period => '1 hour');
SELECT pg_temp.enqueue('behind', 'p-', 50, 0, 'p');
UPDATE pawl.workflow SET rank = 0, crashes = 2 WHERE workflow_id = 'p-1';
SELECT pg_temp.claim(10);
-- Nor does anybody read what waits.
BEGIN;
SELECT pg_stat_get_xact_tuples_returned('pawl.workflow_partition_ready_idx'::regclass) AS before \gset
SELECT pg_temp.claim(10);
SELECT pg_stat_get_xact_tuples_returned('pawl.workflow_partition_ready_idx'::regclass) - :before < 20 AS few;
COMMIT;
SELECT count(*) AS refused FROM pawl.release_workflows(:me, pg_temp.keys('p-2'), pg_temp.epochs('p-2'));
SELECT pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history;
-- A copy starts too, though there are steps to be read.
SELECT pawl.create_queue('copies', rate_limit => 2, rate_period => '1 hour');
SELECT pg_temp.enqueue('copies', 'original-', 1);
SELECT pg_temp.complete(pg_temp.claim(10));
SELECT count(pawl.fork_workflow('original-1', new_workflow_id => 'copy-' || i)) FROM generate_series(1, 3) i;
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history;
-- A rate limit alone asks for no count of what ran before; a limit that comes later does.
SELECT pawl.create_queue('later');
SELECT pg_temp.enqueue('later', 'later-', 5);
SELECT pg_temp.claim(2);
SELECT pawl.alter_queue('later', rate_limit => 10, rate_period => '1 hour');
SELECT pg_temp.claim(1);
SELECT g.counted FROM pawl.queue_gate g JOIN pawl.queue q USING (queue_id) WHERE q.queue_name = 'later';
SELECT pawl.alter_queue('later', concurrency => 3);
SELECT pg_temp.claim(10);
SELECT workflow_id FROM pawl.workflow WHERE running_in IS NOT NULL ORDER BY 1;
TRUNCATE pawl.workflow, pawl.workflow_history;
SELECT pawl.drop_queue('rate'), pawl.drop_queue('both'), pawl.drop_queue('part rate'), pawl.drop_queue('behind'), pawl.drop_queue('copies'), pawl.drop_queue('later');
-- What runs is counted only when something of the queue waits that could run, and no further than its limit.
SELECT pawl.create_queue('counted', concurrency => 5);
SELECT pg_temp.enqueue('counted', 'counted-', 5), pg_temp.claim(10);
SELECT pawl.alter_queue('counted', concurrency => 2);
SELECT pg_temp.enqueue('default', 'free-', 2), pg_temp.claim(1);
BEGIN;
SELECT pg_stat_get_xact_tuples_returned('pawl.workflow_running_in_idx'::regclass) AS before \gset
SELECT pg_temp.claim(1);
SELECT pg_stat_get_xact_tuples_returned('pawl.workflow_running_in_idx'::regclass) - :before AS counted;
SELECT pg_temp.enqueue('counted', 'more-', 1), pg_temp.claim(1);
SELECT pg_stat_get_xact_tuples_returned('pawl.workflow_running_in_idx'::regclass) - :before AS counted;
COMMIT;
TRUNCATE pawl.workflow, pawl.workflow_history;
SELECT pawl.drop_queue('counted');
-- More partitions than one claim visits, none of which can go on: the next claims go on where it stopped, then the session may sleep.
SELECT pawl.create_queue('many', partition_concurrency => 1);
SELECT count(pawl.enqueue_workflow('nobody', partition_key => 'p' || to_char(i, 'FM0000'), queue => 'many')) FROM generate_series(1, 1500) i;
SELECT pg_temp.enqueue('many', 'behind-', 1, 0, 'z');
SELECT pawl.arm_worker(:me, '{ship}', '{1}');
SELECT pg_temp.claim(10), pawl.arm_worker(:me, '{ship}', '{1}');
SELECT pg_temp.claim(10), pawl.arm_worker(:me, '{ship}', '{1}');
SELECT pg_temp.claim(10), pawl.arm_worker(:me, '{ship}', '{1}');
SELECT count(*) < 8 AS soon_asleep FROM (SELECT FROM generate_series(1, 8) g WHERE pg_temp.claim(10 + 0 * g) IS NULL AND pawl.arm_worker(:me, '{ship}', '{1}') = 0) c;
TRUNCATE pawl.workflow, pawl.workflow_history;

-- A parked one frees its permit, or holds it.
SELECT pawl.create_queue('park', concurrency => 1);
SELECT pg_temp.enqueue('park', 'park-', 2);
SELECT pg_temp.claim(10);
SELECT pg_temp.park('park-1', 3600);
SELECT pg_temp.claim(10);
SELECT pg_temp.wake('park-1');
SELECT pg_temp.claim(10);
SELECT pg_temp.complete('park-2'), pg_temp.claim(10);
SELECT pawl.alter_queue('park', hold_while_waiting => true);
SELECT pg_temp.enqueue('park', 'held-', 2);
SELECT pg_temp.park('park-1', 3600) LIKE 'waiting, in %' AS holds;
SELECT pg_temp.claim(10);
SELECT depth, running FROM pawl.queues WHERE queue = 'park';
-- It goes on with the permit that it has.
SELECT pg_temp.wake('park-1');
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(10);
-- Not any more.
SELECT pg_temp.park('park-1', 3600) LIKE 'waiting, in %' AS holds;
SELECT pawl.alter_queue('park', hold_while_waiting => false);
SELECT pg_temp.claim(10);
SELECT pg_temp.wake('park-1');
SELECT pg_temp.claim(10);
SELECT pg_temp.complete('held-1'), pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step;

-- In a partition likewise: what was parked before counts no more, and asks for a permit.
SELECT pawl.create_queue('part park', partition_concurrency => 1, hold_while_waiting => true);
SELECT pg_temp.enqueue('part park', 'part-', 4, 0, 'p');
SELECT pg_temp.claim(10);
SELECT pg_temp.park('part-1', 3600) LIKE 'waiting, in %' AS holds, pg_temp.claim(10);
SELECT pawl.alter_queue('part park', hold_while_waiting => false);
SELECT pg_temp.claim(10);
SELECT pg_temp.wake('part-1');
SELECT pg_temp.claim(10);
SELECT pawl.explain_queue(w, q) FROM pawl.workflow w JOIN pawl.queue q USING (queue_id) WHERE w.workflow_id = 'part-1';
-- Nor does what is to run alone go on with such a one.
UPDATE pawl.workflow SET crashes = 2 WHERE workflow_id = 'part-1';
SELECT pg_temp.claim(1, alone => true), (SELECT suspects FROM pawl.heartbeat(:me, 0, 'running'));
UPDATE pawl.workflow SET crashes = 0 WHERE workflow_id = 'part-1';
-- Not even once parked ones keep their permits again: this one is another's.
SELECT pawl.alter_queue('part park', hold_while_waiting => true);
SELECT pg_temp.claim(10);
SELECT pg_temp.complete('part-2'), pg_temp.claim(10);
SELECT pg_temp.park('part-1', 3600) LIKE 'waiting, in %' AS holds, pg_temp.claim(10);
SELECT pg_temp.wake('part-1');
SELECT pg_temp.claim(10);
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.workflow_step;

-- Pausing: nothing starts, and nothing that is handed back, or is to run alone.
SELECT pg_temp.enqueue('default', 'd-', 2);
SELECT pg_temp.claim(1);
SELECT pg_temp.enqueue('default', 'p-', 1, 0, 'p'), pg_temp.enqueue('park', 'l-', 1);
SELECT pawl.pause_queue('default', 'a test'), pawl.pause_queue('park');
SELECT pg_temp.claim(10);
UPDATE pawl.workflow SET crashes = 2 WHERE workflow_id IN ('d-2', 'l-1');
SELECT pg_temp.claim(1, alone => true);
SELECT suspects FROM pawl.heartbeat(:me, 0, 'running');
SELECT pg_temp.complete('d-1'), pg_temp.claim(10);
SELECT pawl.resume_queue('default');
SELECT suspects FROM pawl.heartbeat(:me, 0, 'running');
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(1, alone => true);
SELECT pg_temp.claim(1, alone => true);
-- To run alone needs a permit too.
SELECT pg_temp.complete('d-2 p-1'), pawl.resume_queue('park'), pg_temp.enqueue('park', 'm-', 1);
SELECT pg_temp.claim(10);
SELECT pg_temp.claim(1, alone => true);
SELECT suspects FROM pawl.heartbeat(:me, 0, 'running');
SELECT pg_temp.complete('m-1');
SELECT suspects FROM pawl.heartbeat(:me, 0, 'running');
SELECT pg_temp.claim(1, alone => true);
SELECT workflow_id, probation, running_in IS NOT NULL AS counted FROM pawl.workflow;
TRUNCATE pawl.workflow, pawl.workflow_history;

-- The net under the marks has caught nothing.
SELECT rescued_by_poll, rescued_by_reset FROM pawl.wakeup_statistics();
SELECT pg_advisory_unlock_all();
