-- Calls every function that users and workers may call, and every view, as they do: a worker's life, and what people ask and order meanwhile.
-- Runs on an empty database and on a full one: psql -v history=N, the same as fill.sql had, and -v state=NAME, which becomes the application_name:
-- what this script asks for itself is under another one, and what people ask under NAME_asked.
SET client_min_messages = warning;
\set QUIET on
\pset format unaligned
\pset tuples_only on
\o /dev/null
\set aside 'SET application_name = aside'
\set back 'SET application_name = :\'state\''
:back;
SELECT gen_random_uuid() AS me, gen_random_uuid() AS lost, substr(gen_random_uuid()::text, 1, 8) AS run \gset
\set register 'SELECT held FROM pawl.register_worker(:worker, :name, \'machine\', 1, \'1\', 1, 1000, NULL, \'{ship,pack,report}\', \'{1,1,1}\', \'{p,p,p}\')'
\set refill 'DROP TABLE IF EXISTS mine; CREATE TEMPORARY TABLE mine AS SELECT workflow_key, epoch, workflow_id FROM pawl.claim_workflows(:\'me\', 100, \'{ship,pack}\', \'{1,1}\', \'{default}\')'
\set keys '(SELECT coalesce(array_agg(workflow_key), \'{}\') FROM mine)'
\set epochs '(SELECT coalesce(array_agg(epoch), \'{}\') FROM mine)'
\set size '(SELECT count(*)::integer FROM mine)'

-- Users: enqueue in every form, by trigger too; messages.
CREATE TEMPORARY TABLE shop_order (id integer, customer text);
CREATE TRIGGER ship AFTER INSERT ON shop_order FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'workflow_id=order-{customer}-{id}');
INSERT INTO shop_order SELECT i, :'run' FROM generate_series(1, 10) i;
SELECT pawl.enqueue_workflow('ship', workflow_id => 'one-' || :'run'), pawl.enqueue_workflow('ship', workflow_id => 'one-' || :'run'),
    pawl.enqueue_workflow('ship', workflow_id => 'h-77', on_existing => 'skip'),
    pawl.enqueue_workflow('pack', workflow_id => 'bounce-' || :'run', deduplication_id => 'bounce', on_duplicate => 'replace', delay => '1 minute'),
    pawl.enqueue_workflow('pack', '{"n": 2}', deduplication_id => 'bounce', on_duplicate => 'replace', delay => '1 minute'),
    pawl.enqueue_workflow('ship', queue => 'mail', priority => 2, timeout => '1 hour', headers => '{"t": 1}', attributes => '{"customer": 7}');
SELECT pawl.enqueue_workflows('ship', array_fill('{}'::jsonb, ARRAY[500]), ARRAY(SELECT 'many-' || :'run' || '-' || i FROM generate_series(1, 500) i));
SELECT pawl.enqueue_workflows('pack', array_fill('{}'::jsonb, ARRAY[100]), partition_keys => ARRAY(SELECT 'tenant-' || i FROM generate_series(1, 100) i), queue => 'tenants');
SELECT pawl.enqueue_workflows('pack', array_fill('{}'::jsonb, ARRAY[100]), queue => 'limited');
SELECT pawl.send_message('one-' || :'run', '1', idempotency_key => 'k'), pawl.send_messages(ARRAY(SELECT 'many-' || :'run' || '-' || i FROM generate_series(1, 100) i), '1');

-- A worker.
\set worker :'me'
\set name '\'alpha\''
:register;
SELECT * FROM pawl.heartbeat(:'me', 0, 'running');
SELECT pawl.arm_worker(:'me', '{ship,pack}', '{1,1}', NULL), pawl.arm_signals(:'me');
CALL pawl.wait(0, NULL);
CALL pawl.wait_for_workflow('one-' || :'run', '0');
SELECT count(*) FROM pawl.claim_workflows(:'me', 20, '{ship,pack}', '{1,1}', '{limited}');
SELECT count(*) FROM pawl.claim_workflows(:'me', 20, '{ship,pack}', '{1,1}', '{tenants}');
SELECT count(*) FROM pawl.claim_workflows(:'me', 20, '{ship,pack}', '{1,1}', NULL);
SELECT count(*) FROM pawl.claim_workflows(:'me', 1, '{ship,pack}', '{1,1}', NULL, true);
-- A first limit, and one that is given up.
SELECT pawl.alter_queue('mail', concurrency => 1000, hold_while_waiting => true);
SELECT count(*) FROM pawl.claim_workflows(:'me', 20, '{ship,pack}', '{1,1}', '{mail}');
SELECT pawl.alter_queue('mail', concurrency => -1, hold_while_waiting => false);
SELECT * FROM pawl.release_unknown(:'me', '{}', '{}');
:refill;
SELECT count(*) FROM pawl.get_recorded_steps(:'me', :keys, :epochs, NULL, NULL, 1000000);
SELECT count(*) FROM pawl.record_steps(:'me', :keys, :epochs, array_fill('first'::text, ARRAY[:size]), array_fill(1, ARRAY[:size]), array_fill('step'::text, ARRAY[:size]),
    array_fill('{"n": 1}'::jsonb, ARRAY[:size]), array_fill(NULL::jsonb, ARRAY[:size]), array_fill(now(), ARRAY[:size]));
