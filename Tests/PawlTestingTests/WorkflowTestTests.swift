import Foundation
import Locking
import Pawl
import PawlTesting
import Testing

/// What a test of a handler can do and see.
@Suite struct WorkflowTestTests {
    @Test func aStubStandsInForABody() async throws {
        let test = try WorkflowTest(testPlugin)
        test.stub("buy_label", returning: Label(number: "PT1"))
        #expect(try await test.run("steps", input: Order()) == ["7", "8", "PT1"])
        let workflow = try #require(test.workflow("steps-1"))
        #expect(workflow.status == "succeeded")
        #expect(workflow.steps.map(\.name) == ["a", "buy_label", "a#2"])
        #expect(workflow.step("buy_label")?.output == ["number": "PT1"])
        #expect(test.stubCalls == [StubCall(workflowID: "steps-1", step: "buy_label", attempt: 1)])
    }

    @Test func withoutAStubTheBodyRuns() async throws {
        let test = try WorkflowTest(testPlugin)
        let failure = await #expect(throws: WorkflowFailure.self) { try await test.run("steps", input: Order(), as: [String].self) }
        #expect(failure?.as(Declined.self) == Declined(reason: "the body ran"))
        let workflow = test.workflows[0]
        #expect(workflow.status == "failed")
        #expect(workflow.statusReason == "error")
        #expect(workflow.failure == failure)
        #expect(workflow.step("buy_label")?.attempts == 5)
    }

    @Test func sqlIsAnsweredAndCommitsOnce() async throws {
        let test = try WorkflowTest(testPlugin)
        let balance = Locked(100.0)
        let bodies = Locked(0)
        test.sql { call in
            guard call.sql.hasPrefix("UPDATE") else {
                #expect(!call.isTransaction)
                #expect(call.parameters == ["7"])
                return try .rows(["balance"], [[balance.withLock { $0 }]])
            }
            let price = Double(call.parameters[0]!)!
            call.onCommit { balance.withLock { $0 -= price } }
            // A serialization failure undoes the first run of the body.
            if bodies.withLock({ bodies in
                bodies += 1; return bodies
            }) == 1 {
                throw WorkflowFailure(code: "40001", message: "again")
            }
            return .affected(1)
        }
        #expect(try await test.run("money", input: Order()) == [87.5])
        #expect(bodies.withLock { $0 } == 2)
        #expect(balance.withLock { $0 } == 87.5)
    }

    @Test func withoutAnAnswerSQLFails() async throws {
        let test = try WorkflowTest(testPlugin)
        let failure = await #expect(throws: WorkflowFailure.self) { try await test.run("money", input: Order(), as: [Double].self) }
        #expect(failure?.code == "no_answer")
    }

    @Test func aFailureIsTriedAgainAndTimePasses() async throws {
        let test = try WorkflowTest(testPlugin)
        test.stub("flaky") { call -> Int in
            if call.attempt < 3 { throw Declined(reason: "not yet") }
            return 42
        }
        let began = test.now
        let workflow = try await test.start("retried", input: 1)
        #expect(workflow.step("flaky")?.status == "retrying")
        #expect(workflow.step("flaky")?.failure?.as(Declined.self) == Declined(reason: "not yet"))
        #expect(try await workflow.output() == 42)
        #expect(test.count(of: "flaky") == 3)
        #expect(workflow.step("flaky")?.attempts == 3)
        #expect(test.now > began)
        #expect(test.now < began + 180)
    }

    @Test func notRetried() async throws {
        let test = try WorkflowTest(testPlugin)
        test.stub("flaky", throwing: NotRetried(WorkflowFailure(code: "gone", message: "for good")))
        let failure = await #expect(throws: WorkflowFailure.self) { try await test.run("retried", input: 1, as: Int.self) }
        #expect(failure?.code == "gone")
        #expect(test.count(of: "flaky") == 1)
    }

