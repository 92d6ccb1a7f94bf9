/// A run of `pawl bench`: a handler of a name of its own, and workflows of that name, which it takes away again.
package struct BenchRun: Sendable {
    /// Whoever holds the advisory lock (1346459467, number) is at it; without it, it was killed.
    fileprivate let number: Int32

    package static let mostWorkflows = 10_000
    package var name: String { "pawl_bench_\(number)" }
    func workflowID(_ index: Int) -> String { "\(name)-\(index)" }
}

extension OperatorSession {
    private static let benchLockClass = "1346459467"

    /// A run that is this session's as long as the session lasts.
    package func beginBench() throws(OperatorError) -> BenchRun {
        let run = BenchRun(number: .random(in: 1...999_999_999))
        _ = try value("SELECT pg_advisory_lock($1::integer, $2::integer)", Self.benchLockClass, String(run.number))
        return run
    }

    /// Runs that were killed; they are this session's now. A handler is the first that a run makes and the last that it takes away.
    package func abandonedBenches() throws(OperatorError) -> [BenchRun] {
        try rows(
            """
            SELECT b.number FROM (SELECT DISTINCT substr(h.workflow_name, 12)::integer AS number FROM pawl.handlers h
                WHERE h.workflow_name ~ '^pawl_bench_[1-9][0-9]{0,8}$') b
            WHERE pg_try_advisory_lock($1::integer, b.number) ORDER BY b.number
            """, Self.benchLockClass
        ).compactMap { $0["number"].text.flatMap { Int32($0) }.map { BenchRun(number: $0) } }
    }

    /// Whether a worker with room would run them: one that lives, serves the queue `default`, and is not held back.
    package func hasIdleWorker() throws(OperatorError) -> Bool {
        try value(
            """
            SELECT EXISTS (SELECT FROM pawl.workers w WHERE w.status = 'running' AND w.running < w.concurrency
                    AND (w.queues IS NULL OR 'default' = ANY (w.queues)))
                AND NOT (SELECT q.paused FROM pawl.queues q WHERE q.queue = 'default')
            """, needs: .observe
        ).isTrue
    }

    package func roundTrip() throws(OperatorError) { _ = try value("SELECT 1") }

    /// A handler for any worker to run, which writes its input nicely.
    package func createBenchHandler(_ run: BenchRun) throws(OperatorError) {
        try call("create_handler", [("workflow_name", run.name), ("function", "pg_catalog.jsonb_pretty(jsonb)")])
    }

    package func dropBenchHandler(_ run: BenchRun) throws(OperatorError) { try call("drop_handler", [("workflow_name", run.name)]) }

    /// - Parameter runs: whether a worker may run it; otherwise it is put off for a day.
    package func enqueueBench(_ run: BenchRun, _ index: Int, runs: Bool) throws(OperatorError) {
        try call(
            "enqueue_workflow", [("workflow_name", run.name), ("workflow_id", run.workflowID(index)), ("delay", runs ? nil : "1 day")],
            needs: .enqueue)
    }

    /// How long the server takes for one statement that enqueues so many, in microseconds; it is undone.
    package func timeOfEnqueueing(_ count: Int, _ run: BenchRun) throws(OperatorError) -> Int64 {
        _ = try rows("BEGIN")
        let took = try value(
            """
            SELECT clock_timestamp() - statement_timestamp()
            FROM (SELECT count(*) FROM pawl.enqueue_workflows($1, array_fill('{}'::jsonb, ARRAY[$2::integer]), delay => '1 day')) e
            """, run.name, String(count), needs: .enqueue
        ).microseconds
        _ = try rows("ROLLBACK")
        return took ?? 0
    }

    /// When it was enqueued, when it started and when it ended, by the database's clock.
    package func benchTimes(_ run: BenchRun, _ index: Int) throws(OperatorError) -> OperatorRow {
        try rows("SELECT created_at, started_at, completed_at FROM pawl.workflows WHERE workflow_id = $1", run.workflowID(index)).first ?? [:]
    }

    /// Cancels and deletes its first `count` workflows, and answers how many are left, because they run.
    package func clearBench(_ run: BenchRun, count: Int) throws(OperatorError) -> Int {
        var left = 0
        for start in stride(from: 0, to: count, by: 500) {
            let ids = (start..<min(start + 500, count)).map(run.workflowID)
            let found = try rows("SELECT workflow_key FROM pawl.workflows WHERE workflow_id = ANY ($1::text[])", Self.array(ids))
            guard !found.isEmpty else { continue }
            let targets = WorkflowTargets.found(found.compactMap(\.workflowKey))
            _ = try perform(.cancel(reason: nil), on: targets)
            left += try perform(.delete, on: targets).count { !$0["changed"].isTrue }
        }
        return left
    }
}
