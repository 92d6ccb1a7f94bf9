internal import CPawlPlugin
internal import FoundationEssentials

extension WorkflowContext {
    /// A stream of this workflow: entries that are only ever appended, which others read while it grows, in SQL from `pawl.stream_entries` and in handlers
    /// with ``readStream(_:of:key:from:limit:timeout:)``. It ends with ``close(_:name:)``, or with the workflow.
    public func stream<Value: Encodable>(_ key: String, of value: Value.Type) -> WorkflowStream<Value> {
        WorkflowStream(key: key, run: run, scope: scope)
    }

    /// Appends an entry, once, however often a crash interrupts this. Inside a step's body use ``WorkflowStream/emit(_:)``.
    /// - Parameter name: the step's name; `write_stream:` and the key unless given.
    /// - Returns: the entry's position, from 1.
    /// - Throws: ``WorkflowFailure`` with code `stream_closed`. ``WorkflowCancelled``.
    @discardableResult
    public func append<Value: Encodable>(_ value: Value, to stream: WorkflowStream<Value>, name: String? = nil) async throws -> Int {
        let arguments = CallArguments().text("key", stream.key)
            .json("value", try PayloadCoding.encodeSent(value, what: "the entry of stream \"\(stream.key)\""))
        return try await call("write_stream", name: name ?? Self.name("write_stream", stream.key), arguments, as: Int.self)
    }

    /// Ends a stream: its readers come to an end, and nothing more can be appended.
    /// - Parameter name: the step's name; `close_stream:` and the key unless given.
    public func close<Value>(_ stream: WorkflowStream<Value>, name: String? = nil) async throws {
        _ = try await call("close_stream", name: name ?? Self.name("close_stream", stream.key), CallArguments().text("key", stream.key))
    }

    /// The entries of a workflow's stream, in order, as they come; it ends when the stream is closed or its workflow has ended.
    ///
    /// They are read in portions, each recorded as a step named `read_stream:` and the key, so a replay sees the same ones. Other calls of this context may
    /// come in between.
    /// - Parameters:
    ///   - position: that of the first entry wanted, from 1.
    ///   - limit: how many entries a portion has at most.
    ///   - timeout: how long to wait for each next portion; nil: as long as it takes.
    /// - Throws: while iterating, ``WorkflowFailure`` with code `unknown_workflow`, `redacted`, `stream_timeout`, or `bad_entry` and the JSON path if an
    ///   entry is no `Value`. ``WorkflowCancelled``.
    public func readStream<Value: Decodable>(
        _ value: Value.Type, of workflowID: String, key: String, from position: Int = 1, limit: Int = 100, timeout: Duration? = nil
    ) -> StreamEntries<Value> {
        StreamEntries(context: self, workflowID: workflowID, key: key, position: position, limit: limit, timeout: timeout)
    }

    /// Tells how far the workflow is: the `progress` of `pawl.workflows`. The latest counts, and nothing is kept of those before; it costs little.
    public var progress: WorkflowProgress { WorkflowProgress(run: run, scope: scope) }
}

/// A stream that its workflow writes. Sendable, so that step bodies can use it.
public struct WorkflowStream<Value: Encodable>: Sendable {
    /// Its name within the workflow.
    public let key: String
    let run: HandlerRun
    let scope: pawl_scope

    /// Appends an entry from inside a step's body: at least once, for when the body runs again, so does this. The entry says which attempt it is of.
    /// - Throws: ``WorkflowFailure`` with code `stream_closed`. ``WorkflowCancelled``.
    public func emit(_ value: Value) async throws {
        let value = try PayloadCoding.encodeSent(value, what: "the entry of stream \"\(key)\"")
        try await run.emit("stream", CallArguments().text("key", key).json("value", value), in: scope)
    }
}

/// Tells how far a workflow is. Sendable, so that step bodies can use it.
public struct WorkflowProgress: Sendable {
    let run: HandlerRun
    let scope: pawl_scope

    /// Puts a value, anything that encodes as JSON, in the place of the last one. It does not wait until that is committed.
    public func report(_ value: some Encodable) async throws {
        try await run.emit("progress", CallArguments().json("value", try PayloadCoding.encodeSent(value, what: "the progress")), in: scope)
    }
}

extension HandlerRun {
    func emit(_ kind: String, _ arguments: CallArguments, in scope: pawl_scope) async throws {
        try require(.emit)
        let arguments = arguments.object
        let reply = try await callAsynchronously { host, run, context in
            kind.withBytes { kind in arguments.withBytes { host.pointee.emit(run, scope, kind, $0, resumeContinuation, context) } }
        }
        _ = try await value(of: reply, call: kind, in: scope)
    }
}

/// An entry of a stream.
public struct StreamEntry<Value: Decodable>: Decodable {
    /// Its place in the stream, from 1.
    public let position: Int
    /// The attempt of the step that wrote it, from 1: entries of an attempt that failed stay.
    public let attempt: Int
    /// What was written.
    public let value: Value
}

extension StreamEntry: Sendable where Value: Sendable {}

/// The entries of a workflow's stream, as they come. To be used where the context that made it is, and once.
public struct StreamEntries<Value: Decodable>: AsyncSequence {
    public typealias Element = StreamEntry<Value>
    public typealias Failure = any Error

    let context: WorkflowContext
    let workflowID: String
    let key: String
    let position: Int
    let limit: Int
    let timeout: Duration?

    public func makeAsyncIterator() -> Iterator { Iterator(entries: self, position: position) }

    /// Reads one portion after the other.
    public struct Iterator: AsyncIteratorProtocol {
        let entries: StreamEntries
        private var position: Int
        private var portion: ArraySlice<StreamEntry<Value>> = []
        private var isClosed = false

        init(entries: StreamEntries, position: Int) {
            self.entries = entries
            self.position = position
        }

        private struct Portion: Decodable {
            var entries: [StreamEntry<Value>]
            var closed: Bool
        }

        /// The next entry; nil: there will be no more.
        public mutating func next() async throws -> StreamEntry<Value>? { try await next(isolation: #isolation) }

        /// The next entry; nil: there will be no more.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws -> StreamEntry<Value>? {
            while portion.isEmpty {
                if isClosed { return nil }
                let arguments = CallArguments().text("workflow_id", entries.workflowID).text("key", entries.key).integer("from", position)
                    .integer("limit", entries.limit).seconds("timeout", entries.timeout)
                let name = WorkflowContext.name("read_stream", entries.key)
                guard let json = try await entries.context.call("read_stream", name: name, arguments) else {
                    throw WorkflowFailure(code: "stream_timeout", message: "nothing came in the stream \"\(entries.key)\" in time")
                }
                let read = try PayloadCoding.decodeReceived(
                    Portion.self, from: json, code: "bad_entry", what: "what was read from the stream \"\(entries.key)\"")
                portion = read.entries[...]
                isClosed = read.closed
                position = read.entries.last.map { $0.position + 1 } ?? position
            }
            return portion.popFirst()
        }
    }
}
