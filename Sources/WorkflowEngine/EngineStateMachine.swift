/// What the engine does next, decided from events alone: no clock, no lock, no logger, no async. The driver (`WorkflowEngine`) feeds it what handlers
/// call and what the store answers, then does what it says.
///
/// Nothing acts on a result before its commit: a handler hears of a step, and a run of its end, only when the store has answered `written` or
/// `transactionEnded`.
struct EngineStateMachine {
    // MARK: What goes in and out

    enum Event {
        case start(maximumPayload: Int)
        case call(RunID, RunCall)
        case store(StoreEvent)
        /// A back-off is over.
        case timer(Timer)
        /// Take nothing new; let what runs go on.
        case drain
        /// Stop what still runs, and hand it back.
        case stopAll
        /// A `release` was carried out, or was too early: a call is still on its way here, and releases it later.
        case released(RunID)
        /// Everything that was there has been handled: send what has become ready.
        case flush
    }

    /// What handlers and the driver are to be told. Requests to the store are in a list of their own.
    enum Effect {
        case start(RunID, ClaimedWorkflow)
        case interrupt(RunID)
        /// With the scope whose call it settles, if any.
        case answer(RunID, ScopeID?, CallReceiver, CallAnswer)
        /// Allowed once that many calls of the run have been sent.
        case release(RunID, handledCalls: Int)
        case schedule(Timer, after: Duration)
        /// Draining is over: nothing is owned here any more.
        case drained
        case note(RunID?, Note)
    }

    struct Actions {
        var requests: [StoreRequest] = []
        var effects: [Effect] = []
    }

    struct Timer: Hashable {
        var transaction: ScopeOfRun
        var attempt: Int
    }

    enum Note {
        case fenced
        case condemned(WorkflowError)
        case failed(WorkflowError)
        case endRefused(WorkflowError)
        case abandoned(WorkflowError)
        case lifeLost(runs: Int)
        case handedBack
    }

    struct ScopeOfRun: Hashable {
        var run: RunID
        var scope: ScopeID
    }

    // MARK: Runs

    /// What a run is doing, and what that can turn into.
    enum Phase {
        /// No run here. → running
        case free
        /// Its handler runs. → closing, stopping
        case running
        /// Its handler has finished; writes of its branches are still on their way. → ending, stopping
        case closing(RunOutcome)
        /// Stopped by the engine; whatever its handler says is ignored. → ending (condemned), resolved
        case stopping(StopCause)
        /// Its end is being written. → resolved
        case ending
        /// Nothing is left to write. → free, once its handler has finished and all its calls were handled
        case resolved
    }

    enum StopCause {
        /// It is another worker's now: nothing is written.
        case lost
        /// It goes back to the queue once its writes are answered.
        case handBack
        /// It fails with this.
        indirect case condemned(WorkflowError, reason: String)
    }

    struct Run {
        var generation: UInt32 = 0
        var fence = Fence(key: 0, epoch: 0)
        var phase = Phase.free
        var handlerFinished = false
        /// Resolved while its handler had not finished.
        var lingers = false
        var handledCalls = 0
        /// Writes and commits without an answer, sent or not.
        var writes = 0
        /// How often the database refused to store its end.
        var refusedEnds = 0
        /// Calls without an answer: at most one for each scope.
        var outstanding: [(scope: ScopeID, receiver: CallReceiver)] = []
        var transactions: [ScopeID] = []
    }

    enum Mode { case idle, running, draining, drained }

    let configuration: EngineConfiguration
    var maximumPayload = 1 << 20
    var mode = Mode.idle
    var runs: [Run] = []
    var freeSlots: [Int32] = []
    /// The limit of the claim that is out.
    var claim: Int?
    var nextRequest: UInt64 = 0
    var random: SplitMix64
    var statistics = EngineStatistics()

    // Writes.
    var pending = PendingWrite()
    var writes: [RequestID: PendingWrite] = [:]
    var releases: [Fence] = []

    // SQL.
    var transactions: [ScopeOfRun: Transaction] = [:]
    var requests: [RequestID: OutstandingSQL] = [:]
    var queriesBackingOff: [Timer: Query] = [:]

    init(configuration: EngineConfiguration) {
        self.configuration = configuration
        random = SplitMix64(state: configuration.seed)
    }

    // MARK: Events

