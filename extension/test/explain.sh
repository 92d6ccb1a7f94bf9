#!/usr/bin/env bash
# The plan of every statement that the functions, the views and `pawl` run is one that stays fast. Prints TAP.
# explain/drive.sql calls each function and asks each view, with auto_explain on, in three states of a full database: with plans that were made and kept
# while it was empty, with statistics of that time, and with fresh ones. Then no plan may scan one of the large tables, nor read more than so many
# rows of it (so nothing sorts or hashes one either).
# Runs under scripts/with-cluster.
set -uo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
here=$root/extension/test/explain
pawl=$root/.build/debug/pawl
history=${PAWL_EXPLAIN_HISTORY:-200000} # workflows that ended; half as many have not
most=15000                              # rows of a large table that one part of a plan may read
tables='workflow|months|workflow_step|payload|message|event|stream_entry|waiter|signal|audit_entry|retention_kept'
# What may scan a table, or read more of it: a text that is in the statement, the node of its plan (a regular expression), and why. One that no statement
# needs any more is a failure.
by_index='(Index|Index Only|Bitmap Heap) Scan.* on workflow'
exceptions=(
    'array_agg(w.workflow_key) FROM pawl.workflow w WHERE w.queue_id = $1 AND w.claimed_by' 'Seq Scan on workflow'
        'What runs in a queue without limits, asked once when it gets one.'
    'w.claimed_by = known.worker_id' 'Seq Scan on workflow' 'What a worker has claimed is in no index, so that a claim is a HOT update. Asked once when a worker ends.'
    'w.claimed_by = release_unknown.worker_id' 'Seq Scan on workflow' 'The same, once after a connection was lost in the middle of a claim.'
    'k.status IS DISTINCT FROM '"'stopped'" 'Seq Scan on workflow' 'The same, once when a worker died, and hourly.'
    'array_agg(DISTINCT w.queue_id)' 'Seq Scan on workflow' 'move_workflows: all unfinished ones of a name, which may be all there are.'
    'w.workflow_name = move_workflows.workflow_name AND w.workflow_version = from_version AND w.queue_id' 'Seq Scan on workflow' 'The same.'
    'EXISTS (SELECT FROM pawl.workflow)' 'Seq Scan on workflow' 'diagnose: it ends at the first row.'
    'LIMIT 50000' 'Index Scan.* using workflow_created_at_idx on workflow' 'diagnose: samples of unfinished workflows, only when somebody asks.'
    'ORDER BY w.rank, w.ready_key LIMIT 10000' 'Index Scan using workflow_ready_idx on workflow' 'recent_activity: the head of each queue, where what runs stands.'
    'w.queue_id = id' 'Seq Scan on workflow' 'drop_queue: parked ones are in no index by queue.'
    'DELETE FROM pawl.retention_kept WHERE true' 'Seq Scan on retention_kept' 'set_retention: a list that is made anew.'
    'FROM pawl.queues' "$by_index" 'It counts what waits, and reads as much.'
    'r.queue_id, r.workflow_name, count(*) AS waiting' "$by_index" 'oldest_waiting: the same.'
    'FROM pawl.audit WHERE true AND object_kind = $1 ORDER BY audit_key' 'Index Scan.* on audit_entry' 'Without statistics the newest entries seem the shorter way to ten of a kind.'
)

number=0 failures=0
check() { # WHAT PROBLEMS
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        sed 's/^/#   /' <<<"$2"
        failures=$((failures + 1))
    fi
}
run() { psql -Xq -v ON_ERROR_STOP=1 -v history="$history" "$@" 2>&1 >"$work/output" | grep -v NOTICE; }
commands() { # STATE ROUND
    local settings="-c session_preload_libraries=auto_explain -c track_functions=all" setting line output status
    for setting in log_min_duration=0 log_nested_statements=on log_analyze=on log_timing=off; do settings+=" -c auto_explain.$setting"; done
    grep -v '^#' "$here/commands" | sed "s/%/$2/g" | while read -r line; do
        if [[ $line =~ @([0-9]+) ]]; then line=${line/${BASH_REMATCH[0]}/$((history - BASH_REMATCH[1]))}; fi
        status=0
        # shellcheck disable=SC2086 # the words of the command
        output=$(PGAPPNAME=explain_$1_asked PGOPTIONS=$settings "$pawl" $line 2>&1 </dev/null) || status=$?
        case "$status $line" in
            0*) ;;
            '1 doctor') ;; # it found something
            '2 workflow move ship --from 2 '*) ;; # nothing is left of the first round
            *) echo "pawl $line: exit $status: $output" ;;
        esac
    done
}
left_out() {
    local known name
    known=$("$pawl" --generate-completion-script bash | grep -oE '^_pawl(_[a-z]+)+\(\)' | tr -d '()' | sed 's/^_pawl_//; s/_/ /; /^help/d; /^plugin/d')
    while read -r name; do
        # A group of commands is none itself.
        grep -q "^$name " <<<"$known" || grep -qE "^$name( |\$)" "$here/commands" || echo "pawl $name"
    done <<<"$known"
}

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
# The documented queries are run as they stand, about workflows that are there.
sed -n '/^### Asking/,/^##* [^A]/p' "$root/docs/operations.md" | sed -n '/^```sql/,/^```/p' | grep -v '^```' |
    sed "s/'order-7'/'h-77'/; s/\"customer\": 42/\"customer\": 41/" >"$work/documented.sql"
