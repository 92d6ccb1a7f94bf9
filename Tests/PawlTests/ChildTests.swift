import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

@Suite(.timeLimit(.minutes(2))) struct ChildTests {
    struct Parcel: Codable, Sendable, Equatable { var number: Int }

    @Test func aChildIsStartedOnceAndAwaited() async throws {
        let host = DurableCallTests.host { workflow in
            let child = try await workflow.start(
                "ship_parcel", Parcel(number: 1), returning: String.self, queue: "shipping", priority: -1, timeout: .hours(1), version: 2,
                attributes: ["parcel": 1], detached: true)
            #expect(child.workflowID == "workflow-1/start:ship_parcel")
            let early = try await workflow.result(of: child, timeout: .seconds(1))
            #expect(early == nil)
            return try await workflow.result(of: child)
        }
        let run = try await DurableCallTests.outcome(of: host, "x") { run in
            await run.waits()
            run.pass(seconds: 1)
            await run.waits()
            run.change { $0.workflows["workflow-1/start:ship_parcel"] = .init(output: #""PT-1""#) }
        }
        #expect(run.output == #""PT-1""#)
        #expect(
            run.state.withLock { $0.effects } == [
                #"start_child {"workflow_name":"ship_parcel","input":{"number":1},"queue":"shipping","priority":-1,"timeout":3600.000000,"#
                    + #""workflow_version":2,"attributes":{"parcel":1},"detached":true}"#
            ])
        #expect(Set(run.recorded.keys) == ["start:ship_parcel", "result:ship_parcel", "result:ship_parcel#2"])
    }

    static let outOfStock = #"{"code":"out_of_stock","type":"OutOfStock","message":"no lamp left","step":"reserve","attempt":5,"detail":{"sku":"lamp"}}"#

    @Test func aChildsErrorCrossesAsItsType() async throws {
        let host = DurableCallTests.host { workflow in
            let child = ChildWorkflow(workflowID: "c", workflowName: "c", returning: String.self)
            do {
                return try await workflow.result(of: child)
            } catch let failure as WorkflowFailure where failure.code != "out_of_stock" {
                return failure.code
            } catch let failure as WorkflowFailure {
                #expect(failure.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
                #expect(failure.cause?.code == "out_of_stock")
                #expect(failure.cause?.step == "reserve")
                #expect(failure.cause?.attempt == 5)
                #expect(failure.cause?.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
                return failure.code
            }
        }
        var world = FakeRun.World()
        world.workflows = ["c": .init(status: "failed", error: Self.outOfStock)]
        #expect(try await DurableCallTests.outcome(of: host, "x", world: world).output == #""out_of_stock""#)
        world.workflows = ["c": .init(status: "cancelled", error: #"{"code":"cancelled"}"#)]
        #expect(try await DurableCallTests.outcome(of: host, "x", world: world).output == #""child_cancelled""#)
        #expect(try await host.run("x").output == #""unknown_workflow""#)
    }

    @Test func anOutputThatDoesNotFitSaysWhere() async throws {
        let host = DurableCallTests.host { workflow in
            try await workflow.result(of: ChildWorkflow(workflowID: "c", workflowName: "c", returning: [String].self))
        }
        var world = FakeRun.World()
        world.workflows = ["c": .init(output: #"["a",1]"#)]
        let run = try await DurableCallTests.outcome(of: host, "x", world: world)
        #expect(run.failure?.code == "bad_output")
        #expect(run.failure?.message.contains("$[1]") == true)
    }

    @Test func allAreAwaitedInTheOrderGiven() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("all") { (workflow: WorkflowContext) in
                    var children: [ChildWorkflow<Int>] = []
                    for number in 0..<100 { children.append(try await workflow.start("square", number, returning: Int.self)) }
                    let outputs = try await workflow.all(children)
                    let none = try await workflow.all([ChildWorkflow<Int>](), name: "none")
                    #expect(none == [])
                    return outputs
                }
                Workflow("failing") { (workflow: WorkflowContext) in
                    let children = ["a", "b", "c"].map { ChildWorkflow(workflowID: $0, workflowName: "w", returning: Int.self) }
                    let finished = try await workflow.allFinished(children, name: "each")
                    #expect(finished.map(\.index) == [0, 1, 2])
                    #expect((try? finished[0].result.get()) == 1)
                    guard case .failure(let failed) = finished[1].result, case .failure(let cancelled) = finished[2].result else {
                        Issue.record("\(finished)")
                        return ""
                    }
                    #expect(failed.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
                    #expect(failed.cause?.step == "reserve")
                    #expect(cancelled.code == "child_cancelled")
                    let late = try await workflow.allFinished([ChildWorkflow(workflowID: "d", workflowName: "w", returning: Int.self)], timeout: .zero)
                    #expect(late == nil)
                    do {
                        _ = try await workflow.all(children)
                    } catch let failure as WorkflowFailure {
                        return failure.code
                    }
                    return ""
                }
            })
        let run = try await DurableCallTests.outcome(of: host, "all") { run in
            await run.waits()
            run.change { world in
                for number in 0..<100 {
                    let id = "workflow-1/start:square" + (number == 0 ? "" : "#\(number + 1)")
                    world.workflows[id] = .init(output: "\(number * number)")
                }
            }
        }
        #expect(run.output == "[" + (0..<100).map { "\($0 * $0)" }.joined(separator: ",") + "]")
        var world = FakeRun.World()
        world.workflows = [
            "a": .init(output: "1"), "b": .init(status: "failed", error: Self.outOfStock), "c": .init(status: "cancelled"), "d": .running,
        ]
        #expect(try await DurableCallTests.outcome(of: host, "failing", world: world).output == #""out_of_stock""#)
    }

    @Test func anyIsTheFirstThatEnded() async throws {
        let host = DurableCallTests.host { workflow in
            let children = ["a", "b"].map { ChildWorkflow(workflowID: $0, workflowName: "w", returning: Int.self) }
            let first = try await workflow.any(children)
            let none = try await workflow.any([children[0]], timeout: .seconds(1))
            #expect(none == nil)
            let asked = try await workflow.cancel(children[0], reason: "late")
            #expect(asked)
            return [first.index, try first.result.get()]
        }
        var world = FakeRun.World()
        world.workflows = ["a": .running, "b": .running]
        let run = try await DurableCallTests.outcome(of: host, "x", world: world) { run in
            await run.waits()
            run.change { $0.workflows["b"] = .init(output: "7") }
            await run.waits()
            run.pass(seconds: 1)
        }
        #expect(run.output == "[1,7]")
        #expect(run.recorded["cancel:w"] == .value(kind: "cancel_workflow", "true"))
    }
}

@Suite(.timeLimit(.minutes(2))) struct RaceTests {
    enum Decision: Codable, Sendable, Equatable { case approved(String), late, checked(Int), ended(Int?), shipped(String) }

    static func host(_ stepBody: @escaping @Sendable () async throws -> Int) -> FakeHost {
        DurableCallTests.host { workflow in
            let child = ChildWorkflow(workflowID: "child", workflowName: "c", returning: String.self)
            let decision: Decision = try await workflow.race(
                "decision",
                .receive(Approval.self, topic: "approval") { .approved($0.who) },
                .step(stepBody) { .checked($0) },
                .event(Int.self, of: "other", key: "e") { .ended($0) },
                .child(child) { .shipped($0) },
                .sleep(for: .days(3)) { .late })
            try await workflow.step("after") {}
            return decision
        }
    }

    static var world: FakeRun.World {
        var world = FakeRun.World()
        world.workflows = ["other": .running, "child": .running]
        return world
    }

    static func decision(_ run: FakeRun) throws -> Decision { try PayloadCoding.decode(Decision.self, from: Data((run.output ?? "").utf8)) }

    @Test func theFirstOneWinsAndTheLosersBodyIsCancelled() async throws {
        let began = Counter(), cancelled = Counter()
        let host = Self.host {
            began.add()
            do {
                try await Task.sleep(for: .seconds(3600))
            } catch {
                cancelled.add()
            }
            return 1
        }
        let changes: [(Decision, @Sendable (inout FakeRun.World) -> Void)] = [
            (.approved("Ada"), { $0.messages.append(("approval", #"{"who":"Ada"}"#)) }),
            (.late, { $0.now += 3 * 86_400_000_000 }),
            (.ended(5), { $0.events["other/e"] = "5" }),
            (.ended(nil), { $0.workflows["other"] = .init() }),
            (.shipped("PT"), { $0.workflows["child"] = .init(output: #""PT""#) }),
        ]
        for (index, (decision, change)) in changes.enumerated() {
            let run = try host.start("x", world: Self.world)
            await run.waits()
            #expect(await began.becomes(index + 1))
            run.change(change)
            await run.finished()
            run.release()
            #expect(try Self.decision(run) == decision)
            #expect(await cancelled.becomes(index + 1))
            // What the loser came to was not offered to anyone, and its body does not run on a replay.
            #expect(run.state.withLock { $0.lateOffers } == 0)
            let again = try await host.run("x", recorded: run.recorded)
            #expect(again.outcome == run.outcome)
            #expect(began.count == index + 1)
        }
    }

    @Test func aStepWinsWithItsValueOrItsFailure() async throws {
        let good = Self.host { 42 }
        let run = try await DurableCallTests.outcome(of: good, "x", world: Self.world)
        #expect(try Self.decision(run) == .checked(42))
        let bad = Self.host { throw OutOfStock(sku: "lamp") }
        let failed = try await DurableCallTests.outcome(of: bad, "x", world: Self.world)
        #expect(failed.failure?.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
    }

    @Test func aChildsFailureIsTheRaces() async throws {
        let host = DurableCallTests.host { workflow in
            try await workflow.race("r", .child(ChildWorkflow(workflowID: "child", workflowName: "c", returning: Int.self)), .sleep(for: .days(1)) { 0 })
        }
        var world = Self.world
        world.workflows["child"] = .init(status: "failed", error: ChildTests.outOfStock)
        let run = try await DurableCallTests.outcome(of: host, "x", world: world)
        #expect(run.failure?.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
    }

    @Test func aRaceThatIsCancelledCancelsItsBodies() async throws {
        let began = Counter(), cancelled = Counter()
        let host = Self.host {
            began.add()
            do {
                try await Task.sleep(for: .seconds(3600))
            } catch {
                cancelled.add()
            }
            return 1
        }
        let run = try host.start("x", world: Self.world)
        await run.waits()
        #expect(await began.becomes(1))
        run.cancel()
        await run.finished()
        run.release()
        #expect(run.outcome?.status == PawlStatus.cancelled)
        #expect(await cancelled.becomes(1))
    }
}