SELECT count(*) FROM pawl.record_steps(:'me', :keys, :epochs, array_fill('first'::text, ARRAY[:size]), array_fill(1, ARRAY[:size]), array_fill('step'::text, ARRAY[:size]),
    array_fill('{"n": 1}'::jsonb, ARRAY[:size]), array_fill(NULL::jsonb, ARRAY[:size]), array_fill(now(), ARRAY[:size]));
SELECT count(*) FROM pawl.record_attempts(:'me', :keys, :epochs, array_fill('second'::text, ARRAY[:size]), array_fill(2, ARRAY[:size]), array_fill('step'::text, ARRAY[:size]),
    array_fill(1, ARRAY[:size]), array_fill(NULL::jsonb, ARRAY[:size]), array_fill('{"code": "E"}'::jsonb, ARRAY[:size]), array_fill(1000000::bigint, ARRAY[:size]),
    array_fill(now(), ARRAY[:size]), array_fill(false, ARRAY[:size]));
:aside;
SELECT m.workflow_id AS one, :'me' || ':' || m.epoch || ':3' AS fence FROM mine m JOIN pawl.workflow w USING (workflow_key) WHERE w.cancel_requested_at IS NULL
    AND NOT EXISTS (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = m.workflow_key AND s.step_name = 'third') LIMIT 1 \gset
:back;
SELECT pawl.record_step(:'one', :'fence', 'third', '1', NULL);
-- One call of each kind, of a workflow each.
SELECT count(*) FROM (SELECT array_agg(m.workflow_key) AS keys, array_agg(m.epoch) AS epochs FROM (SELECT * FROM mine LIMIT 13) m) k, (SELECT array_agg(c.kind) AS kinds, array_agg(c.arguments) AS arguments,
        array_agg('call'::text) AS names, array_agg(9) AS numbers, array_agg(now()) AS times FROM (VALUES
            ('sleep', jsonb_build_object('seconds', 600)), ('receive', '{}'), ('receive', '{"topic": "other", "timeout": 60}'),
            ('get_event', '{"workflow_id": "w-5", "key": "ready"}'), ('set_event', '{"key": "ready", "value": 1}'), ('send', '{"workflow_id": "w-6", "message": 1}'),
            ('send', '{"workflow_id": "h-6", "message": 1}'), ('start_child', '{"workflow_name": "pack"}'), ('await_child', '{"workflow_id": "h-10"}'),
            ('await_child', '{"workflow_id": "w-7"}'), ('write_stream', '{"key": "s", "value": 1}'), ('close_stream', '{"key": "s"}'),
            ('merge_attributes', '{"attributes": {"a": 1}}')) c (kind, arguments)) c,
    pawl.perform_calls(:'me', k.keys, k.epochs, c.names, c.numbers, c.kinds, c.arguments, c.times) WHERE cardinality(k.keys) = 13;
SELECT count(*) FROM (SELECT * FROM mine LIMIT 1) m, pawl.emit_values(:'me', ARRAY[m.workflow_key, m.workflow_key], ARRAY[m.epoch, m.epoch], '{progress,write_stream}',
    ARRAY['{"value": 1}', '{"key": "out", "value": 2}']::jsonb[]);
SELECT count(*) FROM pawl.take_signals(:'me');
SELECT pawl.cancel_workflow(workflow_id, 'too late') FROM mine OFFSET 90;
SELECT count(*) FROM pawl.take_signals(:'me');
SELECT count(*) FROM (SELECT array_agg(m.workflow_key) AS keys, array_agg(m.epoch) AS epochs, array_agg('a message'::text) AS waits FROM (SELECT * FROM mine LIMIT 13) m) k, pawl.park_workflows(:'me', k.keys, k.epochs, k.waits)
    WHERE keys IS NOT NULL;