cat >"$work/log_plans.sql" <<SQL
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET track_functions = 'all';
SQL
for state in kept stale fresh; do
    echo "\\set state explain_$state
\\i $work/log_plans.sql
\\i $here/drive.sql
SET application_name = explain_${state}_asked;
\\o /dev/null
\\i $work/documented.sql" >"$work/$state.sql"
done

psql -Xq -c "ALTER SYSTEM SET autovacuum = off" -c "SELECT pg_reload_conf()" >/dev/null
createdb explain
export PGDATABASE=explain
check "the database is there, and analyzed while it is empty" "$(run <<SQL
SET client_min_messages = warning;
CREATE EXTENSION pawl;
SELECT pawl.add_history_partition(now() - make_interval(months => i)) FROM generate_series(-1, 4) i;
SELECT pawl.create_queue('mail'), pawl.create_queue('limited', concurrency => 50, rate_limit => 1000, rate_period => '1 minute'),
    pawl.create_queue('tenants', partition_concurrency => 5), pawl.create_queue('paused');
SELECT pawl.pause_queue('paused');
-- The lower keys are for fill.sql. Retention, which drive.sql runs, drops empty months: one row stays in each.
SELECT setval('pawl.key_seq', :history * 2), pawl.set_retention(queue => 'paused', succeeded => '-1');
ANALYZE;
INSERT INTO pawl.workflow_history (workflow_key, created_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status, workflow_id, workflow_name, enqueued_by)
SELECT -i, now(), now() - make_interval(months => i), 1, q.queue_id, 0, 0, false, 'succeeded', 'month-' || i, 'month', 'clerk'
FROM generate_series(1, 4) i, pawl.queue q WHERE q.queue_name = 'paused';
SQL
)"
check "plans that were kept from when it was empty: everything runs" "$(run -v state=warming <<SQL
$(for _ in 1 2 3 4 5 6; do echo "\\i $here/drive.sql"; done)
\\i $here/fill.sql
\\i $work/kept.sql
SQL
)"
check "statistics of an empty database: everything runs" "$(run -f "$work/stale.sql")"
check "and every command of pawl does" "$(commands stale 1)"
check "fresh statistics: everything runs" "$(run -c ANALYZE -f "$work/fresh.sql")"
check "and every command of pawl does" "$(commands fresh 2)"
check "no command of pawl was left out" "$(left_out)"

check "every function that may be called was" "$(psql -XAtq -c "SELECT DISTINCT p.oid::regprocedure FROM pawl.access_routines() a
    JOIN pg_proc p ON p.proname = a.routine_name AND p.pronamespace = 'pawl'::regnamespace
    WHERE NOT EXISTS (SELECT FROM pg_stat_user_functions f WHERE f.funcid = p.oid)")"

# A month with next to nothing in it is scanned, and may be.
filled=$(psql -XAtq -c "SELECT string_agg(partition::text, '|') FROM pawl.history_months() WHERE pg_relation_size(partition) > 100 * 8192" | sed 's/pawl\.//g')
tables=${tables/months/$filled}

printf '%s\t%s\t%s\n' "${exceptions[@]}" | cut -f 1,2 >"$work/exceptions"
for state in kept stale fresh; do
    awk -v names="explain_$state explain_${state}_asked" -v tables="$tables" -v most="$most" -v exceptions="$work/exceptions" -v used="$work/used" -f "$here/offences.awk" \
        "$PAWL_POSTGRES_LOG" >"$work/offences"
    plans=$(grep -cE "@explain/explain_$state .*LOG:  duration: .* plan:" "$PAWL_POSTGRES_LOG")
    check "plans were logged ($state)" "$([ "$plans" -gt 1000 ] || echo "only $plans")"
    check "no plan scans or reads a large table ($state, $plans plans)" "$(cat "$work/offences")"
done
check "every exception is needed" "$(sort -u "$work/used" 2>&1 | grep -vxFf - "$work/exceptions")"
echo "1..$number"
exit "$((failures > 0))"
