-- Cron text, and the instants that it means where clocks change.
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO';
-- The next three instants.
CREATE FUNCTION pg_temp.next(cron text, after timestamptz DEFAULT '2026-11-21 10:07:30Z', zone text DEFAULT 'UTC') RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(i AT TIME ZONE zone, 'YYYY-MM-DD Dy HH24:MI:SS'), ', ' ORDER BY i) FROM pawl.instants(cron, zone, after, 'infinity', 3) i
$$;

-- Every form of a field.
SELECT c AS cron, pg_temp.next(c) FROM unnest(ARRAY['* * * * *', '30 * * * *', '*/20 * * * *', '10-30/10 * * * *', '5,7,9-11 * * * *', '0 9-17/4 * * *',
    '0 0 1 * *', '0 0 * JAN *', '0 0 1 jan,Mar-may *', '0 0 * * MON', '0 0 * * 7', '0 0 * * 0', '0 0 * * fri-sun', '0 0 * * SAT,7', '0 0 * * 5-7',
    '*/15 * * * * *', '7 * * * * *', '59 59 23 31 12 *', '  0	0 1 *  *  ', '@yearly', '@Annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'
    ]) WITH ORDINALITY u (c, n) ORDER BY n;
-- Both days restricted: one is enough. One that begins with * is no restriction.
SELECT c AS cron, pg_temp.next(c) FROM unnest(ARRAY['0 0 13 * FRI', '0 0 13 * *', '0 0 * * FRI', '0 0 */13 * FRI', '0 0 13 * */5']) c;
-- Leap days, ends of years, the end of time.
SELECT pg_temp.next('0 0 29 2 *'), pg_temp.next('0 0 29 2 *', '2096-02-29Z'), pg_temp.next('0 0 29 2 */7', '2096-02-29Z');
SELECT pg_temp.next('59 59 23 * * *', '2027-12-30Z'), pg_temp.next('0 0 31 * *', '2027-12-31Z'), pg_temp.next('@daily', '1968-02-27Z');
SELECT pawl.next_instant('@daily', 'UTC', '2026-11-21'), pawl.next_instant('@daily', 'UTC', '2026-11-20 23:59:59.999999Z'),
    pawl.next_instant('* * * * * *', 'UTC', '1999-12-31 23:59:58.5Z'), pawl.next_instant('* * * * * *', 'UTC', '1999-12-31 23:59:58Z');
SELECT pawl.next_instant('@daily', 'UTC', 'infinity') IS NULL AS a, pawl.next_instant('@daily', 'UTC', '-infinity') IS NULL AS b,
    pawl.next_instant('@yearly', 'UTC', '294276-12-31 00:00Z') IS NULL AS c, pawl.next_instant('@yearly', 'UTC', '4714-11-24 00:00Z BC') AS d,
    pawl.next_instant(NULL, 'UTC', now()) IS NULL AS e;

