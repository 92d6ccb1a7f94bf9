import PostgresClient
import WorkflowEngine

/// Handlers' transactions and queries. Loop thread only.
final class HandlerSQL {
    private final class OpenTransaction {
        let id: RequestID
        let fence: Fence
        let isolation: IsolationLevel
        var lease: SessionPool.Lease?
        var ticket: UInt64?
        /// BEGIN has been sent.
        var hasBegun = false
        /// What was asked for while no session was there.
        var waiting: [() -> Void] = []
        /// Why it can only be undone.
        var failure: PostgresError?
        /// Statements without an answer.
        var outstanding: Set<RequestID> = []
        var committing: (request: RequestID, record: StepRecord)?
        init(_ id: RequestID, _ fence: Fence, _ isolation: IsolationLevel) {
            self.id = id
            self.fence = fence
            self.isolation = isolation
        }
    }

    var onEvent: ((StoreEvent) -> Void)?

    private let context: StoreContext
    private let pool: SessionPool
    private let writes: WriteSessions
    private var transactions: [RequestID: OpenTransaction] = [:]
    private var queries: Set<RequestID> = []
    /// Commits that wait until it is certain that this worker lives.
    private var uncertain: [OpenTransaction] = []

    init(context: StoreContext, writes: WriteSessions) {
        self.context = context
        self.writes = writes
        pool = SessionPool(context: context, statements: StatementSet.pool)
    }

    func close() { pool.close() }

    /// No commit is under way whose fate somebody waits for.
    var isIdle: Bool { !transactions.values.contains { $0.committing != nil } }

    // MARK: Requests

    func begin(_ id: RequestID, _ fence: Fence, _ isolation: IsolationLevel) {
        transactions[id] = OpenTransaction(id, fence, isolation)
    }

    func execute(_ request: RequestID, in id: RequestID, _ statement: SQLStatement) {
        guard let transaction = transactions[id] else { return answer(request, Self.gone) }
        if let failure = transaction.failure {
            return answer(
                request,
                PostgresError(code: .server, sqlState: "25P02", message: "an earlier statement of the transaction failed (\(failure.sqlState ?? "08006"))"))
        }
        transaction.outstanding.insert(request)
        let verdict = LeadingKeyword.judge(statement.sql)
        if case .controlsTransaction(let word) = verdict {
            transaction.failure = PostgresError(
                code: .badRequest, sqlState: "2D000",
                message: "\(word) inside a transaction of a workflow: it commits with its step when its body ends, and rolls back when the body fails")
            return settle(request, of: transaction, transaction.failure)
        }
        whenLeased(transaction) { [self, unowned transaction] in
            guard let lease = transaction.lease else { return }
            if case .dirties = verdict { lease.isDirty = true }
            let offset = sendBegin(transaction, lease)
            lease.connection.add(sql: statement.sql, statement.parameters)
            lease.connection.sync { [weak self, weak transaction] reply in
                guard let self, let transaction, transactions[id] === transaction, transaction.outstanding.contains(request) else { return }
                if let failure = reply.failure {
                    transaction.failure = failure
                } else if lease.connection.outstanding == 0, lease.connection.transactionStatus != .inTransaction {
                    transaction.failure = PostgresError(
                        code: .badRequest, sqlState: "2D000", message: "the statement ended the transaction; what came after it in the body is undone")
                    pool.discard(lease)
                } else {
                    return settle(request, of: transaction, SQLResultJSON.encode(reply.results[offset]))
                }
                settle(request, of: transaction, transaction.failure)
            }
        }
    }

    func commit(_ request: RequestID, _ id: RequestID, _ record: StepRecord) {
        guard let transaction = transactions[id] else { return onEvent?(.transactionEnded(request, .refused(.fenced))) ?? () }
        transaction.committing = (request, record)
        guard transaction.failure == nil else { return end(transaction, undone(transaction.failure!)) }
        whenLeased(transaction) { [self, unowned transaction] in sendCommit(transaction) }
    }

    func rollback(_ id: RequestID) {
        guard let transaction = transactions.removeValue(forKey: id) else { return }
        drop(transaction)
    }

