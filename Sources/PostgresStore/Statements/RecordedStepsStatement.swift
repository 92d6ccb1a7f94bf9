import PostgresClient
import WorkflowEngine

/// One page of what is recorded of workflows that this worker owns, ordered by key and name.
struct RecordedStepsStatement: StoreStatement {
    let worker: UUIDBytes
    let fences: [Fence]
    var after: Position?
    let maximumBytes: Int64

    struct Position: Equatable {
        var key: Int64
        var name: String
    }

    static let prepared = PreparedStatement(
        name: "pawl_steps",
        sql: """
            SELECT workflow_key, step_number, step_name, kind, status, output, error, attempts, due_in, started_at \
            FROM pawl.get_recorded_steps($1::uuid, $2::bigint[], $3::integer[], $4::bigint, $5::text, $6::bigint)
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(fences)
        if let after {
            parameters.add(after.key)
            parameters.add(after.name)
        } else {
            parameters.addNull()
            parameters.addNull()
        }
        parameters.add(maximumBytes)
    }

    struct Page {
        /// Steps, with the key of their workflow.
        var steps: [(key: Int64, step: RecordedStep)] = []
        /// Where the next page begins; nil: this was the last.
        var end: Position?
    }

    static func decode(_ result: PostgresResult) -> Page {
        var page = Page()
        for row in 0..<result.rowCount {
            let status = result.bytes(row, 4)
            let state: RecordedStep.State
            if status.elementsEqual("succeeded".utf8) {
                state = .done(.success(result.optionalJSON(row, 5) ?? Array("null".utf8)))
            } else if status.elementsEqual("failed".utf8) {
                state = .done(.failure(WorkflowError(decoding: result.optionalJSON(row, 6) ?? Array("null".utf8))))
            } else if status.elementsEqual("retrying".utf8) {
                state = .retrying(
                    attempts: result.int32(row, 7), dueIn: result.isNull(row, 8) ? 0 : result.int64(row, 8), startedAt: result.microseconds(row, 9),
                    failure: WorkflowError(decoding: result.optionalJSON(row, 6) ?? Array("null".utf8)))
            } else {
                state = .waiting(dueIn: result.isNull(row, 8) ? nil : result.int64(row, 8))
            }
            page.steps.append(
                (result.int64(row, 0), RecordedStep(name: result.string(row, 2), number: result.int32(row, 1), kind: result.string(row, 3), state: state)))
        }
        if result.rowCount > 0 {
            page.end = Position(key: result.int64(result.rowCount - 1, 0), name: result.string(result.rowCount - 1, 2))
        }
        return page
    }
}

extension ParameterBuffer {
    /// Two parameters: the keys and the epochs.
    mutating func add(_ fences: some Sequence<Fence>) {
        addArray(of: .int8) { elements in for fence in fences { elements.append(fence.key) } }
        addArray(of: .int4) { elements in for fence in fences { elements.append(fence.epoch) } }
    }
}
