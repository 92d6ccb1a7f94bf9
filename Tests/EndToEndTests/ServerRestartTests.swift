import Foundation
import PostgresTestSupport
import Testing

/// Restarts the server, under which every other test's sessions die: run alone, as `scripts/test` does.
@Suite(
    .serialized, .enabled(if: TestCluster.isAvailable, TestCluster.comment),
    .enabled(if: ProcessInfo.processInfo.environment["PAWL_TEST_RESTARTS"] == "1", "restarts the server: set PAWL_TEST_RESTARTS=1 and run it alone"))
struct ServerRestartTests {
    @Test func anImmediateRestartUnderLoadLosesAndRepeatsNothing() async throws {
        let bank = try Bank()
        try bank.admin.script("ALTER DATABASE \(bank.database.name) SET pawl.max_recoveries = 1000")
        let transfers = 2_000
        try bank.enqueueTransfers(transfers)
        let workers = [try bank.worker("one"), try bank.worker("two")]
        for restart in 1...3 {
            let admin = try bank.database.connect()
            let goal = transfers * restart / 5
            try await eventually("progress past \(goal); \(workers[0].output)", within: .seconds(60)) {
                try admin.integer("SELECT count(*) FROM bank.applied WHERE what = 'receipt'") >= goal
            }
            try bank.cluster.restart(.immediate)
        }
        try bank.reconnect()
        try await bank.waitForEnds(transfers, within: .seconds(120), of: workers[0])
        try bank.audit(transfers: transfers)
        #expect(workers.filter(\.isRunning).count == 2, "both reconnect by themselves: \(workers.map(\.output))")
    }
}
