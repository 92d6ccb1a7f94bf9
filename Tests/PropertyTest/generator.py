"""Random programs for the handler in Plugin/.

A case is made from a seed and its index alone. A program is a list of operations; what it comes to is fixed by its construction: whoever waits for
something gets it from one place, in one order, or never; of the alternatives of a race one is over soon and the others never; a step fails by
program. A case may be disturbed, by a cancellation or a deadline at a random moment: then the model gives the ends that are allowed.
"""

import random

# Longer than any run: a wait for this or for something that never comes is not over by itself.
FOREVER = 3_600_000
CODES = ["declined", "out_of_stock", "too_late", "no_luck"]


class Generator:
    def __init__(self, seed, index):
        self.random = random.Random(f"{seed}:{index}")
        self.seed = seed
        self.index = index
        self.number = 0
        self.budget = 0
        self.ext = []

    def unique(self):
        self.number += 1
        return self.number

    def name(self, kind):
        # Now and then one that is used again: repeats are counted.
        if self.random.random() < 0.12:
            return kind
        return f"{kind}{self.unique()}"

    def value(self):
        pick = self.random.random()
        if pick < 0.5:
            return self.random.randint(-1000, 1000)
        if pick < 0.75:
            return self.random.choice(["", "a", "ünï", "\"quoted\" \\ back", "line\nbreak", "#2", "a/b[1]"])
        if pick < 0.85:
            return None
        if pick < 0.95:
            return {"k": self.random.randint(0, 9), "l": [True, None, "x"]}
        return "x" * self.random.randint(2000, 6000)

    def milliseconds(self):
        return self.random.choice([10, 20, 40, 80, 120, 200])

    # A case.

    def case(self):
        r = self.random
        disturbance = r.choices(["none", "cancel", "deadline"], [65, 25, 10])[0]
        self.budget = r.randint(3, 22)
        self.allow_children = disturbance != "deadline"
        case = {"index": self.index, "id": f"p{self.seed}-{self.index}", "disturbance": disturbance}
        case["program"] = self.program(depth=0, root=True, hostile=r.random() < 0.15)
        case["ext"] = self.ext
        if disturbance == "cancel":
            case["cancel_after"] = r.choice([0, 0, 5, 20, 50, 100, 200, 400, 800, 1500])
        if disturbance == "deadline":
            case["timeout"] = r.choice([1, 30, 100, 200, 400, 800, 1500])
        if r.random() < 0.1:
            case["delay"] = r.choice([20, 100, 300])
        return case

    # A program: of a workflow, or a branch of one.

    def program(self, depth, root=False, in_branch=False, hostile=False, child=False):
        r = self.random
        ops = []
        for _ in range(r.randint(1, 6)):
            if self.budget <= 0 and ops:
                break
            ops += self.operation(depth, root=root, in_branch=in_branch)
        if hostile:
            ops = [{"o": "swallow", "b": ops}]
        if not in_branch:
            pick = r.random()
            if pick < 0.12:
                ops += self.end_badly()
            elif pick < 0.22 and depth < 2:
                ops.append({"o": "again", "p": self.program(depth + 1, child=child)})
        return ops

    def end_badly(self):
        r = self.random
        ops = []
        for _ in range(r.randint(0, 3)):
            ops += self.undoable()
        ops.append({"o": "fail", "code": r.choice(CODES)} if r.random() < 0.6 else self.failing_step())
        return ops

    def operation(self, depth, root=False, in_branch=False):
        r = self.random
        self.budget -= 1
        simple = [
            (10, self.step), (10, self.transaction), (6, self.sleep), (7, self.message_to_self), (3, self.no_message), (3, self.own_event),
            (3, self.own_stream), (2, self.attribute), (3, self.engine_value), (2, self.query), (7, self.undoable), (4, self.caught), (6, self.race),
            (2, self.unknown_workflow), (1, self.hanging_step), (2, self.patch),
        ]
        nested = [(5, self.parallel), (3, self.both), (3, self.loop), (3, self.attempted)]
        family = [(5, self.child), (3, self.several), (3, self.any_of), (3, self.cancelled_child), (2, self.timed_out_child), (2, self.patient_child),
                  (3, self.streaming_child), (2, self.child_that_asks),
                  (2, self.raced_child)]
        choices = list(simple)
        if depth < 3 and self.budget > 2:
            choices += nested
        if depth < 2 and self.budget > 2 and self.allow_children:
            choices += family
        if root and not in_branch:
            choices.append((5, self.external_message))
        maker = r.choices([m for _, m in choices], [w for w, _ in choices])[0]
        made = maker() if (maker in [m for _, m in simple] or maker == self.external_message) else maker(depth)
        return made if isinstance(made, list) else [made]

    # Simple ones.

    def step(self):
        r = self.random
        op = {"o": "step", "n": self.name("step"), "i": self.unique(), "v": self.value()}
        if r.random() < 0.25:
            op["fail"] = r.randint(1, 3)
            op["max"] = op["fail"] + r.randint(1, 2)
            op["code"] = r.choice(CODES)
        pick = r.random()
        if pick < 0.08:
            op["emit"] = f"tokens{self.unique()}"
            op["n"] = f"step{self.unique()}"
        elif pick < 0.16:
            op["progress"] = True
        return op

    def failing_step(self):
        r = self.random
        kind = r.choice(["step", "tx"])
        op = {"o": kind, "n": self.name(kind), "i": self.unique(), "v": 0, "code": r.choice(CODES)}
        if kind == "tx" and r.random() < 0.4:
            op["sql"] = True
        elif r.random() < 0.3:
            op.update({"fail": 9, "max": 9, "final": True})  # an error that is not tried again
        else:
            op["max"] = r.randint(1, 3)
            op["fail"] = op["max"]
        return op

    def transaction(self):
        r = self.random
        op = {"o": "tx", "n": self.name("tx"), "i": self.unique(), "v": self.value()}
        if r.random() < 0.2:
            op["iso"] = r.choice(["repeatable_read", "serializable"])
        if r.random() < 0.2:
            op["fail"] = r.randint(1, 2)
            op["max"] = op["fail"] + r.randint(1, 2)
            op["code"] = r.choice(CODES)
        return op

    def hanging_step(self):
        # Its first attempts take too long. How many of them do is not certain on a machine that stops now and then, so many are allowed.
        return {"o": "step", "n": self.name("slow"), "i": self.unique(), "v": self.value(), "hang": 1, "max": 60}

    def query(self):
        return {"o": "query", "n": self.name("query"), "v": self.random.randint(0, 99)}

    def sleep(self):
        return {"o": self.random.choice(["sleep", "sleep", "until"]), "n": self.name("sleep"), "ms": self.milliseconds()}

    def message_to_self(self):
        topic = f"t{self.unique()}"
        messages = [self.value() for _ in range(self.random.randint(1, 3))]
        sends = [{"o": "send", "n": self.name("send"), "to": "self", "t": topic, "m": m} for m in messages]
        receives = [{"o": "recv", "n": self.name("recv"), "t": topic} for _ in messages]
        if self.random.random() < 0.3:
            receives.append({"o": "recv", "n": self.name("recv"), "t": topic, "ms": self.milliseconds()})
        return sends + receives

    def no_message(self):
        return {"o": "recv", "n": self.name("none"), "t": f"t{self.unique()}", "ms": self.milliseconds()}

    def external_message(self):
        topic = f"x{self.unique()}"
        count = self.random.randint(1, 3)
        after = 0
        for _ in range(count):
            after += self.random.choice([0, 10, 100, 300])
            self.ext.append([after, topic, self.value()])
        return [{"o": "recv", "n": self.name("ext"), "t": topic} for _ in range(count)]

    def own_event(self):
        key = f"e{self.unique()}"
        values = [self.value() for _ in range(self.random.randint(1, 2))]
        ops = [{"o": "event", "n": self.name("event"), "k": key, "v": v} for v in values]
        ops.append({"o": "getev", "n": self.name("getev"), "of": "self", "k": key})
        if self.random.random() < 0.3:
            ops.append({"o": "getev", "n": self.name("getev"), "of": "self", "k": f"e{self.unique()}", "ms": self.milliseconds()})
        return ops

    def own_stream(self):
        key = f"s{self.unique()}"
        ops = [{"o": "write", "n": self.name("write"), "k": key, "v": self.value()} for _ in range(self.random.randint(0, 4))]
        ops.append({"o": "close", "n": self.name("close"), "k": key})
        ops.append({"o": "read", "n": f"read{self.unique()}", "of": "self", "k": key})
        if self.random.random() < 0.2:
            ops.append({"o": "try", "b": [{"o": "write", "n": self.name("write"), "k": key, "v": 1}], "h": []})
        return ops

    def attribute(self):
        return {"o": "attr", "n": self.name("attr"), "k": f"a{self.unique()}", "v": self.random.randint(0, 99)}

    def engine_value(self):
        return {"o": "made", "kind": self.random.choice(["now", "uuid", "random"]), "n": self.name("made"), "m": f"made{self.unique()}"}

    def patch(self):
        return {"o": "patch", "n": f"patch{self.unique()}"}

    def undoable(self):
        r = self.random
        done = self.step() if r.random() < 0.5 else self.transaction()
        undo = {"o": "comp", "n": f"undo{self.unique()}", "i": self.unique(), "v": r.randint(0, 99), "tx": r.random() < 0.5}
        pick = r.random()
        if pick < 0.15:
            undo.update({"fail": 2, "max": 2, "code": r.choice(CODES)})
        elif pick < 0.35:
            undo.update({"fail": 1, "max": 3, "code": r.choice(CODES)})
        return [done, undo]

    def caught(self):
        handler = [self.step()] if self.random.random() < 0.5 else []
        bad = self.failing_step() if self.random.random() < 0.7 else {"o": "fail", "code": self.random.choice(CODES)}
        before = [self.transaction()] if self.random.random() < 0.3 else []
        if self.random.random() < 0.2:
            before += self.undoable()
        return {"o": "try", "b": before + [bad], "h": handler}

    def unknown_workflow(self):
        which = self.random.choice([
            {"o": "send", "n": self.name("send"), "to": "nobody", "t": "", "m": 1},
            {"o": "getev", "n": self.name("getev"), "of": "nobody", "k": "k"},
        ])
        return {"o": "try", "b": [which], "h": []}

    def race(self):
        r = self.random
        ops = []
        never = lambda: r.choice([
            {"k": "recv", "t": f"t{self.unique()}"}, {"k": "sleep", "ms": FOREVER}, {"k": "event", "of": "self", "key": f"e{self.unique()}"},
        ])
        pick = r.random()
        if pick < 0.35:
            winner = {"k": "sleep", "ms": self.milliseconds()}
        elif pick < 0.65:
            topic = f"t{self.unique()}"
            ops.append({"o": "send", "n": self.name("send"), "to": "self", "t": topic, "m": self.value()})
            winner = {"k": "recv", "t": topic}
        elif pick < 0.8:
            key = f"e{self.unique()}"
            ops.append({"o": "event", "n": self.name("event"), "k": key, "v": self.value()})
            winner = {"k": "event", "of": "self", "key": key}
        else:
            winner = {"k": "step", "i": self.unique(), "v": self.value()}
            if r.random() < 0.25:
                winner["code"] = r.choice(CODES)
        alternatives = [never() for _ in range(r.randint(0, 2))] + [winner] + [never() for _ in range(r.randint(0, 2))]
        race = {"o": "race", "n": self.name("race"), "alts": alternatives}
        ops.append({"o": "try", "b": [race], "h": []} if "code" in winner else race)
        return ops

    # Nested ones.

    def parallel(self, depth):
        r = self.random
        items = [{"id": str(r.choice([i, f"k{i}"])), "p": self.program(depth + 1, in_branch=True)} for i in range(r.randint(2, 5))]
        op = {"o": "par", "n": f"par{self.unique()}" if r.random() < 0.8 else "par", "items": items}
        if r.random() < 0.4:
            op["lim"] = r.randint(1, 3)
        return op

    def both(self, depth):
        return {"o": "both", "n": f"b{self.unique()}", "l": self.program(depth + 1, in_branch=True), "r": self.program(depth + 1, in_branch=True)}

    def loop(self, depth):
        body = []
        for _ in range(self.random.randint(1, 3)):
            body.append(self.random.choice([self.step, self.transaction, self.sleep, self.query, self.engine_value])())
        return {"o": "loop", "k": self.random.randint(2, 4), "b": body}

    def attempted(self, depth):
        body = self.program(depth + 1, in_branch=True)
        if self.random.random() < 0.5:
            body += [self.failing_step()]
        return {"o": "try" if self.random.random() < 0.7 else "swallow", "b": body, "h": [self.step()] if self.random.random() < 0.3 else []}

    # Children. One that waits for its parent is told, and awaited, before anything can fail.

    def start(self, program, **more):
        op = {"o": "start", "n": self.name("start"), "l": f"c{self.unique()}", "p": program}
        if self.random.random() < 0.3:
            op["id"] = True
        op.update(more)
        return op

    def wait_for(self, start):
        await_ = {"o": "await", "n": self.name("await"), "l": start["l"]}
        return {"o": "try", "b": [await_], "h": []} if self.random.random() < 0.8 else await_

    def child(self, depth):
        r = self.random
        start = self.start(self.program(depth + 1, child=True))
        if r.random() < 0.15:
            start["det"] = True
        ops = [start]
        if r.random() < 0.4:
            ops.append(self.step())
        if r.random() < 0.85:
            ops.append(self.wait_for(start))
        return ops

    def several(self, depth):
        starts = [self.start(self.program(depth + 1, child=True)) for _ in range(self.random.randint(2, 4))]
        return starts + [{"o": "all", "n": self.name("all"), "ls": [s["l"] for s in starts]}]

    def held(self):
        """A child's program that ends only once it is told."""
        return [{"o": "recv", "n": self.name("go"), "t": "go"}, self.transaction()]

    def any_of(self, depth):
        r = self.random
        starts = [self.start(self.held()) for _ in range(r.randint(1, 2))]
        winner = self.start([self.step(), self.sleep()] if r.random() < 0.5 else [self.transaction()])
        starts.insert(r.randint(0, len(starts)), winner)
        ops = starts + [{"o": "any", "n": self.name("any"), "ls": [s["l"] for s in starts]}]
        ops += [{"o": "send", "n": self.name("send"), "to": s["l"], "t": "go", "m": self.value()} for s in starts if s is not winner]
        return ops + [{"o": "all", "n": self.name("all"), "ls": [s["l"] for s in starts]}]

    def cancelled_child(self, depth):
        program = []
        for _ in range(self.random.randint(0, 2)):
            program += self.undoable()
        told = self.random.random() < 0.6
        if told:
            program.append({"o": "event", "n": "ready", "k": "ready", "v": 1})
        program.append({"o": "recv", "n": "never", "t": "never"})
        start = self.start(program)
        ops = [start]
        if told:
            ops.append({"o": "getev", "n": self.name("getev"), "of": start["l"], "k": "ready"})
        else:
            start["early"] = True  # it may be cancelled before it has come to its last wait
        ops.append({"o": "cancel", "n": self.name("cancel"), "l": start["l"]})
        ops.append({"o": "try", "b": [{"o": "await", "n": self.name("await"), "l": start["l"]}], "h": []})
        return ops

    def timed_out_child(self, depth):
        start = self.start([{"o": "recv", "n": "never", "t": "never"}], tmo=self.random.choice([30, 100, 200]))
        return [start, {"o": "try", "b": [{"o": "await", "n": self.name("await"), "l": start["l"]}], "h": []}]

    def patient_child(self, depth):
        start = self.start(self.held())
        return [
            start, {"o": "await", "n": self.name("await"), "l": start["l"], "ms": self.milliseconds()},
            {"o": "send", "n": self.name("send"), "to": start["l"], "t": "go", "m": self.value()},
            {"o": "await", "n": self.name("await"), "l": start["l"]},
        ]

    def streaming_child(self, depth):
        r = self.random
        program, key = [], f"out{self.unique()}"
        for _ in range(r.randint(0, 5)):
            program.append({"o": "write", "n": self.name("write"), "k": key, "v": self.value()})
            if r.random() < 0.4:
                program.append(self.sleep())
        if r.random() < 0.5:
            program.append({"o": "close", "n": "close", "k": key})
        start = self.start(program)
        return [start, {"o": "read", "n": f"read{self.unique()}", "of": start["l"], "k": key}, {"o": "await", "n": self.name("await"), "l": start["l"]}]

    def raced_child(self, depth):
        start = self.start([self.step()] if self.random.random() < 0.6 else [self.transaction(), self.failing_step()])
        alternatives = [{"k": "child", "l": start["l"]}, {"k": "recv", "t": f"t{self.unique()}"}]
        self.random.shuffle(alternatives)
        return [start, {"o": "try", "b": [{"o": "race", "n": self.name("race"), "alts": alternatives}], "h": []}]

    def child_that_asks(self, depth):
        """Question and answer between parent and child."""
        rounds = self.random.randint(1, 3)
        topic = f"q{self.unique()}"
        program, ops = [], []
        for _ in range(rounds):
            program += [{"o": "send", "n": "ask", "to": "parent", "t": topic, "m": self.value()}, {"o": "recv", "n": "answer", "t": "answer"}]
        start = self.start(program)
        ops = [start]
        for _ in range(rounds):
            ops += [{"o": "recv", "n": self.name("question"), "t": topic},
                    {"o": "send", "n": self.name("answer"), "to": start["l"], "t": "answer", "m": self.value()}]
        return ops + [{"o": "await", "n": self.name("await"), "l": start["l"]}]


def make_case(seed, index):
    return Generator(seed, index).case()
