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
    /// The same; nil: none.
    package var deadlineAt: Int64?
    /// Microseconds from the claim to the deadline, by the database's clock; negative: it has passed.
    package var deadlineIn: Int64?
    package var parentWorkflowID: String?
    /// Its cancellation was asked for before this claim.
    package var cancellation: Cancellation?
    /// Not a plugin's: the store runs its SQL function (`runHandler`).
    package var isSQLHandler = false
    /// It was there at two crashes without passing a checkpoint: it runs alone.
    package var isOnProbation = false
    /// Empty for a workflow that never ran.
    package var recordedSteps: [RecordedStep]
    package init(
        fence: Fence, workflowID: String, workflowName: String, workflowVersion: Int32, queue: String, priority: Int32,
        partitionKey: String?, recoveries: Int32, input: JSONBytes, headers: JSONBytes?, attributes: JSONBytes?, createdAt: Int64,
        deadlineAt: Int64? = nil, deadlineIn: Int64? = nil, parentWorkflowID: String? = nil, cancellation: Cancellation? = nil,
        isSQLHandler: Bool = false, isOnProbation: Bool = false, recordedSteps: [RecordedStep]
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
        self.deadlineAt = deadlineAt
        self.deadlineIn = deadlineIn
        self.parentWorkflowID = parentWorkflowID
        self.cancellation = cancellation
        self.isSQLHandler = isSQLHandler
        self.isOnProbation = isOnProbation
        self.recordedSteps = recordedSteps
    }
}

/// Who asked for a cancellation: the `status_reason` of the cancelled workflow.
package enum Cancellation: String, Sendable {
    case request, parent
}

/// `kind` of `pawl.workflow_steps`. Arguments and outputs of the durable calls: docs/durable-calls.md.
package enum StepKind: String, Sendable, CaseIterable {
    // The handler runs a body.
    case step, transaction, query, compensation
    // The engine makes the value.
    case now, uuid, random, patch
    // The database does it together with its checkpoint.
    case send, setEvent = "set_event", writeStream = "write_stream", closeStream = "close_stream"
    case mergeAttributes = "merge_attributes", startChild = "start_child", cancelWorkflow = "cancel_workflow"
    // The database decides when it is over.
    case sleep, receive, getEvent = "get_event", readStream = "read_stream", awaitChild = "await_child", awaitChildren = "await_children", race

    /// May be recorded as `waiting`.
    package var isWait: Bool {
        switch self {
        case .sleep, .receive, .getEvent, .readStream, .awaitChild, .awaitChildren, .race: true
        default: false
        }
    }
}

/// How a step or a workflow came out.
package enum Outcome: Sendable, Equatable {
    case success(JSONBytes)
    indirect case failure(WorkflowError)
    package var failure: WorkflowError? { if case .failure(let error) = self { error } else { nil } }
}

