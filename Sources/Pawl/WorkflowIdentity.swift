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
    private let deadlineMicroseconds: Int64
    let parentWorkflowID: String?
    let attempt: Int

    init(_ pointer: UnsafePointer<pawl_start>) {
        let size = min(Int(pointer.pointee.size), MemoryLayout<pawl_start>.size)
        // What lies past the host's size is zero.
        var start = pawl_start()
        withUnsafeMutableBytes(of: &start) { $0.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: size)) }
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
        deadlineMicroseconds = start.deadline_at
        parentWorkflowID = start.parent_workflow_id.copiedStringIfPresent
        attempt = max(1, Int(start.attempt))
    }

    // Decoded when asked for: most handlers never do.
    var headers: JSONValue? { headersJSON.flatMap { try? PayloadCoding.decode(JSONValue.self, from: $0) } }
    var attributes: JSONValue? { attributesJSON.flatMap { try? PayloadCoding.decode(JSONValue.self, from: $0) } }
    var createdAt: Date { Date(microsecondsSince1970: createdAtMicroseconds) }
    var deadline: Date? { deadlineMicroseconds == 0 ? nil : Date(microsecondsSince1970: deadlineMicroseconds) }
}

extension HandlerRun {
    func closeBranch(_ scope: pawl_scope) {
        guard scope != PawlScope.invalid, offers(.closeBranch) else { return }
        _ = call { host, run in host.pointee.close_branch(run, scope) }
    }

    var isCancelled: Bool {
        guard offers(.isCancelled) else { return false }
        return call { host, run in host.pointee.is_cancelled(run) == 1 } ?? false
    }

    func branch(_ name: String, of parent: pawl_scope) -> pawl_scope {
        // A run that has ended answers every later call of the branch by itself.
        call { host, run in name.withBytes { host.pointee.branch(run, parent, $0) } } ?? PawlScope.invalid
    }
}

extension Date {
    init(microsecondsSince1970 microseconds: Int64) { self.init(timeIntervalSince1970: Double(microseconds) / 1_000_000) }
}
