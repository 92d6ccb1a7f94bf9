/// Cancellation and deadlines: what waits is interrupted at once, what runs is told, and nothing but compensations is recorded from then on.
extension EngineStateMachine {
    /// No branch of a run has this number: the answer of `compensate` goes by it.
    static let compensationScope = ScopeID.max

    mutating func cancel(_ slot: Int, _ cause: CancelCause, _ actions: inout Actions) {
        // Compensations that run already undo everything.
        guard case .running = runs[slot].phase, runs[slot].cancellation == nil, runs[slot].compensation == nil else { return }
        runs[slot].cancellation = cause
        actions.effects.append(.note(id(slot), .cancelling(cause)))
        actions.effects.append(.cancel(id(slot)))
        for wait in runs[slot].waits {
            // One that is on its way may be recorded: its answer says which.
            guard case .waiting = wait.state else { continue }
            runs[slot].waits.removeAll { $0.scope == wait.scope }
            answer(wait.scope, of: slot, .cancelled, &actions)
        }
        for backOff in runs[slot].backOffs where backOff.isRecorded {
            forgetBackOff(backOff.scope, slot)
            answer(backOff.scope, of: slot, .cancelled, &actions)
        }
    }

    /// What a run that is being cancelled does not get done. False: the call goes on.
    mutating func discard(_ call: RunCall, _ slot: Int, _ actions: inout Actions) -> Bool {
        let scope: ScopeID
        let receiver: CallReceiver
        switch call {
        case .endStep(let ended, let record, _, let answered) where !record.cancelling: (scope, receiver) = (ended, answered)
        case .perform(let called, _, let answered): (scope, receiver) = (called, answered)
        case .query(let called, _, _, let answered): (scope, receiver) = (called, answered)
        case .backOff(let begun, let record, _, _, _, let answered) where !record.cancelling: (scope, receiver) = (begun, answered)
        case .endTransaction(let ended, _, _, let answered):
            (scope, receiver) = (ended, answered)
            let owner = ScopeOfRun(run: id(slot), scope: ended)
            if let transaction = transactions[owner] {
                if transaction.record.cancelling { return false }
                actions.requests.append(.rollback(transaction: transaction.request))
                forget(owner, slot)
            }
        case .emit(_, let receiver):
            runs[slot].toldCancelled = true
            actions.effects.append(.answer(id(slot), nil, receiver, .cancelled))
            return true
        default: return false
        }
        runs[slot].limits.removeAll { $0.scope == scope }
        runs[slot].outstanding.append((scope, receiver))
        answer(scope, of: slot, .cancelled, &actions)
        return true
    }

    // MARK: Deadlines

    mutating func setDeadline(_ left: Int64?, _ slot: Int, _ actions: inout Actions) {
        guard let left else { return }
        runs[slot].deadlineLeft = left
        if left <= 0 {
            if runs[slot].cancellation == nil { runs[slot].cancellation = .deadline }
        } else {
            actions.effects.append(.schedule(.deadline(id(slot)), after: .microseconds(min(left, Self.longestTimer))))
        }
    }

    mutating func deadline(_ id: RunID, _ actions: inout Actions) {
        guard let slot = slot(of: id), case .running = runs[slot].phase else { return }
        let left = runs[slot].deadlineLeft - Self.longestTimer
        if left > 0 { setDeadline(left, slot, &actions) } else { cancel(slot, .deadline, &actions) }
    }

    // MARK: Compensation

    mutating func compensate(_ record: StepRecord?, _ error: WorkflowError, _ receiver: CallReceiver, _ slot: Int, _ actions: inout Actions) {
        runs[slot].compensation = error
        guard let record else { return actions.effects.append(.answer(id(slot), nil, receiver, .value(Array("null".utf8)))) }
        runs[slot].outstanding.append((Self.compensationScope, receiver))
        write(record, scope: Self.compensationScope, slot)
    }

    // MARK: The end

    /// How the workflow ends after its handler finished so.
    func end(after outcome: RunOutcome, _ slot: Int) -> WorkflowEnd.End {
        let run = runs[slot]
        if let cancellation = run.cancellation {
            // A handler that was done before it could notice has done its work.
            if case .success(let value) = outcome, !run.toldCancelled, run.compensation == nil { return .succeeded(value) }
            switch cancellation {
            case .asked(let by): return .cancelled(by, nil)
            case .deadline: return .failed(.timedOut, reason: "timeout")
            }
        }
        if let error = run.compensation { return .failed(error, reason: "error") }
        switch outcome {
        case .success(let value): return .succeeded(value)
        case .failure(let error, let reason): return .failed(error, reason: ["determinism", "bad_input"].contains(reason) ? reason : "error")
        case .cancelled: return .failed(.notCancelled, reason: "error")
        case .stopped: return .failed(.stoppedItself, reason: "error")
        }
    }
}
