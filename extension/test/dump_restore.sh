#!/usr/bin/env bash
# pg_dump and pg_restore lose nothing, a restored copy holds still until somebody releases it, and fresh = upgraded. Prints TAP.
# Runs under scripts/with-cluster, and starts a second cluster by itself.
set -uo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

number=0 failures=0
# check WHAT GOT WANTED
check() {
    number=$((number + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        printf '#   got:    %s\n#   wanted: %s\n' "${2//$'\n'/$'\n#           '}" "${3//$'\n'/$'\n#           '}"
        failures=$((failures + 1))
    fi
}
# sql DATABASE STATEMENT: one value, or the error
sql() { psql -XqAt -v ON_ERROR_STOP=1 -d "$1" <<<"$2" 2>&1; }

# A worker that lives as long as the session, and what it claims.
register="SELECT gen_random_uuid() AS worker, nextval('pawl.worker_number_seq') AS pid \\gset
SELECT held FROM pawl.register_worker(:'worker', 'w', 'localhost', :pid, '0', 1, 100, NULL, '{ship,charge}', '{1,1}', '{p,p}');"
claim() { # COUNT
    echo "pawl.claim_workflows(:'worker', $1, '{ship,charge}', '{1,1}', NULL)"
}

populate() {
    psql -XqAt -v ON_ERROR_STOP=1 -d "$1" >/dev/null <<SQL
SET client_min_messages = warning;
CREATE EXTENSION pawl;
SELECT pawl.create_queue('first'), pawl.create_queue('second');
SELECT pawl.create_queue('default', on_existing => 'replace');
SELECT pawl.grant_access('dump_clerk', 'enqueue', 'ship'), pawl.grant_access('dump_clerk', 'observe');
SELECT pawl.grant_access('dump_daemon', 'work');
$register
SELECT pawl.enqueue_workflow('ship', jsonb_build_object('number', i), workflow_id => 'ended-' || i, queue => 'first',
    attributes => jsonb_build_object('customer', i % 3)) FROM generate_series(1, 40) i;
SELECT * INTO TEMPORARY claimed FROM $(claim 40);
SELECT count(*) FROM claimed c, pawl.record_steps(:'worker', ARRAY[c.workflow_key, c.workflow_key], ARRAY[c.epoch, c.epoch], '{pack,pack#2}', '{1,2}',
    '{step,transaction}', ARRAY['{"é": "\\\\ \" \\u2028"}'::jsonb, NULL], ARRAY[NULL, '{"code": "E"}'::jsonb], ARRAY[now(), now()]);
SELECT count(*) FROM claimed c, LATERAL (SELECT c.workflow_key % 3 = 0 AS bad) f, pawl.complete_workflows(:'worker', ARRAY[c.workflow_key], ARRAY[c.epoch],
    ARRAY[CASE WHEN bad THEN 'failed' ELSE 'succeeded' END], ARRAY[CASE WHEN bad THEN 'error' END],
    ARRAY[CASE WHEN NOT bad THEN '{"done": true}'::jsonb END], ARRAY[CASE WHEN bad THEN '{"code": "E", "message": "no"}'::jsonb END]);
-- They ended over some months.
SELECT pawl.add_history_partition(now() - make_interval(months => i)) FROM generate_series(1, 4) i;
UPDATE pawl.workflow_history SET completed_at = completed_at - make_interval(months => (workflow_key % 5)::integer);
-- Running, parked, delayed, waiting their turn; large inputs; odd names.
SELECT pawl.enqueue_workflow('charge', workflow_id => 'running-' || i, headers => '{"trace": "t"}') FROM generate_series(1, 5) i;
SELECT count(*) FROM $(claim 5);
SELECT pawl.enqueue_workflow('charge', workflow_id => 'parked');
SELECT count(*) FROM $(claim 1) c, pawl.perform_calls(:'worker', array_fill(c.workflow_key, ARRAY[6]), array_fill(c.epoch, ARRAY[6]),
    '{event,stream,closing,progress,child,approval}', '{1,2,3,4,5,6}', '{set_event,write_stream,close_stream,merge_attributes,start_child,receive}',
    ARRAY['{"key": "e", "value": {"at": 1}}', '{"key": "s", "value": "x"}', '{"key": "s"}', '{"attributes": {"a": 1}}', '{"workflow_name": "later"}', '{}']::jsonb[],
    array_fill(now(), ARRAY[6]));
CREATE SCHEMA app;
CREATE FUNCTION app.twice(jsonb) RETURNS integer LANGUAGE sql AS 'SELECT 2 * (\$1 ->> ''n'')::integer';
SELECT pawl.create_handler('twice', 'app.twice(jsonb)');
SELECT pawl.create_schedule('nightly', '0 2 * * *', 'ship', timezone => 'Europe/Berlin', options => '{"timeout": "1 hour", "headers": {"é": null}}');
SELECT pawl.pause_schedule('nightly', 'tested');
SELECT pawl.cancel_workflow('running-5', 'too late');
SELECT count(*) FROM (SELECT workflow_key, epoch FROM pawl.workflow WHERE workflow_id = 'parked') c, pawl.park_workflows(:'worker', ARRAY[c.workflow_key], ARRAY[c.epoch], '{approval}');
SELECT pawl.send_message('parked', '{"é": 1}', 'other', 'key');
INSERT INTO pawl.waiter SELECT 1, 2, 'w';
SELECT pawl.set_retention('ship', succeeded => '10 years', failed => '-1', keep => 1000), pawl.set_retention(queue => 'first', failed => '1 year');
$(for _ in 1 2 3 4 5 6 7 8; do echo "UPDATE pawl.installation SET retention_at = NULL; SELECT pawl.run_retention(:'worker');"; done)
SELECT pawl.enqueue_workflow('ship', jsonb_build_object('text', repeat(md5('x'), 3000)), workflow_id => 'large', queue => 'second');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'delayed', run_at => '2099-01-01');
SELECT pawl.enqueue_workflow('ship', workflow_id => 'pinned', workflow_version => 7, priority => -3, partition_key => E'tab\\there', deduplication_id => E'a\\nb''"\\\\');
SELECT pawl.enqueue_workflow(E'odd \\\\. name\\t\\n', workflow_id => 'odd "id" \\. ünï');
SQL
}

# One line for each table and sequence of the schema: its name and a digest of what is in it.
contents() {
    local name kind
    while IFS='|' read -r name kind; do
        case $kind in
            S) echo "$name $(sql "$1" "SELECT last_value, is_called FROM $name")" ;;
            *) echo "$name $(sql "$1" "SELECT count(*), md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM $name t")" ;;
        esac
    done < <(sql "$1" "SELECT c.oid::regclass, relkind FROM pg_class c WHERE relnamespace = 'pawl'::regnamespace AND relkind IN ('r', 'p', 'S') ORDER BY relname")
}

