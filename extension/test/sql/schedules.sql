-- Schedules: what they enqueue and what they count. The time is given to fire_schedules, so that nothing here waits.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
TRUNCATE pawl.workflow, pawl.workflow_history, pawl.payload, pawl.workflow_step, pawl.worker, pawl.worker_handler, pawl.known_handler,
    pawl.queue, pawl.access_rule, pawl.installation, pawl.schedule, pawl.audit_entry;
SET client_min_messages = notice;
SET timezone = 'UTC';
SET datestyle = 'ISO';

SELECT pawl.create_schedule('nightly', '0 2 * * *', 'close_books', '{"book": 1}', timezone => 'Europe/Berlin');
\x on
SELECT *, next_at > now() AS later, created_by = current_user AS by_me FROM (SELECT s.schedule, s.cron, s.timezone, s.workflow_name, s.input, s.queue, s.catch_up,
    s.overlap, s.jitter, s.options, s.paused, s.last_at, s.last_workflow_id, s.fired, s.missed, s.skipped, s.last_error, s.next_at, s.created_by
    FROM pawl.schedules s) s \gset shown_
\echo :shown_schedule :shown_cron :shown_timezone :shown_workflow_name :shown_input :shown_queue :shown_catch_up :shown_overlap :shown_jitter :shown_options :shown_paused :shown_fired :shown_missed :shown_skipped :shown_later :shown_by_me
\x off
SELECT pawl.create_schedule('nightly', '0 2 * * *', 'close_books');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_schedule('nightly', '0 3 * * *', 'close_books', on_existing => 'keep');
SELECT cron FROM pawl.schedules;
-- What is due just now is not lost when a deployment says the same again.
UPDATE pawl.schedule SET next_at = '2026-01-01', fired = 7;
SELECT pawl.create_schedule('nightly', '0 2 * * *', 'close_books', '{"book": 2}', timezone => 'Europe/Berlin', on_existing => 'replace');
SELECT cron, input, next_at, fired FROM pawl.schedules;
SELECT pawl.create_schedule('nightly', '0 4 * * *', 'close_books', on_existing => 'replace');
SELECT cron, timezone, next_at > now() AS later FROM pawl.schedules;

-- What cannot be is refused at creation.
SELECT pawl.create_schedule('bad', '0 25 * * *', 'ship');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_schedule('bad', '@daily', 'ship', timezone => 'Europe/Berln');
SELECT pawl.create_schedule('bad', NULL, 'ship');
SELECT pawl.create_schedule('bad', '@daily', 'ship', timezone => NULL);
SELECT pawl.create_schedule('', '@daily', 'ship');
SELECT pawl.create_schedule('bad', '@daily', '');
SELECT pawl.create_schedule('bad', '@daily', 'ship', NULL);
SELECT pawl.create_schedule('bad', '@daily', 'ship', queue => 'shiping');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_schedule('bad', '@daily', 'ship', overlap => 'queue');
SELECT pawl.create_schedule('bad', '@daily', 'ship', catch_up => '-1 s');
SELECT pawl.create_schedule('bad', '@daily', 'ship', jitter => NULL);
SELECT pawl.create_schedule('bad', '@daily', 'ship', catch_up => '10000 years');
SELECT pawl.create_schedule('bad', '@daily', 'ship', jitter => '1001 years');
SELECT pawl.create_schedule('bad', '@daily', 'ship', on_existing => 'maybe');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"prioritty": 1}');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"priority": 1.5}');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"priority": 1e99}');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"timeout": "soon"}');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"timeout": "-1 s"}');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"workflow_version": 0}');
SELECT pawl.create_schedule('bad', '@daily', 'ship', options => '{"headers": "x"}');
SELECT pawl.pause_schedule('nightli');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.drop_schedule('nightli');
SELECT pawl.drop_schedule('nightly');
SELECT count(*) FROM pawl.schedules;

-- From here on 2026-03-01 12:00 is the time at which everything begins.
CREATE FUNCTION pg_temp.begin_at(name text, at timestamptz) RETURNS void LANGUAGE sql AS $$
    UPDATE pawl.schedule SET next_at = pawl.next_instant(cron, timezone, at) WHERE schedule_name = name
$$;
CREATE FUNCTION pg_temp.finish() RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM pawl.workflow RETURNING *)
    SELECT count(*) FROM gone