    @Test func aBodyThatHangsMeetsItsTimeout() async throws {
        let test = try WorkflowTest(testPlugin, patience: .milliseconds(20))
        let failure = await #expect(throws: WorkflowFailure.self) { try await test.run("hangs", input: 1, as: Int.self) }
        #expect(failure?.code == "timeout")
        #expect(failure?.attempt == 2)
    }

    @Test func timePassesWhenNothingElseDoes() async throws {
        let test = try WorkflowTest(testPlugin)
        let began = test.now
        let workflow = try await test.start("waits", input: 0)
        #expect(test.now == began)
        #expect(workflow.status == "running" || workflow.status == "waiting")
        #expect(workflow.step("grace")?.status == "waiting")
        await test.advance(by: .seconds(86_399))
        #expect(workflow.step("grace")?.status == "waiting")
        #expect(workflow.status == "waiting")
        await test.advance(by: .seconds(1))
        #expect(workflow.step("grace")?.status == "succeeded")
        #expect(try await workflow.output() == "nobody")
        #expect(test.now == began + 86_400 + 3600)
    }

    @Test func aMessageComesInTime() async throws {
        let test = try WorkflowTest(testPlugin)
        let workflow = try await test.start("waits", input: 0)
        // Before it waits for it.
        #expect(try await workflow.send(Approval(who: "Ada"), topic: "approval"))
        #expect(try await workflow.output() == "Ada")
        #expect(workflow.messages == [TestedMessage(topic: "approval", message: ["who": "Ada"], receivedBy: "receive:approval")])
        #expect(try await workflow.send(Approval(who: "Bob"), topic: "approval") == false)
    }

    @Test func whatNeverEndsIsSaid() async throws {
        let test = try WorkflowTest(testPlugin)
        let error = await #expect(throws: NeverEnds.self) { try await test.run("waits_for_ever", input: 0, as: String.self) }
        #expect(error?.description.contains(#"receive "receive:approval" is waiting"#) == true)
        // It still waits, and goes on.
        let workflow = test.workflows[0]
        try await workflow.send(Approval(who: "Ada"), topic: "approval")
        #expect(try await workflow.output() == "Ada")
    }

    @Test func twoWorkflowsTalk() async throws {
        let test = try WorkflowTest(testPlugin)
        let talker = try await test.start("talks", input: "listener", id: "talker")
        let failure = await #expect(throws: WorkflowFailure.self) { try await talker.output(as: String.self) }
        #expect(failure?.code == "unknown_workflow")

        let listener = try await test.start("listens", input: "second", id: "listener2")
        let second = try await test.start("talks", input: "listener2", id: "second")
        #expect(try await second.output() == "talks said one two")
        try await listener.end()
        #expect(second.event("state") == "ready")
        #expect(try listener.event("done", as: String.self) == "talks said one two")
        #expect(second.stream("words") == ["one", "two"])
        #expect(second.attributes == ["talked": true])
        #expect(listener.progress == 100)
    }

    @Test func children() async throws {
        let test = try WorkflowTest(testPlugin)
        let parent = try await test.start("parent", input: 3)
        #expect(try await parent.output() == 14)
        #expect(parent.children.map(\.status) == ["succeeded", "succeeded", "succeeded", "failed"])
        #expect(parent.children[3].failure?.code == "declined")
        // They waited at the same time.
        #expect(test.now == Date(timeIntervalSince1970: 1_767_225_600 + 100))
    }

    @Test func branches() async throws {
        let test = try WorkflowTest(testPlugin)
        #expect(try await test.run("parallel", input: 4) == [10, 20, 30, 40])
        #expect(test.now == Date(timeIntervalSince1970: 1_767_225_600 + 4))
        #expect(Set(test.workflows[0].steps.map(\.name)).contains("charge[3]/take"))
    }

    @Test func races() async throws {
        let test = try WorkflowTest(testPlugin)
        let late = try await test.start("races", input: 0)
        #expect(try await late.output() == "late")
        let inTime = try await test.start("races", input: 0)
        await test.advance(by: .seconds(599))
        try await inTime.send(Approval(who: "Ada"), topic: "approval")
        #expect(try await inTime.output() == "Ada")
    }

