import Foundation
import PostgresTestSupport
import Testing

/// Ctrl-C while a command waits for the database.
@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct InterruptTests {
    @Test func theStatementIsCancelled() async throws {
        let database = try TestDatabase.make()
        let session = try database.connect()
        try session.script("BEGIN; LOCK TABLE pawl.workflow")
        let observer = try database.connect()
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

        let process = try TestProcess(
            BuiltProducts.executable("pawl"), ["workflow", "list", "--database", database.connectionString])
        try await eventually("pawl waits for the lock") { try observer.integer(waiting) == 1 }
        process.signal(SIGINT)
        let status = try await process.wait()
        #expect(status == .exited(130))
        #expect(process.output == "interrupted\n")
        #expect(try observer.integer(waiting) == 0)
    }
}
