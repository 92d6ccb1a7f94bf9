import PostgresClient
import WorkflowEngine

/// Workflows that are one SQL function: the function and the workflow's end are one transaction, on sessions of their own, so that a function that takes
/// its time holds up neither checkpoints nor other handlers' transactions. Loop thread only.
final class SQLHandlerRuns {
    private final class Run {
        let request: RequestID
        let fence: Fence
        var ticket: UInt64?
        var lease: SessionPool.Lease?
        /// The server may still be at it there.
        var lost: BackendIdentity?
        init(_ request: RequestID, _ fence: Fence) {
            self.request = request
            self.fence = fence
        }
    }

    var onEvent: ((StoreEvent) -> Void)?

    private let context: StoreContext
    private let pool: SessionPool
    private var runs: [RequestID: Run] = [:]
    /// They have a session, and wait until it is certain that this worker lives.
    private var uncertain: [Run] = []
    private var isEnding = false
    private var complaints = LogLimiter()

    init(context: StoreContext) {
        self.context = context
        pool = SessionPool(context: context, statements: StatementSet.handlers)
    }

    func close() { pool.close() }

    var isIdle: Bool { runs.isEmpty }

    func run(_ request: RequestID, _ fence: Fence) {
        guard !isEnding else { return onEvent?(.handlerRan(request, .refused(.fenced))) ?? () }
        let run = Run(request, fence)
        runs[request] = run
        lease(run) { [self] run in start(run) }
    }

    /// Undoes what has not ended; each is answered once the server has let go of it.
    func end() {
        isEnding = true
        for run in runs.values {
            if let lease = run.lease, lease.connection.outstanding > 0 { lease.connection.cancel() } else { finish(run, .retry(Self.stopping)) }
        }
    }

    /// Everything without an answer is answered: another worker owns it now. What was not committed is undone.
    func lifeEnded() {
        let open = runs.values.sorted { $0.request.value < $1.request.value }
        for run in open { finish(run, .refused(.fenced)) }
    }

    /// It may be certain again that this worker lives.
    func pump() {
        guard !uncertain.isEmpty, context.certainWorker != nil else { return }
        let ready = uncertain
        uncertain = []
        for run in ready where runs[run.request] === run { goOn(run) }
    }

    // MARK: Inside

    private static let stopping = WorkflowError(PostgresError(code: .connectionLost, message: "the worker is being stopped, and the function was undone"))

    private func lease(_ run: Run, _ action: @escaping (Run) -> Void) {
        // Zero marks the wish while it is being made: it may be served at once.
        run.ticket = 0
        let ticket = pool.take { [self, weak run] lease in
            guard let run, runs[run.request] === run else { return pool.giveBack(lease) }
            run.ticket = nil
            run.lease = lease
            action(run)
        }
        if run.ticket != nil { run.ticket = ticket }
    }

    private func goOn(_ run: Run) {
        if run.lost == nil { start(run) } else { readBack(run) }
    }

    private func start(_ run: Run) {
        guard let lease = run.lease else { return }
        guard let worker = context.certainWorker else { return uncertain.append(run) }
        RunHandlerStatement(worker: worker, fence: run.fence).add(to: lease.connection, &context.buffer)
        let backend = lease.connection.backend
        lease.connection.sync { [weak self, weak run] reply in
            guard let self, let run, runs[run.request] === run else { return }
            guard let failure = reply.failure else {
                // Committed here, but perhaps not where a successor would look: only its end can tell.
                if reply.commitIsDoubtful { return readBack(run) }
                return finish(run, Self.end(RunHandlerStatement.decode(reply.results[0])))
            }
            if failure.code == .connectionLost {
                run.lost = backend
                return readBackElsewhere(run)
            }
            switch failure.sqlState {
            // It happened while the function ran; the next try says who asked for the cancellation, and runs nothing.
            case "PW009": return start(run)
            case "PW001": return finish(run, .refused(.fenced))
            case "PW004": context.life?.check()
            default: break
            }
            finish(run, failure.isTransient || failure.sqlState == "PW004" ? .retry(WorkflowError(failure)) : .failed(WorkflowError(failure)))
        }
    }

    private static func end(_ word: String?) -> HandlerRunEnd {
        guard let word else { return .ended }
        if let cancellation = RefusalRows.cancellation(word) { return .refused(.cancelled(cancellation)) }
        return .refused(word == "recorded" ? .alreadyRecorded : .fenced)
    }

    // MARK: Lost answers

    private func readBackElsewhere(_ run: Run) {
        context.log(.notice, "the outcome of an SQL handler is unknown; reading it back. \(context.describe(run.fence))")
        if let lease = run.lease { pool.discard(lease) }
        run.lease = nil
        lease(run) { [self] run in readBack(run) }
    }

    /// Whether the workflow has ended, once the backend that may be about to end it is gone: asked by ending it, in a transaction that is rolled back.
    private func readBack(_ run: Run) {
        guard let lease = run.lease else { return }
        guard let worker = context.certainWorker else { return uncertain.append(run) }
        var gone = true
        if let backend = run.lost {
            EndBackendStatement(backend: backend).add(to: lease.connection, &context.buffer)
            lease.connection.sync { reply in gone = reply.failure == nil && reply.results.allSatisfy(EndBackendStatement.isGone) }
        }
        lease.connection.add(sql: TransactionCommand.begin(.readCommitted))
        CompleteWorkflowsStatement(worker: worker, ends: [WorkflowEnd(fence: run.fence, end: .failed(Self.stopping, reason: "error"))])
            .add(to: lease.connection, &context.buffer)
        lease.connection.add(sql: TransactionCommand.rollback)
        lease.connection.sync { [weak self, weak run] reply in
            guard let self, let run, runs[run.request] === run else { return }
            if let failure = reply.failure {
                if failure.code == .connectionLost { return readBackElsewhere(run) }
                if complaints.shouldLog() { context.log(.warning, "the outcome of an SQL handler cannot be read back: \(failure)") }
                return readBackLater(run)
            }
            switch RefusalRows.decode(reply.results[1]).first?.word {
            case "recorded": finish(run, .ended)
            case nil where !gone: readBackLater(run)
            case nil:
                finish(run, .retry(WorkflowError(PostgresError(code: .connectionLost, message: "the connection was lost, and the function was undone"))))
            default: finish(run, .refused(.fenced))
            }
        }
    }

    private func readBackLater(_ run: Run) {
        // A transaction that failed is not for the next look.
        if let lease = run.lease { pool.giveBack(lease) }
        run.lease = nil
        _ = context.loop.schedule(afterNanoseconds: 200_000_000) { [weak self, weak run] in
            guard let self, let run, runs[run.request] === run else { return }
            lease(run) { [self] run in readBack(run) }
        }
    }

    private func finish(_ run: Run, _ end: HandlerRunEnd) {
        runs[run.request] = nil
        if let ticket = run.ticket { pool.forget(ticket) }
        if let lease = run.lease {
            // In the middle of a statement, the session is ended: the server stops working on it within half a second.
            if lease.connection.outstanding > 0 { pool.discard(lease) } else { pool.giveBack(lease) }
        }
        switch end {
        case .ended, .refused(.fenced), .refused(.alreadyRecorded):
            context.disown(run.fence)
            context.life?.setRunning(context.owned.count)
        case .retry, .failed, .refused: break
        }
        onEvent?(.handlerRan(run.request, end))
    }
}
