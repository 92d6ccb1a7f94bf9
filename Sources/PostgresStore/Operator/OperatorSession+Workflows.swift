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

    /// The ids of all that match, the newest first.
    package func workflowIDs(_ filter: WorkflowFilter) throws(OperatorError) -> [String] {
        let (matching, parameters) = filter.matching()
        var ids: [String] = []
        try pages("SELECT w.workflow_id FROM \(matching) ORDER BY w.created_at DESC", parameters, size: 10_000) { page in
            ids += page.compactMap { $0["workflow_id"].text }
            return true
        }
        return ids
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

    /// The id of the workflow; nil if it was there already and should be skipped. What is nil is left to the function's default.
    package func enqueueWorkflow(_ workflowName: String, _ arguments: [(name: String, value: String?)]) throws(OperatorError) -> String? {
        var parameters: [String?] = [workflowName]
        var named = ""
        for (name, value) in arguments {
            guard let value, let type = Self.enqueueArguments[name] else { continue }
            parameters.append(value)
            named += ", \(name) => $\(parameters.count)::\(type)"
        }
        return try value("SELECT pawl.enqueue_workflow($1\(named))", parameters, needs: .enqueue).text
    }

    private static let enqueueArguments = [
        "input": "jsonb", "workflow_id": "text", "on_existing": "text", "queue": "text", "priority": "integer", "run_at": "timestamptz",
        "delay": "interval", "timeout": "interval", "deduplication_id": "text", "on_duplicate": "text", "max_delay": "interval",
        "partition_key": "text", "workflow_version": "integer", "headers": "jsonb", "attributes": "jsonb", "options": "jsonb",
    ]
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

    /// The ids of those that it changed, all in one transaction; the others are left as they are.
    /// - Parameter evenIfGone: an id that names none is passed over: it was found by a filter, and may have been deleted since.
    package func perform(_ action: WorkflowAction, on workflowIDs: [String], evenIfGone: Bool) throws(OperatorError) -> [String] {
        let call = action.call
        let ids = evenIfGone ? "ARRAY(SELECT w.workflow_id FROM pawl.workflows w WHERE w.workflow_id = ANY ($1::text[]))" : "$1::text[]"
        return try rows(
            """
            SELECT c.workflow_id
            FROM (SELECT \(ids) AS ids) i CROSS JOIN LATERAL pawl.\(call.function)s(i.ids\(call.arguments)) c (workflow_id)
            """, [Self.array(workflowIDs)] + call.parameters, needs: .operate
        ).compactMap { $0["workflow_id"].text }
    }

    /// The ids of the new workflows, in the order of the old ones; all in one transaction.
    /// - Parameter newWorkflowID: for a single one.
    package func forkWorkflows(
        _ workflowIDs: [String], fromStep: String?, fromFailure: Bool, newWorkflowID: String?, input: String?, version: Int?
    ) throws(OperatorError) -> [String] {
        try rows(
            """
            SELECT f.workflow_id FROM pawl.fork_workflows($1::text[], from_step => $2, from_failure => $3::boolean, new_workflow_ids => $4::text[],
                input => $5::jsonb, workflow_version => $6::integer) f (workflow_id)
            """, Self.array(workflowIDs), fromStep, String(fromFailure), newWorkflowID.map { Self.array([$0]) }, input, version.map { String($0) },
            needs: .operate
        ).compactMap { $0["workflow_id"].text }
    }
}
