import Foundation
import Locking
import Pawl
import PawlTesting
import Testing

// The plugin of docs/testing-handlers.md, and its examples, each as it stands there.

private struct Parcel: Codable, Sendable, Equatable {
    var id = 7
    var price = 12.5
}

private struct Ticket: Codable, Sendable, Equatable { var number: String }
private struct Consent: Codable, Sendable, Equatable { var who: String }
private struct CarrierDown: Error, Codable {}

private let parcel = Parcel()

private let plugin = Plugin("parcels") {
    Workflow("send_parcel") { (workflow: WorkflowContext, parcel: Parcel) in
        try await workflow.transaction("pay") { db in
            try await db.execute("UPDATE account SET balance = balance - $1", parcel.price)
        }
        let ticket = try await workflow.step("buy_ticket") { () -> Ticket in throw CarrierDown() }
        workflow.compensate("return_ticket") {}
        guard let consent = try await workflow.receive(Consent.self, topic: "consent", timeout: .seconds(3 * 86_400)) else {
            throw WorkflowFailure(code: "no_consent", message: "nobody consented in three days")
        }
        try await workflow.setEvent("consented", consent.who)
        return ticket
    }
}

@Suite struct TestingExamples {
    @Test func first() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { _ in .affected(1) }
        test.stub("buy_ticket", returning: Ticket(number: "T1"))

        let workflow = try await test.start("send_parcel", input: parcel)
        try await workflow.send(Consent(who: "Ada"), topic: "consent")
        #expect(try await workflow.output() == Ticket(number: "T1"))
        #expect(workflow.event("consented") == "Ada")
        #expect(workflow.steps.map(\.name) == ["pay", "buy_ticket", "receive:consent", "set_event:consented"])
    }

    @Test func stubs() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { _ in .affected(1) }
        test.stub("buy_ticket") { call -> Ticket in
            if call.attempt < 3 { throw CarrierDown() }
            return Ticket(number: "T\(call.attempt)")
        }
        test.stub("return_ticket", returning: true)

        let workflow = try await test.start("send_parcel", input: parcel)
        await test.advance(by: .seconds(60))
        #expect(workflow.step("buy_ticket")?.output == ["number": "T3"])
        #expect(test.count(of: "buy_ticket") == 3)

        try await workflow.end()
        #expect(workflow.failure?.code == "no_consent")
        #expect(test.now > Date(timeIntervalSince1970: 1_767_225_600) + 3 * 86_400)
        #expect(test.count(of: "%compensate/return_ticket") == 1)
    }

    @Test func sql() async throws {
        let test = try WorkflowTest(plugin)
        let balance = Locked(100.0)
        test.sql { call in
            guard let price = call.parameters[0].flatMap(Double.init) else { return .affected(0) }
            call.onCommit { balance.withLock { $0 -= price } }
            return .affected(1)
        }
        test.stub("buy_ticket", throwing: NotRetried(CarrierDown()))

        let workflow = try await test.start("send_parcel", input: parcel)
        #expect(workflow.failure?.code == "carrier_down")
        #expect(balance.withLock { $0 } == 87.5)
    }

    @Test func cancelled() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { _ in .affected(1) }
        test.stub("buy_ticket", returning: Ticket(number: "T1"))
        test.stub("return_ticket", returning: true)

        let workflow = try await test.start("send_parcel", input: parcel)
        await workflow.cancel(reason: "a change of mind")
        #expect(workflow.status == "cancelled")
        #expect(workflow.step("%compensate/return_ticket")?.status == "succeeded")
    }

    @Test func crashes() async throws {
        try await WorkflowTest.crashEverywhere(plugin) { test in
            test.sql { _ in .affected(1) }
            test.stub("buy_ticket", returning: Ticket(number: "T1"))
            let workflow = try await test.start("send_parcel", input: parcel)
            try await workflow.send(Consent(who: "Ada"), topic: "consent")
            return try await workflow.output(as: Ticket.self)
        }
    }

    @Test func replay() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { _ in .affected(1) }
        test.stub("buy_ticket", returning: Ticket(number: "T1"))
        let history = try await test.start("send_parcel", input: parcel).history

        let result = try await WorkflowTest.checkReplay(of: history, plugin: plugin)
        #expect(result.fits, "\(result)")
        #expect(result.unfinished == ["receive:consent"])
    }

    // MARK: The page

    @Test func thePageHoldsWhatRuns() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let page = try String(contentsOf: root.appendingPathComponent("docs/testing-handlers.md"), encoding: .utf8)
        let code = Self.lines(try String(contentsOf: URL(fileURLWithPath: #filePath), encoding: .utf8)[...])
        let examples = page.matches(of: #/```swift\n((?s:.*?))```/#).map { Self.lines($0.1) }
        #expect(examples.count >= 6)
        for example in examples { #expect(code.contains(example), "this is not in TestingExamples.swift: \(example)") }
    }

    /// Without indentation and empty lines.
    private static func lines(_ text: Substring) -> String {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }.joined(separator: "\n")
    }
}
