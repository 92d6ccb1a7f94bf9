-- Every kind of durable call: what it does, what its step records, and what of it is refused or fails.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.message, pawl.event, pawl.stream_entry, pawl.closed_stream, pawl.waiter, pawl.signal,
    pawl.cancel_request;
SELECT pawl.invalidate_caches();
\set me '\'00000000-0000-4000-8000-000000000001\''
SELECT held FROM pawl.register_worker(:me, 'alpha', 'machine', 1, '1', 1, 10, NULL, '{ship,bill}', '{1,1}', '{shop,shop}');
CREATE FUNCTION pg_temp.call(id text, step text, kind text, arguments jsonb, number integer DEFAULT 1)
RETURNS TABLE (refusal text, status text, output jsonb, code text, message text, due integer) LANGUAGE sql AS $$
    SELECT p.refusal, p.status, p.output, p.error ->> 'code', p.error ->> 'message', ceil(p.due_in / 1e7)::integer * 10
    FROM pawl.workflow w, pawl.perform_calls(w.claimed_by, ARRAY[w.workflow_key], ARRAY[w.epoch], ARRAY[step], ARRAY[number], ARRAY[kind],
        ARRAY[arguments], ARRAY[now()]) p WHERE w.workflow_id = id
$$;
CREATE FUNCTION pg_temp.finish(id text, its_status text, its_output jsonb, its_error jsonb, reason text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(p.refusal, 'ended') FROM pawl.workflow w LEFT JOIN LATERAL pawl.complete_workflows(w.claimed_by, ARRAY[w.workflow_key],
        ARRAY[w.epoch], ARRAY[its_status], ARRAY[reason], ARRAY[its_output], ARRAY[its_error]) p ON true WHERE w.workflow_id = id
$$;
SELECT pawl.enqueue_workflow('ship', workflow_id => i, headers => '{"trace": "t"}', attributes => '{"customer": 42}', priority => 3,
    partition_key => 'tenant', timeout => '1 hour') FROM unnest('{a,b,c,d}'::text[]) i;
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}', NULL);

-- send: to another one, to oneself, to one that has ended, to none. JSON null is a message, and so is nothing at all.
SELECT * FROM pg_temp.call('a', 'send', 'send', '{"workflow_id": "b", "message": {"x": 1}}');
SELECT * FROM pg_temp.call('a', 'send#2', 'send', '{"workflow_id": "b", "message": null, "topic": "t"}');
SELECT * FROM pg_temp.call('a', 'send#3', 'send', '{"workflow_id": "a", "topic": null}');
SELECT * FROM pg_temp.call('a', 'send#4', 'send', '{"workflow_id": "nobody", "message": 1}');
SELECT pg_temp.finish('d', 'succeeded', '{"large": 1}', NULL);
SELECT * FROM pg_temp.call('a', 'send#5', 'send', '{"workflow_id": "d", "message": 1}');
SELECT * FROM pg_temp.call('a', 'send#6', 'send', jsonb_build_object('workflow_id', 'b', 'message', repeat('x', 1100000)));
-- Asked again it answers what is recorded, and nothing is sent; asked as something else it is refused.
SELECT * FROM pg_temp.call('a', 'send', 'send', '{"workflow_id": "c", "message": 7}');
SELECT * FROM pg_temp.call('a', 'send#4', 'send', '{"workflow_id": "b"}');
SELECT * FROM pg_temp.call('a', 'send', 'set_event', '{"key": "e"}');
SELECT workflow_id, topic, message, sent_by = current_user AS by_me, consumed_by FROM pawl.messages ORDER BY message_key;

