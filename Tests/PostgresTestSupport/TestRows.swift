import CLibPQ

/// What a statement answered, as text.
package struct TestRows: Sendable {
    package let columns: [String]
    package let rows: [[String?]]

    package var value: String? { rows.first?.first ?? nil }

    /// One column of all rows; an unknown name is a mistake in the test.
    package func column(_ name: String) throws -> [String?] {
        guard let index = columns.firstIndex(of: name) else {
            throw TestFailure("no column \(name) among \(columns.joined(separator: ", "))")
        }
        return rows.map { $0[index] }
    }

    /// Takes a result over and frees it.
    init(_ result: OpaquePointer?, of connection: OpaquePointer?, _ sql: String) throws {
        defer { PQclear(result) }
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
            let width = PQnfields(result)
            columns = (0..<width).map { String(cString: PQfname(result, $0)) }
            rows = (0..<PQntuples(result)).map { row in
                (0..<width).map { PQgetisnull(result, row, $0) == 1 ? nil : String(cString: PQgetvalue(result, row, $0)) }
            }
        default:
            throw TestSQLError(result, of: connection, sql)
        }
    }
}

/// An error that the server, or libpq, reported.
package struct TestSQLError: Error, CustomStringConvertible {
    /// Empty if the connection was lost.
    package let sqlState: String
    package let message: String
    package let detail: String?
    package let hint: String?
    package let statement: String

    package var description: String {
        "\(sqlState.isEmpty ? "connection" : sqlState): \(message)\(detail.map { " (\($0))" } ?? "") in: \(statement.prefix(300))"
    }

    init(_ result: OpaquePointer?, of connection: OpaquePointer?, _ sql: String) {
        func field(_ code: Character) -> String? {
            PQresultErrorField(result, Int32(code.asciiValue ?? 0)).map { String(cString: $0) }
        }
        sqlState = field("C") ?? ""
        message = field("M") ?? String(cString: PQerrorMessage(connection))
        detail = field("D")
        hint = field("H")
        statement = sql
    }
}
