import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// Many of one thing; `scripts/scale-test` runs them with as many as a machine takes.
    @Suite struct ScaleTests {
        private static func number(_ variable: String, otherwise: Int) -> Int {
            ProcessInfo.processInfo.environment[variable].flatMap(Int.init) ?? otherwise
        }

        /// Resident memory of a process, in MB.
        private func memory(_ process: TestProcess) throws -> Int {
            let status = try String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)
            guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmRSS:") }), let kilobytes = line.firstMatch(of: /(\d+) kB/) else {
                throw TestFailure("no VmRSS in \(status)")
            }
            return (Int(kilobytes.1) ?? 0) / 1024
        }

        /// Seconds from a workflow's start to its end, of one that starts children and then awaits each, one after the other.
        private func children(_ count: Int, _ bank: Bank, _ worker: TestProcess) async throws -> Double {
            let id = "parent-of-\(count)"
            try bank.run(
                id,
                #"""
                times \#(count)
                call start_child start {"workflow_name": "script", "workflow_id": "%id-%i", "input": "step a"}
                end
                times \#(count)
                call await_child await {"workflow_id": "%id-%i"}
                end
                info
                """#)
            try await eventually(
                "the end of \(id): \(try bank.summary()) \(worker.output.suffix(3000))", within: .seconds(60 + count / 20), every: .milliseconds(50)
            ) {
                try bank.admin.value("SELECT 1 FROM pawl.workflow_history WHERE workflow_id = $1", id) != nil
            }
            #expect(try bank.status(id) == "succeeded")
            let runs = try bank.admin.integer("SELECT (output -> 2 ->> 'attempt')::integer FROM pawl.workflows WHERE workflow_id = $1", id)
            #expect(runs <= 4, "a run and at most three replays")
            #expect(
                try bank.admin.integer("SELECT count(*) FROM pawl.workflow_history WHERE workflow_id LIKE $1 AND status = 'succeeded'", id + "-%") == count)
            let seconds = Double(
                try bank.admin.value("SELECT extract(epoch FROM completed_at - started_at) FROM pawl.workflows WHERE workflow_id = $1", id) ?? "")
            print("\(count) children: \(seconds ?? 0) s, \(runs) runs of their parent, pawld at \(try memory(worker)) MB")
            return try #require(seconds)
        }

        @Test func childrenStartedAndAwaitedOneByOne() async throws {
            let count = Self.number("PAWL_TEST_CHILDREN", otherwise: 400)
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(concurrency: 200)
            let few = try await children(count / 4, bank, worker)
            let before = try memory(worker)
            let many = try await children(count, bank, worker)
            #expect(try memory(worker) - before < 60 + count / 100)
            // Four times as many; the rest is for a machine that does other things too.
            #expect(many < max(10, 4 * few * 2), "\(few) s, then \(many) s")
        }

        @Test func parkedWorkflowsAreRowsAndAllWakeAtOnce() async throws {
            let count = Self.number("PAWL_TEST_PARKED", otherwise: 2_000)
            let bank = try Bank.ofScripts()
            let worker = try bank.worker(concurrency: 200, arguments: ["--park-after", "0s", "--resident-limit", "100"])
            func park(_ range: ClosedRange<Int>) async throws {
                try bank.admin.execute(
                    """
                    SELECT count(*) FROM pawl.enqueue_workflows('script', (SELECT array_agg('"call receive wait {}"'::jsonb) FROM generate_series($1::int, $2::int)),
                        (SELECT array_agg('w' || i) FROM generate_series($1::int, $2::int) i))
                    """, "\(range.lowerBound)", "\(range.upperBound)")
                try await eventually("\(range) parked; \(try bank.summary())", within: .seconds(60 + count / 200), every: .milliseconds(100)) {
                    try bank.count("waiting") == range.upperBound
                }
            }
            try await park(1...count / 10)
            let before = try memory(worker)
            try await park(count / 10 + 1...count)
            let parked = try memory(worker)
            #expect(parked - before < 40, "\(before) MB with a tenth of them, then \(parked) MB")
            let sent = ContinuousClock.now
            #expect(try bank.admin.integer("SELECT pawl.send_messages((SELECT array_agg(workflow_id) FROM pawl.workflows), '\"now\"')") == count)
            try await eventually("all awake; \(try bank.summary()) \(worker.output.suffix(3000))", within: .seconds(60 + count / 200), every: .milliseconds(50))
            {
                try bank.admin.integer("SELECT count(*) FROM pawl.workflow") == 0
            }
            print(
                "\(count) parked workflows: woken and ended \(ContinuousClock.now - sent) after their messages; pawld at \(before) MB with a tenth of them, \(parked) MB with all, \(try memory(worker)) MB after"
            )
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE status = 'succeeded' AND output = '[\"now\"]'") == count)
        }
    }
}
