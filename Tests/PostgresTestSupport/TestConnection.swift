import CLibPQ
import Foundation

/// A session for tests: libpq's blocking calls, text in and out. Not the client under test.
///
/// Used by one task at a time. `start` and `finish` let one task hold several sessions in statements that wait for each other.
package final class TestConnection {
    // Opened in init, finished in deinit or close, never handed out.
    private var connection: OpaquePointer?

    package init(_ connectionString: String) throws {
        connection = PQconnectdb(connectionString)
        guard PQstatus(connection) == CONNECTION_OK else {
            let message = String(cString: PQerrorMessage(connection))
            PQfinish(connection)
            connection = nil
            throw TestFailure("cannot connect to '\(connectionString)': \(message)")
        }
        // A NOTICE is for people; the tests' output is for failures.
        PQsetNoticeProcessor(connection, { _, _ in }, nil)
    }

    deinit { close() }

    package func close() {
        PQfinish(connection)
        connection = nil
    }

    /// The server process of this session.
    package var backendPID: Int32 { PQbackendPID(connection) }

    /// Runs one statement with `$1`, `$2`… taken from `parameters`; `nil` is NULL.
    @discardableResult
    package func execute(_ sql: String, _ parameters: String?...) throws -> TestRows {
        try execute(sql, parameters: parameters)
    }

    @discardableResult
    package func execute(_ sql: String, parameters: [String?]) throws -> TestRows {
        let result = withCStrings(parameters) { values in
            PQexecParams(connection, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        return try TestRows(result, of: connection, sql)
    }

    /// Runs a script of any number of statements; the rows of the last one come back.
    @discardableResult
    package func script(_ sql: String) throws -> TestRows {
        try TestRows(PQexec(connection, sql), of: connection, sql)
    }

    /// The first column of the first row.
    package func value(_ sql: String, _ parameters: String?...) throws -> String? {
        try execute(sql, parameters: parameters).value
    }

    /// The first column of the first row, as an integer; an error if there is none.
    package func integer(_ sql: String, _ parameters: String?...) throws -> Int {
        guard let text = try execute(sql, parameters: parameters).value, let number = Int(text) else {
            throw TestFailure("no integer came from: \(sql)")
        }
        return number
    }

    /// Sends a statement and returns at once.
    package func start(_ sql: String, _ parameters: String?...) throws {
        let sent = withCStrings(parameters) { values in
            PQsendQueryParams(connection, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        guard sent == 1 else { throw TestFailure("\(String(cString: PQerrorMessage(connection))): \(sql)") }
    }

    /// Waits for the statement that `start` sent.
    @discardableResult
    package func finish() throws -> TestRows {
        var rows: TestRows?
        var failure: (any Error)?
        while let result = PQgetResult(connection) {
            do { rows = try TestRows(result, of: connection, "the started statement") } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
        guard let rows else { throw TestFailure("no statement was started") }
        return rows
    }

    private func withCStrings<Result>(
        _ parameters: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result
    ) -> Result {
        let copies = parameters.map { $0.flatMap { strdup($0) } }
        defer { copies.forEach { free($0) } }
        return copies.map { UnsafePointer($0) }.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
