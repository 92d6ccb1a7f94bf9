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

/// Ends workflows.
struct CompleteWorkflowsStatement: StoreStatement {
    let worker: UUIDBytes
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
                elements.append(end.end.status)
            }
        }
        parameters.addArray(of: .text) { elements in
            for end in ends {
                if let reason = end.end.statusReason { elements.append(reason) } else { elements.appendNull() }
            }
        }
        parameters.addArray(of: .jsonb) { elements in
            for end in ends { if case .succeeded(let value) = end.end { elements.append(json: value) } else { elements.appendNull() } }
        }
        parameters.addArray(of: .jsonb) { elements in
            for end in ends { if let error = end.end.error { elements.append(json: error.encoded()) } else { elements.appendNull() } }
        }
    }
}

extension WorkflowEnd.End {
    var status: String {
        switch self {
        case .succeeded, .continued: "succeeded"
        case .failed: "failed"
        case .cancelled: "cancelled"
        }
    }

    var statusReason: String? {
        switch self {
        case .succeeded, .continued: nil
        case .failed(_, let reason): reason
        case .cancelled(let by, _): by.rawValue
        }
    }

    var error: WorkflowError? {
        switch self {
        case .succeeded, .continued: nil
        case .failed(let error, _): error
        case .cancelled(_, let error): error
        }
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
}
