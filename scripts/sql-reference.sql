-- Prints docs/sql-reference.md from the COMMENTs of an installed extension. Run by scripts/sql-reference.
\pset format unaligned
\pset tuples_only on
\pset recordsep '\n'
\set QUIET on
SET search_path = pg_catalog;
SET client_min_messages = warning;
SELECT pawl.may_inspect() \g /dev/null

CREATE FUNCTION pg_temp.prose(routine oid) RETURNS text LANGUAGE sql AS $$
    -- A line that begins with names of arguments and a colon is about them: an item of a list.
    SELECT string_agg(CASE
            WHEN names IS NOT NULL THEN CASE WHEN items = 1 THEN E'\n' ELSE '' END || '- `' || names || '`:' || substr(line, length(names) + 2)
            WHEN line LIKE 'Result: %' OR line LIKE 'Errors: %' THEN E'\n' || line
            WHEN line LIKE 'CREATE TRIGGER %' THEN E'\n```sql\n' || line || E'\n```\n'
            WHEN items > 0 AND NOT result THEN '  ' || line
            ELSE line END, E'\n' ORDER BY n)
    FROM (SELECT l.line, l.n, l.names, count(l.names) OVER w AS items, bool_or(l.line LIKE 'Result: %' OR l.line LIKE 'Errors: %') OVER w AS result FROM (
        SELECT line, n, CASE WHEN p.proargnames IS NULL OR split_part(m[1], ',', 1) = ANY (p.proargnames) THEN m[1] END AS names
        FROM pg_proc p, unnest(string_to_array(obj_description(p.oid), E'\n')) WITH ORDINALITY u (line, n)
            LEFT JOIN LATERAL regexp_match(line, '^([a-z_]+(?:(?:, | with )[a-z_]+)*):') m ON true
        WHERE p.oid = routine) l WINDOW w AS (ORDER BY l.n)) k
$$;
CREATE FUNCTION pg_temp.signature(routine oid) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN p.prokind = 'p' THEN 'CALL ' ELSE '' END || p.oid::regproc || '('
        || CASE WHEN length(a) > 90 THEN E'\n    ' || regexp_replace(a, ', (?=[a-z_]+ |INOUT )', E',\n    ', 'g') || E'\n' ELSE a END || ')'
        || CASE WHEN p.prokind = 'p' THEN '' ELSE ' RETURNS ' || pg_get_function_result(p.oid) END
    FROM pg_proc p, regexp_replace(pg_get_function_arguments(p.oid), 'DEFAULT (NULL|''[^'']*''|[a-z0-9]+)::[a-z ]+(\[\])?', 'DEFAULT \1', 'g') a
    WHERE p.oid = routine
$$;
CREATE TEMP VIEW routine AS
SELECT p.oid, p.proname,
    coalesce((SELECT min(a.access) FROM pawl.access_routines() a WHERE a.routine_name = p.proname), 'owner') AS access
FROM pg_proc p
WHERE p.pronamespace = 'pawl'::regnamespace AND obj_description(p.oid) !~ '^Internal:';

\qecho '# SQL reference'
\qecho
\qecho 'Made by `scripts/sql-reference` from the comments in the database (`\\df+ pawl.*`, `\\d+ pawl.workflows`): change those, not this file.'
\qecho
\qecho 'Named arguments are the interface: `SELECT pawl.enqueue_workflow(''ship_order'', priority => 1)`. Nothing is granted to PUBLIC; `pawl.grant_access`'
\qecho 'grants each function by one of six accesses. The worker protocol as a whole is in [worker-protocol.md](worker-protocol.md).'
\qecho

\qecho '## Functions'
SELECT format(E'\n### %s\n\n```sql\n%s\n```\n\n%s\n\n%s', r.oid::regproc, pg_temp.signature(r.oid), pg_temp.prose(r.oid),
    CASE r.access WHEN 'owner' THEN 'Access: whoever installed the extension, or was granted EXECUTE by them.' ELSE format('Access: %s.', r.access) END)
