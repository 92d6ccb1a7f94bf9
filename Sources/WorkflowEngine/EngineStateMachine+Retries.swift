/// Attempts of steps and transactions: their time, their failures, and the back-off before the next one.
extension EngineStateMachine {
    struct BackOff {
        var scope: ScopeID
        var record: StepRecord
        /// Of a transaction.
        var isolation: IsolationLevel?
        var policy: RetryPolicy
        var token: UInt64
        /// The failed attempt is recorded, and its back-off runs.
        var isRecorded = false
        var dueIn: Int64
        /// The handler has begun the step in this run, and not run its body yet.
        var isResumed = false
    }

    /// A step whose time is limited, from its first attempt in this run to its end.
    struct TimeLimit {
        var scope: ScopeID
        var policy: RetryPolicy
        /// Of all attempts.
        var token: UInt64
        /// Of the attempt whose body runs; 0: none does.
        var attempt: UInt64 = 0
        /// The time of all attempts is up.
        var isOver = false
    }

    mutating func begin(
        _ scope: ScopeID, _ record: StepRecord, _ isolation: IsolationLevel?, _ policy: RetryPolicy, _ slot: Int, _ actions: inout Actions
    ) {
        if let isolation { beginTransaction(scope, record, isolation, policy, slot, &actions) }
        beginAttempt(scope, policy, slot, &actions)
    }

    mutating func beginAttempt(_ scope: ScopeID, _ policy: RetryPolicy, _ slot: Int, _ actions: inout Actions) {
        let owner = ScopeOfRun(run: id(slot), scope: scope)
        let place: Int
        if let known = runs[slot].limits.firstIndex(where: { $0.scope == scope }) {
            place = known
        } else {
            guard policy.hasTimeout else { return }
            place = runs[slot].limits.count
            runs[slot].limits.append(TimeLimit(scope: scope, policy: policy, token: newToken()))
            if let timeout = policy.timeout {
                actions.effects.append(.schedule(.step(owner, token: runs[slot].limits[place].token), after: .microseconds(timeout)))
            }
        }
        runs[slot].limits[place].attempt = newToken()
        // The policy of its end may be another: a failure that its body calls final, and that is none.
        if let timeout = runs[slot].limits[place].policy.attemptTimeout {
            actions.effects.append(.schedule(.attempt(owner, token: runs[slot].limits[place].attempt), after: .microseconds(timeout)))
        }
    }

    /// Whether the time of all attempts of a step is up.
    func isTimeUp(_ scope: ScopeID, _ slot: Int) -> Bool { runs[slot].limits.contains { $0.scope == scope && $0.isOver } }

    mutating func timeIsUp(_ owner: ScopeOfRun, _ token: UInt64, isStep: Bool, _ actions: inout Actions) {
        guard let slot = slot(of: owner.run), case .running = runs[slot].phase,
            let place = runs[slot].limits.firstIndex(where: { $0.scope == owner.scope && (isStep ? $0.token : $0.attempt) == token })
        else { return }
        if isStep { runs[slot].limits[place].isOver = true }
        if runs[slot].limits[place].attempt != 0 {
            runs[slot].limits[place].attempt = 0
            actions.effects.append(.interruptStep(owner.run, owner.scope))
        } else if isStep, let place = runs[slot].backOffs.firstIndex(where: { $0.scope == owner.scope && $0.isRecorded }) {
            let record = runs[slot].backOffs.remove(at: place).record
            endBackOff(owner.scope, record, slot)
        }
    }

    /// In a back-off the time of all attempts is up: the last failure was the last.
    private mutating func endBackOff(_ scope: ScopeID, _ record: StepRecord, _ slot: Int) {
        var record = record
        record.retryIn = nil
        record.endsBackOff = true
        endStep(scope, record, .never, slot)
    }

