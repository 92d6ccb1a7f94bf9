import Foundation
import Locking
import Testing
import WorkflowTestSupport

@testable import WorkflowEngine

/// What a handler may not do, what it is told, and that nothing it does gets round it.
@Suite struct HandlerRuleTests {
    /// Runs one workflow to its end.
    private func run(
        _ database: MemoryDatabase = MemoryDatabase(), misuse: Int? = nil, _ handler: @escaping ThreadHost.Handler,
        at location: SourceLocation = #_sourceLocation
    ) -> MemoryDatabase.Workflow {
        if database.unfinished == 0 { database.enqueue("w", id: "w") }
        let worker = TestWorker(database, handlers: ["w": handler])
        #expect(worker.runToEnd(), "\(worker.store.sent) \(worker.host.log)", sourceLocation: location)
        if let misuse { #expect(worker.engine.statistics.misuse == misuse, sourceLocation: location) }
        return database.workflow("w")
    }

    private func misuse(_ body: () throws -> Void) -> WorkflowError? {
        do { try body() } catch let misuse as HandlerMisuse { return misuse.error } catch { Issue.record("\(error)") }
        return nil
    }

    @Test func aStepInsideAStep() {
        let found = Locked<WorkflowError?>(nil)
        let workflow = run(misuse: 1) { workflow in
            try workflow.step("outer") {
                let error = misuse { try workflow.step("inner") { "1" } }
                found.withLock { $0 = error }
                return "2"
            }
            return Array("true".utf8)
        }
        let error = found.withLock { $0 }
        #expect(error?.code == "busy_scope")
        for part in ["step \"inner\"", "step \"outer\"", "branch"] { #expect(error?.message.contains(part) == true, "\(error?.message ?? "")") }
        #expect(workflow.stepNames == ["outer"])
        #expect(workflow.status == .succeeded)
    }

    @Test func aBranchMadeInsideAStep() {
        let workflow = run(misuse: 1) { workflow in
            try workflow.transaction("outer") { transaction in
                let error = misuse { try transaction.branch("b").step("inner") { "1" } }
                #expect(error?.code == "step_in_step")
                #expect(error?.message.contains("\"outer\"") == true && error?.message.contains("\"inner\"") == true)
                return "2"
            }
            // After it has ended, branches are as good as ever.
            try workflow.branch("b").step("inner") { "3" }
            return Array("true".utf8)
        }
        #expect(workflow.stepNames == ["outer", "b#2/inner"])
    }

    @Test func unknownScopesAndBadNames() {
        let workflow = run { workflow in
            let nowhere = workflow.branch("")
            #expect(nowhere.scope == ScopeID.max)
            #expect(misuse { try nowhere.step("a") { "1" } }?.code == "unknown_scope")
            #expect(misuse { try workflow.step("") { "1" } }?.code == "bad_step_name")
            #expect(misuse { try workflow.step(String(repeating: "x", count: 600)) { "1" } }?.code == "bad_step_name")
            #expect(misuse { try workflow.query("a\0", "get", "n") }?.code == "bad_step_name")
            return Array("true".utf8)
        }
        #expect(workflow.status == .succeeded)
        #expect(workflow.steps.isEmpty)
    }

    @Test func endsAndSQLWithoutABeginning() {
        let workflow = run(misuse: 3) { workflow in
            let run = workflow.run
            for call in [
                { (receiver: CallReceiver) in run.end(scope: 0, outcome: .success([0x31]), receiver: receiver) },
                { receiver in run.execute(scope: 0, statement: SQLStatement(sql: "get", parameters: []), receiver: receiver) },
            ] {
                guard case .misuse(let error) = workflow.answer(to: call) else {
                    Issue.record("no misuse")
                    continue
                }
                #expect(error.code == "no_open_step")
            }
            try workflow.step("s") {
                #expect(misuse { try workflow.execute("get", "n") }?.code == "not_a_transaction")
                return "1"
            }
            return Array("true".utf8)
        }
        #expect(workflow.status == .succeeded)
    }

    @Test func finishingWithAnOpenStepFailsTheWorkflow() throws {
        let workflow = run { workflow in
            guard case .execute = workflow.run.begin(.transaction, scope: 0, name: "forgotten") else { return [] }
            try workflow.execute("add", "n", "1")
            return Array("true".utf8)
        }
        guard case .failure(let error) = try #require(workflow.outcome) else {
            Issue.record("succeeded")
            return
        }
        #expect(error.code == "open_step")
        #expect(error.message.contains("transaction \"forgotten\""))
        #expect(workflow.steps.isEmpty)
    }

    @Test func aHandlerThatStopsItselfFails() throws {
        let workflow = run { _ in throw HandlerStopped() }
        guard case .failure(let error) = try #require(workflow.outcome) else {
            Issue.record("succeeded")
            return
        }
        #expect(error.code == "not_stopped")
    }

