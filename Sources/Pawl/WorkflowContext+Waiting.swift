public import FoundationEssentials

extension WorkflowContext {
    /// Sleeps for a duration, across restarts: a replay sleeps only the rest. A long sleep costs a row, no memory.
    public func sleep(_ name: String, for duration: Duration) async throws {
        _ = try await call("sleep", name: name, CallArguments().seconds("seconds", duration))
    }

    /// Sleeps until an instant by the database's clock; not at all if it has passed.
    public func sleep(_ name: String, until instant: Date) async throws {
        _ = try await call("sleep", name: name, CallArguments().text("until", try Timestamp.text(of: instant)))
    }

    /// Waits for the next message of a topic, and takes it: in the order in which they were sent, each once.
    ///
    /// Messages come from `pawl.send_message`, from triggers and from ``send(to:_:topic:name:)``, before the workflow waits for them or after. JSON null is a
    /// message: receive an Optional type where it may come.
    /// - Parameters:
    ///   - topic: messages without one have the topic "".
    ///   - name: the step's name; `receive:` and the topic unless given.
    /// - Throws: ``WorkflowFailure`` with code `bad_message` and the JSON path, if the message is no `Message`; it is taken all the same.
    ///   ``WorkflowCancelled``.
    public func receive<Message: Decodable>(_ message: Message.Type, topic: String = "", name: String? = nil) async throws -> Message {
        let json = try await call("receive", name: name ?? Self.name("receive", topic), CallArguments().text("topic", topic))
        return try Self.message(message, json ?? PayloadCoding.null, topic)
    }

    /// Waits for the next message of a topic for so long; nil: none came, on a replay too, whatever has come since.
    /// - Throws: as ``receive(_:topic:name:)``.
    public func receive<Message: Decodable>(
        _ message: Message.Type, topic: String = "", timeout: Duration, name: String? = nil
    ) async throws -> Message? {
        let arguments = CallArguments().text("topic", topic).seconds("timeout", timeout)
        guard let json = try await call("receive", name: name ?? Self.name("receive", topic), arguments) else { return nil }
        return .some(try Self.message(message, json, topic))
    }

    static func message<Message: Decodable>(_ type: Message.Type, _ json: Data, _ topic: String) throws -> Message {
        try PayloadCoding.decodeReceived(type, from: json, code: "bad_message", what: topic.isEmpty ? "the message" : "the message of topic \"\(topic)\"")
    }

    /// Sends a message to a workflow, once, however often a crash interrupts this.
    /// - Parameter name: the step's name; `send:` and the topic unless given.
    /// - Returns: false: that workflow has ended.
    /// - Throws: ``WorkflowFailure`` with code `unknown_workflow`. ``WorkflowCancelled``.
    @discardableResult
    public func send(to workflowID: String, _ message: some Encodable, topic: String = "", name: String? = nil) async throws -> Bool {
        let arguments = CallArguments().text("workflow_id", workflowID).text("topic", topic)
            .json("message", try PayloadCoding.encodeSent(message, what: "the message"))
        return try await call("send", name: name ?? Self.name("send", topic), arguments, as: Bool.self)
    }

    /// Sets an event of this workflow: a named value that others read, in SQL with `pawl.get_event` and in handlers with
    /// ``getEvent(_:of:key:name:)``. A later one of the same key takes its place.
    /// - Parameter name: the step's name; `set_event:` and the key unless given.
    public func setEvent(_ key: String, _ value: some Encodable, name: String? = nil) async throws {
        let arguments = CallArguments().text("key", key).json("value", try PayloadCoding.encodeSent(value, what: "the event \"\(key)\""))
        _ = try await call("set_event", name: name ?? Self.name("set_event", key), arguments)
    }

    /// Waits until a workflow has set an event, and gives its latest value; nil: that workflow has ended without it.
    /// - Parameter name: the step's name; `get_event:` and the key unless given.
    /// - Throws: ``WorkflowFailure`` with code `unknown_workflow`, `redacted`, or `bad_event` and the JSON path if the value is no `Value`.
    ///   ``WorkflowCancelled``.
    public func getEvent<Value: Decodable>(_ value: Value.Type, of workflowID: String, key: String, name: String? = nil) async throws -> Value? {
        try await event(value, workflowID, key, nil, name)
    }

    /// Waits for so long until a workflow has set an event, and gives its latest value; nil: it was not set in time, or that workflow has ended without it.
    /// - Throws: as ``getEvent(_:of:key:name:)``.
    public func getEvent<Value: Decodable>(
        _ value: Value.Type, of workflowID: String, key: String, timeout: Duration, name: String? = nil
    ) async throws -> Value? {
        try await event(value, workflowID, key, timeout, name)
    }

    private func event<Value: Decodable>(
        _ type: Value.Type, _ workflowID: String, _ key: String, _ timeout: Duration?, _ name: String?
    ) async throws -> Value? {
        let arguments = CallArguments().text("workflow_id", workflowID).text("key", key).seconds("timeout", timeout)
        guard let json = try await call("get_event", name: name ?? Self.name("get_event", key), arguments) else { return nil }
        return .some(try Self.event(type, json, key))
    }

    static func event<Value: Decodable>(_ type: Value.Type, _ json: Data, _ key: String) throws -> Value {
        try PayloadCoding.decodeReceived(type, from: json, code: "bad_event", what: "the event \"\(key)\"")
    }

    /// Asks for a workflow to be cancelled.
    /// - Returns: false: it had ended.
    /// - Throws: ``WorkflowFailure`` with code `unknown_workflow`. ``WorkflowCancelled``.
    @discardableResult
    public func cancelWorkflow(_ workflowID: String, reason: String? = nil, name: String = "cancel_workflow") async throws -> Bool {
        try await call("cancel_workflow", name: name, CallArguments().text("workflow_id", workflowID).text("reason", reason), as: Bool.self)
    }
}
