extension OperatorSession {
    /// The database's clock, in microseconds since 1970.
    package func now() throws(OperatorError) -> Int64 {
        try value("SELECT clock_timestamp()").microseconds ?? 0
    }

    /// The newest first, in pages; nil: all that match.
    package func workflows(
        _ filter: WorkflowFilter, limit: Int?, _ body: (OperatorRows) throws(OperatorError) -> Bool
    ) throws(OperatorError) {
        let (matching, parameters) = filter.matching()
        try pages(
            """
            SELECT w.workflow_id, w.workflow_name, w.workflow_version, w.queue, w.status, w.status_reason, w.priority, w.partition_key, w.attributes,
                w.parent_workflow_id, w.worker_id, w.recoveries, w.waiting_for, w.error, w.created_at, w.run_at, w.started_at, w.completed_at
            FROM \(matching) ORDER BY w.created_at DESC\(limit.map { " LIMIT \($0)" } ?? "")
            """, parameters, body)
    }

    /// The keys of all that match, the newest first.
    package func workflowKeys(_ filter: WorkflowFilter) throws(OperatorError) -> [Int64] {
        let (matching, parameters) = filter.matching()
        var keys: [Int64] = []
        try pages("SELECT w.workflow_key FROM \(matching) ORDER BY w.created_at DESC", parameters, size: 10_000) { page in
            keys += page.compactMap(\.workflowKey)
            return true
        }
        return keys
    }

    /// One workflow, with all that the view says about it.
    package func workflow(_ workflowID: String) throws(OperatorError) -> OperatorRow {
        guard let row = try rows("SELECT * FROM pawl.workflows WHERE workflow_id = $1", workflowID).first else {
            throw OperatorError(
                "workflow \"\(workflowID)\" does not exist\nNone of that id was enqueued, or it ended so long ago that it was deleted.", .notFound)
        }
        return row
    }

    /// The children of a workflow, the oldest first.
    package func children(of workflowKey: String?, limit: Int) throws(OperatorError) -> OperatorRows {
        // By the bare key it would be all workflows in the order of the primary key, until there were enough children.
        try rows("SELECT * FROM pawl.workflows WHERE parent_key = $1::bigint ORDER BY workflow_key + 0 LIMIT $2::bigint", workflowKey, String(limit))
    }

    /// The last `limit` recorded steps of a workflow, in the order of their numbers; nil: all.
    package func steps(of workflowKey: String?, limit: Int?) throws(OperatorError) -> OperatorRows {
        var latest = try rows(
            "SELECT * FROM pawl.workflow_steps WHERE workflow_key = $1::bigint ORDER BY step_number DESC, step_name DESC LIMIT $2::bigint",
            workflowKey, limit.map { String($0) })
        latest.values.reverse()
        return latest
    }

    package func explainWorkflow(_ workflowID: String) throws(OperatorError) -> String {
        try value("SELECT pawl.explain_workflow($1)", workflowID, needs: .observe).text ?? ""
    }

    /// The history of a workflow as one JSON object.
    package func exportWorkflow(_ workflowID: String) throws(OperatorError) -> String {
        try value("SELECT pawl.export_workflow($1)", workflowID, needs: .inspect).text ?? ""
    }

    /// status, output and error of a workflow once it has ended, or its status when the time is over.
    package func waitForWorkflow(_ workflowID: String, timeout: String?) throws(OperatorError) -> OperatorRow {
        let answer = try rows("CALL pawl.wait_for_workflow($1, $2::interval, NULL, NULL, NULL)", workflowID, timeout, needs: .inspect)
        return answer.first ?? [:]
    }

    /// Whether it was accepted; false: the workflow has ended.
    package func sendMessage(to workflowID: String, _ message: String, topic: String, idempotencyKey: String?) throws(OperatorError) -> Bool {
        try value("SELECT pawl.send_message($1, $2::jsonb, $3, $4)", workflowID, message, topic, idempotencyKey, needs: .send).isTrue
    }

    package func moveWorkflows(_ workflowName: String, from: Int, to: Int) throws(OperatorError) -> Int {
        try value("SELECT pawl.move_workflows($1, $2::integer, $3::integer)", workflowName, String(from), String(to)).integer ?? 0
    }
}

extension OperatorRow {
    var workflowKey: Int64? { self["workflow_key"].integer.map(Int64.init) }
}

/// What can be done to many workflows at once.
package enum WorkflowAction: Sendable {
    case cancel(reason: String?)
    case resume(version: Int?, reason: String?)
    case rewind(fromStep: String, version: Int?, reason: String?)
    case redact
    case delete

    /// The statuses that it changes anything about.
    package var statuses: [String] {
        switch self {
        case .cancel: ["enqueued", "delayed", "running", "waiting"]
        case .resume: ["failed", "cancelled"]
        case .rewind, .redact, .delete: ["succeeded", "failed", "cancelled"]
        }
    }

    /// The function that does it to one workflow, what follows the id among its arguments, and their values from $2 on.
    fileprivate var call: (function: String, arguments: String, parameters: [String?]) {
        switch self {
        case .cancel(let reason): ("cancel_workflow", ", reason => $2", [reason])
        case .resume(let version, let reason):
            ("resume_workflow", ", workflow_version => $2::integer, reason => $3", [version.map { String($0) }, reason])
        case .rewind(let step, let version, let reason):
            (
                "rewind_workflow", ", from_step => $2, workflow_version => $3::integer, reason => $4",
                [step, version.map { String($0) }, reason]
            )
        case .redact: ("redact_workflow", "", [])
        case .delete: ("delete_workflow", "", [])
        }
    }
}

