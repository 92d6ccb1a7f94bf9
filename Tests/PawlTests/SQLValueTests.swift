import Foundation
import Testing

@testable import Pawl

@Suite struct SQLParameterTests {
    func texts(_ parameters: (any SQLParameter)?...) throws -> [String?] { try parameters.map { try $0?.sqlText() } }

    @Test func valuesAreWhatPostgreSQLReads() throws {
        let missing: String? = nil, present: Int? = 5
        #expect(try texts("a'b", 1, -1 as Int64, UInt8(7), true, nil, missing, present) == ["a'b", "1", "-1", "7", "true", nil, nil, "5"])
        #expect(try texts(1.5, Double.nan, -Double.infinity, Float(0.1)) == ["1.5", "NaN", "-Infinity", "0.1"])
        #expect(try texts(Decimal(string: "12345678901234567890.123456789")) == ["12345678901234567890.123456789"])
        #expect(
            try texts(Date(timeIntervalSince1970: 0), Date(timeIntervalSince1970: -0.000_001)) == [
                "1970-01-01T00:00:00.000000Z", "1969-12-31T23:59:59.999999Z",
            ])
        let id = try #require(UUID(uuidString: "019AA5D0-0000-7000-8000-000000000001"))
        #expect(try texts(id, Data([0, 255, 16])) == ["019AA5D0-0000-7000-8000-000000000001", "\\x00ff10"])
    }

    @Test func arraysAreLiteralsWhoseTextsCannotBreakOut() throws {
        #expect(
            try texts([1, 2], [String](), ["a", "NULL", "", "x,y", "q\"\\{}", "ä\n"]) == [
                #"{"1","2"}"#, "{}", "{\"a\",\"NULL\",\"\",\"x,y\",\"q\\\"\\\\{}\",\"ä\n\"}",
            ])
        #expect(
            try texts([1, nil] as [Int?], [[1, 2], [3, 4]], [Data([1])]) == [#"{"1",NULL}"#, #"{{"1","2"},{"3","4"}}"#, #"{"\\x01"}"#])
    }

    @Test func jsonIsWritten() throws {
        struct Label: Codable, Sendable {
            var carrier: String
            var at: Date
        }
        let text = try texts(.json(Label(carrier: "a/b", at: Date(timeIntervalSince1970: 0))))[0] ?? ""
        let read = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: String]
        #expect(read == ["carrier": "a/b", "at": "1970-01-01T00:00:00.000000Z"])
    }

    @Test func aTextThatPostgreSQLWouldCutIsRefused() {
        #expect(throws: WorkflowFailure.self) { try texts("a\0b") }
        #expect(throws: WorkflowFailure.self) { try texts(["a\0b"]) }
    }
}

@Suite struct RowDecodingTests {
    func rows<Row: Decodable>(_ json: String, as row: Row.Type) throws -> [Row] {
        try SQLResult(json: Data("{\(json),\"affected\":0}".utf8)).rows(as: row)
    }

    enum Status: String, Codable { case placed, shipped }
    struct Line: Codable, Equatable { var sku: String, count: Int }
    struct Everything: Codable, Equatable {
        var id: Int64
        var name: String
        var price: Decimal
        var ratio: Double
        var ok: Bool
        var at: Date
        var day: Date
        var token: UUID
        var bytes: Data
        var status: Status
        var note: String?
        var tags: [String]
        var holes: [Int?]
        var grid: [[Int]]
        var line: Line
        var lines: [Line]
        enum CodingKeys: String, CodingKey {
            case id, name, price, ratio, ok, at = "placed_at", day, token, bytes, status, note, tags, holes, grid, line, lines
        }
    }

