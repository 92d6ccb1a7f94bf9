import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

@Suite(.timeLimit(.minutes(2))) struct RetryTests {
    struct Flaky: Error {}

    @Test func aFailedStepIsTriedAgainAsThePolicySays() async throws {
        let bodies = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("default") { (workflow: WorkflowContext) in
                    try await workflow.step("s") { () -> Int in
                        bodies.add()
                        if bodies.count % 3 != 0 { throw Flaky() }
                        return bodies.count
                    }
                }
                Workflow("policy") { (workflow: WorkflowContext) in
                    try await workflow.step(
                        "s", retry: .exponential(maxAttempts: 3, initial: .milliseconds(10), maximum: .seconds(5), factor: 3), attemptTimeout: .seconds(2),
                        timeout: .minutes(1)
                    ) {
                        bodies.add()
                        throw Flaky()
                    }
                }
                Workflow("never") { (workflow: WorkflowContext) in
                    try await workflow.step("s", retry: .never) { () -> Int in throw Flaky() }
                }
            })
        let run = try await host.run("default")
        #expect(run.output == "3")
        #expect(run.state.withLock { $0.failedAttempts } == ["s 1: flaky", "s 2: flaky"])
        #expect(run.state.withLock { $0.retryOptions } == [FakeRun.Retry()])
        let failed = try await host.run("policy")
        #expect(failed.failure?.code == "flaky")
        #expect(failed.state.withLock { $0.failedAttempts }.count == 3)
        let options = failed.state.withLock { $0.retryOptions }[0]
        #expect(options.maxAttempts == 3 && options.initial == 10_000 && options.maximum == 5_000_000 && options.factor == 3)
        #expect(options.attemptTimeout == 2_000_000 && options.timeout == 60_000_000)
        #expect(try await host.run("never").state.withLock { $0.failedAttempts } == ["s 1: flaky"])
    }

    @Test func whatCannotGetBetterIsNotTriedAgain() async throws {
        struct Declined: Error {}
        let host = FakeHost(
            Plugin("x") {
                Workflow("decoding") { (workflow: WorkflowContext) in
                    try await workflow.step("s") { _ = try JSONDecoder().decode(Order.self, from: Data("[]".utf8)) }
                }
                Workflow("encoding") { (workflow: WorkflowContext) in try await workflow.step("s") { Date.distantPast - 1e12 } }
                Workflow("code") { (workflow: WorkflowContext) in
                    try await workflow.step("s", retry: .exponential(nonRetryable: ["declined"])) { throw Declined() }
                }
                Workflow("predicate") { (workflow: WorkflowContext) in
                    try await workflow.transaction("s", retry: .exponential(nonRetryable: { $0 is Declined })) { _ in throw Declined() }
                }
                Workflow("other_code") { (workflow: WorkflowContext) in
                    try await workflow.step("s", retry: .exponential(nonRetryable: ["other"])) { throw Declined() }
                }
                Workflow("unicode") { (workflow: WorkflowContext) in try await workflow.step("s") { "a\u{0}b" } }
            })
        for name in ["decoding", "encoding", "code", "predicate", "unicode"] {
            #expect(try await host.run(name).state.withLock { $0.failedAttempts }.count == 1, "\(name)")
        }
        #expect(try await host.run("other_code").state.withLock { $0.failedAttempts }.count == 5)
    }

    @Test func aBackOffThatARestartInterruptedIsWaitedFor() async throws {
        let bodies = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    let monitor = workflow.monitor
                    return try await workflow.step("s") {
                        bodies.add()
                        return monitor.attempt
                    }
                }
            })
        let run = try await host.run("x", recorded: ["s": .retrying(kind: "step", attempts: 2)])
        #expect(run.output == "3")
        #expect(bodies.count == 1)
    }

    /// A body that does not mind cancellation: until the test lets it go.
    final class Stubborn: Sendable {
        private let waiting = Locked<[CheckedContinuation<Void, Never>]>([])
        let began = Counter()
        func hold() async {
            await withCheckedContinuation { continuation in
                waiting.withLock { $0.append(continuation) }
                began.add()
            }
        }
        func letGo() { for continuation in waiting.withLock({ $0 }) { continuation.resume() } }
    }

    @Test func aTimedOutAttemptEndsAtOnceAlsoIfItsBodyGoesOn() async throws {
        let stubborn = Stubborn()
        let attempts = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    try await workflow.step("s", attemptTimeout: .seconds(1)) { () -> Int in
                        attempts.add()
                        if attempts.count == 1 { await stubborn.hold() }
                        return attempts.count
                    }
                }
            })
        let run = try host.start("x")
        #expect(await stubborn.began.becomes(1))
        run.timeOut()
        await run.finished()
        #expect(run.output == "2")
        #expect(run.state.withLock { $0.failedAttempts } == ["s 1: timeout"])
        // Of an attempt that is over: nobody is there any more.
        run.timeOut()
        run.release()
        stubborn.letGo()
    }

    @Test func aTimeoutMayComeBeforeTheBody() async throws {
        let body = TimedBody(name: "s", waitsForBody: false)
        body.interrupt()
        let failure = await #expect(throws: WorkflowFailure.self) { try await body.run { try await Task.sleep(for: .seconds(3600)) } }
        #expect(failure?.code == "timeout")
        // That one was for the attempt before.
        body.interrupt()
        body.rearm()
        #expect(try await body.run { 7 } == 7)
    }

    @Test func aLateTimeoutIsNotTheNextAttempts() async throws {
        let holds = Stubborn(), attempts = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    try await workflow.step("s", attemptTimeout: .seconds(1)) { () -> Int in
                        attempts.add()
                        if attempts.count == 1 { await holds.hold() }
                        if attempts.count < 3 { throw Flaky() }
                        return attempts.count
                    }
                }
            })
        let run = try host.start("x")
        #expect(await holds.began.becomes(1))
        run.state.withLock { $0.interruptsLate = true }
        holds.letGo()
        await run.finished()
        run.release()
        #expect(run.output == "3")
        #expect(run.state.withLock { $0.failedAttempts } == ["s 1: flaky", "s 2: flaky"])
    }

    @Test func aTransactionThatTakesTooLongIsWaitedFor() async throws {
        let began = Counter(), ended = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    try await workflow.transaction("t", retry: .never, attemptTimeout: .seconds(1)) { db in
                        began.add()
                        while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
                        try await db.execute("SELECT 1")
                        ended.add()
                    }
                }
            })
        let run = try host.start("x")
        #expect(await began.becomes(1))
        run.timeOut()
        await run.finished()
        run.release()
        #expect(ended.count == 1)
        #expect(run.failure?.code == "timeout")
        #expect(run.state.withLock { $0.statements.count } == 2)
    }

    @Test func anErrorOfPostgreSQLIsFinalUnlessItPasses() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in try await workflow.transaction("t") { db in try await db.execute("DELETE FROM t") } }
            })
        let final = try await host.run("x") { _, _ in .failure(sqlstate: "23505", "duplicate key") }
        #expect(final.state.withLock { $0.failedAttempts } == ["t 1: 23505"])
        let passing = try await host.run("x") { _, _ in .failure(sqlstate: "40001", "could not serialize") }
        #expect(passing.state.withLock { $0.failedAttempts }.count == 5)
        #expect(passing.failure?.code == "40001")
    }
}
