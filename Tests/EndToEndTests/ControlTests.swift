import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// What people do to workflows, with a real pawld at work on them: what runs again is counted where it ran.
    @Suite struct ControlTests {
        /// How often each body of a workflow ran.
        private func runs(_ bank: Bank, of id: String) throws -> [String: Int] {
            try bank.effects().reduce(into: [:]) { counts, line in
                let words = line.split(separator: " ")
                if words[0] == id { counts[String(words[1]), default: 0] += 1 }
            }
        }

        private func applied(_ bank: Bank, by id: String) throws -> Int {
            try bank.admin.integer("SELECT count(*) FROM bank.applied WHERE transfer = $1", id)
        }

        /// Nothing is on its way any more, to anybody.
        private func expectSettled(_ bank: Bank, _ worker: TestProcess) async throws {
            try await eventually("all ended; \(try bank.summary()); \(worker.output.suffix(2000))", within: .seconds(60)) {
                try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE completed_at IS NULL") == 0
            }
            try await eventually("nothing is left to tell", within: .seconds(30)) {
                try bank.admin.integer(
                    "SELECT (SELECT count(*) FROM pawl.signal) + (SELECT count(*) FROM pawl.waiter) + (SELECT count(*) FROM pawl.cancel_request)") == 0
            }
        }

        // MARK: fork

        /// Ten steps of every sort; each leaves something that can be counted, or seen by others.
        private static let tenSteps = """
            step s1
            step s2 stream=log
            sql s3 SELECT bank.receipt(jsonb_build_object('id', $1::text))
            call set_event s4 {"key": "stage", "value": 4}
            step s5
            call receive s6 {"topic": "go"}
            call start_child s7 {"workflow_name": "script", "input": "step inner", "workflow_id": "%id-child"}
            call set_event s8 {"key": "stage", "value": 8}
            call write_stream s9 {"key": "log", "value": 9}
            step s10
            """

        @Test func aForkRunsWhatComesFromItsStepOnAndNothingElse() async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker()
            try bank.run("origin", Self.tenSteps)
            try bank.admin.execute("SELECT pawl.send_message('origin', '\"went\"', 'go')")
            try await bank.waitForEnd("origin", worker)
            let before = try bank.history("origin")
            for step in 1...10 {
                let id = "fork\(step)"
                try bank.admin.execute("SELECT pawl.fork_workflow('origin', $1, new_workflow_id => $2)", "s\(step)", id)
                if step <= 6 { try bank.admin.execute("SELECT pawl.send_message($1, '\"went\"', 'go')", id) }
            }
            for step in 1...10 {
                let id = "fork\(step)"
                try await bank.waitForEnd(id, worker)
                let bodies = Dictionary(uniqueKeysWithValues: [1, 2, 5, 10].filter { $0 >= step }.map { ("s\($0)", 1) })
                #expect(try runs(bank, of: id) == bodies, "\(id)")
                #expect(try applied(bank, by: id) == (step <= 3 ? 1 : 0), "\(id)")
                // The child of a copied step is the child of the origin.
                let child = step <= 7 ? "\(id)-child" : "origin-child"
                #expect(try bank.history(id) == before.replacing("origin-child", with: "@").replacing("origin", with: id).replacing("@", with: child), "\(id)")
                let seen = try bank.admin.value(
                    """
                    SELECT (SELECT string_agg(value::text, ' ' ORDER BY position) FROM pawl.stream_entries WHERE workflow_id = $1) || ', '
                        || (SELECT string_agg(value::text, ' ' ORDER BY event_key) FROM pawl.events WHERE workflow_id = $1)
                    """, id)
                #expect(seen == "1 9, 4 8", "\(id)")
                #expect(try bank.admin.value("SELECT forked_from FROM pawl.workflows WHERE workflow_id = $1", id) == "origin")
            }
            for step in 1...7 { try await bank.waitForEnd("fork\(step)-child", worker) }
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_id LIKE '%-child'") == 8)
            #expect(try bank.history("origin") == before)
            #expect(try runs(bank, of: "origin") == ["s1": 1, "s2": 1, "s5": 1, "s10": 1])
        }

        @Test func aForkOfARunningWorkflowDisturbsNothing() async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker()
            try bank.run("origin", "step before\ncall set_event stage {\"key\": \"k\", \"value\": 1}\ncall receive wait {}\nstep after")
            try await bank.waitUntilWaiting("origin", worker)
            try bank.admin.script("SELECT pawl.fork_workflow('origin', 'wait', new_workflow_id => 'fork'), pawl.send_message('fork', '2')")
            try await bank.waitForEnd("fork", worker)
            #expect(try bank.output("fork") == "[1, null, 2, 1]")
            #expect(try runs(bank, of: "fork") == ["after": 1])
            #expect(try bank.status("origin") == "running")
            try bank.admin.script("SELECT pawl.send_message('origin', '3')")
            try await bank.waitForEnd("origin", worker)
            #expect(try bank.output("origin") == "[1, null, 3, 1]")
            #expect(try runs(bank, of: "origin") == ["before": 1, "after": 1])
        }

        // MARK: rewind and resume, after each kind of end

        /// Two of each kind: one to be resumed, one to be rewound.
        private static func pair(_ kind: String) -> [String] { ["\(kind)-resumed", "\(kind)-rewound"] }

        /// What is done again: after a resume what had failed and what follows, after a rewind to `second` that too.
        private func expectAgain(_ bank: Bank, _ kind: String, _ worker: TestProcess) async throws {
            for id in Self.pair(kind) {
                try await bank.waitForEnd(id, worker)
                let history = try bank.history(id)
                #expect(try bank.end(id) == "succeeded", "\(history)")
                let runs = try runs(bank, of: id)
                #expect(runs["first"] == 1, "\(id)")
                #expect(runs["second"] == (id.hasSuffix("rewound") ? 2 : 1), "\(id)")
                #expect(runs["last"] == 1, "\(id)")
            }
        }

        private func again(_ bank: Bank, _ kind: String) throws {
            let ids = Self.pair(kind)
            #expect(try bank.admin.value("SELECT pawl.resume_workflow($1, reason => 'mended')", ids[0]) == "t")
            #expect(try bank.admin.value("SELECT pawl.rewind_workflow($1, 'second', reason => 'mended')", ids[1]) == "t")
        }

        @Test(arguments: DurableWaitTests.waiting) func whatEndedGoesOn(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: arguments)
            let waits = "step first\nstep second\ncall receive wait {}\nstep last"

            // Nobody has to fail in order to be done again.
            try bank.run("good", "step first\nstep second\nstep last")
            try await bank.waitForEnd("good", worker)
            #expect(throws: TestSQLError.self) { try bank.admin.execute("SELECT pawl.resume_workflow('good')") }
            #expect(try bank.admin.value("SELECT pawl.rewind_workflow('good', 'second')") == "t")
            try await eventually("good again") {
                try bank.admin.integer("SELECT count(*) FROM pawl.workflow_history WHERE workflow_id = 'good' AND epoch = 2") == 1
            }
            #expect(try runs(bank, of: "good") == ["first": 1, "second": 2, "last": 2])

            // An error, mended outside.
            for id in Self.pair("error") {
                try bank.run(id, "step first\nstep second\nsql pay[retry=1] SELECT $1::text, 1 / (SELECT count(*) FROM bank.applied)\nstep last")
            }
            for id in Self.pair("error") { try await bank.waitForEnd(id, worker) }
            #expect(try Self.pair("error").map { try bank.end($0) } == ["failed error 22012", "failed error 22012"])
            try bank.admin.execute("INSERT INTO bank.applied VALUES ('all', 'mended')")
            try again(bank, "error")
            try await expectAgain(bank, "error", worker)

            // A deadline: it is not set again.
            for id in Self.pair("timeout") { try bank.run(id, waits, timeout: "1 s") }
            for id in Self.pair("timeout") { try await bank.waitForEnd(id, worker) }
            #expect(try Self.pair("timeout").map { try bank.end($0) } == ["failed timeout timeout", "failed timeout timeout"])
            try again(bank, "timeout")

            // A cancellation, asked for, and by a parent.
            for id in Self.pair("request") { try bank.run(id, waits) }
            for id in Self.pair("parent") {
                try bank.run(
                    "\(id)-parent",
                    """
                    call start_child child {"workflow_name": "script", "workflow_id": "\(id)", "input": \(json(waits))}
                    call await_child wait {"workflow_id": "\(id)"}
                    """)
            }
            for id in Self.pair("request") + Self.pair("parent") { try await bank.waitUntilWaiting(id, worker) }
            for id in Self.pair("parent") { try await bank.waitUntilWaiting("\(id)-parent", step: "wait", worker) }
            for id in Self.pair("request") + Self.pair("parent").map({ "\($0)-parent" }) { try bank.admin.execute("SELECT pawl.cancel_workflow($1)", id) }
            for id in Self.pair("request") + Self.pair("parent") { try await bank.waitForEnd(id, worker) }
            #expect(try Self.pair("request").map { try bank.end($0) } == ["cancelled request", "cancelled request"])
            #expect(try Self.pair("parent").map { try bank.end($0) } == ["cancelled parent", "cancelled parent"])
            try again(bank, "request")
            try again(bank, "parent")

            for kind in ["timeout", "request", "parent"] {
                for id in Self.pair(kind) { try bank.admin.execute("SELECT pawl.send_message($1, '1')", id) }
                try await expectAgain(bank, kind, worker)
            }
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.audit WHERE reason = 'mended'") == 8)
            try await expectSettled(bank, worker)
        }

        /// Another kind of step is recorded than the code asks for.
        @Test func whatDidNotFitGoesOnWhenItFits() async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: ["--park-after", "0s"])
            let ids = Self.pair("determinism")
            for id in ids { try bank.run(id, "step first\nstep second\ncall receive wait {}\nstep last") }
            try await eventually("parked") { try bank.count("waiting") == 2 }
            try bank.admin.script("UPDATE pawl.workflow_step SET kind = 'transaction' WHERE step_name = 'second'")
            for id in ids { try bank.admin.execute("SELECT pawl.send_message($1, '1')", id) }
            for id in ids { try await bank.waitForEnd(id, worker) }
            #expect(try ids.map { try bank.end($0) } == ["failed determinism determinism", "failed determinism determinism"])
            try bank.admin.execute("UPDATE pawl.workflow_step s SET kind = 'step' WHERE step_name = 'second'")
            try again(bank, "determinism")
            try await expectAgain(bank, "determinism", worker)
        }

        /// A release cannot read the input, the next one can. There is nothing between to rewind to.
        @Test func whatCouldNotBeReadGoesOnWhenItCan() async throws {
            let strict = try SwiftPluginTests.plugin.get()
            let bank = try Bank(plugins: [strict])
            let worker = try bank.worker()
            try bank.run("w", "step first\nstep last", name: "child")
            try await bank.waitForEnd("w", worker)
            #expect(try bank.history("w") == "w failed bad_input bad_input")
            #expect(performing: { try bank.admin.execute("SELECT pawl.rewind_workflow('w', 'first')") }, throws: { ($0 as? TestSQLError)?.sqlState == "22023" })
            worker.signal(SIGTERM)
            #expect(try await worker.wait() == .exited(0), "\(worker.output)")
            try bank.remove(strict)
            try bank.install(TestPlugin.child.get())
            #expect(try bank.admin.value("SELECT pawl.resume_workflow('w', reason => 'mended')") == "t")
            try await bank.waitForEnd("w", bank.worker("heir"))
            #expect(try bank.end("w") == "succeeded")
            #expect(try runs(bank, of: "w") == ["first": 1, "last": 1])
        }

        @Test func whatCrashedItsWorkersGoesOn() async throws {
            let bank = try Bank.ofScripts()
            try bank.admin.script("ALTER DATABASE \(bank.database.name) SET pawl.max_recoveries = 1")
            let ids = Self.pair("crashes")
            for id in ids { try bank.run(id, "step first\nstep second\nstep bad gate\nstep last") }
            let ended = { try ids.allSatisfy { try bank.status($0) == "failed" } }
            var crashes = 0
            while try !ended() {
                crashes += 1
                try #require(crashes < 20)
                for id in ids { bank.forget("\(id)-bad") }
                let doomed = try bank.worker("doomed \(crashes)")
                try await eventually("at the gate, or given up; \(try bank.summary()); \(doomed.output.suffix(2000))", within: .seconds(30)) {
                    try ended() || ids.contains { FileManager.default.fileExists(atPath: bank.gates.appending(path: "\($0)-bad.reached").path) }
                }
                try doomed.killNow()
            }
            #expect(try ids.map { try bank.end($0) } == ["failed crashes crashes", "failed crashes crashes"])
            for id in ids { try bank.open("\(id)-bad") }
            try again(bank, "crashes")
            try await expectAgain(bank, "crashes", try bank.worker("heir"))
        }

        // MARK: races

        /// A cancellation against what ends a wait. Every other round they come at once; in the others the cancellation comes the later the more it won, and
        /// the earlier the more it lost, so that in time each of them wins.
        private struct Race: CustomStringConvertible {
            private var offset = 0.01
            private var succeeded = 0
            private var cancelled = 0

            /// By how many seconds the cancellation is the later one.
            func offset(in round: Int) -> Double { round.isMultiple(of: 2) ? offset : 0 }

            mutating func note(succeeded: Int, cancelled: Int, in round: Int) {
                self.succeeded += succeeded
                self.cancelled += cancelled
                guard round.isMultiple(of: 2) else { return }
                if succeeded == 0 { offset = min(offset + max(0.005, abs(offset)), 5) }
                if cancelled == 0 { offset -= max(0.005, abs(offset) / 2) }
            }

            var bothHaveWon: Bool { succeeded > 0 && cancelled > 0 }
            var description: String { "succeeded \(succeeded), cancelled \(cancelled), now \(offset) s apart" }
        }

        /// A cancellation and what ends the wait, in both orders and at once: either it ended as cancelled and was undone, or it went on to its end.
        @Test(arguments: DurableWaitTests.waiting) func aCancellationRacesTheEndOfEveryKindOfWait(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(concurrency: 40, arguments: arguments)
            // Without an end of their own: it is time that ends them.
            let ends: [(kind: String, script: String, end: String?)] = [
                ("receive", "call receive wait {}", "pawl.send_message('%id', '1')"),
                ("race", #"call race wait {"of": [{"kind": "receive"}, {"kind": "sleep", "seconds": 3600}]}"#, "pawl.send_message('%id', '1')"),
                ("get_event", #"call get_event wait {"workflow_id": "%id-target", "key": "k"}"#, "pawl.send_message('%id-target', '1')"),
                ("read_stream", #"call read_stream wait {"workflow_id": "%id-target", "key": "log"}"#, "pawl.send_message('%id-target', '1')"),
                ("await_child", #"call await_child wait {"workflow_id": "%id-target"}"#, "pawl.send_message('%id-target', '1')"),
                (
                    "await_children", #"call await_children wait {"workflow_ids": ["never", "%id-target"], "mode": "any"}"#,
                    "pawl.send_message('%id-target', '1')"
                ),
                ("branches", "parallel\ncall receive a {}\ncall receive b {}\nend", "pawl.send_message('%id', '1'), pawl.send_message('%id', '2')"),
                ("sleep", #"call sleep wait {"seconds": 0.5}"#, nil),
                ("back-off", "step wait fail=1 retry=2,500000,500000", nil),
            ]
            let sessions = try ends.map { _ in (ending: try bank.database.connect(), cancelling: try bank.database.connect()) }
            try bank.run("never", "call receive go {}")
            var races = ends.map { _ in Race() }
            for round in 1...40 {
                let entered = ends.indices.filter { round <= 6 || !races[$0].bothHaveWon }
                if entered.isEmpty { break }
                let timed = entered.filter { ends[$0].end == nil }
                let told = entered.filter { ends[$0].end != nil }.shuffled()
                func begin(_ i: Int) throws { try bank.run("\(ends[i].kind)-\(round)", "step before\nundo undo-before\n\(ends[i].script)\nstep after") }
                for i in told {
                    try bank.run(
                        "\(ends[i].kind)-\(round)-target",
                        #"""
                        call receive go {}
                        call set_event event {"key": "k", "value": 1}
                        call write_stream entry {"key": "log", "value": 1}
                        """#)
                    try begin(i)
                }
                for i in told { try await bank.waitUntilWaiting("\(ends[i].kind)-\(round)", worker) }
                for i in timed { try begin(i) }
                // On a slow machine they may be over by now.
                for i in timed {
                    try await eventually("\(ends[i].kind) has begun to wait; \(worker.output.suffix(2000))") {
                        try bank.admin.value("SELECT 1 FROM pawl.workflow_steps WHERE workflow_id = $1 AND step_name = 'wait'", "\(ends[i].kind)-\(round)")
                            != nil
                    }
                }
                for i in timed + told {
                    let id = "\(ends[i].kind)-\(round)"
                    let offset = races[i].offset(in: round)
                    guard let end = ends[i].end else {
                        try sessions[i].cancelling.start(
                            """
                            SELECT pawl.cancel_workflow($1) FROM pawl.workflow_steps s,
                                pg_sleep(coalesce(extract(epoch FROM s.due_at - clock_timestamp())::double precision, 0) + $2::double precision)
                            WHERE s.workflow_id = $1 AND s.step_name = 'wait'
                            """, id, "\(offset)")
                        continue
                    }
                    let isFirst = offset == 0 ? Bool.random() : offset > 0
                    let ending = "SELECT \(end.replacing("%id", with: id)) FROM pg_sleep($1::double precision)"
                    if isFirst { try sessions[i].ending.start(ending, "0") }
                    try sessions[i].cancelling.start("SELECT pawl.cancel_workflow($1) FROM pg_sleep($2::double precision)", id, "\(max(offset, 0))")
                    if !isFirst { try sessions[i].ending.start(ending, "\(-offset)") }
                }
                for i in entered {
                    try sessions[i].cancelling.finish()
                    if ends[i].end != nil { try sessions[i].ending.finish() }
                }
                for i in entered {
                    let id = "\(ends[i].kind)-\(round)"
                    try await bank.waitForEnd(id, worker)
                    let history = try bank.history(id)
                    let end = try bank.end(id) ?? ""
                    races[i].note(succeeded: end == "succeeded" ? 1 : 0, cancelled: end == "cancelled request" ? 1 : 0, in: round)
                    #expect(history.contains("%compensate/undo-before compensation succeeded") == (end == "cancelled request"), "\(history)")
                    #expect(history.contains("after step succeeded") || end == "cancelled request", "\(history)")
                    #expect(["succeeded", "cancelled request"].contains(end), "\(history)")
                    // A message was taken by the step that has it, or is still there.
                    #expect(
                        try bank.admin.integer(
                            """
                            SELECT count(*) FROM pawl.messages m FULL JOIN (SELECT * FROM pawl.workflow_steps WHERE kind IN ('receive', 'race') AND status = 'succeeded'
                                AND workflow_id = $1) s ON s.workflow_key = m.workflow_key AND s.step_name = m.consumed_by
                            WHERE coalesce(m.workflow_id, s.workflow_id) = $1 AND (m.consumed_by IS NULL) <> (s.step_name IS NULL)
                            """, id) == 0, "\(history)")
                }
                try bank.admin.script(
                    """
                    SELECT pawl.cancel_workflows(coalesce(array_agg(workflow_id), '{}')) FROM pawl.workflows
                    WHERE workflow_id LIKE '%-target' AND completed_at IS NULL
                    """)
            }
            try bank.admin.script("SELECT pawl.cancel_workflow('never')")
            try await expectSettled(bank, worker)
            for (i, race) in races.enumerated() { #expect(race.bothHaveWon, "\(ends[i].kind): \(race)") }
        }

        /// Three levels below the root; what the leaves wait for comes while the root is cancelled.
        @Test(arguments: DurableWaitTests.waiting) func theCancellationOfAFamilyRacesItsEnds(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: arguments)
            let other = try bank.database.connect()
            func script(_ level: Int) -> String {
                guard level < 3 else { return "step work\nundo undo-work\ncall receive wait {}" }
                // Each level writes its own id.
                let input = json(script(level + 1).replacing("%", with: "%%"))
                return """
                    step work
                    undo undo-work
                    call start_child a {"workflow_name": "script", "workflow_id": "%id/a", "input": \(input)}
                    call start_child b {"workflow_name": "script", "workflow_id": "%id/b", "input": \(input)}
                    call await_children wait {"workflow_ids": ["%id/a", "%id/b"]}
                    """
            }
            var race = Race()
            for round in 1...20 where round <= 4 || !race.bothHaveWon {
                let root = "root\(round)"
                try bank.run(root, script(0))
                try await eventually("all of them wait; \(try bank.summary()); \(worker.output.suffix(2000))", within: .seconds(30)) {
                    try bank.admin.integer(
                        "SELECT count(*) FROM pawl.workflow_steps WHERE workflow_id LIKE $1 AND step_name = 'wait' AND status = 'waiting'", root + "%") == 15
                }
                let going = """
                    SELECT pawl.send_messages(array_agg(workflow_id ORDER BY random()), '1') FROM pawl.workflows, pg_sleep($1::double precision)
                    WHERE workflow_id LIKE '\(root)/_/_/_'
                    """
                let offset = race.offset(in: round)
                let isFirst = offset == 0 ? round % 4 == 1 : offset > 0
                if isFirst { try other.start(going, "0") }
                try bank.admin.start("SELECT pawl.cancel_workflow($1) FROM pg_sleep($2::double precision)", root, "\(max(offset, 0))")
                if !isFirst { try other.start(going, "\(-offset)") }
                try bank.admin.finish()
                try other.finish()
                try await bank.waitForEnd(root, worker)
                try await expectSettled(bank, worker)
                // Whoever was cancelled undid its work, and below it nobody went on; whoever succeeded had only children that did.
                let wrong = try bank.admin.execute(
                    """
                    SELECT w.workflow_id, w.status, w.status_reason FROM pawl.workflows w LEFT JOIN pawl.workflows p ON p.workflow_key = w.parent_key
                    WHERE w.workflow_id LIKE $1 AND (
                        w.status NOT IN ('succeeded', 'cancelled')
                        OR (w.status = 'cancelled') <> EXISTS (SELECT FROM pawl.workflow_steps s WHERE s.workflow_key = w.workflow_key
                            AND s.step_name = '%compensate/undo-work' AND s.status = 'succeeded')
                        OR w.status = 'cancelled' AND w.status_reason <> CASE WHEN w.parent_key IS NULL THEN 'request' ELSE 'parent' END
                        OR w.status = 'cancelled' AND p.status = 'succeeded')
                    """, root + "%")
                #expect(wrong.rows.isEmpty, "\(wrong.rows)")
                #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_id LIKE $1", root + "%") == 15)
                func leaves(_ status: String) throws -> Int {
                    try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_id LIKE $1 AND status = $2", root + "/_/_/_", status)
                }
                race.note(succeeded: try leaves("succeeded"), cancelled: try leaves("cancelled"), in: round)
            }
            #expect(race.bothHaveWon, "\(race)")
        }

        /// Anything at any time, from three sessions. What is in the audit and what the workflows did must agree: a transaction was applied once, and
        /// once more for each rewind to it, and perhaps for one to what comes before it.
        @Test func nobodyLosesARace() async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: ["--park-after", "20ms"])
            let sessions = try (0..<3).map { _ in try bank.database.connect() }
            let script = """
                step first
                sql pay SELECT bank.receipt(jsonb_build_object('id', $1::text))
                call receive wait {}
                step last
                """
            let ids = (1...8).map { "w\($0)" }
            for id in ids { try bank.run(id, script) }
            var forks = 0
            for _ in 1...250 {
                for session in sessions {
                    let id = ids.randomElement()!
                    switch Int.random(in: 0..<12) {
                    case 0...3: try session.start("SELECT pawl.send_message($1, '1')", id)
                    case 4: try session.start("SELECT pawl.cancel_workflow($1)", id)
                    case 5, 6: try session.start("SELECT pawl.resume_workflow($1)", id)
                    case 7, 8: try session.start("SELECT pawl.rewind_workflow($1, $2)", id, ["first", "pay", "wait", "last"].randomElement()!)
                    case 9:
                        forks += 1
                        try session.start(
                            "SELECT pawl.fork_workflow($1, $2, new_workflow_id => $3)", id, ["pay", "wait"].randomElement()!, "fork\(forks)")
                    case 10: try session.start("SELECT pawl.rewind_workflows($1::text[], 'pay')", "{\(ids.shuffled().prefix(3).joined(separator: ","))}")
                    default: try session.start("SELECT pawl.cancel_workflows($1::text[])", "{\(ids.shuffled().prefix(2).joined(separator: ","))}")
                    }
                }
                for session in sessions {
                    // No such step yet (22023), cannot be resumed (PW011). Nobody waits in a circle.
                    do { try session.finish() } catch let error as TestSQLError where ["22023", "PW011"].contains(error.sqlState) {}
                }
            }
            // Everybody who can go on does, to the end.
            try await eventually("all of them succeeded; \(try bank.summary()); \(worker.output.suffix(2000))", within: .seconds(120)) {
                try bank.admin.execute(
                    """
                    SELECT CASE WHEN status IN ('failed', 'cancelled') THEN pawl.resume_workflow(workflow_id)
                        WHEN completed_at IS NULL AND NOT EXISTS (SELECT FROM pawl.messages m WHERE m.workflow_key = w.workflow_key AND consumed_by IS NULL)
                        THEN pawl.send_message(workflow_id, '1') END FROM pawl.workflows w WHERE status <> 'succeeded'
                    """)
                return try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE status <> 'succeeded'") == 0
            }
            try await expectSettled(bank, worker)
            let wrong = try bank.admin.execute(
                """
                SELECT * FROM (
                    SELECT w.workflow_id, (SELECT count(*) FROM bank.applied a WHERE a.transfer = w.workflow_id) AS applied,
                        (SELECT count(*) FROM pawl.workflow_steps s WHERE s.workflow_key = w.workflow_key AND s.status = 'succeeded') AS steps,
                        (SELECT count(*) FROM pawl.audit a WHERE a.object_name = w.workflow_id AND a.action = 'rewind_workflow'
                            AND a.detail ->> 'from_step' = 'pay') AS to_pay,
                        (SELECT count(*) FROM pawl.audit a WHERE a.object_name = w.workflow_id AND a.action = 'rewind_workflow'
                            AND a.detail ->> 'from_step' = 'first') AS to_first,
                        (SELECT a.detail ->> 'from_step' FROM pawl.audit a WHERE a.action = 'fork_workflow' AND a.detail ->> 'new_workflow_id' = w.workflow_id)
                            AS forked_at
                    FROM pawl.workflows w) x
                WHERE steps <> 4 OR CASE WHEN forked_at = 'wait' THEN applied <> 0 WHEN forked_at = 'pay' THEN applied <> 1
                    ELSE applied NOT BETWEEN 1 + to_pay AND 1 + to_pay + to_first END
                """)
            #expect(wrong.rows.isEmpty, "\(wrong.rows)")
            #expect(
                try bank.admin.integer(
                    """
                    SELECT (SELECT count(*) FROM pawl.workflows WHERE workflow_id LIKE 'fork%')
                        - (SELECT count(*) FROM pawl.audit WHERE action = 'fork_workflow' AND detail ? 'new_workflow_id')
                    """) == 0)
        }
    }
}
