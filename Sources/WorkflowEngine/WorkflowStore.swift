/// UTF-8 JSON text of one value.
package typealias JSONBytes = [UInt8]

/// What every write about a claimed workflow names; the store adds its worker id. A write under an overtaken fence is refused.
package struct Fence: Hashable, Sendable {
    /// `workflow_key`.
    package let key: Int64
    package let epoch: Int32
    package init(key: Int64, epoch: Int32) {
        self.key = key
        self.epoch = epoch
    }
}

/// A workflow that this worker now owns, with everything recorded of it so far.
package struct ClaimedWorkflow: Sendable {
    package var fence: Fence
    package var workflowID: String
    package var workflowName: String
    /// The handler version to run.
    package var workflowVersion: Int32
    package var queue: String
    package var priority: Int32
    package var partitionKey: String?
    package var recoveries: Int32
    package var input: JSONBytes
    package var headers: JSONBytes?
    package var attributes: JSONBytes?
    /// Microseconds since 1970-01-01T00:00:00Z.
    package var createdAt: Int64
    /// Empty for a workflow that never ran.
    package var recordedSteps: [RecordedStep]
    package init(
        fence: Fence, workflowID: String, workflowName: String, workflowVersion: Int32, queue: String, priority: Int32,
        partitionKey: String?, recoveries: Int32, input: JSONBytes, headers: JSONBytes?, attributes: JSONBytes?, createdAt: Int64,
        recordedSteps: [RecordedStep]
    ) {
        self.fence = fence
        self.workflowID = workflowID
        self.workflowName = workflowName
        self.workflowVersion = workflowVersion
        self.queue = queue
        self.priority = priority
        self.partitionKey = partitionKey
        self.recoveries = recoveries
        self.input = input
        self.headers = headers
        self.attributes = attributes
        self.createdAt = createdAt
        self.recordedSteps = recordedSteps
    }
}

package enum StepKind: String, Sendable {
    case step, transaction, query
}

/// How a step or a workflow came out.
package enum Outcome: Sendable, Equatable {
    case success(JSONBytes)
    indirect case failure(WorkflowError)
}

package struct RecordedStep: Sendable {
    /// The full path: `left/a`, `charge[42]/reserve#2`.
    package var name: String
    package var number: Int32
    /// As stored; may be a kind that this worker does not know.
    package var kind: String
    package var outcome: Outcome
    package init(name: String, number: Int32, kind: String, outcome: Outcome) {
        self.name = name
        self.number = number
        self.kind = kind
        self.outcome = outcome
    }
}

/// A step to be recorded.
package struct StepRecord: Sendable {
    package var fence: Fence
    package var name: String
    package var number: Int32
    package var kind: StepKind
    package var outcome: Outcome
    /// Microseconds since 1970-01-01T00:00:00Z by the worker's clock; the database sets the completion time.
    package var startedAt: Int64
    package init(fence: Fence, name: String, number: Int32, kind: StepKind, outcome: Outcome, startedAt: Int64) {
        self.fence = fence
        self.name = name
        self.number = number
        self.kind = kind
        self.outcome = outcome
        self.startedAt = startedAt
    }
}

/// A workflow's end. `reason` is a `status_reason` of `pawl.workflows` for a failure (`error`, `determinism`, `bad_input`), nil for a success.
package struct WorkflowEnd: Sendable {
    package var fence: Fence
    package var outcome: Outcome
    package var reason: String?
    package init(fence: Fence, outcome: Outcome, reason: String?) {
        self.fence = fence
        self.outcome = outcome
        self.reason = reason
    }
}

package struct SQLStatement: Sendable {
    package var sql: String
    /// Text form; nil is NULL. The server infers the types.
    package var parameters: [[UInt8]?]
    package init(sql: String, parameters: [[UInt8]?]) {
        self.sql = sql
        self.parameters = parameters
    }
}

package enum IsolationLevel: UInt32, Sendable {
    case readCommitted = 0, repeatableRead = 1, serializable = 2
}

/// Chosen by the engine, unique for the life of the process.
package struct RequestID: Hashable, Sendable {
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
}

/// Takes batches and answers with events. Engine thread only, in both directions: the store calls the sink it was given.
///
/// The store hides connections: it reconnects by itself, and a request whose answer was lost is resent or read back until its fate is known.
/// Each request except `claim`, `release` and `rollback` is answered exactly once, after its commit and never before. What a worker that lost its
/// life line had outstanding is answered `refused(.fenced)`.
package protocol WorkflowStore: AnyObject {
    /// Set once, before the first `send`.
    var events: ((StoreEvent) -> Void)? { get set }
    /// Sends what one tick of the engine produced, as few round trips as possible.
    func send(_ requests: [StoreRequest])
}

package enum StoreRequest: Sendable {
    /// Claim up to `limit` workflows, waiting (arm, wait) until there are some. One claim at a time; a later `claim` changes the limit of the next
    /// attempt; 0 takes the request back. Answered by `claimed`, which ends the request.
    case claim(limit: Int)
    /// Record steps and end workflows, in one commit where possible. Answered by `written`.
    case write(RequestID, steps: [StepRecord], ends: [WorkflowEnd])
    /// Hand back unfinished workflows: claimable at once by anyone, not counted as a recovery.
    case release([Fence])
    /// Open a transaction lazily: the connection is taken at the first `execute` or `commit`. Answered by its `execute`s and its end.
    case begin(RequestID, Fence, IsolationLevel)
    /// SQL in the transaction. Answered by `executed`.
    case execute(RequestID, transaction: RequestID, SQLStatement)
    /// Record the step in the transaction and commit. Answered by `transactionEnded`.
    case commit(RequestID, transaction: RequestID, StepRecord)
    /// Undo the transaction (not answered; the engine records the failure, if there is one, by `write`).
    case rollback(transaction: RequestID)
    /// Read-only SQL outside a transaction. Answered by `executed`.
    case query(RequestID, SQLStatement)
}

/// Why a write was refused.
package enum Refusal: Sendable, Equatable {
    /// Another worker owns the workflow, or it has ended: stop the run, do not retry.
    case fenced
    /// The step was already recorded, by this very run (after a lost answer): success.
    case alreadyRecorded
    /// The row itself cannot be stored (too many steps, data the database refused): the workflow fails with it.
    indirect case invalid(WorkflowError)
}

/// What SQL answered: the JSON object that `pawl_plugin.h` describes (columns, rows, affected), or an error with code = SQLSTATE.
package typealias SQLResult = Result<JSONBytes, WorkflowError>

package enum TransactionEnd: Sendable {
    case committed
    /// 40001 or 40P01: rolled back, nothing recorded, the body may run again.
    case retry(WorkflowError)
    /// Rolled back, nothing recorded: a failure of the step (a deferred constraint, an error before).
    case failed(WorkflowError)
    case refused(Refusal)
}

package enum StoreEvent: Sendable {
    case claimed([ClaimedWorkflow])
    /// `steps` and `ends` hold, for each refused item of the request, its index; everything else is committed.
    case written(RequestID, steps: [(index: Int, refusal: Refusal)], ends: [(index: Int, refusal: Refusal)])
    case executed(RequestID, SQLResult)
    case transactionEnded(RequestID, TransactionEnd)
    /// The worker lost its life line and has a new incarnation: every run in memory is another's now.
    case lifeLost
}
