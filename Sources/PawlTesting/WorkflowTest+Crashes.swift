internal import FoundationEssentials
internal import Locking
internal import MemoryStore
public import Pawl
internal import WorkflowEngine

/// What ``WorkflowTest/crashEverywhere(_:_:)`` did.
public struct CrashReport: Sendable {
    /// How many runs crashed: one before and one after each write.
    public let crashes: Int
}

/// A crash changed what came of a workflow.
public struct CrashDifference: Error, CustomStringConvertible {
    /// Where the worker crashed.
    public let crash: String
    /// What was otherwise than without the crash.
    public let differences: [String]
    public var description: String { "after a crash \(crash):\n" + differences.map { "  \($0)" }.joined(separator: "\n") }
}

extension WorkflowTest {
    /// Runs a scenario once undisturbed, and then once for each point at which a worker can crash: before and after each of its writes. Each time a new
    /// worker recovers what was interrupted, and all must end as it did without the crash:
    /// the scenario's result, or its failure; each workflow's status, output and error; its steps and what they came to (but for the times in `now`);
    /// messages received, events, streams that steps wrote, attributes, children. The SQL of each transaction is committed exactly once, and a stubbed body is
    /// run at most once more than without the crash, and not less often.
    ///
    /// ```swift
    /// try await WorkflowTest.crashEverywhere(plugin) { test in
    ///     test.stub("buy_label", returning: label)
    ///     test.sql { _ in .affected(1) }
    ///     return try await test.run("ship_order", input: order, as: Receipt.self)
    /// }
    /// ```
    /// - Parameters:
    ///   - scenario: Sets the test up and runs workflows in it. Called many times, each with a new test.
    /// - Throws: ``CrashDifference`` at the first crash that changed something.
    @discardableResult
    public static func crashEverywhere<Result: Equatable & Sendable>(
        _ plugin: Plugin, seed: UInt64 = 1, patience: Duration = .seconds(10), _ scenario: @Sendable (WorkflowTest) async throws -> Result
    ) async throws -> CrashReport {
        let expected = try await ending(plugin, seed, patience, crashAt: 0, scenario)
        var crashes = 0
        while true {
            let actual = try await ending(plugin, seed, patience, crashAt: crashes + 1, scenario)
            guard let crash = actual.crash else { return CrashReport(crashes: crashes) }
            crashes += 1
            var differences: [String] = []
            if actual.result != expected.result { differences.append("the scenario came to \(actual.result.text), and without it to \(expected.result.text)") }
            differences += expected.picture.differences(to: actual.picture)
            if !differences.isEmpty { throw CrashDifference(crash: crash, differences: differences) }
        }
    }

    private enum ScenarioResult<Value: Equatable & Sendable>: Equatable, Sendable {
        case value(Value)
        case failure(WorkflowFailure)
        var text: String {
            switch self {
            case .value(let value): "\(value)"
            case .failure(let failure): "the failure \"\(failure)\""
            }
        }
    }

    private static func ending<Value: Equatable & Sendable>(
        _ plugin: Plugin, _ seed: UInt64, _ patience: Duration, crashAt point: Int, _ scenario: @Sendable (WorkflowTest) async throws -> Value
    ) async throws -> (result: ScenarioResult<Value>, picture: Picture, crash: String?) {
        let state = Locked<(points: Int, crash: String?)>((0, nil))
        let test = try WorkflowTest(
            plugin, startingAt: Date(timeIntervalSince1970: 1_767_225_600), seed: seed, patience: patience,
            crash: { reached in
                state.withLock { state in
                    state.points += 1
                    guard state.points == point else { return false }
                    state.crash = reached.text
                    return true
                }
            })
        let result: ScenarioResult<Value>
        do {
            result = .value(try await scenario(test))
        } catch let failure as WorkflowFailure {
            result = .failure(failure)
        } catch  where state.withLock({ $0.crash }) != nil {
            throw CrashDifference(crash: state.withLock { $0.crash } ?? "", differences: ["the scenario threw \(error)"])
        }
        return (result, await test.thread.perform { Picture(test) }, state.withLock { $0.crash })
    }
}

extension MemoryStore.Point {
    /// For people.
    var text: String {
        let what =
            switch request {
            case "claim": "a claim"
            case "park": "a parking"
            case "emit": "the write of a stream or of progress"
            case "release": "a release"
            case _ where steps.isEmpty: "the write of a workflow's end"
            default: "the write of " + steps.map { "\"\($0)\"" }.joined(separator: ", ")
            }
        return "\(side == .before ? "before" : "after") \(what)"
    }
}

/// Everything that a crash must not change.
private struct Picture: Sendable {
    /// By what it is, for people.
    var facts: [String: String] = [:]
    var bodies: [String: Int] = [:]

    init(_ test: WorkflowTest) {
        for row in test.database.workflows {
            let name = "workflow \"\(row.id)\""
            facts["the end of \(name)"] = "\(row.status.rawValue) \(row.reason ?? "") \(Self.text(row.outcome))"
            for step in row.steps.values {
                facts["step \"\(step.name)\" of \(name)"] = "\(step.kind) \(step.status.rawValue) \(step.kind == "now" ? "" : Self.text(step.outcome))"
            }
            for (index, message) in row.messages.enumerated() {
                facts["message \(index + 1) of \(name)"] = "\(message.topic) \(message.message.description) received by \(message.consumedBy ?? "nobody")"
            }
            for (index, event) in row.events.enumerated() { facts["event \(index + 1) of \(name)"] = "\(event.key) \(event.value.description)" }
            for (key, stream) in row.streams {
                let written = stream.entries.filter { row.steps[$0.stepName]?.kind == StepKind.writeStream.rawValue }.map(\.value.description)
                facts["stream \"\(key)\" of \(name)"] = "\(written) \(stream.isClosed ? "closed" : "open")"
            }
            facts["the attributes of \(name)"] = row.attributes?.description ?? "none"
        }
        for (step, statements) in test.database.committed {
            facts["what committed in \(step)"] = statements.joined(separator: "; ")
        }
        for call in test.stubCalls { bodies["\"\(call.step)\" of workflow \"\(call.workflowID)\"", default: 0] += 1 }
    }

    private static func text(_ outcome: Outcome?) -> String {
        switch outcome {
        case .success(let output): StoredJSON(output)?.description ?? ""
        case .failure(let error): error.json.description
        case nil: ""
        }
    }

    func differences(to actual: Picture) -> [String] {
        var differences: [String] = []
        for fact in Set(facts.keys).union(actual.facts.keys).sorted() where facts[fact] != actual.facts[fact] {
            differences.append("\(fact) is \(actual.facts[fact] ?? "missing"), and without it \(facts[fact] ?? "missing")")
        }
        for body in Set(bodies.keys).union(actual.bodies.keys).sorted() {
            let (before, after) = (bodies[body] ?? 0, actual.bodies[body] ?? 0)
            if after < before || after > before + 1 { differences.append("the stub of \(body) was called \(after) times, and without it \(before) times") }
        }
        return differences
    }
}