-- receive: the oldest of its topic, once.
SELECT * FROM pg_temp.call('b', 'receive', 'receive', '{}');
SELECT * FROM pg_temp.call('b', 'receive#2', 'receive', '{"topic": "t", "timeout": 60}');
SELECT * FROM pg_temp.call('b', 'receive#3', 'receive', '{"timeout": 60}');
SELECT * FROM pg_temp.call('b', 'receive#4', 'receive', '{"topic": "u", "timeout": 0}');
SELECT * FROM pg_temp.call('b', 'receive#4', 'receive', '{"topic": "u"}');
SELECT * FROM pg_temp.call('b', 'receive#5', 'receive', '{"timeout": -5}');
SELECT * FROM pg_temp.call('b', 'receive#6', 'receive', '{"timeout": "2020-01-01T00:00:00+02:00"}');
SELECT * FROM pg_temp.call('b', 'receive', 'receive', '{}');
SELECT step_name, status, waits_for, due_at > now() + interval '50 seconds' AS later, output, completed_at IS NOT NULL AS completed
    FROM pawl.workflow_steps WHERE workflow_id = 'b' ORDER BY step_name;
-- The time is that of the first try.
UPDATE pawl.workflow_step SET due_at = due_at - interval '30 seconds' WHERE step_name = 'receive#3';
SELECT * FROM pg_temp.call('b', 'receive#3', 'receive', '{"timeout": 60}');
SELECT pawl.send_message('b', '"first"'), pawl.send_message('b', '"second"');
SELECT * FROM pg_temp.call('b', 'receive#3', 'receive', '{"timeout": 60}');
SELECT topic, message, consumed_by FROM pawl.messages WHERE workflow_id = 'b' ORDER BY message_key;

-- sleep
SELECT * FROM pg_temp.call('c', 'sleep', 'sleep', '{"seconds": 0}');
SELECT * FROM pg_temp.call('c', 'sleep#2', 'sleep', '{"seconds": 120.5}');
SELECT * FROM pg_temp.call('c', 'sleep#3', 'sleep', '{"until": "2001-02-03T04:05:06.789Z"}');
SELECT * FROM pg_temp.call('c', 'sleep#4', 'sleep', '{"seconds": 1e300}');
SELECT * FROM pg_temp.call('c', 'sleep#5', 'sleep', '{"until": 981173106}');
UPDATE pawl.workflow_step SET due_at = now() - interval '1 second' WHERE step_name = 'sleep#2';
SELECT * FROM pg_temp.call('c', 'sleep#2', 'sleep', '{"seconds": 120.5}');

-- Events: the latest value, kept with all before it; also of one that has ended.
SELECT * FROM pg_temp.call('b', 'wait_e', 'get_event', '{"workflow_id": "a", "key": "e", "timeout": 3600}');
SELECT * FROM pg_temp.call('a', 'event', 'set_event', '{"key": "e", "value": 1}');
SELECT * FROM pg_temp.call('a', 'event#2', 'set_event', '{"key": "e", "value": [2]}');
SELECT * FROM pg_temp.call('a', 'event#3', 'set_event', '{"key": "nothing"}');
SELECT * FROM pg_temp.call('b', 'wait_e', 'get_event', '{"workflow_id": "a", "key": "e"}');
SELECT * FROM pg_temp.call('b', 'wait_n', 'get_event', '{"workflow_id": "a", "key": "nothing"}');
SELECT * FROM pg_temp.call('b', 'wait_d', 'get_event', '{"workflow_id": "d", "key": "e"}');
SELECT * FROM pg_temp.call('b', 'wait_x', 'get_event', '{"workflow_id": "x", "key": "e"}');
SELECT workflow_id, key, value, is_latest, step_name FROM pawl.events ORDER BY event_key;
SELECT pawl.get_event('a', 'e'), pawl.get_event('a', 'other'), pawl.get_event('d', 'e');

