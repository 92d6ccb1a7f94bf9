import CLibPQ

/// What went wrong with a statement or a connection. Its description is safe in a log: it never holds values, parameters or the
/// connection string.
package struct PostgresError: Error, Sendable, Equatable, CustomStringConvertible {
    package struct Code: Hashable, Sendable {
        let word: String
        /// The server answered with an error; see `sqlState`.
        package static let server = Code(word: "server error")
        /// The connection went away before the answer came: what the statement did is unknown.
        package static let connectionLost = Code(word: "connection lost")
        /// No connection could be made.
        package static let cannotConnect = Code(word: "cannot connect")
        /// The request cannot be sent as it is (a NUL in a text, a COPY); nothing was done.
        package static let badRequest = Code(word: "bad request")
        /// The connection string cannot be read.
        package static let badConnectionString = Code(word: "bad connection string")
        /// No answer came in time: what the statement did is unknown.
        package static let timedOut = Code(word: "timed out")
    }

    package var code: Code
    /// Five characters, from the server; nil if the error is the client's own.
    package var sqlState: String?
    /// The server's primary message. May quote a value, so it belongs in an answer to whoever sent it, not in a log.
    package var message: String
    package var detail: String?
    package var hint: String?
    package var schema: String?
    package var constraint: String?

    package init(code: Code, sqlState: String? = nil, message: String, detail: String? = nil, hint: String? = nil) {
        self.code = code
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
    }

    /// The first two characters of the SQLSTATE.
    package var sqlClass: String? { sqlState.map { String($0.prefix(2)) } }

    /// Whether the same request may succeed later, unchanged. The one place that decides it.
    package var isTransient: Bool {
        switch code {
        case .connectionLost, .cannotConnect, .timedOut: return true
        case .server: break
        default: return false
        }
        switch sqlState {
        case "55P03", "55006", "25006", "40001", "40P01": return true
        default: break
        }
        switch sqlClass {
        case "08", "53", "57", "58": return true
        default: return false
        }
    }

    /// Whether the transaction was undone by a conflict with another one, and its body may run again.
    package var isSerializationConflict: Bool { sqlState == "40001" || sqlState == "40P01" }

    /// Whether the data itself was refused: sending it again cannot help.
    package var isDataError: Bool {
        switch sqlClass {
        case "21", "22", "23", "44", "54": return true
        default: return false
        }
    }

    package var description: String {
        var text = code.word
        if let sqlState { text += " \(sqlState)" }
        if let constraint { text += " (constraint \(constraint))" }
        // Messages of data errors quote the data.
        if !isDataError { text += ": \(message)" }
        return text
    }

    /// Reads an error result. Any thread; the result stays the caller's.
    init(result: OpaquePointer, code: Code = .server) {
        func field(_ name: UInt8) -> String? { PQresultErrorField(result, Int32(name)).map { String(cString: $0) } }
        self.code = code
        sqlState = field(UInt8(ascii: "C"))
        message = field(UInt8(ascii: "M")) ?? PQresultErrorMessage(result).map { String(cString: $0) } ?? "unknown error"
        while message.last?.isWhitespace == true { message.removeLast() }
        detail = field(UInt8(ascii: "D"))
        hint = field(UInt8(ascii: "H"))
        schema = field(UInt8(ascii: "s"))
        constraint = field(UInt8(ascii: "n"))
    }

    /// What a connection object says of its own trouble.
    init(connection: OpaquePointer, code: Code) {
        var text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        while text.last?.isWhitespace == true { text.removeLast() }
        self.init(code: code, message: text.isEmpty ? "no reason given" : text)
    }
}
