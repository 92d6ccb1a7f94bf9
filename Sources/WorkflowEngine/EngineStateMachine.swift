import DequeModule

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
        case timer(Timer)
        /// Take nothing new; let what runs go on.
        case drain
        /// Stop what still runs, and hand it back.
        case stopAll
        /// A `release` was carried out, or was too early: a call is still on its way here, and releases it later.
        case released(RunID)
        /// What a `rest` found: whether nothing happens in the run before one of its waits is over.
        case resting(RunID, Bool)
        /// Whether a `park` stopped it.
        case parked(RunID, Bool)
        /// Everything that was there has been handled: send what has become ready.
        case flush
    }

    /// What handlers and the driver are to be told. Requests to the store are in a list of their own.
    enum Effect {
        case start(RunID, ClaimedWorkflow)
        case interrupt(RunID)
        /// The workflow is being cancelled.
        case cancel(RunID)
        case interruptStep(RunID, ScopeID)
        /// With the scope whose call it settles, if any, and how.
        case answer(RunID, (scope: ScopeID, ScopeTree.Settlement)?, CallReceiver, CallAnswer)
        /// The call of the scope waits.
        case waits(RunID, ScopeID)
        /// Ask whether anything happens in the run but waiting: `resting`.
        case rest(RunID)
        /// Stop it, if nothing does: `parked`. Allowed once that many calls of the run have been sent.
        case park(RunID, assumeIdle: Bool, handledCalls: Int)
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

    enum Timer: Hashable {
        /// The body of an undone transaction, or a query, runs again.
        case transaction(ScopeOfRun, attempt: Int)
        /// The rest name the state they were made for by its token: another one is none of theirs.
        case wait(ScopeOfRun, token: UInt64)
        case backOff(ScopeOfRun, token: UInt64)
        /// The time of an attempt, or of all attempts of a step.
        case attempt(ScopeOfRun, token: UInt64)
        case step(ScopeOfRun, token: UInt64)
        case deadline(RunID)
        case rest(RunID, token: UInt64)
        case handler(RunID)
        case clearing(token: UInt64)
    }

    enum Note {
        case fenced
        case condemned(WorkflowError)
        case failed(WorkflowError)
        case endRefused(WorkflowError)
        case abandoned(WorkflowError)
        case lifeLost(runs: Int)
        case handedBack
        case parked
        case cancelling(CancelCause)
        case clearing
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
        /// The database runs its function, for the nth time. → ending, stopping (lost), resolved
        case handling(attempt: Int)
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
        /// It goes back to being rows.
        case parked
        /// It begins anew with this input.
        case continued(JSONBytes)
    }

    /// Why a workflow is being cancelled.
    enum CancelCause: Equatable {
        case asked(Cancellation)
        case deadline
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
        var waits: [Wait] = []
        var backOffs: [BackOff] = []
        /// Bodies whose time is limited.
        var limits: [TimeLimit] = []
        /// It only waits, and takes no place among the running ones.
        var isResting = false
        /// Tells one rest from the next.
        var restToken: UInt64 = 0
        var hasRestTimer = false
        var cancellation: CancelCause?
        /// Some call was answered that it is being cancelled.
        var toldCancelled = false
        /// What compensations were begun for.
        var compensation: WorkflowError?
        /// Microseconds to the deadline when its timer was last set.
        var deadlineLeft: Int64 = 0
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

    // Durable calls, emissions, waits.
    var pendingCalls: [DurableCall] = []
    var pendingCallOwners: [ScopeOfRun] = []
    var calls: [RequestID: [ScopeOfRun]] = [:]
    var emissions = Emissions()
    var parkings: [Parking] = []
    /// Resting runs, the longest first; some have gone on since.
    var resting = Deque<(run: RunID, token: UInt64)>()
    /// Parks without an answer.
    var parksAsked = 0
    /// Where each workflow runs, by its key.
    var slots: [Int64: Int32] = [:]
    var lastToken: UInt64 = 0

    // SQL functions, and what must run alone.
    var handlerRequests: [RequestID: RunID] = [:]
    var suspects = false
    /// Nothing is claimed until nothing runs here, so that a suspect can run alone.
    var isClearing = false
    var clearingToken: UInt64 = 0
    var probation: RunID?

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
        case .store(.performed(let request, let results)): performed(request, results, &actions)
        case .store(.emitted(let request, let refused)): emitted(request, refused, &actions)
        case .store(.handlerRan(let request, let end)): handlerRan(request, end, &actions)
        case .store(.signalled(let signals)): signalled(signals, &actions)
        case .store(.suspects(let exist)): setSuspects(exist, &actions)
        case .store(.lifeLost): lifeLost(&actions)
        case .timer(let timer): handle(timer, &actions)
        case .drain: drain(&actions)
        case .stopAll:
            drain(&actions)
            for slot in runs.indices {
                if case .running = runs[slot].phase { stop(slot, .handBack, &actions) }
            }
        case .released(let id): free(id)
        case .resting(let id, let isQuiet): rest(id, isQuiet: isQuiet, &actions)
        case .parked(let id, let isStopped): parked(id, isStopped, &actions)
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
            case .endStep(_, _, _, let receiver), .execute(_, _, let receiver), .refusedStatement(_, _, let receiver),
                .endTransaction(_, _, _, let receiver), .query(_, _, _, let receiver), .backOff(_, _, _, _, _, let receiver),
                .perform(_, _, let receiver), .emit(_, let receiver), .compensate(_, _, let receiver), .continueAsNew(_, let receiver):
                actions.effects.append(.answer(id, nil, receiver, .stopped))
            case .finish: runs[slot].handlerFinished = true
            case .begin, .offer, .condemn: break
            }
            return advance(slot, &actions)
        }
        if runs[slot].isResting { goOn(slot) }
        if runs[slot].cancellation != nil, discard(call, slot, &actions) { return }
        switch call {
        case .begin(let scope, let record, let isolation, let policy): begin(scope, record, isolation, policy, slot, &actions)
        case .backOff(let scope, let record, let isolation, let policy, let dueIn, let receiver):
            resumeBackOff(scope, record, isolation, policy, dueIn: dueIn, receiver, slot, &actions)
        case .endStep(let scope, let record, let policy, let receiver):
            runs[slot].outstanding.append((scope, receiver))
            endStep(scope, record, policy, slot)
        case .execute(let scope, let statement, let receiver): execute(scope, statement, receiver, slot, &actions)
        case .refusedStatement(let scope, let error, let receiver): refuseStatement(scope, error, receiver, slot, &actions)
        case .endTransaction(let scope, let outcome, let policy, let receiver): endTransaction(scope, outcome, policy, receiver, slot, &actions)
        case .query(let scope, let record, let statement, let receiver): query(scope, record, statement, receiver, slot, &actions)
        case .perform(let scope, let call, let receiver): perform(scope, call, receiver, slot)
        case .offer(let scope, let index, let outcome): offer(scope, index: index, outcome, slot)
        case .emit(let emission, let receiver): emit(emission, receiver, slot, &actions)
        case .compensate(let record, let error, let receiver): compensate(record, error, receiver, slot, &actions)
        case .continueAsNew(let input, let receiver):
            actions.effects.append(.answer(id, nil, receiver, .stopped))
            stop(slot, .continued(input), &actions)
        case .answer(let receiver, let answer):
            if case .cancelled = answer { runs[slot].toldCancelled = true }
            actions.effects.append(.answer(id, nil, receiver, answer))
        case .condemn(let error, let reason): stop(slot, .condemned(error, reason: reason), &actions)
        case .finish(let outcome):
            runs[slot].handlerFinished = true
            runs[slot].phase = .closing(outcome)
            statistics.running -= 1
            advance(slot, &actions)
        }
    }

    private mutating func handle(_ timer: Timer, _ actions: inout Actions) {
        switch timer {
        case .transaction(let owner, _): undoneRunsAgain(owner, timer, &actions)
        case .wait(let owner, let token): waitIsDue(owner, token, &actions)
        case .backOff(let owner, let token): backOffIsOver(owner, token, &actions)
        case .attempt(let owner, let token), .step(let owner, let token): timeIsUp(owner, token, isStep: timer == .step(owner, token: token), &actions)
        case .deadline(let id): deadline(id, &actions)
        case .rest(let id, let token): restTimer(id, token, &actions)
        case .handler(let id):
            if let slot = slot(of: id), case .handling = runs[slot].phase { runHandler(slot, &actions) }
        case .clearing(let token): if token == clearingToken { clearOrClaim(&actions) }
        }
    }

    // MARK: Claims

    /// How many more workflows fit: free slots, as long as the ends of finished ones do not pile up unwritten.
    private var room: Int {
        guard mode == .running, !isClearing, probation == nil else { return 0 }
        return max(
            0,
            min(
                configuration.concurrency - statistics.running,
                2 * configuration.concurrency - (statistics.unresolved - statistics.resting), configuration.claimBatch))
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
        if workflows.isEmpty { return setSuspects(false, &actions) }
        for workflow in workflows {
            let slot: Int
            if let free = freeSlots.popLast() {
                slot = Int(free)
            } else {
                slot = runs.count
                runs.append(Run())
            }
            runs[slot].fence = workflow.fence
            runs[slot].cancellation = workflow.cancellation.map { .asked($0) }
            slots[workflow.fence.key] = Int32(slot)
            statistics.claimed += 1
            statistics.running += 1
            statistics.unresolved += 1
            if workflow.isOnProbation { probation = id(slot) }
            setDeadline(workflow.deadlineIn, slot, &actions)
            if workflow.isSQLHandler {
                startHandler(slot, &actions)
            } else {
                runs[slot].phase = .running
                runs[slot].compensation = workflow.compensationFailure
                actions.effects.append(.start(id(slot), workflow))
            }
        }
    }

    // MARK: The life of a run

    /// Takes a run to its next phase, if nothing holds it in this one.
    mutating func advance(_ slot: Int, _ actions: inout Actions) {
        switch runs[slot].phase {
        case .free, .running, .handling, .ending: return
        case .closing(let outcome):
            dropTransactions(of: slot, &actions)
            guard runs[slot].writes == 0 else { return }
            answerStopped(slot, &actions)
            let end = end(after: outcome, slot)
            if case .failed(let error, _) = end { actions.effects.append(.note(id(slot), .failed(error))) }
            write(end: end, slot)
        case .stopping(.lost): resolve(slot, &actions)
        case .stopping(.handBack):
            guard runs[slot].writes == 0 else { return }
            releases.append(runs[slot].fence)
            statistics.handedBack += 1
            actions.effects.append(.note(id(slot), .handedBack))
            resolve(slot, &actions)
        case .stopping(.condemned(let error, let reason)):
            guard runs[slot].writes == 0 else { return }
            write(end: .failed(error, reason: reason), slot)
        case .stopping(.continued(let input)):
            guard runs[slot].writes == 0 else { return }
            write(end: .continued(input: input), slot)
        case .stopping(.parked):
            guard runs[slot].writes == 0 else { return }
            parkings.append(Parking(fence: runs[slot].fence, waitingFor: runs[slot].waitingFor))
            statistics.parked += 1
            actions.effects.append(.note(id(slot), .parked))
            resolve(slot, &actions)
        case .resolved:
            guard runs[slot].handlerFinished else { return }
            actions.effects.append(.release(id(slot), handledCalls: runs[slot].handledCalls))
        }
    }

    /// Stops a run: told first, so that no later call does anything, then its outstanding calls are answered.
    mutating func stop(_ slot: Int, _ cause: StopCause, _ actions: inout Actions) {
        switch (runs[slot].phase, cause) {
        case (.running, _):
            if runs[slot].isResting { goOn(slot) }
            statistics.running -= 1
        case (.handling, .lost): statistics.running -= 1
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
        case .handBack, .parked, .continued: break
        }
        runs[slot].phase = .stopping(cause)
        dropTransactions(of: slot, &actions)
        answerStopped(slot, &actions)
        advance(slot, &actions)
    }

    mutating func resolve(_ slot: Int, _ actions: inout Actions) {
        runs[slot].phase = .resolved
        statistics.unresolved -= 1
        // The place may be a later run's: this one may have had to ask again whether its end was written, while it was resumed and claimed.
        if slots[runs[slot].fence.key] == Int32(slot) { slots[runs[slot].fence.key] = nil }
        if probation == id(slot) { probation = nil }
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
        parkings.removeAll()
        for slot in runs.indices { stop(slot, .lost, &actions) }
        // Whether the claim outlived the life or not: asking again is the same as changing its limit.
        if let claim, mode == .running { actions.requests.append(.claim(limit: claim, alone: false)) }
    }

    private mutating func drain(_ actions: inout Actions) {
        guard mode == .running || mode == .idle else { return }
        mode = .draining
        if claim != nil { actions.requests.append(.claim(limit: 0, alone: false)) }
        parkAll(&actions)
    }

    // MARK: Sending

    private mutating func flush(_ actions: inout Actions) {
        flushWrites(&actions)
        flushCalls(&actions)
        flushEmissions(&actions)
        if !parkings.isEmpty {
            actions.requests.append(.park(parkings))
            parkings.removeAll()
        }
        if !releases.isEmpty {
            actions.requests.append(.release(releases))
            releases.removeAll()
        }
        let room = room
        if room > claim ?? 0 {
            claim = room
            actions.requests.append(.claim(limit: room, alone: false))
        } else if isClearing, mode == .running, probation == nil, claim == nil, statistics.unresolved == 0 {
            claim = 1
            actions.requests.append(.claim(limit: 1, alone: true))
        }
        if mode == .draining, statistics.unresolved == 0, writes.isEmpty, calls.isEmpty, !emissions.isInFlight {
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

    mutating func newToken() -> UInt64 {
        lastToken += 1
        return lastToken
    }

    /// Answers the call of a scope, unless it was answered when the run stopped.
    mutating func answer(
        _ scope: ScopeID, of slot: Int, _ answer: CallAnswer, as settlement: ScopeTree.Settlement = .over, _ actions: inout Actions
    ) {
        guard let index = runs[slot].outstanding.firstIndex(where: { $0.scope == scope }) else { return }
        let receiver = runs[slot].outstanding.remove(at: index).receiver
        if runs[slot].isResting { goOn(slot) }
        if case .cancelled = answer { runs[slot].toldCancelled = true }
        actions.effects.append(.answer(id(slot), (scope, settlement), receiver, answer))
    }

    private mutating func answerStopped(_ slot: Int, _ actions: inout Actions) {
        for (scope, receiver) in runs[slot].outstanding { actions.effects.append(.answer(id(slot), (scope, .over), receiver, .stopped)) }
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