    func query(_ request: RequestID, _ statement: SQLStatement) {
        queries.insert(request)
        let verdict = LeadingKeyword.judge(statement.sql)
        if case .controlsTransaction(let word) = verdict {
            return answerQuery(
                request, .failure(WorkflowError(PostgresError(code: .badRequest, sqlState: "2D000", message: "\(word) is not a query"))))
        }
        pool.take { [self] lease in
            guard queries.contains(request) else { return pool.giveBack(lease) }
            if case .dirties = verdict { lease.isDirty = true }
            lease.connection.add(sql: TransactionCommand.beginReadOnly)
            lease.connection.add(sql: statement.sql, statement.parameters)
            // Rolled back: settings that the query made go with it.
            lease.connection.add(sql: TransactionCommand.rollback)
            lease.connection.sync { [weak self] reply in
                guard let self else { return }
                if let failure = reply.failure {
                    answerQuery(request, .failure(WorkflowError(failure)))
                } else {
                    answerQuery(request, .success(SQLResultJSON.encode(reply.results[1])))
                }
                pool.giveBack(lease)
            }
        }
    }

    /// Everything without an answer is answered: another worker owns it now. What was not committed is undone.
    func lifeEnded() {
        let open = transactions.values.sorted { $0.id.value < $1.id.value }
        let asked = queries.sorted { $0.value < $1.value }
        transactions = [:]
        queries = []
        uncertain = []
        for transaction in open {
            drop(transaction)
            for request in transaction.outstanding { answer(request, Self.gone) }
            if let (request, _) = transaction.committing { onEvent?(.transactionEnded(request, .refused(.fenced))) }
        }
        for request in asked { answer(request, Self.gone) }
    }

    /// It may be certain again that this worker lives.
    func pump() {
        guard !uncertain.isEmpty, context.certainWorker != nil else { return }
        let ready = uncertain
        uncertain = []
        for transaction in ready where transactions[transaction.id] === transaction { sendCommit(transaction) }
    }

    // MARK: Inside

    private static let gone = PostgresError(
        code: .server, sqlState: "PW001", message: "the transaction is gone: this worker has lost the workflow")

    private func whenLeased(_ transaction: OpenTransaction, _ action: @escaping () -> Void) {
        if transaction.lease != nil { return action() }
        transaction.waiting.append(action)
        guard transaction.ticket == nil else { return }
        // Zero marks the wish while it is being made: it may be served at once.
        transaction.ticket = 0
        let ticket = pool.take { [self, weak transaction] lease in
            guard let transaction, transactions[transaction.id] === transaction else { return pool.giveBack(lease) }
            transaction.lease = lease
            let actions = transaction.waiting
            transaction.waiting = []
            for action in actions { action() }
        }
        transaction.ticket = ticket
    }

    /// Adds BEGIN before the first statement; how many results precede the next one.
    private func sendBegin(_ transaction: OpenTransaction, _ lease: SessionPool.Lease) -> Int {
        guard !transaction.hasBegun else { return 0 }
        transaction.hasBegun = true
        lease.connection.add(sql: TransactionCommand.begin(transaction.isolation))
        guard let number = context.incarnation?.registration.workerNumber else { return 1 }
        MarkTransactionStatement(workerNumber: number).add(to: lease.connection, &context.buffer)
        return 2
    }

    private func sendCommit(_ transaction: OpenTransaction) {
        guard let (_, record) = transaction.committing, let lease = transaction.lease else { return }
        // A statement that failed behind our back.
        if let failure = transaction.failure { return end(transaction, undone(failure)) }
        guard let owned = context.owned[record.fence.key], owned.epoch == record.fence.epoch else {
            return end(transaction, .refused(.fenced))
        }
        guard let worker = context.certainWorker else { return uncertain.append(transaction) }
        let offset = sendBegin(transaction, lease)
        RecordStepStatement(worker: worker, workflowID: owned.workflowID, record: record).add(to: lease.connection, &context.buffer)
        lease.connection.add(sql: TransactionCommand.commit)
        let backend = lease.connection.backend
        lease.connection.sync { [weak self, weak transaction] reply in
            guard let self, let transaction, transactions[transaction.id] === transaction else { return }
            guard let failure = reply.failure else {
                if reply.commitIsDoubtful { return readBack(transaction, record, after: nil) }
                guard reply.results.last?.commandTag == "COMMIT" else {
                    return end(
                        transaction,
                        .failed(
                            WorkflowError(
                                PostgresError(
                                    code: .server, sqlState: "25P02", message: "the transaction had failed before its commit, and was rolled back"))))
                }
                return end(transaction, .committed)
            }
            if failure.code == .connectionLost { return readBack(transaction, record, after: backend) }
            if reply.results.count == offset, failure.sqlState == "PW001" {
                context.disown(record.fence)
                return end(transaction, .refused(.fenced))
            }
            if reply.results.count == offset, failure.sqlState == "PW009" { return refuse(transaction, record, lease) }
            if reply.results.count == offset, failure.sqlState == "23505" {
                // Recorded by an earlier run after this one had read what was there: handed back, the workflow is replayed with it.
                context.log(.warning, "step \(record.name) was recorded by an earlier run; handing the workflow back. \(context.describe(record.fence))")
                writes.release([record.fence])
                return end(transaction, .refused(.fenced))
            }
            end(transaction, undone(failure))
        }
    }

