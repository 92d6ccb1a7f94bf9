-- Messages and events, as users and triggers send and read them. A message is a row and a signal: nothing of its workflow is locked or changed, so that
-- a transaction that stays open holds up no worker.

CREATE FUNCTION pawl.check_message(message jsonb, topic text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF topic IS NULL THEN
        PERFORM pawl.refuse_argument('topic must not be null', 'A message without a topic has the empty one.', 'Leave it out.');
    ELSIF octet_length(topic) > 128 THEN
        PERFORM pawl.refuse_argument('topic is too long', format('It has %s bytes: "%s...".', octet_length(topic), left(topic, 40)),
            'Give a text of at most 128 bytes.');
    END IF;
    PERFORM pawl.check_payload('message', message);
END $$;
REVOKE ALL ON FUNCTION pawl.check_message(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_message(jsonb, text) IS 'Internal: refuses a message or a topic that cannot be sent.';

CREATE FUNCTION pawl.send_message(workflow_id text, message jsonb, topic text DEFAULT '', idempotency_key text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    me CONSTANT text := pawl.outer_user();
    target record;
BEGIN
    PERFORM pawl.check_name('workflow_id', send_message.workflow_id, 512);
    PERFORM pawl.check_message(send_message.message, send_message.topic);
    IF send_message.idempotency_key IS NOT NULL THEN
        PERFORM pawl.check_name('idempotency_key', send_message.idempotency_key, 512);
    END IF;
    SELECT t.* INTO target FROM pawl.find_targets(ARRAY[send_message.workflow_id]) t;
    IF NOT FOUND THEN
        PERFORM pawl.refuse_unknown(ARRAY[send_message.workflow_id], '{}');
    END IF;
    PERFORM pawl.check_narrowing('send', ARRAY[target.workflow_name], ARRAY[target.queue_id]);
    IF target.ended THEN
        RETURN false;
    END IF;
    IF send_message.idempotency_key IS NULL OR current_setting('transaction_isolation') = 'read committed' THEN
        INSERT INTO pawl.message (workflow_key, topic, idempotency_key, sent_by, message)
            VALUES (target.workflow_key, send_message.topic, send_message.idempotency_key, me, send_message.message)
            ON CONFLICT (workflow_key, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING;
        IF NOT FOUND THEN
            RETURN true;
        END IF;
    ELSE
        -- ON CONFLICT would be a 40001 if the other row is one that this transaction cannot see.
        BEGIN
            INSERT INTO pawl.message (workflow_key, topic, idempotency_key, sent_by, message)
                VALUES (target.workflow_key, send_message.topic, send_message.idempotency_key, me, send_message.message);
        EXCEPTION WHEN unique_violation THEN
            RETURN true;
        END;
    END IF;
    INSERT INTO pawl.signal (workflow_key) VALUES (target.workflow_key);
    PERFORM pawl.mark_signals(target.claimed_by);
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION pawl.send_message(text, jsonb, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.send_message(text, jsonb, text, text) IS
'Sends a message to a workflow, in this transaction. True: it was accepted, or sent under that key before; false: the workflow has ended.
One that waits for it is woken by the commit; any other finds it when it receives. Nothing of the workflow is locked.
workflow_id: PW010 if there is none.
message: any JSON value up to pawl.max_payload; JSON null is a message.
topic: up to 128 bytes. Messages of one topic are received in the order in which they were sent.
idempotency_key: 1 to 512 bytes; of the messages to one workflow with the same key only the first is kept.
Errors: 22023 for what cannot be; PW006 for a role whose access is narrowed to something else.';

CREATE FUNCTION pawl.send_messages(workflow_ids text[], message jsonb, topic text DEFAULT '') RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    me CONSTANT text := pawl.outer_user();
    ids text[];
    keys bigint[];
    names text[];
    queue_ids integer[];
    owners uuid[];
    open_keys bigint[];
    missing text;
    sent integer;
BEGIN
    IF send_messages.workflow_ids IS NULL OR array_position(send_messages.workflow_ids, NULL) IS NOT NULL THEN
        PERFORM pawl.refuse_argument('workflow_ids must not be null, nor hold nulls', 'Each element is the id of one workflow.',
            'An empty array sends nothing.');
    END IF;
    PERFORM pawl.check_message(send_messages.message, send_messages.topic);
    SELECT array_agg(t.workflow_id), array_agg(t.workflow_key), array_agg(t.workflow_name), array_agg(t.queue_id),
            array_agg(DISTINCT t.claimed_by) FILTER (WHERE NOT t.ended), array_agg(t.workflow_key) FILTER (WHERE NOT t.ended)
        INTO ids, keys, names, queue_ids, owners, open_keys FROM pawl.find_targets(send_messages.workflow_ids) t;
    SELECT i INTO missing FROM unnest(send_messages.workflow_ids) i
        WHERE NOT EXISTS (SELECT FROM unnest(ids) k WHERE k = i) LIMIT 1;
    IF FOUND THEN
        PERFORM pawl.refuse_unknown(ARRAY[missing], '{}');
    END IF;
    SELECT array_agg(t.workflow_name), array_agg(t.queue_id) INTO names, queue_ids
        FROM (SELECT DISTINCT f.workflow_name, f.queue_id FROM unnest(names, queue_ids) f (workflow_name, queue_id)) t;
    PERFORM pawl.check_narrowing('send', names, queue_ids);
    IF open_keys IS NULL THEN
        RETURN 0;
    END IF;
    INSERT INTO pawl.message (workflow_key, topic, sent_by, message)
        SELECT t.workflow_key, send_messages.topic, me, send_messages.message
        FROM unnest(send_messages.workflow_ids) WITH ORDINALITY a (workflow_id, ordinal)
            JOIN unnest(ids, keys) t (workflow_id, workflow_key) ON t.workflow_id = a.workflow_id
            JOIN unnest(open_keys) o ON o = t.workflow_key
        ORDER BY a.ordinal;
    GET DIAGNOSTICS sent = ROW_COUNT;
    INSERT INTO pawl.signal (workflow_key) SELECT k FROM unnest(open_keys) k ORDER BY k;
    PERFORM pawl.mark_signals(o) FROM unnest(owners) o LIMIT 32;
    RETURN sent;
END $$;
REVOKE ALL ON FUNCTION pawl.send_messages(text[], jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.send_messages(text[], jsonb, text) IS
'Sends one message to any number of workflows, all in this transaction; if one id is unknown, to none. Returns how many accepted it: those that had not
ended.
workflow_ids: an id that names none is PW010. One that is given twice gets it twice.
message, topic: as for pawl.send_message.';

CREATE FUNCTION pawl.get_event(workflow_id text, key text) RETURNS jsonb LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    target bigint;
    answer jsonb;
BEGIN
    PERFORM pawl.check_name('workflow_id', get_event.workflow_id, 512), pawl.check_name('key', get_event.key, 128);
    SELECT w.workflow_key INTO target FROM (
        SELECT u.workflow_key FROM pawl.workflow u WHERE u.workflow_id = get_event.workflow_id
        UNION ALL
        SELECT u.workflow_key FROM pawl.workflow_history u WHERE u.workflow_id = get_event.workflow_id) w;
    IF NOT FOUND THEN
        PERFORM pawl.refuse_unknown(ARRAY[get_event.workflow_id], '{}');
    END IF;
    SELECT e.value INTO answer FROM pawl.event e WHERE e.workflow_key = target AND e.key = get_event.key ORDER BY e.event_key DESC LIMIT 1;
    RETURN answer;
END $$;
REVOKE ALL ON FUNCTION pawl.get_event(text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.get_event(text, text) IS
'The latest value of an event of a workflow, unfinished or ended; NULL: it was never set.
workflow_id: PW010 if there is none.
key: the name of the event, 1 to 128 bytes.';