extension OperatorSession {
    /// Whether it changed anything. What cannot be done to this one is an error that says why.
    package func perform(_ action: WorkflowAction, on workflowID: String) throws(OperatorError) -> Bool {
        let call = action.call
        return try value("SELECT pawl.\(call.function)($1\(call.arguments))", [workflowID] + call.parameters).isTrue
    }

    /// What became of each, all in one transaction: workflow_id and changed. What it cannot be done to is left as it is.
    package func perform(_ action: WorkflowAction, on targets: WorkflowTargets) throws(OperatorError) -> OperatorRows {
        let call = action.call
        let (found, parameter) = targets.query
        return try rows(
            """
            WITH target AS MATERIALIZED (\(found)),
            changed AS MATERIALIZED (
                SELECT c.workflow_id FROM pawl.\(call.function)s(ARRAY(SELECT t.workflow_id FROM target t)\(call.arguments)) c (workflow_id))
            SELECT t.workflow_id, c.workflow_id IS NOT NULL AS changed FROM target t LEFT JOIN changed c ON c.workflow_id = t.workflow_id
            ORDER BY t.place
            """, [parameter] + call.parameters, needs: .operate)
    }

    /// The id of the new workflow. What cannot be forked is an error that says why.
    package func forkWorkflow(_ workflowID: String, newWorkflowID: String?, _ cut: WorkflowFork) throws(OperatorError) -> String {
        try value("SELECT pawl.fork_workflow($1\(cut.arguments), new_workflow_id => $6)", [workflowID] + cut.parameters + [newWorkflowID]).text ?? ""
    }

    /// What became of each, all in one transaction: workflow_id, new_workflow_id and changed.
    package func forkWorkflows(_ targets: WorkflowTargets, _ cut: WorkflowFork) throws(OperatorError) -> OperatorRows {
        let (found, parameter) = targets.query
        // It answers a row for each, in their order: NULL for one that cannot be forked so.
        return try rows(
            """
            WITH target AS MATERIALIZED (\(found))
            SELECT t.workflow_id, f.workflow_id AS new_workflow_id, f.workflow_id IS NOT NULL AS changed
            FROM pawl.fork_workflows(ARRAY(SELECT t.workflow_id FROM target t ORDER BY t.place)\(cut.arguments)) WITH ORDINALITY f (workflow_id, place)
            JOIN target t ON t.place = f.place ORDER BY t.place
            """, [parameter] + cut.parameters, needs: .operate)
    }
}

/// Where forks begin, and what they are given.
package struct WorkflowFork: Sendable {
    package var fromStep: String?
    package var fromFailure = false
    package var input: String?
    package var workflowVersion: Int?

    package init() {}

    /// What follows the id among the arguments of the function, and their values from $2 on.
    fileprivate var arguments: String { ", from_step => $2, from_failure => $3::boolean, input => $4::jsonb, workflow_version => $5::integer" }
    fileprivate var parameters: [String?] { [fromStep, String(fromFailure), input, workflowVersion.map { String($0) }] }
}

/// Which workflows an action is for.
package enum WorkflowTargets: Sendable {
    /// As somebody named them: an id that names none is an error.
    case named([String])
    /// The keys of those that a filter found, which are small: one that was deleted since is passed over.
    case found([Int64])

    package var count: Int {
        switch self {
        case .named(let ids): ids.count
        case .found(let keys): keys.count
        }
    }

    /// So many at a time.
    package func batches(of size: Int) -> some Sequence<WorkflowTargets> {
        stride(from: 0, to: count, by: size).lazy.map { start in
            let range = start..<min(start + size, count)
            return switch self {
            case .named(let ids): .named(Array(ids[range]))
            case .found(let keys): .found(Array(keys[range]))
            }
        }
    }

    /// workflow_id and place of each, and the value of its $1.
    fileprivate var query: (sql: String, parameter: String) {
        switch self {
        case .named(let ids):
            ("SELECT n.workflow_id, n.place FROM unnest($1::text[]) WITH ORDINALITY n (workflow_id, place)", OperatorSession.array(ids))
        case .found(let keys):
            (
                """
                SELECT w.workflow_id, row_number() OVER (ORDER BY w.created_at DESC, w.workflow_key DESC) AS place
                FROM pawl.workflows w WHERE w.workflow_key = ANY ($1::bigint[])
                """, "{\(keys.map { String($0) }.joined(separator: ","))}"
            )
        }
    }
}
