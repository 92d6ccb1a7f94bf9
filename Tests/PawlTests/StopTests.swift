import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

/// Lives in a handler's frame: gone when the handler is.
final class Canary: Sendable {
    let nest: Counter
    init(_ nest: Counter) {
        self.nest = nest
        nest.add()
    }
    deinit { nest.remove() }
}

extension Counter {
    /// A moment later is enough for tasks to be freed after they finished; a deadline, in case they never are.
    func becomes(_ expected: Int) async -> Bool {
        for _ in 0..<1000 {
            if count == expected { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }
}

@Suite(.timeLimit(.minutes(2))) struct StopTests {
    static func plugin(_ canaries: Counter) -> Plugin {
        Plugin("stops") {
            Workflow("plain") { (workflow: WorkflowContext) in
                let canary = Canary(canaries)
                let value = try await workflow.step("a") { 1 }
                withExtendedLifetime(canary) {}
                return value
            }
            Workflow("swallows") { (workflow: WorkflowContext) in
                let canary = Canary(canaries)
                _ = try? await workflow.step("a") { 1 }
                _ = try? await workflow.step("b") { 1 }
                withExtendedLifetime(canary) {}
                return 1
            }
            Workflow("group") { (workflow: WorkflowContext) in
                let canary = Canary(canaries)
                let values = try await workflow.parallel("p", [1, 2, 3, 4], id: { $0 }) { branch, item in
                    try await branch.step("a") { item }
                }
                withExtendedLifetime(canary) {}
                return values
            }
            Workflow("loops") { (workflow: WorkflowContext) in
                while true {
                    do { return try await workflow.step("a") { 1 } } catch { continue }
                }
            }
            Workflow("branch_loops") { (workflow: WorkflowContext) in
                try await workflow.parallel("p", Array(0..<8), id: { $0 }) { branch, item in
                    while true {
                        do { return try await branch.step("a") { item } } catch { continue }
                    }
                }
            }
            Workflow("waits_in_a_step") { (workflow: WorkflowContext) in
                try await workflow.step("long") {
                    canaries.add()
                    try await Task.sleep(for: .seconds(3600))
                }
            }
            Workflow("leaves_a_task") { (workflow: WorkflowContext) in
                let branch = workflow.branch("left")
                _ = Task {
                    let failure = await #expect(throws: WorkflowMisuse.self) {
                        while true {
                            _ = try await branch.step("late") { 1 }
                        }
                    }
                    #expect(failure?.code == "run_ended")
                    canaries.add()
                }
            }
        }
    }

    @Test(arguments: ["plain", "swallows", "group"])
    func tenThousandStoppedRunsLeaveNothing(name: String) async throws {
        struct Weak { weak var run: HandlerRun? }
        let canaries = Counter()
        let host = FakeHost(StopTests.plugin(canaries))
        var runs: [FakeRun] = []
        for _ in 0..<10_000 { runs.append(try host.start(name, holding: true)) }
        for run in runs { await run.holdsACall() }
        #expect(canaries.count == 10_000)
        let handlerRuns = runs.map { Weak(run: $0.handlerRun) }
        #expect(handlerRuns.allSatisfy { $0.run != nil })
        for run in runs { run.stop() }
        for run in runs {
            await run.finished()
            #expect(run.outcome?.status == PawlStatus.stopped || name == "swallows")
            run.release()
        }
        #expect(await canaries.becomes(0), "\(canaries.count) of 10,000 handlers are still in memory")
        #expect(handlerRuns.count { $0.run != nil } == 0)
        #expect(runs.allSatisfy { $0.state.withLock { $0.finishes == 1 && $0.callsAfterRelease == 0 } })
    }

    @Test(arguments: ["loops", "branch_loops"])
    func codeThatGoesOnAfterBeingStoppedEndsInTheTarpit(name: String) async throws {
        let host = FakeHost(StopTests.plugin(Counter()))
        let run = try host.start(name, holding: true)
        await run.holdsACall()
        run.stop()
        await run.finished()
        run.release()
        #expect(run.outcome?.status == PawlStatus.stopped)
        // One branch may be answered while another is counting.
        #expect(run.state.withLock { $0.stoppedAnswers } <= 64 + 16)
        #expect(run.state.withLock { $0.callsAfterRelease } == 0)
        #expect(run.state.withLock { $0.finishes } == 1)
    }

    @Test func interruptCancelsWhatAStepWaitsFor() async throws {
        let bodies = Counter()
        let host = FakeHost(StopTests.plugin(bodies))
        let run = try host.start("waits_in_a_step")
        #expect(await bodies.becomes(1))
        run.stop()
        await run.finished()
        run.release()
        #expect(run.outcome?.status == PawlStatus.stopped)
        #expect(run.recorded == [:])
    }

    @Test func aTaskThatOutlivesItsRunNeverReachesTheHost() async throws {
        let canaries = Counter()
        let host = FakeHost(StopTests.plugin(canaries))
        for _ in 0..<200 {
            let run = try await host.run("leaves_a_task")
            #expect(run.outcome?.status == PawlStatus.ok)
            #expect(run.state.withLock { $0.callsAfterRelease } == 0)
        }
        #expect(await canaries.becomes(200))
    }
}
