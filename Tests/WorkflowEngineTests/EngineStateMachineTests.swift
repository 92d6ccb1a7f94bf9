import Testing

@testable import WorkflowEngine

/// The machine as a transcript: events in, one line for each thing it wants done.
struct Transcript {
    var machine: EngineStateMachine
    private var actions = EngineStateMachine.Actions()
    private var names: [RunID: String] = [:]
    private(set) var runs: [String: RunID] = [:]
    private var handled: [String: Int] = [:]
    private(set) var timers: [EngineStateMachine.Timer] = []
    private(set) var lastRequests: [StoreRequest] = []
    /// What the driver finds when it looks whether a run does anything but wait.
    var isQuiet = true

    init(
        concurrency: Int = 4, claimBatch: Int = 200, writesInFlight: Int = 2, writeRows: Int = 100, attempts: Int = 3, residentLimit: Int = 100
    ) {
        machine = EngineStateMachine(
            configuration: EngineConfiguration(
                concurrency: concurrency, claimBatch: claimBatch, writesInFlight: writesInFlight, writeRows: writeRows, transactionAttempts: attempts,
                residentLimit: residentLimit, seed: 1))
    }

    /// What follows from the events and a flush after them.
    mutating func after(_ events: EngineStateMachine.Event...) -> [String] {
        for event in events { machine.handle(event, &actions) }
        machine.handle(.flush, &actions)
        var lines = actions.requests.map(describe)
        lastRequests = actions.requests
        actions.requests = []
        while !actions.effects.isEmpty {
            let effects = actions.effects
            actions.effects = []
            for effect in effects { lines.append(describe(effect)) }
        }
        return lines
    }

    mutating func claimed(_ ids: String...) -> [String] { after(.store(.claimed(ids.map(Self.workflow)))) }

    mutating func call(_ id: String, _ call: RunCall) -> EngineStateMachine.Event { .call(runs[id]!, call) }

    mutating func endStep(_ id: String, _ name: String, scope: ScopeID = 0, _ outcome: Outcome = .success([0x31])) -> EngineStateMachine.Event {
        .call(runs[id]!, .endStep(scope, record(id, name, outcome), .never, Self.receiver))
    }

    func record(_ id: String, _ name: String, _ outcome: Outcome = .success([0x31]), kind: StepKind = .step) -> StepRecord {
        StepRecord(fence: Self.fence(id), name: name, number: 1, kind: kind, outcome: outcome, startedAt: 0)
    }

    func finish(_ id: String, _ outcome: RunOutcome = .success([0x31])) -> EngineStateMachine.Event { .call(runs[id]!, .finish(outcome)) }

    static let receiver = CallReceiver(function: nil, context: nil)
    static func fence(_ id: String) -> Fence { Fence(key: Int64(id.utf8.last! - 0x30), epoch: 1) }
    static func workflow(_ id: String) -> ClaimedWorkflow {
        ClaimedWorkflow(
            fence: fence(id), workflowID: id, workflowName: "n", workflowVersion: 1, queue: "default", priority: 0, partitionKey: nil, recoveries: 0, input: [],
            headers: nil, attributes: nil, createdAt: 0, recordedSteps: [])
    }

    private func describe(_ request: StoreRequest) -> String {
        switch request {
        case .claim(let limit, let alone): return "claim \(limit)\(alone ? " alone" : "")"
        case .write(let id, let steps, let ends):
            let items =
                steps.map { "\($0.fence.key):\($0.name)\($0.outcome.isFailure ? "!" : "")" }
                + ends.map { "end \($0.fence.key)\($0.end.text)" }
            return "write#\(id.value) \(items.joined(separator: " "))"
        case .release(let fences): return "release \(fences.map { "\($0.key)" }.joined(separator: " "))"
        case .begin(let id, let fence, _): return "begin#\(id.value) \(fence.key)"
        case .execute(let id, let transaction, _): return "execute#\(id.value) in #\(transaction.value)"
        case .commit(let id, let transaction, let record): return "commit#\(id.value) of #\(transaction.value) \(record.name)"
        case .rollback(let transaction): return "rollback #\(transaction.value)"
        case .query(let id, _): return "query#\(id.value)"
        case .perform(let id, let calls): return "perform#\(id.value) \(calls.map { "\($0.fence.key):\($0.kind.rawValue):\($0.name)" }.joined(separator: " "))"
        case .emit(let id, let values): return "emit#\(id.value) \(values.map { "\($0.fence.key):\($0.kind.rawValue)" }.joined(separator: " "))"
        case .park(let parkings): return "park \(parkings.map { "\($0.fence.key)" }.joined(separator: " "))"
        case .runHandler(let id, let fence): return "run handler#\(id.value) \(fence.key)"
        }
    }