# What pg_dump would carry over into an upgraded cluster, without the numbers that differ in any two databases.
schema() {
    pg_dump --schema-only --binary-upgrade -d "$1" | grep -vE 'binary_upgrade_set_next|^-- (Dumped|Started|Completed)|^\\(un)?restrict ' |
        sed -E "s/(relfrozenxid|relminmxid|oid) = '[0-9]+'/\1/g; /binary_upgrade_create_empty_extension/s/\{[0-9,]+\}//"
}

# What must hold in any restored copy: DATABASE WHY
restored_copy() {
    check "$2: a worker of the copy is held" "$(sql "$1" "$register")" t
    check "$2: it says why" "$(sql "$1" "SELECT held_reason ~ '$3' FROM pawl.installation")" t
    check "$2: nothing is claimed while held, nor after a heartbeat" "$(sql "$1" "$register
        SELECT count(*) FROM $(claim 100); SELECT alive, held FROM pawl.heartbeat(:'worker', 0, 'running'); SELECT count(*) FROM $(claim 100)" | tr '\n' ' ')" 't 0 t|t 0 '
    check "$2: release_hold" "$(sql "$1" "SELECT pawl.release_hold('tested'), pawl.release_hold('again')")" 't|f'
    check "$2: then it is not held" "$(sql "$1" "$register")" f
    # The old worker is of the other place: dead here, and what it ran is run again.
    check "$2: what the old worker ran is reclaimed, and all but the parked, delayed, pinned and unknown ones run" \
        "$(sql "$1" "UPDATE pawl.worker SET heartbeat_at = now() - interval '1 minute';
            $register
            SELECT count(*) FROM $(claim 100)" | tr '\n' ' ')" 'f 6 '
    check "$2: an SQL handler runs" "$(sql "$1" "$register
        SELECT pawl.enqueue_workflow('twice', '{\"n\": 21}', workflow_id => 'doubled');
        SELECT sql_handler, pawl.run_handler(:'worker', workflow_key, epoch) FROM $(claim 1);
        SELECT output FROM pawl.workflows WHERE workflow_id = 'doubled'" | tr '\n' ' ')" 'f doubled t| 42 '
    check "$2: sequences go on" "$(sql "$1" "SELECT pawl.enqueue_workflow('ship', workflow_id => 'new');
        SELECT workflow_key > (SELECT max(workflow_key) FROM (SELECT workflow_key FROM pawl.workflow WHERE workflow_id <> 'new'
            UNION ALL SELECT workflow_key FROM pawl.workflow_history) o) FROM pawl.workflow WHERE workflow_id = 'new';
        SELECT pawl.create_queue('third'); SELECT count(DISTINCT queue_id) FROM pawl.queue" | tail -n +2 | tr '\n' ' ')" 't  4 '
    check "$2: ended ids are remembered" "$(sql "$1" "SELECT pawl.enqueue_workflow('ship', workflow_id => 'ended-7');
        SELECT count(*) FROM pawl.workflows WHERE workflow_id = 'ended-7'" | tr '\n' ' ')" 'ended-7 1 '
    check "$2: a history partition can be added" "$(sql "$1" "SELECT pawl.add_history_partition(now() - interval '9 months')")" t
    check "$2: the clerk may do what it might, and no more" \
        "$(sql "$1" "SET ROLE dump_clerk; SELECT pawl.enqueue_workflow('ship', workflow_id => 'by clerk'); SELECT count(*) > 40 FROM pawl.workflows;
            SELECT pawl.enqueue_workflow('charge')" 2>&1 | grep -vE '^(LINE|HINT|DETAIL| )' | cut -d: -f1 | tr '\n' ' ')" 'by clerk t ERROR '
}

