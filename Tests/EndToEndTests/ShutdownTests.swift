import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct ShutdownTests {
        @Test func sigtermLetsRunsEndAndClaimsNothingMore() async throws {
            let bank = try Bank()
            try bank.admin.script("SELECT pawl.enqueue_workflow('gated_step', workflow_id => 'running')")
            let worker = try bank.worker()
            try await bank.waitUntilReached("running", worker)
            worker.signal(SIGTERM)
            try await eventually("draining; \(worker.output)") {
                try bank.admin.integer("SELECT count(*) FROM pawl.workers WHERE status = 'draining'") == 1
            }
            try bank.admin.script("SELECT pawl.enqueue_workflow('one_step', workflow_id => 'late')")
            try bank.open("running")
            #expect(try await worker.wait() == .exited(0), "\(worker.output)")
            #expect(try bank.status("running") == "succeeded")
            #expect(try bank.status("late") == "enqueued")
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workers WHERE status = 'stopped'") == 1)
        }

        @Test func whatIsLeftAtTheDeadlineIsHandedBackAndNotCountedAsACrash() async throws {
            let bank = try Bank()
            try bank.admin.script("SELECT pawl.enqueue_workflow('gated_step', workflow_id => 'slow')")
            let worker = try bank.worker(arguments: ["--shutdown-timeout", "1"])
            try await bank.waitUntilReached("slow", worker)
            worker.signal(SIGTERM)
            #expect(try await worker.wait() == .exited(0), "\(worker.output)")
            #expect(try bank.status("slow") == "enqueued")
            #expect(try bank.admin.integer("SELECT recoveries FROM pawl.workflows WHERE workflow_id = 'slow'") == 0)

            try bank.open("slow")
            let next = try bank.worker("next")
            try await bank.waitForEnds(1, of: next)
            #expect(try bank.status("slow") == "succeeded")
        }
    }
}
