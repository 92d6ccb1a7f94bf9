import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// A plugin made with the SDK and `pawl plugin build`, in the real daemon on a real server.
    @Suite struct SwiftPluginTests {
        /// Built once for all tests.
        static let plugin: Result<URL, any Error> = Result {
            let directory = FileManager.default.temporaryDirectory.appending(path: "pawl-swift-\(getpid())")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let package = BuiltProducts.checkout.appending(path: "Tests/EndToEndTests/Fixtures/swift").path
            let build = try TestProcess(BuiltProducts.executable("pawl"), ["plugin", "build", package, "--output", directory.path])
            guard try build.waitBlocking(within: .seconds(600)) == .exited(0) else { throw TestFailure(build.output) }
            return directory.appending(path: "Fixture.so")
        }

        private static func bank(_ plugins: [URL] = []) throws -> Bank {
            let bank = try Bank(plugins: [plugin.get()] + plugins)
            try bank.admin.script(
                """
                ALTER DATABASE \(bank.database.name) SET pawl.max_recoveries = 1000;
                CREATE SCHEMA fixture;
                CREATE TABLE fixture.counter (id integer PRIMARY KEY, value bigint NOT NULL);
                INSERT INTO fixture.counter VALUES (1, 0);
                GRANT USAGE ON SCHEMA fixture TO end_to_end_worker;
                GRANT SELECT, UPDATE ON fixture.counter TO end_to_end_worker;
                """)
            return bank
        }

        /// Retries, sleeps, events, streams, children of children with a typed error, messages, a race, branches, recorded values.
        @Test(arguments: [["--park-after", "0s"], []]) func whatLastsComesToTheSameEnd(arguments: [String]) async throws {
            let bank = try Self.bank()
            let points = [
                "before-attempt:2", "after-attempt", "before-perform:5", "after-perform:11", "before-record:3", "after-record:4", "after-perform:17",
                "before-complete:3",
                "after-complete:2",
            ]
            var group = 0
            for point in points + arguments.prefix(1).map({ _ in "after-park:4" }) {
                group += 1
                try bank.admin.execute("SELECT pawl.enqueue_workflow('durable', workflow_id => 'w' || $1)", "\(group)")
                let doomed = try bank.worker("doomed", crashPoint: point, arguments: arguments)
                #expect(try await doomed.wait() == .signalled(SIGKILL), "it should have crashed \(point): \(doomed.output)")
            }
            let heir = try bank.worker("heir", arguments: arguments)
            try await eventually("the end of all; \(try bank.summary()) \(heir.output.suffix(4000))", within: .seconds(120)) {
                try bank.admin.integer("SELECT count(*) FROM pawl.workflow") == 0
            }
            let outputs = try bank.admin.execute(
                "SELECT DISTINCT coalesce(output::text, error::text) AS output FROM pawl.workflows WHERE workflow_name = 'durable'"
            ).column("output")
            #expect(
                outputs == [
                    #"["label of attempt 3", true, "label of attempt 3", 3, [0, 1, 2], "to myself", true, "step", [2, 4, 6], true]"#
                ])
            #expect(
                try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'child' AND status = 'succeeded'") == 3 * group)
            let errors = try bank.admin.execute(
                "SELECT DISTINCT error ->> 'type' AS type, error ->> 'detail' AS detail FROM pawl.workflows WHERE workflow_name = 'failing_child'")
            #expect(errors.rows == [["OutOfStock", #"{"sku": "A-1", "missing": 3}"#]])
        }

        @Test func compensationsAreRunWhateverTheHandlerSwallows() async throws {
            let bank = try Self.bank()
            var group = 0
            // Commits 3 and 4 are those of the compensations.
            for point in [
                "before-commit:2", "after-commit:2", "before-record", "after-record", "before-commit:3", "after-commit:3", "before-commit:4", "after-commit:4",
                "before-complete",
            ] {
                group += 1
                try bank.admin.execute("SELECT pawl.enqueue_workflow('undoing', 'true', workflow_id => 'w' || $1)", "\(group)")
                let doomed = try bank.worker("doomed", crashPoint: point)
                #expect(try await doomed.wait() == .signalled(SIGKILL), "it should have crashed \(point): \(doomed.output)")
            }
            try bank.admin.script("SELECT pawl.enqueue_workflow('undoing', 'false', workflow_id => 'cancelled')")
            let heir = try bank.worker("heir")
            try await bank.waitUntilWaiting("cancelled", heir)
            try bank.admin.script("SELECT pawl.cancel_workflow('cancelled')")
            try await eventually("the end of all; \(try bank.summary()) \(heir.output.suffix(4000))", within: .seconds(60)) {
                try bank.admin.integer("SELECT count(*) FROM pawl.workflow") == 0
            }
            #expect(try bank.end("cancelled") == "cancelled request")
            for id in (1...group).map({ "w\($0)" }) + ["cancelled"] {
                let history = try bank.history(id)
                #expect(id == "cancelled" || history.contains("\(id) failed error"), "\(history)")
                let undone = try bank.admin.value(
                    "SELECT string_agg(step_name, ' ' ORDER BY step_number) FROM pawl.workflow_steps WHERE workflow_id = $1 AND kind = 'compensation' AND status = 'succeeded'",
                    id)
                #expect(undone == "%compensate/undo-second %compensate/undo-first", "\(history)")
                #expect(!history.contains("never step"), "\(history)")
            }
            // Each transaction once, and each that undoes once.
            #expect(try bank.admin.integer("SELECT value FROM fixture.counter") == 2002 * (group + 1))
        }

        @Test func itContinuesAsNew() async throws {
            let bank = try Self.bank()
            try bank.admin.script("SELECT pawl.enqueue_workflow('round', '1', workflow_id => 'w')")
            for point in ["before-continue:2", "after-continue"] {
                let doomed = try bank.worker("doomed", crashPoint: point)
                #expect(try await doomed.wait() == .signalled(SIGKILL), "it should have crashed \(point): \(doomed.output)")
            }
            let heir = try bank.worker("heir")
            try await bank.waitForEnd("w", heir)
            #expect(try bank.history("w") == "w succeeded 5\n    work step succeeded 1 5")
        }

        /// Every thread that the plugin's tasks have is held. The worker lives on, and so does the work of another plugin.
        @Test func aPluginThatHoldsAllItsThreadsDelaysOnlyItself() async throws {
            let bank = try Self.bank([TestPlugin.script.get()])
            let gate = bank.gates.appending(path: "gate").path
            let worker = try bank.worker()
            let threads = ProcessInfo.processInfo.activeProcessorCount
            try bank.admin.execute(
                "SELECT count(pawl.enqueue_workflow('blocking', to_jsonb($1::text), workflow_id => 'b' || i)) FROM generate_series(1, $2::int) i", gate,
                "\(threads + 2)")
            try await eventually("as many block as there are threads; \(worker.output)") {
                try FileManager.default.contentsOfDirectory(atPath: bank.gates.path).filter { $0.hasPrefix("gate.") }.count >= threads
            }
            let from = try bank.admin.value("SELECT heartbeat_at FROM pawl.workers WHERE status = 'running'") ?? ""
            var round = 0
            try await eventually("heartbeats for longer than a lease, with work of the other plugin between them; \(worker.output)", within: .seconds(90)) {
                round += 1
                try bank.run("other-\(round)", "step a\ncall sleep nap {\"seconds\": 0.1}\nsql t SELECT bank.receipt(jsonb_build_object('id', $1::text))")
                try await bank.waitForEnd("other-\(round)", worker)
                return try bank.isAlive(since: from, for: "11 s")
            }
            #expect(try bank.count("succeeded") == round)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'blocking' AND status = 'running'") == threads + 2)
            try Data().write(to: URL(filePath: gate))
            try await bank.waitForEnds(round + threads + 2, of: worker)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE status = 'succeeded' AND recoveries = 0") == round + threads + 2)
        }

        @Test func everythingTheSDKOffersSurvivesCrashes() async throws {
            let directory = try Self.plugin.get().deletingLastPathComponent()

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