    /// The outcome of an attempt: recorded, or, when it failed and may be tried again, recorded as such and followed by a back-off.
    mutating func endStep(_ scope: ScopeID, _ record: StepRecord, _ policy: RetryPolicy, isolation: IsolationLevel? = nil, _ slot: Int) {
        var record = record
        if let place = runs[slot].limits.firstIndex(where: { $0.scope == scope }) { runs[slot].limits[place].attempt = 0 }
        if case .failure = record.outcome, !isTimeUp(scope, slot), runs[slot].cancellation == nil || record.cancelling,
            let interval = policy.interval(after: record.attempts, using: &random)
        {
            record.retryIn = interval
            runs[slot].backOffs.append(
                BackOff(scope: scope, record: record, isolation: isolation, policy: policy, token: newToken(), dueIn: interval))
        } else {
            runs[slot].limits.removeAll { $0.scope == scope }
        }
        write(record, scope: scope, slot)
    }

    /// A failed attempt is recorded: the next one comes after its back-off.
    mutating func attemptWritten(_ record: StepRecord, _ owner: ScopeOfRun, _ slot: Int, _ actions: inout Actions) {
        guard case .running = runs[slot].phase, let place = runs[slot].backOffs.firstIndex(where: { $0.scope == owner.scope }) else { return }
        statistics.retries += 1
        if runs[slot].cancellation != nil, !record.cancelling {
            runs[slot].backOffs.remove(at: place)
            return answer(owner.scope, of: slot, .cancelled, &actions)
        }
        if isTimeUp(owner.scope, slot) {
            // Recording it took that long.
            let record = runs[slot].backOffs.remove(at: place).record
            return endBackOff(owner.scope, record, slot)
        }
        runs[slot].backOffs[place].isRecorded = true
        startBackOff(place, slot, &actions)
    }

    /// A back-off that began in an earlier run.
    mutating func resumeBackOff(
        _ scope: ScopeID, _ record: StepRecord, _ isolation: IsolationLevel?, _ policy: RetryPolicy, dueIn: Int64, _ receiver: CallReceiver, _ slot: Int,
        _ actions: inout Actions
    ) {
        runs[slot].outstanding.append((scope, receiver))
        if let timeout = policy.timeout, timeout <= dueIn { return endBackOff(scope, record, slot) }
        runs[slot].backOffs.append(
            BackOff(
                scope: scope, record: record, isolation: isolation, policy: policy.after(dueIn), token: newToken(), isRecorded: true, dueIn: dueIn,
                isResumed: true))
        startBackOff(runs[slot].backOffs.count - 1, slot, &actions)
    }

    private mutating func startBackOff(_ place: Int, _ slot: Int, _ actions: inout Actions) {
        let backOff = runs[slot].backOffs[place]
        actions.effects.append(.schedule(.backOff(ScopeOfRun(run: id(slot), scope: backOff.scope), token: backOff.token), after: .microseconds(backOff.dueIn)))
        actions.effects.append(.waits(id(slot), backOff.scope))
        actions.effects.append(.rest(id(slot)))
    }

    mutating func backOffIsOver(_ owner: ScopeOfRun, _ token: UInt64, _ actions: inout Actions) {
        guard let slot = slot(of: owner.run), case .running = runs[slot].phase,
            let place = runs[slot].backOffs.firstIndex(where: { $0.scope == owner.scope && $0.token == token })
        else { return }
        let backOff = runs[slot].backOffs.remove(at: place)
        var record = backOff.record
        record.retryIn = nil
        record.attempts += 1
        if let isolation = backOff.isolation { beginTransaction(owner.scope, record, isolation, backOff.policy, slot, &actions) }
        beginAttempt(owner.scope, backOff.policy, slot, &actions)
        answer(owner.scope, of: slot, backOff.isResumed ? .execute : .retry, as: backOff.isResumed ? .body : .nextAttempt, &actions)
    }

    mutating func forgetBackOff(_ scope: ScopeID, _ slot: Int) { runs[slot].backOffs.removeAll { $0.scope == scope } }
}