    private mutating func describe(_ effect: EngineStateMachine.Effect) -> String {
        switch effect {
        case .start(let id, let workflow):
            names[id] = workflow.workflowID
            runs[workflow.workflowID] = id
            return "start \(workflow.workflowID)"
        case .interrupt(let id): return "interrupt \(names[id] ?? "function")"
        case .answer(let id, let scope, _, let answer):
            let text =
                switch answer {
                case .value: "value"
                case .failure(let error): "failure \(error.code)"
                case .stopped: "stopped"
                case .misuse(let error): "misuse \(error.code)"
                case .retry: "retry"
                case .none: "none"
                case .cancelled: "cancelled"
                case .execute: "execute"
                }
            return "answer \(names[id] ?? "function")\(scope.map { "/\($0.scope)" } ?? "") \(text)"
        case .cancel(let id): return "cancel \(names[id] ?? "function")"
        case .interruptStep(let id, let scope): return "interrupt step \(names[id] ?? "function")/\(scope)"
        case .waits(let id, let scope): return "waits \(names[id] ?? "function")/\(scope)"
        case .rest(let id):
            // As the driver does, with nothing else open in the run.
            machine.handle(.resting(id, isQuiet), &actions)
            return "rest \(names[id] ?? "function")"
        case .park(let id, let assumeIdle, let count):
            machine.handle(.parked(id, true), &actions)
            return "park \(names[id] ?? "function") after \(count)\(assumeIdle ? " if idle" : "")"
        case .release(let id, let count):
            // As the driver does, with no call on its way.
            machine.handle(.released(id), &actions)
            return "release \(names[id] ?? "function") after \(count)"
        case .schedule(let timer, _):
            timers.append(timer)
            return "schedule \(timer.text)"
        case .drained: return "drained"
        case .note(let id, let note):
            let text =
                switch note {
                case .fenced: "fenced"
                case .condemned(let error): "condemned \(error.code)"
                case .failed(let error): "failed \(error.code)"
                case .endRefused(let error): "end refused \(error.code)"
                case .abandoned: "abandoned"
                case .lifeLost(let runs): "life lost \(runs)"
                case .handedBack: "handed back"
                case .parked: "parked"
                case .cancelling(let cause): "cancelling \(cause)"
                case .clearing: "clearing"
                }
            return "note\(id.map { " \(names[$0] ?? "function")" } ?? "") \(text)"
        }
    }
}

extension EngineStateMachine.Timer {
    var text: String {
        switch self {
        case .transaction(_, let attempt): "attempt \(attempt)"
        case .wait(let owner, _): "wait /\(owner.scope)"
        case .backOff(let owner, _): "back-off /\(owner.scope)"
        case .attempt(let owner, _): "attempt time /\(owner.scope)"
        case .step(let owner, _): "step time /\(owner.scope)"
        case .deadline: "deadline"
        case .rest: "rest"
        case .handler: "handler"
        case .clearing: "clearing"
        }
    }
}

extension WorkflowEnd.End {
    var text: String {
        switch self {
        case .succeeded: ""
        case .failed(_, let reason): "! \(reason)"
        case .cancelled(let by, _): " cancelled \(by.rawValue)"
        case .continued: " continued"
        }
    }
}

extension Outcome {
    var isFailure: Bool { if case .failure = self { true } else { false } }
}

private func written(_ id: UInt64, steps: [(index: Int, refusal: Refusal)] = [], ends: [(index: Int, refusal: Refusal)] = []) -> EngineStateMachine.Event {
    .store(.written(RequestID(id), steps: steps, ends: ends))
}
private let bad = WorkflowError(code: "bad", type: "t", message: "m")

@Suite struct EngineStateMachineTests {
    private func expect(_ lines: [String], _ expected: String..., at location: SourceLocation = #_sourceLocation) {
        #expect(lines == expected, sourceLocation: location)
    }

    // MARK: Claims