$$;
CREATE VIEW pg_temp.counts AS SELECT schedule, next_at, last_at, last_workflow_id, fired, missed, skipped FROM pawl.schedules;
SET client_min_messages = warning;
SELECT pawl.create_queue('nights');
SELECT pawl.create_schedule('tick', '* * * * *', 'ship', '{"n": 1}', queue => 'nights', overlap => 'allow', options => '{"priority": -3, "partition_key": "p",
    "timeout": "1 hour", "workflow_version": 2, "headers": {"h": null}, "attributes": {"a": 1}}');
SELECT options FROM pawl.schedules;
SELECT pg_temp.begin_at('tick', '2026-03-01 12:00Z');
-- Nothing is due yet; then one; then two, and each once.
SELECT pawl.fire_schedules('2026-03-01 12:00:59.999Z'), (SELECT count(*) FROM pawl.workflow);
SELECT pawl.fire_schedules('2026-03-01 12:01Z'), pawl.fire_schedules('2026-03-01 12:01:00.5Z');
SELECT workflow_id, workflow_name, workflow_version, queue, status, priority, partition_key, input, headers, attributes, schedule_name, scheduled_at,
    enqueued_by = current_user AS by_me, run_at FROM pawl.workflows;
SELECT timeout, pinned FROM pawl.workflow;
SELECT pawl.fire_schedules('2026-03-01 12:03:10Z');
SELECT workflow_id FROM pawl.workflows ORDER BY scheduled_at;
SELECT * FROM pg_temp.counts;

-- Late, but within catch_up: enqueued. What is older is counted.
SELECT pawl.fire_schedules('2026-03-01 15:00:30Z'), pg_temp.finish();
SELECT * FROM pg_temp.counts;
SELECT missed, missed_at FROM pawl.schedules;
SELECT pawl.alter_schedule('tick', catch_up => '0');
-- Ten seconds late is not late.
SELECT pawl.fire_schedules('2026-03-01 15:02:09Z');
SELECT * FROM pg_temp.counts;
SELECT pawl.fire_schedules('2026-03-01 15:03:11Z');
SELECT * FROM pg_temp.counts;
-- At most a hundred of a schedule at a time, so that no other waits for all of them.
SELECT pawl.alter_schedule('tick', catch_up => '1 day');
SELECT pawl.create_schedule('slow', '@daily', 'ship');
SELECT pg_temp.begin_at('slow', '2026-03-01 12:00Z');
SELECT pawl.fire_schedules('2026-03-02 00:00Z');
SELECT * FROM pg_temp.counts ORDER BY 1;
SELECT pawl.fire_schedules('2026-03-02 00:00Z') FROM generate_series(1, 4);
SELECT * FROM pg_temp.counts ORDER BY 1;
SELECT pawl.fire_schedules('2026-03-02 00:00Z');
SELECT * FROM pg_temp.counts ORDER BY 1;
-- Years of them are counted, not enqueued.
SELECT pawl.alter_schedule('tick', catch_up => '0');
SELECT pawl.fire_schedules('2026-07-01 00:00:30Z') FROM generate_series(1, 2);
SELECT * FROM pg_temp.counts ORDER BY 1;
SELECT pawl.drop_schedule('slow'), pg_temp.finish();

-- Overlap: skip counts what it leaves out, also for a run by hand; cancel ends the earlier one.
SELECT pawl.alter_schedule('tick', overlap => 'skip', catch_up => '1 hour');
UPDATE pawl.schedule SET fired = 0, missed = 0, skipped = 0;
SELECT pg_temp.begin_at('tick', '2026-08-01Z');
SELECT pawl.fire_schedules('2026-08-01 00:03Z');
SELECT * FROM pg_temp.counts;
SELECT pg_temp.finish(), pawl.trigger_schedule('tick') ~ '^tick@manual-\d+$' AS manual;
SELECT pawl.fire_schedules('2026-08-01 00:04Z');
SELECT workflow_id ~ '^tick@manual-' AS manual, schedule_name, scheduled_at, status FROM pawl.workflows;
SELECT pg_temp.finish();
SELECT pawl.fire_schedules('2026-08-01 00:05Z');
SELECT * FROM pg_temp.counts;
SELECT pawl.alter_schedule('tick', overlap => 'cancel');
SELECT pawl.fire_schedules('2026-08-01 00:06Z');
SELECT workflow_id, status, status_reason, error ->> 'message' AS message FROM pawl.workflows ORDER BY 1;
SELECT * FROM pg_temp.counts;

