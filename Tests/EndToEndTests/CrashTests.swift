import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct CrashTests {
        /// The points that pawld knows in debug builds; `:n` crashes at the n-th time.
        static let points = [
            "after-claim", "before-record", "after-record", "before-commit", "after-commit", "before-complete", "after-complete",
        ]

        @Test(arguments: points, [1, 7])
        func killedAtAPointNothingIsLostOrDoneTwice(point: String, time: Int) async throws {
            let bank = try Bank()
            try bank.enqueueTransfers(40)
            let doomed = try bank.worker("doomed", concurrency: 5, crashPoint: "\(point):\(time)")
            #expect(try await doomed.wait() == .signalled(SIGKILL), "it should have crashed \(point): \(doomed.output)")

            let heir = try bank.worker("heir")
            try await bank.waitForEnds(40, of: heir)
            try bank.audit(transfers: 40)
        }

        @Test func aWorkerKilledAtRandomManyTimesNeitherLosesNorRepeatsATransfer() async throws {
            let environment = ProcessInfo.processInfo.environment
            let kills = environment["PAWL_TEST_KILLS"].flatMap(Int.init) ?? 5
            let transfers = environment["PAWL_TEST_TRANSFERS"].flatMap(Int.init) ?? 300
            let seed = environment["PAWL_TEST_SEED"].flatMap(UInt64.init) ?? UInt64.random(in: 0..<1_000_000)
            var random = SplitMix(state: seed)
            let bank = try Bank()
            // A transfer that happens to be there at three kills in a row is not a poison.
            try bank.admin.script("ALTER DATABASE \(bank.database.name) SET pawl.max_recoveries = 1000")
            var enqueued = 0
            for kill in 0..<kills {
                // Spread over the kills, so that each has work to interrupt.
                let share = transfers * (kill + 1) / kills - enqueued
                if share > 0 {
                    try bank.enqueueTransfers(share, from: enqueued + 1)
                    enqueued += share
                }
                let before = try bank.admin.integer("SELECT count(*) FROM bank.applied")
                let goal = before + Int.random(in: 1...max(1, share), using: &random)
                let worker = try bank.worker("victim-\(kill)", concurrency: Int.random(in: 1...50, using: &random))
                // Dies in the midst of it: after some more applications, wherever it is then.
                try await eventually("progress past \(goal) (seed \(seed)); \(worker.output)", every: .milliseconds(1)) {
                    let progress = try bank.admin.execute(
                        "SELECT count(*) AS applied, (SELECT count(*) FROM pawl.workflow) AS left FROM bank.applied")
                    return Int(progress.rows[0][0]!)! >= goal || progress.rows[0][1] == "0"
                }
                try worker.killNow()
            }
            let last = try bank.worker("last")
            try await bank.waitForEnds(transfers, within: .seconds(120), of: last)
            try bank.audit(transfers: transfers)
        }

        @Test func aWorkflowThatKillsItsWorkerAgainAndAgainFailsAndTheRestGoOn() async throws {
            let bank = try Bank()
            try bank.admin.script("SELECT pawl.enqueue_workflow('poison', workflow_id => 'poison')")
            var crashes = 0
            while try bank.status("poison") != "failed" {
                let worker = try bank.worker("victim-\(crashes)")
                try await eventually("its death, or the end of the poison; \(worker.output)", within: .seconds(30)) {
                    try !worker.isRunning || bank.status("poison") == "failed"
                }
                if worker.isRunning { break }
                crashes += 1
                try #require(crashes <= 6)
            }
            // Two in company, and three alone.
            #expect(crashes == 5)
            let row = try bank.admin.execute(
                "SELECT status, status_reason, recoveries, error->>'code' AS code, error->>'message' AS message FROM pawl.workflows WHERE workflow_id = 'poison'"
            )
            #expect(try row.column("status") == ["failed"])
            #expect(try row.column("status_reason") == ["crashes"])
            try bank.enqueueTransfers(5)
            let worker = try bank.worker("after")
            try await bank.waitForEnds(6, of: worker)
            try bank.audit(transfers: 5)
        }

        @Test func anotherWorkerTakesOverWithinSeconds() async throws {
            let bank = try Bank()
            for id in 1...10 { try bank.admin.script("SELECT pawl.enqueue_workflow('gated_finish', workflow_id => 'gated-\(id)')") }
            let first = try bank.worker("first")
            for id in 1...10 { try await bank.waitUntilReached("gated-\(id)", first) }
            let second = try bank.worker("second")
            try await eventually("both at work; \(second.output)") {
                try bank.admin.integer("SELECT count(*) FROM pawl.workers WHERE status = 'running'") == 2
            }
            for id in 1...10 { bank.forget("gated-\(id)") }
            let killed = ContinuousClock.now
            try first.killNow()
            for id in 1...10 { try await bank.waitUntilReached("gated-\(id)", second) }
            print("ten workflows of a killed worker run elsewhere after \(ContinuousClock.now - killed)")
            for id in 1...10 { try bank.open("gated-\(id)") }
            try await bank.waitForEnds(10, of: second)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE recoveries = 1 AND status = 'succeeded'") == 10)
        }

        @Test func twoWorkersShareTheWork() async throws {
            let bank = try Bank()
            let workers = [try bank.worker("one", concurrency: 4), try bank.worker("two", concurrency: 4)]
            try await eventually("both there; \(workers.map(\.output))") {
                try bank.admin.integer("SELECT count(*) FROM pawl.workers WHERE status = 'running'") == 2
            }
            try bank.enqueueTransfers(500)
            try await bank.waitForEnds(500, of: workers[0])
            try bank.audit(transfers: 500)
            #expect(try bank.admin.integer("SELECT count(DISTINCT worker_id) FROM pawl.workflows") == 2)
        }
    }
}

/// Repeatable from its seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
