import PostgresClient
import WorkflowEngine

/// Takes queued workflows for this worker.
struct ClaimStatement: StoreStatement {
    let worker: UUIDBytes
    let limit: Int
    let offer: Offer
    let alone: Bool

    static let prepared = PreparedStatement(
        name: "pawl_claim",
        sql: """
            SELECT workflow_key, epoch, replay, workflow_version, priority, recoveries, created_at, workflow_id, workflow_name, queue, \
            partition_key, input, headers, attributes, deadline_at, deadline_in, cancel_reason, sql_handler, probation, parent_workflow_id \
            FROM pawl.claim_workflows($1::uuid, $2::integer, $3::text[], $4::integer[], $5::text[], $6::boolean)
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(Int32(clamping: limit))
        offer.bind(&parameters)
        parameters.add(alone)
    }

    static func decode(_ result: PostgresResult) -> [Claim] {
        // Rows of one batch share a few names; each name is one string.
        var names = StringCache()
        var queues = StringCache()
        return (0..<result.rowCount).map { row in
            Claim(
                workflow: ClaimedWorkflow(
                    fence: Fence(key: result.int64(row, 0), epoch: result.int32(row, 1)), workflowID: result.string(row, 7),
                    workflowName: names.string(result.bytes(row, 8)), workflowVersion: result.int32(row, 3), queue: queues.string(result.bytes(row, 9)),
                    priority: result.int32(row, 4), partitionKey: result.optionalString(row, 10), recoveries: result.int32(row, 5),
                    input: result.isNull(row, 11) ? Array("null".utf8) : result.json(row, 11), headers: result.optionalJSON(row, 12),
                    attributes: result.optionalJSON(row, 13), createdAt: result.microseconds(row, 6),
                    deadlineAt: result.isNull(row, 14) ? nil : result.microseconds(row, 14),
                    deadlineIn: result.isNull(row, 15) ? nil : result.int64(row, 15), parentWorkflowID: result.optionalString(row, 19),
                    cancellation: result.optionalString(row, 16).map { Cancellation(rawValue: $0) ?? .request },
                    isSQLHandler: result.bool(row, 17), isOnProbation: result.bool(row, 18), recordedSteps: []),
                replay: result.bool(row, 2))
        }
    }

    struct Claim {
        var workflow: ClaimedWorkflow
        /// It ran before: its recorded steps have to be read.
        var replay: Bool
    }
}

/// The names, versions and queues that a worker claims.
struct Offer: Equatable {
    var names: [String]
    var versions: [Int32]
    /// nil: all.
    var queues: [String]?

    init(_ handlers: [HandlerOffer], queues: [String]?) {
        names = handlers.map(\.id.workflowName)
        versions = handlers.map(\.id.workflowVersion)
        self.queues = queues
    }

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.addArray(names)
        parameters.addArray(versions)
        if let queues { parameters.addArray(queues) } else { parameters.addNull() }
    }
}

/// The last string made, to be handed out again for the same bytes.
private struct StringCache {
    private var last = ""
    private var bytes: [UInt8] = []

    mutating func string(_ value: UnsafeRawBufferPointer) -> String {
        if value.elementsEqual(bytes) { return last }
        bytes = [UInt8](value)
        last = String(decoding: bytes, as: UTF8.self)
        return last
    }
}
