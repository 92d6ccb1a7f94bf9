/// Durable calls, which the database performs: effects and waits. A wait that is not over is tried again when the database signals the workflow, when its
/// time has come, and, where another workflow ends it, once more at once: what happened between the first try and its commit is seen by the second.
extension EngineStateMachine {
    struct Wait {
        enum State {
            /// A try is on its way, or about to be. → waiting, or removed
            case trying
            /// → trying, or removed
            case waiting
        }
        var scope: ScopeID
        var call: DurableCall
        var state = State.trying
        var tries = 0
        /// Something happened while a try was on its way.
        var tryAgain = false
        var token: UInt64 = 0
        /// Microseconds until it is over by itself, when its timer was last set.
        var dueIn: Int64?
        var isOffered = false
    }

    struct Emissions {
        var pending: [Emission] = []
        /// Who waits for each; nobody for progress.
        var owners: [(run: RunID, receiver: CallReceiver?)] = []
        var request: RequestID?
        var sent: [(run: RunID, receiver: CallReceiver?)] = []
        /// Where the latest progress of a run stands in `pending`.
        var progress: [RunID: Int] = [:]
        var isInFlight: Bool { request != nil || !pending.isEmpty }
    }

    /// Microseconds. What is further away is set again: most waits are over, or parked, by then.
    static let longestTimer: Int64 = 60_000_000

    // MARK: What the handler calls

    mutating func perform(_ scope: ScopeID, _ call: DurableCall, _ receiver: CallReceiver, _ slot: Int) {
        runs[slot].outstanding.append((scope, receiver))
        runs[slot].waits.append(Wait(scope: scope, call: call))
        send(runs[slot].waits.count - 1, slot)
    }

    /// The first offer to a race counts.
    mutating func offer(_ scope: ScopeID, index: Int, _ outcome: Outcome, _ slot: Int) {
        guard let place = runs[slot].waits.firstIndex(where: { $0.scope == scope }), !runs[slot].waits[place].isOffered else { return }
        runs[slot].waits[place].isOffered = true
        var offer = Array(", \"offer\": {\"index\": \(index), ".utf8)
        switch outcome {
        case .success(let value): offer += Array("\"output\": ".utf8) + value
        case .failure(let error): offer += Array("\"error\": ".utf8) + error.encoded()
        }
        let arguments = runs[slot].waits[place].call.arguments
        guard let end = arguments.lastIndex(of: UInt8(ascii: "}")) else { return }
        runs[slot].waits[place].call.arguments = arguments[..<end] + offer + Array("}}".utf8)
        tryAgain(place, slot)
    }

    mutating func emit(_ emission: Emission, _ receiver: CallReceiver, _ slot: Int, _ actions: inout Actions) {
        let run = id(slot)
        guard emission.kind == .progress else {
            runs[slot].writes += 1
            emissions.pending.append(emission)
            emissions.owners.append((run, receiver))
            return
        }
        // Only the latest one is of interest, and nobody waits for it.
        if let place = emissions.progress[run] {
            emissions.pending[place] = emission
        } else {
            runs[slot].writes += 1
            emissions.progress[run] = emissions.pending.count
            emissions.pending.append(emission)
            emissions.owners.append((run, nil))
        }
        actions.effects.append(.answer(run, nil, receiver, .value(Array("null".utf8))))
    }

    // MARK: Sending

    private mutating func send(_ place: Int, _ slot: Int) {
        runs[slot].waits[place].state = .trying
        runs[slot].waits[place].tries += 1
        runs[slot].waits[place].tryAgain = false
        runs[slot].waits[place].token = newToken()
        runs[slot].writes += 1
        pendingCalls.append(runs[slot].waits[place].call)
        pendingCallOwners.append(ScopeOfRun(run: id(slot), scope: runs[slot].waits[place].scope))
    }

    private mutating func tryAgain(_ place: Int, _ slot: Int) {
        switch runs[slot].waits[place].state {
        case .trying: runs[slot].waits[place].tryAgain = true
        case .waiting: send(place, slot)
        }
    }

    mutating func flushCalls(_ actions: inout Actions) {
        while !pendingCalls.isEmpty, calls.count < configuration.writesInFlight {
            var count = 0
            var bytes = 0
            while count < min(pendingCalls.count, configuration.writeRows), bytes < configuration.writeBytes {
                bytes += pendingCalls[count].arguments.count + 128
                count += 1
            }
            let request = newRequest()
            calls[request] = Array(pendingCallOwners.prefix(count))
            actions.requests.append(.perform(request, Array(pendingCalls.prefix(count))))
            pendingCalls.removeFirst(count)
            pendingCallOwners.removeFirst(count)
            statistics.writes += 1
        }
    }

    /// One at a time: the entries of a stream keep their order.
    mutating func flushEmissions(_ actions: inout Actions) {
        guard emissions.request == nil, !emissions.pending.isEmpty else { return }
        let request = newRequest()
        emissions.request = request
        actions.requests.append(.emit(request, emissions.pending))
        emissions.sent = emissions.owners
        emissions.pending = []
        emissions.owners = []
        emissions.progress = [:]
    }

    mutating func dropUnsentCalls(of slot: Int) {
        let owner = id(slot)
        guard runs[slot].writes > 0 else { return }
        for index in pendingCallOwners.indices.reversed() where pendingCallOwners[index].run == owner {
            pendingCalls.remove(at: index)
            pendingCallOwners.remove(at: index)
            runs[slot].writes -= 1
        }
    }

    // MARK: What the store answers

