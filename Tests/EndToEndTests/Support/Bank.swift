import Foundation
import PostgresTestSupport

/// A database with accounts, the handlers of a plugin (`Fixtures/bank.c` unless told otherwise), and workers on them.
///
/// Every transfer moves money by transactional steps; `bank.applied` counts each application, so that a second one shows.
final class Bank {
    static let accounts = 10
    static let openingBalance = 1_000

    let database: TestDatabase
    private(set) var admin: TestConnection
    let plugins: URL
    let gates: URL
    private let directory: URL

    /// - Parameter plugins: what its workers load.
    init(plugins built: [URL]? = nil) throws {
        database = try TestDatabase.make()
        admin = try database.connect()
        directory = FileManager.default.temporaryDirectory.appending(path: "pawl-bank-\(UUID().uuidString)")
        plugins = directory.appending(path: "plugins")
        gates = directory.appending(path: "gates")
        for folder in [plugins, gates] {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        }
        for plugin in try built ?? [TestPlugin.bank.get()] { try install(plugin) }
        try admin.script(
            """
            DO $$ BEGIN
                PERFORM pg_advisory_xact_lock(hashtext('pawl end-to-end roles'));
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'end_to_end_worker') THEN
                    CREATE ROLE end_to_end_worker LOGIN;
                END IF;
            END $$;
            SELECT pawl.grant_access('end_to_end_worker', 'work');
            CREATE SCHEMA bank;
            CREATE TABLE bank.account (id integer PRIMARY KEY, balance integer NOT NULL);
            CREATE TABLE bank.applied (transfer text NOT NULL, what text NOT NULL);
            INSERT INTO bank.account SELECT i, \(Self.openingBalance) FROM generate_series(0, \(Self.accounts - 1)) i;
            -- Locks in one order, so that transfers do not deadlock for lack of thought; 40P01 has its own test.
            CREATE FUNCTION bank.transfer(input jsonb) RETURNS void LANGUAGE sql AS $$
                SELECT FROM bank.account WHERE id IN ((input->>'from')::int, (input->>'to')::int) ORDER BY id FOR UPDATE;
                UPDATE bank.account SET balance = balance - (input->>'amount')::int WHERE id = (input->>'from')::int;
                UPDATE bank.account SET balance = balance + (input->>'amount')::int WHERE id = (input->>'to')::int;
                INSERT INTO bank.applied VALUES (input->>'id', 'transfer') $$;
            CREATE FUNCTION bank.receipt(input jsonb) RETURNS void LANGUAGE sql AS $$
                INSERT INTO bank.applied VALUES (input->>'id', 'receipt') $$;
            GRANT USAGE ON SCHEMA bank TO end_to_end_worker;
            GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA bank TO end_to_end_worker;
            """)
    }

    var cluster: TestCluster { database.cluster }

    func install(_ plugin: URL) throws {
        try FileManager.default.copyItem(at: plugin, to: plugins.appending(path: plugin.lastPathComponent))
    }

    /// For a worker that starts from now on.
    func remove(_ plugin: URL) throws {
        try FileManager.default.removeItem(at: plugins.appending(path: plugin.lastPathComponent))
    }

    /// After a restart of the server.
    func reconnect() throws { admin = try database.connect() }

    deinit { try? FileManager.default.removeItem(at: directory) }

    /// Starts a worker; more than one may run.
    func worker(
        _ name: String = "worker", concurrency: Int = 20, crashPoint: String? = nil, options: String = "", arguments: [String] = []
    ) throws -> TestProcess {
        var environment = ["PAWL_TEST_GATES": gates.path]
        if let crashPoint { environment["PAWL_TEST_CRASH_POINT"] = crashPoint }
        var connection = database.connectionString(user: "end_to_end_worker")
        if !options.isEmpty { connection += " options='\(options)'" }
        return try TestProcess(
            BuiltProducts.executable("pawld"),
            [
                "--database", connection, "--plugin-directory", plugins.path, "--concurrency", "\(concurrency)", "--name", name,
            ] + arguments,
            environment: environment)
    }

    /// Enqueues `count` transfers of amounts that differ, numbered from `first`.
    func enqueueTransfers(_ count: Int, from first: Int = 1) throws {
        try admin.execute(
            """
            SELECT pawl.enqueue_workflow('transfer',
                jsonb_build_object('id', i::text, 'from', i % \(Self.accounts), 'to', (i * 7 + 1) % \(Self.accounts), 'amount', i % 13 + 1),
                workflow_id => 'transfer-' || i)
            FROM generate_series($1::int, $2::int) i
            """, "\(first)", "\(first + count - 1)")
    }

    func count(_ status: String) throws -> Int {
        try admin.integer("SELECT count(*) FROM pawl.workflows WHERE status = $1", status)
    }

    func status(_ id: String) throws -> String? {
        try admin.value("SELECT status FROM pawl.workflows WHERE workflow_id = $1", id)
    }

    func waitForEnds(_ count: Int, within limit: Duration = .seconds(60), of worker: TestProcess? = nil) async throws {
        try await eventually("\(count) workflows ended, \(try summary()); \(worker?.output.suffix(4000) ?? "")", within: limit) {
            try admin.integer("SELECT count(*) FROM pawl.workflows WHERE completed_at IS NOT NULL") >= count
        }
    }

    func summary() throws -> String {
        try admin.value(
            "SELECT string_agg(status || ' ' || n, ', ') FROM (SELECT status, count(*) n FROM pawl.workflows GROUP BY 1 ORDER BY 1) x") ?? "none"
    }

    /// Throws what is wrong with the books after `transfers` of them.
    func audit(transfers: Int) throws {
        var wrong: [String] = []
        func expect(_ what: String, _ sql: String, _ expected: Int) throws {
            let found = try admin.integer(sql)
            if found != expected { wrong.append("\(what): \(found) instead of \(expected)") }
        }
        try expect("money", "SELECT sum(balance) FROM bank.account", Self.accounts * Self.openingBalance)
        try expect("transfers succeeded", "SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'transfer' AND status = 'succeeded'", transfers)
        for what in ["transfer", "receipt"] {
            try expect("\(what)s applied", "SELECT count(*) FROM bank.applied WHERE what = '\(what)'", transfers)
            try expect("\(what)s applied at all", "SELECT count(DISTINCT transfer) FROM bank.applied WHERE what = '\(what)'", transfers)
        }
        try expect("steps", "SELECT count(*) FROM pawl.workflow_steps WHERE status = 'succeeded'", 3 * transfers)
        guard wrong.isEmpty else { throw TestFailure(wrong.joined(separator: "; ")) }
    }

    // MARK: gates

    func waitUntilReached(_ id: String, _ worker: TestProcess) async throws {
        try await eventually("\(id) at its gate; \(worker.output)") {
            FileManager.default.fileExists(atPath: gates.appending(path: "\(id).reached").path)
        }
    }

    func open(_ id: String) throws {
        try Data().write(to: gates.appending(path: "\(id).open"))
    }

    /// Makes the gate of a workflow that is to reach it again.
    func forget(_ id: String) {
        try? FileManager.default.removeItem(at: gates.appending(path: "\(id).reached"))
    }
}
