import PostgresClient
import WorkflowEngine

/// Arms the session's waiter: from its commit on, a signal for this worker, or one that anybody may look at, wakes it.
struct ArmSignalsStatement: StoreStatement {
    let worker: UUIDBytes

    static let prepared = PreparedStatement(name: "pawl_arm_signals", sql: "SELECT pawl.arm_signals($1::uuid)")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(worker) }

    /// How many milliseconds to wait at most; -1: for ever.
    static func decode(_ result: PostgresResult) -> Int32 { result.rowCount == 1 && !result.isNull(0, 0) ? result.int32(0, 0) : 1000 }
}

/// Takes the signals of this worker's workflows, and helps with those of nobody's.
struct TakeSignalsStatement: StoreStatement {
    let worker: UUIDBytes

    static let prepared = PreparedStatement(
        name: "pawl_take_signals", sql: "SELECT workflow_key, epoch, cancel_reason, more FROM pawl.take_signals($1::uuid)")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(worker) }

    /// `more`: some are left, and another look is worth while.
    static func decode(_ result: PostgresResult) -> (signals: [Signal], more: Bool) {
        var signals: [Signal] = []
        var more = false
        for row in 0..<result.rowCount {
            more = more || (!result.isNull(row, 3) && result.bool(row, 3))
            guard !result.isNull(row, 0), !result.isNull(row, 1) else { continue }
            signals.append(
                Signal(
                    fence: Fence(key: result.int64(row, 0), epoch: result.int32(row, 1)),
                    cancellation: result.optionalString(row, 2).map { Cancellation(rawValue: $0) ?? .request }))
        }
        return (signals, more)
    }
}
