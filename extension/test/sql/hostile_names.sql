-- Names, ids and payloads that break whoever builds statements, patterns or formats of them: kept to the byte, or refused.
\set VERBOSITY sqlstate
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
CREATE TABLE hostile (name text);
INSERT INTO hostile VALUES
    (''''), ('"'), ('\'), ('\\'), ('%s%n%d'), ('%'), ('$1'), ('{id}'), ('}{'), (';'), ('--'), ('/*'), ('*/'), ('a,b'), ('NULL'), ('{}'), ('{"a"}'),
    ('pawl'), ('pg_catalog'), ('''; DROP TABLE pawl.workflow; --'), (E'line\nbreak'), (E'tab\tcarriage\rreturn'), (E'\x01\x1b[31mred'),
    (' '), ('  spaces  '), ('ünï'), ('e' || chr(769)), (chr(233)), (chr(8238) || 'right to left'), (chr(65279)), (chr(128169)), (chr(1114109)),
    (repeat('n', 128)), (repeat(chr(128169), 32));

-- As workflow name, id, partition key and deduplication id at once; as a queue.
SELECT count(pawl.create_queue(name)) FROM hostile;
SELECT count(*) FROM (SELECT name, pawl.enqueue_workflow(name, to_jsonb(name), workflow_id => name, partition_key => name, deduplication_id => name,
    queue => name, headers => jsonb_build_object(name, name), attributes => jsonb_build_object(name, name)) AS id FROM hostile) e WHERE id = name;
SELECT count(*) FROM hostile h JOIN pawl.workflows w ON w.workflow_id = h.name AND w.workflow_name = h.name AND w.queue = h.name
    AND w.partition_key = h.name AND w.deduplication_id = h.name AND w.input = to_jsonb(h.name)
    AND w.headers ->> h.name = h.name AND w.attributes ->> h.name = h.name;
-- Again: the same one each.
SELECT count(*) FROM (SELECT name, pawl.enqueue_workflow(name, workflow_id => name, queue => name) AS id FROM hostile) e WHERE id = name;
SELECT count(*) = (SELECT count(*) FROM hostile) FROM pawl.workflows;
-- Two spellings that look alike are two ids.
SELECT count(*) FROM pawl.workflows WHERE workflow_id IN (chr(233), 'e' || chr(769));

-- A worker runs them and writes steps of such names.
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-0000000000aa', 'it''s "w"', E'host\n', 1, '0', 1, 100,
    (SELECT array_agg(name) FROM hostile), (SELECT array_agg(name) FROM hostile), (SELECT array_agg(1) FROM hostile),
    (SELECT array_agg(name) FROM hostile));
CREATE TABLE claimed AS SELECT * FROM pawl.claim_workflows('00000000-0000-4000-8000-0000000000aa', 100,
    (SELECT array_agg(name) FROM hostile), (SELECT array_agg(1) FROM hostile), (SELECT array_agg(name) FROM hostile));
SELECT count(*) = (SELECT count(*) FROM hostile) AS all_claimed FROM claimed;
SELECT count(*) AS refused FROM pawl.record_steps('00000000-0000-4000-8000-0000000000aa',
    (SELECT array_agg(c.workflow_key) FROM claimed c, hostile h), (SELECT array_agg(c.epoch) FROM claimed c, hostile h),
    (SELECT array_agg(h.name) FROM claimed c, hostile h), (SELECT array_agg(1) FROM claimed c, hostile h),
    (SELECT array_agg('step'::text) FROM claimed c, hostile h), (SELECT array_agg(to_jsonb(h.name)) FROM claimed c, hostile h),
    (SELECT array_agg(NULL::jsonb) FROM claimed c, hostile h), (SELECT array_agg(now()) FROM claimed c, hostile h));
SELECT count(*) = (SELECT count(*) * count(*) FROM hostile) AS all_read FROM pawl.get_recorded_steps('00000000-0000-4000-8000-0000000000aa',
    (SELECT array_agg(workflow_key) FROM claimed), (SELECT array_agg(epoch) FROM claimed), NULL, NULL, 100000000) WHERE output = to_jsonb(step_name);
SELECT count(*) AS refused FROM pawl.complete_workflows('00000000-0000-4000-8000-0000000000aa',
    (SELECT array_agg(workflow_key) FROM claimed), (SELECT array_agg(epoch) FROM claimed), (SELECT array_agg('succeeded'::text) FROM claimed),
    (SELECT array_agg(NULL::text) FROM claimed), (SELECT array_agg(to_jsonb(workflow_id)) FROM claimed), (SELECT array_agg(NULL::jsonb) FROM claimed));
SELECT count(*) = (SELECT count(*) FROM hostile) AS all_ended FROM hostile h JOIN pawl.workflows w ON w.workflow_id = h.name AND w.output = to_jsonb(h.name);

-- A trigger fills {column} once: what a value holds is not filled again, and no name is a pattern.
CREATE TABLE thing ("i}d" integer, "{x}" text, " y" text, id text);
CREATE TRIGGER t AFTER INSERT ON thing FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('thing', 'workflow_id=thing-{id}-{ y}');
INSERT INTO thing SELECT 1, 'x', 'y', name FROM hostile;
SELECT count(*) = (SELECT count(*) FROM hostile) AS all_filled FROM hostile h JOIN pawl.workflows w ON w.workflow_id = 'thing-' || h.name || '-y'
    AND w.input ->> 'id' = h.name;
INSERT INTO thing VALUES (1, 'x', NULL, 'a');
INSERT INTO thing VALUES (1, 'x', repeat('long', 200), 'a');

-- Too long, by one byte; nothing; not text at all.
SELECT pawl.enqueue_workflow(repeat('n', 129));
SELECT pawl.enqueue_workflow(repeat(chr(128169), 33));
SELECT length(pawl.enqueue_workflow('a', workflow_id => repeat('i', 512)));
SELECT pawl.enqueue_workflow('a', workflow_id => repeat('i', 513));
SELECT pawl.enqueue_workflow('');
SELECT pawl.enqueue_workflow(NULL);
SELECT pawl.enqueue_workflow('a', workflow_id => '');
SELECT pawl.enqueue_workflow('a', queue => '');
SELECT pawl.enqueue_workflow('a', queue => 'no such %s ''queue''');
SELECT pawl.enqueue_workflow('a', headers => jsonb_build_object('h', repeat('x', 9000)));
SELECT pawl.enqueue_workflow('a', attributes => '[1]');
SELECT pawl.enqueue_workflow('a', options => '{"prioritty": 1}');
SELECT pawl.enqueue_workflow('a', to_jsonb(repeat('x', 1100000)));
-- Nothing of that was written.
SELECT workflow_name, count(*) FROM pawl.workflow WHERE workflow_name NOT IN (SELECT name FROM hostile) GROUP BY 1 ORDER BY 1;

SELECT pg_advisory_unlock_all();
DROP TABLE hostile, claimed, thing;
DELETE FROM pawl.workflow;
DELETE FROM pawl.workflow_history;
DELETE FROM pawl.workflow_step;
DELETE FROM pawl.queue;
DELETE FROM pawl.worker;
DELETE FROM pawl.worker_handler;
DELETE FROM pawl.known_handler;
