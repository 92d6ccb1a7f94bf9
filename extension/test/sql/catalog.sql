-- What must hold of every object of the extension, whoever adds one. Each of these finds nothing.
\a\t
\echo functions without a comment
SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'pawl'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
\echo relations without a comment
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'pawl'::regnamespace AND relkind IN ('r', 'p', 'v', 'S') AND NOT relispartition
    AND obj_description(c.oid, 'pg_class') IS NULL;
\echo columns without a comment
SELECT c.oid::regclass, attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    WHERE relnamespace = 'pawl'::regnamespace AND relkind IN ('r', 'p', 'v') AND NOT relispartition AND col_description(c.oid, attnum) IS NULL;
\echo functions that PUBLIC may call
SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'pawl'::regnamespace AND has_function_privilege('public', p.oid, 'execute');
\echo relations that PUBLIC may read
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'pawl'::regnamespace AND relkind IN ('r', 'p', 'v')
    AND has_table_privilege('public', c.oid, 'select, insert, update, delete');
\echo definers without a pinned search_path
SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'pawl'::regnamespace AND prosecdef
    AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(proconfig, '{}'));
\echo tables and sequences that pg_dump would restore empty
SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'pawl'::regnamespace AND relkind IN ('r', 'p', 'S') AND NOT relispartition
    AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'pawl');
\echo foreign keys
SELECT conname FROM pg_constraint WHERE connamespace = 'pawl'::regnamespace AND contype = 'f';
