import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// What a Swift handler can wait for, say, start, race and undo, in the real daemon on a real server, with crashes in between.
    @Suite struct DurableSwiftTests {
        @Test func durableCallsOfTheSDKSurviveCrashes() async throws {
            let directory = FileManager.default.temporaryDirectory.appending(path: "pawl-durable-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: directory) }
            let package = BuiltProducts.checkout.appending(path: "Tests/EndToEndTests/Fixtures/swift").path
            let build = try TestProcess(BuiltProducts.executable("pawl"), ["plugin", "build", package, "--output", directory.path])
            #expect(try await build.wait(within: .seconds(600)) == .exited(0), "\(build.output)")

            let database = try TestDatabase.make()
            let admin = try database.connect()
            try admin.script(
                """
                DO $$ BEGIN
                    PERFORM pg_advisory_xact_lock(hashtext('pawl end-to-end roles'));
                    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'end_to_end_worker') THEN
                        CREATE ROLE end_to_end_worker LOGIN;
                    END IF;
                END $$;
                SELECT pawl.grant_access('end_to_end_worker', 'work');
                SELECT count(pawl.enqueue_workflow('durable', to_jsonb(i), workflow_id => 'durable-' || i)) FROM generate_series(1, 10) i;
                SELECT pawl.enqueue_workflow('durable_undo', 'false', workflow_id => 'fails');
                SELECT pawl.enqueue_workflow('durable_undo', 'true', workflow_id => 'cancelled');
                SELECT pawl.enqueue_workflow('durable_again', '3', workflow_id => 'again');
                SELECT pawl.enqueue_workflow('durable_timeout', workflow_id => 'slow');
                """)
            func worker(_ name: String, environment: [String: String] = [:]) throws -> TestProcess {
                try TestProcess(
                    BuiltProducts.executable("pawld"),
                    [
                        "--database", database.connectionString(user: "end_to_end_worker"), "--plugin-directory", directory.path,
                        "--concurrency", "20", "--name", name,
                    ], environment: environment)
            }
            for point in ["before-record:7", "after-record:20", "before-record:45"] {
                let doomed = try worker("doomed", environment: ["PAWL_TEST_CRASH_POINT": point])
                #expect(try await doomed.wait() == .signalled(SIGKILL), "it should have crashed \(point): \(doomed.output)")
            }
            let heir = try worker("heir")
            try await eventually("all but the one that waits; \(heir.output)", within: .seconds(120)) {
                try admin.integer("SELECT count(*) FROM pawl.workflow") == 1
                    && admin.integer("SELECT count(*) FROM pawl.workflow_steps WHERE kind = 'receive' AND status = 'waiting'") == 1
            }
            #expect(try admin.value("SELECT pawl.cancel_workflow('cancelled', 'a test')::text") == "true")
            try await eventually("the end of all", within: .seconds(60)) { try admin.integer("SELECT count(*) FROM pawl.workflow") == 0 }

            #expect(
                try admin.value(
                    """
                    SELECT string_agg(DISTINCT status || ' ' || coalesce(output::text, error::text), '; ') FROM pawl.workflows
                    WHERE workflow_name = 'durable'
                    """) == "succeeded [3, 10, 20, 30, 3, 3, 7, -1, 2, 4, 6]")
            #expect(
                try admin.value(
                    "SELECT string_agg(DISTINCT attributes::text, ' ' ORDER BY attributes::text) FROM pawl.workflows WHERE workflow_id = 'durable-7'")
                    == #"{"number": 7}"#)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'durable_child'") == 40)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflows WHERE recoveries > 0") > 0)

            for (workflow, end) in [("fails", "failed error"), ("cancelled", "cancelled request")] {
                #expect(
                    try admin.value("SELECT status || ' ' || status_reason FROM pawl.workflows WHERE workflow_id = '\(workflow)'") == end)
                // The last first; the one that fails twice is recorded, and the next one still runs.
                #expect(
                    try admin.value(
                        """
                        SELECT string_agg(concat_ws(' ', step_name, status, attempts), ', ' ORDER BY step_number) FROM pawl.workflow_steps
                        WHERE workflow_id = '\(workflow)' AND kind = 'compensation' AND step_name LIKE '%undo%'
                        """) == "%compensate/undo_second failed 2, %compensate/undo_first succeeded 1")
            }
            #expect(try admin.value("SELECT output::text FROM pawl.workflows WHERE workflow_id = 'again'") == #""done""#)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_steps WHERE workflow_id = 'again'") == 1)
            #expect(try admin.value("SELECT error ->> 'code' FROM pawl.workflows WHERE workflow_id = 'slow'") == "timeout")
        }
    }
}
