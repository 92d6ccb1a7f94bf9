"""What a program comes to when nothing ever crashes: plain code, no engine, virtual time.

Workflows are coroutines that yield what they wait for; a scheduler lets them run in an order that a seed chooses, and moves the time on when all of
them wait. The outcome must not depend on that order, nor on how long things take: `check_determinism` says whether it does.
"""

import random


class Failure(Exception):
    def __init__(self, code):
        self.code = code


class Cancelled(Exception):
    pass


class TimedOut(Exception):
    pass


class Again(Exception):
    def __init__(self, program):
        self.program = program


class Wait:
    def __init__(self, ready, due=None):
        self.ready = ready
        self.due = due


class Node:
    """What a scope did, in its order: a step, a compensation that was registered, or branches."""

    def __init__(self, type, path=None, **facts):
        self.type = type
        self.path = path
        self.__dict__.update(facts)


class Scope:
    def __init__(self, prefix):
        self.prefix = prefix
        self.counts = {}
        self.branch_counts = {}
        self.nodes = []

    def path(self, name):
        count = self.counts[name] = self.counts.get(name, 0) + 1
        return self.prefix + (name if count == 1 else f"{name}#{count}")

    def branch(self, name):
        count = self.branch_counts[name] = self.branch_counts.get(name, 0) + 1
        return Scope(self.prefix + (name if count == 1 else f"{name}#{count}") + "/")


class Workflow:
    def __init__(self, model, program, parent=None, label=None, detached=False, deadline=None):
        self.model = model
        self.program = program
        self.parent = parent
        self.label = label
        self.detached = detached
        self.deadline = deadline
        self.children = []
        self.status = None
        self.reason = None
        self.output = None
        self.code = None
        self.messages = []  # [topic, message, path that consumed it]
        self.events = {}
        self.streams = {}
        self.closed = set()
        self.attributes = {}
        self.event_log = []
        self.emitted = {}  # from bodies, so at least once: key → the path of the step, the value of each entry
        self.effects = {}  # transactions that committed
        self.ran = set()  # effects of bodies that ran
        self.past = []  # what earlier generations (continue as new) did: program, root scope
        self.cancel_asked = False
        self.cancelled_early = False
        self.is_undoing = False
        self.is_at_its_end = False
        self.undone = []
        self.begin()

    def begin(self):
        self.root = Scope("")
        self.undo = []

    @property
    def ended(self):
        return self.status is not None

    def is_interrupted(self):
        if self.is_undoing:
            return False
        return self.cancel_asked or (self.deadline is not None and self.deadline <= self.model.time)


