/// Transactions, whose SQL and checkpoint commit together, and queries, whose rows are recorded as a step.
extension EngineStateMachine {
    struct Transaction {
        enum State {
            /// The body runs. → executing, committing, backingOff, or removed (its failure is being recorded)
            case open
            /// SQL is on its way. → open
            case executing(RequestID)
            /// → removed, or backingOff
            case committing
            /// Undone; the body runs again after a while. → open
            case backingOff
        }
        var state = State.open
        /// The store's name for it; each attempt has its own.
        var request: RequestID
        var record: StepRecord
        var isolation: IsolationLevel
        var policy: RetryPolicy
        /// Of this attempt of the step: how often its body was run.
        var attempt = 1
        /// What SQL said when it failed: the transaction can only be undone, or is.
        var failure: WorkflowError?
    }

    struct Query {
        var owner: ScopeOfRun
        var record: StepRecord
        var statement: SQLStatement
        var attempt = 1
    }

    enum OutstandingSQL {
        case execute(ScopeOfRun)
        case commit(ScopeOfRun)
        case query(Query)
    }

    // MARK: What the handler calls

    mutating func beginTransaction(
        _ scope: ScopeID, _ record: StepRecord, _ isolation: IsolationLevel, _ policy: RetryPolicy, _ slot: Int, _ actions: inout Actions
    ) {
        let request = newRequest()
        transactions[ScopeOfRun(run: id(slot), scope: scope)] = Transaction(request: request, record: record, isolation: isolation, policy: policy)
        runs[slot].transactions.append(scope)
        actions.requests.append(.begin(request, runs[slot].fence, isolation))
    }

    mutating func execute(_ scope: ScopeID, _ statement: SQLStatement, _ receiver: CallReceiver, _ slot: Int, _ actions: inout Actions) {
        let owner = ScopeOfRun(run: id(slot), scope: scope)
        runs[slot].outstanding.append((scope, receiver))
        guard var transaction = transactions[owner] else { return answer(scope, of: slot, .stopped, &actions) }
        if let failure = transaction.failure {
            let error = WorkflowError(
                code: "25P02", type: "Pawl.SQL",
                message: "An earlier statement of this transaction failed (\(failure.code)): it can only be ended.", step: transaction.record.name)
            return answer(scope, of: slot, .failure(error), &actions)
        }
        let request = newRequest()
        transaction.state = .executing(request)
        transactions[owner] = transaction
        requests[request] = .execute(owner)
        actions.requests.append(.execute(request, transaction: transaction.request, statement))
    }

    mutating func refuseStatement(_ scope: ScopeID, _ error: WorkflowError, _ receiver: CallReceiver, _ slot: Int, _ actions: inout Actions) {
        let owner = ScopeOfRun(run: id(slot), scope: scope)
        runs[slot].outstanding.append((scope, receiver))
        var error = error
        error.step = transactions[owner]?.record.name
        if transactions[owner]?.failure == nil { transactions[owner]?.failure = error }
        answer(scope, of: slot, .failure(error), &actions)
    }

    mutating func endTransaction(
        _ scope: ScopeID, _ outcome: Outcome, _ policy: RetryPolicy, _ receiver: CallReceiver, _ slot: Int, _ actions: inout Actions
    ) {
        let owner = ScopeOfRun(run: id(slot), scope: scope)
        runs[slot].outstanding.append((scope, receiver))
        guard var transaction = transactions[owner] else { return answer(scope, of: slot, .stopped, &actions) }
        transaction.policy = policy
        transactions[owner] = transaction
        // A body that caught a failed statement's error cannot commit: the transaction is over for the server too.
        let failure: WorkflowError? =
            switch (transaction.failure, outcome) {
            case (let failure?, _) where failure.isTransient: failure
            case (_, .failure(let error)): error
            case (let failure, .success): failure
            }
        if let failure {
            actions.requests.append(.rollback(transaction: transaction.request))
            if failure.isTransient, transaction.failure != nil {
                return retry(owner, failure, slot, &actions)
            }
            // What PostgreSQL said is final, unless it may be otherwise another time.
            return recordFailure(owner, failure, isFinal: transaction.failure.map { !$0.mayPass } ?? false, slot)
        }
        let request = newRequest()
        transaction.state = .committing
        transaction.record.outcome = outcome
        transactions[owner] = transaction
        requests[request] = .commit(owner)
        runs[slot].writes += 1
        actions.requests.append(.commit(request, transaction: transaction.request, transaction.record))
    }

