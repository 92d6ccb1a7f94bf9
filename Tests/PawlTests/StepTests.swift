import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

struct Order: Codable, Sendable, Equatable {
    var id: Int
    var sku: String
    var quantity: Int
}

struct OutOfStock: Error, Codable, Equatable, CustomStringConvertible {
    var sku: String
    var description: String { "no \(sku) left" }
}

/// How often bodies ran.
final class Counter: Sendable {
    private let value = Locked(0)
    func add() { value.withLock { $0 += 1 } }
    func remove() { value.withLock { $0 -= 1 } }
    var count: Int { value.withLock { $0 } }
}

@Suite struct StepTests {
    @Test func aWorkflowRunsRecordsAndReplays() async throws {
        let bodies = Counter()
        let host = FakeHost(
            Plugin("shop") {
                Workflow("ship", version: 2) { (workflow: WorkflowContext, order: Order) in
                    let label = try await workflow.step("label") {
                        bodies.add()
                        return "L\(order.id)"
                    }
                    let count = try await workflow.step("count") {
                        bodies.add()
                        return order.quantity * 2
                    }
                    try await workflow.step("notify") { bodies.add() }
                    return [label: count]
                }
            })
        #expect(host.registered == 0)
        let first = try await host.run("ship", version: 2, input: #"{"id":7,"sku":"lamp","quantity":3}"#)
        #expect(first.output == #"{"L7":6}"#)
        #expect(
            first.recorded == [
                "label": .value(kind: "step", "\"L7\""), "count": .value(kind: "step", "6"), "notify": .value(kind: "step", "null"),
            ])
        #expect(bodies.count == 3)
        let second = try await host.run("ship", version: 2, input: #"{"id":7,"sku":"lamp","quantity":3}"#, recorded: first.recorded)
        #expect(second.output == first.output)
        #expect(bodies.count == 3)
        #expect(second.state.withLock { $0.finishes } == 1)
    }

    @Test func repeatsOfANameAreStepsOfTheirOwn() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext, count: Int) in
                    var values: [Int] = []
                    for index in 0..<count { values.append(try await workflow.step("a") { index * 10 }) }
                    return values
                }
            })
        let run = try await host.run("x", input: "3")
        #expect(run.output == "[0,10,20]")
        #expect(Set(run.recorded.keys) == ["a", "a#2", "a#3"])
    }

    @Test func aFailureIsTheSameTheFirstTimeAndOnEveryReplay() async throws {
        struct Plain: Error {}
        let seen = Locked<[WorkflowFailure]>([])
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext, which: String) in
                    do {
                        try await workflow.step("fails") {
                            switch which {
                            case "codable": throw OutOfStock(sku: "lamp")
                            case "coded": throw WorkflowFailure(code: "declined", message: "The card was declined.")
                            default: throw Plain()
                            }
                        }
                    } catch let failure as WorkflowFailure {
                        seen.withLock { $0.append(failure) }
                        throw failure
                    }
                }
            })
        for which in ["codable", "coded", "plain"] {
            let first = try await host.run("x", input: "\"\(which)\"")
            let second = try await host.run("x", input: "\"\(which)\"", recorded: first.recorded)
            #expect(first.outcome == second.outcome)
            #expect(first.outcome?.status == PawlStatus.error)
        }
        let failures = seen.withLock { $0 }
        #expect(failures.count == 6)
        #expect(failures[0] == failures[1] && failures[2] == failures[3] && failures[4] == failures[5])
        #expect(failures[1].as(OutOfStock.self) == OutOfStock(sku: "lamp"))
        #expect(failures[1].code == "out_of_stock")
        #expect(failures[1].type == "OutOfStock")
        #expect(failures[1].message == "no lamp left")
        #expect(failures[3].code == "declined")
        #expect(failures[3].as(OutOfStock.self) == nil)
        #expect(failures[5].code == "plain")
    }

    @Test func aValueIsTheSameTheFirstTimeAndOnEveryReplay() async throws {
        // Finer than what is recorded: the first run must not see what no replay will.
        let instant = Date(timeIntervalSince1970: 1_763_721_136.123_456_789)
        let seen = Locked<[Date]>([])
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    let date = try await workflow.step("now") { instant }
                    seen.withLock { $0.append(date) }
                }
            })
        let first = try await host.run("x")
        #expect(first.recorded == ["now": .value(kind: "step", "\"2025-11-21T10:32:16.123457Z\"")])
        _ = try await host.run("x", recorded: first.recorded)
        let dates = seen.withLock { $0 }
        #expect(dates.count == 2 && dates[0] == dates[1])
    }

    @Test func aResultThatCannotBeReadBackFailsBeforeItIsRecorded() async throws {
        struct OneWay: Codable, Sendable {
            init() {}
            init(from decoder: any Decoder) throws { _ = try decoder.singleValueContainer().decode(String.self) }
            func encode(to encoder: any Encoder) throws {
                var container = encoder.singleValueContainer()
                try container.encode(1)
            }
        }
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    try await workflow.step("one_way") { OneWay() }
                }
            })
        let run = try await host.run("x")
        #expect(run.failure?.code == "bad_result")
        guard case .failure(_, let recorded) = run.recorded["one_way"] else {
            Issue.record("recorded \(run.recorded)")
            return
        }
        #expect(recorded.code == "bad_result")
    }

    @Test func nilIsAResult() async throws {
        let bodies = Counter()
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    let none: Int? = try await workflow.step("none") {
                        bodies.add()
                        return Int?.none
                    }
                    let some: Int? = try await workflow.step("some") {
                        bodies.add()
                        return 4 as Int?
                    }
                    return [none, some]
                }
            })
        let first = try await host.run("x")
        #expect(first.output == "[null,4]")
        let second = try await host.run("x", recorded: first.recorded)
        #expect(second.output == "[null,4]")
        #expect(bodies.count == 2)
    }

    @Test func inputThatDoesNotFitIsSaidWithItsPath() async throws {
        struct Basket: Codable, Sendable { var orders: [Order] }
        let host = FakeHost(Plugin("x") { Workflow("x") { (_: WorkflowContext, _: Basket) in } })
        let wrong = try await host.run("x", input: #"{"orders":[{"id":1,"sku":"a","quantity":1},{"id":1,"sku":"a","quantity":"many"}]}"#)
        #expect(wrong.failure?.code == "bad_input")
        #expect(wrong.failure?.message.contains("$.orders[1].quantity") == true)
        #expect(wrong.failure?.detail.map { String(decoding: $0, as: UTF8.self) } == #"{"path":"$.orders[1].quantity"}"#)
        let missing = try await host.run("x", input: #"{"orders":[{"id":1,"quantity":1}]}"#)
        #expect(missing.failure?.message == "the input is no Basket: $.orders[0].sku is missing")
        let null = try await host.run("x", input: "null")
        #expect(null.failure?.code == "bad_input")
        #expect(null.failure?.message.contains("$") == true)
        let noJSON = try await host.run("x", input: "{")
        #expect(noJSON.failure?.code == "bad_input")
        #expect(noJSON.failure?.message.contains("$") == true)
    }

    /// Each kind of error that Codable has, and one of the type's own.
    @Test func everyErrorOfDecodingSaysWhere() {
        enum Level: String, Codable { case low }
        struct Own: Decodable {
            init(from decoder: any Decoder) throws { throw OutOfStock(sku: "lamp") }
        }
        struct Input: Decodable {
            var when: Date?
            var level: Level?
            var price: [String: Int]?
            var own: [Own]?
        }
        func problem(_ json: String) -> String {
            let result = Result { try PayloadCoding.decodeInput(Input.self, from: Data(json.utf8)) }
            guard case .failure(let failure as WorkflowFailure) = result else { return "\(result)" }
            return failure.code + " " + (failure.detail.map { String(decoding: $0, as: UTF8.self) } ?? "") + " " + failure.message
        }
        #expect(problem(#"{"when":"soon"}"#).contains(#"{"path":"$.when"}"#))
        #expect(problem(#"{"level":"high"}"#).contains(#"{"path":"$.level"}"#))
        #expect(problem(#"{"price":{"a b":"x"}}"#).contains(#"$[\"a b\"]"#) || problem(#"{"price":{"a b":"x"}}"#).contains(#"$.price[\"a b\"]"#))
        #expect(problem(#"{"own":[1]}"#).hasPrefix("bad_input"))
        #expect(problem(#"{"own":[1]}"#).contains("no lamp left"))
        #expect(problem("[]").hasPrefix(#"bad_input {"path":"$"}"#))
        #expect(problem("nonsense").hasPrefix(#"bad_input {"path":"$"}"#))
    }

    @Test func aRecordedResultOfAnotherTypeIsADeterminismFailure() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in try await workflow.step("a") { 1 } }
            })
        let run = try await host.run("x", recorded: ["a": .value(kind: "step", "\"text\"")])
        #expect(run.failure?.code == "determinism")
        #expect(run.failure?.message.contains("step \"a\"") == true)
        let otherKind = try await host.run("x", recorded: ["a": .value(kind: "transaction", "1")])
        #expect(otherKind.failure?.code == "determinism")
    }

    @Test func identityIsWhatTheHostSaid() async throws {
        let host = FakeHost(
            Plugin("x") {
                Workflow("x", version: 3) { (workflow: WorkflowContext) in
                    #expect(workflow.workflowID == "workflow-1")
                    #expect(workflow.workflowName == "x")
                    #expect(workflow.version == 3)
                    #expect(workflow.recoveries == 2)
                    #expect(workflow.priority == -3)
                    #expect(workflow.queue == "default")
                    #expect(workflow.partitionKey == nil)
                    #expect(workflow.headers?["traceparent"]?.string == "00-1")
                    #expect(workflow.attributes == nil)
                    #expect(workflow.createdAt.timeIntervalSince1970 == 1_763_721_136.123_456)
                    #expect(workflow.attempt == 4)
                    #expect(workflow.deadline?.timeIntervalSince1970 == 1_763_807_536)
                    #expect(workflow.parentWorkflowID == "default")
                    #expect(!workflow.isCancelled)
                    workflow.log.warning("careful")
                }
            })
        let run = try await host.run("x", version: 3, headers: #"{"traceparent":"00-1"}"#)
        #expect(run.output == "null")
        #expect(host.logLines.withLock { $0 } == ["4 run careful"])
    }
}

