import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// What ends a wait from outside: cancellation, a deadline, a restart.
    @Suite struct DurableWaitTests {
        /// Waits in memory, and parked ones.
        static let waiting: [[String]] = [["--park-after", "0s"], []]

        /// A workflow in each kind of wait there is, and one that waits in no database: in the body of a step.
        static let waits: [(id: String, script: String)] = [
            ("sleep", #"call sleep wait {"seconds": 3600}"#), ("receive", "call receive wait {}"),
            ("get_event", #"call get_event wait {"workflow_id": "target", "key": "none"}"#),
            ("read_stream", #"call read_stream wait {"workflow_id": "target", "key": "none"}"#),
            ("await_child", #"call await_child wait {"workflow_id": "target"}"#),
            ("await_children", #"call await_children wait {"workflow_ids": ["target", "target"], "mode": "any"}"#),
            ("race", #"call race wait {"of": [{"kind": "receive"}, {"kind": "sleep", "seconds": 3600}]}"#),
            ("back-off", "step wait fail=9 retry=5,1000000000000,1000000000000"),
            ("branches", "parallel\ncall receive a {}\ncall receive b {}\nend"),
        ]

        private func runAll(_ bank: Bank, _ worker: TestProcess, timeout: String? = nil) async throws {
            try bank.run("target", "call receive wait {}")
            try await bank.waitUntilWaiting("target", worker)
            for wait in Self.waits { try bank.run(wait.id, "step before\nundo undo-before\n\(wait.script)\nstep after", timeout: timeout) }
        }

        private func expectUndone(_ bank: Bank, _ end: String, _ worker: TestProcess) async throws {
            for wait in Self.waits {
                try await bank.waitForEnd(wait.id, worker)
                let history = try bank.history(wait.id)
                #expect(try bank.end(wait.id) == end, "\(history)")
                #expect(history.contains("%compensate/undo-before compensation succeeded 1 1"), "\(history)")
                #expect(!history.contains("after step"), "\(history)")
            }
        }

        @Test(arguments: waiting) func aCancellationEndsEveryKindOfWaitAtOnce(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: arguments)
            try await runAll(bank, worker)
            try bank.run("body", "step before\nundo undo-before\nstep wait slow\nstep after")
            for wait in Self.waits { try await bank.waitUntilWaiting(wait.id, worker) }
            try await eventually("the body runs; \(worker.output)") { try bank.effects().contains("body wait 1") }
            if !arguments.isEmpty {
                try await eventually("parked; \(try bank.summary())") { try bank.count("waiting") == Self.waits.count + 1 }
            }
            #expect(
                try bank.admin.integer(
                    "SELECT count(*) FROM pawl.cancel_workflows((SELECT array_agg(workflow_id) FROM pawl.workflows WHERE workflow_id <> 'target'))")
                    == Self.waits.count + 1)
            try await expectUndone(bank, "cancelled request", worker)
            try await bank.waitForEnd("body", worker)
            #expect(try bank.end("body") == "cancelled request")
            // What the body came to is discarded.
            #expect(!(try bank.history("body").contains("wait step")))
            #expect(try bank.status("target") != "cancelled")
        }

        @Test(arguments: waiting) func aDeadlineEndsEveryKindOfWait(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: arguments)
            try await runAll(bank, worker, timeout: "2 s")
            try await expectUndone(bank, "failed timeout timeout", worker)
        }

        /// What is left of a day's sleep, and of a day's deadline, is what the database says, not what the run began with.
        @Test(arguments: waiting) func arestartWaitsOnlyTheRest(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            try bank.run("sleeping", #"call sleep day {"seconds": 86400}"#)
            try bank.run("receiving", #"call receive day {"timeout": 86400}"#)
            try bank.run("backing-off", "step day fail=1 retry=2,86400000000,86400000000")
            try bank.run("limited", "call receive day {}", timeout: "1 day")
            try bank.run("body", "step before gate", timeout: "1 day")
            let first = try bank.worker("first", arguments: arguments)
            for id in ["sleeping", "receiving", "backing-off", "limited"] { try await bank.waitUntilWaiting(id, first) }
            try await bank.waitUntilReached("body-before", first)
            try first.killNow()
            let kept = try bank.admin.integer(
                "SELECT count(*) FROM pawl.workflow_step WHERE step_name = 'day' AND due_at BETWEEN now() AND now() + interval '1 day'")
            #expect(kept == 3)
            // A day later, as far as anybody can see.
            try bank.admin.script(
                """
                UPDATE pawl.workflow_step SET due_at = due_at - interval '1 day' WHERE due_at IS NOT NULL;
                UPDATE pawl.workflow SET deadline_at = deadline_at - interval '1 day' WHERE deadline_at IS NOT NULL;
                UPDATE pawl.workflow SET due_at = due_at - interval '1 day' WHERE due_at IS NOT NULL;
                """)
            try bank.open("body-before")
            let second = try bank.worker("second", arguments: arguments)
            for id in ["sleeping", "receiving", "backing-off", "limited", "body"] { try await bank.waitForEnd(id, second) }
            #expect(try bank.output("sleeping") == "[null]")
            #expect(try bank.output("receiving") == #"["none"]"#)
            #expect(try bank.output("backing-off") == "[2]")
            #expect(try bank.end("limited") == "failed timeout timeout")
            #expect(try bank.end("body") == "failed timeout timeout")
        }

        /// A stop parks what waits, at once, and what is parked is nobody's crash.
        @Test func aStopParksWhatWaits() async throws {
            let bank = try Bank.ofScripts()
            let first = try bank.worker("first", arguments: ["--park-after", "1min"])
            try await runAll(bank, first)
            for wait in Self.waits { try await bank.waitUntilWaiting(wait.id, first) }
            first.signal(SIGTERM)
            #expect(try await first.wait() == .exited(0), "\(first.output)")
            #expect(try bank.count("waiting") == Self.waits.count + 1)
            #expect(try bank.admin.integer("SELECT sum(recoveries) FROM pawl.workflows") == 0)
            try bank.admin.script("SELECT pawl.send_messages('{receive,target,race}', '1')")
            let second = try bank.worker("second")
            for id in ["receive", "target", "race", "await_child", "await_children", "get_event", "read_stream"] { try await bank.waitForEnd(id, second) }
            #expect(try bank.output("receive") == "[1, 1, 1]")
        }

        /// User code that goes on after every refusal, and ends as if all had been well.
        @Test(arguments: ["cancel", "stop", "park", "fence"]) func nothingIsRecordedForAHandlerThatSwallowsEverything(how: String) async throws {
            let bank = try Bank.ofScripts()
            let stubborn = """
                swallow
                step before
                undo undo-before
                WAIT
                step after
                sql money SELECT bank.receipt(jsonb_build_object('id', $1::text))
                call send message {"workflow_id": "target", "message": 1}
                call set_event event {"key": "k", "value": 1}
                call start_child child {"workflow_name": "script", "workflow_id": "%id-child"}
                emit stream {"key": "s", "value": 1}
                query look SELECT 1
                call now now {}
                continue "step again"
                """
            try bank.run("target", "call receive wait {}")
            let first = try bank.worker("first", arguments: ["--park-after", how == "park" ? "0s" : "1min", "--shutdown-timeout", "500ms"])
            try await bank.waitUntilWaiting("target", first)
            var waits = Self.waits.filter { $0.id != "branches" }
            waits.append(("body", "step wait slow"))
            // A body that runs is not parked.
            if how == "park" { waits.removeAll { ["body"].contains($0.id) } }
            for wait in waits { try bank.run(wait.id, stubborn.replacing("WAIT", with: wait.script)) }
            for wait in waits where wait.id != "body" { try await bank.waitUntilWaiting(wait.id, step: "wait", first) }
            if how != "park" {
                try await eventually("the body runs; \(first.output)") { try bank.effects().contains("body wait 1") }
            }
            var heir: TestProcess?
            switch how {
            case "cancel":
                try bank.admin.script("SELECT pawl.cancel_workflows((SELECT array_agg(workflow_id) FROM pawl.workflows WHERE workflow_id <> 'target'))")
                for wait in waits {
                    try await bank.waitForEnd(wait.id, first)
                    #expect(try bank.end(wait.id) == "cancelled request")
                }
            case "stop":
                first.signal(SIGTERM)
                #expect(try await first.wait() == .exited(0), "\(first.output)")
                #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE completed_at IS NOT NULL") == 0)
            case "park":
                try await eventually("parked; \(try bank.summary())") { try bank.count("waiting") == waits.count + 1 }
            default:
                // Overtaken while it stands still; when it comes to itself it learns that it owns nothing.
                first.signal(SIGSTOP)
                let second = try bank.worker("second", arguments: ["--park-after", "0s"])
                heir = second
                try await eventually("overtaken and parked; \(try bank.summary()) \(second.output)", within: .seconds(60)) {
                    try bank.count("waiting") == waits.count && bank.effects().filter { $0 == "body wait 1" }.count == 2
                }
                first.signal(SIGCONT)
                try await eventually("a new incarnation; \(first.output)", within: .seconds(30)) {
                    try bank.admin.integer("SELECT count(*) FROM pawl.workers WHERE worker_name = 'first'") == 2
                }
            }
            for wait in waits {
                let history = try bank.history(wait.id)
                for step in ["after step", "money ", "message ", "event ", "child ", "look ", "now ", "again "] {
                    #expect(!history.contains("\n    \(step)"), "\(how): \(history)")
                }
            }
            #expect(try bank.admin.integer("SELECT count(*) FROM bank.applied") == 0)
            #expect(try bank.admin.integer("SELECT (SELECT count(*) FROM pawl.message) + (SELECT count(*) FROM pawl.stream_entry)") == 0)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_id LIKE '%-child'") == 0)
            #expect(!(try bank.effects().contains { $0.contains(" after ") }))
            withExtendedLifetime(heir) {}
        }
    }
}
