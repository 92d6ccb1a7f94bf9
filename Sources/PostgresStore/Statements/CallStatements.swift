import PostgresClient
import WorkflowEngine

/// Durable calls of any number of workflows: effects, done with their checkpoints, and waits, tried.
struct PerformCallsStatement: StoreStatement {
    let worker: UUIDBytes
    let calls: [DurableCall]

    static let prepared = PreparedStatement(
        name: "pawl_perform",
        sql: """
            SELECT ordinal, refusal, status, output, error, due_in FROM pawl.perform_calls($1::uuid, $2::bigint[], $3::integer[], $4::text[], \
            $5::integer[], $6::text[], $7::jsonb[], $8::timestamptz[])
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(calls.lazy.map(\.fence))
        parameters.addArray(of: .text) { elements in for call in calls { elements.append(call.name) } }
        parameters.addArray(of: .int4) { elements in for call in calls { elements.append(call.number) } }
        parameters.addArray(of: .text) { elements in for call in calls { elements.append(call.kind.rawValue) } }
        parameters.addArray(of: .jsonb) { elements in for call in calls { elements.append(json: call.arguments) } }
        parameters.addArray(of: .timestamptz) { elements in for call in calls { elements.append(microseconds: call.startedAt) } }
    }

    /// Indices from 0, and what became of that call.
    static func decode(_ result: PostgresResult) -> [(index: Int, result: CallResult)] {
        (0..<result.rowCount).map { (Int(result.int32($0, 0)) - 1, decode(result, $0)) }
    }

    private static func decode(_ result: PostgresResult, _ row: Int) -> CallResult {
        if let word = result.optionalString(row, 1) {
            if let cancellation = RefusalRows.cancellation(word) { return .refused(.cancelled(cancellation)) }
            guard word == "invalid" else { return .refused(.fenced) }
            return .refused(.invalid(WorkflowError(decoding: result.optionalJSON(row, 4) ?? Array("null".utf8))))
        }
        let status = result.bytes(row, 2)
        if status.elementsEqual("waiting".utf8) { return .waiting(dueIn: result.isNull(row, 5) ? nil : result.int64(row, 5)) }
        if status.elementsEqual("failed".utf8) {
            return .done(.failure(WorkflowError(decoding: result.optionalJSON(row, 4) ?? Array("null".utf8))))
        }
        return .done(.success(result.optionalJSON(row, 3) ?? Array("null".utf8)))
    }
}

/// Values that are not steps.
struct EmitValuesStatement: StoreStatement {
    let worker: UUIDBytes
    let emissions: [Emission]

    static let prepared = PreparedStatement(
        name: "pawl_emit",
        sql: "SELECT ordinal, refusal FROM pawl.emit_values($1::uuid, $2::bigint[], $3::integer[], $4::text[], $5::jsonb[])")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(emissions.lazy.map(\.fence))
        parameters.addArray(of: .text) { elements in for emission in emissions { elements.append(emission.kind.rawValue) } }
        parameters.addArray(of: .jsonb) { elements in for emission in emissions { elements.append(json: emission.arguments) } }
    }
}

/// Runs the SQL function of a workflow and ends the workflow, in the transaction that it is sent in.
struct RunHandlerStatement: StoreStatement {
    let worker: UUIDBytes
    let fence: Fence

    static let prepared = PreparedStatement(
        name: "pawl_run_handler", sql: "SELECT pawl.run_handler($1::uuid, $2::bigint, $3::integer)")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(fence.key)
        parameters.add(fence.epoch)
    }

    /// The protocol's word for why it did not run; nil: it ran, and the workflow has ended.
    static func decode(_ result: PostgresResult) -> String? { result.rowCount == 1 ? result.optionalString(0, 0) : "fenced" }
}