    mutating func handle(_ event: Event, _ actions: inout Actions) {
        switch event {
        case .start(let maximumPayload):
            self.maximumPayload = maximumPayload
            if mode == .idle { mode = .running }
        case .call(let id, let call): handle(call, of: id, &actions)
        case .store(.claimed(let workflows)): claimed(workflows, &actions)
        case .store(.written(let request, let steps, let ends)): written(request, steps: steps, ends: ends, &actions)
        case .store(.executed(let request, let result)): executed(request, result, &actions)
        case .store(.transactionEnded(let request, let end)): transactionEnded(request, end, &actions)
        case .store(.lifeLost): lifeLost(&actions)
        case .timer(let timer): backOffIsOver(timer, &actions)
        case .drain: drain(&actions)
        case .stopAll:
            drain(&actions)
            for slot in runs.indices {
                if case .running = runs[slot].phase { stop(slot, .handBack, &actions) }
            }
        case .released(let id): free(id)
        case .flush: flush(&actions)
        }
    }

    private mutating func handle(_ call: RunCall, of id: RunID, _ actions: inout Actions) {
        guard let slot = slot(of: id) else { return }
        runs[slot].handledCalls += 1
        guard case .running = runs[slot].phase else {
            // Over for the engine: every call is told so, except what was decided before.
            switch call {
            case .answer(let receiver, let answer): actions.effects.append(.answer(id, nil, receiver, answer))
            case .endStep(_, _, let receiver), .execute(_, _, let receiver), .refusedStatement(_, _, let receiver),
                .endTransaction(_, _, let receiver), .query(_, _, _, let receiver):
                actions.effects.append(.answer(id, nil, receiver, .stopped))
            case .finish: runs[slot].handlerFinished = true
            case .beginTransaction, .condemn: break
            }
            return advance(slot, &actions)
        }
        switch call {
        case .endStep(let scope, let record, let receiver):
            runs[slot].outstanding.append((scope, receiver))
            write(record, scope: scope, slot)
        case .beginTransaction(let scope, let record, let isolation): beginTransaction(scope, record, isolation, slot, &actions)
        case .execute(let scope, let statement, let receiver): execute(scope, statement, receiver, slot, &actions)
        case .refusedStatement(let scope, let error, let receiver): refuseStatement(scope, error, receiver, slot, &actions)
        case .endTransaction(let scope, let outcome, let receiver): endTransaction(scope, outcome, receiver, slot, &actions)
        case .query(let scope, let record, let statement, let receiver): query(scope, record, statement, receiver, slot, &actions)
        case .answer(let receiver, let answer): actions.effects.append(.answer(id, nil, receiver, answer))
        case .condemn(let error, let reason): stop(slot, .condemned(error, reason: reason), &actions)
        case .finish(let outcome):
            runs[slot].handlerFinished = true
            runs[slot].phase = .closing(outcome)
            statistics.running -= 1
            advance(slot, &actions)
        }
    }

    // MARK: Claims

    /// How many more workflows fit: free slots, as long as the ends of finished ones do not pile up unwritten.
    private var room: Int {
        guard mode == .running else { return 0 }
        return max(
            0,
            min(
                configuration.concurrency - statistics.running, 2 * configuration.concurrency - statistics.unresolved,
                configuration.claimBatch))
    }

    private mutating func claimed(_ workflows: [ClaimedWorkflow], _ actions: inout Actions) {
        claim = nil
        if mode != .running {
            // Claimed while the request was being taken back.
            for workflow in workflows { releases.append(workflow.fence) }
            statistics.claimed += workflows.count
            statistics.handedBack += workflows.count
            return
        }
        for workflow in workflows {
            let slot: Int
            if let free = freeSlots.popLast() {
                slot = Int(free)
            } else {
                slot = runs.count
                runs.append(Run())
            }
            runs[slot].fence = workflow.fence
            runs[slot].phase = .running
            statistics.claimed += 1
            statistics.running += 1
            statistics.unresolved += 1
            actions.effects.append(.start(id(slot), workflow))
        }
    }

    // MARK: The life of a run

    /// Takes a run to its next phase, if nothing holds it in this one.
    mutating func advance(_ slot: Int, _ actions: inout Actions) {
        switch runs[slot].phase {
        case .free, .running, .ending: return
        case .closing(let outcome):
            dropTransactions(of: slot, &actions)
            guard runs[slot].writes == 0 else { return }
            answerStopped(slot, &actions)
            switch outcome {
            case .success(let value): write(end: .success(value), reason: nil, slot)
            case .failure(let error, let reason):
                write(end: .failure(error), reason: ["determinism", "bad_input"].contains(reason) ? reason : "error", slot)
                actions.effects.append(.note(id(slot), .failed(error)))
            case .stopped: write(end: .failure(.stoppedItself), reason: "error", slot)
            }
        case .stopping(.lost): resolve(slot, &actions)
        case .stopping(.handBack):
            guard runs[slot].writes == 0 else { return }
            releases.append(runs[slot].fence)
            statistics.handedBack += 1
            actions.effects.append(.note(id(slot), .handedBack))
            resolve(slot, &actions)
        case .stopping(.condemned(let error, let reason)):
            guard runs[slot].writes == 0 else { return }
            write(end: .failure(error), reason: reason, slot)
        case .resolved:
            guard runs[slot].handlerFinished else { return }
            actions.effects.append(.release(id(slot), handledCalls: runs[slot].handledCalls))
        }
    }