    @Test func oneStepWorkflow() {
        var t = Transcript()
        expect(t.after())
        expect(t.after(.start(maximumPayload: 1000)), "claim 4")
        expect(t.after())
        expect(t.claimed("w1"), "claim 3", "start w1")
        expect(t.after(t.endStep("w1", "a")), "write#1 1:a")
        expect(t.after())
        expect(t.after(written(1)), "answer w1/0 value")
        expect(t.after(t.finish("w1")), "write#2 end 1", "claim 4")
        expect(t.after(written(2)), "release w1 after 2")
        #expect(t.machine.statistics.succeeded == 1)
        #expect(t.machine.statistics.steps == 1)
        #expect(t.machine.statistics.running == 0)
        #expect(t.machine.statistics.unresolved == 0)
    }

    @Test func smallWorkerAndBatchCap() {
        var one = Transcript(concurrency: 1)
        expect(one.after(.start(maximumPayload: 1000)), "claim 1")
        expect(one.claimed("w1"), "start w1")
        expect(one.after(one.finish("w1")), "write#1 end 1", "claim 1")
        var many = Transcript(concurrency: 500, claimBatch: 3)
        expect(many.after(.start(maximumPayload: 1000)), "claim 3")
        expect(many.claimed("w1", "w2", "w3"), "claim 3", "start w1", "start w2", "start w3")
        expect(many.claimed(), "claim 3")
    }

    /// Ends that the database does not take in time must not pile up behind new work.
    @Test func unwrittenEndsHoldBackClaims() {
        var t = Transcript(concurrency: 1, writesInFlight: 1)
        expect(t.after(.start(maximumPayload: 1000)), "claim 1")
        expect(t.claimed("w1"), "start w1")
        expect(t.after(t.finish("w1")), "write#1 end 1", "claim 1")
        expect(t.claimed("w2"), "start w2")
        expect(t.after(t.finish("w2")))
        expect(t.after(written(1)), "write#2 end 2", "claim 1", "release w1 after 1")
    }

    // MARK: Shared writes

    @Test func whatBecomesReadyMeanwhileSharesTheNextWrite() {
        var t = Transcript(writesInFlight: 1)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1", "w2", "w3")
        expect(t.after(t.endStep("w1", "a")), "write#1 1:a")
        expect(t.after(t.endStep("w2", "a"), t.endStep("w3", "a", .failure(bad)), t.endStep("w2", "b", scope: 1)))
        expect(t.after(written(1)), "write#2 2:a 3:a! 2:b", "answer w1/0 value")
        expect(t.after(written(2)), "answer w2/0 value", "answer w3/0 failure bad", "answer w2/1 value")
    }

    @Test func writesAreCapped() {
        var t = Transcript(writesInFlight: 2, writeRows: 2)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1", "w2", "w3")
        expect(
            t.after(t.endStep("w1", "a"), t.endStep("w1", "b", scope: 1), t.endStep("w1", "c", scope: 2), t.finish("w2"), t.finish("w3")), "write#1 1:a 1:b",
            "write#2 1:c end 2", "claim 3")
        expect(t.after(written(2)), "write#3 end 3", "answer w1/2 value", "release w2 after 1")
    }

    // MARK: Refusals

    @Test func fencedStopsTheRunAndWritesNothingMore() {
        var t = Transcript(writesInFlight: 1)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1", "w2")
        _ = t.after(t.endStep("w1", "a"), t.endStep("w1", "b", scope: 1))
        expect(t.after(t.endStep("w1", "c", scope: 2)))
        expect(
            t.after(written(1, steps: [(index: 0, refusal: .fenced), (index: 1, refusal: .fenced)])), "claim 3", "note w1 fenced", "interrupt w1",
            "answer w1/0 stopped", "answer w1/1 stopped", "answer w1/2 stopped")
        expect(t.after(t.endStep("w1", "d")), "answer w1 stopped")
        expect(t.after(t.finish("w1", .success([0x31]))), "release w1 after 5")
        #expect(t.machine.statistics.fenced == 1)
        #expect(t.machine.statistics.succeeded == 0)
    }

