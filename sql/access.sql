-- Who may do what. A grant is EXECUTE or SELECT on what the access lists, and a row of pawl.access_rule that an update of the extension grants again.

CREATE FUNCTION pawl.access_routines() RETURNS TABLE (access text, routine_name text, narrowed boolean) LANGUAGE sql IMMUTABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    VALUES
        -- narrowed: a grant for one workflow_name or queue reaches it, because it checks the rules by itself
        ('enqueue', 'enqueue_workflow', true), ('enqueue', 'enqueue_workflows', true), ('enqueue', 'enqueue_on_change', true),
        ('enqueue', 'wait_for_workflow', true), ('observe', 'wait_for_workflow', false), ('inspect', 'wait_for_workflow', false),
        ('send', 'send_message', true), ('send', 'send_messages', true),
        ('inspect', 'get_event', false),
        ('observe', 'may_inspect', false), ('inspect', 'may_inspect', false),
        ('operate', 'cancel_workflow', true), ('operate', 'cancel_workflows', true), ('operate', 'resume_workflow', true),
        ('operate', 'resume_workflows', true), ('operate', 'move_workflows', true), ('inspect', 'export_workflow', false),
        ('operate', 'rewind_workflow', true), ('operate', 'rewind_workflows', true), ('operate', 'fork_workflow', true),
        ('operate', 'fork_workflows', true), ('operate', 'redact_workflow', true), ('operate', 'redact_workflows', true),
        ('operate', 'delete_workflow', true), ('operate', 'delete_workflows', true),
        ('operate', 'create_handler', false), ('operate', 'drop_handler', false), ('work', 'run_handler', false),
        ('observe', 'explain_workflow', false), ('inspect', 'explain_workflow', false), ('operate', 'explain_workflow', false),
        ('observe', 'diagnose', false), ('inspect', 'diagnose', false), ('operate', 'diagnose', false),
        ('observe', 'recent_activity', false), ('inspect', 'recent_activity', false),
        ('operate', 'set_retention', false), ('work', 'run_retention', false),
        ('observe', 'workflow_statistics', false), ('inspect', 'workflow_statistics', false), ('observe', 'step_statistics', false),
        ('inspect', 'step_statistics', false), ('observe', 'find_oldest_waiting', false), ('inspect', 'find_oldest_waiting', false),
        ('observe', 'retention_in_force', false), ('inspect', 'retention_in_force', false), ('observe', 'lease', false), ('inspect', 'lease', false),
        ('operate', 'create_queue', false), ('operate', 'alter_queue', false), ('operate', 'pause_queue', false), ('operate', 'resume_queue', false),
        ('operate', 'drop_queue', false), ('operate', 'release_hold', false),
        ('work', 'register_worker', false), ('work', 'heartbeat', false), ('work', 'unregister_worker', false),
        ('work', 'claim_workflows', false), ('work', 'get_recorded_steps', false), ('work', 'record_steps', false), ('work', 'record_attempts', false),
        ('work', 'record_step', false), ('work', 'complete_workflows', false), ('work', 'park_workflows', false),
        ('work', 'release_workflows', false), ('work', 'release_unknown', false), ('work', 'arm_worker', false), ('work', 'wait', false),
        ('work', 'perform_calls', false), ('work', 'emit_values', false), ('work', 'continue_workflows', false),
        ('work', 'arm_signals', false), ('work', 'take_signals', false),
        ('operate', 'create_schedule', true), ('operate', 'alter_schedule', true), ('operate', 'pause_schedule', true),
        ('operate', 'resume_schedule', true), ('operate', 'drop_schedule', true), ('operate', 'trigger_schedule', true),
        ('operate', 'backfill_schedule', true), ('operate', 'next_instant', true), ('observe', 'next_instant', false),
        ('work', 'run_schedules', false)
$$;
REVOKE ALL ON FUNCTION pawl.access_routines() FROM PUBLIC;
COMMENT ON FUNCTION pawl.access_routines() IS 'Internal: the functions and procedures that each access reaches.';

