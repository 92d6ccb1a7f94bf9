import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

@Suite(.timeLimit(.minutes(2))) struct CancellationTests {
    @Test func everyLaterCallSaysSoAndTheRunEndsCancelled() async throws {
        let seen = Counter()
        let host = DurableCallTests.host { workflow in
            do {
                try await workflow.sleep("s", for: .days(1))
            } catch is WorkflowCancelled {
                seen.add()
            }
            #expect(workflow.isCancelled)
            // Far more than the tarpit allows a run that was stopped.
            for _ in 0..<200 {
                do { try await workflow.step("again") {} } catch is WorkflowCancelled { seen.add() }
            }
            return try await workflow.step("last") { 1 }
        }
        let run = try host.start("x")
        await run.waits()
        run.cancel()
        await run.finished()
        run.release()
        #expect(seen.count == 201)
        #expect(run.outcome?.status == PawlStatus.cancelled)
        #expect(run.recorded == [:])
    }

    @Test(arguments: [false, true])
    func aBodyHearsOfItAndItsResultIsDiscarded(timed: Bool) async throws {
        let began = Counter(), heard = Counter()
        let host = DurableCallTests.host { workflow in
            let monitor = workflow.monitor
            let body: @Sendable () async throws -> Int = {
                began.add()
                try? await Task.sleep(for: .seconds(3600))
                if Task.isCancelled && monitor.isCancelled { heard.add() }
                return 1
            }
            return timed ? try await workflow.step("s", attemptTimeout: .hours(2), body) : try await workflow.step("s", body)
        }
        let run = try host.start("x")
        #expect(await began.becomes(1))
        run.cancel()
        await run.finished()
        run.release()
        #expect(heard.count == 1)
        #expect(run.outcome?.status == PawlStatus.cancelled)
        #expect(run.recorded == [:])
    }

    @Test func parallelBranchesEndAsCancelled() async throws {
        let host = DurableCallTests.host { workflow in
            try await workflow.parallel("p", [1, 2, 3], id: { $0 }) { branch, item in
                if item == 1 { throw OutOfStock(sku: "lamp") }
                try await branch.sleep("s", for: .days(1))
                return item
            }
        }
        let run = try host.start("x")
        await run.waits(2)
        run.cancel()
        await run.finished()
        run.release()
        #expect(run.outcome?.status == PawlStatus.cancelled)
    }

    /// What a handler does around each call, with every error swallowed, after it was stopped: nothing more is recorded.
    @Test(arguments: ["sleep", "receive", "send", "race", "child", "emit", "compensate", "continue"])
    func whatIsSwallowedAfterAStopRecordsNothing(call: String) async throws {
        let host = DurableCallTests.host { workflow -> Int in
            func tryAll() async {
                switch call {
                case "sleep": try? await workflow.sleep("s", for: .days(1))
                case "receive": _ = try? await workflow.receive(Int.self)
                case "send": _ = try? await workflow.send(to: "other", 1)
                case "race": _ = try? await workflow.race("r", .receive(Int.self), .step { 1 })
                case "child": _ = try? await workflow.start("c", 1)
                case "emit": try? await workflow.progress.report(1)
                case "compensate": workflow.compensate("undo") { Issue.record("undone") }
                default: try? await workflow.continueAsNew(1)
                }
            }
            try? await workflow.sleep("first", for: .days(1))
            for _ in 0..<10 {
                await tryAll()
                try? await workflow.step("after") { Issue.record("ran") }
            }
            throw OutOfStock(sku: "lamp")
        }
        var world = FakeRun.World()
        world.workflows["other"] = .running
        let run = try host.start("x", world: world)
        await run.waits()
        run.stop()
        await run.finished()
        run.release()
        #expect(run.recorded == [:])
        #expect(run.state.withLock { $0.emissions } == [])
        #expect(run.state.withLock { $0.compensated } == nil)
        #expect(run.state.withLock { $0.callsAfterRelease } == 0)
        #expect(run.state.withLock { $0.finishes } == 1)
    }

    @Test func codeThatGoesOnWaitingEndsInTheTarpit() async throws {
        let host = DurableCallTests.host { workflow in
            while !Task.isCancelled || workflow.workflowID != "" { try? await workflow.sleep("s", for: .days(1)) }
            return 1
        }
        let run = try host.start("x")
        await run.waits()
        run.stop()
        await run.finished()
        run.release()
        #expect(run.outcome?.status == PawlStatus.stopped)
        #expect(run.state.withLock { $0.stoppedAnswers } <= 65)
    }
}

