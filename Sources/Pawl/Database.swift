internal import CPawlPlugin

/// The open transaction of ``WorkflowContext/transaction(_:isolation:_:)``, for SQL as the worker's role. One statement at a time, and only
/// inside the transaction's body: so it is not Sendable.
public final class Database {
    private let run: HandlerRun
    private let scope: pawl_scope

    init(run: HandlerRun, scope: pawl_scope) {
        self.run = run
        self.scope = scope
    }

    /// Runs one statement and returns how many rows it affected.
    ///
    /// - Throws: ``WorkflowFailure`` whose `code` is the SQLSTATE. After that the transaction can only be rolled back: let the error leave the body.
    @discardableResult
    public func execute(_ sql: String, _ parameters: (any SQLParameter)?...) async throws -> Int {
        try await run(sql, parameters).affected
    }

    /// Runs one statement and returns its rows, each decoded by the names of its columns; `as: Int.self` and the like take a single column.
    public func query<Row: Decodable>(_ sql: String, _ parameters: (any SQLParameter)?..., as row: Row.Type) async throws -> [Row] {
        try await run(sql, parameters).rows(as: row)
    }

    /// Runs one statement and returns its only row, or nil if there is none. More than one row is an error.
    public func queryRow<Row: Decodable>(_ sql: String, _ parameters: (any SQLParameter)?..., as row: Row.Type) async throws -> Row? {
        let rows = try await run(sql, parameters).rows(as: row)
        guard rows.count <= 1 else {
            throw WorkflowFailure(code: "too_many_rows", message: "queryRow got \(rows.count) rows where at most one was expected")
        }
        return rows.first
    }

    private func run(_ sql: String, _ parameters: [(any SQLParameter)?]) async throws -> SQLResult {
        let texts = try parameters.map { try $0?.sqlText() }
        let reply = try await run.callAsynchronously { host, run, context in
            sql.withBytes { sql in
                withParameterBytes(texts) { host.pointee.transaction_execute(run, scope, sql, $0, $1, resumeContinuation, context) }
            }
        }
        return try SQLResult(json: try await run.value(of: reply, call: "SQL statement", in: scope))
    }
}

@available(*, unavailable, message: "SQL of a transaction runs one statement at a time, inside the transaction's body")
extension Database: Sendable {}