if [ "${1-}" = --restore-elsewhere ]; then # called by itself, in another cluster
    number=$4
    createdb elsewhere
    sql postgres "CREATE ROLE dump_clerk" && sql postgres "CREATE ROLE dump_daemon"
    check "another cluster: psql restores without a word" "$(psql -Xq -v ON_ERROR_STOP=1 -d elsewhere -f "$2" 2>&1 >/dev/null)" ""
    check "another cluster: everything came back" "$(contents elsewhere)" "$(cat "$3")"
    restored_copy elsewhere "another cluster" "another cluster"
    exit "$((failures > 0))"
fi

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
sql postgres "CREATE ROLE dump_clerk" && sql postgres "CREATE ROLE dump_daemon"
createdb source
check "the database is populated" "$(populate source 2>&1)" ""
contents source >"$work/contents"
# Of the partitions only the one for next month is empty.
check "every kind of row is there" "$(grep -cE '(pawl.workflow|pawl.queue|pawl.workflow_step|pawl.payload|pawl.worker|pawl.worker_handler|pawl.known_handler|pawl.installation|pawl.access_rule|pawl.retention_rule|pawl.retention_walk|pawl.retention_kept|pawl.workflow_history_[0-9_]+) 0\|' "$work/contents") of 6 partitions: $(grep -c 'workflow_history_2' "$work/contents")" "1 of 6 partitions: 6"
check "every table and sequence that the extension made is marked for pg_dump" \
    "$(sql source "SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pawl' WHERE c.relkind IN ('r', 'p', 'S') AND c.oid <> ALL (e.extconfig)")" ""

check "pg_dump says nothing" "$(pg_dump -Fc -f "$work/custom" source 2>&1; pg_dump -f "$work/plain.sql" source 2>&1)" ""
createdb copy
check "pg_restore says nothing" "$(pg_restore -d copy "$work/custom" 2>&1)" ""
check "everything came back" "$(contents copy)" "$(cat "$work/contents")"
restored_copy copy "another database" "another database"
check "the source goes on, not held" "$(sql source "$register")" f

# Fresh = upgraded, for each version that can be upgraded to the default one.
createdb fresh && sql fresh "CREATE EXTENSION pawl"
createdb again && sql again "CREATE EXTENSION pawl"
check "two fresh schemas are the same" "$(diff <(schema fresh) <(schema again))" ""
for version in $(sql fresh "SELECT source FROM pg_extension_update_paths('pawl') p JOIN pg_available_extensions a ON a.name = 'pawl' AND a.default_version = p.target
        WHERE p.path IS NOT NULL"); do
    createdb upgraded && sql upgraded "CREATE EXTENSION pawl VERSION '$version'" && sql upgraded "ALTER EXTENSION pawl UPDATE"
    check "fresh = upgraded from $version" "$(diff <(schema fresh) <(schema upgraded))" ""
    dropdb upgraded
done
sql again "ALTER TABLE pawl.queue ALTER created_by DROP NOT NULL" >/dev/null
check "a missing NOT NULL would be seen" "$(diff <(schema fresh) <(schema again) | grep -c 'created_by')" 2

"$root/scripts/with-cluster" --fast --postgres "$PAWL_POSTGRES_VERSION" "$root/extension/test/dump_restore.sh" \
    --restore-elsewhere "$work/plain.sql" "$work/contents" "$number" || failures=$((failures + 1))
exit "$((failures > 0))"