    /// Stops a run: told first, so that no later call does anything, then its outstanding calls are answered.
    mutating func stop(_ slot: Int, _ cause: StopCause, _ actions: inout Actions) {
        switch (runs[slot].phase, cause) {
        case (.running, _): statistics.running -= 1
        case (.closing, _): break
        case (.stopping, .lost):
            runs[slot].phase = .stopping(.lost)
            dropUnsentWrites(of: slot)
            return advance(slot, &actions)
        default: return
        }
        if !runs[slot].handlerFinished { actions.effects.append(.interrupt(id(slot))) }
        switch cause {
        case .lost: dropUnsentWrites(of: slot)
        case .condemned(let error, _): actions.effects.append(.note(id(slot), .condemned(error)))
        case .handBack: break
        }
        runs[slot].phase = .stopping(cause)
        dropTransactions(of: slot, &actions)
        answerStopped(slot, &actions)
        advance(slot, &actions)
    }

    mutating func resolve(_ slot: Int, _ actions: inout Actions) {
        runs[slot].phase = .resolved
        statistics.unresolved -= 1
        if !runs[slot].handlerFinished { statistics.lingering += 1 }
        runs[slot].lingers = !runs[slot].handlerFinished
        advance(slot, &actions)
    }

    private mutating func free(_ id: RunID) {
        guard let slot = slot(of: id) else { return }
        if runs[slot].lingers { statistics.lingering -= 1 }
        runs[slot] = Run(generation: runs[slot].generation &+ 1, reusing: runs[slot])
        freeSlots.append(Int32(slot))
    }

    private mutating func lifeLost(_ actions: inout Actions) {
        statistics.livesLost += 1
        actions.effects.append(.note(nil, .lifeLost(runs: statistics.unresolved)))
        releases.removeAll()
        for slot in runs.indices { stop(slot, .lost, &actions) }
        // Whether the claim outlived the life or not: asking again is the same as changing its limit.
        if let claim, mode == .running { actions.requests.append(.claim(limit: claim)) }
    }

    private mutating func drain(_ actions: inout Actions) {
        guard mode == .running || mode == .idle else { return }
        mode = .draining
        if claim != nil { actions.requests.append(.claim(limit: 0)) }
    }

    // MARK: Sending

    private mutating func flush(_ actions: inout Actions) {
        flushWrites(&actions)
        if !releases.isEmpty {
            actions.requests.append(.release(releases))
            releases.removeAll()
        }
        let room = room
        if room > claim ?? 0 {
            claim = room
            actions.requests.append(.claim(limit: room))
        }
        if mode == .draining, statistics.unresolved == 0, writes.isEmpty {
            mode = .drained
            actions.effects.append(.drained)
        }
    }

    // MARK: Small things

    mutating func newRequest() -> RequestID {
        nextRequest += 1
        return RequestID(nextRequest)
    }

    func id(_ slot: Int) -> RunID { RunID(slot: Int32(slot), generation: runs[slot].generation) }

    /// nil: that run is gone.
    func slot(of id: RunID) -> Int? {
        let slot = Int(id.slot)
        return slot < runs.count && runs[slot].generation == id.generation ? slot : nil
    }

    /// Answers the call of a scope, unless it was answered when the run stopped.
    mutating func answer(_ scope: ScopeID, of slot: Int, _ answer: CallAnswer, _ actions: inout Actions) {
        guard let index = runs[slot].outstanding.firstIndex(where: { $0.scope == scope }) else { return }
        let receiver = runs[slot].outstanding.remove(at: index).receiver
        actions.effects.append(.answer(id(slot), scope, receiver, answer))
    }

    private mutating func answerStopped(_ slot: Int, _ actions: inout Actions) {
        for (scope, receiver) in runs[slot].outstanding { actions.effects.append(.answer(id(slot), scope, receiver, .stopped)) }
        runs[slot].outstanding.removeAll(keepingCapacity: true)
    }
}

extension EngineStateMachine.Run {
    /// A free place, with the storage of its last tenant.
    init(generation: UInt32, reusing old: Self) {
        self.init(generation: generation)
        outstanding = old.outstanding
        outstanding.removeAll(keepingCapacity: true)
    }
}

/// Random numbers that a seed repeats.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
