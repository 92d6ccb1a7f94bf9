import DequeModule

/// Runs that only wait: they leave their place to others, and are parked when it lasts. A parked workflow is rows and nothing else; waking replays it.
extension EngineStateMachine {
    /// Asked after a call began to wait: whether nothing else happens in the run.
    mutating func rest(_ id: RunID, isQuiet: Bool, _ actions: inout Actions) {
        guard let slot = slot(of: id), case .running = runs[slot].phase, !runs[slot].isResting else { return }
        guard isQuiet, runs[slot].writes == 0, !runs[slot].outstanding.isEmpty else { return setRestTimer(slot, &actions) }
        runs[slot].isResting = true
        runs[slot].restToken = newToken()
        statistics.running -= 1
        statistics.resting += 1
        resting.append((id, runs[slot].restToken))
        let due = runs[slot].dueIn
        if mode == .draining || isClearing {
            park(slot, assumeIdle: true, &actions)
        } else if let due, runs[slot].isOverByItself, due > configuration.parkAfterMicroseconds {
            // Nothing but its time can end it, and that is far away. (Unless another branch computes: then it is asked again.)
            park(slot, assumeIdle: false, &actions)
        }
        setRestTimer(slot, &actions)
        while statistics.resting - parksAsked > configuration.residentLimit, let longest = resting.popFirst() {
            if let slot = self.slot(of: longest.run), runs[slot].isResting, runs[slot].restToken == longest.token { park(slot, assumeIdle: true, &actions) }
        }
        // What has gone on since is forgotten now and then.
        if resting.count > 2 * statistics.resting + 64 {
            resting = Deque(
                resting.filter { entry in
                    guard let slot = self.slot(of: entry.run) else { return false }
                    return runs[slot].isResting && runs[slot].restToken == entry.token
                })
        }
    }

    /// One of its waits is over, or it called again.
    mutating func goOn(_ slot: Int) {
        runs[slot].isResting = false
        statistics.resting -= 1
        statistics.running += 1
    }

    private mutating func setRestTimer(_ slot: Int, _ actions: inout Actions) {
        guard !runs[slot].hasRestTimer else { return }
        runs[slot].hasRestTimer = true
        actions.effects.append(.schedule(.rest(id(slot), token: runs[slot].restToken), after: configuration.parkAfter))
    }

    /// Parks a run that has rested since the timer was set. One that has not may rest now: a branch that was at work is over without a word.
    mutating func restTimer(_ id: RunID, _ token: UInt64, _ actions: inout Actions) {
        guard let slot = slot(of: id), case .running = runs[slot].phase else { return }
        runs[slot].hasRestTimer = false
        guard !runs[slot].waits.isEmpty || !runs[slot].backOffs.isEmpty else { return }
        if runs[slot].isResting {
            if runs[slot].restToken == token { park(slot, assumeIdle: true, &actions) }
            setRestTimer(slot, &actions)
        } else {
            actions.effects.append(.rest(id))
        }
    }

    mutating func park(_ slot: Int, assumeIdle: Bool, _ actions: inout Actions) {
        guard runs[slot].writes == 0, runs[slot].cancellation == nil, runs[slot].compensation == nil else { return }
        parksAsked += 1
        actions.effects.append(.park(id(slot), assumeIdle: assumeIdle, handledCalls: runs[slot].handledCalls))
    }

    /// The answer to `park`.
    mutating func parked(_ id: RunID, _ isStopped: Bool, _ actions: inout Actions) {
        parksAsked -= 1
        if isStopped, let slot = slot(of: id) { stop(slot, .parked, &actions) }
    }

    mutating func parkAll(_ actions: inout Actions) {
        for slot in runs.indices where runs[slot].isResting { park(slot, assumeIdle: true, &actions) }
    }
}

extension EngineStateMachine.Run {
    /// Microseconds until the first of its waits is over by itself, when they were last looked at.
    var dueIn: Int64? { (waits.compactMap(\.dueIn) + backOffs.map(\.dueIn)).min() }

    /// Only time ends its waits.
    var isOverByItself: Bool { waits.allSatisfy { $0.call.kind == .sleep } }

    /// For people.
    var waitingFor: String {
        let all = waits.map { "\($0.call.kind.rawValue) \"\($0.call.name)\"" } + backOffs.map { "attempt \($0.record.attempts + 1) of \"\($0.record.name)\"" }
        let text = all.prefix(3).map { $0.prefixOfBytes(300) }.joined(separator: ", ")
        return text.isEmpty ? "nothing any more" : all.count > 3 ? "\(text) and \(all.count - 3) more" : text
    }
}
