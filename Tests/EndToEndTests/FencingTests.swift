import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct FencingTests {
        /// Stopped past its lease, overtaken, continued: whatever it was about to write is refused.
        @Test(arguments: ["gated_step", "gated_transaction", "gated_finish"])
        func aStoppedWorkerThatComesBackWritesNothing(handler: String) async throws {
            let bank = try Bank()
            try bank.admin.execute(
                "SELECT pawl.enqueue_workflow($1, '{\"id\": \"1\", \"from\": 1, \"to\": 2, \"amount\": 5}', workflow_id => 'w')", handler)
            let stopped = try bank.worker("stopped")
            try await bank.waitUntilReached("w", stopped)
            let owner = try bank.admin.value("SELECT worker_id FROM pawl.workflows WHERE workflow_id = 'w'")
            stopped.signal(SIGSTOP)
            bank.forget("w")

            let heir = try bank.worker("heir")
            try await eventually("taken over; \(heir.output)", within: .seconds(40)) {
                try bank.admin.value("SELECT worker_id FROM pawl.workflows WHERE workflow_id = 'w'") != owner
                    && bank.status("w") == "running"
            }
            try await bank.waitUntilReached("w", heir)
            let stepsBefore = try bank.admin.integer("SELECT count(*) FROM pawl.workflow_steps")

            // Both now go through the gate; only the heir's write may count. The stopped one first, while the heir waits.
            heir.signal(SIGSTOP)
            try bank.open("w")
            stopped.signal(SIGCONT)
            try await eventually("the overtaken worker took a new incarnation; \(stopped.output)", within: .seconds(30)) {
                try bank.admin.integer("SELECT count(*) FROM pawl.workers WHERE worker_name = 'stopped'") == 2
            }
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflow_steps") == stepsBefore)
            #expect(try bank.status("w") == "running")
            #expect(try bank.admin.integer("SELECT count(*) FROM bank.applied") == 0)

            heir.signal(SIGCONT)
            try await bank.waitForEnds(1, of: heir)
            #expect(try bank.status("w") == "succeeded")
            let applications = try bank.admin.integer("SELECT count(*) FROM bank.applied")
            #expect(applications == (handler == "gated_transaction" ? 1 : 0))
        }
    }
}
