-- send_message, send_messages and get_event, as users, triggers and narrowed roles call them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.message, pawl.event, pawl.stream_entry, pawl.closed_stream, pawl.waiter, pawl.signal;
SELECT pawl.invalidate_caches();
SELECT pawl.add_history_partition(now()) IS NOT NULL AS this_month;
SELECT pawl.create_queue('side');
CREATE FUNCTION pg_temp.plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT pawl.enqueue_workflow('ship', workflow_id => i) FROM unnest('{a,b}'::text[]) i;
SELECT pawl.enqueue_workflow('bill', workflow_id => 'c', queue => 'side');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'ended');
SELECT pawl.cancel_workflow('ended');
DELETE FROM pawl.signal;

-- In order, with null; a key counts once for each workflow; one that has ended, and one that is not.
SELECT pawl.send_message('a', 'null'), pawl.send_message('a', '{"n": 2}', 'topic'), pawl.send_message('a', '3', topic => 'topic', idempotency_key => 'k');
SELECT pawl.send_message('a', '4', 'other', 'k'), pawl.send_message('b', '5', 'topic', 'k'), pawl.send_message('ended', '6');
SELECT pawl.send_message('nobody', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT workflow_id, topic, message, idempotency_key, consumed_by, sent_by = current_user AS by_me FROM pawl.messages ORDER BY message_key;
SELECT count(*), count(worker_id) AS routed FROM pawl.signal;
-- Nothing of the workflow is touched.
SELECT count(DISTINCT xmin::text) AS versions, count(*) FILTER (WHERE xmax <> 0) AS locked FROM pawl.workflow;

-- What cannot be sent.
SELECT pawl.send_message(NULL, '1');
SELECT pawl.send_message('', '1');
SELECT pawl.send_message('a', NULL);
SELECT pawl.send_message('a', '1', NULL);
SELECT pawl.send_message('a', '1', repeat('ü', 65));
SELECT pawl.send_message('a', '1', '', '');
SELECT pawl.send_message('a', '1', '', repeat('k', 513));
SELECT pawl.send_message('a', to_jsonb(repeat('x', 1100000)));
SELECT pawl.send_message('a', '[1e131071, 1e131071, 1e131071, 1e131071, 1e131071, 1e131071, 1e131071, 1e131071, 1e131071]');
\echo :LAST_ERROR_SQLSTATE

-- To many: all or none; the ended ones do not count.
SELECT pawl.send_messages('{a,c,a,ended}', '"many"');
SELECT workflow_id, count(*) FROM pawl.messages WHERE message = '"many"' GROUP BY 1 ORDER BY 1;
SELECT pawl.send_messages('{a,nobody,b}', '"none"');
SELECT pawl.send_messages('{a,NULL}', '1');
SELECT pawl.send_messages(NULL, '1');
SELECT pawl.send_messages('{}', '1');
SELECT pawl.send_messages('{ended}', '1');
SELECT pawl.send_messages('{a}', '1', repeat('t', 129));
SELECT count(*) FROM pawl.messages WHERE message = '"none"';

-- Savepoints: what is rolled back was never sent, and its key is free again.
BEGIN;
SAVEPOINT s;
SELECT pawl.send_message('b', '"undone"', '', 'again');
ROLLBACK TO s;
SELECT pawl.send_message('b', '"done"', '', 'again');
COMMIT;
SELECT message FROM pawl.messages WHERE idempotency_key = 'again';
-- REPEATABLE READ and SERIALIZABLE; the workflow may be of this transaction, or of one that committed after its snapshot.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pawl.send_message('b', '"rr"', '', 'rr'), pawl.send_message('b', '"rr"', '', 'rr');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'fresh'), pawl.send_message('fresh', '1');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pawl.send_message('b', '"ss"', '', 'ss'), pawl.send_message('b', '"ss"', '', 'ss'), pawl.send_messages('{a,b}', '"ss"');
COMMIT;
SELECT count(*) FROM pawl.messages WHERE idempotency_key IN ('rr', 'ss') OR workflow_id = 'fresh';
BEGIN READ ONLY;
SELECT pawl.send_message('a', '1');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;

