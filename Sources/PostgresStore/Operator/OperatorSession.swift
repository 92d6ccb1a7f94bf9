import Glibc
import PostgresClient

/// An operator's session: what a person asks of one database, one statement after another. Each call waits for its answer. Used by one thread.
///
/// What can be asked stands in extensions, a file for each kind of object.
package final class OperatorSession {
    private let connection: BlockingConnection
    /// Readable once the user wants no more: the statement that runs is then cancelled. Negative: none.
    package var interruptDescriptor: Int32 = -1 { didSet { connection.interruptDescriptor = interruptDescriptor } }

    /// - Parameters:
    ///   - database: what libpq takes; empty: the PG* environment.
    ///   - onNotice: what the server says beside its answers.
    package init(database: String, onNotice: ((String) -> Void)? = nil) throws(OperatorError) {
        do throws(PostgresError) {
            connection = try BlockingConnection(
                ConnectionOptions(
                    connectionString: database, applicationName: "pawl",
                    // Times and intervals come in the one form that is read here.
                    settings: [("DateStyle", "ISO"), ("TimeZone", "UTC"), ("IntervalStyle", "postgres"), ("extra_float_digits", "1")]))
        } catch {
            throw OperatorError(error, access: .observe, role: nil)
        }
        if let onNotice {
            connection.onNotice = { onNotice([$0.message, $0.detail, $0.hint].compactMap { $0 }.joined(separator: "\n")) }
        }
    }

    /// Why whatever follows is done, for the audit.
    package func setReason(_ reason: String) throws(OperatorError) {
        // A setting that is checked only once the library is loaded is dropped then, with a warning, and not refused.
        guard reason.utf8.count <= 1024 else { throw OperatorError("the reason has \(reason.utf8.count) bytes: give up to 1024") }
        _ = try value("SELECT set_config('pawl.reason', $1, false)", reason)
    }

    /// Whether the user wants no more.
    package var isInterrupted: Bool { waitForInterrupt(milliseconds: 0) }

    /// Waits that long, for what shows again and again; an error if the user wants no more.
    package func pause(milliseconds: Int32) throws(OperatorError) {
        if waitForInterrupt(milliseconds: milliseconds) { throw Self.interrupted }
    }

    private func waitForInterrupt(milliseconds: Int32) -> Bool {
        var waiting = pollfd(fd: interruptDescriptor, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, milliseconds) > 0
    }

    private static let interrupted = OperatorError("interrupted", .interrupted)

    private func execute(_ sql: String, _ parameters: [String?], _ access: OperatorAccess) throws(OperatorError) -> PostgresResult {
        try pause(milliseconds: 0)
        do throws(PostgresError) {
            return try connection.execute(sql, parameters)
        } catch {
            if error.sqlState == "57014", isInterrupted { throw Self.interrupted }
            throw OperatorError(error, access: access, role: connection.user)
        }
    }

    // MARK: For the extensions

    /// All rows of a statement with parameters $1, $2…
    func rows(_ sql: String, _ parameters: String?..., needs access: OperatorAccess = .observe) throws(OperatorError) -> OperatorRows {
        try rows(sql, parameters, needs: access)
    }

    func rows(_ sql: String, _ parameters: [String?], needs access: OperatorAccess = .observe) throws(OperatorError) -> OperatorRows {
        OperatorRows(try execute(sql, parameters, access))
    }

    /// The first value of the first row; NULL if there is none.
    func value(_ sql: String, _ parameters: String?..., needs access: OperatorAccess = .operate) throws(OperatorError) -> OperatorValue {
        try value(sql, parameters, needs: access)
    }

    func value(_ sql: String, _ parameters: [String?], needs access: OperatorAccess = .operate) throws(OperatorError) -> OperatorValue {
        OperatorRows(try execute(sql, parameters, access)).values.first?.first ?? .null
    }

    /// The rows of a long answer, page after page as they are made; `body` returns whether it wants more.
    func pages(
        _ sql: String, _ parameters: [String?], size: Int = 1000, needs access: OperatorAccess = .observe,
        _ body: (OperatorRows) throws(OperatorError) -> Bool
    ) throws(OperatorError) {
        _ = try execute("BEGIN READ ONLY", [], access)
        do throws(OperatorError) {
            _ = try execute("DECLARE pawl_pages NO SCROLL CURSOR FOR \(sql)", parameters, access)
            var more = true
            while more {
                let page = OperatorRows(try execute("FETCH \(size) FROM pawl_pages", [], access))
                more = try body(page) && page.count == size
            }
        } catch {
            _ = try? connection.execute("ROLLBACK")
            throw error
        }
        _ = try execute("COMMIT", [], access)
    }

    /// `text[]` as a parameter.
    static func array(_ elements: [String]) -> String {
        "{" + elements.map { "\"\($0.withBackslash(before: ["\\", "\""]))\"" }.joined(separator: ",") + "}"
    }
}
