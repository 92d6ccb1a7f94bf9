WITH k AS (SELECT nextval('floor.key_seq') AS key), w AS (
    INSERT INTO floor.job (workflow_key, ready_key, rank, workflow_id, workflow_name, enqueued_by, input)
    SELECT key, key, 1, gen_random_uuid()::text, 'nobody_runs_this', 'bench', '{"order": 12345}' FROM k)
INSERT INTO floor.entry SELECT key, 0, 1 FROM k;
