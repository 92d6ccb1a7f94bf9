import Locking

/// A sequential branch of a run. 0 is the root.
package typealias ScopeID = UInt32

package enum BeginAnswer: Sendable {
    /// Nothing recorded: execute the body, then end the step.
    case execute
    /// An earlier attempt's back-off is not over: the receiver is answered `execute`, later.
    case pending
    case recorded(Outcome)
    case cancelled
    case stopped
    indirect case misuse(WorkflowError)
}

/// How a handler ended its run.
package enum RunOutcome: Sendable {
    case success(JSONBytes)
    /// `reason` is `error`, `determinism` or `bad_input`.
    indirect case failure(WorkflowError, reason: String)
    /// It was told that the workflow is being cancelled.
    case cancelled
    /// It was told to stop, and did.
    case stopped
}

/// One run of a workflow's handler, from `start` to `release`. All methods may be called on any thread; none blocks.
package final class WorkflowRun: @unchecked Sendable {  // what changes is behind `state`, or the host's own
    package let workflow: ClaimedWorkflow
    /// The handler side's own. Set by its `deliver` of the start, and not touched after the release.
    package nonisolated(unsafe) var hostContext: UnsafeMutableRawPointer?

    private enum Phase {
        case running
        /// Only what is recorded is answered. → compensating
        case cancelled
        /// Only compensations may run.
        case compensating
        case stopped, finished, sealed
    }
    private struct State {
        var scopes: ScopeTree
        var phase = Phase.running
        var isCancelled = false
        /// A step that was to begin was answered so, here: the engine knows only of its own answers.
        var wasToldCancelled = false
        /// Calls sent to the engine so far.
        var posted = 0
    }

    private let id: RunID
    private let mailbox: EngineMailbox
    private let clock: EngineClock
    private let claimedAt: UInt64
    private let valueSeed: UInt64?
    private let maximumPayload: Int
    private let state: Locked<State>

    init(workflow: ClaimedWorkflow, id: RunID, mailbox: EngineMailbox, clock: EngineClock, maximumPayload: Int, valueSeed: UInt64? = nil) {
        self.workflow = workflow
        self.id = id
        self.mailbox = mailbox
        self.clock = clock
        self.maximumPayload = maximumPayload
        self.valueSeed = valueSeed
        // Read only where a back-off is to be resumed.
        claimedAt = workflow.recordedSteps.isEmpty ? 0 : clock.monotonic()
        let isCancelled = workflow.cancellation != nil || (workflow.deadlineIn ?? 1) <= 0
        state = Locked(
            State(
                scopes: ScopeTree(recordedSteps: workflow.recordedSteps),
                phase: isCancelled || workflow.compensationFailure != nil ? .cancelled : .running, isCancelled: isCancelled))
    }

    // MARK: The handler's side

    /// nil: unknown parent, or a name that is empty or too long.
    package func branch(from parent: ScopeID, name: String) -> ScopeID? {
        let scope = name.utf8.contains(0) ? nil : state.withLock { $0.scopes.branch(from: parent, name: name) }
        if scope == nil { mailbox.countMisuse() }
        return scope
    }

    /// The branch is used no more.
    package func close(_ scope: ScopeID) { state.withLock { $0.scopes.close(scope) } }

    /// The workflow is being cancelled, or its deadline has passed.
    package var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// The attempt of the step or transaction that is open in the scope; 0: none is.
    package func attempt(in scope: ScopeID) -> Int32 { state.withLock { $0.scopes.openStep(in: scope)?.attempt ?? 0 } }

    /// The full name of the step that is open in the scope; nil: none is.
    package func path(of scope: ScopeID) -> String? { state.withLock { $0.scopes.openStep(in: scope)?.path } }

    /// The body that is open in the scope never runs.
    package func suspend(_ scope: ScopeID) { state.withLock { $0.scopes.setCall(.waiting, in: scope) } }

    /// Steps that were begun and are not over: at most one in each scope.
    package var openSteps: [(path: String, kind: StepKind)] { state.withLock { $0.scopes.openSteps.map { ($0.path, $0.kind) } } }

    /// Recorded steps that this run has not come to, in the order they were recorded.
    package var unvisitedSteps: [String] { state.withLock { $0.scopes.unvisitedSteps } }

    /// A step, transaction or compensation begins in `scope`. `isolation`: of a transaction, and of a compensation that is one. `receiver` is answered
    /// only after `pending`.
    package func begin(
        _ kind: StepKind, scope: ScopeID, name: String, isolation: IsolationLevel? = nil, policy: RetryPolicy = .standard,
        receiver: CallReceiver = .nobody
    ) -> BeginAnswer {
        let isolation = kind == .transaction ? isolation ?? .readCommitted : isolation
        let (answer, call) = state.withLock { state -> (BeginAnswer, RunCall?) in
            var recordedOnly = false
            switch state.phase {
            case .stopped, .finished, .sealed: return (.stopped, nil)
            case .running:
                if kind == .compensation { return (.misuse(.compensationTooEarly(name)), nil) }
            case .cancelled:
                if kind == .compensation { return (.misuse(.compensationTooEarly(name)), nil) }
                recordedOnly = true
            case .compensating: recordedOnly = kind != .compensation
            }
            switch state.scopes.begin(
                kind, scope: scope, name: name, isolation: isolation, policy: policy, recordedOnly: recordedOnly, now: clock.wall)
            {
            case .execute:
                guard isolation != nil || policy.hasTimeout, let open = state.scopes.openStep(in: scope) else { return (.execute, nil) }
                state.posted += 1
                return (.execute, .begin(scope, record(open, state), isolation, remaining(policy, of: open)))
            case .backingOff(let dueIn, let failure):
                guard let open = state.scopes.openStep(in: scope) else { return (.stopped, nil) }
                state.posted += 1
                let left = dueIn - Int64(clamping: (clock.monotonic() &- claimedAt) / 1000)
                var last = record(open, state)
                last.attempts -= 1
                last.outcome = .failure(failure)
                // At least the microsecond that a policy keeps when its time is up.
                return (.pending, .backOff(scope, last, isolation, remaining(policy, of: open), dueIn: max(1, left), receiver))
            case .recorded(let outcome): return (.recorded(outcome), nil)
            case .cancelled:
                state.wasToldCancelled = true
                return (.cancelled, nil)
            case .misuse(let error): return (.misuse(error), nil)
            case .determinism(let error): return (.misuse(error), condemn(&state, error))
            }
        }
        if let call { mailbox.post(.run(id, call)) }
        count(answer)
        return answer
    }

    /// The step, transaction or compensation whose body ran in `scope` has this outcome; `receiver` gets the answer after the commit. `isFinal`: a failure
    /// that is not to be retried.
    package func end(scope: ScopeID, outcome: Outcome, isFinal: Bool = false, receiver: CallReceiver) {
        let (outcome, isStorable) = storable(outcome)  // before the lock: a payload may be large
        post(receiver) { state in
            guard let open = state.scopes.openStep(in: scope) else { return .failure(.noOpenStep(scope, "end")) }
            guard open.call == .body, [.step, .transaction, .compensation].contains(open.kind) else { return .failure(.callOutstanding(open, "end")) }
            state.scopes.setCall(.ending, in: scope)
            var record = record(open, state)
            record.outcome = outcome
            if case .failure(var error) = outcome {
                if error.step == nil { error.step = open.path }
                record.outcome = .failure(error.attempted(open.attempt))
            }
            let policy = isFinal || !isStorable ? RetryPolicy.never : remaining(open.policy, of: open)
            return .success(
                open.isolation != nil
                    ? .endTransaction(scope, record.outcome, policy, receiver) : .endStep(scope, record, policy, receiver))
        }
    }

    /// SQL inside the transaction of `scope`.
    package func execute(scope: ScopeID, statement: SQLStatement, receiver: CallReceiver) {
        let refusal = statement.refusal
        post(receiver) { state in
            guard let open = state.scopes.openStep(in: scope) else { return .failure(.noOpenStep(scope, "execute")) }
            guard open.isolation != nil else { return .failure(.notATransaction(open, "execute")) }
            guard open.call == .body else { return .failure(.callOutstanding(open, "execute")) }
            state.scopes.setCall(.executing, in: scope)
            return .success(refusal.map { .refusedStatement(scope, $0, receiver) } ?? .execute(scope, statement, receiver))
        }
    }

    /// A read-only query as a recorded step.
    package func query(scope: ScopeID, name: String, statement: SQLStatement, receiver: CallReceiver) {
        let refusal = statement.refusal
        beginCall(.query, scope: scope, name: name, receiver) { state, open in
            var record = record(open, state)
            if var error = refusal {
                error.step = open.path
                record.outcome = .failure(error)
                return .endStep(scope, record, .never, receiver)
            }
            return .query(scope, record, statement, receiver)
        }
    }

    /// A durable call: a step whose work the database does, or the engine. `arguments` is a JSON object (docs/durable-calls.md).
    package func call(_ kind: StepKind, scope: ScopeID, name: String, arguments: JSONBytes, receiver: CallReceiver) {
        var cursor = JSONCursor(arguments)
        let problem = PayloadCheck.problem(in: arguments, limit: maximumPayload)
        let isObject = problem == nil && cursor.peek() == UInt8(ascii: "{")
        beginCall(kind, scope: scope, name: name, receiver) { state, open in
            var record = record(open, state)
            if let problem {
                record.outcome = .failure(.payload(problem, of: "What \(kind.rawValue) was given", step: open.path).attempted(1))
                return .endStep(scope, record, .never, receiver)
            }
            guard isObject else {
                state.scopes.abandon(scope)
                return .answer(receiver, .misuse(.badArguments(open)))
            }
            switch kind {
            case .now: record.outcome = .success(Array("\(clock.wall())".utf8))
            case .uuid: record.outcome = .success(Array("\"\(uuid(for: open.path))\"".utf8))
            case .random: record.outcome = .success(Array("\"\(hexadecimal(bits(for: open.path)))\"".utf8))
            case .patch:
                if state.scopes.hasUnvisitedSteps(in: scope) {
                    state.scopes.abandon(scope)
                    return .answer(receiver, .value(Array("false".utf8)))
                }
                record.outcome = .success(Array("true".utf8))
            default:
                let call = DurableCall(
                    fence: workflow.fence, name: open.path, number: open.number, kind: kind, arguments: arguments, startedAt: open.startedAt)
                return .perform(scope, call, receiver)
            }
            return .endStep(scope, record, .never, receiver)
        }
    }

    /// What an alternative of the race that is outstanding in `scope` has come to. Ignored if there is none.
    package func offer(scope: ScopeID, index: Int, outcome: Outcome) {
        let (outcome, _) = storable(outcome)
        let isRacing = state.withLock { state in
            guard state.phase == .running, state.scopes.openStep(in: scope)?.kind == .race else { return false }
            state.posted += 1
            return true
        }
        if isRacing { mailbox.post(.run(id, .offer(scope, index: index, outcome))) }
    }

    /// A value that is no step.
    package func emit(_ kind: Emission.Kind, scope: ScopeID, arguments: JSONBytes, receiver: CallReceiver) {
        let problem = PayloadCheck.problem(in: arguments, limit: maximumPayload)
        var cursor = JSONCursor(arguments)
        let isObject = problem == nil && cursor.peek() == UInt8(ascii: "{")
        post(receiver) { state in
            guard state.scopes.contains(scope) else { return .failure(.unknownScope(scope, step: kind.rawValue)) }
            let open = state.scopes.openStep(in: scope)
            if let problem {
                return .success(.answer(receiver, .failure(.payload(problem, of: "What \(kind.rawValue) was given", step: open?.path))))
            }
            guard isObject else { return .failure(.badEmission(kind)) }
            var arguments = arguments
            if kind == .stream {
                guard let tagged = Self.adding(step: open?.path, attempt: open?.attempt ?? 1, to: arguments) else { return .failure(.badEmission(kind)) }
                arguments = tagged
            }
            return .success(.emit(Emission(fence: workflow.fence, kind: kind, arguments: arguments), receiver))
        }
    }

    /// The handler failed, or was told of a cancellation, and has something to undo: from now on only compensations run, and the workflow ends with this
    /// outcome. An outcome that compensations were begun with before is the one that counts.
    package func compensate(_ outcome: RunOutcome, receiver: CallReceiver) {
        post(receiver) { state in
            if state.phase == .compensating { return .failure(.compensatingAlready) }
            if let open = state.scopes.anyOpenStep { return .failure(.callOutstanding(open, "compensate")) }
            let error: WorkflowError
            switch outcome {
            case .failure(let failure, _): error = failure.storable(limit: maximumPayload)
            case .cancelled where state.phase == .cancelled: error = .cancelled
            case .success, .cancelled, .stopped: return .failure(.nothingToCompensate)
            }
            state.phase = .compensating
            if let first = workflow.compensationFailure { return .success(.compensate(nil, first, receiver)) }
            let record = StepRecord(
                fence: workflow.fence, name: ScopeTree.compensationMarker, number: state.scopes.takeNumber(), kind: .compensation,
                outcome: .failure(error), startedAt: clock.wall(), cancelling: true)
            return .success(.compensate(record, error, receiver))
        }
    }

    /// Ends the run; the workflow begins anew with this input.
    package func continueAsNew(input: JSONBytes, receiver: CallReceiver) {
        let problem = PayloadCheck.problem(in: input, limit: maximumPayload)
        post(receiver) { state in
            guard state.phase == .running else { return .success(.answer(receiver, .cancelled)) }
            if let open = state.scopes.anyOpenStep { return .failure(.callOutstanding(open, "continue_as_new")) }
            if let problem { return .success(.answer(receiver, .failure(.payload(problem, of: "The new input", step: nil)))) }
            state.phase = .stopped
            return .success(.continueAsNew(input, receiver))
        }
    }

    package func finish(_ outcome: RunOutcome) {
        var outcome = outcome
        switch outcome {
        case .success(let value):
            if let problem = PayloadCheck.problem(in: value, limit: maximumPayload) {
                outcome = .failure(.payload(problem, of: "The workflow's output", step: nil), reason: "error")
            }
        case .failure(let error, let reason): outcome = .failure(error.storable(limit: maximumPayload), reason: reason)
        case .cancelled, .stopped: break
        }
        let call = state.withLock { state -> RunCall? in
            switch state.phase {
            case .finished, .sealed: return nil
            case .stopped: outcome = .stopped
            case .running, .cancelled, .compensating:
                switch outcome {
                // Code that swallowed it has done nothing since that counts.
                case .success where state.wasToldCancelled: outcome = .cancelled
                case .success:
                    if let open = state.scopes.anyOpenStep { outcome = .failure(.finishedWithOpenStep(open), reason: "error") }
                case .stopped: outcome = .failure(.stoppedItself, reason: "error")
                case .cancelled where state.phase == .running: outcome = .failure(.notCancelled, reason: "error")
                case .failure, .cancelled: break
                }
            }
            state.phase = .finished
            state.posted += 1
            return .finish(outcome)
        }
        guard let call else { return mailbox.countMisuse() }
        mailbox.post(.run(id, call))
    }

    // MARK: The engine's side, on its thread

    /// From here on every call answers that the run is over.
    func markStopped() {
        state.withLock { state in
            switch state.phase {
            case .running, .cancelled, .compensating: state.phase = .stopped
            case .stopped, .finished, .sealed: break
            }
        }
    }

    /// From here on nothing new begins.
    func markCancelled() {
        state.withLock { state in
            state.isCancelled = true
            if state.phase == .running { state.phase = .cancelled }
        }
    }

    /// The answer to the call of `scope` is being delivered.
    func settle(_ scope: ScopeID, _ settlement: ScopeTree.Settlement) { state.withLock { $0.scopes.settle(scope, settlement) } }

    /// The call of `scope` waits, so the run may be parked.
    func setWaiting(_ scope: ScopeID) {
        state.withLock { state in
            guard let open = state.scopes.openStep(in: scope), open.call == .ending else { return }
            state.scopes.setCall(.waiting, in: scope)
        }
    }

    /// Nothing happens in it but waiting.
    var isAtRest: Bool { state.withLock { $0.phase == .running && $0.scopes.isQuiet(assumeIdle: true) } }

    /// Its handler waits for something in each of its branches, and nothing else goes on in it. A manual clock may jump then. `writesWait`: what is being
    /// written waits too.
    package func isWaiting(writesWait: Bool = false) -> Bool {
        state.withLock { state in
            switch state.phase {
            case .running, .cancelled, .compensating, .stopped: state.scopes.isQuiet(assumeIdle: false, writesWait: writesWait)
            case .finished, .sealed: true
            }
        }
    }

    func isCaughtUp(handledCalls: Int) -> Bool { state.withLock { $0.posted == handledCalls } }

    /// Stops the run if nothing happens in it before one of its waits is over, and every call was handled. Rows are all that is left of it then.
    func park(assumeIdle: Bool, handledCalls: Int) -> Bool {
        state.withLock { state in
            guard state.phase == .running, state.posted == handledCalls, state.scopes.isQuiet(assumeIdle: assumeIdle) else { return false }
            state.phase = .stopped
            return true
        }
    }

    /// False: there are calls that the engine has not seen yet, so the run cannot be released.
    func seal(handledCalls: Int) -> Bool {
        state.withLock { state in
            guard state.phase == .finished, state.posted == handledCalls else { return false }
            state.phase = .sealed
            return true
        }
    }

    // MARK: -

    /// With what is left of the time for all attempts: the first one may have begun in an earlier run.
    private func remaining(_ policy: RetryPolicy, of open: ScopeTree.OpenStep) -> RetryPolicy { policy.after(clock.wall() - open.startedAt) }

    private func record(_ open: ScopeTree.OpenStep, _ state: State) -> StepRecord {
        StepRecord(
            fence: workflow.fence, name: open.path, number: open.number, kind: open.kind, outcome: .success([]), startedAt: open.startedAt,
            attempts: open.attempt, cancelling: state.phase == .compensating)
    }

    /// A call without a body: answered from the record, or sent.
    private func beginCall(
        _ kind: StepKind, scope: ScopeID, name: String, _ receiver: CallReceiver, _ send: (inout State, ScopeTree.OpenStep) -> RunCall
    ) {
        var replayed = false
        post(receiver) { state in
            switch state.scopes.begin(kind, scope: scope, name: name, policy: .never, recordedOnly: state.phase != .running, now: clock.wall) {
            case .execute: break
            case .backingOff: return .failure(.noOpenStep(scope, kind.rawValue))
            case .recorded(let outcome):
                replayed = true
                return .success(.answer(receiver, DurableCallOutput.answer(kind, outcome)))
            case .cancelled: return .success(.answer(receiver, .cancelled))
            case .misuse(let error): return .failure(error)
            case .determinism(let error):
                if let call = condemn(&state, error) { mailbox.post(.run(id, call)) }
                return .failure(error)
            }
            guard let open = state.scopes.openStep(in: scope) else { return .failure(.noOpenStep(scope, kind.rawValue)) }
            state.scopes.setCall(.ending, in: scope)
            return .success(send(&state, open))
        }
        if replayed { mailbox.countReplayedStep() }
    }

    /// Only the first cause counts, and nothing the handler does afterwards.
    private func condemn(_ state: inout State, _ error: WorkflowError) -> RunCall? {
        switch state.phase {
        case .running, .cancelled, .compensating: break
        case .stopped, .finished, .sealed: return nil
        }
        state.phase = .stopped
        state.posted += 1
        return .condemn(error, reason: "determinism")
    }

    /// Sends what `decide` says, or the misuse it found, or that the run is over. Nothing is sent after the run was sealed: its host let go of it.
    private func post(_ receiver: CallReceiver, _ decide: (inout State) -> Result<RunCall, WorkflowError>) {
        var isMisuse = false
        let call = state.withLock { state -> RunCall? in
            switch state.phase {
            case .sealed:
                isMisuse = true
                return nil
            case .stopped, .finished:
                state.posted += 1
                return .answer(receiver, .stopped)
            case .running, .cancelled, .compensating:
                let decision = decide(&state)
                state.posted += 1
                switch decision {
                case .success(let call): return call
                case .failure(let error):
                    isMisuse = true
                    return .answer(receiver, .misuse(error))
                }
            }
        }
        if isMisuse { mailbox.countMisuse() }
        if let call { mailbox.post(.run(id, call)) }
    }

    private func count(_ answer: BeginAnswer) {
        switch answer {
        case .recorded: mailbox.countReplayedStep()
        case .misuse: mailbox.countMisuse()
        case .execute, .pending, .cancelled, .stopped: break
        }
    }

    /// The outcome as it can be recorded, and whether it was what the body came to.
    private func storable(_ outcome: Outcome) -> (Outcome, Bool) {
        switch outcome {
        case .success(let value):
            guard let problem = PayloadCheck.problem(in: value, limit: maximumPayload) else { return (outcome, true) }
            return (.failure(.payload(problem, of: "The step's value", step: nil)), false)
        case .failure(let error): return (.failure(error.storable(limit: maximumPayload)), true)
        }
    }

    /// nil: it has such members already.
    private static func adding(step: String?, attempt: Int32, to object: JSONBytes) -> JSONBytes? {
        var cursor = JSONCursor(object)
        guard cursor.peek() == UInt8(ascii: "{") else { return nil }
        cursor.index += 1
        var isEmpty = true
        while let next = cursor.peek(), next != UInt8(ascii: "}") {
            isEmpty = false
            if next == UInt8(ascii: ",") { cursor.index += 1 }
            guard cursor.peek() == UInt8(ascii: "\""), let key = cursor.skipString(), !["step", "attempt"].contains(cursor.unescaped(key)),
                cursor.peek() == UInt8(ascii: ":")
            else { return nil }
            cursor.index += 1
            guard cursor.peek() != nil, cursor.skipValue() != nil else { return nil }
        }
        var bytes = JSONBytes(object[..<cursor.index])
        bytes.append(contentsOf: "\(isEmpty ? "" : ", ")\"step\": ".utf8)
        if let step { JSONText.append(step, to: &bytes) } else { bytes.append(contentsOf: "null".utf8) }
        bytes.append(contentsOf: ", \"attempt\": \(attempt)}".utf8)
        return bytes
    }

    // MARK: Values that the engine makes

    /// With a seed (tests) the same for the same step of the same workflow, otherwise random.
    private func bits(for path: String) -> UInt64 {
        guard let valueSeed else { return .random(in: .min ... .max) }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ valueSeed
        for unit in "\(workflow.workflowID)\u{1}\(path)".utf8 { hash = (hash ^ UInt64(unit)) &* 0x100_0000_01B3 }
        var generator = SplitMix64(state: hash)
        return generator.next()
    }

    private func uuid(for path: String) -> String {
        let high = bits(for: path) & ~0xF000 | 0x4000
        let low = bits(for: path + "\u{1}") & ~(3 << 62) | 2 << 62
        let digits = hexadecimal(high) + hexadecimal(low)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { text.append("-") }
            text.append(digit)
        }
        return text
    }

    private func hexadecimal(_ bits: UInt64) -> String {
        let digits = String(bits, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

extension WorkflowError {
    func attempted(_ attempt: Int32) -> WorkflowError {
        var error = self
        if error.attempt == nil { error.attempt = attempt }
        return error
    }
}

extension CallReceiver {
    package static let nobody = CallReceiver(function: nil, context: nil)
}

extension SQLStatement {
    /// A NUL would cut a text short on its way to the server, silently.
    var refusal: WorkflowError? {
        var subject: String?
        if sql.utf8.contains(0) { subject = "The SQL text" }
        for (index, parameter) in parameters.enumerated() where parameter?.contains(0) == true { subject = "Parameter $\(index + 1)" }
        return subject.map { WorkflowError(code: "22021", type: "Pawl.SQL", message: "\($0) holds a NUL (U+0000), which PostgreSQL text cannot.") }
    }
}