-- Errors name the field, what was found there, and what it may hold.
CREATE FUNCTION pg_temp.refused(cron text, zone text DEFAULT 'UTC') RETURNS TABLE (state text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pawl.next_instant(cron, zone, now());
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN NEXT;
END $$;
\x on
SELECT r.* FROM unnest(ARRAY['60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 13 *', '* * * 0 *', '* * * * 8', '60 * * * * *', '-1 * * * *',
    'a * * * *', '* * * JANUARY *', '* * * MON *', '* * * * JAN', '5-1 * * * *', '* * * * FRI-MON', '5/15 * * * *', '*/0 * * * *', '*/60 * * * *', '*/ * * * *',
    '1, * * * *', ',1 * * * *', '1-, * * * *', '** * * * *', '*5 * * * *', '1;2 * * * *', '99999 * * * *', '00001 * * * *', '? * * * *', '* * L * *', '* * 15W * *',
    '* * * * 5#3', '', ' ', '*', '* * * *', '* * * * * * *', '@reboot', '@dayly', '0 0 31 2 *', '0 0 31 4,6,9,11 *', '0 0 30-31 FEB */2', repeat('*', 300)
    ]) WITH ORDINALITY u (c, n), pg_temp.refused(c) r ORDER BY n;
SELECT r.* FROM unnest(ARRAY['Europe/Berln', '', 'EST or so', '+25', 'right/UTC']) WITH ORDINALITY u (z, n), pg_temp.refused('@daily', z) r ORDER BY n;
\x off

-- Where clocks change. New York and Berlin by an hour, Lord Howe by half an hour, and in the other half of the year.
CREATE TEMP TABLE change (zone text, spring timestamptz, autumn timestamptz);
INSERT INTO change VALUES ('America/New_York', '2026-03-08 07:00Z', '2026-11-01 06:00Z'), ('Europe/Berlin', '2026-03-29 01:00Z', '2026-10-25 01:00Z'),
    ('Australia/Lord_Howe', '2026-10-03 15:30Z', '2026-04-04 15:00Z');
CREATE FUNCTION pg_temp.around(cron text, zone text, change timestamptz) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(to_char(i AT TIME ZONE zone, 'DD HH24:MI') || to_char(i, '" ("HH24:MI"Z)"'), ', ' ORDER BY i)
    FROM pawl.instants(cron, zone, change - interval '90 minutes', change + interval '90 minutes', 1000) i
$$;
-- What is left out runs once, at the change; with every hour, the clock is not looked at.
SELECT zone, cron, pg_temp.around(cron, zone, spring) FROM change, unnest(ARRAY['0 2 * * *', '15 2 * * *', '*/15 2 * * *', '0,30 2,3 * * *', '*/30 * * * *']) cron ORDER BY 1, 2;
-- What comes twice runs the first time; with every hour, both times.
SELECT zone, cron, pg_temp.around(cron, zone, autumn) FROM change, unnest(ARRAY['0 1 * * *', '30 1 * * *', '30 2 * * *', '*/15 1,2 * * *', '*/30 * * * *']) cron ORDER BY 1, 2;
-- A whole day that never was.
SELECT pg_temp.next('0 9 * * *', '2011-12-29 12:00Z', 'Pacific/Apia');

-- The same, found minute by minute, in the days around each change, and in days without one.
CREATE FUNCTION pg_temp.expected(minutes integer[], hours integer[], zone text, since timestamptz, until timestamptz) RETURNS timestamptz[] LANGUAGE sql AS $$
    WITH real AS MATERIALIZED (SELECT i, i AT TIME ZONE zone AS wall FROM generate_series(since - interval '1 day', until + interval '1 day', '1 minute') i),
    wall AS MATERIALIZED (SELECT w FROM generate_series(since AT TIME ZONE zone - interval '6 hours', until AT TIME ZONE zone + interval '6 hours', '1 minute') w
        WHERE extract(minute FROM w) = ANY (minutes) AND extract(hour FROM w) = ANY (hours)),
    due AS (
        SELECT coalesce((SELECT min(r.i) FROM real r WHERE r.wall = w.w), (SELECT min(r.i) FROM real r WHERE r.wall > w.w)) AS i FROM wall w WHERE hours IS NOT NULL
        UNION SELECT r.i FROM real r WHERE hours IS NULL AND extract(minute FROM r.wall) = ANY (minutes))
    SELECT array_agg(DISTINCT i ORDER BY i) FROM due WHERE i > since AND i <= until
$$;
SELECT zone, cron, count(*) AS changes, bool_and(pg_temp.expected(minutes, hours, zone, day - interval '30 hours', day + interval '30 hours')
    = ARRAY(SELECT pawl.instants(cron, zone, day - interval '30 hours', day + interval '30 hours', 1000))) AS as_expected,
    -- From any time on, not only from far before.
    bool_and((SELECT bool_and(pawl.next_instant(cron, zone, s) = (SELECT min(e) FROM unnest(pg_temp.expected(minutes, hours, zone, day - interval '30 hours', day + interval '30 hours')) e
        WHERE e > s)) FROM generate_series(day - interval '3 hours', day + interval '3 hours', '7 minutes') s)) AS from_anywhere
FROM change, LATERAL (VALUES (spring), (autumn), (timestamptz '2026-07-01 12:00Z')) d (day),
    (VALUES ('*/15 * * * *', ARRAY[0, 15, 30, 45], NULL::integer[]), ('30 * * * *', '{30}', NULL), ('30 1 * * *', '{30}', '{1}'), ('*/20 0-3 * * *', '{0,20,40}', '{0,1,2,3}'),
        ('45 */2 * * *', '{45}', '{0,2,4,6,8,10,12,14,16,18,20,22}'), ('0 2 * * *', '{0}', '{2}'), ('59 1,23 * * *', '{59}', '{1,23}')) c (cron, minutes, hours)
GROUP BY zone, cron ORDER BY zone, cron;