    @Test func everyKindOfColumnDecodes() throws {
        let columns =
            #"[["id",20],["name",25],["price",1700],["ratio",701],["ok",16],["placed_at",1184],["day",1082],["token",2950],["bytes",17],"#
            + #"["status",25],["note",25],["tags",1009],["holes",1007],["grid",1007],["line",3802],["lines",114]]"#
        let row =
            #"["9007199254740993","Ada","12.50","0.1","t","2026-11-21 11:32:16.5+01","2026-11-21","019aa5d0-0000-7000-8000-000000000001","#
            + #""\\x00ff","shipped",null,"{a,\"b c\",\"NULL\",\"q\\\"\\\\\"}","{1,NULL}","{{1,2},{3,4}}","#
            + #""{\"sku\":\"a\",\"count\":1}","[{\"sku\":\"b\",\"count\":2}]"]"#
        let all = try rows("\"columns\":\(columns),\"rows\":[\(row)]", as: Everything.self)
        let instant = Date(timeIntervalSince1970: 1_795_257_136.5)
        #expect(
            all == [
                Everything(
                    id: 9_007_199_254_740_993, name: "Ada", price: try #require(Decimal(string: "12.50")), ratio: 0.1, ok: true,
                    at: instant,
                    day: Date(timeIntervalSince1970: 1_795_219_200),
                    token: try #require(UUID(uuidString: "019aa5d0-0000-7000-8000-000000000001")),
                    bytes: Data([0, 255]), status: .shipped, note: nil, tags: ["a", "b c", "NULL", "q\"\\"], holes: [1, nil],
                    grid: [[1, 2], [3, 4]], line: Line(sku: "a", count: 1), lines: [Line(sku: "b", count: 2)])
            ])
    }

    @Test func oneColumnIsAValue() throws {
        #expect(try rows(#""columns":[["n",20]],"rows":[["1"],["2"]]"#, as: Int.self) == [1, 2])
        #expect(try rows(#""columns":[["n",20]],"rows":[["1"],[null]]"#, as: Int?.self) == [1, nil])
        #expect(try rows(#""columns":[["s",25]],"rows":[["placed"]]"#, as: Status.self) == [.placed])
        #expect(try rows(#""columns":[["j",3802]],"rows":[["[1,2]"]]"#, as: [Int].self) == [[1, 2]])
        #expect(try rows(#""columns":[["a",1007]],"rows":[["{1,2}"]]"#, as: [Int].self) == [[1, 2]])
        #expect(
            try rows(#""columns":[["at",1184]],"rows":[["1970-01-01 00:00:00+00"]]"#, as: Date.self) == [Date(timeIntervalSince1970: 0)])
    }

    struct Pair: Codable { var a: Int, b: Int }

    @Test(arguments: [
        (#""columns":[["a",23]],"rows":[["1"]]"#, "row 1 of the result is no Pair: $.b is missing"),
        (
            #""columns":[["a",23],["b",23]],"rows":[["1","2"],["1",null]]"#,
            "row 2 of the result is no Pair: $.b is null where a Int is needed"
        ),
        (#""columns":[["a",23],["b",25]],"rows":[["1","x"]]"#, "row 1 of the result is no Pair: $.b: the value is no Int"),
        (
            #""columns":[["a",23],["b",23],["b",23]],"rows":[["1","2","3"]]"#,
            "row 1 of the result is no Pair: $.b: the result has more than one column of that name"
        ),
    ])
    func whatDoesNotFitIsSaid(_ json: String, _ message: String) throws {
        let failure = #expect(throws: WorkflowFailure.self) { try rows(json, as: Pair.self) }
        #expect(failure?.message == message)
        #expect(failure?.code == "bad_row")
    }

    @Test(arguments: ["{", "}", "{a", "a", "{a}}", "{{a}", #"{"a}"#, #"{a\"#, ""])
    func aBrokenArrayIsNone(_ text: String) {
        #expect(SQLArrayLiteral.elements(of: text) == nil)
    }
}

@Suite struct TimestampTests {
    @Test(arguments: [
        ("2026-11-21T10:32:16.123456Z", 1_795_257_136.123456), ("2026-11-21 10:32:16+00", 1_795_257_136.0),
        ("2026-11-21T12:02:16.5+01:30", 1_795_257_136.5), ("2026-11-21T10:32", 1_795_257_120), ("2026-11-21", 1_795_219_200),
        ("2000-02-29 23:59:59-0730", 951_895_799.0), ("0001-01-01T00:00:00Z", -62_135_596_800), ("1969-12-31 23:59:59.999999", -0.000001),
    ])
    func textsThatPostgreSQLAndISO8601Write(_ text: String, _ seconds: Double) throws {
        let date = try #require(Timestamp.date(from: text))
        #expect(abs(date.timeIntervalSince1970 - seconds) < 0.000_000_5)
    }

    @Test(arguments: [
        "", "2026", "2026-13-01", "2026-02-29", "2026-11-21T", "2026-11-21T10", "2026-11-21T10:32:16.", "2026-11-21T10:32Zx", "infinity",
        "x",
    ])
    func anythingElseIsNoDate(_ text: String) {
        #expect(Timestamp.date(from: text) == nil)
    }

    @Test func whatIsWrittenReadsBack() throws {
        for step in 0..<2000 {
            let date = Date(timeIntervalSince1970: -62_135_596_800 + Double(step) * 157_784_761.25)
            let text = try Timestamp.text(of: date)
            #expect(text.utf8.count == 27)
            #expect(Timestamp.date(from: text) == date, "\(text)")
        }
        #expect(throws: WorkflowFailure.self) { try Timestamp.text(of: Date(timeIntervalSince1970: 1e12)) }
        #expect(throws: WorkflowFailure.self) { try Timestamp.text(of: Date(timeIntervalSince1970: .nan)) }
    }
}

@Suite struct WordTests {
    @Test(arguments: [
        ("OutOfStock", "out_of_stock"), ("HTTPError", "http_error"), ("A", "a"), ("E2E", "e2_e"), ("snake_case", "snake_case"),
        ("ABC", "abc"),
    ])
    func typeNamesBecomeWords(_ name: String, _ word: String) {
        #expect(WorkflowFailure.word(for: name) == word)
    }
}
