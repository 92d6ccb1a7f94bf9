import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct VersionTests {
        /// What began on version 1 stays there while somebody offers it, and goes on with version 2 when nobody does.
        @Test func workInFlightMovesWhenItsVersionIsGone() async throws {
            let bank = try Bank.ofScripts()
            let first = try bank.worker("first", arguments: ["--park-after", "0s"])
            try bank.run("old", "info\nstep a\ncall receive wait {}\ninfo")
            try bank.run("pinned", "info\ncall receive wait {}", version: 1)
            for id in ["old", "pinned"] { try await bank.waitUntilWaiting(id, first) }

            try bank.install(TestPlugin.script2.get())
            first.signal(SIGHUP)
            try await eventually("both versions; \(first.output)") {
                try bank.admin.value("SELECT string_agg(DISTINCT workflow_version::text, ' ' ORDER BY workflow_version::text) FROM pawl.handlers") == "1 2"
            }
            // What is claimed from now on begins with the higher one; a claim that was on its way may not.
            var probe = 0
            try await eventually("a workflow on version 2; \(first.output)") {
                probe += 1
                try bank.run("probe-\(probe)", "info")
                try await bank.waitForEnd("probe-\(probe)", first)
                return try bank.output("probe-\(probe)")?.contains(#""version": 2"#) == true
            }
            try bank.run("new", "info")
            try bank.run("between", "info\ncall receive wait {}", version: 1)
            try await bank.waitForEnd("new", first)
            #expect(try bank.output("new")?.contains(#""version": 2"#) == true)
            try await bank.waitUntilWaiting("between", first)
            try bank.admin.script("SELECT pawl.send_message('between', '1')")
            try await bank.waitForEnd("between", first)
            #expect(try bank.output("between")?.contains(#""version": 1"#) == true)
            first.signal(SIGTERM)
            #expect(try await first.wait() == .exited(0))

            try bank.remove(TestPlugin.script.get())
            let second = try bank.worker("second")
            try await eventually("only version 2; \(second.output)") {
                try bank.admin.value("SELECT string_agg(DISTINCT workflow_version::text, ' ') FROM pawl.handlers") == "2"
            }
            try bank.admin.script("SELECT pawl.send_messages('{old,pinned}', '1')")
            try await bank.waitForEnd("old", second)
            #expect(try bank.admin.value("SELECT workflow_version FROM pawl.workflows WHERE workflow_id = 'old'") == "2")
            let old = try bank.output("old") ?? ""
            #expect(old.matches(of: /"version": 2/).count == 2 && old.contains("1, 1"), "\(old)")
            // It was pinned by hand: only an operator moves it.
            try bank.run("after", "step a")
            try await bank.waitForEnd("after", second)
            #expect(try bank.admin.value("SELECT completed_at FROM pawl.workflows WHERE workflow_id = 'pinned'") == nil)
            #expect(try bank.admin.integer("SELECT pawl.move_workflows('script', 1, 2)") == 1)
            try await bank.waitForEnd("pinned", second)
        }

        /// A step that another version had as something else is a failure that says so, and can be resumed.
        @Test func aStepOfAnotherKindFailsTheWorkflowByName() async throws {
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(arguments: ["--park-after", "0s"])
            try bank.run("w", "call receive wait {}\nstep a")
            try await bank.waitUntilWaiting("w", worker)
            try await eventually("parked") { try bank.status("w") == "waiting" }
            // As if the handler had been changed.
            try bank.admin.script(#"UPDATE pawl.workflow SET input = to_jsonb(E'step wait\nstep a'::text) WHERE workflow_id = 'w'"#)
            try bank.admin.script("SELECT pawl.send_message('w', '1')")
            try await bank.waitForEnd("w", worker)
            #expect(try bank.end("w") == "failed determinism determinism")
            let message = try bank.admin.value("SELECT error ->> 'message' FROM pawl.workflows WHERE workflow_id = 'w'") ?? ""
            #expect(message.contains("wait") && message.contains("receive") && message.contains("step"), "\(message)")
        }
    }
}
