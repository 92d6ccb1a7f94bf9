extension OperatorSession {
    /// Throughput, waits and error rates of what ended within the period.
    package func workflowStatistics(period: String, workflowName: String?) throws(OperatorError) -> OperatorRows {
        try rows("SELECT * FROM pawl.workflow_statistics($1::interval, $2) ORDER BY ended DESC, workflow_name, queue", period, workflowName)
    }

    /// The slowest steps of the period.
    package func stepStatistics(period: String, workflowName: String?, limit: Int) throws(OperatorError) -> OperatorRows {
        try rows(
            "SELECT * FROM pawl.step_statistics($1::interval, $2) ORDER BY took_p95 DESC NULLS LAST, workflow_name, step_name LIMIT $3::integer",
            period, workflowName, String(limit))
    }

    /// Since when, for `recentActivity`: that long before now.
    package func time(before interval: String?) throws(OperatorError) -> Int64 {
        try value("SELECT clock_timestamp() - coalesce($1::interval, '0')", interval, needs: .observe).microseconds ?? 0
    }

    /// What happened from a time on, the oldest first: workflows that were enqueued or ended, and steps that were recorded.
    package func recentActivity(
        since: Int64, workflowName: String?, queue: String?, steps: Bool, _ body: (OperatorRows) throws(OperatorError) -> Bool
    ) throws(OperatorError) {
        try pages(
            "SELECT * FROM pawl.recent_activity(timestamptz 'epoch' + $1::bigint * interval '1 microsecond', $2, $3, $4::boolean)",
            [String(since), workflowName, queue, String(steps)], body)
    }
}
