-- on_duplicate => 'replace': the newest input under a deduplication_id, started once it is quiet, and max_delay after the first call at the latest.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.signal, pawl.cancel_request;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('index'), ('other');
SET client_min_messages = notice;
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'w', 'h', 1, '1', 1, 10, NULL, '{index}', '{1}', '{p}');
CREATE VIEW entry AS SELECT workflow_id, input, status, run_at - created_at AS after_first, w.ready_key IS NOT NULL AS ready, w.due_at IS NOT NULL AS due,
    (SELECT v.deduplication_id FROM pawl.workflows v WHERE v.workflow_id = w.workflow_id) FROM pawl.workflow w ORDER BY workflow_key;
CREATE FUNCTION claim() RETURNS TABLE (id text, input jsonb, epoch integer) LANGUAGE sql AS $$
    SELECT c.workflow_id, c.input, c.epoch FROM pawl.claim_workflows('00000000-0000-4000-8000-000000000001', 10, '{index}', '{1}', NULL) c $$;
CREATE FUNCTION complete(id text) RETURNS void LANGUAGE sql AS $$
    SELECT pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[w.workflow_key], ARRAY[w.epoch], '{succeeded}', '{NULL}', '{1}', '{NULL}')
    FROM pawl.workflow w WHERE w.workflow_id = id $$;

-- The first call makes it. Each further one gives it its input and puts it off, and all answer the same id.
BEGIN;
SELECT pawl.enqueue_workflow('index', '1', workflow_id => 'first', deduplication_id => 'd', on_duplicate => 'replace', run_at => now() + '1 hour');
SELECT pawl.enqueue_workflow('index', '2', deduplication_id => 'd', on_duplicate => 'replace', run_at => now() + '2 hours');
SELECT pawl.enqueue_workflow('index', '3', workflow_id => 'unused', deduplication_id => 'd', on_duplicate => 'replace', run_at => now() + '3 hours');
SELECT * FROM entry;
-- Not longer than max_delay after the first call; nor by the first call itself.
SELECT pawl.enqueue_workflow('index', '4', deduplication_id => 'd', on_duplicate => 'replace', run_at => now() + '4 hours', max_delay => '210 minutes');
SELECT pawl.enqueue_workflow('index', '1', workflow_id => 'capped', deduplication_id => 'e', on_duplicate => 'replace', delay => '4 hours', max_delay => '1 hour');
SELECT * FROM entry;
COMMIT;
-- Once max_delay is over, at once, whatever the call says.
UPDATE pawl.workflow SET created_at = now() - interval '2 hours' WHERE workflow_id = 'capped';
SELECT pawl.enqueue_workflow('index', '2', deduplication_id => 'e', on_duplicate => 'replace', delay => '1 hour', max_delay => '1 hour');
SELECT workflow_id, input, status, ready, due FROM entry;
SELECT * FROM claim();
-- Earlier, and then at once.
BEGIN;
SELECT pawl.enqueue_workflow('index', '5', deduplication_id => 'd', on_duplicate => 'replace', run_at => now() + '1 minute');
SELECT workflow_id, input, status, ready, due FROM entry WHERE workflow_id = 'first';
SELECT pawl.enqueue_workflow('index', '6', deduplication_id => 'd', on_duplicate => 'replace');
SELECT workflow_id, input, status, ready, due FROM entry WHERE workflow_id = 'first';
COMMIT;
-- What could start keeps its place in the queue, and may be put off again.
SELECT ready_key FROM pawl.workflow WHERE workflow_id = 'first' \gset
SELECT pawl.enqueue_workflow('index', '7', deduplication_id => 'd', on_duplicate => 'replace');
SELECT ready_key = :ready_key AS same_place FROM pawl.workflow WHERE workflow_id = 'first';
SELECT pawl.enqueue_workflow('index', '8', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
SELECT workflow_id, input, status, ready, due FROM entry WHERE workflow_id = 'first';
SELECT pawl.enqueue_workflow('index', '9', deduplication_id => 'd', on_duplicate => 'replace');

-- Everything but the id is the newest call's.
SELECT pawl.enqueue_workflow('index', '10', deduplication_id => 'd', on_duplicate => 'replace', priority => 3, timeout => '1 minute', partition_key => 'tenant',
    workflow_version => 1, headers => '{"h": 1}', attributes => '{"a": 1}');
SELECT input, priority, rank, timeout, partition_key, workflow_version, pinned, headers, attributes FROM pawl.workflow WHERE workflow_id = 'first';
SELECT pawl.enqueue_workflow('index', '11', deduplication_id => 'd', on_duplicate => 'replace');
SELECT input, priority, rank, timeout, partition_key, workflow_version, pinned, headers, attributes FROM pawl.workflow WHERE workflow_id = 'first';
-- Large inputs are replaced too, by large and small ones.
SELECT pawl.enqueue_workflow('index', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 100) i), deduplication_id => 'd', on_duplicate => 'replace');
SELECT pawl.enqueue_workflow('index', (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 101) i), deduplication_id => 'd', on_duplicate => 'replace');
SELECT workflow_id, jsonb_array_length(input), (SELECT count(*) FROM pawl.payload) AS apart FROM pawl.workflows WHERE workflow_id = 'first';
SELECT pawl.enqueue_workflow('index', '12', deduplication_id => 'd', on_duplicate => 'replace');
SELECT workflow_id, input, (SELECT count(*) FROM pawl.payload) AS apart FROM pawl.workflows WHERE workflow_id = 'first';

