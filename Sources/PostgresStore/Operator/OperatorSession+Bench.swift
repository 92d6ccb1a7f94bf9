/// What `pawl bench` does to a database: workflows of a name of its own, which it deletes again.
extension OperatorSession {
    private static let benchName = "pawl_bench"

    /// Whether a worker with room would run them: one that lives, serves the queue `default`, and is not held back.
    package func hasIdleWorker() throws(OperatorError) -> Bool {
        try value(
            """
            SELECT EXISTS (SELECT FROM pawl.workers w WHERE w.status = 'running' AND w.ended_at IS NULL AND w.running < w.concurrency
                    AND w.heartbeat_at > clock_timestamp() - interval '10 seconds' AND (w.queues IS NULL OR 'default' = ANY (w.queues)))
                AND NOT (SELECT q.paused FROM pawl.queues q WHERE q.queue = 'default')
            """, needs: .observe
        ).isTrue
    }

    package func roundTrip() throws(OperatorError) { _ = try value("SELECT 1") }

    /// A handler for any worker to run, which writes its input nicely.
    package func createBenchHandler() throws(OperatorError) {
        try call(
            "create_handler",
            [("workflow_name", Self.benchName), ("function", "pg_catalog.jsonb_pretty(jsonb)"), ("on_existing", "replace")])
    }

    package func dropBenchHandler() throws(OperatorError) { try call("drop_handler", [("workflow_name", Self.benchName)]) }

    /// - Parameter runs: whether a worker may run it; otherwise it is put off for a day.
    package func enqueueBench(_ workflowID: String, runs: Bool) throws(OperatorError) {
        try call(
            "enqueue_workflow", [("workflow_name", Self.benchName), ("workflow_id", workflowID), ("delay", runs ? nil : "1 day")],
            needs: .enqueue)
    }

    /// How long the server takes for one statement that enqueues so many, in microseconds; it is undone.
    package func timeOfEnqueueing(_ count: Int) throws(OperatorError) -> Int64 {
        _ = try rows("BEGIN")
        let took = try value(
            """
            SELECT clock_timestamp() - statement_timestamp()
            FROM (SELECT count(*) FROM pawl.enqueue_workflows($1, array_fill('{}'::jsonb, ARRAY[$2::integer]), delay => '1 day')) e
            """, Self.benchName, String(count), needs: .enqueue
        ).microseconds
        _ = try rows("ROLLBACK")
        return took ?? 0
    }

    /// When it was enqueued, when it started and when it ended, by the database's clock.
    package func benchTimes(_ workflowID: String) throws(OperatorError) -> OperatorRow {
        try rows("SELECT created_at, started_at, completed_at FROM pawl.workflows WHERE workflow_id = $1", workflowID).first ?? [:]
    }

    /// Whether none of them is left.
    package func deleteBench(_ workflowIDs: [String]) throws(OperatorError) -> Bool {
        _ = try perform(.cancel(reason: "pawl bench"), on: workflowIDs, evenIfGone: true)
        _ = try perform(.delete, on: workflowIDs, evenIfGone: true)
        return try rows("SELECT workflow_id FROM pawl.workflows WHERE workflow_id = ANY ($1::text[])", Self.array(workflowIDs)).isEmpty
    }
}