SELECT count(*) FROM (SELECT array_agg(m.workflow_key) AS keys, array_agg(m.epoch) AS epochs, array_agg('{}'::jsonb) AS inputs FROM (SELECT * FROM mine OFFSET 13 LIMIT 5) m) k, pawl.continue_workflows(:'me', k.keys, k.epochs, k.inputs)
    WHERE keys IS NOT NULL;
SELECT count(*) FROM (SELECT array_agg(m.workflow_key) AS keys, array_agg(m.epoch) AS epochs FROM (SELECT * FROM mine OFFSET 18 LIMIT 5) m) k, pawl.release_workflows(:'me', k.keys, k.epochs) WHERE keys IS NOT NULL;
DELETE FROM mine WHERE ctid = ANY (ARRAY(SELECT ctid FROM mine LIMIT 23));
-- A resend too: its rows have ended already.
SELECT count(*) FROM generate_series(1, 2) i, pawl.complete_workflows(:'me', :keys, :epochs,
    (SELECT array_agg(CASE WHEN m.workflow_key % 5 = 0 THEN 'failed' ELSE 'succeeded' END) FROM mine m),
    (SELECT array_agg(CASE WHEN m.workflow_key % 5 = 0 THEN 'error' END) FROM mine m),
    (SELECT array_agg(CASE WHEN m.workflow_key % 5 <> 0 THEN '{"ok": true}'::jsonb END) FROM mine m),
    (SELECT array_agg(CASE WHEN m.workflow_key % 5 = 0 THEN '{"code": "E"}'::jsonb END) FROM mine m)) WHERE :size > 0;
SELECT count(*) FROM pawl.take_signals(:'me');

