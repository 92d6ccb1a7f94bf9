import FoundationEssentials
import Glibc
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

/// Crosses from a child to its parent as itself.
struct OutOfStock: Error, Codable, Equatable {
    var sku: String
    var missing: Int
}

struct Order: Codable, Sendable {
    var depth: Int
}

let plugin = Plugin("fixture") {
    Workflow("child") { (workflow: WorkflowContext, order: Order) in
        if order.depth > 0 {
            let child = try await workflow.start("child", Order(depth: order.depth - 1), returning: [Int].self)
            return try await workflow.result(of: child) + [order.depth]
        }
        return [try await workflow.step("leaf") { 0 }]
    }

    Workflow("failing_child") { (workflow: WorkflowContext, _: JSONValue) in
        try await workflow.step("check", retry: .never) { throw OutOfStock(sku: "A-1", missing: 3) }
    }

    // Everything that lasts: its output is what it came to, and must be the same whatever happened on the way.
    Workflow("durable") { (workflow: WorkflowContext, input: JSONValue) in
        let first = try await workflow.now()
        let id = try await workflow.uuid()
        var random = try await workflow.random()
        let drawn = Int.random(in: 1...6, using: &random)

        let label = try await workflow.step("label", retry: .exponential(maxAttempts: 4, initial: .milliseconds(20))) { [monitor = workflow.monitor] in
            let attempt = monitor.attempt
            if attempt < 3 { throw WorkflowFailure(code: "busy", message: "the carrier is busy") }
            return "label of attempt \(attempt)"
        }
        try await workflow.sleep("rest", for: .milliseconds(150))

        try await workflow.setEvent("state", ["label": label])
        let log = workflow.stream("log", of: String.self)
        for line in ["packed", "sent"] { try await workflow.append(line, to: log) }
        let state = try await workflow.getEvent([String: String].self, of: workflow.workflowID, key: "state")

        let child = try await workflow.start("child", Order(depth: 2), returning: [Int].self)
        let failing = try await workflow.start("failing_child", input)
        var missing = 0
        do {
            _ = try await workflow.result(of: failing)
        } catch let failure as WorkflowFailure {
            missing = failure.as(OutOfStock.self)?.missing ?? -1
        }
        let depths = try await workflow.result(of: child)

        try await workflow.send(to: workflow.workflowID, "to myself", topic: "note")
        let note = try await workflow.receive(String.self, topic: "note")
        let none = try await workflow.receive(String.self, topic: "nothing", timeout: .milliseconds(50))

        let winner = try await workflow.race(
            "first", .sleep(for: .hours(1)) { "time" }, .step { "step" }, .receive(String.self, topic: "nothing"))

        let parts = try await workflow.parallel("part", [1, 2, 3], id: { $0 }) { branch, part in
            try await branch.sleep("rest", for: .milliseconds(20 * part))
            return try await branch.step("double") { 2 * part }
        }
        let second = try await workflow.now()
        return [
            .string(label), .bool(second >= first && (1...6).contains(drawn) && id.uuidString.count == 36), .string(state?["label"] ?? "none"),
            .integer(missing),
            .array(depths.map { .integer($0) }), .string(note), .bool(none == nil), .string(winner), .array(parts.map { .integer($0) }),
            .bool(try await workflow.patched("new")),
        ] as [JSONValue]
    }

    // Undoes what it did: fails by itself, or is cancelled while it waits.
    Workflow("undoing") { (workflow: WorkflowContext, fails: Bool) in
        for part in ["first", "second"] {
            try await workflow.transaction("do") { db in
                try await db.execute("UPDATE fixture.counter SET value = value + 1000 WHERE id = 1")
            }
            workflow.compensate("undo-\(part)") { db in
                try await db.execute("UPDATE fixture.counter SET value = value + 1 WHERE id = 1")
            }
        }
        if fails { throw OutOfStock(sku: "B-2", missing: 1) }
        // Swallows the cancellation, and goes on as if nothing had been.
        _ = try? await workflow.receive(JSONValue.self, topic: "never")
        try? await workflow.step("never") {}
    }

    // Holds every thread that the plugin's tasks have, and the one that delivers to it, until a file is there.
    Workflow("blocking") { (workflow: WorkflowContext, file: String) in
        let mark = file + "." + workflow.workflowID
        try await workflow.step("block") {
            _ = FileManager.default.createFile(atPath: mark, contents: nil)
            while !FileManager.default.fileExists(atPath: file) { usleep(5000) }
        }
    }

    Workflow("round") { (workflow: WorkflowContext, round: Int) in
        _ = try await workflow.step("work") { round }
        if round < 5 { try await workflow.continueAsNew(round + 1) }
        return round
    }

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
}

@c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