-- Streams: positions from 1; read while they grow, in pieces; closed by a call or with the workflow.
SELECT * FROM pg_temp.call('c', 'read', 'read_stream', '{"workflow_id": "a", "key": "s"}');
SELECT (pg_temp.call('a', 'write#' || i, 'write_stream', jsonb_build_object('key', 's', 'value', 'v' || i))).output FROM generate_series(1, 4) i;
SELECT * FROM pg_temp.call('a', 'write_other', 'write_stream', '{"key": "t", "value": null}');
SELECT * FROM pg_temp.call('c', 'read', 'read_stream', '{"workflow_id": "a", "key": "s"}');
SELECT * FROM pg_temp.call('c', 'read#2', 'read_stream', '{"workflow_id": "a", "key": "s", "from": 2, "limit": 2}');
SELECT * FROM pg_temp.call('c', 'read#3', 'read_stream', '{"workflow_id": "a", "key": "s", "from": 5, "timeout": 30}');
SELECT * FROM pg_temp.call('a', 'close', 'close_stream', '{"key": "s"}');
SELECT * FROM pg_temp.call('a', 'close#2', 'close_stream', '{"key": "s"}');
SELECT * FROM pg_temp.call('a', 'write_late', 'write_stream', '{"key": "s", "value": 1}');
SELECT * FROM pg_temp.call('c', 'read#3', 'read_stream', '{"workflow_id": "a", "key": "s", "from": 5}');
SELECT * FROM pg_temp.call('c', 'read#4', 'read_stream', '{"workflow_id": "a", "key": "s", "from": 2, "limit": 3}');
SELECT * FROM pg_temp.call('c', 'read#5', 'read_stream', '{"workflow_id": "a", "key": "s", "limit": 3}');
SELECT * FROM pg_temp.call('c', 'read#6', 'read_stream', '{"workflow_id": "d", "key": "s"}');
SELECT * FROM pg_temp.call('c', 'read#7', 'read_stream', '{"workflow_id": "a", "key": "quiet", "timeout": 0}');
-- Large entries come in parts, one at least.
SELECT count(*) FROM generate_series(1, 3) i, pg_temp.call('a', 'big#' || i, 'write_stream', jsonb_build_object('key', 'big', 'value', (
    SELECT string_agg(md5(i || ' ' || n), '') FROM generate_series(1, 20000) n)));
