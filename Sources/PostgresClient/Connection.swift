import CLibPQ
import Glibc

/// What became of one request: its statements, in the transaction that its sync committed, or not.
package struct Reply {
    /// One for each statement that succeeded, in order; a failing one ends the list.
    package var results: [PostgresResult] = []
    /// Why the request failed, or why its outcome is unknown (`connectionLost`). nil: everything is committed, or is in the
    /// transaction that the request left open.
    package var failure: PostgresError?
    /// SQLSTATEs of warnings that came with it.
    package var warnings: [String] = []

    /// The server said that the commit is not as safe as asked for (a synchronous standby gone): its outcome is not settled.
    package var commitIsDoubtful: Bool { failure == nil && warnings.contains("01000") }
}

package enum TransactionStatus: Sendable {
    case idle, inTransaction, inFailedTransaction, unknown
}

/// One libpq connection in pipeline mode, owned by an event loop and touched on its thread only.
///
/// A request is `add`ed statement by statement and closed by `sync`. The statements between two syncs outside an explicit transaction
/// are one transaction; its handler is called only after the answer to its sync, because a result in a pipeline is not yet a commit.
/// If the connection goes away, every request without an answer fails with `connectionLost`.
package final class Connection: @unchecked Sendable {  // the loop thread's, as every method asserts
    private struct Request {
        var reply = Reply()
        let handler: (Reply) -> Void
    }

    package let loop: EventLoop
    package let backend: BackendIdentity
    /// Called once when the connection is gone, after all requests have been answered; not after `close`.
    package var onLost: ((PostgresError) -> Void)?

    private let connector: Connector
    /// nil: closed or lost.
    private var pointer: OpaquePointer?
    private var token: UInt64 = 0
    private var requests: [Request] = []
    private var head = 0
    private var wantsWrite = false
    /// What went wrong with a statement that could not even be sent; the request fails with it.
    private var unsent: PostgresError?
    private var lostBecause: PostgresError?

    init(_ fresh: FreshConnection, loop: EventLoop, connector: Connector) {
        loop.assertCurrent()
        self.loop = loop
        self.connector = connector
        backend = fresh.identity
        pointer = fresh.pointer
        PQsetNoticeReceiver(fresh.pointer, receiveNotice, Unmanaged.passUnretained(self).toOpaque())
        token = loop.watch(PQsocket(fresh.pointer)) { [weak self] events in self?.ready(events) }
    }

    deinit {
        if let pointer {
            loop.unwatch(token)
            PQfinish(pointer)
        }
    }

    package var isOpen: Bool { pointer != nil }

    /// Requests that have no answer yet.
    package var outstanding: Int { requests.count - head }

    package var transactionStatus: TransactionStatus {
        guard let pointer else { return .unknown }
        switch PQtransactionStatus(pointer) {
        case PQTRANS_IDLE: return .idle
        case PQTRANS_INTRANS: return .inTransaction
        case PQTRANS_INERROR: return .inFailedTransaction
        default: return .unknown
        }
    }

    /// The session's `worker`-side view of a reported setting, such as `server_version`.
    package func parameter(_ name: String) -> String? {
        pointer.flatMap { PQparameterStatus($0, name) }.map { String(cString: $0) }
    }

    // MARK: Requests

    /// Adds a prepared statement with binary parameters; binary results.
    package func add(_ statement: PreparedStatement, _ parameters: borrowing ParameterBuffer) {
        loop.assertCurrent()
        guard let pointer else { return }
        let count = parameters.count
        let sent = parameters.bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: count) { values in
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: count * 2) { numbers in
                    var start = 0
                    for index in 0..<count {
                        let mark = parameters.ends[index]
                        let end = mark < 0 ? -1 - mark : mark
                        let base = bytes.baseAddress.map { $0 + start } ?? Self.empty
                        values.initializeElement(at: index, to: mark < 0 ? nil : base.assumingMemoryBound(to: CChar.self))
                        numbers.initializeElement(at: index, to: Int32(end - start))
                        numbers.initializeElement(at: count + index, to: 1)
                        start = end
                    }
                    return PQsendQueryPrepared(
                        pointer, statement.name, Int32(count), values.baseAddress, numbers.baseAddress, numbers.baseAddress! + count, 1)
                }
            }
        }
        if sent != 1 { failToSend(pointer) }
    }

    // One byte that nobody reads: a parameter of no bytes still needs an address, or it would be a NULL.
    private nonisolated(unsafe) static let empty = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))

    /// Adds one SQL statement of any text, with text parameters whose types the server infers; results in text form.
    package func add(sql: String, _ parameters: [[UInt8]?] = []) {
        loop.assertCurrent()
        guard let pointer else { return }
        guard !sql.utf8.contains(0) else { return refuse("the SQL text contains a NUL") }
        guard parameters.count <= 65_535 else { return refuse("\(parameters.count) parameters; at most 65535 are possible") }
        var texts: [UInt8] = []
        texts.reserveCapacity(parameters.reduce(0) { $0 + ($1?.count ?? 0) + 1 })
        for (index, parameter) in parameters.enumerated() {
            guard let parameter else { continue }
            guard !parameter.withUnsafeBytes({ memchr($0.baseAddress ?? Self.empty, 0, $0.count) != nil }) else {
                return refuse("parameter $\(index + 1) contains a NUL")
            }
            texts.append(contentsOf: parameter)
            texts.append(0)
        }
        let sent = texts.withUnsafeBytes { bytes in
            var values: [UnsafePointer<CChar>?] = []
            values.reserveCapacity(parameters.count)
            var start = 0
            for parameter in parameters {
                if let parameter {
                    values.append((bytes.baseAddress! + start).assumingMemoryBound(to: CChar.self))
                    start += parameter.count + 1
                } else {
                    values.append(nil)
                }
            }
            return PQsendQueryParams(pointer, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        if sent != 1 { failToSend(pointer) }
    }

    /// Closes the request and sends it. `handler` is called exactly once, later, on the loop.
    package func sync(_ handler: @escaping (Reply) -> Void) {
        loop.assertCurrent()
        let refused = unsent
        unsent = nil
        guard let pointer else {
            let error = lostBecause ?? PostgresError(code: .connectionLost, message: "the connection is closed")
            return loop.atEndOfRound { handler(Reply(failure: error)) }
        }
        var request = Request(handler: handler)
        // Statements of the request that went before the refused one still run: the caller sees the failure and rolls back.
        request.reply.failure = refused
        requests.append(request)
        if PQpipelineSync(pointer) != 1 { failToSend(pointer) }
        flush()
    }

    private func refuse(_ reason: String) {
        if unsent == nil { unsent = PostgresError(code: .badRequest, sqlState: "22021", message: reason) }
    }

    /// libpq could not take a statement: out of memory, or the connection is gone. Either way it is of no use any more.
    private func failToSend(_ pointer: OpaquePointer) {
        let error = PostgresError(connection: pointer, code: .connectionLost)
        lostBecause = error
        // Not from inside the caller's call.
        loop.atEndOfRound { [self] in lose(error) }
    }

    /// Asks the server to cancel what runs now. The request's own answer tells whether that came in time.
    package func cancel() {
        guard let pointer, let target = PQgetCancel(pointer) else { return }
        connector.cancel(CancelTarget(pointer: target))
    }

    /// Closes at once. Requests without an answer fail with `connectionLost`; `onLost` is not called.
    package func close() {
        loop.assertCurrent()
        onLost = nil
        lose(PostgresError(code: .connectionLost, message: "the connection was closed"))
    }

    // MARK: Events

    private func flush() {
        guard let pointer else { return }
        let outcome = PQflush(pointer)
        // A failed write shows as the end of the input, after the answers that still came.
        let wanted = outcome == 1
        if wanted != wantsWrite {
            wantsWrite = wanted
            loop.setWantsWrite(token, wanted)
        }
    }

    private func ready(_ events: UInt32) {
        guard let pointer else { return }
        let readable = PQconsumeInput(pointer) == 1
        drain()
        guard let pointer = self.pointer else { return }
        guard readable else { return lose(PostgresError(connection: pointer, code: .connectionLost)) }
        if wantsWrite { flush() }
    }

    /// Handles all answers that are complete.
    private func drain() {
        // Also reads notices and settings while nothing is outstanding.
        if let pointer, head == requests.count { _ = PQisBusy(pointer) }
        var idle = 0
        while head < requests.count, let pointer {
            guard PQisBusy(pointer) == 0 else { break }
            guard let result = PQgetResult(pointer) else {
                // The gap between two statements. More than a few in a row and libpq has lost count of what it was asked.
                idle += 1
                if PQstatus(pointer) == CONNECTION_BAD || idle > 8 { return lose(PostgresError(connection: pointer, code: .connectionLost)) }
                continue
            }
            idle = 0
            switch PQresultStatus(result) {
            case PGRES_PIPELINE_SYNC:
                PQclear(result)
                let request = requests[head]
                head += 1
                if head == requests.count {
                    requests.removeAll(keepingCapacity: true)
                    head = 0
                } else if head > 256 {
                    requests.removeSubrange(0..<head)
                    head = 0
                }
                request.handler(request.reply)
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                requests[head].reply.results.append(PostgresResult(result))
            case PGRES_PIPELINE_ABORTED:
                PQclear(result)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                PQclear(result)
                requests[head].reply.failure = PostgresError(
                    code: .badRequest, sqlState: "0A000", message: "COPY from or to the client is not supported here")
                return lose(PostgresError(code: .connectionLost, message: "a COPY was begun that nobody can serve"))
            default:
                let error = PostgresError(result: result)
                PQclear(result)
                if PQstatus(pointer) == CONNECTION_BAD { return lose(PostgresError(code: .connectionLost, sqlState: error.sqlState, message: error.message)) }
                if requests[head].reply.failure == nil { requests[head].reply.failure = error }
            }
        }
    }

    private func lose(_ error: PostgresError) {
        guard let pointer else { return }
        self.pointer = nil
        lostBecause = error
        loop.unwatch(token)
        PQfinish(pointer)
        let unanswered = requests[head...]
        requests = []
        head = 0
        for var request in unanswered {
            // An error that came before the loss says why, but the sync never came. One of our own was never sent.
            if let known = request.reply.failure, known.code == .badRequest {
                request.reply.failure = known
            } else {
                request.reply.failure = PostgresError(
                    code: .connectionLost, sqlState: request.reply.failure?.sqlState ?? error.sqlState,
                    message: request.reply.failure?.message ?? error.message)
            }
            request.reply.results = []
            request.handler(request.reply)
        }
        let onLost = self.onLost
        self.onLost = nil
        onLost?(error)
    }

    fileprivate func noticed(sqlState: String) {
        if head < requests.count { requests[head].reply.warnings.append(sqlState) }
    }
}

/// Called by libpq while it reads, on the loop's thread.
private func receiveNotice(_ context: UnsafeMutableRawPointer?, _ result: OpaquePointer?) {
    guard let context, let result else { return }
    guard let severity = PQresultErrorField(result, Int32(UInt8(ascii: "V"))), String(cString: severity) == "WARNING",
        let state = PQresultErrorField(result, Int32(UInt8(ascii: "C")))
    else { return }
    Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue().noticed(sqlState: String(cString: state))
}