-- Backfill: never twice for one instant, both ends included.
SELECT pg_temp.finish();
SELECT pawl.alter_schedule('tick', overlap => 'skip');
SELECT pawl.backfill_schedule('tick', '2026-02-01 00:00Z', '2026-02-01 00:02Z');
SELECT pawl.backfill_schedule('tick', '2026-02-01 00:01Z', '2026-02-01 00:04:59Z');
SELECT workflow_id, scheduled_at, run_at FROM pawl.workflows WHERE scheduled_at < '2026-03-01' ORDER BY scheduled_at;
SELECT * FROM pg_temp.counts;
-- What is backfilled before it is due is not enqueued again, nor counted.
SELECT pg_temp.begin_at('tick', '2026-02-01 00:00:30Z');
SELECT pawl.fire_schedules('2026-02-01 00:01:30Z');
SELECT fired, missed, skipped FROM pg_temp.counts;
SELECT pg_temp.finish();
-- The latest that was missed is forgotten with its backfill, and with no other.
UPDATE pawl.schedule SET missed_at = '2026-02-02 00:05Z';
SELECT pawl.backfill_schedule('tick', '2026-02-02 00:04Z', '2026-02-02 00:04Z'), (SELECT missed_at FROM pawl.schedules);
SELECT pawl.backfill_schedule('tick', '2026-02-02 00:05Z', '2026-02-02 00:05Z');
SELECT missed_at FROM pawl.schedules;
SELECT pg_temp.finish();
-- Nor what was enqueued, and has ended.
SELECT count(*) FROM (SELECT pawl.backfill_schedule('tick', '2026-02-02 00:00Z', '2026-02-02 00:00Z')) b;
SELECT pawl.cancel_workflow('tick@2026-02-02T00:00:00Z');
SELECT pawl.backfill_schedule('tick', '2026-02-02 00:00Z', '2026-02-02 00:01Z');
-- Also if it enqueues something else by now.
SELECT pawl.alter_schedule('tick', workflow_name => 'pack'), pawl.backfill_schedule('tick', '2026-02-02 00:00Z', '2026-02-02 00:01Z'),
    pawl.alter_schedule('tick', workflow_name => 'ship');
SELECT pawl.backfill_schedule('tick', '2026-02-03', '2026-02-02');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.backfill_schedule('tick', '2020-01-01', '2026-01-01');
SELECT pawl.backfill_schedule('tick', '2026-02-02', NULL);
DO $$ BEGIN PERFORM pawl.backfill_schedule('tick', '2026-01-01', 'infinity'); EXCEPTION WHEN invalid_parameter_value THEN RAISE WARNING '%', SQLERRM; END $$;
SELECT pg_temp.finish();

-- A pause: nothing fires, and nothing of it is caught up.
SELECT pawl.pause_schedule('tick', 'month end'), pawl.pause_schedule('tick');
SELECT paused, paused_by = current_user AS by_me, paused_reason, next_at FROM pawl.schedules;
SELECT pawl.fire_schedules('2030-01-01');
SELECT pawl.alter_schedule('tick', cron => '*/2 * * * *');
SELECT next_at FROM pawl.schedules;
SELECT pawl.resume_schedule('tick'), pawl.resume_schedule('tick');
SELECT paused, paused_by, paused_reason, next_at > now() AND next_at <= now() + interval '2 minutes' AS soon FROM pawl.schedules;
SELECT count(*) FROM pawl.workflow;

-- Options: those given change, null goes back to the default. Altering the clock moves the next instant at once.
SELECT pawl.alter_schedule('tick', cron => '0 0 1 1 *', timezone => 'Asia/Tokyo', input => '[1]', workflow_name => 'pack', queue => 'default', jitter => '1 hour',
    options => '{"priority": null, "partition_key": "q", "headers": null}');
SELECT cron, timezone, to_char(next_at, 'MM-DD HH24:MI') AS next, input, workflow_name, queue, jitter, overlap, options FROM pawl.schedules;
SELECT pawl.alter_schedule('tick', cron => '0 0 1 13 *');
\echo :LAST_ERROR_SQLSTATE

