import PostgresClient
import WorkflowEngine

/// The checkpoint inside a handler's own transaction.
struct RecordStepStatement: StoreStatement {
    let worker: UUIDBytes
    let workflowID: String
    let record: StepRecord

    static let prepared = PreparedStatement(
        name: "pawl_record_step", sql: "SELECT pawl.record_step($1::text, $2::text, $3::text, $4::jsonb, $5::jsonb)")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(workflowID)
        let fence = "\(worker):\(record.fence.epoch):\(record.number)"
        parameters.add(record.isAttempt ? "\(fence):\(record.attempts)\(record.cancelling ? ":cancelling" : "")" : fence)
        parameters.add(record.name)
        switch record.outcome {
        case .success(let value):
            parameters.add(json: value)
            parameters.addNull()
        case .failure(let error):
            parameters.addNull()
            parameters.add(json: error.encoded())
        }
    }
}

/// Marks a handler's transaction as one of this worker: whoever declares the worker dead, because its process was stopped and not killed, ends the session
/// that holds the transaction open, and with it what it has locked.
struct MarkTransactionStatement: StoreStatement {
    let workerNumber: Int32

    static let prepared = PreparedStatement(
        name: "pawl_mark_transaction", sql: "SELECT pg_catalog.pg_advisory_xact_lock_shared(1346459470, $1::integer)")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(workerNumber) }
}

/// The commands of a handler's transaction.
enum TransactionCommand {
    static func begin(_ isolation: IsolationLevel) -> String {
        switch isolation {
        case .readCommitted: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
        case .repeatableRead: "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"
        case .serializable: "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"
        }
    }
    static let beginReadOnly = "BEGIN READ ONLY"
    static let commit = "COMMIT"
    static let rollback = "ROLLBACK"
    /// What a handler's SQL can leave behind in a session, except what it prepared: DISCARD ALL would also forget what the store prepared.
    static let reset = [
        "SET SESSION AUTHORIZATION DEFAULT", "RESET ROLE", "RESET ALL", "CLOSE ALL", "UNLISTEN *",
        "SELECT pg_catalog.pg_advisory_unlock_all()", "DISCARD TEMP", "DISCARD SEQUENCES",
    ]
}
