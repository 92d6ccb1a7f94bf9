import PostgresClient
import WorkflowEngine

/// Checkpoints of any number of workflows.
struct RecordStepsStatement: StoreStatement {
    let worker: UUIDBytes
    let steps: [StepRecord]

    static let prepared = PreparedStatement(
        name: "pawl_record_steps",
        sql: """
            SELECT ordinal, refusal FROM pawl.record_steps($1::uuid, $2::bigint[], $3::integer[], $4::text[], $5::integer[], $6::text[], \
            $7::jsonb[], $8::jsonb[], $9::timestamptz[])
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(steps.lazy.map(\.fence))
        parameters.addArray(of: .text) { elements in for step in steps { elements.append(step.name) } }
        parameters.addArray(of: .int4) { elements in for step in steps { elements.append(step.number) } }
        parameters.addArray(of: .text) { elements in for step in steps { elements.append(step.kind.rawValue) } }
        parameters.addOutcomes(steps.lazy.map(\.outcome))
        parameters.addArray(of: .timestamptz) { elements in for step in steps { elements.append(microseconds: step.startedAt) } }
    }
}

/// Attempts of steps: those that another one follows, outcomes after such a one, and what belongs to a cancellation.
struct RecordAttemptsStatement: StoreStatement {
    let worker: UUIDBytes
    let steps: [StepRecord]

    static let prepared = PreparedStatement(
        name: "pawl_record_attempts",
        sql: """
            SELECT ordinal, refusal FROM pawl.record_attempts($1::uuid, $2::bigint[], $3::integer[], $4::text[], $5::integer[], $6::text[], \
            $7::integer[], $8::jsonb[], $9::jsonb[], $10::bigint[], $11::timestamptz[], $12::boolean[])
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(steps.lazy.map(\.fence))
        parameters.addArray(of: .text) { elements in for step in steps { elements.append(step.name) } }
        parameters.addArray(of: .int4) { elements in for step in steps { elements.append(step.number) } }
        parameters.addArray(of: .text) { elements in for step in steps { elements.append(step.kind.rawValue) } }
        parameters.addArray(of: .int4) { elements in for step in steps { elements.append(step.attempts) } }
        parameters.addOutcomes(steps.lazy.map(\.outcome))
        parameters.addArray(of: .int8) { elements in
            for step in steps { if let retryIn = step.retryIn { elements.append(retryIn) } else { elements.appendNull() } }
        }
        parameters.addArray(of: .timestamptz) { elements in for step in steps { elements.append(microseconds: step.startedAt) } }
        parameters.addArray(of: .bool) { elements in for step in steps { elements.append(step.cancelling) } }
    }
}

extension StepRecord {
    /// Goes to `record_attempts`.
    var isAttempt: Bool { attempts > 1 || retryIn != nil || endsBackOff || cancelling }
}

/// Ends workflows.
struct CompleteWorkflowsStatement: StoreStatement {
    let worker: UUIDBytes
    /// None of them continues.
    let ends: [WorkflowEnd]

    static let prepared = PreparedStatement(
        name: "pawl_complete",
        sql: """
            SELECT ordinal, refusal FROM pawl.complete_workflows($1::uuid, $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::jsonb[], $7::jsonb[])
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(ends.lazy.map(\.fence))
        parameters.addArray(of: .text) { elements in
            for end in ends {
                switch end.end {
                case .succeeded: elements.append("succeeded")
                case .failed: elements.append("failed")
                case .cancelled: elements.append("cancelled")
                case .continued: elements.appendNull()
                }
            }
        }
        parameters.addArray(of: .text) { elements in
            for end in ends {
                switch end.end {
                case .failed(_, let reason): elements.append(reason)
                case .cancelled(let by, _): elements.append(by.rawValue)
                case .succeeded, .continued: elements.appendNull()
                }
            }
        }
        parameters.addArray(of: .jsonb) { elements in
            for end in ends { if case .succeeded(let value) = end.end { elements.append(json: value) } else { elements.appendNull() } }
        }
        parameters.addArray(of: .jsonb) { elements in
            for end in ends {
                switch end.end {
                case .failed(let error, _), .cancelled(_, let error?): elements.append(json: error.encoded())
                case .succeeded, .cancelled, .continued: elements.appendNull()
                }
            }
        }
    }
}

/// Begins workflows anew with another input.
struct ContinueWorkflowsStatement: StoreStatement {
    let worker: UUIDBytes
    /// All of them continue.
    let ends: [WorkflowEnd]

    static let prepared = PreparedStatement(
        name: "pawl_continue",
        sql: "SELECT ordinal, refusal FROM pawl.continue_workflows($1::uuid, $2::bigint[], $3::integer[], $4::jsonb[])")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(ends.lazy.map(\.fence))
        parameters.addArray(of: .jsonb) { elements in
            for end in ends { if case .continued(let input) = end.end { elements.append(json: input) } else { elements.appendNull() } }
        }
    }
}

extension WorkflowEnd {
    var isContinued: Bool { if case .continued = end { true } else { false } }
}

/// Lets workflows be rows until one of their waits is over.
struct ParkWorkflowsStatement: StoreStatement {
    let worker: UUIDBytes
    let parkings: [Parking]

    static let prepared = PreparedStatement(
        name: "pawl_park", sql: "SELECT ordinal, refusal FROM pawl.park_workflows($1::uuid, $2::bigint[], $3::integer[], $4::text[])")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(parkings.lazy.map(\.fence))
        parameters.addArray(of: .text) { elements in for parking in parkings { elements.append(parking.waitingFor) } }
    }
}

/// Hands workflows back.
struct ReleaseWorkflowsStatement: StoreStatement {
    let worker: UUIDBytes
    let fences: [Fence]

    static let prepared = PreparedStatement(
        name: "pawl_release", sql: "SELECT ordinal, refusal FROM pawl.release_workflows($1::uuid, $2::bigint[], $3::integer[])")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(fences)
    }
}

extension ParameterBuffer {
    /// Two parameters: the outputs and the errors, one of each pair NULL.
    mutating func addOutcomes(_ outcomes: some Sequence<Outcome>) {
        addArray(of: .jsonb) { elements in
            for outcome in outcomes {
                if case .success(let value) = outcome { elements.append(json: value) } else { elements.appendNull() }
            }
        }
        addArray(of: .jsonb) { elements in
            for outcome in outcomes {
                if case .failure(let error) = outcome { elements.append(json: error.encoded()) } else { elements.appendNull() }
            }
        }
    }
}

/// The rows that a write answers: one for each item it refused.
enum RefusalRows {
    /// Indices from 0, and the protocol's word.
    static func decode(_ result: PostgresResult) -> [(index: Int, word: String)] {
        (0..<result.rowCount).map { (Int(result.int32($0, 0)) - 1, result.string($0, 1)) }
    }

    /// Whose cancellation a refusal is; nil: it is another refusal.
    static func cancellation(_ word: String) -> Cancellation? {
        switch word {
        case "cancelled_request": .request
        case "cancelled_parent": .parent
        default: nil
        }
    }
}