    @Test func finishingTwiceCountsOnce() {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        let worker = TestWorker(
            database,
            handlers: [
                "w": { workflow in
                    workflow.run.finish(.success([0x31]))
                    return [0x32]
                }
            ])
        // The second one may come after everything is over.
        #expect(worker.run { worker.host.live == 0 && worker.engine.statistics.misuse == 1 })
        #expect(database.workflow("w").outcome == .success([0x31]))
    }

    /// Another kind than what is recorded: the workflow fails with reason determinism, even if the handler swallows the error and goes on.
    @Test(arguments: [true, false])
    func aRecordedStepOfAnotherKind(asQuery: Bool) throws {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        let before = TestWorker(
            database,
            handlers: [
                "w": { workflow in
                    try workflow.step("charge") { "1" }
                    try workflow.step("after") { "1" }
                    return []
                }
            ])
        before.store.crash = { point in point.request == "write" && point.side == .before && !database.workflow("w").steps.isEmpty }
        before.runToEnd()
        before.die()
        let workflow = run(database) { workflow in
            let error = misuse {
                if asQuery { try workflow.query("charge", "get", "n") } else { try workflow.transaction("charge") { _ in "1" } }
            }
            #expect(error?.code == "determinism")
            #expect(throws: HandlerStopped.self) { try workflow.step("swallowed") { "1" } }
            return Array("true".utf8)
        }
        #expect(workflow.reason == "determinism")
        guard case .failure(let error) = try #require(workflow.outcome) else {
            Issue.record("succeeded")
            return
        }
        #expect(error.step == "charge")
        for part in ["\"charge\"", "recorded as a step", asQuery ? "is a query" : "is a transaction"] {
            #expect(error.message.contains(part), "\(error.message)")
        }
        #expect(workflow.stepNames == ["charge"])
    }

    // MARK: Payloads

    @Test func aBadValueFailsItsStepAndNothingElse() {
        let workflow = run { workflow in
            for (name, value) in [("nul", #"{"a": ["\u0000"]}"#), ("not_json", "hello"), ("large", "\"\(String(repeating: "x", count: 1 << 20))\"")] {
                do {
                    try workflow.step(name) { value }
                    Issue.record("\(name) was taken")
                } catch let failure as HandlerFailure {
                    #expect(failure.error.step == name)
                    #expect(failure.error.code == (name == "large" ? "payload_too_large" : "payload_invalid"))
                    if name == "nul" { #expect(failure.error.message.contains("$.a[0]")) }
                }
            }
            do {
                try workflow.transaction("pay") { transaction in
                    try transaction.execute("add", "n", "1")
                    return "\"\\ud800\""
                }
                Issue.record("a lone surrogate was taken")
            } catch let failure as HandlerFailure { #expect(failure.error.message.contains("surrogate")) }
            return Array("true".utf8)
        }
        #expect(workflow.status == .succeeded)
        #expect(workflow.stepNames == ["nul", "not_json", "large", "pay"])
    }

    @Test func aBadOutputFailsTheWorkflow() throws {
        let workflow = run { _ in Array("{\"a\": tru}".utf8) }
        guard case .failure(let error) = try #require(workflow.outcome) else {
            Issue.record("succeeded")
            return
        }
        #expect(workflow.reason == "error")
        #expect(error.code == "payload_invalid")
        #expect(error.message.contains("output") && error.message.contains("$.a"))
    }

    @Test func aBadDetailIsReplacedNotLost() throws {
        let workflow = run { _ in throw HandlerFailure(WorkflowError(code: "declined", type: "T", message: "m", detail: [0xFF])) }
        guard case .failure(let error) = try #require(workflow.outcome) else {
            Issue.record("succeeded")
            return
        }
        #expect(error.code == "declined")
        #expect(String(decoding: error.detail ?? [], as: UTF8.self).contains("left_out"))
    }

    @Test func aNulInSQLNeverReachesTheServer() {
        let database = MemoryDatabase()
        let workflow = run(database) { workflow in
            for (name, parameter) in [("t", "a\0b")] {
                do {
                    try workflow.transaction(name) { transaction in
                        try transaction.execute("add", "a", "1")
                        do { try transaction.execute("add", parameter, "1") } catch let failure as HandlerFailure { #expect(failure.error.code == "22021") }
                        return "1"
                    }
                    Issue.record("committed")
                } catch let failure as HandlerFailure {
                    #expect(failure.error.code == "22021")
                    #expect(failure.error.message.contains("$1"))
                }
            }
            do { try workflow.query("q", "get", "\0") } catch let failure as HandlerFailure { #expect(failure.error.step == "q") }
            return Array("true".utf8)
        }
        #expect(workflow.stepNames == ["t", "q"])
        #expect(database.counter("a") == 0)
    }

    // MARK: Stops

    /// User code that swallows every error cannot turn a stop into an outcome, nor write anything.
    @Test func aStoppedRunIsOver() {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        let stopped = Locked(0)
        let worker = TestWorker(
            database,
            handlers: [
                "w": { workflow in
                    for index in 0..<100 {
                        do { try workflow.step("s\(index)") { "1" } } catch is HandlerStopped { stopped.withLock { $0 += 1 } }
                        do { try workflow.branch("b").query("q\(index)", "get", "n") } catch is HandlerStopped { stopped.withLock { $0 += 1 } }
                        _ = try? workflow.transaction("t\(index)") { try $0.execute("add", "n", "1") }
                    }
                    return Array("true".utf8)
                }
            ])
        worker.store.refuseStep = { $0.name == "s3" ? .fenced : nil }
        #expect(worker.run { worker.host.log.contains("release w") })
        #expect(database.workflow("w").status == .running)
        #expect(database.counter("n") == 3)
        #expect(stopped.withLock { $0 } == 97 + 97)
        #expect(worker.host.log == ["start w", "interrupt w", "release w"])
    }

    @Test func drainGivesTheRestBackAndAStuckHandlerHoldsNothingUp() {
        let database = MemoryDatabase()
        for id in ["quick", "slow", "stuck"] { database.enqueue(id, id: id) }
        let gate = DispatchSemaphore(value: 0)
        let never = DispatchSemaphore(value: 0)
        let worker = TestWorker(
            database,
            handlers: [
                "quick": { workflow in
                    try workflow.step("s") {
                        gate.wait()
                        return "1"
                    }
                    return Array("1".utf8)
                },
                "slow": { workflow in
                    while true { try workflow.step("again") { "1" } }
                },
                "stuck": { _ in
                    never.wait()
                    return []
                },
            ])
        #expect(worker.run { worker.engine.statistics.steps > 3 && worker.engine.statistics.running == 3 })
        let report = Locked<DrainReport?>(nil)
        worker.engine.drain(within: .milliseconds(50)) { drained in report.withLock { $0 = drained } }
        gate.signal()
        #expect(worker.run { report.withLock { $0 } != nil && worker.host.live == 1 })
        #expect(report.withLock { $0 }?.handedBack == 2)
        #expect(report.withLock { $0 }?.unresolved == 0)
        #expect(database.workflow("quick").status == .succeeded)
        #expect(database.workflow("slow").status == .enqueued)
        #expect(database.workflow("stuck").status == .enqueued)
        #expect(database.workflow("slow").recoveries == 0)
        database.enqueue("quick", id: "later")
        worker.run(deadline: .milliseconds(50)) { false }
        #expect(database.workflow("later").status == .enqueued)
        never.signal()
        #expect(worker.run { worker.host.live == 0 })
    }

    /// The store never answers again: a drain still ends, and says so.
    @Test func drainEndsWithoutAnswers() {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        var configuration = EngineConfiguration(concurrency: 2, seed: 1)
        configuration.handBackLimit = .milliseconds(20)
        let worker = TestWorker(
            database, configuration: configuration,
            handlers: [
                "w": {
                    try $0.step("s") { "1" }; return Array("1".utf8)
                }
            ])
        worker.store.holds = { if case .write = $0 { true } else { false } }
        #expect(worker.run { !worker.store.queue.isEmpty })
        let report = Locked<DrainReport?>(nil)
        worker.engine.stop { drained in report.withLock { $0 = drained } }
        #expect(worker.run { report.withLock { $0 } != nil })
        #expect(report.withLock { $0 } == DrainReport(handedBack: 0, unresolved: 1, lingering: 0))
    }

    @Test func transactionBodyIsRetriedOnConflicts() {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        let bodies = Locked(0)
        let worker = TestWorker(
            database,
            handlers: [
                "w": { workflow in
                    try workflow.transaction("t") { transaction in
                        bodies.withLock { $0 += 1 }
                        return try transaction.execute("add", "n", "1")
                    }
                    return Array("1".utf8)
                }
            ])
        let conflicts = Locked(3)
        worker.store.endTransaction = { _ in
            conflicts.withLock { left in
                left -= 1
                return left >= 0 ? .retry(WorkflowError(code: "40001", type: "", message: "")) : nil
            }
        }
        #expect(worker.runToEnd())
        #expect(bodies.withLock { $0 } == 4)
        #expect(database.counter("n") == 1)
        #expect(database.workflow("w").status == .succeeded)
    }
}
