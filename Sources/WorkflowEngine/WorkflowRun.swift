import Locking

/// A sequential branch of a run. 0 is the root.
package typealias ScopeID = UInt32

package enum BeginAnswer: Sendable {
    /// Nothing recorded: execute the body, then end the step.
    case execute
    case recorded(Outcome)
    case stopped
    indirect case misuse(WorkflowError)
}

/// How a handler ended its run.
package enum RunOutcome: Sendable {
    case success(JSONBytes)
    /// `reason` is `error`, `determinism` or `bad_input`.
    indirect case failure(WorkflowError, reason: String)
    /// It was told to stop, and did.
    case stopped
}

/// One run of a workflow's handler, from `start` to `release`. All methods may be called on any thread; none blocks.
package final class WorkflowRun: @unchecked Sendable {  // what changes is behind `state`, or the host's own
    package let workflow: ClaimedWorkflow
    /// The handler side's own. Set by its `deliver` of the start, and not touched after the release.
    package nonisolated(unsafe) var hostContext: UnsafeMutableRawPointer?

    private enum Phase {
        case running, stopped, finished, sealed
    }
    private struct State {
        var scopes: ScopeTree
        var phase = Phase.running
        /// Calls sent to the engine so far.
        var posted = 0
    }

    private let id: RunID
    private let mailbox: EngineMailbox
    private let clock: EngineClock
    private let maximumPayload: Int
    private let state: Locked<State>

    init(workflow: ClaimedWorkflow, id: RunID, mailbox: EngineMailbox, clock: EngineClock, maximumPayload: Int) {
        self.workflow = workflow
        self.id = id
        self.mailbox = mailbox
        self.clock = clock
        self.maximumPayload = maximumPayload
        state = Locked(State(scopes: ScopeTree(recordedSteps: workflow.recordedSteps)))
    }

    // MARK: The handler's side

    /// nil: unknown parent, or a name that is empty or too long.
    package func branch(from parent: ScopeID, name: String) -> ScopeID? {
        let scope = name.utf8.contains(0) ? nil : state.withLock { $0.scopes.branch(from: parent, name: name) }
        if scope == nil { mailbox.countMisuse() }
        return scope
    }

    /// A step, transaction or query begins in `scope`.
    package func begin(_ kind: StepKind, scope: ScopeID, name: String, isolation: IsolationLevel = .readCommitted) -> BeginAnswer {
        let (answer, call) = state.withLock { state -> (BeginAnswer, RunCall?) in
            guard state.phase == .running else { return (.stopped, nil) }
            switch state.scopes.begin(kind, scope: scope, name: name, now: clock.wall) {
            case .execute:
                guard kind == .transaction, let open = state.scopes.openStep(in: scope) else { return (.execute, nil) }
                state.posted += 1
                return (.execute, .beginTransaction(scope, record(open), isolation))
            case .recorded(let outcome): return (.recorded(outcome), nil)
            case .misuse(let error): return (.misuse(error), nil)
            case .determinism(let error): return (.misuse(error), condemn(&state, error))
            }
        }
        if let call { mailbox.post(.run(id, call)) }
        count(answer)
        return answer
    }

    /// The step or transaction that began in `scope` has this outcome; `receiver` gets the answer after the commit.
    package func end(scope: ScopeID, outcome: Outcome, receiver: CallReceiver) {
        let outcome = storable(outcome)  // before the lock: a payload may be large
        post(receiver) { state in
            guard let open = state.scopes.openStep(in: scope) else { return .failure(.noOpenStep(scope, "end")) }
            guard open.call == .body, open.kind != .query else { return .failure(.callOutstanding(open, "end")) }
            state.scopes.setCall(.ending, in: scope)
            var record = record(open)
            record.outcome = outcome
            if case .failure(var error) = outcome {
                if error.step == nil { error.step = open.path }
                record.outcome = .failure(error)
            }
            return .success(open.kind == .transaction ? .endTransaction(scope, record.outcome, receiver) : .endStep(scope, record, receiver))
        }
    }

    /// SQL inside the transaction of `scope`.
    package func execute(scope: ScopeID, statement: SQLStatement, receiver: CallReceiver) {
        let refusal = statement.refusal
        post(receiver) { state in
            guard let open = state.scopes.openStep(in: scope) else { return .failure(.noOpenStep(scope, "execute")) }
            guard open.kind == .transaction else { return .failure(.notATransaction(open, "execute")) }
            guard open.call == .body else { return .failure(.callOutstanding(open, "execute")) }
            state.scopes.setCall(.executing, in: scope)
            return .success(refusal.map { .refusedStatement(scope, $0, receiver) } ?? .execute(scope, statement, receiver))
        }
    }

    /// A read-only query as a recorded step.
    package func query(scope: ScopeID, name: String, statement: SQLStatement, receiver: CallReceiver) {
        let refusal = statement.refusal
        var replayed = false
        post(receiver) { state in
            switch state.scopes.begin(.query, scope: scope, name: name, now: clock.wall) {
            case .execute: break
            case .recorded(.success(let value)):
                replayed = true
                return .success(.answer(receiver, .value(value)))
            case .recorded(.failure(let error)):
                replayed = true
                return .success(.answer(receiver, .failure(error)))
            case .misuse(let error): return .failure(error)
            case .determinism(let error):
                if let call = condemn(&state, error) { mailbox.post(.run(id, call)) }
                return .failure(error)
            }
            guard let open = state.scopes.openStep(in: scope) else { return .failure(.noOpenStep(scope, "query")) }
            state.scopes.setCall(.ending, in: scope)
            var record = record(open)
            if var error = refusal {
                error.step = open.path
                record.outcome = .failure(error)
                return .success(.endStep(scope, record, receiver))
            }
            return .success(.query(scope, record, statement, receiver))
        }
        if replayed { mailbox.countReplayedStep() }
    }

    package func finish(_ outcome: RunOutcome) {
        var outcome = outcome
        switch outcome {
        case .success(let value):
            if let problem = PayloadCheck.problem(in: value, limit: maximumPayload) {
                outcome = .failure(.payload(problem, of: "The workflow's output", step: nil), reason: "error")
            }
        case .failure(let error, let reason): outcome = .failure(error.storable(limit: maximumPayload), reason: reason)
        case .stopped: break
        }
        let call = state.withLock { state -> RunCall? in
            switch state.phase {
            case .finished, .sealed: return nil
            case .stopped: outcome = .stopped
            case .running:
                switch outcome {
                case .success:
                    if let open = state.scopes.anyOpenStep { outcome = .failure(.finishedWithOpenStep(open), reason: "error") }
                case .stopped: outcome = .failure(.stoppedItself, reason: "error")
                case .failure: break
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
        state.withLock { if $0.phase == .running { $0.phase = .stopped } }
    }

    /// The answer to the call of `scope` is being delivered.
    func settle(_ scope: ScopeID, bodyRunsAgain: Bool) {
        state.withLock { $0.scopes.settle(scope, bodyRunsAgain: bodyRunsAgain) }
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

    private func record(_ open: ScopeTree.OpenStep) -> StepRecord {
        StepRecord(fence: workflow.fence, name: open.path, number: open.number, kind: open.kind, outcome: .success([]), startedAt: open.startedAt)
    }

    /// Only the first cause counts, and nothing the handler does afterwards.
    private func condemn(_ state: inout State, _ error: WorkflowError) -> RunCall? {
        guard state.phase == .running else { return nil }
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
            case .running:
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
        case .execute, .stopped: break
        }
    }

    private func storable(_ outcome: Outcome) -> Outcome {
        switch outcome {
        case .success(let value):
            guard let problem = PayloadCheck.problem(in: value, limit: maximumPayload) else { return outcome }
            return .failure(.payload(problem, of: "The step's value", step: nil).attempted(1))
        case .failure(let error): return .failure(error.storable(limit: maximumPayload).attempted(1))
        }
    }
}

extension WorkflowError {
    func attempted(_ attempt: Int32) -> WorkflowError {
        var error = self
        if error.attempt == nil { error.attempt = attempt }
        return error
    }
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
