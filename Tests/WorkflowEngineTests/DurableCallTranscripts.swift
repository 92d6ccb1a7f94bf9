import Testing

@testable import WorkflowEngine

/// Waits, retries, cancellation, parking: what the machine asks for, event by event.
@Suite struct DurableCallTranscripts {
    private func expect(_ lines: [String], _ expected: String..., at location: SourceLocation = #_sourceLocation) {
        #expect(lines == expected, sourceLocation: location)
    }

    private static let value = Array(#"{"value": 1}"#.utf8)

    private func perform(_ t: Transcript, _ id: String, _ kind: StepKind, scope: ScopeID = 0, arguments: String = "{}") -> EngineStateMachine.Event {
        .call(
            t.runs[id]!,
            .perform(
                scope,
                DurableCall(
                    fence: Transcript.fence(id), name: "\(kind.rawValue)\(scope)", number: 1, kind: kind, arguments: Array(arguments.utf8), startedAt: 0),
                Transcript.receiver))
    }

    private func performed(_ request: UInt64, _ results: CallResult...) -> EngineStateMachine.Event { .store(.performed(RequestID(request), results)) }

    private func written(_ request: UInt64, _ refusals: [(index: Int, refusal: Refusal)] = []) -> EngineStateMachine.Event {
        .store(.written(RequestID(request), steps: refusals, ends: []))
    }

    private func signal(_ id: String, _ cancellation: Cancellation? = nil) -> EngineStateMachine.Event {
        .store(.signalled([Signal(fence: Transcript.fence(id), cancellation: cancellation)]))
    }

    private func started(_ ids: String..., residentLimit: Int = 100) -> Transcript {
        var t = Transcript(concurrency: ids.count, residentLimit: residentLimit)
        _ = t.after(.start(maximumPayload: 1000))
        _ = t.after(.store(.claimed(ids.map(Transcript.workflow))))
        return t
    }

    @Test func aRunThatIsResolvedLateLeavesItsPlaceToTheNextOne() {
        var t = started("w1")
        _ = t.after(t.finish("w1"))
        // Its end was committed, it was resumed and claimed again before the answer came, which is to another try.
        var again = Transcript.workflow("w1")
        again.fence = Fence(key: again.fence.key, epoch: 2)
        _ = t.after(.store(.claimed([again])))
        _ = t.after(.store(.written(RequestID(1), steps: [], ends: [(0, .fenced)])))
        let lines = t.after(.store(.signalled([Signal(fence: again.fence, cancellation: .request)])))
        #expect(lines.contains("cancel w1"))
    }

    // MARK: Waits

    @Test func waitThatIsOverAtOnce() {
        var t = started("w1")
        expect(t.after(perform(t, "w1", .receive)), "perform#1 1:receive:receive0")
        expect(t.after(performed(1, .done(.success(Self.value)))), "answer w1/0 value")
        expect(t.after(perform(t, "w1", .receive)), "perform#2 1:receive:receive0")
        expect(t.after(performed(2, .done(.success(Array("null".utf8))))), "answer w1/0 none")
    }

    @Test func waitingRunGivesItsPlaceToAnotherAndIsTriedAgainWhenSignalled() {
        var t = started("w1")
        _ = t.after(perform(t, "w1", .receive))
        expect(t.after(performed(1, .waiting(dueIn: nil))), "waits w1/0", "rest w1", "schedule rest")
        expect(t.after(), "claim 1")
        #expect(t.machine.statistics.running == 0 && t.machine.statistics.resting == 1)
        expect(t.after(signal("w1")), "perform#2 1:receive:receive0")
        // What came while that try was on its way is not forgotten.
        expect(t.after(signal("w1")))
        expect(t.after(performed(2, .waiting(dueIn: nil))), "perform#3 1:receive:receive0")
        expect(t.after(performed(3, .done(.success(Self.value)))), "answer w1/0 value")
        #expect(t.machine.statistics.running == 1 && t.machine.statistics.resting == 0)
    }

    /// It may have happened between the first try and its commit, when nobody knew yet whom to tell.
    @Test func waitForAnotherWorkflowIsTriedTwice() {
        for kind in [StepKind.getEvent, .awaitChild, .awaitChildren, .readStream, .race] {
            var t = started("w1")
            _ = t.after(perform(t, "w1", kind))
            expect(t.after(performed(1, .waiting(dueIn: nil))), "perform#2 1:\(kind.rawValue):\(kind.rawValue)0")
            expect(t.after(performed(2, .waiting(dueIn: nil))), "waits w1/0", "rest w1", "schedule rest")
        }
    }

    @Test func shortSleepStaysLongSleepIsParkedAtOnce() {
        var t = started("w1")
        _ = t.after(perform(t, "w1", .sleep))
        expect(t.after(performed(1, .waiting(dueIn: 1_000_000))), "schedule wait /0", "waits w1/0", "rest w1", "schedule rest")
        expect(t.after(.timer(t.timers[0])), "perform#2 1:sleep:sleep0", "claim 1")
        _ = t.after(performed(2, .done(.success(Self.value))))
        _ = t.after(perform(t, "w1", .sleep))
        expect(
            t.after(performed(3, .waiting(dueIn: 3_600_000_000))), "schedule wait /0", "waits w1/0", "rest w1", "park w1 after 2", "interrupt w1",
            "answer w1/0 stopped", "note w1 parked")
        expect(t.after(), "park 1")
        expect(t.after(t.finish("w1", .stopped)), "release w1 after 3")
        #expect(t.machine.statistics.unresolved == 0 && t.machine.statistics.running == 0 && t.machine.statistics.resting == 0)
    }

    @Test func aWaitWithoutEndIsParkedWhenItLasts() throws {
        var t = started("w1")
        _ = t.after(perform(t, "w1", .receive))
        _ = t.after(performed(1, .waiting(dueIn: nil)))
        let lines = t.after(.timer(try #require(t.timers.last)))
        #expect(lines.contains("park w1 after 1 if idle") && lines.contains("note w1 parked"))
        expect(t.after(), "park 1")
    }

    /// The message may be consumed by a try that is on its way: then nothing would wake the parked workflow any more.
    @Test func notParkedWhileATryIsOnItsWay() throws {
        var t = started("w1")
        _ = t.after(perform(t, "w1", .receive))
        _ = t.after(performed(1, .waiting(dueIn: nil)))
        let timer = try #require(t.timers.last)
        _ = t.after(signal("w1"))
        #expect(!t.after(.timer(timer)).contains { $0.hasPrefix("park") })
        expect(t.after(performed(2, .done(.success(Self.value)))), "answer w1/0 value")
    }

    @Test func pastTheLimitTheLongestRestIsParked() {
        var t = started("w1", "w2", "w3", residentLimit: 2)
        for (request, id) in [(1, "w1"), (2, "w2"), (3, "w3")] as [(UInt64, String)] {
            _ = t.after(perform(t, id, .receive))
            let lines = t.after(performed(request, .waiting(dueIn: nil)))
            #expect(lines.contains { $0.hasPrefix("park w1") } == (id == "w3"), "\(id): \(lines)")
        }
        #expect(t.machine.statistics.parked == 1 && t.machine.statistics.resting == 2)
    }

    @Test func aBranchAtWorkKeepsTheRunAndItsEndIsNoticed() throws {
        var t = started("w1")
        t.isQuiet = false
        _ = t.after(perform(t, "w1", .receive, scope: 1))
        expect(t.after(performed(1, .waiting(dueIn: nil))), "waits w1/1", "rest w1", "schedule rest")
        expect(t.after())
        // The other branch has ended without a word.
        t.isQuiet = true
        expect(t.after(.timer(try #require(t.timers.last))), "rest w1", "schedule rest")
        #expect(t.machine.statistics.resting == 1)
    }

    @Test func aWrongCallIsMisuseAndAnOverlongHistoryFailsTheWorkflow() {
        var t = started("w1", "w2")
        _ = t.after(perform(t, "w1", .send), perform(t, "w2", .send))
        let wrong = WorkflowError(code: "22023", type: "Pawl", message: "no such argument")
        let tooMany = WorkflowError(code: "too_many_steps", type: "Pawl", message: "m")
        expect(
            t.after(performed(1, .refused(.invalid(wrong)), .refused(.invalid(tooMany)))), "write#2 end 2! error", "claim 1", "answer w1/0 misuse 22023",
            "interrupt w2", "note w2 condemned too_many_steps", "answer w2/0 stopped")
    }

    // MARK: Races

    @Test func theFirstOfferGoesToTheDatabase() {
        var t = started("w1")
        _ = t.after(perform(t, "w1", .race, arguments: #"{"of": [{"kind": "step"}, {"kind": "sleep", "seconds": 9}]}"#))
        _ = t.after(performed(1, .waiting(dueIn: 9_000_000)))
        // A body runs: that is no rest.
        expect(t.after(performed(2, .waiting(dueIn: 9_000_000))), "schedule wait /0")
        let offer = EngineStateMachine.Event.call(t.runs["w1"]!, .offer(0, index: 0, .success([0x37])))
        expect(t.after(offer), "perform#3 1:race:race0")
        guard case .perform(_, let calls)? = t.lastRequests.first else { return #expect(Bool(false)) }
        #expect(
            String(decoding: calls[0].arguments, as: UTF8.self)
                == #"{"of": [{"kind": "step"}, {"kind": "sleep", "seconds": 9}], "offer": {"index": 0, "output": 7}}"#)
        expect(t.after(offer))
    }

    // MARK: Retries

    private func endStep(_ t: Transcript, _ policy: RetryPolicy, attempts: Int32 = 1) -> EngineStateMachine.Event {
        var record = t.record("w1", "pay", .failure(WorkflowError(code: "down", type: "t", message: "m")))
        record.attempts = attempts
        return .call(t.runs["w1"]!, .endStep(0, record, policy, Transcript.receiver))
    }

    @Test func aFailedAttemptIsRecordedThenTheBodyRunsAgainAndTheLastFailureIsFinal() throws {
        var t = started("w1")
        let policy = RetryPolicy(maxAttempts: 2)
        expect(t.after(endStep(t, policy)), "write#1 1:pay!")
        guard case .write(_, let steps, _)? = t.lastRequests.first else { return #expect(Bool(false)) }
        #expect((0...1_000_000).contains(try #require(steps[0].retryIn)))
        expect(t.after(written(1)), "schedule back-off /0", "waits w1/0", "rest w1", "schedule rest")
        let timer = try #require(t.timers.first)
        expect(t.after(.timer(timer)), "answer w1/0 retry")
        expect(t.after(.timer(timer)))
        expect(t.after(endStep(t, policy, attempts: 2)), "write#2 1:pay!")
        guard case .write(_, let last, _)? = t.lastRequests.first else { return #expect(Bool(false)) }
        #expect(last[0].retryIn == nil && last[0].attempts == 2)
        expect(t.after(written(2)), "answer w1/0 failure down")
    }

    @Test func theIntervalGrowsToItsLimitWithFullJitter() {
        let policy = RetryPolicy(maxAttempts: 100, initialInterval: 1000, maximumInterval: 60_000, factor: 3)
        var random = SplitMix64(state: 7)
        for (attempts, cap) in [(1, 1000), (2, 3000), (3, 9000), (4, 27000), (5, 60_000), (60, 60_000)] as [(Int32, Int64)] {
            let drawn = (0..<300).compactMap { _ in policy.interval(after: attempts, using: &random) }
            #expect(drawn.count == 300 && drawn.allSatisfy { (0...cap).contains($0) })
            #expect(drawn.max()! > cap * 9 / 10 && drawn.min()! < cap / 10, "after \(attempts)")
        }
        #expect(policy.interval(after: 100, using: &random) == nil)
        #expect(RetryPolicy.never.interval(after: 1, using: &random) == nil)
    }

    @Test func anAttemptWhoseTimeIsUpIsInterruptedOnceAndTheTimeOfAllEndsTheRetries() throws {
        var t = started("w1")
        let policy = RetryPolicy(maxAttempts: 5, initialInterval: 1000, attemptTimeout: 1000, timeout: 5000)
        expect(t.after(t.call("w1", .begin(0, t.record("w1", "pay"), nil, policy))), "schedule step time /0", "schedule attempt time /0")
        let (step, attempt) = (t.timers[0], t.timers[1])
        expect(t.after(.timer(attempt)), "interrupt step w1/0")
        expect(t.after(.timer(attempt)))
        _ = t.after(endStep(t, policy))
        _ = t.after(written(1))
        // In the back-off the time of all attempts runs out: the last failure was the last.
        expect(t.after(.timer(step)), "write#2 1:pay!", "claim 1")
        guard case .write(_, let last, _)? = t.lastRequests.first else { return #expect(Bool(false)) }
        #expect(last[0].retryIn == nil)
        #expect(t.after(written(2)).contains("answer w1/0 failure down"))
    }

    @Test func theTimeOfAllAttemptsCountsWhileOneIsBeingRecorded() throws {
        var t = started("w1")
        let policy = RetryPolicy(maxAttempts: 5, initialInterval: 1000, timeout: 5000)
        expect(t.after(t.call("w1", .begin(0, t.record("w1", "pay"), nil, policy))), "schedule step time /0")
        let step = t.timers[0]
        expect(t.after(endStep(t, policy)), "write#1 1:pay!")
        expect(t.after(.timer(step)))
        expect(t.after(written(1)), "write#2 1:pay!")
        guard case .write(_, let last, _)? = t.lastRequests.first else { return #expect(Bool(false)) }
        #expect(last[0].retryIn == nil)
        #expect(t.after(written(2)).contains("answer w1/0 failure down"))
    }

    @Test func theTimeOfAllAttemptsCountsWhileATransactionIsUndone() throws {
        let conflict = WorkflowError(code: "40001", type: "t", message: "m")
        for isUndoneFirst in [true, false] {
            var t = started("w1")
            let policy = RetryPolicy(maxAttempts: 5, initialInterval: 1000, attemptTimeout: 1000, timeout: 5000)
            _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, policy)))
            let (step, attempt) = (t.timers[0], t.timers[1])
            _ = t.after(t.call("w1", .endTransaction(0, .success([0x31]), policy, Transcript.receiver)))
            let undone = EngineStateMachine.Event.store(.transactionEnded(RequestID(2), .retry(conflict)))
            if isUndoneFirst {
                expect(t.after(undone), "schedule attempt 2")
                let again = try #require(t.timers.last)
                expect(t.after(.timer(step)), "interrupt step w1/0")
                expect(t.after(.timer(again)), "write#3 1:pay!")
            } else {
                expect(t.after(.timer(attempt)), "interrupt step w1/0")
                expect(t.after(.timer(step)))
                expect(t.after(undone), "write#3 1:pay!")
            }
            guard case .write(_, let last, _)? = t.lastRequests.first else { return #expect(Bool(false)) }
            #expect(last[0].retryIn == nil)
        }
    }

    @Test func aBodyThatRunsAgainHasTheTimeOfAnAttempt() throws {
        var t = started("w1")
        let policy = RetryPolicy(maxAttempts: 5, attemptTimeout: 1000)
        _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, policy)))
        _ = t.after(t.call("w1", .endTransaction(0, .success([0x31]), .never, Transcript.receiver)))
        _ = t.after(.store(.transactionEnded(RequestID(2), .retry(WorkflowError(code: "40001", type: "t", message: "m")))))
        #expect(t.after(.timer(try #require(t.timers.last))).contains("schedule attempt time /0"))
    }

    @Test func aBackOffOfAnEarlierRunGoesOn() throws {
        var t = started("w1")
        var record = t.record("w1", "pay", .failure(WorkflowError(code: "down", type: "t", message: "m")), kind: .transaction)
        record.attempts = 2
        expect(
            t.after(t.call("w1", .backOff(0, record, .readCommitted, .standard, dueIn: 2_000_000, Transcript.receiver))), "schedule back-off /0",
            "waits w1/0", "rest w1", "schedule rest")
        let lines = t.after(.timer(try #require(t.timers.first)))
        #expect(lines.contains("begin#1 1") && lines.contains("answer w1/0 execute"))
        _ = t.after(t.call("w1", .endTransaction(0, .success([0x31]), .standard, Transcript.receiver)))
        guard case .commit(_, _, let committed)? = t.lastRequests.last else { return #expect(Bool(false)) }
        #expect(committed.attempts == 3)
    }

    @Test func whatPostgresSaidIsFinalAndWhatTheBodyThrewIsNot() {
        for (code, isFinal) in [("23505", true), ("55P03", false), ("53300", false), (nil, false)] as [(String?, Bool)] {
            var t = started("w1")
            _ = t.after(t.call("w1", .begin(0, t.record("w1", "pay", kind: .transaction), .readCommitted, .standard)))
            if let code {
                _ = t.after(t.call("w1", .execute(0, SQLStatement(sql: "x", parameters: []), Transcript.receiver)))
                _ = t.after(.store(.executed(RequestID(2), .failure(WorkflowError(code: code, type: "t", message: "m")))))
            }
            _ = t.after(
                t.call("w1", .endTransaction(0, .failure(WorkflowError(code: "thrown", type: "t", message: "m")), .standard, Transcript.receiver)))
            guard case .write(_, let steps, _)? = t.lastRequests.last else { return #expect(Bool(false), "\(code ?? "thrown")") }
            #expect((steps[0].retryIn == nil) == isFinal, "\(code ?? "thrown")")
        }
    }

    // MARK: Cancellation

    @Test func cancellingInterruptsWaitsAtOnceAndDiscardsWhatRuns() {
        var t = started("w1")
        _ = t.after(perform(t, "w1", .receive, scope: 1))
        _ = t.after(performed(1, .waiting(dueIn: nil)))
        expect(t.after(signal("w1", .request)), "note w1 cancelling asked(WorkflowEngine.Cancellation.request)", "cancel w1", "answer w1/1 cancelled")
        // A body that was running then: nothing of it is recorded.
        expect(t.after(t.endStep("w1", "body")), "answer w1/0 cancelled")
        expect(t.after(t.finish("w1")), "write#2 end 1 cancelled request", "claim 1")
    }

    @Test func aHandlerThatWasDoneBeforeItCouldNoticeHasSucceeded() {
        var t = started("w1")
        _ = t.after(signal("w1", .request))
        expect(t.after(t.finish("w1")), "write#1 end 1", "claim 1")
    }

    @Test func aRefusalOfTheDatabaseTellsOfTheCancellation() {
        var t = started("w1")
        _ = t.after(t.endStep("w1", "a"))
        expect(
            t.after(written(1, [(0, .cancelled(.parent))])), "note w1 cancelling asked(WorkflowEngine.Cancellation.parent)", "cancel w1",
            "answer w1/0 cancelled")
        expect(
            t.after(t.finish("w1", .failure(WorkflowError(code: "x", type: "t", message: "m"), reason: "error"))), "write#2 end 1 cancelled parent", "claim 1")
    }

    @Test func aTryThatIsOnItsWayMayStillCount() {
        for isOver in [true, false] {
            var t = started("w1")
            _ = t.after(perform(t, "w1", .receive))
            expect(t.after(signal("w1", .request)), "note w1 cancelling asked(WorkflowEngine.Cancellation.request)", "cancel w1")
            expect(
                t.after(performed(1, isOver ? .done(.success(Self.value)) : .waiting(dueIn: nil))), isOver ? "answer w1/0 value" : "answer w1/0 cancelled")
        }
    }

    @Test func aDeadlineEndsTheWorkflowAsTimeout() throws {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        var workflow = Transcript.workflow("w1")
        workflow.deadlineIn = 90_000_000
        expect(t.after(.store(.claimed([workflow]))), "claim 3", "schedule deadline", "start w1")
        // Far deadlines are looked at now and then.
        expect(t.after(.timer(t.timers[0])), "schedule deadline")
        #expect(t.after(.timer(t.timers[1])).contains("cancel w1"))
        _ = t.after(perform(t, "w1", .sleep))
        #expect(t.after(t.finish("w1", .cancelled)).contains("write#1 end 1! timeout"))
    }

    @Test func compensationsAreRecordedAfterTheCancelAndTheFailureStaysTheOutcome() {
        var t = started("w1")
        let failure = WorkflowError(code: "declined", type: "t", message: "m")
        var marker = t.record("w1", ScopeTree.compensationMarker, .failure(failure), kind: .compensation)
        marker.cancelling = true
        expect(t.after(t.call("w1", .compensate(marker, failure, Transcript.receiver))), "write#1 1:%compensate!")
        expect(t.after(written(1)), "answer w1/\(ScopeID.max) value")
        // A cancellation now changes nothing any more.
        expect(t.after(signal("w1", .request)))
        var undo = t.record("w1", "%compensate/refund", kind: .compensation)
        undo.cancelling = true
        expect(t.after(t.call("w1", .endStep(0, undo, .standard, Transcript.receiver))), "write#2 1:%compensate/refund")
        _ = t.after(written(2))
        expect(t.after(t.finish("w1", .success([0x31]))), "write#3 end 1! error", "claim 1", "note w1 failed declined")
    }

    // MARK: Continue as new, SQL functions, suspects

    @Test func continuingAsNewIgnoresWhatTheHandlerReturns() {
        var t = started("w1")
        expect(
            t.after(t.call("w1", .continueAsNew([0x32], Transcript.receiver))), "write#1 end 1 continued", "claim 1", "answer w1 stopped", "interrupt w1")
        _ = t.after(t.finish("w1"))
        expect(t.after(.store(.written(RequestID(1), steps: [], ends: []))), "release w1 after 2")
        #expect(t.machine.statistics.continued == 1)
    }

    @Test func aFunctionOfTheDatabaseRunsAgainAfterATransientFailure() throws {
        var t = Transcript()
        _ = t.after(.start(maximumPayload: 1000))
        var workflow = Transcript.workflow("w1")
        workflow.isSQLHandler = true
        expect(t.after(.store(.claimed([workflow]))), "run handler#1 1", "claim 3")
        let conflict = WorkflowError(code: "40001", type: "t", message: "m")
        expect(t.after(.store(.handlerRan(RequestID(1), .retry(conflict)))), "schedule handler")
        expect(t.after(.timer(t.timers[0])), "run handler#2 1")
        let lines = t.after(.store(.handlerRan(RequestID(2), .ended)))
        #expect(lines.contains("claim 4"))
        #expect(t.machine.statistics.succeeded == 1 && t.machine.statistics.unresolved == 0)
    }

    @Test func aSuspectRunsAlone() {
        var t = started("w1")
        _ = t.after(t.finish("w1"))
        _ = t.after(.store(.written(RequestID(1), steps: [], ends: [])))
        expect(t.after(.store(.suspects(true))), "claim 0", "claim 1 alone", "note clearing", "schedule clearing")
        var suspect = Transcript.workflow("w2")
        suspect.isOnProbation = true
        expect(t.after(.store(.claimed([suspect]))), "start w2")
        // It has passed a checkpoint: others may run beside it, once no suspect is left.
        _ = t.after(t.endStep("w2", "a"))
        expect(t.after(written(2)), "answer w2/0 value")
        _ = t.after(t.finish("w2"))
        expect(t.after(.store(.written(RequestID(3), steps: [], ends: []))), "claim 1 alone", "release w2 after 2")
        expect(t.after(.store(.claimed([]))), "claim 1")
    }
}