    @Test func alreadyRecordedIsSuccess() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.endStep("w1", "a"))
        expect(t.after(written(1, steps: [(index: 0, refusal: .alreadyRecorded)])), "answer w1/0 value")
        _ = t.after(t.finish("w1"))
        expect(t.after(written(2, ends: [(index: 0, refusal: .alreadyRecorded)])), "release w1 after 2")
        #expect(t.machine.statistics.succeeded == 1)
    }

    @Test func invalidStepFailsTheWorkflowAndOnlyIt() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1", "w2")
        _ = t.after(t.endStep("w1", "a"), t.endStep("w2", "a"))
        expect(
            t.after(written(1, steps: [(index: 0, refusal: .invalid(bad))])), "write#2 end 1! error", "claim 3", "interrupt w1", "note w1 condemned bad",
            "answer w1/0 stopped", "answer w2/0 value")
        guard case .write(_, _, let ends)? = t.lastRequests.first, case .failed(let error, _) = ends[0].end else { return #expect(Bool(false)) }
        #expect(error.step == "a")
        expect(t.after(written(2)))
        expect(t.after(t.finish("w1", .success([0x31]))), "release w1 after 2")
        #expect(t.machine.statistics.failed == 1)
    }

    @Test func fencedEndIsReleased() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.finish("w1"))
        expect(t.after(written(1, ends: [(index: 0, refusal: .fenced)])), "note w1 fenced", "release w1 after 1")
        #expect(t.machine.statistics.succeeded == 0)
    }

    @Test func anEndThatIsRefusedFailsAndThenGivesUp() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.finish("w1"))
        expect(t.after(written(1, ends: [(index: 0, refusal: .invalid(bad))])), "write#2 end 1! error", "note w1 end refused bad")
        expect(t.after(written(2, ends: [(index: 0, refusal: .invalid(bad))])), "write#3 end 1! error")
        expect(t.after(written(3, ends: [(index: 0, refusal: .invalid(bad))])), "note w1 abandoned", "release w1 after 1")
        #expect(t.machine.statistics.abandoned == 1)
    }

    // MARK: Ends

    @Test func endWaitsForTheWritesOfItsBranches() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        expect(t.after(t.endStep("w1", "a", scope: 1)), "write#1 1:a")
        expect(t.after(t.finish("w1", .failure(bad, reason: "error"))), "claim 4")
        expect(t.after(written(1)), "write#2 end 1! error", "answer w1/1 value", "note w1 failed bad")
        expect(t.after(written(2)), "release w1 after 2")
    }

    @Test(arguments: [("error", "error"), ("bad_input", "bad_input"), ("determinism", "determinism"), ("timeout", "error"), ("", "error")])
    func reasons(_ given: String, _ written: String) {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        expect(t.after(t.finish("w1", .failure(bad, reason: given))), "write#1 end 1! \(written)", "claim 4", "note w1 failed bad")
    }

    @Test func releaseWaitsForCallsOnTheirWay() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.finish("w1"))
        // The driver finds a call that is not here yet, and does not answer `released`: the late call asks again.
        var actions = EngineStateMachine.Actions()
        t.machine.handle(written(1), &actions)
        t.machine.handle(.call(t.runs["w1"]!, .endStep(0, t.record("w1", "late"), .never, Transcript.receiver)), &actions)
        var counts: [Int] = []
        var stopped = 0
        for effect in actions.effects {
            if case .release(_, let count) = effect { counts.append(count) }
            if case .answer(_, _, _, .stopped) = effect { stopped += 1 }
        }
        #expect(counts == [1, 2])
        #expect(stopped == 1)
    }

    @Test func determinismCondemnsWhateverTheHandlerSays() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        expect(
            t.after(t.call("w1", .condemn(bad, reason: "determinism"))), "write#1 end 1! determinism", "claim 4", "interrupt w1", "note w1 condemned bad")
        expect(t.after(t.finish("w1", .success([0x31]))))
        expect(t.after(written(1)), "release w1 after 2")
    }

    // MARK: Transactions and queries

    @Test func transaction() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        expect(t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .serializable, .never))), "begin#1 1")
        let statement = SQLStatement(sql: "s", parameters: [])
        expect(t.after(t.call("w1", .execute(0, statement, Transcript.receiver))), "execute#2 in #1")
        expect(t.after(.store(.executed(RequestID(2), .success([])))), "answer w1/0 value")
        expect(t.after(t.call("w1", .endTransaction(0, .success([0x31]), .never, Transcript.receiver))), "commit#3 of #1 pay")
        expect(t.after(.store(.transactionEnded(RequestID(3), .committed))), "answer w1/0 value")
        #expect(t.machine.statistics.steps == 1)
        #expect(t.machine.transactions.isEmpty && t.machine.requests.isEmpty)
    }

    @Test func bodyThatFailsIsRolledBackAndItsFailureRecorded() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, .never)))
        expect(t.after(t.call("w1", .endTransaction(0, .failure(bad), .never, Transcript.receiver))), "rollback #1", "write#2 1:pay!")
        expect(t.after(written(2)), "answer w1/0 failure bad")
    }

    /// A body that catches the error of its SQL and says all is well has nothing to commit.
    @Test func swallowedSQLErrorCannotCommit() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        let statement = SQLStatement(sql: "s", parameters: [])
        _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, .never)))
        _ = t.after(t.call("w1", .execute(0, statement, Transcript.receiver)))
        expect(t.after(.store(.executed(RequestID(2), .failure(WorkflowError(code: "23505", type: "", message: ""))))), "answer w1/0 failure 23505")
        expect(t.after(t.call("w1", .execute(0, statement, Transcript.receiver))), "answer w1/0 failure 25P02")
        expect(t.after(t.call("w1", .endTransaction(0, .success([0x31]), .never, Transcript.receiver))), "rollback #1", "write#3 1:pay!")
        expect(t.after(written(3)), "answer w1/0 failure 23505")
    }

    @Test(arguments: ["commit", "statement", "deadlock", "connection"])
    func retriedWithABound(_ place: String) {
        var t = Transcript(attempts: 3)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        let code = ["commit": "40001", "statement": "40001", "deadlock": "40P01", "connection": "08006"][place]!
        let conflict = WorkflowError(code: code, type: "", message: "")
        let statement = SQLStatement(sql: "s", parameters: [])
        var request: UInt64 = 1
        expect(t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .serializable, .never))), "begin#1 1")
        for attempt in 2...4 {
            let transaction = request
            request += 1
            let lines: [String]
            var rollback: [String] = []
            if place == "commit" {
                expect(
                    t.after(t.call("w1", .endTransaction(0, .success([0x31]), .never, Transcript.receiver))), "commit#\(request) of #\(transaction) pay"
                )
                lines = t.after(.store(.transactionEnded(RequestID(request), .retry(conflict))))
            } else {
                expect(t.after(t.call("w1", .execute(0, statement, Transcript.receiver))), "execute#\(request) in #\(transaction)")
                expect(t.after(.store(.executed(RequestID(request), .failure(conflict)))), "answer w1/0 failure \(code)")
                // Whatever the body makes of it.
                lines = t.after(t.call("w1", .endTransaction(0, attempt == 2 ? .success([0x31]) : .failure(bad), .never, Transcript.receiver)))
                rollback = ["rollback #\(transaction)"]
            }
            request += 1
            if attempt == 4 {
                #expect(lines == rollback + ["write#\(request) 1:pay!"])
                break
            }
            #expect(lines == rollback + ["schedule attempt \(attempt)"])
            expect(t.after(.timer(t.timers.last!)), "begin#\(request) 1", "answer w1/0 retry")
            expect(t.after(.timer(t.timers.last!)))  // a timer counts once
        }
        expect(t.after(written(request)), "answer w1/0 failure \(code)")
        #expect(t.machine.statistics.transactionRetries == 2)
    }

    @Test func deferredConstraintFailsTheStep() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, .never)))
        _ = t.after(t.call("w1", .endTransaction(0, .success([0x31]), .never, Transcript.receiver)))
        expect(t.after(.store(.transactionEnded(RequestID(2), .failed(bad)))), "write#3 1:pay!")
        expect(t.after(written(3)), "answer w1/0 failure bad")
    }

    @Test func fencedCommit() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, .never)))
        _ = t.after(t.call("w1", .endTransaction(0, .success([0x31]), .never, Transcript.receiver)))
        expect(t.after(.store(.transactionEnded(RequestID(2), .refused(.fenced)))), "claim 4", "note w1 fenced", "interrupt w1", "answer w1/0 stopped")
        expect(t.after(t.finish("w1", .stopped)), "release w1 after 3")
    }

    @Test func stoppedTransactionsAreUndoneUnlessTheyAreCommitting() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        for scope: ScopeID in 0...2 { _ = t.after(t.call("w1", .begin(scope, t.record("w1", "t\(scope)", kind: .transaction), .readCommitted, .never))) }
        _ = t.after(t.call("w1", .execute(1, SQLStatement(sql: "s", parameters: []), Transcript.receiver)))
        _ = t.after(t.call("w1", .endTransaction(2, .success([0x31]), .never, Transcript.receiver)))
        expect(t.after(.stopAll), "claim 0", "rollback #1", "rollback #2", "interrupt w1", "answer w1/1 stopped", "answer w1/2 stopped")
        expect(t.after(.store(.executed(RequestID(4), .success([])))))
        expect(t.after(.store(.transactionEnded(RequestID(5), .committed))), "release 1", "note w1 handed back", "drained")
        #expect(t.machine.statistics.steps == 1)
    }

    @Test func query() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 10))
        _ = t.claimed("w1")
        let statement = SQLStatement(sql: "s", parameters: [])
        expect(t.after(t.call("w1", .query(0, t.record("w1", "q", kind: .query), statement, Transcript.receiver))), "query#1")
        expect(t.after(.store(.executed(RequestID(1), .failure(WorkflowError(code: "08006", type: "", message: ""))))), "schedule attempt 2")
        expect(t.after(.timer(t.timers[0])), "query#2")
        expect(t.after(.store(.executed(RequestID(2), .success([0x31])))), "write#3 1:q")
        expect(t.after(written(3)), "answer w1/0 value")
        _ = t.after(t.call("w1", .query(0, t.record("w1", "big", kind: .query), statement, Transcript.receiver)))
        expect(t.after(.store(.executed(RequestID(4), .success(Array(repeating: 0x20, count: 11))))), "write#5 1:big!")
        expect(t.after(written(5)), "answer w1/0 failure payload_too_large")
        _ = t.after(t.call("w1", .query(0, t.record("w1", "bad", kind: .query), statement, Transcript.receiver)))
        expect(t.after(.store(.executed(RequestID(6), .failure(bad)))), "write#7 1:bad!")
    }

    // MARK: Draining

    @Test func drainLetsRunsEndAndStopsTheRestAtTheDeadline() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1", "w2", "w3")
        expect(t.after(.drain), "claim 0")
        expect(t.after(t.finish("w1")), "write#1 end 1")
        expect(t.after(t.endStep("w2", "a")), "write#2 2:a")
        expect(t.after(written(1)), "release w1 after 1")
        // What is being written is waited for; the rest goes back at once.
        expect(t.after(.stopAll), "release 3", "interrupt w2", "answer w2/0 stopped", "interrupt w3", "note w3 handed back")
        expect(t.after(written(2)), "release 2", "note w2 handed back", "drained")
        #expect(t.machine.statistics.handedBack == 2)
        #expect(t.machine.statistics.lingering == 2)
        // Handlers that never finish hold up nothing, and one that does is still released.
        expect(t.after(t.finish("w2", .stopped)), "release w2 after 2")
        #expect(t.machine.statistics.lingering == 1)
    }

    @Test func whatIsClaimedWhileDrainingGoesBack() {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        expect(t.after(.drain), "claim 0", "drained")
        expect(t.claimed("w1"), "release 1")
        expect(t.after(.start(maximumPayload: 1000)))
    }

    @Test func nothingToDrain() {
        var t = Transcript()
        expect(t.after(.drain), "drained")
        expect(t.after(.drain))
    }

    // MARK: A lost life

    @Test func lifeLost() {
        var t = Transcript(writesInFlight: 1)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1", "w2", "w3")
        _ = t.after(t.endStep("w1", "a"))
        _ = t.after(t.endStep("w2", "a"), t.finish("w3"))
        expect(
            t.after(.store(.lifeLost)), "claim 2", "claim 4", "note life lost 3", "interrupt w1", "answer w1/0 stopped", "interrupt w2", "answer w2/0 stopped")
        // The write of the old life is answered; w3's end goes out once and is refused.
        expect(t.after(written(1, steps: [(index: 0, refusal: .fenced)])), "write#2 end 3")
        expect(t.after(written(2, ends: [(index: 0, refusal: .fenced)])), "note w3 fenced", "release w3 after 1")
        expect(t.claimed("w4"), "claim 3", "start w4")
        expect(t.after(t.finish("w1", .stopped)), "release w1 after 2")
    }

    @Test func answersForAReusedPlaceAreNotItsOwn() {
        var t = Transcript(concurrency: 1)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.claimed("w1")
        _ = t.after(t.endStep("w1", "a"))
        let old = t.runs["w1"]!
        _ = t.after(.store(.lifeLost))
        expect(t.after(t.finish("w1", .stopped)), "release w1 after 2")
        _ = t.claimed("w2")
        #expect(t.runs["w2"]!.slot == old.slot)
        _ = t.after(t.endStep("w2", "a"))
        expect(t.after(written(1, steps: [(index: 0, refusal: .fenced)])))
        expect(t.after(.call(old, .finish(.success([])))))
        expect(t.after(written(2)), "answer w2/0 value")
    }
}
