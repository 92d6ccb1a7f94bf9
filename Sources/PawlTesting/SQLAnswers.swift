public import Pawl
internal import FoundationEssentials
internal import MemoryStore
internal import WorkflowEngine

/// SQL of a handler: what the closure that was given to ``WorkflowTest/sql(_:)`` answers.
public struct SQLCall {
    /// The statement as the handler wrote it.
    public let sql: String
    /// Its parameters in PostgreSQL's text form; nil is NULL.
    public let parameters: [String?]
    /// False: a read-only query, outside any transaction.
    public let isTransaction: Bool
    let transaction: MemoryTransaction?

    /// Does `change` if and when the transaction commits: so it is done exactly once, however often the body runs. Of a query, at once.
    public func onCommit(_ change: @escaping @Sendable () -> Void) {
        if let transaction { transaction.changes.append(change) } else { change() }
    }
}

/// What SQL comes to. To fail, throw: a ``WorkflowFailure`` with the SQLSTATE as its code, such as `23505`, or `40001` to have the body run again.
public struct SQLAnswer: Sendable {
    let json: StoredJSON

    /// A statement without a result, and how many rows it changed.
    public static func affected(_ count: Int) -> SQLAnswer { SQLAnswer(columns: [], rows: [], affected: count) }

    /// Rows, each with a value for each column.
    public static func rows(_ columns: [String], _ rows: [[(any SQLParameter)?]]) throws -> SQLAnswer {
        let types = columns.indices.map { column in rows.lazy.compactMap { $0.count > column ? $0[column] : nil }.first.map(typeID) ?? 25 }
        let texts = try rows.map { row in
            guard row.count == columns.count else {
                throw WorkflowFailure(code: "bad_answer", message: "a row has \(row.count) values, and there are \(columns.count) columns")
            }
            return StoredJSON.array(try row.map { try $0.flatMap(text).map { .string($0) } ?? .null })
        }
        return SQLAnswer(columns: zip(columns, types).map { .array([.string($0), .integer($1)]) }, rows: texts, affected: rows.count)
    }

    private init(columns: [StoredJSON], rows: [StoredJSON], affected: Int) {
        json = .object(["columns": .array(columns), "rows": .array(rows), "affected": .integer(affected)])
    }

    private static func text(_ value: any SQLParameter) throws -> String? {
        if let value = value as? Bool { return value ? "t" : "f" }
        return try value.sqlText()
    }

    /// The type that PostgreSQL would name.
    private static func typeID(_ value: any SQLParameter) -> Int {
        switch value {
        case is Bool: 16
        case is any BinaryInteger: 20
        case is Float: 700
        case is Double: 701
        case is Date: 1184
        case is UUID: 2950
        case is Data: 17
        case is Decimal: 1700
        default: 25
        }
    }
}
