-- pawl: durable workflows inside the application's own database
\echo Use "CREATE EXTENSION pawl" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

CREATE SCHEMA pawl;
COMMENT ON SCHEMA pawl IS 'Durable workflows: enqueue_workflow and the views over what runs. See docs/sql-reference.md.';
