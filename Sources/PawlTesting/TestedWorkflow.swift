public import FoundationEssentials
internal import MemoryStore
public import Pawl
internal import WorkflowEngine

/// A workflow of a ``WorkflowTest``. What it shows is as of now; nothing moves while it is looked at.
public struct TestedWorkflow: Sendable {
    let test: WorkflowTest
    /// Its `workflow_id`.
    public let id: String

    var row: MemoryDatabase.Workflow { test.database.workflow(id) }

    /// The word in `pawl.workflows`: `enqueued`, `delayed`, `running`, `waiting`, `succeeded`, `failed`, `cancelled`.
    public var status: String { row.status.rawValue }
    /// Why it ended so: `error`, `timeout`, `determinism`, `bad_input`, `crashes`, `request`, `parent`; nil: it succeeded, or has not ended.
    public var statusReason: String? { row.reason }
    /// What it failed with, or nil.
    public var failure: WorkflowFailure? { if case .failure(let error)? = row.outcome { error.failure } else { nil } }
    /// How often a crash interrupted it.
    public var recoveries: Int { Int(row.recoveries) }
    /// The latest progress that it reported.
    public var progress: JSONValue? { row.progress.map(\.value) }
    /// What users search by.
    public var attributes: JSONValue? { row.attributes.map(\.value) }
    /// Its children, in the order in which they were started.
    public var children: [TestedWorkflow] {
        test.database.workflows.filter { row.children.contains($0.key) }.map { TestedWorkflow(test: test, id: $0.id) }
    }

    /// Its steps in the order in which they were begun.
    public var steps: [TestedStep] {
        row.steps.values.sorted { ($0.number, $0.name) < ($1.number, $1.name) }.map(TestedStep.init)
    }

    /// The step of that full name; nil: it was not begun, or is not recorded.
    public func step(_ name: String) -> TestedStep? { row.steps[name].map(TestedStep.init) }

    /// Messages that were sent to it, in order.
    public var messages: [TestedMessage] {
        row.messages.map { TestedMessage(topic: $0.topic, message: $0.message.value, receivedBy: $0.consumedBy) }
    }

    /// The latest value of one of its events; nil: it was not set.
    public func event(_ key: String) -> JSONValue? { row.event(key)?.value }

    /// The latest value of one of its events, as a value of your own type.
    public func event<Value: Decodable>(_ key: String, as type: Value.Type) throws -> Value? { try row.event(key)?.decoded(type) }

    /// The values of one of its streams, in order.
    public func stream(_ key: String) -> [JSONValue] { (row.streams[key]?.entries ?? []).map(\.value.value) }

    /// What `pawl.export_workflow` would answer: for ``WorkflowTest/checkReplay(of:plugin:version:)``.
    public var history: Data { Data(row.exported.bytes) }

    // MARK: What others do

    /// Sends it a message; then it goes on as far as it can without time passing. False: it had ended.
    @discardableResult
    public func send(_ message: some Encodable & Sendable, topic: String = "") async throws -> Bool {
        let message = try StoredJSON(encoding: message)
        return await test.act { $0.database.send(message, to: self.id, topic: topic) ?? false }
    }

    /// Asks for its cancellation; then it goes on as far as it can without time passing. False: it had ended.
    @discardableResult
    public func cancel(reason: String? = nil) async -> Bool { await test.act { $0.database.cancel(self.id, reason: reason) ?? false } }

    /// Resumes it after it failed or was cancelled, as `pawl.resume_workflow` does.
    @discardableResult
    public func resume(version: Int? = nil) async throws -> Bool {
        let answer = await test.act { $0.database.resume(self.id, version: version.map { Int32($0) }) }
        switch answer {
        case .success(let resumed): return resumed
        case .failure(let error): throw error.failure
        }
    }

    /// Lets time pass, as much as it takes, until it has ended, and returns its output.
    /// - Throws: ``WorkflowFailure`` with what it failed with (of a cancelled one the code is `cancelled`); ``NeverEnds`` if it waits for something that
    ///   nobody here will do.
    public func output<Output: Decodable>(as type: Output.Type = Output.self) async throws -> Output {
        try await end()
        switch row.outcome {
        case .success(let output)?: return try PayloadAccess.decode(type, from: Data(output))
        case .failure(let error)?: throw error.failure
        case nil: throw NeverEnds(test.pictures())
        }
    }

    /// Lets time pass, as much as it takes, until it has ended.
    /// - Throws: ``NeverEnds``.
    public func end() async throws { try await test.run(until: { $0.database.workflow(self.id).isEnded }) }
}

/// A recorded step.
public struct TestedStep: Sendable {
    /// Its full name: `buy_label`, `charge[42]/reserve#2`.
    public let name: String
    /// `step`, `transaction`, `sleep`, …: the word in `pawl.workflow_steps`.
    public let kind: String
    /// `waiting`, `retrying`, `succeeded` or `failed`.
    public let status: String
    /// How many attempts were made.
    public let attempts: Int
    /// What it succeeded with, as recorded: of a wait {"value": …}.
    public let output: JSONValue?
    /// What it failed with; of a retrying one, its latest attempt.
    public let failure: WorkflowFailure?

    init(_ step: MemoryDatabase.Step) {
        name = step.name
        kind = step.kind
        status = step.status.rawValue
        attempts = Int(step.attempts)
        switch step.outcome {
        case .success(let output)?: (self.output, failure) = (StoredJSON(output)?.value ?? .null, nil)
        case .failure(let error)?: (output, failure) = (nil, error.failure)
        case nil: (output, failure) = (nil, nil)
        }
    }
}

/// A message to a workflow.
public struct TestedMessage: Sendable, Hashable {
    public let topic: String
    public let message: JSONValue
    /// The step that received it; nil: none has yet.
    public let receivedBy: String?

    public init(topic: String, message: JSONValue, receivedBy: String?) {
        self.topic = topic
        self.message = message
        self.receivedBy = receivedBy
    }
}

/// A workflow waits for what nobody in the test will do: a message, a signal from outside, a body that never returns.
public struct NeverEnds: Error, CustomStringConvertible {
    public let description: String
    init(_ picture: String) { description = "nothing will happen any more:\n\(picture)" }
}

extension StoredJSON {
    init(encoding value: some Encodable) throws {
        guard let json = StoredJSON(JSONBytes(try PayloadAccess.encode(value))) else {
            throw WorkflowFailure(code: "bad_value", message: "the value is not encoded as JSON")
        }
        self = json
    }

    func decoded<Value: Decodable>(_ type: Value.Type) throws -> Value { try PayloadAccess.decode(type, from: Data(bytes)) }

    var value: JSONValue {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .number(let text): Int(text).map { .integer($0) } ?? .number(Double(text) ?? .nan)
        case .string(let text): .string(text)
        case .array(let values): .array(values.map(\.value))
        case .object(let members): .object(members.mapValues(\.value))
        }
    }
}
