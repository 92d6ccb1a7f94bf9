internal import CPawlPlugin
public import FoundationEssentials

/// What a handler does its durable work through: steps, transactions and queries, each named and recorded.
///
/// A context is one sequential flow: one call at a time. It is not Sendable on purpose, so that the compiler refuses to share it between
/// tasks; to work in parallel, give each task a context of its own with ``branch(_:)``, or use ``parallel(_:_:id:limit:_:)``.
///
/// Names are what a replay finds its steps by. A name may be used again: the second `"charge"` of a context is recorded as `charge#2`.
public final class WorkflowContext {
    let run: HandlerRun
    let scope: pawl_scope

    init(run: HandlerRun, scope: pawl_scope) {
        self.run = run
        self.scope = scope
    }

    /// The workflow's id, as `enqueue_workflow` was given it or made it.
    public var workflowID: String { run.identity.workflowID }
    /// The name it was enqueued under.
    public var workflowName: String { run.identity.workflowName }
    /// The version of the handler that runs.
    public var version: Int { run.identity.version }
    /// How often a crash interrupted this workflow before this run.
    public var recoveries: Int { run.identity.recoveries }
    /// The queue it was enqueued in.
    public var queue: String { run.identity.queue }
    /// Lower runs first.
    public var priority: Int { run.identity.priority }
    /// The tenant, if one was given.
    public var partitionKey: String? { run.identity.partitionKey }
    /// The headers given at enqueue (trace context and the like), or nil.
    public var headers: JSONValue? { run.identity.headers }
    /// The attributes that users search by, or nil.
    public var attributes: JSONValue? { run.identity.attributes }
    /// When it was enqueued.
    public var createdAt: Date { run.identity.createdAt }

    /// Lines for the daemon's log. A replay writes them again.
    public var log: WorkflowLog { WorkflowLog(run: run) }

    /// A sequential flow of its own below this one, for work in parallel. Its steps are recorded under `name/`.
    ///
    /// Create branches in the context's own order, before the tasks that use them start, so that a replay gives each task the same one.
    public func branch(_ name: String) -> sending WorkflowContext {
        WorkflowContext(run: run, scope: run.branch(name, of: scope))
    }

    /// Runs `body` once and records what it returned or threw; a replay returns or throws the same without running it.
    ///
    /// A crash after `body` had its effect and before that was recorded runs it again: give what you call an idempotency key (the workflow's id
    /// and the step's name make a good one), or use ``transaction(_:isolation:_:)`` where the effect is SQL in this database.
    /// - Throws: ``WorkflowFailure`` with what `body` threw, the first time as on every replay.
    @discardableResult
    public func step<Value: Codable & Sendable>(_ name: String, _ body: @Sendable () async throws -> Value) async throws -> Value {
        let begun = try await run.begin { host, run, context in
            name.withBytes { host.pointee.step_begin(run, scope, $0, nil, keepReply, context) }
        }
        if let begun {
            return try PayloadCoding.decodeRecorded(Value.self, from: try await run.value(of: begun, call: name, in: scope), step: name)
        }
        let result = try await StepResult.of { try await body() }
        let reply = try await run.callAsynchronously { host, run, context in
            result.outcome.withResult { host.pointee.step_end(run, scope, $0, resumeContinuation, context) }
        }
        _ = try await run.value(of: reply, call: name, in: scope)
        return try result.value()
    }

    /// Runs `body` once; a replay passes over it.
    // Disfavored: a body with a result means the other one, also where the result is not used.
    @_disfavoredOverload
    public func step(_ name: String, _ body: @Sendable () async throws -> Void) async throws {
        let _: Nothing = try await step(name) {
            try await body()
            return Nothing()
        }
    }

    /// A read-only query whose rows are recorded: a replay gets the same ones.
    ///
    /// It runs on its own, outside any transaction, as the worker's role.
    public func query<Row: Decodable>(
        _ name: String, _ sql: String, _ parameters: (any SQLParameter)?..., as row: Row.Type
    ) async throws -> [Row] {
        let texts = try parameters.map { try $0?.sqlText() }
        let reply = try await run.callAsynchronously { host, run, context in
            name.withBytes { name in
                sql.withBytes { sql in
                    withParameterBytes(texts) { host.pointee.query(run, scope, name, sql, $0, $1, resumeContinuation, context) }
                }
            }
        }
        return try SQLResult(json: try await run.value(of: reply, call: name, in: scope)).rows(as: row)
    }
}

@available(*, unavailable, message: "a context is one sequential flow; give each task its own with branch(_:)")
extension WorkflowContext: Sendable {}

/// What a step that returns nothing records: null.
struct Nothing: Codable, Sendable {
    init() {}
    init(from decoder: any Decoder) throws {}
    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encodeNil()
    }
}

/// What a step's body came to: what is recorded, and what the handler gets for it.
struct StepResult<Value: Codable & Sendable> {
    let outcome: StepOutcome
    private let read: Value?

    /// Runs a body. Only an engine's stop gets through; everything else is an outcome.
    static func of(_ body: () async throws -> Value) async throws -> StepResult {
        do {
            let value = try await body()
            let recorded = try PayloadCoding.encode(value)
            // Read back before it is recorded: the handler gets now what every replay will get, and what cannot be read fails now.
            return StepResult(outcome: .success(recorded), read: try PayloadCoding.readBack(value, from: recorded))
        } catch let stopped as WorkflowStopped {
            throw stopped
        } catch {
            return StepResult(outcome: .failure(WorkflowFailure(recording: error)), read: nil)
        }
    }

    private init(outcome: StepOutcome, read: Value?) {
        self.outcome = outcome
        self.read = read
    }

    /// After the host recorded it as a success.
    func value() throws -> Value {
        guard let read else {
            throw WorkflowMisuse(code: "unknown_answer", message: "the host reported a failed step as recorded without its failure")
        }
        return read
    }
}