    mutating func performed(_ request: RequestID, _ results: [CallResult], _ actions: inout Actions) {
        guard let owners = calls.removeValue(forKey: request) else { return }
        for (owner, result) in zip(owners, results) {
            guard let slot = slot(of: owner.run) else { continue }
            runs[slot].writes -= 1
            if case .done = result { statistics.steps += 1 }
            if probation == owner.run, result.isCheckpoint { probation = nil }
            if case .running = runs[slot].phase, let place = runs[slot].waits.firstIndex(where: { $0.scope == owner.scope }) {
                tried(place, result, slot, &actions)
            } else if case .refused(.fenced) = result {
                fenced(slot, &actions)
            }
            advance(slot, &actions)
        }
    }

    private mutating func tried(_ place: Int, _ result: CallResult, _ slot: Int, _ actions: inout Actions) {
        let wait = runs[slot].waits[place]
        switch result {
        case .done(let outcome):
            runs[slot].waits.remove(at: place)
            answer(wait.scope, of: slot, DurableCallOutput.answer(wait.call.kind, outcome), &actions)
        case .waiting(let dueIn):
            if runs[slot].cancellation != nil {
                runs[slot].waits.remove(at: place)
                return answer(wait.scope, of: slot, .cancelled, &actions)
            }
            if wait.tryAgain || wait.tries == 1 && wait.call.kind.mayEndElsewhere { return send(place, slot) }
            runs[slot].waits[place].state = .waiting
            runs[slot].waits[place].dueIn = dueIn
            setTimer(place, slot, &actions)
            // A run whose body races is not at rest.
            if wait.call.kind == .race, DurableCallOutput.racesBody(wait.call.arguments) { return }
            actions.effects.append(.waits(id(slot), wait.scope))
            actions.effects.append(.rest(id(slot)))
        case .refused(.cancelled(let cancellation)):
            runs[slot].waits.remove(at: place)
            cancel(slot, .asked(cancellation), &actions)
            answer(wait.scope, of: slot, .cancelled, &actions)
        case .refused(.invalid(let error)) where error.code == "22023":
            // The call was made wrongly, and nothing is recorded.
            runs[slot].waits.remove(at: place)
            statistics.misuse += 1
            answer(wait.scope, of: slot, .misuse(error), &actions)
        case .refused(.invalid(let error)):
            runs[slot].waits.remove(at: place)
            if error.code == "determinism" {
                stop(slot, .condemned(error, reason: "determinism"), &actions)
            } else {
                condemn(slot, error, step: wait.call.name, &actions)
            }
        case .refused(.fenced), .refused(.alreadyRecorded): fenced(slot, &actions)
        }
    }

    mutating func emitted(_ request: RequestID, _ refused: [(index: Int, refusal: Refusal)], _ actions: inout Actions) {
        guard emissions.request == request else { return }
        emissions.request = nil
        let sent = emissions.sent
        emissions.sent = []
        var refusals: [Int: Refusal] = [:]
        for (index, refusal) in refused { refusals[index] = refusal }
        for (index, owner) in sent.enumerated() {
            guard let slot = slot(of: owner.run) else { continue }
            runs[slot].writes -= 1
            let answer: CallAnswer
            switch refusals[index] {
            case nil, .alreadyRecorded: answer = .value(Array("null".utf8))
            case .invalid(let error): answer = .failure(error)
            case .cancelled(let cancellation):
                cancel(slot, .asked(cancellation), &actions)
                runs[slot].toldCancelled = true
                answer = .cancelled
            case .fenced:
                answer = .stopped
                fenced(slot, &actions)
            }
            if let receiver = owner.receiver { actions.effects.append(.answer(owner.run, nil, receiver, answer)) }
            advance(slot, &actions)
        }
    }

    // MARK: When a wait is tried again

    private mutating func setTimer(_ place: Int, _ slot: Int, _ actions: inout Actions) {
        guard let dueIn = runs[slot].waits[place].dueIn else { return }
        let wait = runs[slot].waits[place]
        let delay = min(max(dueIn, 1000), Self.longestTimer)
        actions.effects.append(.schedule(.wait(ScopeOfRun(run: id(slot), scope: wait.scope), token: wait.token), after: .microseconds(delay)))
    }

    mutating func waitIsDue(_ owner: ScopeOfRun, _ token: UInt64, _ actions: inout Actions) {
        guard let slot = slot(of: owner.run), case .running = runs[slot].phase,
            let place = runs[slot].waits.firstIndex(where: { $0.scope == owner.scope && $0.token == token }),
            case .waiting = runs[slot].waits[place].state, let dueIn = runs[slot].waits[place].dueIn
        else { return }
        if dueIn <= Self.longestTimer { return send(place, slot) }
        runs[slot].waits[place].dueIn = dueIn - Self.longestTimer
        setTimer(place, slot, &actions)
    }

    mutating func signalled(_ signals: [Signal], _ actions: inout Actions) {
        for signal in signals {
            guard let place = slots[signal.fence.key], case let slot = Int(place), runs[slot].fence == signal.fence, case .running = runs[slot].phase else {
                continue
            }
            statistics.signals += 1
            if let cancellation = signal.cancellation {
                cancel(slot, .asked(cancellation), &actions)
            } else {
                for place in runs[slot].waits.indices { tryAgain(place, slot) }
            }
        }
    }
}

extension CallResult {
    /// Something about the step is recorded now.
    var isCheckpoint: Bool {
        switch self {
        case .done, .waiting: true
        case .refused: false
        }
    }
}

extension StepKind {
    /// What it waits for may happen at another workflow.
    var mayEndElsewhere: Bool {
        switch self {
        case .getEvent, .readStream, .awaitChild, .awaitChildren, .race: true
        default: false
        }
    }
}