class Model:
    def __init__(self, case, schedule=None):
        self.random = random.Random(schedule) if schedule is not None else None
        self.time = 0.0
        self.tasks = []
        self.workflows = []
        self.case = case
        root = Workflow(self, case["program"])
        self.root = root
        self.workflows.append(root)
        self.spawn(root, self.life(root))
        for topic in dict.fromkeys(topic for _, topic, _ in case["ext"]):
            self.spawn(None, self.send_later(root, [e for e in case["ext"] if e[1] == topic]))

    # The scheduler.

    def spawn(self, workflow, coroutine):
        task = {"workflow": workflow, "coroutine": coroutine, "wait": None, "done": False}
        self.tasks.append(task)
        return task

    def delay(self, milliseconds):
        """Time that an operation takes: none, or whatever it takes on a slow machine."""
        return self.time + milliseconds * (self.random.uniform(1, 4) if self.random else 1)

    def run(self):
        while True:
            progressed = False
            tasks = list(self.tasks)
            if self.random:
                self.random.shuffle(tasks)
            for task in tasks:
                if task["done"]:
                    continue
                wait = task["wait"]
                if wait is None or wait.ready() or (wait.due is not None and wait.due <= self.time) or self.interrupted(task):
                    progressed = True
                    try:
                        task["wait"] = next(task["coroutine"])
                    except StopIteration:
                        task["done"] = True
            self.tasks = [t for t in self.tasks if not t["done"]]
            if not self.tasks:
                return
            if not progressed:
                due = [t["wait"].due for t in self.tasks if t["wait"].due is not None]
                due += [t["workflow"].deadline for t in self.tasks if t["workflow"] and t["workflow"].deadline is not None]
                if not due:
                    raise AssertionError(f"case {self.case['index']}: the model waits for ever")
                self.time = max(self.time, min(due))
                assert self.time < 1_000_000, f"case {self.case['index']}: something wins that never should"

    @staticmethod
    def interrupted(task):
        workflow = task["workflow"]
        return workflow is not None and workflow.is_interrupted()

    def send_later(self, workflow, messages):
        before = 0
        for after, topic, message in messages:
            yield Wait(lambda: False, self.delay(after - before))
            before = after
            workflow.messages.append([topic, message, None])

    # A workflow.

    def life(self, workflow):
        program = workflow.program
        while True:
            try:
                trace = yield from self.block(program, workflow, workflow.root, {})
                workflow.output = {"trace": trace}
                status = ("succeeded", None, None)
            except Again as again:
                workflow.past.append((program, workflow.root))
                program = workflow.program = again.program
                workflow.begin()
                continue
            except Failure as failure:
                status = ("failed", "error", failure.code)
            except Cancelled:
                status = ("cancelled", "request", "cancelled")
            except TimedOut:
                status = ("failed", "timeout", "timeout")
            break
        if status[0] != "succeeded":
            # After the workflow failed, its own deadline and cancellation have nothing more to say.
            workflow.deadline, workflow.is_undoing = None, True
            for scope, op in reversed(workflow.undo):
                attempts = min(op.get("fail", 0) + 1, op.get("max", 5))
                failed = op.get("fail", 0) >= op.get("max", 5)
                workflow.ran.add(op["i"])
                if op["tx"] and not failed:
                    workflow.effects[op["i"]] = 1
                workflow.undone.append(Node("step", scope.path(op["n"]), kind="compensation", status="failed" if failed else "succeeded",
                    value=op.get("code") if failed else None, attempts=attempts, effect=op["i"]))
                yield from self.pause()
        workflow.status, workflow.reason, workflow.code = status

    def pause(self):
        if self.random:
            yield Wait(lambda: False, self.time + self.random.uniform(0, 50))

    def interruption(self, workflow):
        if workflow.is_interrupted():
            raise Cancelled() if workflow.cancel_asked else TimedOut()

    def block(self, program, workflow, scope, children):
        trace = []
        for op in program:
            yield from self.perform(op, workflow, scope, children, trace)
        return trace

    def record(self, scope, path, kind, value, attempts=1, failed=False, effect=None):
        scope.nodes.append(Node("step", path, kind=kind, status="failed" if failed else "succeeded", value=value, attempts=attempts, effect=effect))

    def body(self, op, workflow, scope, kind):
        """A step or transaction, with its attempts."""
        path = scope.path(op["n"])
        failures, most = op.get("fail", 0), op.get("max", 5)
        attempts = failures + 1
        code = op.get("code")
        if op.get("sql"):
            attempts, code = 1, "23502"
        elif op.get("final"):
            attempts = 1
        elif failures >= most:
            attempts = most
        failed = bool(op.get("sql") or op.get("final") or failures >= most)
        workflow.ran.add(op["i"])
        if "emit" in op:
            workflow.emitted[op["emit"]] = (path, op["v"], attempts)
        for _ in range(attempts):
            yield from self.pause()
        self.interruption(workflow)
        if op.get("hang"):
            attempts = None  # at least
        self.record(scope, path, "transaction" if kind == "tx" else "step", code if failed else op["v"], attempts, failed, op["i"])
        if kind == "tx" and not failed:
            workflow.effects[op["i"]] = workflow.effects.get(op["i"], 0) + 1
        if failed:
            raise Failure(code)
        return op["v"]

    def wait(self, workflow, ready, due=None):
        if not ready():
            yield Wait(ready, due)
        self.interruption(workflow)
        return ready()

    def find(self, who, workflow, children):
        if who == "self":
            return workflow
        if who == "parent":
            return workflow.parent
        return children.get(who)

    def take(self, workflow, topic, path):
        for message in workflow.messages:
            if message[0] == topic and message[2] is None:
                message[2] = path
                return message[1]
        raise AssertionError("no message")

    def has_message(self, workflow, topic):
        return lambda: any(m[0] == topic and m[2] is None for m in workflow.messages)

    def perform(self, op, workflow, scope, children, trace):
        kind = op["o"]
        yield from self.pause()
        self.interruption(workflow)
        if kind in ("step", "tx"):
            trace.append((yield from self.body(op, workflow, scope, kind)))
        elif kind == "query":
            self.record(scope, scope.path(op["n"]), "query", ANY)
            trace.append([op["v"], op["v"] + 1])
        elif kind in ("sleep", "until"):
            if kind == "until":
                self.record(scope, scope.path(op["n"] + ".now"), "now", ANY)
            path = scope.path(op["n"])
            yield from self.wait(workflow, lambda: False, self.delay(op["ms"]))
            self.record(scope, path, "sleep", {"value": None})
        elif kind == "send":
            path = scope.path(op["n"])
            target = self.find(op["to"], workflow, children)
            if target is None:
                self.record(scope, path, "send", "unknown_workflow", failed=True)
                raise Failure("unknown_workflow")
            if not target.ended:
                target.messages.append([op["t"], op["m"], None])
            self.record(scope, path, "send", not target.ended)
            if op["to"] == "self":
                trace.append(True)
        elif kind == "recv":
            path = scope.path(op["n"])
            workflow.is_at_its_end = op["t"] == "never"
            due = self.delay(op["ms"]) if "ms" in op else None
            try:
                has_come = yield from self.wait(workflow, self.has_message(workflow, op["t"]), due)
            except (Cancelled, TimedOut):
                scope.nodes.append(Node("begun", path))
                raise
            if has_come:
                message = self.take(workflow, op["t"], path)
                self.record(scope, path, "receive", {"value": message})
                trace.append({"message": message})
            else:
                self.record(scope, path, "receive", None)
                trace.append("none")
        elif kind == "event":
            workflow.events[op["k"]] = op["v"]
            workflow.event_log.append([op["k"], op["v"]])
            self.record(scope, scope.path(op["n"]), "set_event", None)
        elif kind == "getev":
            path = scope.path(op["n"])
            target = self.find(op["of"], workflow, children)
            if target is None:
                self.record(scope, path, "get_event", "unknown_workflow", failed=True)
                raise Failure("unknown_workflow")
            due = self.delay(op["ms"]) if "ms" in op else None
            yield from self.wait(workflow, lambda: op["k"] in target.events or target.ended, due)
            if op["k"] in target.events:
                self.record(scope, path, "get_event", {"value": target.events[op["k"]]})
                trace.append({"event": target.events[op["k"]]})
            else:
                self.record(scope, path, "get_event", None)
                trace.append("none")
        elif kind == "write":
            path = scope.path(op["n"])
            if op["k"] in workflow.closed:
                self.record(scope, path, "write_stream", "stream_closed", failed=True)
                raise Failure("stream_closed")
            stream = workflow.streams.setdefault(op["k"], [])
            stream.append(op["v"])
            self.record(scope, path, "write_stream", len(stream))
            trace.append(len(stream))
        elif kind == "close":
            workflow.closed.add(op["k"])
            self.record(scope, scope.path(op["n"]), "close_stream", None)
        elif kind == "read":
            target = self.find(op["of"], workflow, children)
            # In as many portions as it happens to come in, at least one.
            scope.nodes.append(Node("reads", scope.prefix + f"read_stream:{op['k']}"))
            yield from self.wait(workflow, lambda: op["k"] in target.closed or target.ended)
            scope.nodes[-1].type = "read"
            trace.append([[i + 1, v] for i, v in enumerate(target.streams.get(op["k"], []))])
        elif kind == "attr":
            workflow.attributes[op["k"]] = op["v"]
            self.record(scope, scope.path(op["n"]), "merge_attributes", ANY)
            trace.append(op["v"])
        elif kind == "made":
            self.record(scope, scope.path(op["n"]), op["kind"], ANY)
            yield from self.pause()
            self.interruption(workflow)
            self.record(scope, scope.path(op["m"]), "step", ANY)
            trace.append(True)
        elif kind == "patch":
            self.record(scope, scope.path("patch:" + op["n"]), "patch", True)
            trace.append(True)
        elif kind == "comp":
            scope.nodes.append(Node("undo", op=op, scope=scope))
            workflow.undo.append((scope, op))
        elif kind == "fail":
            raise Failure(op["code"])
        elif kind == "loop":
            for _ in range(op["k"]):
                trace += yield from self.block(op["b"], workflow, scope, children)
        elif kind in ("try", "swallow"):
            try:
                trace.append(["ok", (yield from self.block(op["b"], workflow, scope, children))])
            except Failure as failure:
                trace.append(["caught", failure.code, (yield from self.block(op["h"] if "h" in op else [], workflow, scope, children))])
        elif kind in ("par", "both"):
            yield from self.branches(op, kind, workflow, scope, children, trace)
        elif kind == "race":
            yield from self.race(op, workflow, scope, children, trace)
        elif kind == "start":
            path = scope.path(op["n"])
            deadline = self.delay(op["tmo"]) if "tmo" in op else None
            child = Workflow(self, op["p"], workflow, op["l"], op.get("det", False), deadline)
            child.cancelled_early = op.get("early", False)
            children[op["l"]] = child
            workflow.children.append(child)
            self.workflows.append(child)
            self.record(scope, path, "start_child", ANY)
            scope.nodes[-1].child = child
            self.spawn(child, self.life(child))
        elif kind == "await":
            path = scope.path(op["n"])
            child = children[op["l"]]
            due = self.delay(op["ms"]) if "ms" in op else None
            yield from self.wait(workflow, lambda: child.ended, due)
            if not child.ended:
                self.record(scope, path, "await_child", None)
                trace.append("none")
            elif child.status == "succeeded":
                self.record(scope, path, "await_child", {"value": child.output})
                trace.append({"output": child.output})
            else:
                code = "child_cancelled" if child.status == "cancelled" else child.code
                self.record(scope, path, "await_child", code, failed=True)
                raise Failure(code)
        elif kind == "all":
            path = scope.path(op["n"])
            family = [children[l] for l in op["ls"]]
            yield from self.wait(workflow, lambda: all(c.ended for c in family))
            self.record(scope, path, "await_children", ANY)
            trace.append([self.outcome(c) for c in family])
        elif kind == "any":
            path = scope.path(op["n"])
            family = [children[l] for l in op["ls"]]
            yield from self.wait(workflow, lambda: any(c.ended for c in family))
            first = next(i for i, c in enumerate(family) if c.ended)
            self.record(scope, path, "await_children", ANY)
            trace.append([first, self.outcome(family[first])])
        elif kind == "cancel":
            child = children[op["l"]]
            # Where it really is by then is not certain: what it has done is a beginning of this.
            yield from self.wait(workflow, lambda: child.is_at_its_end)
            if not child.ended:
                child.cancel_asked = True
            self.record(scope, scope.path(op["n"]), "cancel_workflow", ANY)
        elif kind == "again":
            raise Again(op["p"])
        else:
            raise AssertionError(kind)

    @staticmethod
    def outcome(child):
        if child.status == "succeeded":
            return {"output": child.output}
        return {"code": "child_cancelled" if child.status == "cancelled" else child.code}

    def branches(self, op, kind, workflow, scope, children, trace):
        if kind == "par":
            parts = [(scope.branch(f"{op['n']}[{item['id']}]"), item["p"]) for item in op["items"]]
        else:
            parts = [(scope.branch(op["n"] + ".left"), op["l"]), (scope.branch(op["n"] + ".right"), op["r"])]
        results = [None] * len(parts)
        scope.nodes.append(Node("branches", scopes=[s for s, _ in parts]))
        limit = op.get("lim") or len(parts)
        state = {"running": 0}

        def branch(index, inner, program):
            try:
                value = yield from self.block(program, workflow, inner, dict(children))
                results[index] = ("value", value)
            except (Failure, Cancelled, TimedOut, Again) as error:
                results[index] = ("error", error)
            state["running"] -= 1

        waiting = list(enumerate(parts))
        while waiting or state["running"]:
            while waiting and state["running"] < limit:
                index, (inner, program) = waiting.pop(0)
                state["running"] += 1
                self.spawn(workflow, branch(index, inner, program))
            before = state["running"]
            yield Wait(lambda: state["running"] < before)
        self.interruption(workflow)
        for what, value in results:
            if what == "error":
                raise value
        trace.append([value for _, value in results])

    def race(self, op, workflow, scope, children, trace):
        path = scope.path(op["n"])

        def alternative(a):
            if a["k"] == "recv":
                return self.has_message(workflow, a["t"]), None
            if a["k"] == "event":
                target = self.find(a["of"], workflow, children)
                return (lambda: a["key"] in target.events or target.ended), None
            if a["k"] == "child":
                return (lambda: children[a["l"]].ended), None
            return (lambda: False), self.delay(a["ms"] if a["k"] == "sleep" else 1)

        alternatives = [alternative(a) for a in op["alts"]]
        dues = [due for _, due in alternatives if due is not None]
        yield from self.wait(workflow, lambda: any(ready() for ready, _ in alternatives), min(dues) if dues else None)
        index = next(i for i, (ready, due) in enumerate(alternatives) if ready() or (due is not None and due <= self.time))
        winner = op["alts"][index]
        if winner["k"] == "recv":
            value = self.take(workflow, winner["t"], path)
        elif winner["k"] == "event":
            value = self.find(winner["of"], workflow, children).events[winner["key"]]
        elif winner["k"] == "step":
            value = winner["v"]
            workflow.ran.add(winner["i"])
        else:
            value = None
        scope.nodes.append(Node("step", path, kind="race", status="succeeded", value=ANY, attempts=1, effect=None, race_effect=winner.get("i")))
        if winner["k"] == "child":
            child = children[winner["l"]]
            if child.status != "succeeded":
                raise Failure("child_cancelled" if child.status == "cancelled" else child.code)
            value = child.output
        if "code" in winner:
            raise Failure(winner["code"])
        trace.append(["race", index, value])


