internal import CPawlPlugin
internal import FoundationEssentials

/// A workflow that another one has started. Sendable and Codable: it can be returned from a branch, or be sent on.
public struct ChildWorkflow<Output: Decodable>: Sendable, Codable, Hashable {
    /// Its id.
    public let workflowID: String
    /// The name it was started under.
    public let workflowName: String

    /// A workflow that is there already, to be awaited like a child.
    public init(workflowID: String, workflowName: String, returning output: Output.Type = Output.self) {
        self.workflowID = workflowID
        self.workflowName = workflowName
    }
}

/// A child that has ended.
public struct FinishedChild<Output: Decodable> {
    /// Which one.
    public let child: ChildWorkflow<Output>
    /// Its place, from 0, among those that were awaited.
    public let index: Int
    /// What it came to. A failure has the code, type and detail of the child's own, which is its ``WorkflowFailure/cause``; of one that was cancelled the code
    /// is `child_cancelled`.
    public let result: Result<Output, WorkflowFailure>
}

extension FinishedChild: Sendable where Output: Sendable {}

extension WorkflowContext {
    /// Starts a workflow as a child of this one, and goes on without waiting for it.
    ///
    /// It is started once, however often a crash interrupts this. It inherits the headers, attributes, priority and partition key of this workflow unless
    /// they are given, its deadline is at most this one's, and it is cancelled with this one, unless it is detached.
    /// - Parameters:
    ///   - workflowName: the name its handler has.
    ///   - input: anything that encodes as JSON.
    ///   - output: what it ends with, for ``result(of:name:)``.
    ///   - workflowID: an id of its own choosing; one that exists under the same name becomes the child, and nothing is started.
    ///   - delay: how long it is not to start.
    ///   - timeout: from its first start on, waits included.
    ///   - version: the version of the handler that it is pinned to.
    ///   - headers: instead of this workflow's.
    ///   - attributes: instead of this workflow's.
    ///   - detached: whether it goes on when this workflow is cancelled.
    ///   - name: the step's name; `start:` and the workflow's name unless given.
    /// - Throws: ``WorkflowFailure`` with the SQLSTATE of what `pawl.enqueue_workflow` refuses. ``WorkflowCancelled``.
    public func start<Output: Decodable>(
        _ workflowName: String, _ input: some Encodable, returning output: Output.Type = JSONValue.self, workflowID: String? = nil,
        queue: String? = nil, priority: Int? = nil, partitionKey: String? = nil, delay: Duration? = nil, timeout: Duration? = nil,
        version: Int? = nil, headers: JSONValue? = nil, attributes: JSONValue? = nil, detached: Bool = false, name: String? = nil
    ) async throws -> ChildWorkflow<Output> {
        let arguments = CallArguments().text("workflow_name", workflowName)
            .json("input", try PayloadCoding.encodeSent(input, what: "the input of \"\(workflowName)\""))
            .text("workflow_id", workflowID).text("queue", queue).integer("priority", priority).text("partition_key", partitionKey)
            .seconds("delay", delay).seconds("timeout", timeout).integer("workflow_version", version)
            .json("headers", try headers.map { try PayloadCoding.encode($0) }).json("attributes", try attributes.map { try PayloadCoding.encode($0) })
            .flag("detached", detached)
        let started = try await call("start_child", name: name ?? Self.name("start", workflowName), arguments, as: StartedChild.self)
        return ChildWorkflow(workflowID: started.workflowID, workflowName: workflowName)
    }

    /// Waits until a child has ended, and gives its output.
    /// - Parameter name: the step's name; `result:` and the workflow's name unless given.
    /// - Throws: ``WorkflowFailure`` if it did not succeed, with the code, type and detail of the child's error, so that ``WorkflowFailure/as(_:)`` gives
    ///   back what its handler threw; of one that was cancelled the code is `child_cancelled`, of one whose output was redacted `redacted`.
    ///   ``WorkflowCancelled``.
    public func result<Output: Decodable>(of child: ChildWorkflow<Output>, name: String? = nil) async throws -> Output {
        let arguments = CallArguments().text("workflow_id", child.workflowID)
        let json = try await call("await_child", name: name ?? Self.name("result", child.workflowName), arguments)
        return try Self.output(Output.self, json ?? PayloadCoding.null, child.workflowName)
    }

    /// Waits for so long until a child has ended, and gives its output; nil: it has not. The child goes on.
    /// - Throws: as ``result(of:name:)``.
    public func result<Output: Decodable>(of child: ChildWorkflow<Output>, timeout: Duration, name: String? = nil) async throws -> Output? {
        let arguments = CallArguments().text("workflow_id", child.workflowID).seconds("timeout", timeout)
        guard let json = try await call("await_child", name: name ?? Self.name("result", child.workflowName), arguments) else { return nil }
        return .some(try Self.output(Output.self, json, child.workflowName))
    }

    static func output<Output: Decodable>(_ type: Output.Type, _ json: Data, _ workflowName: String) throws -> Output {
        try PayloadCoding.decodeReceived(type, from: json, code: "bad_output", what: "the output of \"\(workflowName)\"")
    }

    /// Waits until all of them have ended, and gives their outputs in the order given.
    /// - Throws: the failure of the first, in that order, that did not succeed, once all have ended: as ``result(of:name:)``.
    public func all<Output: Decodable>(_ children: [ChildWorkflow<Output>], name: String = "all") async throws -> [Output] {
        try await allFinished(children, name: name).map { try $0.result.get() }
    }