package struct RecordedStep: Sendable {
    package enum State: Sendable {
        case done(Outcome)
        /// A wait that is not over; microseconds until it is by itself, by the database's clock.
        case waiting(dueIn: Int64?)
        /// Attempts made so far, microseconds until the next one, when the first one began (since 1970-01-01T00:00:00Z, by its worker's clock), and what
        /// the last one failed with.
        indirect case retrying(attempts: Int32, dueIn: Int64, startedAt: Int64, failure: WorkflowError)
    }
    /// The full path: `left/a`, `charge[42]/reserve#2`.
    package var name: String
    package var number: Int32
    /// As stored; may be a kind that this worker does not know.
    package var kind: String
    package var state: State
    /// nil: it is not over.
    package var outcome: Outcome? { if case .done(let outcome) = state { outcome } else { nil } }
    package init(name: String, number: Int32, kind: String, state: State) {
        self.name = name
        self.number = number
        self.kind = kind
        self.state = state
    }
    package init(name: String, number: Int32, kind: String, outcome: Outcome) {
        self.init(name: name, number: number, kind: kind, state: .done(outcome))
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
    /// How many were made, this one included.
    package var attempts: Int32 = 1
    /// Not over yet: recorded as `retrying`, the next attempt after so many microseconds. The outcome is a failure.
    package var retryIn: Int64?
    /// It takes the place of its last attempt's record: the time of all attempts was up before there was another.
    package var endsBackOff = false
    /// The run knows that the workflow is being cancelled, and this belongs to its end (a compensation). Otherwise a step of a workflow whose
    /// cancellation was asked for is refused (`cancelled`).
    package var cancelling = false
    package init(
        fence: Fence, name: String, number: Int32, kind: StepKind, outcome: Outcome, startedAt: Int64, attempts: Int32 = 1, retryIn: Int64? = nil,
        cancelling: Bool = false
    ) {
        self.fence = fence
        self.name = name
        self.number = number
        self.kind = kind
        self.outcome = outcome
        self.startedAt = startedAt
        self.attempts = attempts
        self.retryIn = retryIn
        self.cancelling = cancelling
    }
}

/// A step that the database performs: an effect, done with its checkpoint, or a wait, tried now and recorded as over or as waiting. Asked again
/// for a step that is over it answers what is recorded; for a wait that is not it tries again.
package struct DurableCall: Sendable {
    package var fence: Fence
    package var name: String
    package var number: Int32
    package var kind: StepKind
    /// A JSON object: docs/durable-calls.md.
    package var arguments: JSONBytes
    package var startedAt: Int64
    package init(fence: Fence, name: String, number: Int32, kind: StepKind, arguments: JSONBytes, startedAt: Int64) {
        self.fence = fence
        self.name = name
        self.number = number
        self.kind = kind
        self.arguments = arguments
        self.startedAt = startedAt
    }
}

package enum CallResult: Sendable, Equatable {
    case done(Outcome)
    /// Not over. Microseconds until it is by itself (its time, or its timeout), by the database's clock; nil: never.
    case waiting(dueIn: Int64?)
    case refused(Refusal)
}

/// Values that are not steps: written from inside a step's body, at least once.
package struct Emission: Sendable {
    package enum Kind: String, Sendable {
        /// {"value": …}: the latest counts.
        case progress
        /// {"key": text, "value": …, "step": text or null, "attempt": integer}: appended.
        case stream
    }
    package var fence: Fence
    package var kind: Kind
    package var arguments: JSONBytes
    package init(fence: Fence, kind: Kind, arguments: JSONBytes) {
        self.fence = fence
        self.kind = kind
        self.arguments = arguments
    }
}

/// A workflow that goes back to being rows until one of its waits is over; the database knows them, and when the first is due.
package struct Parking: Sendable {
    package var fence: Fence
    /// For people: `waiting_for` of `pawl.workflows`.
    package var waitingFor: String
    package init(fence: Fence, waitingFor: String) {
        self.fence = fence
        self.waitingFor = waitingFor
    }
}

/// A workflow's end. `reason` is its `status_reason`.
package struct WorkflowEnd: Sendable {
    package enum End: Sendable, Equatable {
        case succeeded(JSONBytes)
        /// error, timeout, determinism or bad_input
        indirect case failed(WorkflowError, reason: String)
        indirect case cancelled(Cancellation, WorkflowError?)
        /// Continue as new: the same id with this input, and no steps.
        case continued(input: JSONBytes)
    }
    package var fence: Fence
    package var end: End
    package init(fence: Fence, end: End) {
        self.fence = fence
        self.end = end
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
/// Each request except `claim`, `release`, `park` and `rollback` is answered exactly once, after its commit and never before. What a worker that lost its
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
    /// `alone`: only one that is on probation (the store said `suspects`).
    case claim(limit: Int, alone: Bool)
    /// Record steps and end workflows, in one commit where possible. Answered by `written`.
    case write(RequestID, steps: [StepRecord], ends: [WorkflowEnd])
    /// Perform durable calls. Answered by `performed`.
    case perform(RequestID, [DurableCall])
    /// Write values that are not steps. Answered by `emitted`.
    case emit(RequestID, [Emission])
    /// Park workflows; one whose wait is over meanwhile becomes claimable instead. Not answered: a fenced one is somebody else's.
    case park([Parking])
    /// Run the SQL function of a workflow and end the workflow in the same transaction, or do neither. Answered by `handlerRan`.
    case runHandler(RequestID, Fence)
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
    /// Somebody asked for the workflow's cancellation, and the run did not know: nothing was recorded.
    case cancelled(Cancellation)
    /// The row itself cannot be stored (too many steps, data the database refused): the workflow fails with it.
    indirect case invalid(WorkflowError)
}

/// What SQL answered: the JSON object that `pawl_plugin.h` describes (columns, rows, affected), or an error with code = SQLSTATE.
package typealias SQLResult = Result<JSONBytes, WorkflowError>

package enum TransactionEnd: Sendable {
    case committed
    /// A transient failure: rolled back, nothing recorded, the body may run again.
    case retry(WorkflowError)
    /// Rolled back, nothing recorded: a failure of the step (a deferred constraint, an error before).
    case failed(WorkflowError)
    case refused(Refusal)
}

package enum HandlerRunEnd: Sendable, Equatable {
    /// The function ran, and the workflow has ended.
    case ended
    /// Undone for a reason that says nothing about the function (40001, 40P01, a lost connection): run it again.
    indirect case retry(WorkflowError)
    /// Undone: the workflow fails with this.
    indirect case failed(WorkflowError)
    case refused(Refusal)
}

/// Something happened that a workflow of this worker may be waiting for, or its cancellation was asked for.
package struct Signal: Sendable, Equatable {
    package var fence: Fence
    package var cancellation: Cancellation?
    package init(fence: Fence, cancellation: Cancellation?) {
        self.fence = fence
        self.cancellation = cancellation
    }
}

package enum StoreEvent: Sendable {
    case claimed([ClaimedWorkflow])
    /// `steps` and `ends` hold, for each refused item of the request, its index; everything else is committed.
    case written(RequestID, steps: [(index: Int, refusal: Refusal)], ends: [(index: Int, refusal: Refusal)])
    /// One result for each call, in their order.
    case performed(RequestID, [CallResult])
    case emitted(RequestID, refused: [(index: Int, refusal: Refusal)])
    case executed(RequestID, SQLResult)
    case transactionEnded(RequestID, TransactionEnd)
    case handlerRan(RequestID, HandlerRunEnd)
    /// May come late, twice, or for a run that is over: try the waits of that run again.
    case signalled([Signal])
    /// Whether workflows wait that must run alone (`claim(alone:)`).
    case suspects(Bool)
    /// The worker lost its life line and has a new incarnation: every run in memory is another's now.
    case lifeLost
}