-- Another queue has other deduplication_ids.
SELECT pawl.create_queue('quick');
SELECT pawl.enqueue_workflow('index', workflow_id => 'quick', queue => 'quick', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 day');

-- It has started: the key passes on to a new one, the started one keeps its input.
SELECT * FROM claim();
SELECT pawl.enqueue_workflow('index', '13', workflow_id => 'second', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
SELECT pawl.enqueue_workflow('index', '14', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
SELECT workflow_id, input, status, deduplication_id FROM entry WHERE workflow_id IN ('first', 'second');
-- The others see who has the key.
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd'), pawl.enqueue_workflow('index', deduplication_id => 'd', on_duplicate => 'skip') IS NULL AS skipped;
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd', on_duplicate => 'raise');
\echo :LAST_ERROR_SQLSTATE
-- Started, too.
SELECT pawl.enqueue_workflow('index', '15', deduplication_id => 'd', on_duplicate => 'replace');
SELECT * FROM claim();
SELECT workflow_id, input, status, deduplication_id FROM entry WHERE workflow_id IN ('first', 'second');
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd'), pawl.enqueue_workflow('index', workflow_id => 'w', deduplication_id => 'd', on_duplicate => 'skip') IS NULL AS skipped;
SELECT pawl.enqueue_workflow('index', workflow_id => 'w', deduplication_id => 'd', on_duplicate => 'raise');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd');
COMMIT;
-- Handed back it has started nevertheless.
SELECT pawl.release_workflows('00000000-0000-4000-8000-000000000001', ARRAY[w.workflow_key], ARRAY[w.epoch]) FROM pawl.workflow w WHERE w.workflow_id = 'second';
SELECT pawl.enqueue_workflow('index', '16', workflow_id => 'third', deduplication_id => 'd', on_duplicate => 'replace');
SELECT workflow_id, input, status, deduplication_id FROM entry WHERE workflow_id IN ('first', 'second', 'third');
SELECT * FROM claim();
SELECT complete(i) FROM unnest('{first,second,third,capped}'::text[]) i;
-- All of them ended: the key is free.
SELECT pawl.enqueue_workflow('index', '17', workflow_id => 'fourth', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');

-- Cancelled before it started: the next call makes a new one.
SELECT pawl.cancel_workflow('fourth');
SELECT pawl.enqueue_workflow('index', '18', workflow_id => 'fifth', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
-- Cancelled while somebody had it locked: nobody has looked at that yet, and the newest input is not cancelled with it.
INSERT INTO pawl.cancel_request (workflow_key, cancel_reason, cancelled_by) SELECT workflow_key, 'request', 'someone' FROM pawl.workflow WHERE workflow_id = 'fifth';
SELECT pawl.enqueue_workflow('index', '19', workflow_id => 'sixth', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
SELECT workflow_id, input, deduplication_id FROM entry WHERE workflow_id IN ('fifth', 'sixth');
-- Nor with one whose row says it already.
SELECT pawl.enqueue_workflow('index', '1', workflow_id => 'asked', queue => 'quick', deduplication_id => 'asked', delay => '1 hour');
UPDATE pawl.workflow SET cancel_requested_at = now(), cancel_reason = 'request' WHERE workflow_id = 'asked';
SELECT pawl.enqueue_workflow('index', '2', workflow_id => 'after', queue => 'quick', deduplication_id => 'asked', on_duplicate => 'replace', delay => '1 hour');
SELECT workflow_id, input FROM entry WHERE workflow_id IN ('asked', 'after');
-- Resumed, one that had started is let be; and it is not resumed while another has its key.
SELECT pawl.enqueue_workflow('index', '20', workflow_id => 'failing', deduplication_id => 'f');
SELECT * FROM claim();
SELECT pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[w.workflow_key], ARRAY[w.epoch], '{failed}', '{error}', '{NULL}', '{"{}"}')
    FROM pawl.workflow w WHERE w.workflow_id = 'failing';
SELECT pawl.resume_workflow('failing');
SELECT pawl.enqueue_workflow('index', '21', workflow_id => 'beside', deduplication_id => 'f', on_duplicate => 'replace');
SELECT workflow_id, input, deduplication_id FROM entry WHERE workflow_id IN ('failing', 'beside');
SELECT * FROM claim() ORDER BY 1;
SELECT pawl.complete_workflows('00000000-0000-4000-8000-000000000001', ARRAY[w.workflow_key], ARRAY[w.epoch], '{failed}', '{error}', '{NULL}', '{"{}"}')
    FROM pawl.workflow w WHERE w.workflow_id = 'failing';
SELECT pawl.resume_workflow('failing');
\echo :LAST_ERROR_SQLSTATE

-- Rolled back, the input before it is there again.
BEGIN;
SELECT pawl.enqueue_workflow('index', '22', deduplication_id => 'd', on_duplicate => 'replace');
SAVEPOINT s;
SELECT pawl.enqueue_workflow('index', '23', deduplication_id => 'd', on_duplicate => 'replace');
ROLLBACK TO s;
SELECT workflow_id, input, status FROM entry WHERE workflow_id = 'sixth';
ROLLBACK;
SELECT workflow_id, input, status FROM entry WHERE workflow_id = 'sixth';
-- At every isolation level, and prepared.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pawl.enqueue_workflow('index', '24', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pawl.enqueue_workflow('index', '25', deduplication_id => 'd', on_duplicate => 'replace', delay => '1 hour');
COMMIT;
BEGIN;
SELECT pawl.enqueue_workflow('index', '26', deduplication_id => 'd', on_duplicate => 'replace');
PREPARE TRANSACTION 'p';
SELECT * FROM claim();
COMMIT PREPARED 'p';
SELECT * FROM claim();

-- By a trigger.
CREATE TABLE product (id integer, price integer);
CREATE TRIGGER t AFTER INSERT OR UPDATE ON product FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('index', 'workflow_id=product-{id}-{price}',
    'deduplication_id=product-{id}', 'on_duplicate=replace', 'delay=1 minute', 'max_delay=10 minutes');
INSERT INTO product VALUES (1, 10), (2, 20);
UPDATE product SET price = price + 1;
UPDATE product SET price = price + 1;
SELECT workflow_id, input, status FROM entry WHERE workflow_id LIKE 'product%';
DROP TABLE product;

-- What cannot be.
SELECT pawl.enqueue_workflow('other', deduplication_id => 'd', queue => 'quick', on_duplicate => 'replace');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('index', on_duplicate => 'replace');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd', max_delay => '1 hour');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd', on_duplicate => 'replace', max_delay => '0');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.enqueue_workflow('index', deduplication_id => 'd', on_duplicate => 'replace', max_delay => '10001 years');
SELECT pawl.enqueue_workflow('index', on_existing => 'replace');
-- An id that exists comes first: the same call again changes nothing.
SELECT pawl.enqueue_workflow('index', '99', workflow_id => 'quick', queue => 'quick', deduplication_id => 'd', on_duplicate => 'replace');
SELECT workflow_id, input, status FROM entry WHERE workflow_id = 'quick';

SET client_min_messages = warning;
DROP VIEW entry;
DROP FUNCTION claim, complete;
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000001');
TRUNCATE pawl.workflow, pawl.payload, pawl.workflow_history, pawl.worker, pawl.worker_handler, pawl.known_handler, pawl.queue, pawl.signal, pawl.cancel_request;