    /// The workflow is being cancelled. Who asked for that, record_steps says, in a transaction that is rolled back.
    private func refuse(_ transaction: OpenTransaction, _ record: StepRecord, _ lease: SessionPool.Lease) {
        guard let worker = context.certainWorker else { return end(transaction, .refused(.cancelled(.request))) }
        lease.connection.add(sql: TransactionCommand.rollback)
        lease.connection.add(sql: TransactionCommand.begin(.readCommitted))
        RecordStepsStatement(worker: worker, steps: [record]).add(to: lease.connection, &context.buffer)
        lease.connection.add(sql: TransactionCommand.rollback)
        lease.connection.sync { [weak self, weak transaction] reply in
            guard let self, let transaction, transactions[transaction.id] === transaction else { return }
            if let failure = reply.failure { return end(transaction, undone(failure)) }
            let word = RefusalRows.decode(reply.results[2]).first?.word
            if word == "fenced" {
                context.disown(record.fence)
                return end(transaction, .refused(.fenced))
            }
            end(transaction, .refused(.cancelled(word.flatMap(RefusalRows.cancellation) ?? .request)))
        }
    }

    /// The answer to the COMMIT was lost, or doubtful: only the row can tell.
    private func readBack(_ transaction: OpenTransaction, _ record: StepRecord, after backend: BackendIdentity?) {
        context.log(.notice, "the outcome of the commit of step \(record.name) is unknown; reading it back. \(context.describe(record.fence))")
        writes.readBack(record.fence, step: record.name, after: backend) { [weak self, weak transaction] isRecorded in
            guard let self, let transaction, transactions[transaction.id] === transaction else { return }
            switch isRecorded {
            case true?: end(transaction, .committed)
            case false?:
                let error = PostgresError(code: .connectionLost, message: "the connection was lost before the commit, and nothing was recorded")
                end(transaction, .retry(WorkflowError(error)))
            case nil: end(transaction, .refused(.fenced))
            }
        }
    }

    private func undone(_ failure: PostgresError) -> TransactionEnd {
        failure.isTransient ? .retry(WorkflowError(failure)) : .failed(WorkflowError(failure))
    }

    private func end(_ transaction: OpenTransaction, _ end: TransactionEnd) {
        transactions[transaction.id] = nil
        drop(transaction)
        if let (request, _) = transaction.committing { onEvent?(.transactionEnded(request, end)) }
    }

    /// Gives its session back. One that is in the middle of a statement is ended: the server stops working on it within half a second, and a
    /// cancel that came late could hit the next one.
    private func drop(_ transaction: OpenTransaction) {
        if let ticket = transaction.ticket, transaction.lease == nil { pool.forget(ticket) }
        guard let lease = transaction.lease else { return }
        transaction.lease = nil
        if lease.connection.outstanding > 0 { pool.discard(lease) } else { pool.giveBack(lease) }
    }

    private func settle(_ request: RequestID, of transaction: OpenTransaction, _ value: [UInt8]) {
        transaction.outstanding.remove(request)
        onEvent?(.executed(request, .success(value)))
    }

    private func settle(_ request: RequestID, of transaction: OpenTransaction, _ failure: PostgresError?) {
        transaction.outstanding.remove(request)
        if let failure { answer(request, failure) }
    }

    private func answer(_ request: RequestID, _ error: PostgresError) { onEvent?(.executed(request, .failure(WorkflowError(error)))) }

    private func answerQuery(_ request: RequestID, _ result: SQLResult) {
        guard queries.remove(request) != nil else { return }
        onEvent?(.executed(request, result))
    }
}