@Suite(.timeLimit(.minutes(2))) struct CompensationTests {
    static func host(_ undone: Locked<[String]>, after: @escaping @Sendable (WorkflowContext) async throws -> Void) -> FakeHost {
        FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    for name in ["reserve", "charge", "charge"] {
                        let number = try await workflow.step(name) { name.count }
                        workflow.compensate("undo_\(name)", retry: .never) {
                            try await Task.sleep(for: .microseconds(1))
                            undone.withLock { $0.append("\(name) \(number)") }
                            if name == "charge" { throw OutOfStock(sku: "money") }
                        }
                    }
                    let branch = workflow.branch("b")
                    try await branch.step("s") {}
                    branch.compensate("undo") { undone.withLock { $0.append("b") } }
                    try await after(workflow)
                }
            })
    }

    static let all = ["b", "charge 6", "charge 6", "reserve 7"]

    @Test func aFailureUndoesInReverseOrderAndStaysTheOutcome() async throws {
        let undone = Locked<[String]>([])
        let host = Self.host(undone) { _ in throw OutOfStock(sku: "lamp") }
        let run = try await host.run("x")
        #expect(undone.withLock { $0 } == Self.all)
        #expect(run.failure?.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
        #expect(run.state.withLock { $0.compensated?.failure?.code } == "out_of_stock")
        #expect(run.recorded["%compensate/undo_reserve"] == .value(kind: "compensation", "null"))
        #expect(run.recorded["%compensate/b/undo"] == .value(kind: "compensation", "null"))
        guard case .failure("compensation", let failure) = run.recorded["%compensate/undo_charge#2"] else {
            Issue.record("recorded \(run.recorded)")
            return
        }
        #expect(failure.as(OutOfStock.self) == OutOfStock(sku: "money"))
        #expect(host.logLines.withLock { $0.count } == 2)
        // A replay passes over what was undone already.
        let again = try await host.run("x", recorded: run.recorded)
        #expect(again.outcome == run.outcome)
        #expect(undone.withLock { $0 }.count == 4)
        // Each is limited: by the attempts it was given, and by the time that all of them have.
        #expect(run.state.withLock { $0.retryOptions.last?.timeout ?? 0 } > 3_500_000_000)
        #expect(run.state.withLock { $0.retryOptions.last?.timeout ?? 0 } <= 3_600_000_000)
    }

    /// Its SQL goes through a transaction of its own, which is the compensation.
    @Test func aTransactionUndoes() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    workflow.compensate("release", isolation: .serializable, attemptTimeout: .seconds(9)) { db in
                        try await db.execute("UPDATE stock SET on_hand = on_hand + $1", 2)
                    }
                    throw OutOfStock(sku: "lamp")
                }
            })
        let run = try await host.run("x", sql: { _, _ in .affected(1) })
        #expect(run.state.withLock { $0.statements.map(\.0) } == ["BEGIN 2", "UPDATE stock SET on_hand = on_hand + $1"])
        #expect(run.recorded["%compensate/release"] == .value(kind: "compensation", "null"))
        #expect(run.state.withLock { $0.retryOptions.last?.attemptTimeout } == 9_000_000)
        #expect(run.failure?.code == "out_of_stock")
    }

    @Test(arguments: [true, false])
    func aCancellationUndoesAlsoIfItIsSwallowed(swallowed: Bool) async throws {
        let undone = Locked<[String]>([])
        let host = Self.host(undone) { workflow in
            do {
                try await workflow.sleep("s", for: .days(1))
            } catch {
                if !swallowed { throw error }
            }
        }
        let run = try host.start("x")
        await run.waits()
        run.cancel()
        await run.finished()
        run.release()
        #expect(undone.withLock { $0 } == Self.all)
        #expect(run.outcome?.status == PawlStatus.cancelled)
        #expect(run.state.withLock { $0.compensated?.status } == PawlStatus.cancelled)
    }

    /// The host takes such an end for the success that it is.
    @Test func nothingIsUndoneIfTheHandlerWasDoneBeforeItWasTold() async throws {
        let undone = Locked<[String]>([])
        let reached = Counter()
        let host = Self.host(undone) { workflow in
            reached.add()
            while !workflow.isCancelled { await Task.yield() }
        }
        let run = try host.start("x")
        #expect(await reached.becomes(1))
        run.cancel()
        await run.finished()
        run.release()
        #expect(run.output == "null")
        #expect(undone.withLock { $0 } == [])
    }

    @Test func nothingIsUndoneAfterASuccessOrAStop() async throws {
        let undone = Locked<[String]>([])
        let host = Self.host(undone) { _ in }
        #expect(try await host.run("x").output == "null")
        let stopping = Self.host(undone) { workflow in
            try? await workflow.sleep("s", for: .days(1))
            throw OutOfStock(sku: "lamp")
        }
        let run = try stopping.start("x")
        await run.waits()
        run.stop()
        await run.finished()
        run.release()
        #expect(undone.withLock { $0 } == [])
    }

    @Test func aStopInterruptsACompensation() async throws {
        let began = Counter(), heard = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    workflow.compensate("second") { Issue.record("ran") }
                    workflow.compensate("first") {
                        began.add()
                        do {
                            try await Task.sleep(for: .seconds(3600))
                        } catch {
                            heard.add()
                        }
                    }
                    throw OutOfStock(sku: "lamp")
                }
            })
        let run = try host.start("x")
        #expect(await began.becomes(1))
        // A cancellation does not: what failed is undone.
        run.cancel()
        #expect(heard.count == 0)
        run.stop()
        await run.finished()
        run.release()
        #expect(heard.count == 1)
        #expect(run.recorded == [:])
    }

    @Test func allOfThemTogetherHaveALimit() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    workflow.compensate("undo") { Issue.record("ran") }
                    throw OutOfStock(sku: "lamp")
                }.compensationLimit(.zero)
            })
        let run = try await host.run("x")
        guard case .failure("compensation", let failure) = run.recorded["%compensate/undo"] else {
            Issue.record("recorded \(run.recorded)")
            return
        }
        #expect(failure.code == "timeout")
        #expect(run.failure?.code == "out_of_stock")
    }
}