    mutating func query(
        _ scope: ScopeID, _ record: StepRecord, _ statement: SQLStatement, _ receiver: CallReceiver, _ slot: Int, _ actions: inout Actions
    ) {
        runs[slot].outstanding.append((scope, receiver))
        send(Query(owner: ScopeOfRun(run: id(slot), scope: scope), record: record, statement: statement), &actions)
    }

    private mutating func send(_ query: Query, _ actions: inout Actions) {
        let request = newRequest()
        requests[request] = .query(query)
        actions.requests.append(.query(request, query.statement))
    }

    // MARK: What the store answers

    mutating func executed(_ request: RequestID, _ result: SQLResult, _ actions: inout Actions) {
        switch requests.removeValue(forKey: request) {
        case .execute(let owner):
            guard let slot = slot(of: owner.run), case .executing(request)? = transactions[owner]?.state else { return }
            transactions[owner]?.state = .open
            switch result {
            case .success(let value): answer(owner.scope, of: slot, .value(value), &actions)
            case .failure(var error):
                error.step = error.step ?? transactions[owner]?.record.name
                transactions[owner]?.failure = error
                answer(owner.scope, of: slot, .failure(error), &actions)
            }
        case .query(var query):
            guard let slot = slot(of: query.owner.run), case .running = runs[slot].phase else { return }
            switch result {
            case .success(let value) where value.count <= maximumPayload: query.record.outcome = .success(value)
            case .success(let value):
                let problem = PayloadProblem(
                    code: "payload_too_large", reason: "it has \(value.count) bytes, and the limit (pawl.max_payload) is \(maximumPayload)")
                query.record.outcome = .failure(.payload(problem, of: "The query's result", step: query.record.name).attempted(Int32(query.attempt)))
            case .failure(let error) where error.isTransient && query.attempt < configuration.transactionAttempts:
                // Read-only: run it again without asking the handler, after a while.
                query.attempt += 1
                let timer = Timer.transaction(query.owner, attempt: query.attempt)
                queriesBackingOff[timer] = query
                statistics.transactionRetries += 1
                return actions.effects.append(.schedule(timer, after: backOff(query.attempt)))
            case .failure(var error):
                error.step = error.step ?? query.record.name
                query.record.outcome = .failure(error.storable(limit: maximumPayload).attempted(Int32(query.attempt)))
            }
            write(query.record, scope: query.owner.scope, slot)
        case .commit, nil: break
        }
    }

    mutating func transactionEnded(_ request: RequestID, _ end: TransactionEnd, _ actions: inout Actions) {
        guard case .commit(let owner) = requests.removeValue(forKey: request) else { return }
        guard let slot = slot(of: owner.run), let transaction = transactions[owner] else { return }
        runs[slot].writes -= 1
        var isRunning = false
        if case .running = runs[slot].phase { isRunning = true }
        switch end {
        case .committed, .refused(.alreadyRecorded):
            statistics.steps += 1
            if probation == owner.run { probation = nil }
            forget(owner, slot)
            if case .success(let value) = transaction.record.outcome { answer(owner.scope, of: slot, .value(value), &actions) }
            advance(slot, &actions)
        case .retry(let error) where isRunning: retry(owner, error, slot, &actions)
        case .failed(let error) where isRunning && error.isTransient: retry(owner, error, slot, &actions)
        case .failed(let error) where isRunning: recordFailure(owner, error, isFinal: !error.mayPass, slot)
        case .retry, .failed:
            forget(owner, slot)
            advance(slot, &actions)
        case .refused(.cancelled(let cancellation)):
            forget(owner, slot)
            cancel(slot, .asked(cancellation), &actions)
            answer(owner.scope, of: slot, .cancelled, &actions)
            advance(slot, &actions)
        case .refused(.fenced):
            forget(owner, slot)
            fenced(slot, &actions)
        case .refused(.invalid(let error)):
            forget(owner, slot)
            condemn(slot, error, step: transaction.record.name, &actions)
        }
    }

    // MARK: Undone transactions

