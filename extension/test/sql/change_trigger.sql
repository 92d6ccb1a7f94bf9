-- enqueue_on_change: what a row becomes, where the trigger may stand, and what its arguments refuse.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation;
INSERT INTO pawl.known_handler (workflow_name) VALUES ('ship');
SELECT pawl.create_queue('shipping');
CREATE TABLE orders (id integer PRIMARY KEY, customer text, gone integer, total numeric(10, 2) DEFAULT 9.90, placed timestamptz DEFAULT '2026-01-02 03:04:05+00',
    tags text[], body jsonb, twice integer GENERATED ALWAYS AS (id * 2) STORED);
ALTER TABLE orders DROP COLUMN gone;
SET client_min_messages = notice;
SET timezone = 'UTC';
CREATE FUNCTION pg_temp.use(VARIADIC arguments text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DROP TRIGGER IF EXISTS t ON orders;
    EXECUTE 'CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('
        || (SELECT string_agg(quote_literal(a), ', ') FROM unnest(arguments) a) || ')';
END $$;
SET client_min_messages = warning;

-- input=row: NEW, on DELETE OLD.
SELECT pg_temp.use('ship', 'workflow_id={id}-{customer}');
INSERT INTO orders VALUES (1, 'ann', DEFAULT, DEFAULT, '{a,b}', '{"x": [1]}');
UPDATE orders SET customer = 'bob';
DELETE FROM orders;
SELECT workflow_id, workflow_name, input FROM pawl.workflow ORDER BY workflow_key;
TRUNCATE pawl.workflow;
-- input=change: both sides, and what happened where.
SELECT pg_temp.use('ship', 'input=change', 'columns=id,customer');
INSERT INTO orders VALUES (1, 'ann');
UPDATE orders SET customer = 'bob';
DELETE FROM orders;
SELECT input FROM pawl.workflow ORDER BY workflow_key;
TRUNCATE pawl.workflow;
-- columns in the order they are asked for make the same object; a null is a null.
SELECT pg_temp.use('ship', 'columns=customer,id', 'input=row');
INSERT INTO orders VALUES (2, NULL);
SELECT input FROM pawl.workflow ORDER BY workflow_key;
TRUNCATE pawl.workflow;

-- Every argument of enqueue_workflow.
SELECT pg_temp.use('ship', 'queue=shipping', 'workflow_id=order-{id}', 'on_existing=skip', 'priority={id}', 'delay=1 hour', 'deduplication_id=customer-{customer}',
    'on_duplicate=skip', 'partition_key={customer}', 'workflow_version=2', 'headers={"trace": "{id}"}', 'attributes={"customer": "{customer}", "n": "{id}", "body": "{body}", "both": ["{id}/{customer}", "{{id}"]}', 'options={}');
INSERT INTO orders VALUES (3, 'ann', 1, DEFAULT, NULL, '{"x": [1, "{id}"]}');
SELECT workflow_id, queue, priority, status, deduplication_id, partition_key, workflow_version, headers, attributes, wake_at > now() AS later FROM pawl.workflows;
-- The rules of ids are the same: skipped by its id, then by its deduplication_id.
UPDATE orders SET customer = 'ann' WHERE id = 3;
UPDATE orders SET id = 4 WHERE id = 3;
SELECT workflow_id FROM pawl.workflows;
TRUNCATE pawl.workflow;
SELECT pg_temp.use('ship', 'run_at={placed}', 'workflow_id=at-{id}');
INSERT INTO orders VALUES (5, 'ann', 1, '2100-01-01 00:00:00+00');
SELECT workflow_id, status, run_at FROM pawl.workflows;
TRUNCATE pawl.workflow;
DELETE FROM orders;
TRUNCATE pawl.workflow;

-- {column}: filled once, from any type; a value is not filled again. A brace that names no column is an error, not text.
SELECT pg_temp.use('ship', 'workflow_id={customer}/{total}/{twice}/{tags}');
INSERT INTO orders VALUES (6, '{id}', 1.5, DEFAULT, '{x,y}');
SELECT workflow_id FROM pawl.workflow;
TRUNCATE pawl.workflow;
-- A NULL in it names the column.
INSERT INTO orders VALUES (7, NULL, 1.5, DEFAULT, '{x}');
\echo :LAST_ERROR_SQLSTATE
-- On DELETE and UPDATE too: OLD, and NEW.
DELETE FROM orders;
SELECT workflow_id FROM pawl.workflow;
TRUNCATE pawl.workflow;

-- In JSON a value stays in its string, and a string that is one {column} becomes its JSON value; a NULL there is an error too.
SELECT pg_temp.use('ship', 'attributes={"customer": "{customer}", "about {id}": "by {customer}", "tags": "{tags}"}');
INSERT INTO orders VALUES (8, 'x", "admin": "yes', 1, DEFAULT, '{a}');
SELECT attributes FROM pawl.workflow;
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
TRUNCATE pawl.workflow;

-- Bad arguments.
SELECT pg_temp.use('');
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.use('ship', 'queu=shipping');
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.use('ship', 'shipping');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'queue=shipping', 'queue=default');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'queue=nowhere');
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.use('ship', 'queue=');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'input=rows');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'columns=id,custommer');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'columns=id,gone');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'columns=');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'workflow_id=order-{idd}');
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.use('ship', 'workflow_id=order-{id');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'priority=high');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'priority=');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'workflow_version=0');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'run_at=tomorrowish');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'delay=a while');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'delay=1 hour', 'run_at={placed}');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'timeout=-1 hour');
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.use('ship', 'headers=[1]');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'headers={');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'headers={"n": {id}}');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'options={"columns": 1}');
INSERT INTO orders VALUES (9, 'ann');
SELECT pg_temp.use('ship', 'on_existing=maybe');
INSERT INTO orders VALUES (9, 'ann');
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change();
INSERT INTO orders VALUES (9, 'ann');
\echo :LAST_ERROR_SQLSTATE
-- None of these wrote a row.
SELECT count(*) FROM pawl.workflow;
SELECT id FROM orders;