FROM routine r WHERE r.access <> 'work'
ORDER BY array_position(ARRAY['enqueue', 'send', 'observe', 'inspect', 'operate', 'owner'], r.access), r.proname, r.oid::regprocedure::text;
\qecho
\qecho '## Views'
\qecho
\qecho 'Access: observe (payload columns read NULL) or inspect.'
SELECT format(E'\n### %s\n\n%s\n\n| column | type | |\n| --- | --- | --- |\n%s', c.oid::regclass, obj_description(c.oid), (
    SELECT string_agg(format('| %s | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod),
        replace(replace(col_description(c.oid, a.attnum), E'\n', ' '), '|', '\|')), E'\n' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0))
FROM pg_class c WHERE c.relnamespace = 'pawl'::regnamespace AND c.relkind = 'v'
ORDER BY array_position(ARRAY['workflows', 'workflow_steps', 'messages', 'events', 'stream_entries', 'queues', 'oldest_waiting', 'schedules', 'retention', 'workers', 'handlers', 'audit'], c.relname::text), c.relname;
\qecho
\qecho '## The worker protocol'
\qecho
\qecho 'Access: work.'
SELECT format(E'\n### %s\n\n```sql\n%s\n```\n\n%s', r.oid::regproc, pg_temp.signature(r.oid), pg_temp.prose(r.oid))
FROM routine r WHERE r.access = 'work'
ORDER BY array_position(ARRAY['register_worker', 'heartbeat', 'unregister_worker', 'claim_workflows', 'get_recorded_steps', 'record_steps', 'record_attempts', 'record_step',
    'perform_calls', 'emit_values', 'complete_workflows', 'park_workflows', 'continue_workflows', 'release_workflows', 'arm_worker', 'wait', 'arm_signals',
    'take_signals', 'run_schedules', 'run_retention'], r.proname::text), r.proname;
\qecho
\qecho '## Settings'
\qecho
\qecho '| setting | default | |'
\qecho '| --- | --- | --- |'
SELECT format('| %s | %s%s | %s |', s.name, s.boot_val, coalesce(' ' || s.unit, ''), concat_ws(' ', s.short_desc, s.extra_desc))
FROM pg_settings s WHERE s.name LIKE 'pawl.%' ORDER BY s.name COLLATE "C";
\qecho
\qecho '## Error codes'
\qecho
\qecho 'What callers branch on. Every error has a message, and where it helps a DETAIL and a HINT that says what to do.'
\qecho
\qecho '| SQLSTATE | when |'
\qecho '| --- | --- |'
\qecho '| PW001 | fenced: another worker owns the workflow, or it has ended. Roll back and stop; do not retry |'
\qecho '| PW002 | the workflow_id exists with another workflow_name, or it or the deduplication_id exists and the call said raise, or keeps one from being resumed |'
\qecho '| PW003 | the worker speaks another protocol than the extension |'
\qecho '| PW004 | the worker is unknown or has ended: register a new worker_id |'
\qecho '| PW005 | the queue does not exist |'
\qecho '| PW006 | no access to that workflow_name or queue: the role''s grants are narrowed to others |'
\qecho '| PW007 | no worker ever offered that workflow_name, and pawl.require_handler is on |'
\qecho '| PW008 | kept for what is refused while a restored copy is held; a claim answers nothing then (see pawl.release_hold) |'
\qecho '| PW009 | the workflow is being cancelled: what its run does is not recorded any more. Roll back and stop |'
\qecho '| PW010 | there is no workflow of that id |'
\qecho '| PW011 | the workflow is not in a state for that: resuming one that succeeded, rewinding what its compensations undid, deleting one that is awaited; the detail says which |'
\qecho '| 22023 | an argument is null, empty, too long, unknown or contradicts another; nothing was written |'
\qecho '| 22004 | enqueue_on_change: a column that fills a {column} is NULL |'
\qecho '| 0A000 | the argument is not supported yet |'
\qecho '| 23505 | record_step: the step is recorded already |'
\qecho '| 25001 | claim_workflows, perform_calls, emit_values, park_workflows, take_signals or run_schedules outside READ COMMITTED, or wait inside a transaction block |'
\qecho '| 25006 | the server is a standby, or the transaction is read-only |'
\qecho '| 42501 | the role lacks the access: see pawl.grant_access |'
\qecho '| 42703 | enqueue_on_change: the table has no such column |'
\qecho '| 42704 | grant_access, revoke_access: the role does not exist; alter_schedule and its like: the schedule does not exist |'
\qecho '| 42710 | create_queue, create_schedule: it exists, and the call said raise |'