    /// It was rolled back, and nothing of it is recorded. The body runs again, up to a limit.
    private mutating func retry(_ owner: ScopeOfRun, _ error: WorkflowError, _ slot: Int, _ actions: inout Actions) {
        guard var transaction = transactions[owner] else { return }
        if runs[slot].cancellation != nil, !transaction.record.cancelling {
            forget(owner, slot)
            return answer(owner.scope, of: slot, .cancelled, &actions)
        }
        if transaction.attempt >= configuration.transactionAttempts || isTimeUp(owner.scope, slot) { return recordFailure(owner, error, isFinal: true, slot) }
        transaction.attempt += 1
        transaction.state = .backingOff
        transaction.failure = error
        transactions[owner] = transaction
        statistics.transactionRetries += 1
        actions.effects.append(.schedule(.transaction(owner, attempt: transaction.attempt), after: backOff(transaction.attempt)))
    }

    mutating func undoneRunsAgain(_ owner: ScopeOfRun, _ timer: Timer, _ actions: inout Actions) {
        if let query = queriesBackingOff.removeValue(forKey: timer) {
            if let slot = slot(of: owner.run), case .running = runs[slot].phase { send(query, &actions) }
            return
        }
        guard let slot = slot(of: owner.run), case .running = runs[slot].phase, var transaction = transactions[owner],
            timer == .transaction(owner, attempt: transaction.attempt), case .backingOff = transaction.state
        else { return }
        if runs[slot].cancellation != nil, !transaction.record.cancelling {
            forget(owner, slot)
            return answer(owner.scope, of: slot, .cancelled, &actions)
        }
        if let failure = transaction.failure, isTimeUp(owner.scope, slot) { return recordFailure(owner, failure, isFinal: true, slot) }
        transaction.request = newRequest()
        transaction.state = .open
        transaction.failure = nil
        transactions[owner] = transaction
        beginAttempt(owner.scope, transaction.policy, slot, &actions)
        actions.requests.append(.begin(transaction.request, runs[slot].fence, transaction.isolation))
        answer(owner.scope, of: slot, .retry, as: .body, &actions)
    }

    /// Full jitter below a cap that doubles.
    mutating func backOff(_ attempt: Int) -> Duration {
        let exponent = min(attempt - 2, 20)
        let cap = min(configuration.retryBase * (1 << exponent), configuration.retryCap)
        return cap * Double.random(in: 0...1, using: &random)
    }

    private mutating func recordFailure(_ owner: ScopeOfRun, _ error: WorkflowError, isFinal: Bool, _ slot: Int) {
        guard let transaction = transactions[owner] else { return }
        var record = transaction.record
        var error = error
        error.step = error.step ?? record.name
        if transaction.attempt > 1 { error.attempt = Int32(transaction.attempt) }
        record.outcome = .failure(error.storable(limit: maximumPayload).attempted(record.attempts))
        forget(owner, slot)
        endStep(owner.scope, record, isFinal ? .never : transaction.policy, isolation: transaction.isolation, slot)
    }

    mutating func forget(_ owner: ScopeOfRun, _ slot: Int) {
        transactions[owner] = nil
        runs[slot].transactions.removeAll { $0 == owner.scope }
    }

    /// Undoes what a run that is over has open. A commit that is on its way is waited for instead.
    mutating func dropTransactions(of slot: Int, _ actions: inout Actions) {
        for scope in runs[slot].transactions {
            let owner = ScopeOfRun(run: id(slot), scope: scope)
            guard let transaction = transactions[owner] else { continue }
            switch transaction.state {
            case .committing: continue
            case .executing(let request):
                requests[request] = nil
                actions.requests.append(.rollback(transaction: transaction.request))
            case .open: actions.requests.append(.rollback(transaction: transaction.request))
            case .backingOff: break
            }
            forget(owner, slot)
        }
    }
}

extension WorkflowError {
    /// What PostgreSQL raised may not happen another time: also a lock that was not available, or resources that were short.
    var mayPass: Bool { isTransient || code == "55P03" || code.utf8.count == 5 && (code.hasPrefix("53") || code.hasPrefix("57P")) }

    /// The transaction was undone for a reason that says nothing about the transaction: a serialization failure, a deadlock, a lost connection, a
    /// server that is going down or coming up.
    var isTransient: Bool {
        switch code {
        case "40001", "40P01", "57P01", "57P02", "57P03", "57P05": true
        default: code.utf8.count == 5 && code.hasPrefix("08")
        }
    }
}
