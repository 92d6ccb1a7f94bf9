import Foundation
import PostgresTestSupport
import Testing

/// `pawl workflow export`, on a real server.
@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct WorkflowExportTests {
    let database: TestDatabase
    init() throws {
        database = try TestDatabase.make()
        try database.connect().script("SELECT pawl.enqueue_workflow('ship', '{\"order\": 1}', workflow_id => 'order-1')")
    }

    private func history(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func aHistoryIsWrittenToStandardOutput() throws {
        let run = try PluginCommandTests.pawl("workflow", "export", "order-1", "--database", database.connectionString)
        #expect(run.status == 0, "\(run.errors)")
        let history = try history(run.output)
        #expect(history["workflow_name"] as? String == "ship")
        #expect(history["input"] as? [String: Int] == ["order": 1])
        #expect(history["status"] as? String == "enqueued")
        #expect((history["steps"] as? [Any])?.isEmpty == true)
    }

    @Test func aHistoryIsWrittenToAFile() throws {
        let directory = try PluginCommandTests.temporaryDirectory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appending(path: "order-1.json").path
        let run = try PluginCommandTests.pawl("workflow", "export", "order-1", "--database", database.connectionString, "--output", file)
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.output.isEmpty)
        #expect(try history(String(contentsOfFile: file, encoding: .utf8))["workflow_id"] as? String == "order-1")
        let nowhere = try PluginCommandTests.pawl(
            "workflow", "export", "order-1", "--database", database.connectionString, "--output", directory.path + "/none/x")
        #expect(nowhere.status == 1)
        #expect(nowhere.errors.contains("cannot write \(directory.path)/none/x"))
    }

    @Test func whatCannotBeExportedIsSaid() throws {
        let unknown = try PluginCommandTests.pawl("workflow", "export", "order-2", "--database", database.connectionString)
        #expect(unknown.status == 1)
        #expect(unknown.errors.contains("order-2"), "\(unknown.errors)")
        let session = try database.connect()
        let role = "reader_" + database.name
        try session.script("CREATE ROLE \(role) LOGIN; SELECT pawl.grant_access('\(role)', 'observe')")
        let denied = try PluginCommandTests.pawl("workflow", "export", "order-1", "--database", database.connectionString(user: role))
        #expect(denied.status == 1)
        #expect(denied.errors.contains("SELECT pawl.grant_access('the_role', 'inspect')"), "\(denied.errors)")
        try session.script("SELECT pawl.grant_access('\(role)', 'inspect')")
        #expect(try PluginCommandTests.pawl("workflow", "export", "order-1", "--database", database.connectionString(user: role)).status == 0)
        try session.script(
            "SELECT pawl.revoke_access('\(role)', 'observe'); SELECT pawl.revoke_access('\(role)', 'inspect'); DROP OWNED BY \(role); DROP ROLE \(role)")

        let bare = try TestDatabase.make(extension: false)
        let missing = try PluginCommandTests.pawl("workflow", "export", "order-1", "--database", bare.connectionString)
        #expect(missing.status == 1)
        #expect(missing.errors.contains("CREATE EXTENSION pawl"), "\(missing.errors)")
        let away = try PluginCommandTests.pawl("workflow", "export", "order-1", "--database", "host=/nowhere dbname=x")
        #expect(away.status == 1)
        #expect(away.errors.contains("/nowhere"), "\(away.errors)")
    }

    @Test func withoutADatabaseOrAnIDItSaysWhatToGive() throws {
        let nowhere = try PluginCommandTests.pawl("workflow", "export", "order-1", environment: ["PAWL_DATABASE": "", "PGHOST": "", "PGDATABASE": ""])
        #expect(nowhere.status == 1)
        #expect(nowhere.errors.contains("no database is named"), "\(nowhere.errors)")
        let nothing = try PluginCommandTests.pawl("workflow", "export")
        #expect(nothing.status == 64)
        #expect(nothing.errors.contains("<workflow-id>"), "\(nothing.errors)")
    }
}
