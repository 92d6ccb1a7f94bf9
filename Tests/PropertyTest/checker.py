"""Compares what the database holds of a case with the model."""

import json
from collections import Counter

from model import ANY


def canonical(value):
    return json.dumps(value, sort_keys=True)


class Found:
    """A workflow as it was found: a row of pawl.workflows, its steps, messages, events, streams, effects, children."""

    def __init__(self, row):
        self.row = row
        self.steps = {}
        self.messages = []
        self.events = []
        self.streams = {}
        self.closed = set()
        self.effects = Counter()  # of transactions
        self.happened = Counter()  # of bodies
        self.children = []


class Checker:
    def __init__(self, case, model, found):
        self.case = case
        self.model = model
        self.found = found
        self.problems = []
        self.registered = []  # compensations, of the workflow that was walked last

    def check(self):
        if self.found is None:
            return ["it is not in pawl.workflows at all"]
        root = self.found.row
        disturbed = None
        # Its children are cancelled, also if it is over, but for its compensations, when it hears of it.
        if self.case["disturbance"] == "cancel" and root["cancel_requested_at"]:
            disturbed = "cancel"
        if self.case["disturbance"] == "deadline" and (root["status"], root["status_reason"]) == ("failed", "timeout"):
            disturbed = "deadline"
        self.workflow(self.model.root, self.found, disturbed, {"cancel": {("cancelled", "request")}, "deadline": {("failed", "timeout")}}.get(disturbed, set()))
        return self.problems

    def complain(self, found, text):
        self.problems.append(f"{found.row['workflow_id']}: {text}")

    def expect(self, found, what, expected, got):
        if canonical(expected) != canonical(got):
            self.complain(found, f"{what}: expected {shorten(expected)}, got {shorten(got)}")

    # `tree`: something was done to this case, so messages that its workflows would have sent one another may be missing.
    def workflow(self, model, found, tree, allowed):
        row = found.row
        end = (row["status"], row["status_reason"])
        if model.cancelled_early and end == ("cancelled", "request"):
            self.partial(model, found)
        elif end == (model.status, model.reason):
            self.exact(model, found, tree)
        elif end in allowed:
            self.partial(model, found)
        else:
            code = (row["error"] or {}).get("code")
            self.complain(found, f"ended {end} (error {shorten(row['error'])}); expected {(model.status, model.reason)} (code {model.code})"
                          + (f" or one of {sorted(allowed)}" if allowed else ""))
            return
        self.invariants(model, found)
        self.children(model, found, tree, allowed, end)

    def children(self, model, found, tree, allowed, end):
        expected = {c.label: c for c in model.children}
        seen = Counter()
        for child in found.children:
            label = (child.row["input"] or {}).get("l")
            seen[label] += 1
            if label not in expected:
                self.complain(found, f"it has a child that it should not have: {child.row['workflow_id']} ({label})")
            elif expected[label].detached or not (tree or model.cancelled_early):
                self.workflow(expected[label], child, None, set())
            else:
                self.workflow(expected[label], child, tree, {("cancelled", "parent")} if tree == "cancel" else {("failed", "timeout")})
        for label, times in seen.items():
            if times > 1:
                self.complain(found, f"child {label} was started {times} times")
        if end == (model.status, model.reason):
            for label in expected.keys() - seen.keys():
                self.complain(found, f"child {label} is missing")

    def invariants(self, model, found):
        # What did not succeed keeps its waits, for a run that resumes it.
        for step in found.steps.values() if found.row["status"] == "succeeded" else []:
            if step["status"] in ("waiting", "retrying"):
                self.complain(found, f"it has ended, and its step {step['step_name']} is {step['status']}")
        for key, (path, value, attempts) in model.emitted.items():
            entries = found.streams.get(key, [])
            # One that was interrupted in its back-off has made fewer.
            attempts = min(attempts, found.steps[path]["attempts"]) if path in found.steps else 0
            if len(entries) < attempts:
                self.complain(found, f"step {path} is recorded with {attempts} attempts, and stream {key} has {len(entries)} entries")
            if any(canonical(e) != canonical(value) for e in entries):
                self.complain(found, f"stream {key} holds {shorten(entries)}")
        undoing = {node.op["i"] for _, node in self.registered}  # a model that was not interrupted undoes nothing
        for effect, count in found.effects.items():
            if count > (1 if effect in undoing else model.effects.get(effect, 0)):
                self.complain(found, f"transaction effect {effect} happened {count} times instead of {model.effects.get(effect, 0)}")
        for effect in found.happened.keys() - model.ran:
            if self.case["disturbance"] == "none":
                self.complain(found, f"body {effect} ran, which the program never comes to")

    # As if nothing had ever happened to it.
    def exact(self, model, found, tree):
        row = found.row
        self.expect(found, "output", model.output if model.status == "succeeded" else None, row["output"])
        self.expect(found, "error code", model.code, (row["error"] or {}).get("code"))
        self.expect(found, "input", model.program, row["input"].get("p"))
        # Also those of its parent, when it was started.
        self.expect(found, "attributes", model.attributes, {k: v for k, v in (row["attributes"] or {}).items() if k in model.attributes})
        self.expect(found, "events", sorted(map(canonical, model.event_log)), sorted(map(canonical, found.events)))
        self.expect(found, "streams", {k: v for k, v in model.streams.items() if v}, {k: v for k, v in found.streams.items() if k not in model.emitted})
        self.expect(found, "closed streams", sorted(model.closed), sorted(found.closed))
        keep = (lambda m: m[2] is not None) if tree else (lambda m: True)
        self.expect(found, "messages", sorted(canonical(m) for m in model.messages if keep(m)), sorted(canonical(m) for m in found.messages if keep(m)))
        self.expect(found, "transaction effects", {str(k): v for k, v in sorted(model.effects.items())}, {str(k): v for k, v in sorted(found.effects.items())})
        expected = set()
        self.walk(model.root, found, True, expected, [], whole=True)
        self.compensations(model, found, expected, [(Position(n[0]), n[1]) for n in self.registered] if model.status != "succeeded" else [])
        self.nothing_else(found, expected)

    # Interrupted: whatever is recorded is the beginning of what the model recorded, and what was registered by then is undone.
    def partial(self, model, found):
        generations = [g for g in model.past + [(model.program, model.root)] if canonical(g[0]) == canonical(found.row["input"].get("p"))]
        if not generations:
            self.complain(found, f"its input is of no generation of its program: {shorten(found.row['input'])}")
            return
        scope = generations[0][1]
        expected = set()
        self.walk(scope, found, True, expected, [], whole=False)
        self.compensations(model, found, expected, [(Position(n[0]), n[1]) for n in self.registered])
        self.nothing_else(found, expected)
        consumed = [canonical(m) for m in model.messages if m[2] is not None]
        for message in found.messages:
            path = message[2]
            if path is not None and path not in found.steps and not model.past:
                self.complain(found, f"a message was consumed by {path}, which is not recorded")
            elif path is not None and canonical(message) not in consumed:
                self.complain(found, f"consumed {shorten(message)}, which the model does not")
        for effect, count in model.effects.items():
            node = next((n for n in self.steps_of(scope) if n.effect == effect and n.kind == "transaction"), None)
            recorded = sum(1 for n in self.steps_of(scope) if n.effect == effect and n.path in found.steps and found.steps[n.path]["status"] == "succeeded")
            if node is not None and recorded != found.effects.get(effect, 0):
                self.complain(found, f"transaction effect {effect} happened {found.effects.get(effect, 0)} times, and is recorded {recorded} times")

    def steps_of(self, scope):
        for node in scope.nodes:
            if node.type == "step":
                yield node
            elif node.type == "branches":
                for inner in node.scopes:
                    yield from self.steps_of(inner)

    def walk(self, scope, found, is_open, expected, position, whole):
        """Whether everything that the scope did is recorded; nothing may be that comes after something that is not."""
        if not position:
            self.registered = []
        for index, node in enumerate(scope.nodes):
            here = position + [(index, 0)]
            if node.type == "undo":
                if is_open:
                    self.registered.append((here, node))
            elif node.type == "begun":
                # A wait that the model was interrupted in.
                if node.path in found.steps and found.steps[node.path]["status"] == "waiting":
                    expected.add(node.path)
                is_open = False
            elif node.type == "branches":
                all_open = True
                for number, inner in enumerate(node.scopes):
                    if not self.walk(inner, found, is_open, expected, position + [(index, number)], whole):
                        all_open = False
                is_open = is_open and all_open
            elif node.type in ("read", "reads"):
                names = [n for n in found.steps if n == node.path or n.startswith(node.path + "#")]
                expected.update(names)
                names = [n for n in names if found.steps[n]["status"] != "waiting" or whole]
                is_over = False
                for name in names:
                    step = found.steps[name]
                    if step["kind"] != "read_stream" or step["status"] == "failed":
                        self.complain(found, f"step {name} is {shorten(step)}")
                    elif (step["output"] or {}).get("value", {}).get("closed"):
                        is_over = True
                if names and not is_open:
                    self.complain(found, f"step {names[0]} is recorded although one before it is not")
                if not is_over:
                    if whole and node.type == "read":
                        self.complain(found, f"step {node.path} is not recorded to its end")
                    is_open = False
            else:
                step = found.steps.get(node.path)
                if step is not None and step["status"] in ("waiting", "retrying") and not whole:
                    expected.add(node.path)
                    if not is_open:
                        self.complain(found, f"step {node.path} is begun although one before it is not recorded")
                    is_open = False
                    continue
                if step is None:
                    if whole:
                        self.complain(found, f"step {node.path} ({node.kind}) is not recorded")
                    is_open = False
                    continue
                expected.add(node.path)
                if not is_open and not whole:
                    self.complain(found, f"step {node.path} is recorded although one before it is not")
                self.step(node, step, found)
        return is_open

    def step(self, node, step, found):
        name = node.path
        if step["kind"] != node.kind:
            return self.complain(found, f"step {name} is a {step['kind']}, expected a {node.kind}")
        if step["status"] != node.status:
            return self.complain(found, f"step {name} is {step['status']} ({shorten(step['error'] or step['output'])}), expected {node.status} ({shorten(node.value)})")
        if node.value is not ANY:
            got = (step["error"] or {}).get("code") if node.status == "failed" else step["output"]
            self.expect(found, f"step {name}", node.value, got)
        if node.attempts is not None:
            got = step["attempts"]
            # A transaction is also tried again when a connection was lost.
            if got != node.attempts and not (node.kind == "transaction" and got > node.attempts):
                self.complain(found, f"step {name}: {got} attempts, expected {node.attempts}")
            if node.effect is not None and node.kind == "step" and found.happened[node.effect] < node.attempts:
                self.complain(found, f"step {name} is recorded, and its body ran {found.happened[node.effect]} times for {node.attempts} attempts")

    def compensations(self, model, found, expected, registered):
        """All that was registered, the last one first (branches have no order among themselves), after everything else, and nothing more."""
        rows = [s for s in found.steps.values() if s["kind"] == "compensation"]
        if not registered:
            if rows:
                self.complain(found, f"compensations ran although none was due: {[s['step_name'] for s in rows]}")
                expected.update(s["step_name"] for s in rows)
            return
        marker = found.steps.get("%compensate")
        if marker is None or marker["status"] != "failed" or marker["kind"] != "compensation":
            self.complain(found, f"{len(registered)} compensations were due ({[n.op['n'] for _, n in registered]}), and they never began")
            return
        expected.add("%compensate")
        place = {}
        for position, node in registered:
            op, name = node.op, "%compensate/" + node.scope.prefix + node.op["n"]
            step = found.steps.get(name)
            if step is None:
                self.complain(found, f"compensation {name} did not run")
                continue
            expected.add(name)
            failed = op.get("fail", 0) >= op.get("max", 5)
            if (step["status"] == "failed") != failed:
                self.complain(found, f"compensation {name} is {step['status']}: {shorten(step['error'])}")
            attempts = op["max"] if failed else op.get("fail", 0) + 1
            # A transaction is also tried again when a connection was lost.
            if step["attempts"] != attempts and not (op["tx"] and step["attempts"] > attempts):
                self.complain(found, f"compensation {name}: {step['attempts']} attempts, expected {attempts}")
            if op["tx"] and found.effects.get(op["i"], 0) != (0 if failed else 1):
                self.complain(found, f"compensation {name} is {step['status']}, and its transaction happened {found.effects.get(op['i'], 0)} times")
            if found.happened[op["i"]] < attempts:
                self.complain(found, f"compensation {name} is recorded, and its body ran {found.happened[op['i']]} times")
            place[name] = (step["completed_at"], step["step_number"])
        ordered = [(p, "%compensate/" + n.scope.prefix + n.op["n"]) for p, n in registered]
        for i, (position, name) in enumerate(ordered):
            for other, later in ordered[i + 1:]:
                if name in place and later in place and position.is_before(other) and place[name][0] < place[later][0]:
                    self.complain(found, f"compensation {name} ran before {later}, which was registered after it")
        for step in found.steps.values():
            if step["kind"] != "compensation" and step["completed_at"] and step["completed_at"] > marker["completed_at"]:
                self.complain(found, f"step {step['step_name']} was recorded after the compensations had begun")

    def nothing_else(self, found, expected):
        for name in found.steps.keys() - expected:
            self.complain(found, f"step {name} ({found.steps[name]['kind']}, {found.steps[name]['status']}) should not be there")


class Position:
    def __init__(self, parts):
        self.parts = parts

    def is_before(self, other):
        for (index, branch), (other_index, other_branch) in zip(self.parts, other.parts):
            if index != other_index:
                return index < other_index
            if branch != other_branch:
                return False
        return False


def shorten(value):
    text = value if isinstance(value, str) else repr(value) if value is ANY else json.dumps(value, sort_keys=True, default=repr)
    return text if len(text) <= 300 else text[:200] + f"…({len(text)})…" + text[-80:]