-- Where it may not stand, and that it is no function to call.
DROP TRIGGER t ON orders;
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship');
INSERT INTO orders VALUES (10, 'ann');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION pawl.enqueue_on_change('ship');
INSERT INTO orders VALUES (10, 'ann');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER TRUNCATE ON orders FOR EACH STATEMENT EXECUTE FUNCTION pawl.enqueue_on_change('ship');
TRUNCATE orders;
DROP TRIGGER t ON orders;
SELECT pawl.enqueue_on_change();
CREATE VIEW order_view AS SELECT id, customer FROM orders;
CREATE TRIGGER t INSTEAD OF INSERT ON order_view FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship');
INSERT INTO order_view VALUES (10, 'ann');
\echo :LAST_ERROR_SQLSTATE
DROP VIEW order_view;

-- Deferred: at the end of the transaction, with the row as that statement left it.
CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'columns=id,customer');
BEGIN;
INSERT INTO orders VALUES (11, 'ann');
UPDATE orders SET customer = 'bob' WHERE id = 11;
SELECT count(*) AS not_yet FROM pawl.workflow;
SET CONSTRAINTS t IMMEDIATE;
SELECT input FROM pawl.workflow ORDER BY workflow_key;
SET CONSTRAINTS t DEFERRED;
INSERT INTO orders VALUES (12, 'cyd');
COMMIT;
SELECT input FROM pawl.workflow ORDER BY workflow_key;
BEGIN;
INSERT INTO orders VALUES (13, 'dee');
ROLLBACK;
SELECT count(*) FROM pawl.workflow;
TRUNCATE pawl.workflow;
DROP TRIGGER t ON orders;
DELETE FROM orders;

-- Many rows at once; COPY; WHEN; a partitioned table and its partitions; a generated column; odd names.
CREATE TRIGGER t AFTER UPDATE ON orders FOR EACH ROW WHEN (OLD.customer IS DISTINCT FROM NEW.customer)
    EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'workflow_id={id}', 'columns=twice');
CREATE TRIGGER i AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'columns=id');
INSERT INTO orders (id) SELECT g FROM generate_series(100, 1099) g;
COPY orders (id, customer) FROM stdin;
2000	ann
2001	bob
\.
SELECT count(*), min((input ->> 'id')::integer), max((input ->> 'id')::integer) FROM pawl.workflow;
UPDATE orders SET customer = 'ann' WHERE id IN (2000, 2001);
SELECT workflow_id, input FROM pawl.workflow WHERE workflow_id ~ '^[0-9]{4}$';
CREATE TABLE "Odd ""Table" (id integer, "A Column" text) PARTITION BY LIST (id);
CREATE TABLE odd_1 PARTITION OF "Odd ""Table" FOR VALUES IN (1);
-- Its columns stand elsewhere in the partition.
CREATE TABLE odd_2 (dropped integer, "A Column" text, id integer);
ALTER TABLE odd_2 DROP COLUMN dropped;
ALTER TABLE "Odd ""Table" ATTACH PARTITION odd_2 FOR VALUES IN (2);
CREATE TRIGGER t AFTER INSERT ON "Odd ""Table" FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'workflow_id=odd-{id}-{A Column}', 'input=change');
INSERT INTO "Odd ""Table" VALUES (1, 'x'), (2, 'y');
SELECT workflow_id, input FROM pawl.workflow WHERE workflow_id LIKE 'odd-%' ORDER BY 1;
-- The trigger as it is now, not as a session saw it first; and columns that came later.
DROP TRIGGER i ON orders;
CREATE TRIGGER i AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship', 'workflow_id=later-{note}', 'columns=note');
ALTER TABLE orders ADD COLUMN note text DEFAULT 'none';
INSERT INTO orders (id) VALUES (3000);
ALTER TABLE orders RENAME COLUMN note TO remark;
INSERT INTO orders (id) VALUES (3001);
SELECT workflow_id, input FROM pawl.workflow WHERE workflow_id LIKE 'later-%';
-- A row too large is an error of the statement, which then writes nothing.
DROP TRIGGER i ON orders;
CREATE TRIGGER i AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION pawl.enqueue_on_change('ship');
INSERT INTO orders (id, customer) VALUES (4000, repeat('x', 1048576));
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM orders WHERE id = 4000;

DROP TABLE orders, "Odd ""Table";
TRUNCATE pawl.workflow, pawl.payload, pawl.known_handler, pawl.queue;
