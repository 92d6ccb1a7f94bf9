/// Which workflows are meant; what is nil or empty does not narrow.
package struct WorkflowFilter: Sendable {
    package var workflowName: String?
    /// Any of them.
    package var statuses: [String] = []
    package var queue: String?
    /// Intervals as Postgres reads them, counted back from now.
    package var olderThan: String?
    package var newerThan: String?
    /// JSON that the attributes contain.
    package var attributes: String?
    /// A workflow_id.
    package var parent: String?

    package init() {}

    package var isEmpty: Bool {
        workflowName == nil && statuses.isEmpty && queue == nil && olderThan == nil && newerThan == nil && attributes == nil && parent == nil
    }

    /// A table expression `w` of the rows of `pawl.workflows` that match, and its parameters: only what is asked for, so that each filter finds its index.
    func matching() -> (sql: String, parameters: [String?]) {
        var conditions = QueryConditions()
        conditions.add(workflowName) { "w.workflow_name = \($0)" }
        if statuses.count == 1 {
            // Equality keeps the order of the index of status and time.
            conditions.add(statuses[0]) { "w.status = \($0)" }
        } else if !statuses.isEmpty {
            conditions.add(OperatorSession.array(statuses)) { "w.status = ANY (\($0)::text[])" }
        }
        conditions.add(queue) { "w.queue = \($0)" }
        conditions.add(olderThan) { "w.created_at < now() - \($0)::interval" }
        conditions.add(newerThan) { "w.created_at > now() - \($0)::interval" }
        conditions.add(attributes) { "w.attributes @> \($0)::jsonb" }
        conditions.add(parent) { "w.parent_key = (SELECT p.workflow_key FROM pawl.workflows p WHERE p.workflow_id = \($0))" }
        guard !conditions.all.isEmpty else { return ("pawl.workflows w", []) }
        // Whoever wants the newest few of a customer would be given all workflows by their time, until there were enough of his: OFFSET 0 has his found first.
        return attributes != nil || parent != nil
            ? ("(SELECT w.* FROM pawl.workflows w WHERE \(conditions.sql) OFFSET 0) w", conditions.parameters)
            : ("pawl.workflows w WHERE \(conditions.sql)", conditions.parameters)
    }
}
