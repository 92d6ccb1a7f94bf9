import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// A plugin made with the SDK and `pawl plugin build`, in the real daemon on a real server.
    @Suite struct SwiftPluginTests {
        @Test func everythingTheSDKOffersSurvivesCrashes() async throws {
            let directory = FileManager.default.temporaryDirectory.appending(path: "pawl-swift-\(UUID().uuidString)")
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
                CREATE SCHEMA fixture;
                CREATE TABLE fixture.counter (id integer PRIMARY KEY, value bigint NOT NULL);
                INSERT INTO fixture.counter SELECT i, 0 FROM generate_series(1, 5) i;
                CREATE TABLE fixture.contended (value bigint NOT NULL);
                INSERT INTO fixture.contended VALUES (0);
                GRANT USAGE ON SCHEMA fixture TO end_to_end_worker;
                GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA fixture TO end_to_end_worker;
                SELECT count(pawl.enqueue_workflow('everything')) FROM generate_series(1, 40);
                """)
            func worker(_ name: String, environment: [String: String] = [:]) throws -> TestProcess {
                try TestProcess(
                    BuiltProducts.executable("pawld"),
                    [
                        "--database", database.connectionString(user: "end_to_end_worker"), "--plugin-directory", directory.path,
                        "--concurrency", "20", "--name", name,
                    ], environment: environment)
            }

            for point in ["before-record:7", "after-record:20", "after-commit:60"] {
                let doomed = try worker("doomed", environment: ["PAWL_TEST_CRASH_POINT": point])
                #expect(try await doomed.wait() == .signalled(SIGKILL), "it should have crashed \(point): \(doomed.output)")
            }
            let heir = try worker("heir")
            try await eventually("the end of all; \(heir.output)", within: .seconds(120)) {
                try admin.integer("SELECT count(*) FROM pawl.workflow") == 0
            }

            #expect(try admin.value("SELECT string_agg(DISTINCT status || coalesce(error::text, ''), ' ') FROM pawl.workflows") == "succeeded")
            #expect(try admin.value("SELECT string_agg(DISTINCT output::text, ' ') FROM pawl.workflows") == "[9, 12, 15, 18, 21]")
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflows WHERE recoveries > 0") > 0)
            #expect(try admin.value("SELECT string_agg(DISTINCT value::text, ' ') FROM fixture.counter") == "40")
            #expect(try admin.integer("SELECT value FROM fixture.contended") == 40)
            // now, id, round_trip, 5 × (values, count), contended; and the recorded violation.
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_steps WHERE status = 'succeeded'") == 40 * 14)
            #expect(
                try admin.value("SELECT string_agg(DISTINCT error ->> 'code', ' ') FROM pawl.workflow_steps WHERE status = 'failed'") == "23505")
        }
    }
}