-- Privileges: nothing without a grant; a narrowed one reaches its workflow names and queues, and a trigger sends with the right of whoever acts.
CREATE ROLE pawl_test_sender;
CREATE ROLE pawl_test_reader;
GRANT CREATE, USAGE ON SCHEMA public TO pawl_test_sender;
SET ROLE pawl_test_sender;
SELECT pawl.send_message('a', '1');
RESET ROLE;
SELECT pawl.grant_access('pawl_test_sender', 'send', workflow_name => 'ship');
SET ROLE pawl_test_sender;
SELECT pawl.send_message('a', '"mine"');
SELECT pawl.send_message('c', '1');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.send_messages('{a,c}', '1');
SELECT pawl.get_event('a', 'e');
SELECT * FROM pawl.messages;
SELECT * FROM pawl.message;
INSERT INTO pawl.message (workflow_key, topic, sent_by, message) VALUES (1, '', 'me', '1');
SELECT * FROM pawl.take_signals('00000000-0000-4000-8000-000000000001');
SELECT pawl.signal_workflows('{1}');
SELECT pawl.mark_signals(NULL);
CREATE TABLE public.reply (workflow_id text, body jsonb);
CREATE FUNCTION public.on_reply() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pawl.send_message(NEW.workflow_id, NEW.body, 'reply'); RETURN NULL; END $$;
CREATE TRIGGER send AFTER INSERT ON public.reply FOR EACH ROW EXECUTE FUNCTION public.on_reply();
INSERT INTO public.reply VALUES ('a', '{"ok": true}');
INSERT INTO public.reply VALUES ('c', '{"ok": true}');
RESET ROLE;
SELECT workflow_id, topic, message, sent_by FROM pawl.messages WHERE sent_by = 'pawl_test_sender' ORDER BY message_key;
SELECT pawl.grant_access('pawl_test_sender', 'send', queue => 'side');
SET ROLE pawl_test_sender;
SELECT pawl.send_messages('{a,c}', '"both"');
RESET ROLE;
-- observe sees that there are messages, events and streams; inspect sees what they say.
INSERT INTO pawl.event (workflow_key, key, step_name, value) SELECT workflow_key, 'e', 's', '"secret"' FROM pawl.workflow WHERE workflow_id = 'a';
INSERT INTO pawl.stream_entry (workflow_key, key, position, attempt, step_name, value) SELECT workflow_key, 's', 1, 1, 's', '"secret"' FROM pawl.workflow WHERE workflow_id = 'a';
SELECT pawl.grant_access('pawl_test_reader', 'observe');
SET ROLE pawl_test_reader;
SELECT count(*) > 0 AS seen, count(message) FROM pawl.messages;
SELECT key, value, is_latest FROM pawl.events;
SELECT key, position, value FROM pawl.stream_entries;
SELECT pawl.get_event('a', 'e');
RESET ROLE;
SELECT pawl.grant_access('pawl_test_reader', 'inspect');
SET ROLE pawl_test_reader;
SELECT count(*) = count(message) AS all_seen FROM pawl.messages;
SELECT key, value FROM pawl.events;
SELECT key, value FROM pawl.stream_entries;
SELECT pawl.get_event('a', 'e'), pawl.get_event('a', 'none');
SELECT pawl.get_event('nobody', 'e');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.get_event('a', '');
RESET ROLE;
-- A search_path with somebody's own functions changes nothing.
CREATE SCHEMA pawl_test_trap;
CREATE FUNCTION pawl_test_trap.octet_length(text) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION pawl_test_trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
SET search_path = pawl_test_trap, pg_catalog, public;
SELECT pawl.send_message('a', '1', 'topic', 'trap'), pawl.send_messages('{a}', '1'), pawl.get_event('a', 'e');
RESET search_path;
DROP SCHEMA pawl_test_trap CASCADE;
-- The views are read by index.
SET enable_seqscan = off;
SELECT bool_or(line ~ 'message_pkey') AS by_index FROM pg_temp.plan('SELECT * FROM pawl.messages WHERE workflow_id = ''a''') line;
RESET enable_seqscan;
SELECT pawl.revoke_access('pawl_test_sender', 'send'), pawl.revoke_access('pawl_test_reader', 'observe'), pawl.revoke_access('pawl_test_reader', 'inspect');
DROP TABLE public.reply;
DROP FUNCTION public.on_reply();
REVOKE CREATE, USAGE ON SCHEMA public FROM pawl_test_sender;
DROP ROLE pawl_test_sender, pawl_test_reader;
