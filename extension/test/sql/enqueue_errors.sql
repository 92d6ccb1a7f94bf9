-- What every argument of the enqueue functions refuses: SQLSTATE, what is wrong, what to do; and nothing is written.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship');
SELECT pawl.create_queue('shipping');
SET client_min_messages = notice;

-- workflow_name
SELECT pawl.enqueue_workflow(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('');
SELECT pawl.enqueue_workflow(repeat('n', 129));
SELECT pawl.enqueue_workflow(repeat('é', 65));
-- input
SELECT pawl.enqueue_workflow('ship', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', to_jsonb(repeat('x', 1048577)));
\echo :LAST_ERROR_SQLSTATE
SET pawl.max_payload = 1500;
SELECT pawl.enqueue_workflow('ship', to_jsonb(repeat('x', 1600)));
SELECT pawl.enqueue_workflow('ship', (SELECT jsonb_agg(0) FROM generate_series(1, 600)));
SELECT pawl.enqueue_workflow('ship', to_jsonb(repeat('x', 1400))) IS NOT NULL AS fits;
RESET pawl.max_payload;
-- workflow_id
SELECT pawl.enqueue_workflow('ship', workflow_id => '');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', workflow_id => repeat('i', 513));
-- on_existing
SELECT pawl.enqueue_workflow('ship', on_existing => 'retrun');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', on_existing => NULL);
SELECT pawl.enqueue_workflow('ship', on_existing => 'replace');
-- queue
SELECT pawl.enqueue_workflow('ship', queue => NULL);
SELECT pawl.enqueue_workflow('ship', queue => '');
SELECT pawl.enqueue_workflow('ship', queue => 'shiping');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', queue => 'something else altogether');
SELECT pawl.enqueue_workflow('ship', queue => repeat('q', 129));
-- priority
SELECT pawl.enqueue_workflow('ship', priority => NULL);
\echo :LAST_ERROR_SQLSTATE
-- run_at, delay
SELECT pawl.enqueue_workflow('ship', run_at => now(), delay => '1 second');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', delay => '300000 years');
\echo :LAST_ERROR_SQLSTATE
-- A timeout is positive, and not so long that a first claim could not add it to its time.
SELECT pawl.enqueue_workflow('ship', timeout => '0 s');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', timeout => '-1 hour');
SELECT pawl.enqueue_workflow('ship', timeout => '10001 years');
\echo :LAST_ERROR_SQLSTATE
-- deduplication_id, on_duplicate
SELECT pawl.enqueue_workflow('ship', deduplication_id => '');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', deduplication_id => repeat('d', 513));
SELECT pawl.enqueue_workflow('ship', deduplication_id => 'd', on_duplicate => 'retrun');
SELECT pawl.enqueue_workflow('ship', deduplication_id => 'd', on_duplicate => NULL);
-- partition_key
SELECT pawl.enqueue_workflow('ship', partition_key => '');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', partition_key => repeat('p', 513));
-- workflow_version
SELECT pawl.enqueue_workflow('ship', workflow_version => 0);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', workflow_version => -1);
-- headers, attributes
SELECT pawl.enqueue_workflow('ship', headers => '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', headers => 'null');
SELECT pawl.enqueue_workflow('ship', headers => jsonb_build_object('h', repeat('h', 8193)));
SELECT pawl.enqueue_workflow('ship', attributes => '"x"');
SELECT pawl.enqueue_workflow('ship', attributes => jsonb_build_object('a', repeat('a', 8193)));
-- options
SELECT pawl.enqueue_workflow('ship', options => '[]');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('ship', options => '{"prioriti": 1}');
SELECT pawl.enqueue_workflow('ship', options => '{"x": 1}');
SELECT pawl.enqueue_workflow('ship', options => jsonb_build_object(repeat('x', 1000), 1));

-- The same of many.
SELECT pawl.enqueue_workflows(NULL, ARRAY['{}'::jsonb]);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflows('', ARRAY['{}'::jsonb]);
SELECT pawl.enqueue_workflows('ship', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', NULL]::jsonb[]);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', to_jsonb(repeat('x', 1048577))]);
SELECT pawl.enqueue_workflows('ship', ARRAY[['{}', '{}']]::jsonb[]);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', '{}']::jsonb[], workflow_ids => ARRAY['a']);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', '{}']::jsonb[], workflow_ids => ARRAY['a', '']);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', '{}']::jsonb[], workflow_ids => ARRAY['a', repeat('i', 513)]);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', '{}']::jsonb[], partition_keys => ARRAY['a']);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}', '{}']::jsonb[], partition_keys => ARRAY['a', '']);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], on_existing => 'x');
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], queue => 'shiping');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], priority => NULL);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], run_at => now(), delay => '1 hour');
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], timeout => '-1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], workflow_version => 0);
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], headers => '[]');
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], attributes => '[]');
SELECT pawl.enqueue_workflows('ship', ARRAY['{}']::jsonb[], options => '{"deduplication": "x"}');

-- Only what fitted was written.
SELECT workflow_name, count(*) FROM pawl.workflow GROUP BY 1;
SELECT count(*) FROM pawl.payload;

-- The worker's side of the library.
SELECT * FROM pawl.claim_workflows(NULL, 1, '{ship}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, '{ship}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'w', 'h', 1, '1', 1, 1, NULL, '{ship}', '{1}', '{p}');
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', NULL, '{ship}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 0, '{ship}', '{1}', NULL);
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', -1, '{ship}', '{1}', NULL);
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, NULL, '{1}', NULL);
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, '{ship}', NULL, NULL);
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, '{ship,bill}', '{1}', NULL);
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, '{ship,NULL}', '{1,1}', NULL);
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, '{ship}', '{NULL}', NULL);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 1, '{ship}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pawl.arm_worker(NULL, '{ship}', '{1}', NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.arm_worker('00000000-0000-4000-8000-000000000001', NULL, '{1}', NULL);
SELECT pawl.arm_worker('00000000-0000-4000-8000-000000000001', '{ship,bill}', '{1}', NULL);
CALL pawl.wait(-2, NULL);
\echo :LAST_ERROR_SQLSTATE
CALL pawl.wait(NULL, NULL);
BEGIN;
CALL pawl.wait(0, NULL);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT pawl.mark_ready(NULL, 1, 1, 'ship', NULL, false);
SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NOT NULL;

-- The settings: their ranges, and a misspelt one.
\set VERBOSITY sqlstate
SET pawl.max_payload = 0;
SET pawl.max_steps = 0;
SET pawl.max_recoveries = 0;
SET pawl.poll_interval = -1;
SET pawl.require_handler = 'maybe';
SELECT set_config('pawl.reason', repeat('x', 1025), false);
SET pawl.max_payloads = 1;
\set VERBOSITY default
SELECT name, setting, unit, vartype, context, min_val, max_val FROM pg_settings WHERE name LIKE 'pawl.%' ORDER BY name;
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000001');

SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.payload, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue;