-- Jitter: put off by a part of it that is always the same.
SELECT pawl.alter_schedule('tick', cron => '* * * * *', timezone => 'UTC', overlap => 'allow');
SELECT pg_temp.begin_at('tick', '2099-01-01');
SELECT pawl.fire_schedules('2099-01-01 00:20Z');
SELECT count(*), bool_and(run_at - scheduled_at BETWEEN '0' AND '1 hour') AS within, count(DISTINCT run_at - scheduled_at) > 15 AS spread,
    max(run_at - scheduled_at) > '40 minutes' AS far, min(run_at - scheduled_at) < '20 minutes' AS near, min(status) AS status FROM pawl.workflow WHERE schedule_name = 'tick';
CREATE TEMP TABLE first_time AS SELECT workflow_id, run_at FROM pawl.workflow;
SELECT count(*) FROM (SELECT pg_temp.finish()) f;
SELECT pg_temp.begin_at('tick', '2099-01-01');
SELECT pawl.fire_schedules('2099-01-01 00:20Z');
SELECT count(*) AS as_before FROM pawl.workflow w JOIN first_time f USING (workflow_id, run_at);
SELECT pg_temp.finish();

-- What cannot be enqueued says so, is tried at the next instant, and stops no other.
SELECT pawl.alter_schedule('tick', queue => 'nights', jitter => '0');
SELECT pawl.create_schedule('tock', '* * * * *', 'ship', overlap => 'allow');
SELECT pg_temp.begin_at(s, '2026-09-01') FROM unnest(ARRAY['tick', 'tock']) s;
UPDATE pawl.schedule SET fired = 0, missed = 0, skipped = 0;
DELETE FROM pawl.queue WHERE queue_name = 'nights';
SELECT pawl.invalidate_caches();
SELECT pawl.fire_schedules('2026-09-01 00:02Z');
SELECT schedule, next_at, last_at, fired, missed, last_error FROM pawl.schedules ORDER BY 1;
SELECT pawl.trigger_schedule('tick');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_queue('nights');
SELECT pawl.fire_schedules('2026-09-01 00:03Z');
SELECT schedule, next_at, last_at, fired, missed, last_error FROM pawl.schedules ORDER BY 1;
-- An id that somebody else took.
SELECT pawl.enqueue_workflow('other', workflow_id => 'tock@2026-09-01T00:04:00Z');
SELECT pawl.fire_schedules('2026-09-01 00:04Z');
SELECT schedule, fired, missed, last_error FROM pawl.schedules WHERE schedule = 'tock';
-- A zone that is not known any more: only that schedule stops, and says why.
UPDATE pawl.schedule SET timezone = 'Europe/Atlantis' WHERE schedule_name = 'tick';
SELECT pawl.fire_schedules('2026-09-01 00:05Z');
SELECT schedule, paused, paused_by, paused_reason, next_at, fired FROM pawl.schedules ORDER BY 1;
SELECT pawl.alter_schedule('tick', timezone => 'UTC'), pawl.resume_schedule('tick');
-- A row that could not be made any more.
UPDATE pawl.schedule SET catch_up = '10000 years' WHERE schedule_name = 'tick';
UPDATE pawl.schedule SET next_at = '2026-09-01 00:06Z';
SELECT pawl.fire_schedules('2026-09-01 00:06Z');
SELECT schedule, paused, paused_by, paused_reason, next_at, fired FROM pawl.schedules ORDER BY 1;
SELECT pawl.alter_schedule('tick', jitter => '1 s');
SELECT pawl.alter_schedule('tick', catch_up => '1 hour'), pawl.resume_schedule('tick');
-- The server's own trouble is raised, and all of it done again later.
CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'no space'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON pawl.workflow FOR EACH ROW EXECUTE FUNCTION public.full_disk();
SELECT pawl.fire_schedules('2026-09-01 00:07Z');
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER full_disk ON pawl.workflow;
DROP FUNCTION public.full_disk();
SELECT pawl.fire_schedules('2026-09-01 00:07Z');
SELECT schedule, next_at, fired, missed FROM pawl.schedules WHERE schedule = 'tock';
SELECT pawl.drop_schedule('tick'), pawl.drop_schedule('tock'), pg_temp.finish();

