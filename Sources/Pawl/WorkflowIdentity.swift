internal import CPawlPlugin
internal import FoundationEssentials

/// What a run begins with, copied out of `pawl_start`.
struct WorkflowIdentity: Sendable {
    let workflowID: String
    let workflowName: String
    let version: Int
    let recoveries: Int
    let priority: Int
    let queue: String
    let partitionKey: String?
    private let headersJSON: Data?
    private let attributesJSON: Data?
    private let createdAtMicroseconds: Int64

    init(_ start: pawl_start) {
        workflowID = start.workflow_id.copiedString
        workflowName = start.workflow_name.copiedString
        version = Int(start.workflow_version)
        recoveries = Int(start.recoveries)
        priority = Int(start.priority)
        queue = start.queue.copiedString
        partitionKey = start.partition_key.copiedStringIfPresent
        headersJSON = start.headers.copiedDataIfPresent
        attributesJSON = start.attributes.copiedDataIfPresent
        createdAtMicroseconds = start.created_at
    }

    // Decoded when asked for: most handlers never do.
    var headers: JSONValue? { headersJSON.flatMap { try? PayloadCoding.decode(JSONValue.self, from: $0) } }
    var attributes: JSONValue? { attributesJSON.flatMap { try? PayloadCoding.decode(JSONValue.self, from: $0) } }
    var createdAt: Date { Date(timeIntervalSince1970: Double(createdAtMicroseconds) / 1_000_000) }
}

extension HandlerRun {
    func branch(_ name: String, of parent: pawl_scope) -> pawl_scope {
        // A run that has ended answers every later call of the branch by itself.
        call { host, run in name.withBytes { host.pointee.branch(run, parent, $0) } } ?? PawlScope.invalid
    }
}
