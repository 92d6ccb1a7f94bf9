/// Two kinds of runs that are not a plugin's handler among others: SQL functions, which the database runs, and suspects, which run alone.
extension EngineStateMachine {
    // MARK: SQL functions

    mutating func startHandler(_ slot: Int, _ actions: inout Actions) {
        runs[slot].handlerFinished = true
        switch runs[slot].cancellation {
        case .deadline:
            statistics.running -= 1
            write(end: .failed(.timedOut, reason: "timeout"), slot)
        case .asked(let by):
            statistics.running -= 1
            write(end: .cancelled(by, nil), slot)
        case nil:
            runs[slot].phase = .handling(attempt: 1)
            runHandler(slot, &actions)
        }
    }

    mutating func runHandler(_ slot: Int, _ actions: inout Actions) {
        let request = newRequest()
        handlerRequests[request] = id(slot)
        actions.requests.append(.runHandler(request, runs[slot].fence))
    }

    mutating func handlerRan(_ request: RequestID, _ end: HandlerRunEnd, _ actions: inout Actions) {
        guard let run = handlerRequests.removeValue(forKey: request), let slot = slot(of: run), case .handling(let attempt) = runs[slot].phase else { return }
        switch end {
        case .ended, .refused(.alreadyRecorded):
            statistics.running -= 1
            statistics.succeeded += 1
            resolve(slot, &actions)
        case .retry(let error):
            if attempt >= configuration.transactionAttempts {
                return endHandler(.failed(error.storable(limit: maximumPayload), reason: "error"), slot, &actions)
            }
            runs[slot].phase = .handling(attempt: attempt + 1)
            statistics.transactionRetries += 1
            actions.effects.append(.schedule(.handler(run), after: backOff(attempt + 1)))
        case .failed(let error), .refused(.invalid(let error)):
            endHandler(.failed(error.storable(limit: maximumPayload), reason: "error"), slot, &actions)
        case .refused(.cancelled(let by)): endHandler(.cancelled(by, nil), slot, &actions)
        case .refused(.fenced): fenced(slot, &actions)
        }
    }

    private mutating func endHandler(_ end: WorkflowEnd.End, _ slot: Int, _ actions: inout Actions) {
        statistics.running -= 1
        if case .failed(let error, _) = end { actions.effects.append(.note(id(slot), .failed(error))) }
        write(end: end, slot)
    }

    // MARK: Suspects

    /// Workflows wait that were there at two crashes. Each runs alone until it passes a checkpoint, so that only it suffers if it is the cause.
    mutating func setSuspects(_ exist: Bool, _ actions: inout Actions) {
        guard exist != suspects else { return }
        suspects = exist
        if exist { clear(&actions) } else { isClearing = false }
    }

    private mutating func clear(_ actions: inout Actions) {
        isClearing = true
        clearingToken = newToken()
        actions.effects.append(.note(nil, .clearing))
        actions.effects.append(.schedule(.clearing(token: clearingToken), after: configuration.clearingTurn))
        if claim != nil {
            actions.requests.append(.claim(limit: 0, alone: false))
            claim = nil
        }
        parkAll(&actions)
    }

    /// Long handlers keep the worker from becoming free for a suspect: other work has its turns meanwhile.
    mutating func clearOrClaim(_ actions: inout Actions) {
        guard suspects, mode == .running else { return }
        if !isClearing { return clear(&actions) }
        // About to run one, or running it.
        if probation == nil, statistics.unresolved > 0 { isClearing = false }
        clearingToken = newToken()
        actions.effects.append(.schedule(.clearing(token: clearingToken), after: configuration.clearingTurn))
    }
}