SELECT (output #> '{value,entries}') @> '[{"position": 1}]' AS first, jsonb_array_length(output #> '{value,entries}') AS entries,
    output #> '{value,closed}' AS closed FROM pg_temp.call('c', 'read_big', 'read_stream', '{"workflow_id": "a", "key": "big"}');
SELECT workflow_id, key, position, attempt, left(value::text, 10) AS value, step_name FROM pawl.stream_entries WHERE key <> 'big' ORDER BY key, position;

-- Attributes
SELECT * FROM pg_temp.call('a', 'merge', 'merge_attributes', '{"attributes": {"region": "eu", "n": {"deep": null}}}');
SELECT * FROM pg_temp.call('a', 'merge#2', 'merge_attributes', '{"attributes": {"region": null, "absent": null, "n": 1}}');
SELECT * FROM pg_temp.call('a', 'merge#3', 'merge_attributes', jsonb_build_object('attributes', jsonb_build_object('text', (
    SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n))));
SELECT workflow_id, attributes FROM pawl.workflows WHERE attributes @> '{"n": 1}';

-- Children: what they inherit, what is given; a failure is recorded, and nothing of the batch is lost.
SELECT status, output ? 'workflow_id' AS has_id FROM pg_temp.call('a', 'child', 'start_child', '{"workflow_name": "bill"}');
SELECT * FROM pg_temp.call('a', 'child#2', 'start_child', '{"workflow_name": "bill", "workflow_id": "kid", "input": {"n": 1}, "priority": 0,
    "partition_key": "other", "headers": {}, "attributes": {"mine": true}, "detached": true, "delay": 60, "timeout": 90, "workflow_version": 1}');
SELECT w.workflow_id = 'kid' AS given, w.workflow_name, w.priority, w.partition_key, w.headers, w.attributes, w.parent_workflow_id, w.status, w.input,
    w.deadline_at = p.deadline_at AS capped, k.detached, k.timeout
    FROM pawl.workflows w JOIN pawl.workflow k ON k.workflow_key = w.workflow_key JOIN pawl.workflow p ON p.workflow_key = w.parent_key ORDER BY 1;
SELECT step_name, output -> 'workflow_id' = to_jsonb(child_workflow_id) AS same FROM pawl.workflow_steps WHERE kind = 'start_child' ORDER BY 1;
SELECT ordinal, p.refusal, p.status, p.output, p.error ->> 'code' AS code, p.error ->> 'message' AS message, p.error -> 'detail' AS detail
FROM pawl.workflow w, pawl.perform_calls(:me, array_fill(w.workflow_key, ARRAY[9]), array_fill(w.epoch, ARRAY[9]),
    '{c1,c2,c3,c4,c5,c6,c7,c8,c8}', '{1,2,3,4,5,6,7,50001,9}',
    '{start_child,start_child,start_child,start_child,start_child,set_event,walk,set_event,set_event}', ARRAY[
    '{"workflow_name": "bill", "workflow_id": "kid"}', '{"workflow_name": "ship", "workflow_id": "kid"}', '{"workflow_name": ""}',
    '{"workflow_name": "bill", "queue": "nowhere"}', '{"workflow_name": "bill", "workflow_id": "d2", "colour": "red"}', '{"key": "k", "value": 1}', '{}',
    '{"key": "late"}', '{"key": "k", "value": 2}']::jsonb[],
    array_fill(now(), ARRAY[9])) p WHERE w.workflow_id = 'a' ORDER BY 1;
SELECT value, step_name FROM pawl.events WHERE key = 'k' ORDER BY event_key;

-- Awaiting: a success, a failure, a cancelled one, one that never was, several, the first of several.
SELECT pawl.enqueue_workflow('bill', workflow_id => i) FROM unnest('{k1,k2,k3,k4}'::text[]) i;
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}', NULL);
SELECT * FROM pg_temp.call('c', 'await', 'await_child', '{"workflow_id": "k1"}');
SELECT * FROM pg_temp.call('c', 'await#2', 'await_child', '{"workflow_id": "k2", "timeout": 0}');
SELECT * FROM pg_temp.call('c', 'all', 'await_children', '{"workflow_ids": ["k2", "k1", "k1"]}');
SELECT * FROM pg_temp.call('c', 'any', 'await_children', '{"workflow_ids": ["k1", "k2", "k3"], "mode": "any"}');
SELECT * FROM pg_temp.call('c', 'all_soon', 'await_children', '{"workflow_ids": ["k1"], "timeout": 0}');
SELECT * FROM pg_temp.call('c', 'none', 'await_children', '{"workflow_ids": []}');
SELECT pg_temp.finish('k1', 'succeeded', to_jsonb(repeat('y', 5000)), NULL),
    pg_temp.finish('k2', 'failed', NULL, '{"code": "declined", "type": "Shop.Card", "message": "no", "detail": {"why": 1}}', 'error');
