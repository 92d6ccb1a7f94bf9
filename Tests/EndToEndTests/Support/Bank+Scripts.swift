import Foundation
import PostgresTestSupport

/// Workflows whose handler is `Fixtures/script.c`: what they do is written where the test is.
extension Bank {
    /// Workers that run scripts.
    static func ofScripts() throws -> Bank {
        let bank = try Bank(plugins: [TestPlugin.script.get()])
        // A workflow that happens to be there at many kills is not a poison.
        try bank.admin.script("ALTER DATABASE \(bank.database.name) SET pawl.max_recoveries = 1000")
        return bank
    }

    func run(_ id: String, _ script: String, name: String = "script", timeout: String? = nil, version: Int? = nil) throws {
        try admin.execute(
            """
            SELECT pawl.enqueue_workflow($1, to_jsonb($2::text), workflow_id => $3, timeout => $4::interval, workflow_version => $5::integer)
            """, name, script, id, timeout, version.map(String.init))
    }

    func output(_ id: String) throws -> String? {
        try admin.value("SELECT output::text FROM pawl.workflows WHERE workflow_id = $1", id)
    }

    /// `succeeded`, `failed error broken`: how it stands, or ended.
    func end(_ id: String) throws -> String? {
        try admin.value(
            "SELECT concat_ws(' ', status, status_reason, CASE WHEN status = 'failed' THEN error ->> 'code' END) FROM pawl.workflows WHERE workflow_id = $1", id
        )
    }

    func waitForEnd(_ id: String, _ worker: TestProcess, within limit: Duration = .seconds(30)) async throws {
        try await eventually("the end of \(id): \(try history(id)); \(worker.output.suffix(4000))", within: limit) {
            try admin.value("SELECT 1 FROM pawl.workflows WHERE workflow_id = $1 AND completed_at IS NOT NULL", id) != nil
        }
    }

    /// Until a worker has seen the workflow's wait begin: it stands in a step that waits.
    func waitUntilWaiting(_ id: String, step: String? = nil, _ worker: TestProcess) async throws {
        try await eventually("\(id) waits: \(try history(id)); \(worker.output.suffix(4000))") {
            try admin.value(
                "SELECT 1 FROM pawl.workflow_steps WHERE workflow_id = $1 AND status IN ('waiting', 'retrying') AND step_name = coalesce($2, step_name) LIMIT 1",
                id, step)
                != nil
        }
    }

    /// Everything that is recorded of a workflow but times and numbers, and waits that came to nothing, in one text.
    func history(_ id: String) throws -> String {
        try admin.value(
            """
            SELECT concat_ws(' ', w.workflow_id, w.status, w.status_reason, w.output::text, w.error ->> 'code') || coalesce((
                SELECT string_agg(E'\\n    ' || concat_ws(' ', s.step_name, s.kind, s.status, s.attempts, s.output::text, s.error ->> 'code'), '' ORDER BY s.step_name)
                FROM pawl.workflow_steps s WHERE s.workflow_id = w.workflow_id AND (s.status <> 'waiting' OR w.completed_at IS NULL)), '')
            FROM pawl.workflows w WHERE w.workflow_id = $1
            """, id) ?? "\(id) is not there"
    }

    /// The histories of all workflows of a group, without the group's name.
    func histories(of group: String) throws -> String {
        try admin.execute("SELECT workflow_id FROM pawl.workflows WHERE workflow_id LIKE $1 ORDER BY 1", group + "/%").column("workflow_id")
            .map { try history($0!).replacing(group + "/", with: "") }.joined(separator: "\n")
    }

    /// Whether the one worker's heartbeats have gone on for so long. Whoever misses them for a lease, ten seconds, is declared dead.
    func isAlive(since heartbeat: String, for time: String) throws -> Bool {
        try admin.integer("SELECT count(*) FROM pawl.workers WHERE status = 'running' AND heartbeat_at > $1::timestamptz + $2::interval", heartbeat, time) == 1
    }

    /// Every execution of a body, as `ID NAME ATTEMPT`, in order.
    func effects() throws -> [String] {
        let file = gates.appending(path: "effects")
        guard FileManager.default.fileExists(atPath: file.path) else { return [] }
        return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(String.init)
    }

    /// Runs a group of workflows undisturbed, and then once for each crash point, at which their worker dies: each group must come to what the first came to.
    /// - Parameter enqueue: enqueues the group's workflows, whose ids begin with its name and a slash.
    func survive(_ points: [String], arguments: [String] = [], _ enqueue: (String) throws -> Void) async throws -> String {
        func ended(_ group: String) throws -> Bool {
            try admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_id LIKE $1 AND completed_at IS NULL", group + "/%") == 0
        }
        try enqueue("undisturbed")
        let first = try worker("first", arguments: arguments)
        try await eventually("an undisturbed end; \(try histories(of: "undisturbed")); \(first.output.suffix(4000))", within: .seconds(60)) {
            try ended("undisturbed")
        }
        first.signal(SIGTERM)
        _ = try await first.wait()
        let expected = try histories(of: "undisturbed")

        for point in points {
            try enqueue(point)
            let doomed = try worker("doomed", crashPoint: point, arguments: arguments)
            let status = try await doomed.wait(within: .seconds(60))
            guard status == .signalled(SIGKILL) else { throw TestFailure("\(status) instead of a crash \(point): \(doomed.output)") }
        }
        let heir = try worker("heir", arguments: arguments)
        for point in points {
            try await eventually("the end of \(point); \(try histories(of: point)); \(heir.output.suffix(4000))", within: .seconds(90)) { try ended(point) }
            let found = try histories(of: point)
            guard found == expected else { throw TestFailure("after a crash \(point):\n\(found)\ninstead of\n\(expected)") }
        }
        return expected
    }
}

/// A JSON text.
func json(_ text: String) -> String {
    String(decoding: (try? JSONEncoder().encode(text)) ?? Data(), as: UTF8.self).replacing("\\/", with: "/")
}
