import Foundation
import Locking
import Pawl
import PawlTesting
import Testing

/// Every feature under a crash before and after each of its writes.
@Suite struct CrashEverywhereTests {
    struct Scenario: Sendable, CustomTestStringConvertible {
        var name: String
        var crashes: Int
        var run: @Sendable (WorkflowTest) async throws -> JSONValue
        var testDescription: String { name }
    }

    static let scenarios = [
        Scenario(name: "steps", crashes: 10) { test in
            test.stub("buy_label", returning: Label(number: "PT1"))
            return try await test.run("steps", input: Order())
        },
        Scenario(name: "transactions", crashes: 8) { test in
            let balance = Locked(100.0)
            test.sql { call in
                if call.isTransaction { call.onCommit { balance.withLock { $0 -= 12.5 } } }
                return call.isTransaction ? .affected(1) : try .rows(["balance"], [[balance.withLock { $0 }]])
            }
            return try await test.run("money", input: Order())
        },
        Scenario(name: "retries", crashes: 10) { test in
            test.stub("flaky") { call -> Int in
                if call.attempt < 3 { throw Declined(reason: "not yet") }
                return 42
            }
            return try await test.run("retried", input: 1)
        },
        Scenario(name: "waits", crashes: 12) { test in
            let workflow = try await test.start("waits", input: 0)
            await test.advance(by: .seconds(100))
            try await workflow.send(Approval(who: "Ada"), topic: "approval")
            return try await workflow.output()
        },
        Scenario(name: "timeouts", crashes: 12) { test in try await test.run("waits", input: 0) },
        Scenario(name: "talk", crashes: 20) { test in
            try await test.start("listens", input: "talker", id: "listener")
            return try await test.run("talks", input: "listener", id: "talker")
        },
        Scenario(name: "children", crashes: 20) { test in try await test.run("parent", input: 2) },
        Scenario(name: "branches", crashes: 10) { test in try await test.run("parallel", input: 3) },
        Scenario(name: "races", crashes: 6) { test in try await test.run("races", input: 0) },
        Scenario(name: "compensation", crashes: 14) { test in
            for step in ["reserve", "charge", "release", "refund"] { test.stub(step, returning: Optional<Int>.none) }
            return try await test.run("undoes", input: 0)
        },
        Scenario(name: "cancellation", crashes: 10) { test in
            for step in ["reserve", "charge", "release", "refund"] { test.stub(step, returning: Optional<Int>.none) }
            let workflow = try await test.start("undoes", input: 0)
            await workflow.cancel()
            return try await workflow.output()
        },
        Scenario(name: "continue as new", crashes: 12) { test in try await test.run("counts", input: 1) },
        Scenario(name: "values", crashes: 8) { test in
            _ = try await test.run("values", input: 0, as: String.self)
            return test.workflows[0].steps.filter { $0.kind != "now" }.map(\.output?.string).description.json
        },
    ]

    @Test(arguments: scenarios)
    func endsTheSame(_ scenario: Scenario) async throws {
        let report = try await WorkflowTest.crashEverywhere(testPlugin) { try await scenario.run($0) }
        #expect(report.crashes >= scenario.crashes)
    }

    /// It notices a handler that does not survive a crash.
    @Test func aDifferenceIsSeen() async throws {
        let runs = Locked(0)
        let careless = Plugin("careless") {
            Workflow("careless") { (workflow: WorkflowContext, _: Int) in
                // Outside of any step: another value in each run.
                let run = runs.withLock { runs in
                    runs += 1; return runs
                }
                let first = try await workflow.step("a") { 1 }
                return first + run * 0 + workflow.recoveries
            }
        }
        let difference = await #expect(throws: CrashDifference.self) {
            try await WorkflowTest.crashEverywhere(careless) { try await $0.run("careless", input: 0, as: Int.self) }
        }
        #expect(difference?.description.contains("came to 2, and without it to 1") == true)
    }

    @Test func aHandlerThatSwallowsEverythingIsStillRecovered() async throws {
        try await WorkflowTest.crashEverywhere(testPlugin) { test in
            let workflow = try await test.start("swallows", input: 0)
            try await workflow.send(Approval(who: "Ada"), topic: "approval")
            return try await workflow.output(as: Int.self)
        }
    }
}

extension String {
    var json: JSONValue { .string(self) }
}
