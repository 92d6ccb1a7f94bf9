-- Workflows that are one SQL function: what run_handler (extension/src/handler.c) reads before it runs one, and writes after it. In functions of their
-- own, so that their pinned plans are not the user function's.

CREATE FUNCTION pawl.find_handler_run(worker_id uuid, workflow_key bigint, epoch integer) RETURNS TABLE (workflow_id text, input jsonb,
    cancel_reason text, function_signature text, function_owner text, search_path text, role_name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT w.workflow_id, coalesce(w.input, (SELECT p.value FROM pawl.payload p WHERE p.workflow_key = w.workflow_key AND p.name = 'input')),
        CASE WHEN w.cancel_requested_at IS NOT NULL THEN coalesce(w.cancel_reason, 'request') END, h.function_signature, h.function_owner,
        h.search_path, h.role_name
    FROM pawl.workflow w LEFT JOIN pawl.sql_handler h ON h.workflow_name = w.workflow_name AND h.workflow_version = w.workflow_version
    WHERE w.workflow_key = find_handler_run.workflow_key AND w.claimed_by = find_handler_run.worker_id AND w.epoch = find_handler_run.epoch;
END $$;
REVOKE ALL ON FUNCTION pawl.find_handler_run(uuid, bigint, integer) FROM PUBLIC;
COMMENT ON FUNCTION pawl.find_handler_run(uuid, bigint, integer) IS
'Internal: what run_handler is to run; no row: the worker does not own it any more; function_signature NULL: its handler is gone.';

CREATE FUNCTION pawl.end_handler_run(worker_id uuid, workflow_key bigint, epoch integer, output jsonb) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    cancelled boolean;
BEGIN
    SELECT w.cancel_requested_at IS NOT NULL INTO cancelled FROM pawl.workflow w
        WHERE w.workflow_key = end_handler_run.workflow_key AND w.claimed_by = end_handler_run.worker_id AND w.epoch = end_handler_run.epoch
        FOR UPDATE;
    IF cancelled THEN
        PERFORM pawl.refuse_cancelled(end_handler_run.workflow_key);
    END IF;
    RETURN (SELECT c.refusal FROM pawl.complete_workflows(end_handler_run.worker_id, ARRAY[end_handler_run.workflow_key], ARRAY[end_handler_run.epoch],
        '{succeeded}', '{NULL}', ARRAY[end_handler_run.output], '{NULL}') c);
END $$;
REVOKE ALL ON FUNCTION pawl.end_handler_run(uuid, bigint, integer, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.end_handler_run(uuid, bigint, integer, jsonb) IS
'Internal: ends the workflow whose function was run, as succeeded. NULL: done; or what complete_workflows refused it for.
PW009: its cancellation was asked for while the function ran.';