-- A SQL handler.
CREATE OR REPLACE FUNCTION public.twice(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
SELECT pawl.create_handler('twice', 'public.twice(jsonb)', on_existing => 'replace');
SELECT pawl.enqueue_workflow('twice', workflow_id => 'twice-' || :'run', priority => -9);
SELECT pawl.run_handler(:'me', c.workflow_key, c.epoch) FROM pawl.claim_workflows(:'me', 1, '{ship,pack}', '{1,1}', '{default}') c WHERE c.sql_handler;
SELECT pawl.drop_handler('twice');

-- One that is lost.
\set worker :'lost'
\set name '\'beta\''
:register;
SELECT count(*) FROM pawl.claim_workflows(:'lost', 50, '{ship,pack}', '{1,1}', NULL);
UPDATE pawl.worker SET heartbeat_at = now() - interval '1 hour' WHERE worker_id = :'lost';
UPDATE pawl.installation SET maintained_at = now() - interval '2 hours';
SELECT * FROM pawl.heartbeat(:'me', 0, 'running');
SELECT pawl.release_hold('');

-- What people order.
SELECT pawl.cancel_workflows(ARRAY['one-' || :'run'], 'no more');
SELECT pawl.cancel_workflow('w-15') WHERE EXISTS (SELECT FROM pawl.workflow WHERE workflow_id = 'w-15');
:aside;
SELECT h.workflow_id AS failed FROM pawl.workflow_history h WHERE h.status = 'failed' AND h.created_at > now() - interval '30 days' ORDER BY h.created_at DESC LIMIT 1 \gset
SELECT h.workflow_id AS ended FROM pawl.workflow_history h WHERE h.status = 'succeeded' AND EXISTS (SELECT FROM pawl.workflow_step s WHERE s.workflow_key = h.workflow_key AND s.step_name = 'first')
    ORDER BY h.completed_at DESC LIMIT 1 \gset
SELECT a.ids[1] AS v1, a.ids[2] AS v2, a.ids[3] AS v3 FROM (SELECT ARRAY(SELECT h.workflow_id FROM pawl.workflow_history h
    WHERE h.workflow_id <> :'ended' AND h.parent_key IS NULL AND h.status = 'succeeded' ORDER BY h.created_at DESC OFFSET 5 LIMIT 3) AS ids) a \gset
:back;
SELECT pawl.export_workflow(:'ended'), pawl.get_event(:'ended', 'ready');
SELECT pawl.fork_workflow(:'ended', 'first'), pawl.fork_workflows(ARRAY[:'ended'], 'first'), pawl.fork_workflow(:'failed', from_failure => true);
SELECT pawl.resume_workflow(:'failed'), pawl.resume_workflows(ARRAY[:'failed']);
SELECT pawl.rewind_workflow(:'ended', 'first'), pawl.rewind_workflows(ARRAY[:'ended'], 'first');
SELECT count(pawl.move_workflows('pack', 9, 10));
SELECT pawl.redact_workflow(:'v1');
SELECT pawl.redact_workflows(ARRAY[:'v2', :'v3']);
SELECT pawl.delete_workflow(:'v1');
SELECT pawl.delete_workflows(ARRAY[:'v2', :'v3']);
SELECT pawl.create_queue('extra', concurrency => 2, on_existing => 'replace');
SELECT pawl.alter_queue('extra', concurrency => 3, rate_limit => 10, rate_period => '1 second');
SELECT pawl.pause_queue('extra', 'a test'), pawl.resume_queue('extra');
SELECT pawl.drop_queue('extra');
SELECT pawl.create_schedule('s', '* * * * *', 'report', on_existing => 'replace'), pawl.alter_schedule('s', cron => '*/5 * * * *');
SELECT pawl.trigger_schedule('s'), pawl.backfill_schedule('s', now() - interval '1 hour', now() - interval '30 minutes');
SELECT pawl.pause_schedule('s'), pawl.resume_schedule('s'), pawl.next_instant('@daily', 'UTC', now());
UPDATE pawl.schedule SET next_at = now() - interval '1 second' WHERE schedule_name = ANY (ARRAY['s', 'nightly-1', 'nightly-2']);
SELECT pawl.run_schedules(:'me');
SELECT pawl.drop_schedule('s');
SELECT pawl.set_retention('pack', keep => 20), pawl.set_retention(queue => 'default', succeeded => '59 days');
UPDATE pawl.installation SET retention_at = NULL;
SELECT pawl.run_retention(:'me');
UPDATE pawl.installation SET retention_at = NULL;
SELECT pawl.run_retention(:'me');
UPDATE pawl.installation SET retention_at = NULL;
SELECT pawl.run_retention(:'me');
SELECT pawl.set_retention('pack'), pawl.set_retention(queue => 'default');
SELECT pawl.run_retention(:'me');
SELECT pawl.explain_workflow('one-' || :'run');
SELECT pawl.explain_workflow(w.workflow_id) FROM pawl.workflow w WHERE w.workflow_id = ANY ('{w-1,w-3,w-4,w-5,w-6,w-7,w-8,w-9,w-10}');
:aside;
UPDATE pawl.workflow SET claimed_at = now() - interval '2 hours' WHERE claimed_by = :'me';
:back;
SELECT * FROM pawl.diagnose();
SELECT * FROM pawl.recent_activity(now() - interval '5 seconds');
SELECT pawl.may_inspect();
CREATE ROLE pawl_explain;
SELECT pawl.grant_access('pawl_explain', 'observe'), pawl.revoke_access('pawl_explain', 'observe');
DROP ROLE pawl_explain;

-- What people ask, besides docs/operations.md.
SELECT :'state' || '_asked' AS asked \gset
SET application_name = :asked;
SELECT * FROM pawl.workflows WHERE workflow_id = 'h-77';
SELECT * FROM pawl.workflows WHERE workflow_key = 77;
SELECT * FROM pawl.workflow_steps WHERE workflow_id = 'h-77';
SELECT * FROM pawl.messages WHERE workflow_id = 'h-77';
SELECT * FROM pawl.events WHERE workflow_id = 'h-76' AND key = 'ready';
SELECT * FROM pawl.stream_entries WHERE workflow_id = 'h-81' AND key = 'log' ORDER BY position;
SELECT * FROM pawl.workflow_steps WHERE status = 'failed' AND created_at > now() - interval '2 hours';
SELECT * FROM pawl.audit WHERE object_kind = 'workflow' AND object_name = 'h-77';
SELECT * FROM pawl.audit ORDER BY audit_key DESC LIMIT 50;
SELECT * FROM pawl.schedules;
SELECT * FROM pawl.retention;
SELECT * FROM pawl.queues;
SELECT * FROM pawl.workers;
SELECT * FROM pawl.handlers;
:back;
SELECT pawl.unregister_worker(:'me');
DROP TABLE mine, shop_order;
\o