@Suite struct RegistrationTests {
    @Test func anotherInterfaceVersionAndAnOlderHostAreRefused() {
        let plugin = Plugin("x") { Workflow("x") { (_: WorkflowContext) in } }
        #expect(FakeHost(plugin, version: 2).registered == 1)
        #expect(FakeHost(plugin, size: MemoryLayout<pawl_host>.offset(of: \.query)!).registered == 2)
        #expect(FakeHost(plugin, size: MemoryLayout<pawl_host>.offset(of: \.call)!).registered == 0)
        #expect(FakeHost(plugin, size: MemoryLayout<pawl_host>.size + 8).registered == 0)
    }

    @Test func whatTheHostRefusesIsNamedInItsLog() {
        let twice = FakeHost(
            Plugin("x") {
                Workflow("same") { (_: WorkflowContext) in }
                Workflow("same") { (_: WorkflowContext) in }
            })
        #expect(twice.registered == 3)
        #expect(twice.logLines.withLock { $0.count } == 1)
        #expect(twice.logLines.withLock { $0.first?.contains("\"same\" version 1") } == true)
        let zero = FakeHost(Plugin("x") { Workflow("a", version: 0) { (_: WorkflowContext) in } })
        #expect(zero.registered == 3)
    }

    @Test func pluginsAreBuiltWithOrdinarySwift() {
        let more = true
        let host = FakeHost(
            Plugin("x") {
                Workflow("a") { (_: WorkflowContext) in }
                Workflow("a", version: 2) { (_: WorkflowContext) in 1 }
                if more { Workflow("b") { (_: WorkflowContext) in } }
                for index in 1...2 { Workflow("c\(index)") { (_: WorkflowContext) in index } }
            })
        #expect(host.registered == 0)
        #expect(host.handlers.withLock { $0.count } == 5)
    }
}