-- What is behind keeps nothing waiting that is on time.
SELECT count(*) FROM (SELECT pawl.create_schedule('behind-' || i, '* * * * *', 'ship', overlap => 'allow', catch_up => '1 day') FROM generate_series(1, 49) i) c;
SELECT pawl.create_schedule('on-time', '* * * * *', 'ship', overlap => 'allow', catch_up => '0');
UPDATE pawl.schedule SET next_at = CASE schedule_name WHEN 'on-time' THEN '2026-09-01Z' ELSE '2026-08-31Z' END::timestamptz;
SELECT pawl.fire_schedules('2026-09-01Z');
SELECT schedule ~ 'behind' AS behind, fired, missed, max(next_at), count(*) FROM pawl.schedules GROUP BY 1, 2, 3;
SELECT pg_temp.finish();
DELETE FROM pawl.schedule;

-- More schedules at one instant than a batch has room for.
SELECT count(*) FROM (SELECT pawl.create_schedule('many-' || i, '@daily', 'ship') FROM generate_series(1, 1200) i) c;
UPDATE pawl.schedule SET next_at = '2026-09-01Z';
SELECT pawl.fire_schedules('2026-09-01Z'), pawl.fire_schedules('2026-09-01Z');
SELECT fired, count(*) FROM pawl.schedules GROUP BY 1;
-- The latest first.
UPDATE pawl.schedule SET next_at = CASE schedule_name WHEN 'many-7' THEN '2026-09-01Z' ELSE '2026-08-31Z' END::timestamptz, overlap = 'allow', catch_up = '2 days', fired = 0;
SELECT pg_temp.finish();
SELECT pawl.fire_schedules('2026-09-01Z');
SELECT fired, max(schedule) FILTER (WHERE schedule = 'many-7') AS on_time, count(*) FROM pawl.schedules GROUP BY 1;
SELECT pg_temp.finish();
DELETE FROM pawl.schedule;

-- Every day of a year in the three zones: each instant once, whatever steps time goes in.
SELECT pawl.create_schedule(name, cron, 'ship', timezone => zone, overlap => 'allow', catch_up => '10 days')
    FROM (VALUES ('york', 'America/New_York'), ('berlin', 'Europe/Berlin'), ('howe', 'Australia/Lord_Howe')) z (place, zone),
        (VALUES ('night', '30 1,2 * * *'), ('hours', '0 * * * *')) c (kind, cron), LATERAL (SELECT place || '-' || kind AS name) n;
UPDATE pawl.schedule SET next_at = pawl.next_instant(cron, timezone, '2026-01-01Z');
DO $$
DECLARE
    at timestamptz := '2026-01-01Z';
BEGIN
    WHILE at < '2027-01-01Z' LOOP
        at := at + interval '1 hour' * (1 + abs(hashtext(at::text)) % 60);
        WHILE pawl.fire_schedules(at) LOOP
        END LOOP;
    END LOOP;
END $$;
SELECT s.schedule, s.fired, s.missed, s.skipped,
    ARRAY(SELECT w.scheduled_at FROM pawl.workflow w WHERE w.schedule_name = s.schedule ORDER BY 1)
        = ARRAY(SELECT pawl.instants(s.cron, s.timezone, '2026-01-01Z', s.last_at, 100000)) AS each_once
FROM pawl.schedules s ORDER BY 1;
-- A day has its 24 hours, but for the two on which the clocks change.
SELECT schedule_name, count(*) FILTER (WHERE n <> 24) AS odd_days, min(n), max(n) FROM (
    SELECT w.schedule_name, (w.scheduled_at AT TIME ZONE s.timezone)::date AS day, count(*) AS n FROM pawl.workflow w JOIN pawl.schedule s USING (schedule_name)
    WHERE w.schedule_name LIKE '%-hours' GROUP BY 1, 2) d WHERE day BETWEEN '2026-01-02' AND '2026-12-30' GROUP BY 1 ORDER BY 1;
SELECT schedule_name, count(*) FILTER (WHERE n <> 2) AS odd_days, min(n), max(n) FROM (
    SELECT w.schedule_name, (w.scheduled_at AT TIME ZONE s.timezone)::date AS day, count(*) AS n FROM pawl.workflow w JOIN pawl.schedule s USING (schedule_name)
    WHERE w.schedule_name LIKE '%-night' GROUP BY 1, 2) d WHERE day BETWEEN '2026-01-02' AND '2026-12-30' GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM (SELECT pawl.drop_schedule(schedule) FROM pawl.schedules) d;
SELECT pg_temp.finish() > 0 AS some;

