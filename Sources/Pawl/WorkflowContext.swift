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

    deinit {
        // A branch that nobody can use any more does not keep the workflow from giving up its place while the others wait.
        if scope != PawlScope.root { run.closeBranch(scope) }
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
    /// The attributes that users search by, or nil: as they were when this run began, so a later run may see what was merged in between. What
    /// ``mergeAttributes(_:name:)`` returns is the same in every run.
    public var attributes: JSONValue? { run.identity.attributes }
    /// When it was enqueued.
    public var createdAt: Date { run.identity.createdAt }

    /// Lines for the daemon's log. A replay writes them again.
    public var log: WorkflowLog { WorkflowLog(run: run) }

    /// Which run of this workflow this is, from 1: one more after each crash, restart, and wait that was long enough to give up its place.
    public var attempt: Int { run.identity.attempt }
    /// When the workflow fails with reason `timeout` if it has not ended; nil: never.
    public var deadline: Date? { run.identity.deadline }
    /// The workflow that started this one as its child, or nil.
    public var parentWorkflowID: String? { run.identity.parentWorkflowID }
    /// Whether the workflow is being cancelled, or its deadline has passed: then every further call throws ``WorkflowCancelled``. Inside a step's body
    /// ask `Task.isCancelled`, or ``monitor``.
    public var isCancelled: Bool { run.isCancelled }

    /// A sequential flow of its own below this one, for work in parallel. Its steps are recorded under `name/`.
    ///
    /// Create branches in the context's own order, before the tasks that use them start, so that a replay gives each task the same one.
    public func branch(_ name: String) -> sending WorkflowContext {
        WorkflowContext(run: run, scope: run.branch(name, of: scope))
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
