-- Who did what, when, and why: written in the transaction that does it.

CREATE FUNCTION pawl.record_action(action text, object_kind text, object_names text[], reason text, detail jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO pawl.audit_entry (role_name, action, object_kind, object_name, reason, detail)
    SELECT pawl.outer_user(), $1, $2, n, coalesce($4, nullif(current_setting('pawl.reason', true), '')), $5 FROM unnest($3) n
$$;
REVOKE ALL ON FUNCTION pawl.record_action(text, text, text[], text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_action(text, text, text[], text, jsonb) IS
'Internal: an entry of pawl.audit for each object. action: the function that was called, in the singular. reason: NULL: that of the setting
pawl.reason. detail: what else was asked for; no payloads.';