-- The worker's side: a heartbeat says when something is due, run_schedules fires it.
SELECT held FROM pawl.register_worker('00000000-0000-4000-8000-000000000001', 'w1', 'localhost', 1, '0', 1, 10, NULL, ARRAY['ship'], ARRAY[1], ARRAY['p']);
SELECT schedule_in, retention FROM pawl.heartbeat('00000000-0000-4000-8000-000000000001', 0, 'running');
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001');
SELECT pawl.create_schedule('tick', '* * * * * *', 'ship', overlap => 'allow');
SELECT schedule_in BETWEEN -1000000 AND 1000000 AS within_a_second FROM pawl.heartbeat('00000000-0000-4000-8000-000000000001', 0, 'running');
SELECT schedule_in FROM pawl.heartbeat('00000000-0000-4000-8000-000000000001', 0, 'draining');
UPDATE pawl.schedule SET next_at = date_trunc('second', clock_timestamp()) - interval '5 seconds';
SELECT schedule_in < -4000000 AS overdue FROM pawl.heartbeat('00000000-0000-4000-8000-000000000001', 0, 'running');
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001') BETWEEN 1 AND 1000000 AS within_a_second;
SELECT fired >= 6 AS fired, next_at > clock_timestamp() - interval '1 second' AS later FROM pawl.schedule;
UPDATE pawl.schedule SET next_at = date_trunc('second', clock_timestamp()) - interval '500 seconds';
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001') AS more;
-- While it is held nothing is due, and nothing fires.
UPDATE pawl.installation SET held_at = now();
SELECT held, schedule_in FROM pawl.heartbeat('00000000-0000-4000-8000-000000000001', 0, 'running');
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001'), (SELECT next_at < now() - interval '5 minutes' FROM pawl.schedule) AS still_due;
UPDATE pawl.installation SET held_at = NULL;
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000002');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_schedules(NULL);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.unregister_worker('00000000-0000-4000-8000-000000000001');
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.drop_schedule('tick'), pg_temp.finish() > 100 AS some;

-- Who may: operate, and enqueue for what is enqueued; either may be narrowed.
CREATE ROLE schedule_keeper;
CREATE ROLE schedule_clerk;
SELECT pawl.grant_access('schedule_keeper', 'operate'), pawl.grant_access('schedule_keeper', 'observe'), pawl.grant_access('schedule_clerk', 'operate', 'ship'),
    pawl.grant_access('schedule_clerk', 'enqueue', 'ship');
SET ROLE schedule_keeper;
SELECT pawl.create_schedule('kept', '@daily', 'ship');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT pawl.grant_access('schedule_keeper', 'enqueue', 'ship');
SET ROLE schedule_keeper;
SELECT pawl.create_schedule('kept', '@daily', 'pack');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_schedule('kept', '@daily', 'ship', '{"secret": 1}');
SELECT schedule, input, created_by FROM pawl.schedules;
SELECT pawl.alter_schedule('kept', workflow_name => 'pack');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.run_schedules('00000000-0000-4000-8000-000000000001');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.fire_schedules(now());
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT pawl.create_schedule('packed', '@daily', 'pack');
SET ROLE schedule_clerk;
SELECT pawl.pause_schedule('kept'), pawl.resume_schedule('kept'), pawl.trigger_schedule('kept') LIKE 'kept@manual-%' AS manual;
SELECT pawl.pause_schedule('packed');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.drop_schedule('packed');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.create_schedule('packed', '@daily', 'ship', on_existing => 'replace');
\echo :LAST_ERROR_SQLSTATE
SELECT pawl.alter_schedule('kept', cron => '@hourly');
RESET ROLE;
SELECT enqueued_by, schedule_name FROM pawl.workflows;
SELECT role_name = session_user AS me, CASE WHEN role_name <> session_user THEN role_name END AS role_name, action, object_name, reason, detail - 'workflow_id' AS detail
    FROM pawl.audit WHERE object_kind = 'schedule' AND object_name IN ('kept', 'packed') ORDER BY audit_key;
SELECT DISTINCT action, reason FROM pawl.audit WHERE object_kind = 'schedule' ORDER BY 1, 2;
SELECT pawl.revoke_access(r, a) FROM unnest(ARRAY['schedule_keeper', 'schedule_clerk']) r, unnest(ARRAY['operate', 'enqueue']) a;
SELECT pawl.revoke_access('schedule_keeper', 'observe');
DROP ROLE schedule_keeper;
DROP ROLE schedule_clerk;
SELECT pawl.drop_schedule('kept'), pawl.drop_schedule('packed'), pg_temp.finish();