    @Test func compensation() async throws {
        let test = try WorkflowTest(testPlugin)
        for step in ["reserve", "charge", "release", "refund"] { test.stub(step, returning: Optional<Int>.none) }
        let workflow = try await test.start("undoes", input: 0)
        let failure = await #expect(throws: WorkflowFailure.self) { try await workflow.output(as: JSONValue.self) }
        #expect(failure?.as(Declined.self) == Declined(reason: "no truck"))
        #expect(test.stubCalls.map(\.step).suffix(2) == ["%compensate/refund", "%compensate/release"])
        await #expect(throws: WorkflowFailure.self) { try await workflow.resume() }
    }

    @Test func cancellationUndoes() async throws {
        let test = try WorkflowTest(testPlugin)
        let workflow = try await test.start("undoes", input: 0)
        #expect(await workflow.cancel(reason: "changed my mind"))
        #expect(workflow.status == "cancelled")
        #expect(workflow.statusReason == "request")
        #expect(workflow.steps.filter { $0.kind == "compensation" && $0.status == "succeeded" }.map(\.name) == ["%compensate/refund", "%compensate/release"])
        #expect(await workflow.cancel() == false)
    }

    @Test func aDeadlinePasses() async throws {
        let test = try WorkflowTest(testPlugin)
        let workflow = try await test.start("waits_for_ever", input: 0, timeout: .seconds(30))
        try await workflow.end()
        #expect(workflow.status == "failed")
        #expect(workflow.statusReason == "timeout")
        #expect(test.now == Date(timeIntervalSince1970: 1_767_225_600 + 30))
    }

    @Test func resumedAfterAFailure() async throws {
        let test = try WorkflowTest(testPlugin)
        test.stub("buy_label", throwing: NotRetried(Declined(reason: "closed")))
        let workflow = try await test.start("steps", input: Order())
        #expect(workflow.status == "failed")
        test.stub("buy_label", returning: Label(number: "PT2"))
        #expect(try await workflow.resume())
        #expect(try await workflow.output() == ["7", "8", "PT2"])
        #expect(test.count(of: "buy_label") == 2)
    }

    @Test func begunAnew() async throws {
        let test = try WorkflowTest(testPlugin)
        #expect(try await test.run("counts", input: 1) == 3)
        #expect(test.workflows.count == 1)
        #expect(test.workflows[0].steps.map(\.name) == ["count"])
    }

    @Test func valuesAreRepeatable() async throws {
        let values = try await [1, 1, 2].asyncMap { seed in try await WorkflowTest(testPlugin, seed: seed).run("values", input: 0, as: String.self) }
        #expect(values[0] == values[1])
        #expect(values[0] != values[2])
        #expect(values[0].hasSuffix("true"))
    }

    @Test func anUnknownNameStaysInTheQueue() async throws {
        let test = try WorkflowTest(testPlugin)
        let workflow = try await test.start("somebody_elses", input: 0)
        #expect(workflow.status == "enqueued")
        await #expect(throws: NeverEnds.self) { try await workflow.end() }
    }

    @Test func aBadInputIsSaid() async throws {
        let test = try WorkflowTest(testPlugin)
        let workflow = try await test.start("steps", input: ["id": "seven"])
        #expect(workflow.statusReason == "bad_input")
        #expect(workflow.failure?.message.contains("$.id") == true)
    }

    @Test func manyAtOnceInMilliseconds() async throws {
        let test = try WorkflowTest(testPlugin)
        let began = ContinuousClock.now
        for index in 0..<200 { try await test.start("waits", input: index) }
        await test.runToTheEnd()
        #expect(test.workflows.allSatisfy { $0.status == "succeeded" })
        #expect(ContinuousClock.now - began < .seconds(30))
    }
}

extension Array {
    func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
