#!/usr/bin/env python3
"""The run of the property test: scripts/property-test says what it is."""

import argparse
import copy
import heapq
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter

import model as models
from checker import Checker, Found, shorten
from cluster import Cluster, Faults, Worker
from generator import make_case
from postgres import Connection, PostgresError

DATABASE = "property"


class Run:
    def __init__(self, options):
        self.options = options
        self.cluster = Cluster()
        self.directory = options.directory
        os.makedirs(self.directory, exist_ok=True)
        for name in os.listdir(self.directory):
            if name.endswith((".log", ".txt")) or name == "effects":
                os.remove(os.path.join(self.directory, name))
        self.effects_path = os.path.join(self.directory, "effects")
        self.effects_read = 0
        self.happened = {}
        self.totals = Counter()
        self.problems = 0
        self.faults = None

    # The world.

    def prepare(self):
        server = Connection(self.cluster.conninfo("postgres"))
        server.query(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        server.query(f"CREATE DATABASE {DATABASE}")
        server.query("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'property_worker') THEN CREATE ROLE property_worker LOGIN; END IF; END $$")
        server.query(f"ALTER DATABASE {DATABASE} SET pawl.max_recoveries = 1000")
        server.close()
        self.connection = Connection(self.cluster.conninfo(DATABASE))
        for statement in [
            "CREATE EXTENSION pawl", "CREATE SCHEMA property",
            "CREATE TABLE property.effect (workflow_id text NOT NULL, effect integer NOT NULL)",
            "GRANT USAGE ON SCHEMA property TO property_worker", "GRANT INSERT, SELECT ON property.effect TO property_worker",
            "SELECT pawl.grant_access('property_worker', 'work')",
        ]:
            self.connection.query(statement)
        environment = dict(os.environ, PAWL_PROPERTY_EFFECTS=self.effects_path)
        self.workers = []
        for number in range(1, self.options.workers + 1):
            conninfo = self.cluster.conninfo(DATABASE, "property_worker") + f" application_name=worker-{number}"
            if self.options.no_poll:
                conninfo += " options='-c pawl.poll_interval=0'"
            command = [self.options.pawld, "--database", conninfo, "--plugin-directory", self.options.plugins, "--concurrency", str(self.options.concurrency),
                       "--log-level", self.options.log_level, "--shutdown-timeout", "2s"]
            if self.options.park_after:
                command += ["--park-after", self.options.park_after]
            worker = Worker(number, command, environment, self.directory)
            worker.start()
            self.workers.append(worker)

    def finish(self):
        for worker in self.workers:
            worker.end()

    # One batch of cases.

    def batch(self, cases):
        """Runs the cases to their ends; the problems of each."""
        begun = time.monotonic()
        rows = [{"id": c["id"], "input": {"p": c["program"]}, "timeout": c.get("timeout"), "delay": c.get("delay")} for c in cases]
        self.connection.query(
            """SELECT count(pawl.enqueue_workflow('program', c -> 'input', workflow_id => c ->> 'id',
                    timeout => make_interval(secs => (c ->> 'timeout')::float / 1000), delay => make_interval(secs => (c ->> 'delay')::float / 1000)))
                FROM jsonb_array_elements($1::jsonb) c""", json.dumps(rows))
        outside = Outside(self.cluster, cases)
        outside.start()
        hung = self.wait(begun)
        outside.finish()
        found = self.fetch(cases)
        problems = {}
        resumable = []
        for case in cases:
            model = models.run(case)
            wrong = Checker(case, model, found.get(case["id"])).check()
            if wrong:
                problems[case["id"]] = wrong
                self.report(case, model, found.get(case["id"]), wrong)
            elif is_resumable(case, found[case["id"]]):
                resumable.append(dict(case, disturbance="none"))
            self.count(found.get(case["id"]))
        if hung:
            print(f"  {hung} workflows did not end", flush=True)
        elif resumable:
            self.resume(resumable, found, problems)
        return problems

    def resume(self, cases, before, problems):
        """What ended without success goes on from its checkpoints, to the end that it would have had; what failed by program fails so again."""
        begun = time.monotonic()
        ids = json.dumps([c["id"] for c in cases])
        resumed = {r[0] for r in self.connection.query(
            "SELECT pawl.resume_workflows(ARRAY (SELECT jsonb_array_elements_text($1::jsonb)))", ids)}
        # A lost answer: they are unfinished, or have ended again.
        if self.wait(begun):
            print(f"  resumed workflows did not end: {sorted(resumed)[:5]}", flush=True)
        found = self.fetch(cases)
        self.totals["resumed"] += len(cases)
        for case in cases:
            model = models.run(case)
            for workflow_id, workflow in found.items():
                if workflow_id == case["id"] or workflow.row["parent_key"]:
                    earlier = before.get(workflow_id)
                    if earlier and not getattr(workflow, "is_summed", False):
                        workflow.effects += earlier.effects
                        workflow.happened += earlier.happened
                        workflow.is_summed = True
            wrong = Checker(case, model, found.get(case["id"])).check()
            if wrong:
                wrong.insert(0, "after it was resumed:")
                problems[case["id"]] = wrong
                self.report(case, model, found.get(case["id"]), wrong)

    def wait(self, begun):
        """Until all have ended; after a while without faults, and then no longer. The number that have not ended."""
        resting_since = None
        last, last_change = None, time.monotonic()
        while True:
            left = int(self.connection.value("SELECT count(*) FROM pawl.workflow"))
            if left == 0:
                break
            now = time.monotonic()
            if left != last:
                last, last_change = left, now
            if resting_since is None and (now - begun > self.options.patience or not self.faults):
                resting_since = now
                if self.faults:
                    self.faults.resting.set()
            if resting_since and now - max(resting_since, last_change) > self.options.patience:
                break
            time.sleep(0.1)
        if self.faults:
            self.faults.resting.clear()
        return left

    def fetch(self, cases):
        roots = json.dumps([c["id"] for c in cases])
        # The keys first: each of the queries after it is index work.
        keys = self.connection.query(
            """WITH RECURSIVE tree AS (
                    SELECT w.workflow_key, w.workflow_id AS root FROM pawl.workflows w
                        WHERE w.workflow_id = ANY (ARRAY (SELECT jsonb_array_elements_text($1::jsonb)))
                    UNION ALL
                    SELECT w.workflow_key, t.root FROM tree t CROSS JOIN LATERAL (
                        SELECT u.workflow_key FROM pawl.workflow u WHERE u.parent_key = t.workflow_key
                        UNION ALL SELECT u.workflow_key FROM pawl.workflow_history u WHERE u.parent_key = t.workflow_key) w)
                SELECT workflow_key, root FROM tree""", roots)
        all_keys = "{" + ",".join(k for k, _ in keys) + "}"
        by_key, by_id = {}, {}
        for (row,) in self.connection.query(
            """SELECT to_jsonb(r) FROM (SELECT w.workflow_key, w.parent_key, w.workflow_id, w.status, w.status_reason, w.input, w.output, w.error,
                    w.attributes, w.recoveries, w.worker_id, w.waiting_for, w.cancel_requested_at, w.created_at, w.completed_at
                FROM pawl.workflows w WHERE w.workflow_key = ANY ($1::bigint[])) r""", all_keys):
            row = json.loads(row)
            by_key[row["workflow_key"]] = by_id[row["workflow_id"]] = Found(row)
        for found in by_key.values():
            if found.row["parent_key"] in by_key:
                by_key[found.row["parent_key"]].children.append(found)

        def rows(sql):
            for (row,) in self.connection.query(f"SELECT to_jsonb(r) FROM ({sql}) r", all_keys):
                row = json.loads(row)
                yield by_key[row["workflow_key"]], row

        for found, row in rows("SELECT * FROM pawl.workflow_step WHERE workflow_key = ANY ($1::bigint[]) ORDER BY step_number"):
            found.steps[row["step_name"]] = row
        for found, row in rows("SELECT * FROM pawl.message WHERE workflow_key = ANY ($1::bigint[]) ORDER BY message_key"):
            found.messages.append([row["topic"], row["message"], row["consumed_by"]])
        for found, row in rows("SELECT * FROM pawl.event WHERE workflow_key = ANY ($1::bigint[])"):
            found.events.append([row["key"], row["value"]])
        for found, row in rows("SELECT * FROM pawl.stream_entry WHERE workflow_key = ANY ($1::bigint[]) ORDER BY position"):
            found.streams.setdefault(row["key"], []).append(row["value"])
        for found, row in rows("SELECT * FROM pawl.closed_stream WHERE workflow_key = ANY ($1::bigint[])"):
            found.closed.add(row["key"])
        for workflow_id, effect, count in self.connection.query("SELECT workflow_id, effect, count(*) FROM property.effect GROUP BY 1, 2"):
            if workflow_id in by_id:
                by_id[workflow_id].effects[int(effect)] = int(count)
        self.connection.query("TRUNCATE property.effect")
        if os.path.exists(self.effects_path):
            with open(self.effects_path) as file:
                file.seek(self.effects_read)
                for line in file:
                    workflow_id, effect, _ = line.rstrip("\n").split("\t")
                    if workflow_id in by_id:
                        by_id[workflow_id].happened[int(effect)] += 1
                self.effects_read = file.tell()
        return by_id

    def count(self, found):
        if found is None:
            return
        self.totals["workflows"] += 1
        self.totals["steps"] += len(found.steps)
        self.totals["recoveries"] += found.row["recoveries"]
        self.totals[found.row["status"]] += 1
        for child in found.children:
            self.count(child)

    # What is left over when everything has ended.

    def leftovers(self):
        wrong = []
        end = time.monotonic() + 10
        while True:
            counts = {t: int(self.connection.value(f"SELECT count(*) FROM pawl.{t}")) for t in ("workflow", "signal", "waiter", "cancel_request")}
            if not any(counts.values()) or time.monotonic() > end:
                break
            time.sleep(0.1)
        wrong += [f"{n} rows are left in pawl.{t}" for t, n in counts.items() if n]
        for table in ("signal", "waiter", "cancel_request", "workflow"):
            if counts[table]:
                wrong += [f"  {table}: {r[0]}" for r in self.connection.query(f"SELECT to_jsonb(t) - 'input' FROM pawl.{table} t LIMIT 5")]
        twice = int(self.connection.value("SELECT count(*) FROM (SELECT workflow_key FROM pawl.workflow_history GROUP BY 1 HAVING count(*) > 1) t"))
        if twice:
            wrong.append(f"{twice} workflows ended twice")
        open_steps = int(self.connection.value(
            "SELECT count(*) FROM pawl.workflow_step s JOIN pawl.workflow_history h USING (workflow_key) WHERE s.status IN ('waiting', 'retrying') AND h.status = 'succeeded'"))
        if open_steps:
            wrong.append(f"{open_steps} steps of workflows that succeeded are waiting or retrying")
        self.rescues = self.connection.query("SELECT wakes, rescued_by_poll, rescued_by_reset FROM pawl.wakeup_statistics()")[0]
        if not self.faults and int(self.rescues[1]):
            wrong.append(f"the poll had to rescue {self.rescues[1]} entries, although nothing had failed")
        return wrong

    # What is said of a case that went wrong.

    def report(self, case, model, found, wrong):
        self.problems += 1
        name = f"case-{case['id']}.txt"
        with open(os.path.join(self.directory, name), "w") as file:
            def say(text=""):
                print(text, file=file)
            say(f"case {case['id']}   scripts/property-test --case {case['id'].split('+')[0][1:].replace('-', ':')}")
            say("\nWhat is wrong:")
            for problem in wrong:
                say(f"  {problem}")
            say(f"\nDisturbance: {case['disturbance']} cancel_after={case.get('cancel_after')} timeout={case.get('timeout')} delay={case.get('delay')}")
            say(f"Messages from outside: {json.dumps(case['ext'])}")
            say("\nProgram:")
            say(pretty(case["program"]))

            def tree(found, indent):
                row = found.row
                say(f"\n{indent}{row['workflow_id']} (key {row['workflow_key']}): {row['status']} {row['status_reason'] or ''} recoveries {row['recoveries']} "
                    f"waiting_for {row['waiting_for']} cancel_requested_at {row['cancel_requested_at']} completed_at {row['completed_at']}")
                say(f"{indent}  input {shorten(row['input'])}\n{indent}  output {shorten(row['output'])}\n{indent}  error {shorten(row['error'])}")
                for s in found.steps.values():
                    say(f"{indent}  {s['step_number']:3} {s['step_name']} {s['kind']} {s['status']} attempts {s['attempts']} epoch {s['epoch']} "
                        f"{s['completed_at'] or 'due ' + str(s['due_at'])} {shorten(s['error'] or s['output'])}")
                say(f"{indent}  messages {shorten(found.messages)}\n{indent}  effects {dict(found.effects)} bodies {dict(found.happened)}")
                for child in found.children:
                    tree(child, indent + "    ")

            if found:
                say("Found:")
                tree(found, "  ")
            say("\nExpected:")
            say(f"  {model.root.status} {model.root.reason or ''} {model.root.code or ''} {shorten(model.root.output)}")
            say("\nThe workers' log lines:")
            ids = []

            def collect(found):
                ids.append(found.row["workflow_id"])
                for child in found.children:
                    collect(child)

            if found:
                collect(found)
            for log in sorted(os.listdir(self.directory)):
                if log.endswith(".log"):
                    with open(os.path.join(self.directory, log), errors="replace") as lines:
                        for line in lines:
                            if any(i in line for i in ids):
                                say(f"  {log}: {line.rstrip()}")
        if self.problems <= 20:
            print(f"MISMATCH {case['id']} (all of it: {os.path.join(self.directory, name)})")
            for problem in wrong[:6]:
                print(f"    {problem}")
            sys.stdout.flush()


def is_resumable(case, found):
    """Whether its end after a resume is known: nothing was undone, and nobody else was told that it had ended."""
    row = found.row
    if row["status"] == "succeeded" or any(s["kind"] == "compensation" for s in found.steps.values()):
        return False
    return row["status_reason"] == "error" and case["disturbance"] == "none" or not (case["ext"] or found.children)


def pretty(program, indent="  "):
    """One operation a line."""
    lines = []
    for op in program:
        plain = {k: v for k, v in op.items() if not (isinstance(v, list) and k in ("b", "h", "l", "r", "p", "items"))}
        lines.append(indent + shorten(plain))
        for key in ("b", "h", "l", "r", "p"):
            if isinstance(op.get(key), list) and op[key]:
                lines.append(f"{indent}  {key}:")
                lines.append(pretty(op[key], indent + "    "))
        for item in op.get("items", []):
            lines.append(f"{indent}  [{item['id']}]:")
            lines.append(pretty(item["p"], indent + "    "))
    return "\n".join(lines)


class Outside(threading.Thread):
    """Whoever sends messages and cancels, while the workflows run."""

    def __init__(self, cluster, cases):
        super().__init__(daemon=True)
        self.connection = Connection(cluster.conninfo(DATABASE))
        self.events = []
        for case in cases:
            for number, (after, topic, message) in enumerate(case["ext"]):
                heapq.heappush(self.events, (after / 1000, len(self.events), "send", case["id"], topic, json.dumps(message), f"{case['id']} {number}"))
            if case["disturbance"] == "cancel":
                heapq.heappush(self.events, (case["cancel_after"] / 1000, len(self.events), "cancel", case["id"]))
        self.failure = None

    def run(self):
        begun = time.monotonic()
        try:
            while self.events:
                event = heapq.heappop(self.events)
                time.sleep(max(0, begun + event[0] - time.monotonic()))
                # A lost answer is asked for again: both bear it.
                if event[2] == "send":
                    self.connection.query("SELECT pawl.send_message($1, $2::jsonb, $3, idempotency_key => $4)", event[3], event[5], event[4], event[6])
                else:
                    self.connection.query("SELECT pawl.cancel_workflow($1)", event[3])
        except Exception as error:
            self.failure = error

    def finish(self):
        self.join()
        self.connection.close()
        if self.failure:
            raise self.failure


# Shrinking: the smallest program that still fails, as far as removing operations goes.

def smaller(program):
    for index, op in enumerate(program):
        yield program[:index] + program[index + 1:]
        for key in ("b", "l", "r", "h"):
            if isinstance(op.get(key), list) and op["o"] != "any" and op["o"] != "all":
                yield program[:index] + op[key] + program[index + 1:]
        for key in ("b", "h", "l", "r", "p"):
            if isinstance(op.get(key), list):
                for part in smaller(op[key]):
                    yield program[:index] + [dict(op, **{key: part})] + program[index + 1:]
        for number, item in enumerate(op.get("items", [])):
            yield program[:index] + item["p"] + program[index + 1:]
            if len(op["items"]) > 1:
                yield program[:index] + [dict(op, items=op["items"][:number] + op["items"][number + 1:])] + program[index + 1:]
            for part in smaller(item["p"]):
                items = op["items"][:number] + [dict(item, p=part)] + op["items"][number + 1:]
                yield program[:index] + [dict(op, items=items)] + program[index + 1:]


def is_possible(case):
    try:
        models.check_determinism(case, 2)
        return True
    except (AssertionError, KeyError, StopIteration, RuntimeError):
        return False


def copies(case, count, generation):
    return [dict(copy.deepcopy(case), id=f"{case['id']}+{generation}.{n}") for n in range(count)]


def shrink(run, case, count):
    generation = 0
    print(f"shrinking {case['id']}, {count} copies at a time")
    while True:
        for program in smaller(case["program"]):
            candidate = dict(case, program=program)
            if not is_possible(candidate):
                continue
            generation += 1
            if run.batch(copies(candidate, count, generation)):
                case = candidate
                print(f"  smaller, and it still fails:\n{pretty(case['program'], '    ')}", flush=True)
                break
        else:
            print(f"the smallest that fails (disturbance {case['disturbance']}):\n{pretty(case['program'], '    ')}")
            return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--case", help="SEED:INDEX, to run copies of one case")
    parser.add_argument("--copies", type=int, default=50)
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--park-after", default="")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between faults, on average; 0: none")
    parser.add_argument("--restarts", action="store_true", help="the server too")
    parser.add_argument("--no-poll", action="store_true")
    parser.add_argument("--patience", type=float, default=45, help="seconds without progress that are a hang")
    parser.add_argument("--seconds", type=float, default=0, help="begin no batch after so long")
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--directory", required=True)
    parser.add_argument("--pawld", required=True)
    parser.add_argument("--plugins", required=True)
    options = parser.parse_args()

    begun = time.monotonic()
    run = Run(options)
    run.prepare()
    ran = 0
    failed = {}
    leftovers = []
    try:
        if options.pace > 0:
            run.faults = Faults(options.seed, run.cluster, DATABASE, run.workers, options.pace, options.restarts)
            run.faults.start()
        if options.case:
            seed, index = options.case.split(":")
            case = make_case(seed, int(index))
            if options.shrink:
                shrink(run, case, options.copies)
            else:
                failed.update(run.batch(copies(case, options.copies, 0)))
                ran = options.copies
        else:
            while ran < options.cases and not (options.seconds and time.monotonic() - begun > options.seconds):
                cases = [make_case(options.seed, i) for i in range(ran, min(ran + options.batch, options.cases))]
                for case in cases:
                    models.check_determinism(case, 1)
                failed.update(run.batch(cases))
                ran += len(cases)
                print(f"{ran} cases in {time.monotonic() - begun:.0f} s, {len(failed)} mismatches", flush=True)
        if run.faults:
            run.faults.finish()
        leftovers = run.leftovers() if not options.shrink else []
        if run.faults:
            leftovers += run.faults.unexpected
    finally:
        run.finish()
    totals, counts = run.totals, run.faults.counts if run.faults else Counter()
    print(f"""
seed {options.seed}: {ran} cases, {totals['workflows']} workflows ({totals['succeeded']} succeeded, {totals['failed']} failed, {totals['cancelled']} cancelled; {totals['resumed']} resumed), {totals['steps']} steps, in {time.monotonic() - begun:.0f} s
{counts['kills']} kills, {counts['stops']} stops, {counts['cuts']} cuts, {counts['terms']} drains, {counts['restarts']} server restarts; {totals['recoveries']} recoveries; {run.rescues[0] if hasattr(run, 'rescues') else '?'} wakes, {run.rescues[1] if hasattr(run, 'rescues') else '?'} rescued by the poll
{len(failed)} mismatches{''.join(f'''
  scripts/property-test --case {i.split('+')[0][1:].replace('-', ':')}''' for i in list(failed)[:20])}""")
    for wrong in leftovers:
        print(f"WRONG: {wrong}")
    if failed or leftovers:
        print("not ok - random programs under random faults end as the model says")
        sys.exit(1)
    print("ok - random programs under random faults end as the model says")


if __name__ == "__main__":
    main()
