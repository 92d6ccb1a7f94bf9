-- The floors: what hand-written SQL does on tables of the same shape, with the same indexes and no rules. Nothing here checks an epoch, a
-- payload, a limit or who asks.
CREATE SCHEMA floor;
CREATE SEQUENCE floor.key_seq AS bigint CACHE 1;
CREATE TABLE floor.workflow (LIKE pawl.workflow INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)
    WITH (fillfactor = 45, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
        autovacuum_analyze_threshold = 100000);
ALTER TABLE floor.workflow ALTER workflow_key SET DEFAULT nextval('floor.key_seq');
-- As a partition of the history.
CREATE TABLE floor.workflow_history (LIKE pawl.workflow_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (workflow_key));
CREATE UNIQUE INDEX ON floor.workflow_history (workflow_id);
CREATE INDEX ON floor.workflow_history (created_at);
CREATE INDEX ON floor.workflow_history (status, created_at) WHERE status <> 'succeeded';
CREATE INDEX ON floor.workflow_history (completed_at);
CREATE INDEX ON floor.workflow_history (parent_key) WHERE parent_key IS NOT NULL;
CREATE INDEX ON floor.workflow_history USING gin (attributes jsonb_path_ops) WHERE attributes IS NOT NULL;
CREATE TABLE floor.workflow_step (LIKE pawl.workflow_step INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);

-- For the enqueue: a job and its queue entry, two plain inserts. The job has the columns, CHECK and indexes of pawl.workflow, which already holds
-- its queue entry; so the floor writes one row and one index entry more. Its pages are full (pawl.workflow's fillfactor is 45), which favours
-- the floor; its ids are random (pawl's are sorted by time), which favours pawl.
CREATE TABLE floor.job (LIKE pawl.workflow INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES);
ALTER TABLE floor.job ALTER workflow_key SET DEFAULT nextval('floor.key_seq');
CREATE TABLE floor.entry (workflow_key bigint PRIMARY KEY, queue_id integer NOT NULL, rank bigint NOT NULL);
-- For the pick-up: one row to commit a change of.
CREATE TABLE floor.row (value bigint NOT NULL);
INSERT INTO floor.row VALUES (0);

CREATE FUNCTION floor.fill(count integer) RETURNS void LANGUAGE sql AS $$
    TRUNCATE floor.workflow, floor.workflow_history, floor.workflow_step;
    INSERT INTO floor.workflow (workflow_key, ready_key, rank, workflow_id, workflow_name, enqueued_by, input)
    SELECT k, k, 1, gen_random_uuid()::text, 'one_step', 'bench', '{}' FROM (SELECT nextval('floor.key_seq') AS k FROM generate_series(1, count)) AS keys;
$$;
