-- Which version of a handler takes what: work in flight stays on its version while a live worker offers it, and otherwise moves to the next higher one
-- that is offered.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.sql_handler;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship'), ('bill'), ('close');
SET client_min_messages = notice;
SET pawl.poll_interval = 0;
\set w2 '\'00000000-0000-4000-8000-000000000002\''
\set w4 '\'00000000-0000-4000-8000-000000000004\''
-- Another worker: only its row, so that this session need not be its life line.
CREATE FUNCTION pg_temp.worker(id uuid, names text[], versions integer[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO pawl.worker (worker_id, pid, protocol, concurrency, status, worker_name, hostname, version, role_name)
        VALUES (id, 1, 1, 1, 'running', id::text, 'h', '1', 'r');
    INSERT INTO pawl.worker_handler (worker_id, workflow_name, workflow_version, plugin) SELECT id, n, v, 'p' FROM unnest(names, versions) u (n, v);
    SELECT pawl.mark_offers();
$$;
CREATE FUNCTION pg_temp.dies(id uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE pawl.worker SET ended_at = now(), status = 'dead' WHERE worker_id = id;
    SELECT pawl.mark_offers();
$$;
-- Entries that began on versions 1 to 6, one of each that is pinned, and one that never began.
CREATE FUNCTION pg_temp.fill() RETURNS void LANGUAGE sql AS $$
    DELETE FROM pawl.workflow;
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, workflow_version, pinned, started_at, input)
        SELECT 'on-' || v, 'ship', 'x', 0, nextval('pawl.key_seq'), v, false, now(), '{}' FROM generate_series(1, 6) v;
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, workflow_version, pinned, started_at, input)
        SELECT 'pinned-' || v, 'ship', 'x', 0, nextval('pawl.key_seq'), v, true, now(), '{}' FROM generate_series(1, 6) v;
    INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, input) VALUES ('new', 'ship', 'x', 1, nextval('pawl.key_seq'), '{}');
$$;
CREATE FUNCTION pg_temp.claim(worker uuid, versions integer[]) RETURNS TABLE (workflow_id text, workflow_version integer) LANGUAGE sql AS $$
    SELECT workflow_id, workflow_version FROM pawl.claim_workflows(worker, 100, array_fill('ship'::text, ARRAY[cardinality(versions)]), versions, NULL) ORDER BY 1
$$;
SELECT pg_temp.worker(:w2, '{ship}', '{2}'), pg_temp.worker(:w4, '{ship}', '{4}');

-- Two lives: each has its own, and what is below it down to the other's. What is higher than all that is offered waits.
SELECT pg_temp.fill();
SELECT * FROM pg_temp.claim(:w2, '{2}');
SELECT * FROM pg_temp.claim(:w4, '{4}');
SELECT workflow_id FROM pawl.workflow WHERE claimed_by IS NULL ORDER BY 1;
SELECT workflow_id, workflow_version, pinned FROM pawl.workflow WHERE claimed_by IS NOT NULL ORDER BY 1;

-- The higher one dies: nothing of its moves down to old code.
SELECT pg_temp.fill(), pg_temp.dies(:w4);
SELECT * FROM pg_temp.claim(:w2, '{2}');
SELECT * FROM pg_temp.claim(:w2, '{2}');

-- The lower one dies, while its entries wait behind the marks of the higher one's session.
UPDATE pawl.worker SET ended_at = NULL, status = 'running';
SELECT pawl.mark_offers();
SELECT pg_temp.fill();
SELECT * FROM pg_temp.claim(:w4, '{4}');
SELECT * FROM pg_temp.claim(:w4, '{4}');
SELECT * FROM pg_temp.claim(:w4, '{4}');
SELECT pg_temp.dies(:w2);
SELECT * FROM pg_temp.claim(:w4, '{4}');

-- Several versions at one worker, as the claim says; the worker's own lower one counts.
UPDATE pawl.worker SET ended_at = NULL, status = 'running';
SELECT pawl.mark_offers();
SELECT pg_temp.fill();
SELECT * FROM pg_temp.claim(:w4, '{5,4,2}');
SELECT workflow_id FROM pawl.workflow WHERE claimed_by IS NULL ORDER BY 1;
-- A name that is not asked for is not moved, whoever offers it.
SELECT pg_temp.fill();
SELECT count(*) FROM pawl.claim_workflows(:w4, 100, '{bill}', '{6}', NULL);

-- An SQL handler is offered by everybody, and is a version like any other.
SELECT pg_temp.fill();
INSERT INTO pawl.workflow (workflow_id, workflow_name, enqueued_by, rank, ready_key, input) VALUES ('books', 'close', 'x', 1, nextval('pawl.key_seq'), '{}');
INSERT INTO pawl.sql_handler (workflow_name, workflow_version, function_signature, function_owner, search_path, role_name, created_by)
    VALUES ('close', 1, 'f(jsonb)', 'r', '', 'r', 'r'), ('ship', 3, 'f(jsonb)', 'r', '', 'r', 'r');
SELECT pawl.mark_offers();
SELECT workflow_id, workflow_version, sql_handler FROM pawl.claim_workflows(:w4, 100, '{ship}', '{4}', NULL) ORDER BY 1;
SELECT pg_temp.fill();
SELECT workflow_id, workflow_version, sql_handler FROM pawl.claim_workflows(:w2, 100, '{}', '{}', NULL) ORDER BY 1;
TRUNCATE pawl.sql_handler;
SELECT pawl.mark_offers();

-- A waiter is woken for what it inherited, and not for what another runs.
DELETE FROM pawl.workflow;
SELECT wakes AS wakes_before FROM pawl.wakeup_statistics() \gset
SELECT pawl.arm_worker(:w4, '{ship}', '{4}', NULL);
SELECT pawl.mark_ready(0, 0, nextval('pawl.key_seq'), 'ship', 2, false);
SELECT wakes - :wakes_before AS wakes FROM pawl.wakeup_statistics();
SELECT pawl.mark_ready(0, 0, nextval('pawl.key_seq'), 'ship', 5, false);
SELECT wakes - :wakes_before AS wakes FROM pawl.wakeup_statistics();
SELECT pawl.mark_ready(0, 0, nextval('pawl.key_seq'), 'ship', 3, false);
SELECT wakes - :wakes_before AS wakes FROM pawl.wakeup_statistics();
SELECT pawl.arm_worker(:w4, '{ship}', '{4}', NULL);
-- Everybody looks again.
SELECT pg_temp.dies(:w2);
SELECT wakes - :wakes_before AS wakes FROM pawl.wakeup_statistics();
SELECT pawl.arm_worker(:w4, '{ship}', '{4}', NULL);
SELECT pawl.mark_ready(0, 0, nextval('pawl.key_seq'), 'ship', 2, false);
SELECT wakes - :wakes_before AS wakes FROM pawl.wakeup_statistics();

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.worker, pawl.worker_handler, pawl.known_handler;
SELECT pawl.mark_offers();