class Anything:
    """What is not the same each time."""

    def __eq__(self, other):
        return True

    def __repr__(self):
        return "anything"


ANY = Anything()


def run(case, schedule=None):
    model = Model(case, schedule)
    model.run()
    return model


def summary(model):
    """All of it, in a form to compare."""
    def workflow(w):
        return {
            "label": w.label, "status": w.status, "reason": w.reason, "code": w.code, "output": w.output,
            "messages": sorted(map(repr, w.messages)), "events": w.events, "streams": w.streams, "attributes": w.attributes,
            "effects": w.effects, "nodes": nodes(w.root), "undone": sorted(u.path for u in w.undone),
            "children": [workflow(c) for c in sorted(w.children, key=lambda c: c.label)],
        }

    def nodes(scope):
        found = []
        for n in scope.nodes:
            if n.type == "branches":
                found.append([nodes(s) for s in n.scopes])
            elif n.type == "begun":
                pass  # when its time is up, it may just not have come to it
            elif n.type == "undo":
                found.append(["undo", n.op["n"]])
            elif n.type == "step":
                found.append([n.path, n.kind, n.status, None if n.value is ANY else n.value])
            else:
                found.append([n.path])
        return found

    return workflow(model.root)


def check_determinism(case, schedules=3):
    first = summary(run(case))
    for schedule in range(schedules):
        other = summary(run(case, f"{case['id']}:{schedule}"))
        if other != first:
            raise AssertionError(f"case {case['id']}: the model's outcome depends on the order of events")
