import Foundation
@testable import PostgresStore
import PostgresTestSupport
import Testing

/// What an operator's session reads, and how it fails.
@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct OperatorSessionTests {
    static func session() throws -> OperatorSession {
        try OperatorSession(database: TestCluster.required().connectionString(database: "postgres"))
    }

    @Test(arguments: [
        ("NULL", "null", OperatorValue.null), ("'a\"\n'::text", #""a\"\n""#, .text("a\"\n")), ("2.50::numeric", "2.50", .number("2.50")),
        ("9007199254740993", "9007199254740993", .number("9007199254740993")), ("'NaN'::float8", #""NaN""#, .text("NaN")),
        ("'-Infinity'::float8", #""-Infinity""#, .text("-Infinity")), ("1e-20::float8", "1e-20", .number("1e-20")), ("true", "true", .boolean(true)),
        ("'{\"b\": 1, \"a\": [2]}'::json", #"{"b": 1, "a": [2]}"#, .json(#"{"b": 1, "a": [2]}"#)),
        ("'2026-11-21 03:00:00.5+01'::timestamptz", #""2026-11-21T02:00:00.5Z""#, .time(1_795_226_400_500_000)),
        ("'1969-12-31 23:59:59.25+00'::timestamptz", #""1969-12-31T23:59:59.25Z""#, .time(-750_000)),
        ("'12026-01-01 00:00+00'::timestamptz", #""12026-01-01T00:00:00Z""#, .time(317_336_745_600_000_000)),
        ("'infinity'::timestamptz", #""infinity""#, .text("infinity")),
        ("'0044-03-15 00:00+00 BC'::timestamptz", #""0044-03-15 00:00:00+00 BC""#, .text("0044-03-15 00:00:00+00 BC")),
        ("'1 mon 2 days -03:04:05.6'::interval", #""1 mon 2 days -03:04:05.6""#, .interval(2_753_754_400_000, "1 mon 2 days -03:04:05.6")),
        ("'-1 year'::interval", #""-1 years""#, .interval(-31_104_000_000_000, "-1 years")),
        ("'0'::interval", #""00:00:00""#, .interval(0, "00:00:00")),
        (
            #"ARRAY['a', 'b "c\', NULL, 'NULL', '{,}', '']"#, #"["a", "b \"c\\", null, "NULL", "{,}", ""]"#,
            .list(["a", "b \"c\\", nil, "NULL", "{,}", ""])
        ),
        ("'{}'::text[]", "[]", .list([])), ("'2026-11-21'::date", #""2026-11-21""#, .text("2026-11-21")),
    ])
    func valuesAreRead(_ sql: String, _ json: String, _ value: OperatorValue) throws {
        let read = try Self.session().value("SELECT \(sql)")
        #expect(read == value)
        #expect(read.json == json)
        _ = try JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)
    }

    @Test func rowsKeepTheOrderOfTheirColumns() throws {
        let rows = try Self.session().rows("SELECT 1 AS z, $1::text AS a, NULL AS m", "x")
        #expect(rows.map(\.json) == [#"{"z": 1, "a": "x", "m": null}"#])
        #expect(rows[0]["a"].text == "x")
        #expect(rows[0]["nothing"].isNull)
    }

    @Test func arraysOfTextAreParameters() throws {
        // An accent makes one character of itself and the mark before it.
        let texts = ["plain", "a,b", "\"", "\\", "{}", "", "NULL", "日本", "a\\\u{308}b", "\"\u{308}", ",\u{308}"]
        #expect(try Self.session().value("SELECT $1::text[]", OperatorSession.array(texts)) == .list(texts))
    }

    @Test func longAnswersComeInPages() throws {
        let session = try Self.session()
        var sizes: [Int] = []
        try session.pages("SELECT i FROM generate_series(1, $1::integer) i", ["7"], size: 3) { page in
            sizes.append(page.count)
            return true
        }
        #expect(sizes == [3, 3, 1])
        sizes = []
        try session.pages("SELECT i FROM generate_series(1, 7) i", [], size: 3) { page in
            sizes.append(page.count)
            return false
        }
        #expect(sizes == [3])
        // A page that fails leaves no transaction behind.
        #expect(throws: OperatorError.self) { try session.pages("SELECT 1 / (5 - i) FROM generate_series(1, 7) i", [], size: 2) { _ in true } }
        #expect(try session.value("SELECT 1") == .number("1"))
    }

    @Test func whatAFilterFoundIsMeantAndNothingElse() throws {
        let database = try TestDatabase.make()
        defer { withExtendedLifetime(database) {} }
        let session = try OperatorSession(database: database.connectionString)
        func enqueue(_ id: String) throws { try session.call("enqueue_workflow", [("workflow_name", "ship"), ("workflow_id", id)]) }
        for id in ["a", "b", "c"] { try enqueue(id) }
        var filter = WorkflowFilter()
        filter.workflowName = "ship"
        let found = WorkflowTargets.found(try session.workflowKeys(filter))
        #expect(found.count == 3)
        // One is gone, and another one has its id.
        #expect(try session.perform(.cancel(reason: nil), on: "b") && session.perform(.delete, on: "b"))
        try enqueue("b")
        #expect(try session.forkWorkflows(found, WorkflowFork()).map { $0["workflow_id"].text }.sorted { $0! < $1! } == ["a", "c"])
        let cancelled = try session.perform(.cancel(reason: nil), on: found)
        #expect(cancelled.filter { $0["changed"].isTrue }.map { $0["workflow_id"].text }.sorted { $0! < $1! } == ["a", "c"])
        #expect(try session.workflow("b")["status"].text == "enqueued")
        let missing = #expect(throws: OperatorError.self) { try session.perform(.delete, on: .named(["a", "nobody"])) }
        #expect(missing?.kind == .notFound)
    }

    @Test func errorsCarryDetailHintAndCure() throws {
        let session = try Self.session()
        #expect(throws: OperatorError.self) { try session.value("SELECT pawl.get_event('a', 'b')") }
        let missing = #expect(throws: OperatorError.self) { try session.workflow("order-7") }
        #expect(missing?.description.contains("CREATE EXTENSION pawl") == true)
        let raised = #expect(throws: OperatorError.self) {
            try session.rows("DO $$ BEGIN RAISE 'what' USING DETAIL = 'where', HINT = 'cure'; END $$")
        }
        #expect(raised?.description == "what\nwhere\ncure")
    }

    @Test func noticesAreHeard() throws {
        var heard: [String] = []
        let session = try OperatorSession(
            database: TestCluster.required().connectionString(database: "postgres"), onNotice: { heard.append($0) })
        _ = try session.rows("DO $$ BEGIN RAISE NOTICE 'so' USING HINT = 'do'; END $$")
        #expect(heard == ["so\ndo"])
    }

    @Test func whatTheUserWantsNoMoreIsNotBegun() throws {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        defer { ends.forEach { close($0) } }
        let session = try Self.session()
        session.interruptDescriptor = ends[0]
        #expect(try session.value("SELECT 1") == .number("1"))
        _ = write(ends[1], "x", 1)
        let error = #expect(throws: OperatorError.self) { try session.value("SELECT pg_sleep(60)") }
        #expect(error?.kind == .interrupted)
        #expect(session.isInterrupted)
    }
}
