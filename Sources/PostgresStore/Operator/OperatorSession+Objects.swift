/// Queues, schedules, workers, handlers, retention and the audit: what there is, and the functions that change it.
extension OperatorSession {
    package typealias Arguments = [(name: String, value: String?)]

    /// Calls a function of schema pawl by the names of its arguments; what is nil is left to its default.
    @discardableResult
    package func call(_ function: String, _ arguments: Arguments, needs access: OperatorAccess = .operate) throws(OperatorError) -> OperatorValue {
        let given = arguments.filter { $0.value != nil }
        let list = given.enumerated().map { "\($1.name) => $\($0 + 1)" }.joined(separator: ", ")
        do throws(OperatorError) {
            return try value("SELECT pawl.\(function)(\(list))", given.map(\.value), needs: access)
        } catch {
            // Here an argument names the queue or the schedule; a workflow that is to be resumed is there, also if its queue is not any more.
            guard ["PW005", "42704"].contains(error.sqlState) else { throw error }
            throw error.of(.notFound)
        }
    }

    package func queues() throws(OperatorError) -> OperatorRows { try rows("SELECT * FROM pawl.queues ORDER BY queue") }

    package func schedules() throws(OperatorError) -> OperatorRows { try rows("SELECT * FROM pawl.schedules ORDER BY schedule") }

    package func schedule(_ name: String) throws(OperatorError) -> OperatorRow {
        guard let row = try rows("SELECT * FROM pawl.schedules WHERE schedule = $1", name).first else {
            throw OperatorError("schedule \"\(name)\" does not exist\n`pawl schedule list` lists those there are.", .notFound)
        }
        return row
    }

    /// Those that live, or with the ended ones of the last day.
    package func workers(ended: Bool) throws(OperatorError) -> OperatorRows {
        try rows("SELECT * FROM pawl.workers \(ended ? "" : "WHERE ended_at IS NULL ")ORDER BY ended_at DESC NULLS FIRST, worker_name, started_at")
    }

    /// What can be run, and by whom.
    package func handlers(of workflowName: String?) throws(OperatorError) -> OperatorRows {
        try rows(
            """
            SELECT workflow_name, workflow_version, plugin, function, role_name, created_by,
                array_agg(worker_name ORDER BY worker_name) FILTER (WHERE worker_id IS NOT NULL) AS workers
            FROM pawl.handlers WHERE $1::text IS NULL OR workflow_name = $1
            GROUP BY workflow_name, workflow_version, plugin, function, role_name, created_by ORDER BY workflow_name, workflow_version, plugin
            """, workflowName)
    }

    package func retention() throws(OperatorError) -> OperatorRows { try rows("SELECT * FROM pawl.retention") }

    /// What was set for exactly this name, this queue, or (neither) all others; nil: nothing was.
    package func retention(workflowName: String?, queue: String?) throws(OperatorError) -> OperatorRow? {
        try rows(
            """
            SELECT * FROM pawl.retention
            WHERE workflow_name IS NOT DISTINCT FROM $1::text AND queue IS NOT DISTINCT FROM $2::text AND changed_at IS NOT NULL
            """, workflowName, queue
        ).first
    }

    /// The newest first.
    package func audit(_ filter: AuditFilter, limit: Int) throws(OperatorError) -> OperatorRows {
        var conditions = QueryConditions()
        conditions.add(filter.objectKind) { "object_kind = \($0)" }
        conditions.add(filter.objectName) { "object_name = \($0)" }
        conditions.add(filter.action) { "action = \($0)" }
        conditions.add(filter.role) { "role_name = \($0)" }
        conditions.add(filter.newerThan) { "created_at > now() - \($0)::interval" }
        return try rows(
            "SELECT * FROM pawl.audit WHERE \((["true"] + conditions.all).joined(separator: " AND ")) ORDER BY audit_key DESC LIMIT \(limit)",
            conditions.parameters)
    }
}

/// Which entries of the audit; what is nil does not narrow.
package struct AuditFilter: Sendable {
    package var objectKind: String?
    package var objectName: String?
    package var action: String?
    package var role: String?
    /// An interval as Postgres reads it, counted back from now.
    package var newerThan: String?

    package init() {}
}