-- Rules name roles, because a dump restores them under other oids. So they stay when a role is dropped, and another one of its name must not have what
-- that one had: it never was granted the schema, as whoever has a rule was (DROP OWNED takes that back, DROP ROLE fails before).
CREATE FUNCTION pawl.has_grants(role oid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) x WHERE n.nspname = 'pawl' AND x.grantee = $1)
$$;
REVOKE ALL ON FUNCTION pawl.has_grants(oid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.has_grants(oid) IS 'Internal: whether the rules under the name of a role are its own.';

CREATE FUNCTION pawl.access_rules_of(role oid) RETURNS TABLE (access text, workflow_name text, queue_name text, in_force boolean) LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.access, r.workflow_name, r.queue_name, pawl.has_grants(a.oid) FROM pawl.access_rule r JOIN pg_roles a ON a.rolname = r.role_name
        WHERE pg_has_role($1, a.oid, 'USAGE')
$$;
REVOKE ALL ON FUNCTION pawl.access_rules_of(oid) FROM PUBLIC;
COMMENT ON FUNCTION pawl.access_rules_of(oid) IS
'Internal: the rules of a role and of those that it is a member of. in_force: false for those of a dropped role of that name; they allow nothing.';

CREATE FUNCTION pawl.forget_lost_access(role name) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    lost text[];
BEGIN
    WITH forgotten AS (
        DELETE FROM pawl.access_rule r USING pg_roles a
            WHERE r.role_name = forget_lost_access.role AND a.rolname = r.role_name AND NOT pawl.has_grants(a.oid)
            RETURNING r.access)
    SELECT array_agg(DISTINCT f.access) INTO lost FROM forgotten f;
    IF lost IS NOT NULL THEN
        -- It may have lost the schema alone: without a rule that narrows them its functions would be open to it again.
        PERFORM pawl.apply_access(role, a) FROM unnest(lost) a;
        RAISE NOTICE USING MESSAGE = format('role %I has lost what it, or a role of its name, was granted before: that is forgotten', role);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.forget_lost_access(name) FROM PUBLIC;
COMMENT ON FUNCTION pawl.forget_lost_access(name) IS 'Internal: deletes the rules that a role has not from its own grants.';

CREATE FUNCTION pawl.check_narrowing(access text, workflow_names text[], queue_ids integer[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    me CONSTANT text := pawl.outer_user();
    superuser boolean;
    any_rule boolean;
    wide boolean;
    names text[];       -- of the rules that are narrowed
    queues text[];
    refused record;
BEGIN
    -- EXECUTE is the base; a role whose rules are all narrowed reaches only what one of them matches.
    SELECT bool_or(a.rolsuper), coalesce(bool_or(r.access IS NOT NULL), false),
            coalesce(bool_or(r.in_force AND r.workflow_name IS NULL AND r.queue_name IS NULL), false),
            array_agg(r.workflow_name) FILTER (WHERE r.in_force), array_agg(r.queue_name) FILTER (WHERE r.in_force)
        INTO superuser, any_rule, wide, names, queues
        FROM pg_roles a LEFT JOIN LATERAL pawl.access_rules_of(a.oid) r ON r.access = check_narrowing.access WHERE a.rolname = me;
    IF superuser OR wide OR NOT any_rule THEN
        RETURN;
    END IF;
    SELECT o.workflow_name, coalesce(q.queue_name, 'default') AS queue INTO refused
        FROM unnest(workflow_names, queue_ids) o (workflow_name, queue_id) LEFT JOIN pawl.queue q ON q.queue_id = o.queue_id
        WHERE NOT EXISTS (SELECT FROM unnest(names, queues) r (workflow_name, queue_name) WHERE (r.workflow_name IS NULL OR r.workflow_name = o.workflow_name)
            AND (r.queue_name IS NULL OR r.queue_name = coalesce(q.queue_name, 'default')))
        ORDER BY o.workflow_name LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'PW006',
            MESSAGE = format('role %s may not %s "%s" in queue "%s"', me, CASE check_narrowing.access WHEN 'send' THEN 'send to' ELSE 'operate on' END,
                refused.workflow_name, refused.queue),
            DETAIL = 'Its access is narrowed to other workflow names or queues.',
            HINT = format('Grant it with: SELECT pawl.grant_access(%L, %L, workflow_name => %L);', me, check_narrowing.access, refused.workflow_name);
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_narrowing(text, text[], integer[]) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_narrowing(text, text[], integer[]) IS
'Internal: refuses an outer user whose access is narrowed to other workflow names or queues than all of these.';

-- Makes the privileges of a role on what `touched` lists agree with its rules.
CREATE FUNCTION pawl.apply_access(role name, touched text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    object record;
    rules text[];       -- the accesses it has
    wide text[];        -- and those it has without a narrowing
BEGIN
    SELECT coalesce(array_agg(r.access), '{}'), coalesce(array_agg(r.access) FILTER (WHERE r.workflow_name IS NULL AND r.queue_name IS NULL), '{}')
        INTO rules, wide FROM pawl.access_rule r WHERE r.role_name = apply_access.role;
    EXECUTE format(CASE WHEN rules = '{}' THEN 'REVOKE USAGE ON SCHEMA pawl FROM %I' ELSE 'GRANT USAGE ON SCHEMA pawl TO %I' END, apply_access.role);
    FOR object IN
        SELECT 'ROUTINE ' || p.oid::regprocedure::text AS name, 'EXECUTE' AS privilege,
            bool_or(a.access = ANY (CASE WHEN a.narrowed THEN rules ELSE wide END)) AS granted
        FROM pawl.access_routines() a JOIN pg_proc p ON p.proname = a.routine_name AND p.pronamespace = 'pawl'::regnamespace
        WHERE a.routine_name IN (SELECT t.routine_name FROM pawl.access_routines() t WHERE t.access = touched)
        GROUP BY p.oid
        UNION ALL
        SELECT 'TABLE ' || c.oid::regclass::text, 'SELECT', wide && ARRAY['observe', 'inspect']
        FROM pg_class c
        WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind = 'v' AND touched IN ('observe', 'inspect')
        ORDER BY 1
    LOOP
        EXECUTE format(CASE WHEN object.granted THEN 'GRANT %s ON %s TO %I' ELSE 'REVOKE %s ON %s FROM %I' END,
            object.privilege, object.name, apply_access.role);
    END LOOP;
    PERFORM pawl.invalidate_caches();
END $$;
REVOKE ALL ON FUNCTION pawl.apply_access(name, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.apply_access(name, text) IS 'Internal: grants or revokes what the rules of a role say.';

CREATE FUNCTION pawl.check_access(role name, access text, workflow_name text, queue text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF check_access.role IS NULL OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = check_access.role) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = format('role %s does not exist', coalesce(quote_ident(check_access.role), 'null')),
            HINT = 'Make it with CREATE ROLE first. Nothing of pawl is granted to PUBLIC: grant to a role, and make others members of it.';
    END IF;
    IF check_access.access IS NULL OR check_access.access NOT IN ('enqueue', 'send', 'observe', 'inspect', 'operate', 'work') THEN
        PERFORM pawl.refuse_argument(format('unknown access %s', coalesce(quote_literal(left(check_access.access, 64)), 'null')),
            'The accesses are enqueue, send, observe, inspect, operate and work.',
            coalesce('Perhaps you meant ' || pawl.nearest(check_access.access, ARRAY['enqueue', 'send', 'observe', 'inspect', 'operate', 'work']) || '.',
                'Give one of them.'));
    END IF;
    IF check_access.workflow_name IS NOT NULL THEN
        PERFORM pawl.check_name('workflow_name', check_access.workflow_name, 128);
    END IF;
    IF check_access.queue IS NOT NULL THEN
        PERFORM pawl.check_name('queue', check_access.queue, 128);
    END IF;
    IF (check_access.workflow_name IS NOT NULL OR check_access.queue IS NOT NULL) AND check_access.access NOT IN ('enqueue', 'send', 'operate') THEN
        PERFORM pawl.refuse_argument(format('access "%s" cannot be narrowed', check_access.access),
            'Only enqueue, send and operate can be narrowed to a workflow_name or a queue: the others are rights to views and to the worker protocol.',
            'Leave workflow_name and queue out.');
    END IF;
END $$;
REVOKE ALL ON FUNCTION pawl.check_access(name, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.check_access(name, text, text, text) IS 'Internal: checks the arguments of grant_access and revoke_access.';

CREATE FUNCTION pawl.record_access(action text, role name, access text, workflow_name text, queue text) RETURNS void LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
    SELECT pawl.record_action(action, 'access', ARRAY[role::text], NULL,
        jsonb_strip_nulls(jsonb_build_object('access', access, 'workflow_name', workflow_name, 'queue', queue)))
$$;
REVOKE ALL ON FUNCTION pawl.record_access(text, name, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.record_access(text, name, text, text, text) IS 'Internal: writes to pawl.audit what was granted or revoked.';

CREATE FUNCTION pawl.grant_access(role name, access text, workflow_name text DEFAULT NULL, queue text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM pawl.check_access(grant_access.role, grant_access.access, grant_access.workflow_name, grant_access.queue);
    IF grant_access.queue <> 'default' AND NOT EXISTS (SELECT FROM pawl.queue q WHERE q.queue_name = grant_access.queue) THEN
        RAISE EXCEPTION USING ERRCODE = 'PW005', MESSAGE = format('queue "%s" does not exist', grant_access.queue),
            HINT = format('Make it with: SELECT pawl.create_queue(%L);', grant_access.queue);
    END IF;
    PERFORM pawl.forget_lost_access(grant_access.role);
    INSERT INTO pawl.access_rule (role_name, access, workflow_name, queue_name)
        VALUES (grant_access.role, grant_access.access, grant_access.workflow_name, grant_access.queue) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM pawl.record_access('grant_access', grant_access.role, grant_access.access, grant_access.workflow_name, grant_access.queue);
    END IF;
    PERFORM pawl.apply_access(grant_access.role, grant_access.access);
END $$;
REVOKE ALL ON FUNCTION pawl.grant_access(name, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.grant_access(name, text, text, text) IS
'Grants a role an access.
role: an existing role. Members of it have the access too; nothing is granted to PUBLIC.
access: enqueue (start workflows, also by triggers) | send (messages) | observe (the views, payloads read NULL: input, output, error, progress) |
inspect (the views with payloads) | operate (cancelling, resuming and moving workflows; queues, schedules, SQL handlers,
releasing a restored copy) | work (the worker protocol, and nothing else).
workflow_name, queue: narrow enqueue, send and operate to one workflow name, one queue, or both; each call adds a rule, and one that matches is enough.
What is not about one workflow, like create_queue, needs operate without a narrowing.
They end when the role is dropped, or what it was granted (DROP OWNED): another role of its name has none of them.';

CREATE FUNCTION pawl.revoke_access(role name, access text, workflow_name text DEFAULT NULL, queue text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM pawl.check_access(revoke_access.role, revoke_access.access, revoke_access.workflow_name, revoke_access.queue);
    PERFORM pawl.forget_lost_access(revoke_access.role);
    DELETE FROM pawl.access_rule r WHERE r.role_name = revoke_access.role AND r.access = revoke_access.access
        AND (revoke_access.workflow_name IS NULL OR r.workflow_name = revoke_access.workflow_name)
        AND (revoke_access.queue IS NULL OR r.queue_name = revoke_access.queue);
    IF FOUND THEN
        PERFORM pawl.record_access('revoke_access', revoke_access.role, revoke_access.access, revoke_access.workflow_name, revoke_access.queue);
    ELSE
        RAISE NOTICE USING MESSAGE = format('role %I had no such access', revoke_access.role);
    END IF;
    PERFORM pawl.apply_access(revoke_access.role, revoke_access.access);
END $$;
REVOKE ALL ON FUNCTION pawl.revoke_access(name, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION pawl.revoke_access(name, text, text, text) IS
'Takes an access back from a role.
role, access: as in grant_access.
workflow_name, queue: only the grants narrowed to them; NULL takes every grant of that access, narrowed or not.';
