import FoundationEssentials
import Pawl

/// A row with a column of every kind that the SDK reads and writes.
struct Row: Codable, Sendable, Equatable {
    var number: Int64
    var decimal: Decimal?
    var ratio: Double
    var truth: Bool
    var instant: Date
    var day: Date
    var id: UUID
    var bytes: Data
    var texts: [String?]
    var json: [String: Int]
    var nothing: String?
}

let plugin = Plugin("fixture") {
    Workflow("everything") { (workflow: WorkflowContext, input: JSONValue) in
        let now = try await workflow.step("now") { Date() }
        let id = try await workflow.step("id") { UUID() }
        let row = Row(
            number: .max, decimal: Decimal(string: "12345678901234567890.5"), ratio: 0.1, truth: true, instant: now,
            day: Date(timeIntervalSince1970: 86_400 * 20_000), id: id, bytes: Data([0, 1, 255]),
            texts: ["a\"b\\", nil, "NULL", "", "{x,y}", "ü😀"], json: ["k": 1], nothing: nil)
        let back = try await workflow.transaction("round_trip") { db in
            try await db.queryRow(
                """
                SELECT $1::int8 AS number, $2::numeric AS decimal, $3::float8 AS ratio, $4::boolean AS truth, $5::timestamptz AS instant,
                    $6::date AS day, $7::uuid AS id, $8::bytea AS bytes, $9::text[] AS texts, $10::jsonb AS json, $11::text AS nothing
                """,
                row.number, row.decimal, row.ratio, row.truth, row.instant, row.day, row.id, row.bytes, row.texts, .json(row.json), row.nothing,
                as: Row.self)
        }
        guard back == row else { throw WorkflowFailure(code: "differs", message: "sent \(row), received \(String(describing: back))") }

        let sums = try await workflow.parallel("part", Array(1...5), id: { $0 }, limit: 3) { branch, part in
            let values = try await branch.query("values", "SELECT $1::int + g FROM generate_series(1, 3) g", part, as: Int.self)
            try await branch.transaction("count") { db in
                try await db.execute("UPDATE fixture.counter SET value = value + 1 WHERE id = $1", part)
            }
            return values.reduce(0, +)
        }

        do {
            try await workflow.transaction("violation") { db in
                try await db.execute("UPDATE fixture.counter SET value = value + 1000000 WHERE id = 1")
                try await db.execute("INSERT INTO fixture.counter VALUES (1, 0)")
            }
        } catch let failure as WorkflowFailure {
            guard failure.code == "23505" else { throw failure }
        }

        // All of them at once on one row: most are undone by a serialization failure and run again.
        try await workflow.transaction("contended", isolation: .serializable) { db in
            let value = try await db.queryRow("SELECT value FROM fixture.contended", as: Int.self) ?? 0
            try await db.execute("UPDATE fixture.contended SET value = $1", value + 1)
        }
        return sums
    }
    durableWorkflows
}

@c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