SELECT pg_temp.finish('k3', 'cancelled', NULL, '{"code": "cancelled", "message": "stop"}', 'request');
SELECT status, length(output #>> '{value}') FROM pg_temp.call('c', 'await', 'await_child', '{"workflow_id": "k1"}');
SELECT status, output #> '{value,0,status}' AS first, output #> '{value,0,error,code}' AS code, length(output #>> '{value,2,output}') AS third
    FROM pg_temp.call('c', 'all', 'await_children', '{}');
SELECT status, output #> '{value,workflow_id}' AS first FROM pg_temp.call('c', 'any', 'await_children', '{}');
SELECT p.status, jsonb_pretty(p.error) FROM pawl.workflow w, pawl.perform_calls(:me, array_fill(w.workflow_key, ARRAY[3]), array_fill(1, ARRAY[3]),
    '{await_failed,await_cancelled,await_nobody}', '{1,1,1}', '{await_child,await_child,await_child}',
    ARRAY['{"workflow_id": "k2"}', '{"workflow_id": "k3"}', '{"workflow_id": "who"}']::jsonb[], array_fill(NULL::timestamptz, ARRAY[3])) p
    WHERE w.workflow_id = 'c' ORDER BY ordinal;
SELECT * FROM pg_temp.call('c', 'all_nobody', 'await_children', '{"workflow_ids": ["k1", "who"]}');

-- Races: the first in the order given; what loses consumes nothing.
SELECT pawl.send_message('c', '"m"', 'race');
SELECT * FROM pg_temp.call('c', 'race', 'race', '{"of": [{"kind": "sleep", "seconds": 0}, {"kind": "receive", "topic": "race"}]}');
SELECT * FROM pg_temp.call('c', 'race#2', 'race', '{"of": [{"kind": "sleep", "seconds": 50}, {"kind": "receive", "topic": "race"}, {"kind": "step"}]}');
SELECT * FROM pg_temp.call('c', 'race#3', 'race', '{"of": [{"kind": "sleep", "seconds": 50}, {"kind": "receive", "topic": "race", "timeout": 20}, {"kind": "step"}]}');
SELECT * FROM pg_temp.call('c', 'race#3', 'race', '{"offer": {"index": 1, "output": 1}}');
SELECT * FROM pg_temp.call('c', 'race#3', 'race', '{"offer": {"index": 3, "output": 1}}');
SELECT * FROM pg_temp.call('c', 'race#3', 'race', '{"offer": {"index": 2, "output": {"by": "step"}}}');
SELECT * FROM pg_temp.call('c', 'race#3', 'race', '{"offer": {"index": 2, "output": 2}}');
SELECT * FROM pg_temp.call('c', 'race#4', 'race', '{"of": [{"kind": "receive", "topic": "race", "timeout": 0}, {"kind": "step"}]}');
SELECT * FROM pg_temp.call('c', 'race#5', 'race', '{"of": [{"kind": "step"}, {"kind": "await_child", "workflow_id": "who"}]}');
SELECT * FROM pg_temp.call('c', 'race#6', 'race', '{"of": [{"kind": "step"}, {"kind": "get_event", "workflow_id": "a", "key": "e"}], "offer": {"index": 0, "error": {"code": "E"}}}');
SELECT output #>> '{value,error,code}' AS failed FROM pg_temp.call('c', 'race#7', 'race', '{"of": [{"kind": "await_child", "workflow_id": "k2"}]}');

-- cancel_workflow
SELECT * FROM pg_temp.call('a', 'cancel', 'cancel_workflow', '{"workflow_id": "k4", "reason": "enough"}');
SELECT * FROM pg_temp.call('a', 'cancel#2', 'cancel_workflow', '{"workflow_id": "k1"}');
SELECT * FROM pg_temp.call('a', 'cancel#3', 'cancel_workflow', '{"workflow_id": "who"}');
SELECT count(*) FROM pawl.take_signals(:me) WHERE cancel_reason = 'request';
SELECT * FROM pg_temp.call('k4', 'late', 'set_event', '{"key": "late"}');
SELECT * FROM pawl.workflow_steps WHERE workflow_id = 'k4';

-- Arguments that cannot be, and names.
SELECT a.kind, a.arguments, p.refusal, p.message FROM (VALUES
    ('send', NULL::jsonb), ('send', '[]'), ('send', '{}'), ('send', '{"workflow_id": 7}'), ('send', '{"workflow_id": "b", "topic": 1}'),
    ('send', '{"workflow_id": "b", "idempotency_key": "x"}'), ('set_event', '{"value": 1}'), ('set_event', '{"key": ""}'), ('sleep', '{}'),
    ('sleep', '{"seconds": 1, "until": "2001-01-01T00:00:00Z"}'), ('sleep', '{"seconds": "1"}'), ('sleep', '{"until": "tomorrow"}'),
    ('sleep', '{"until": "2001-13-01T00:00:00Z"}'), ('sleep', '{"until": "2001-01-01T00:00:00"}'), ('receive', '{"timeout": true}'),
    ('read_stream', '{"workflow_id": "a", "key": "s", "from": 0}'), ('read_stream', '{"workflow_id": "a", "key": "s", "from": 1.5}'),
    ('read_stream', '{"workflow_id": "a", "key": "s", "limit": 1e9}'), ('await_children', '{"workflow_ids": "a"}'),
    ('await_children', '{"workflow_ids": [1]}'), ('await_children', '{"workflow_ids": ["a"], "mode": "some"}'),
    ('await_children', '{"workflow_ids": [], "mode": "any"}'), ('merge_attributes', '{"attributes": []}'), ('start_child', '{"input": 1}'),
    ('start_child', '{"workflow_name": "bill", "priority": 1.5}'), ('start_child', '{"workflow_name": "bill", "detached": "yes"}'), ('race', '{"of": []}'),
    ('race', '{"of": [{"kind": "race", "of": []}]}'), ('race', '{"of": [{"kind": "receive", "seconds": 1}]}'), ('race', '{"of": [{"kind": "step", "x": 1}]}'),
    ('race', '{"of": [{"kind": "step"}], "offer": {"output": 1}}'), ('step', '{}'), ('now', '{}')) a (kind, arguments),
    pg_temp.call('a', 'bad', a.kind, a.arguments) p;
SELECT refusal, code FROM pg_temp.call('a', '', 'sleep', '{"seconds": 1}');
SELECT refusal, code FROM pg_temp.call('a', repeat('x', 513), 'sleep', '{"seconds": 1}');
SELECT refusal, code FROM pg_temp.call('a', 'x', 'sleep', '{"seconds": 1}', 0);
SELECT * FROM pawl.perform_calls(:me, '{1}', '{}', '{a}', '{1}', '{sleep}', '{NULL}', '{NULL}');
SELECT * FROM pawl.perform_calls(:me, '{}', '{}', '{}', '{}', '{}', '{}', '{}');
-- Of another worker, or of an earlier claim, nothing; and not in another isolation level.
SELECT p.* FROM pawl.workflow w, pawl.perform_calls(gen_random_uuid(), ARRAY[w.workflow_key, -1], '{1,1}', '{z,z}', '{1,1}', '{sleep,sleep}',
    '{NULL,NULL}', '{NULL,NULL}') p WHERE workflow_id = 'a';
SELECT p.* FROM pawl.workflow w, pawl.perform_calls(:me, ARRAY[w.workflow_key], '{2}', '{z}', '{1}', '{sleep}', '{NULL}', '{NULL}') p WHERE workflow_id = 'a';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pawl.perform_calls(:me, '{}', '{}', '{}', '{}', '{}', '{}', '{}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- What is over has no registration any more.
SELECT w.step_name FROM pawl.waiter w ORDER BY 1;

-- emit_values
SELECT p.* FROM pawl.workflow w, pawl.emit_values(:me, array_fill(w.workflow_key, ARRAY[9]), '{1,1,1,1,1,1,1,1,2}',
    '{progress,stream,stream,progress,stream,stream,progress,other,progress}', ARRAY['{"value": {"done": 1}}', '{"key": "e", "value": 1, "step": "s", "attempt": 2}',
    '{"key": "e", "value": 2}', '{"value": {"done": 2}}', '{"key": "s", "value": 3}', '{"value": 3}', '{"value": 1, "other": 2}', '{"value": 1}',
    '{"value": 1}']::jsonb[]) p WHERE workflow_id = 'a';
SELECT progress FROM pawl.workflows WHERE workflow_id = 'a';
SELECT position, attempt, value, step_name FROM pawl.stream_entries WHERE key = 'e' ORDER BY 1;
SELECT * FROM pg_temp.call('a', 'write_e', 'write_stream', '{"key": "e", "value": 9}');
SELECT p.* FROM pawl.workflow w, pawl.emit_values(:me, ARRAY[w.workflow_key], '{1}', '{progress}', ARRAY[jsonb_build_object('value', repeat('x', 1100000))]) p
    WHERE workflow_id = 'a';
SELECT p.* FROM pawl.workflow w, pawl.emit_values(:me, ARRAY[w.workflow_key], '{1}', '{progress}', '{NULL}') p WHERE workflow_id = 'k4';
SELECT * FROM pawl.emit_values(:me, '{}', '{}', '{}', NULL);

-- The end of a workflow takes its registrations with it.
SELECT * FROM pg_temp.call('b', 'forever', 'get_event', '{"workflow_id": "a", "key": "never"}');
SELECT count(*) FROM pawl.waiter WHERE step_name = 'forever';
SELECT pg_temp.finish('b', 'succeeded', '1', NULL);
SELECT count(*) FROM pawl.waiter WHERE step_name = 'forever';

-- A child that is cancelled with its parent: the parent hears of its own cancellation first.
SELECT * FROM pg_temp.call('c', 'young', 'start_child', '{"workflow_name": "bill", "workflow_id": "young"}');
SELECT * FROM pg_temp.call('c', 'of_young', 'await_child', '{"workflow_id": "young"}');
SELECT pawl.cancel_workflow('c');
SELECT status, status_reason FROM pawl.workflows WHERE workflow_id = 'young';
SELECT * FROM pg_temp.call('c', 'of_young', 'await_child', '{}');
SELECT cancel_reason FROM pawl.take_signals(:me) WHERE cancel_reason IS NOT NULL;
SELECT * FROM pg_temp.call('c', 'of_young', 'await_child', '{}');

-- What was redacted is a failure, and no value; a failure keeps its code, and what there never was is none.
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.signal, pawl.cancel_request, pawl.waiter, pawl.workflow_step;
SELECT pawl.enqueue_workflow('ship', workflow_id => i) FROM unnest('{asks,gone,failed,still}'::text[]) i;
SELECT count(*) FROM pawl.claim_workflows(:me, 10, '{ship,bill}', '{1,1}', NULL);
SELECT status FROM pg_temp.call('gone', 'event', 'set_event', '{"key": "e", "value": 1}');
SELECT status FROM pg_temp.call('gone', 'stream', 'write_stream', '{"key": "s", "value": 1}');
SELECT pg_temp.finish('gone', 'succeeded', '"secret"', NULL), pg_temp.finish('failed', 'failed', NULL, '{"code": "declined", "message": "secret"}', 'error'),
    pg_temp.finish('still', 'succeeded', '"said"', NULL);
SELECT * FROM pawl.redact_workflows('{gone,failed}');
SELECT * FROM pg_temp.call('asks', 'await', 'await_child', '{"workflow_id": "gone"}');
SELECT * FROM pg_temp.call('asks', 'await_failed', 'await_child', '{"workflow_id": "failed"}');
SELECT * FROM pg_temp.call('asks', 'event', 'get_event', '{"workflow_id": "gone", "key": "e"}');
SELECT * FROM pg_temp.call('asks', 'no_event', 'get_event', '{"workflow_id": "gone", "key": "f"}');
SELECT * FROM pg_temp.call('asks', 'stream', 'read_stream', '{"workflow_id": "gone", "key": "s"}');
SELECT * FROM pg_temp.call('asks', 'no_stream', 'read_stream', '{"workflow_id": "gone", "key": "s", "from": 2}');
SELECT jsonb_pretty(output) FROM pg_temp.call('asks', 'all', 'await_children', '{"workflow_ids": ["gone", "still", "failed"]}');
SELECT jsonb_pretty(output) FROM pg_temp.call('asks', 'race', 'race', '{"of": [{"kind": "get_event", "workflow_id": "gone", "key": "e"}]}');
SELECT step_name, error FROM pawl.workflow_steps WHERE workflow_id = 'asks' AND error IS NOT NULL ORDER BY 1;
SELECT pg_advisory_unlock_all();
