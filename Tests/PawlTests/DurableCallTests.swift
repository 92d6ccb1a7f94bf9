import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

struct Approval: Codable, Sendable, Equatable { var who: String }

@Suite(.timeLimit(.minutes(2))) struct DurableCallTests {
    /// Runs to the end while the test changes the world, then replays it in an empty one: the end must be the same.
    static func outcome(
        of host: FakeHost, _ name: String, input: String = "null", world: FakeRun.World = FakeRun.World(),
        _ meanwhile: (FakeRun) async throws -> Void = { _ in }
    ) async throws -> FakeRun {
        let run = try host.start(name, input: input, world: world)
        try await meanwhile(run)
        await run.finished()
        run.release()
        let again = try await host.run(name, input: input, recorded: run.recorded)
        #expect(again.outcome == run.outcome)
        #expect(again.state.withLock { $0.effects } == [])
        return run
    }

    static func host<Output: Codable & Sendable>(_ body: @escaping @Sendable (WorkflowContext) async throws -> Output) -> FakeHost {
        FakeHost(Plugin("x") { Workflow("x", body) })
    }

    @Test func sleepsTakeTheirTime() async throws {
        let host = Self.host { workflow in
            try await workflow.sleep("grace", for: .hours(1) + .milliseconds(1500))
            try await workflow.sleep("until", until: Date(timeIntervalSince1970: 1_763_730_000.25))
            return 1
        }
        let run = try await Self.outcome(of: host, "x") { run in
            await run.waits()
            #expect(run.state.withLock { $0.waits[0]?.arguments } == #"{"seconds":3601.500000}"#)
            run.pass(seconds: 3601)
            #expect(run.state.withLock { $0.waits.count } == 1)
            run.pass(seconds: 1)
            await run.waits()
            #expect(run.state.withLock { $0.waits[0]?.arguments } == #"{"until":"2025-11-21T13:00:00.250000Z"}"#)
            run.pass(seconds: 86_400)
        }
        #expect(run.recorded["grace"] == .value(kind: "sleep", #"{"value":null}"#))
    }

    @Test func messagesComeInOrderAndNullIsOne() async throws {
        let host = Self.host { workflow in
            let first = try await workflow.receive(Approval.self, topic: "approval")
            let second = try await workflow.receive(Approval?.self, topic: "approval", timeout: .days(3))
            let third = try await workflow.receive(Approval?.self, topic: "approval", timeout: .days(3))
            let any: JSONValue = try await workflow.receive(JSONValue.self)
            #expect(second == .some(.none))
            #expect(third == .none)
            #expect(any == JSONValue.null)
            return first.who
        }
        var world = FakeRun.World()
        world.messages = [("other", "1"), ("approval", #"{"who":"Ada"}"#), ("approval", "null")]
        let run = try await Self.outcome(of: host, "x", world: world) { run in
            await run.waits()
            run.pass(seconds: 3 * 86_400)
            await run.waits()
            run.change { $0.messages.append(("", "null")) }
        }
        #expect(run.output == #""Ada""#)
        #expect(Set(run.recorded.keys) == ["receive:approval", "receive:approval#2", "receive:approval#3", "receive"])
        #expect(run.recorded["receive:approval#3"] == .value(kind: "receive", "null"))
    }

    @Test func aMessageThatDoesNotFitIsAFailureToCatch() async throws {
        let host = Self.host { workflow in
            while true {
                do {
                    return try await workflow.receive(Approval.self, topic: "approval").who
                } catch let failure as WorkflowFailure where failure.code == "bad_message" {
                    #expect(failure.message == "the message of topic \"approval\" is no Approval: $.who is missing")
                }
            }
        }
        var world = FakeRun.World()
        world.messages = [("approval", "{}"), ("approval", #"{"who":"Ada"}"#)]
        #expect(try await Self.outcome(of: host, "x", world: world).output == #""Ada""#)
    }

    @Test func sendingIsDoneOnceAndItsErrorIsRecorded() async throws {
        let host = Self.host { workflow in
            let accepted = try await workflow.send(to: "other", Approval(who: "Ada \"the\" \\ \u{1}"), topic: "approval")
            let ended = try await workflow.send(to: "ended", 1)
            #expect(accepted && !ended)
            do {
                try await workflow.send(to: "nobody", 1, name: "third")
            } catch let failure as WorkflowFailure {
                return failure.code
            }
            return ""
        }
        var world = FakeRun.World()
        world.workflows = ["other": .running, "ended": .init()]
        let run = try await Self.outcome(of: host, "x", world: world)
        #expect(run.output == #""unknown_workflow""#)
        #expect(
            run.state.withLock { $0.effects }[0]
                == #"send {"workflow_id":"other","topic":"approval","message":{"who":"Ada \"the\" \\ \u0001"}}"#)
        #expect(Set(run.recorded.keys) == ["send:approval", "send", "third"])
    }

    @Test func eventsAreSetAndWaitedFor() async throws {
        let host = Self.host { workflow in
            try await workflow.setEvent("stage", ["packed": 3])
            let other = try await workflow.getEvent(Int.self, of: "other", key: "count")
            let none = try await workflow.getEvent(Int.self, of: "ended", key: "count")
            let late = try await workflow.getEvent(Int.self, of: "other", key: "never", timeout: .seconds(5))
            let null = try await workflow.getEvent(Int?.self, of: "other", key: "null")
            #expect(null == .some(.none))
            return [other, none, late]
        }
        var world = FakeRun.World()
        world.workflows = ["other": .running, "ended": .init()]
        world.events = ["other/null": "null"]
        let run = try await Self.outcome(of: host, "x", world: world) { run in
            await run.waits()
            run.change { $0.events["other/count"] = "4" }
            await run.waits()
            run.pass(seconds: 5)
        }
        #expect(run.output == "[4,null,null]")
        #expect(run.state.withLock { $0.world.events["workflow-1/stage"] } == #"{"packed":3}"#)
    }

    @Test func streamsAreWrittenByStepsAndCallsAndReadWhileTheyGrow() async throws {
        let host = Self.host { workflow in
            let tokens = workflow.stream("tokens", of: String.self)
            try await workflow.step("write") {
                try await tokens.emit("a")
                try await tokens.emit("b")
            }
            let position = try await workflow.append("c", to: tokens)
            try await workflow.close(tokens)
            do {
                try await workflow.append("d", to: tokens)
                Issue.record("a closed stream took an entry")
            } catch let failure as WorkflowFailure {
                #expect(failure.code == "stream_closed")
            }
            var read: [String] = []
            for try await entry in workflow.readStream(String.self, of: "other", key: "words", limit: 2) {
                read.append("\(entry.position)\(entry.value)\(entry.attempt)")
                // Another call of the same context in between.
                try await workflow.step("note") {}
            }
            return read + ["\(position)"]
        }
        var world = FakeRun.World()
        world.workflows = ["other": .running]
        world.streams["other/words"] = ([(1, #""x""#), (2, #""y""#), (2, #""z""#)], false)
        let run = try await Self.outcome(of: host, "x", world: world) { run in
            await run.waits()
            run.change { $0.streams["other/words"] = ($0.streams["other/words"]!.entries + [(1, #""w""#)], true) }
        }
        #expect(run.output == #"["1x1","2y2","3z2","4w1","1"]"#)
        let emissions = run.state.withLock { $0.emissions }
        #expect(emissions.map(\.step) == ["write", "write"])
        #expect(emissions.first?.arguments == #"{"key":"tokens","value":"a"}"#)
    }

    @Test func progressIsTakenFromInsideAStep() async throws {
        let host = Self.host { workflow in
            let progress = workflow.progress
            try await progress.report(0)
            try await workflow.step("s") { try await progress.report(["done": 7]) }
            return 1
        }
        let run = try await host.run("x")
        #expect(run.state.withLock { $0.emissions.map(\.arguments) } == [#"{"value":0}"#, #"{"value":{"done":7}}"#])
    }

    @Test func valuesAreRecorded() async throws {
        let host = Self.host { workflow in
            let now = try await workflow.now()
            let id = try await workflow.uuid()
            var random = try await workflow.random()
            let numbers = (0..<3).map { _ in Int.random(in: 0..<1000, using: &random) }
            let merged = try await workflow.mergeAttributes(["stage": "packed", "hold": .null, "weight": 1.5, "parcels": [1, 2], "gift": true])
            return "\(now.timeIntervalSince1970) \(id) \(numbers) \(merged["stage"]?.string ?? "")"
        }
        let run = try await Self.outcome(of: host, "x")
        #expect(run.output?.contains("1763721136.0 5A3C3B52-6D0B-4F0E-9F3A-000000000001") == true)
        #expect(run.output?.hasSuffix("packed\"") == true)
        #expect(Set(run.recorded.keys) == ["now", "uuid", "random", "merge_attributes"])
    }

    @Test func aPatchIsForThoseThatHaveNotPassedIt() async throws {
        let host = Self.host { workflow in try await workflow.patched("fraud_check") }
        #expect(try await host.run("x").output == "true")
        #expect(try await host.run("x", recorded: ["older": .value(kind: "step", "1")]).output == "false")
        #expect(try await host.run("x", recorded: ["patch:fraud_check": .value(kind: "patch", "true")]).output == "true")
    }

    @Test func continuingAsNewEndsTheRun() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext, count: Int) -> Int in
                    workflow.compensate("undo") { Issue.record("undone") }
                    if count < 3 { try await workflow.continueAsNew(count + 1) }
                    return count
                }
            })
        let run = try await host.run("x", input: "2")
        #expect(run.outcome?.status == PawlStatus.stopped)
        #expect(run.state.withLock { $0.continuedWith } == "3")
        #expect(try await host.run("x", input: "3").output == "3")
    }

    @Test func anOldHostIsNamedNotCrashed() async throws {
        let bodies: [(String, @Sendable (WorkflowContext) async throws -> Void)] = [
            ("call", { try await $0.sleep("s", for: .seconds(1)) }),
            ("emit", { try await $0.progress.report(1) }),
            ("continue_as_new", { try await $0.continueAsNew(1) }),
            ("call", { try await $0.race("r", .sleep(for: .seconds(1)) {}) }),
            (
                "compensate",
                {
                    $0.compensate("undo") {}
                    throw OutOfStock(sku: "lamp")
                }
            ),
        ]
        for (function, body) in bodies {
            let host = FakeHost(Plugin("x") { Workflow("x", body) }, size: MemoryLayout<pawl_host>.offset(of: \.call)!)
            let run = try await host.run("x")
            #expect(run.failure?.code == "host_too_old")
            #expect(run.failure?.message.contains("\"\(function)\"") == true)
        }
        let quiet = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    _ = workflow.branch("b")
                    return workflow.isCancelled ? 1 : workflow.monitor.attempt
                }
            }, size: MemoryLayout<pawl_host>.offset(of: \.call)!)
        #expect(try await quiet.run("x").output == "0")
    }

    @Test func branchesAreClosedWhenNobodyCanUseThem() async throws {
        let host = Self.host { workflow in
            try await workflow.parallel("p", [1, 2, 3], id: { $0 }, limit: 1) { branch, item in try await branch.step("s") { item } }
        }
        let run = try host.start("x")
        await run.finished()
        #expect(run.state.withLock { $0.scopes.filter { $0.key != 0 }.allSatisfy(\.value.isClosed) })
        #expect(run.state.withLock { $0.scopes.count } == 4)
        run.release()
    }

    @Test func namesAreCutWhereTheyMay() {
        #expect(WorkflowContext.name("receive", "") == "receive")
        let long = WorkflowContext.name("receive", String(repeating: "ä", count: 100))
        #expect(long.utf8.count <= 128 && long.hasPrefix("receive:ä") && long.last == "ä")
    }

    @Test func durationsBecomeMicroseconds() {
        #expect(Duration.days(1).microseconds == 86_400_000_000)
        #expect(Duration.minutes(90) == .hours(1) + .minutes(30))
        #expect(Duration.nanoseconds(1).microseconds == 1)
        #expect(Duration.zero.positiveMicroseconds == 1)
        #expect(Duration.seconds(Int64.max).microseconds == .max)
        #expect(Duration.milliseconds(-5).secondsText == "0.000000")
    }
}