    /// Waits until all of them have ended, and says of each what it came to, in the order given.
    /// - Throws: ``WorkflowFailure`` with code `bad_output` and the JSON path if an output is no `Output`. ``WorkflowCancelled``.
    public func allFinished<Output: Decodable>(_ children: [ChildWorkflow<Output>], name: String = "all") async throws -> [FinishedChild<Output>] {
        try await finished(children, "all", nil, name, as: [FinishedRecord<Output>].self)?.enumerated().map {
            FinishedChild(child: children[$0.offset], index: $0.offset, result: $0.element.result)
        } ?? []
    }

    /// Waits for so long until all of them have ended; nil: they have not.
    /// - Throws: as ``allFinished(_:name:)``.
    public func allFinished<Output: Decodable>(
        _ children: [ChildWorkflow<Output>], timeout: Duration, name: String = "all"
    ) async throws -> [FinishedChild<Output>]? {
        try await finished(children, "all", timeout, name, as: [FinishedRecord<Output>].self)?.enumerated().map {
            FinishedChild(child: children[$0.offset], index: $0.offset, result: $0.element.result)
        }
    }

    /// Waits until one of them has ended, and says which, and what it came to. The others go on.
    /// - Throws: ``WorkflowFailure`` with code `bad_output` and the JSON path if its output is no `Output`. ``WorkflowCancelled``.
    public func any<Output: Decodable>(_ children: [ChildWorkflow<Output>], name: String = "any") async throws -> FinishedChild<Output> {
        guard let finished = try await any(children, nil, name) else {
            throw WorkflowMisuse(code: "unknown_answer", message: "the host ended \"\(name)\" although no child has ended")
        }
        return finished
    }

    /// Waits for so long until one of them has ended; nil: none has.
    /// - Throws: as ``any(_:name:)``.
    public func any<Output: Decodable>(
        _ children: [ChildWorkflow<Output>], timeout: Duration, name: String = "any"
    ) async throws -> FinishedChild<Output>? {
        try await any(children, timeout, name)
    }

    private func any<Output>(_ children: [ChildWorkflow<Output>], _ timeout: Duration?, _ name: String) async throws -> FinishedChild<Output>? {
        guard let first = try await finished(children, "any", timeout, name, as: FinishedRecord<Output>.self) else { return nil }
        guard let index = children.firstIndex(where: { $0.workflowID == first.workflowID }) else {
            throw WorkflowMisuse(code: "unknown_answer", message: "the host answered \"\(name)\" with a workflow that was not awaited")
        }
        return FinishedChild(child: children[index], index: index, result: first.result)
    }

    private func finished<Output, Answer: Decodable>(
        _ children: [ChildWorkflow<Output>], _ mode: String, _ timeout: Duration?, _ name: String, as answer: Answer.Type
    ) async throws -> Answer? {
        if children.isEmpty && mode == "any" {
            throw WorkflowMisuse(code: "no_children", message: "\"\(name)\" waits for any of no children, which would be for ever")
        }
        let arguments = CallArguments().texts("workflow_ids", children.map(\.workflowID)).text("mode", mode).seconds("timeout", timeout)
        guard let json = try await call("await_children", name: name, arguments) else { return nil }
        return try PayloadCoding.decodeReceived(answer, from: json, code: "bad_output", what: "what the children ended with")
    }

    /// Asks for a child to be cancelled, and its own children with it.
    /// - Returns: false: it had ended.
    /// - Throws: ``WorkflowCancelled``.
    @discardableResult
    public func cancel<Output>(_ child: ChildWorkflow<Output>, reason: String? = nil, name: String? = nil) async throws -> Bool {
        try await cancelWorkflow(child.workflowID, reason: reason, name: name ?? Self.name("cancel", child.workflowName))
    }
}

/// `{"workflow_id"}`
private struct StartedChild: Decodable {
    let workflowID: String
    private enum CodingKeys: String, CodingKey { case workflowID = "workflow_id" }
}

/// `{"workflow_id", "status", "output", "error"}`
struct FinishedRecord<Output: Decodable>: Decodable {
    let workflowID: String
    let result: Result<Output, WorkflowFailure>

    private enum CodingKeys: String, CodingKey { case workflowID = "workflow_id", status, output, error }

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        workflowID = try members.decode(String.self, forKey: .workflowID)
        switch try members.decode(String.self, forKey: .status) {
        case "succeeded":
            // A member that is missing is null.
            result = .success(
                members.contains(.output)
                    ? try members.decode(Output.self, forKey: .output) : try PayloadCoding.decode(Output.self, from: PayloadCoding.null))
        case let status:
            let cause = try members.decodeIfPresent(RecordedFailure.self, forKey: .error)?.failure
            let json = try members.decodeIfPresent(JSONValue.self, forKey: .error)
            result = .failure(
                WorkflowFailure(
                    code: status == "cancelled" ? "child_cancelled" : cause?.code ?? "child_failed", type: cause?.type ?? "",
                    message: cause?.message ?? "the child workflow \"\(workflowID)\" ended as \(status)", detail: cause?.detail,
                    causeJSON: try json.map { try PayloadCoding.encode(sorted: $0) }))
        }
    }
}
