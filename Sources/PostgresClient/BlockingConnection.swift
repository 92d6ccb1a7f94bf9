import CLibPQ
import Glibc

/// A connection for a thread of its own: each call waits for its answer, but never longer than it is told to.
package final class BlockingConnection {
    private let pointer: OpaquePointer
    package var processID: Int32 { PQbackendPID(pointer) }
    /// The role that the connection was made as.
    package var user: String { PQuser(pointer).map { String(cString: $0) } ?? "" }
    /// Told of what the server says beside its answers (NOTICE, WARNING).
    package var onNotice: ((PostgresError) -> Void)?
    /// A descriptor to watch while waiting for an answer: once it can be read, the server is asked to cancel the statement, whose error then comes
    /// as the answer. Negative: none.
    package var interruptDescriptor: Int32 = -1

    /// Connects; blocks as long as `connect_timeout` allows.
    package init(_ options: ConnectionOptions) throws(PostgresError) {
        pointer = try options.connect()
        let receiver: PQnoticeReceiver = { context, result in
            guard let context, let result else { return }
            Unmanaged<BlockingConnection>.fromOpaque(context).takeUnretainedValue().onNotice?(PostgresError(result: result))
        }
        // The connection is finished before this object goes.
        PQsetNoticeReceiver(pointer, receiver, Unmanaged.passUnretained(self).toOpaque())
        PQsetnonblocking(pointer, 1)
    }

    package convenience init(_ connectionString: String, applicationName: String = "pawld") throws(PostgresError) {
        try self.init(ConnectionOptions(connectionString: connectionString, applicationName: applicationName))
    }

    deinit { PQfinish(pointer) }

    /// Runs one statement with text parameters; results in text form.
    @discardableResult
    package func execute(_ sql: String, _ parameters: [String?] = [], timeoutNanoseconds: UInt64? = nil) throws(PostgresError) -> PostgresResult {
        guard !sql.utf8.contains(0), !parameters.contains(where: { $0?.utf8.contains(0) ?? false }) else {
            throw PostgresError(code: .badRequest, sqlState: "22021", message: "a text contains a NUL")
        }
        let texts = parameters.map { $0.map { strdup($0)! } }
        defer { for text in texts { free(text) } }
        let values = texts.map { $0.map { UnsafePointer($0) } }
        guard PQsendQueryParams(pointer, sql, Int32(values.count), nil, values, nil, nil, 0) == 1 else {
            throw PostgresError(connection: pointer, code: .connectionLost)
        }
        return try answer(timeoutNanoseconds)
    }

    /// Runs statements separated by semicolons, without parameters, in one transaction; the last answer.
    @discardableResult
    package func executeScript(_ sql: String) throws(PostgresError) -> PostgresResult {
        guard PQsendQuery(pointer, sql) == 1 else { throw PostgresError(connection: pointer, code: .connectionLost) }
        return try answer(nil)
    }

    /// Runs a prepared statement of the options with binary parameters and results.
    package func execute(
        _ statement: PreparedStatement, _ parameters: borrowing ParameterBuffer, timeoutNanoseconds: UInt64? = nil
    ) throws(PostgresError) -> PostgresResult {
        let sent = parameters.bytes.withUnsafeBytes { bytes in
            var values: [UnsafePointer<CChar>?] = []
            var lengths: [Int32] = []
            var start = 0
            for mark in parameters.ends {
                let end = mark < 0 ? -1 - mark : mark
                values.append(mark < 0 ? nil : bytes.baseAddress.map { ($0 + start).assumingMemoryBound(to: CChar.self) })
                lengths.append(Int32(end - start))
                start = end
            }
            let formats = [Int32](repeating: 1, count: values.count)
            return PQsendQueryPrepared(pointer, statement.name, Int32(values.count), values, lengths, formats, 1)
        }
        guard sent == 1 else { throw PostgresError(connection: pointer, code: .connectionLost) }
        return try answer(timeoutNanoseconds)
    }

    /// Whether the server has closed the connection, as far as can be seen without asking it.
    package var isClosed: Bool {
        // The end comes after the message that says why.
        while PQstatus(pointer) != CONNECTION_BAD, poll(POLLIN, timeoutMilliseconds: 0) == .ready {
            if PQconsumeInput(pointer) == 0 { return true }
        }
        return PQstatus(pointer) == CONNECTION_BAD
    }

    /// The socket, to wait on beside other descriptors.
    package var descriptor: Int32 { PQsocket(pointer) }

    private func answer(_ timeout: UInt64?) throws(PostgresError) -> PostgresResult {
        let deadline = timeout.map { EventLoop.now() &+ $0 }
        var interrupt = interruptDescriptor
        while true {
            let pending = PQflush(pointer)
            if pending < 0 { throw PostgresError(connection: pointer, code: .connectionLost) }
            if pending == 0, PQisBusy(pointer) == 0 { break }
            var milliseconds: Int32 = -1
            if let deadline {
                let now = EventLoop.now()
                guard now < deadline else { throw PostgresError(code: .timedOut, message: "the server did not answer in time") }
                milliseconds = Int32(clamping: (deadline - now + 999_999) / 1_000_000)
            }
            if poll(pending == 1 ? POLLIN | POLLOUT : POLLIN, timeoutMilliseconds: milliseconds, interrupt: interrupt) == .interrupted {
                cancel()
                interrupt = -1
            }
            // A failure leaves the answers that came before it to be read.
            if PQconsumeInput(pointer) == 0, PQisBusy(pointer) == 1 { throw PostgresError(connection: pointer, code: .connectionLost) }
        }
        var last: PostgresResult?
        var failure: PostgresError?
        while let result = PQgetResult(pointer) {
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                last = PostgresResult(result)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                PQclear(result)
                throw PostgresError(code: .connectionLost, message: "a COPY was begun that nobody can serve")
            default:
                if failure == nil {
                    failure = PostgresError(result: result, code: PQstatus(pointer) == CONNECTION_BAD ? .connectionLost : .server)
                }
                PQclear(result)
            }
        }
        if let failure { throw failure }
        guard let last else { throw PostgresError(connection: pointer, code: .connectionLost) }
        return last
    }

    /// Asks the server, over a connection of its own, to cancel what runs. Whether it did shows in the answer.
    private func cancel() {
        guard let target = PQgetCancel(pointer) else { return }
        defer { PQfreeCancel(target) }
        var reason = [CChar](repeating: 0, count: 256)
        _ = PQcancel(target, &reason, Int32(reason.count))
    }

    private enum Wait { case ready, interrupted, nothing }

    private func poll(_ events: Int32, timeoutMilliseconds: Int32, interrupt: Int32 = -1) -> Wait {
        // A negative descriptor is passed over.
        var waiting = [pollfd(fd: PQsocket(pointer), events: Int16(events), revents: 0), pollfd(fd: interrupt, events: Int16(POLLIN), revents: 0)]
        guard Glibc.poll(&waiting, 2, timeoutMilliseconds) > 0 else { return .nothing }
        return waiting[1].revents != 0 ? .interrupted : .ready
    }
}
