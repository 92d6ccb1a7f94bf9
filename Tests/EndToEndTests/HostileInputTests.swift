import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct HostileInputTests {
        /// What anybody who may enqueue can make: it ends as a clear failure or waits visibly, and the worker goes on.
        @Test func rowsOfAnyShapeNeitherLoopNorStallNorKillAWorker() async throws {
            let bank = try Bank()
            let worker = try bank.worker(concurrency: 8)
            let inputs = [
                "'null'", "'true'", "'0'", "'\"\"'", "'[]'", "'{}'", "'[null, {\"a\": [[]]}]'",
                "to_jsonb(repeat('x', 900000))",
                "(repeat('[', 400) || repeat(']', 400))::jsonb",
                "to_jsonb(E'\\u202e\\u0085\\ufeff\\U0001F600 e\\u0301 \\\\ \" \\n\\t'::text)",
                "('{\"' || repeat('k', 10000) || '\": 1e+300}')::jsonb",
                "to_jsonb(1e100::numeric)", "to_jsonb('99999999999999999999999999999999999999.5'::numeric)",
            ]
            // A hundred kilobytes that are a gigabyte when somebody writes them out.
            #expect(
                performing: {
                    try bank.admin.script("SELECT pawl.enqueue_workflow('one_step', (SELECT jsonb_agg(1e131071::numeric) FROM generate_series(1, 8100)))")
                },
                throws: { ($0 as? TestSQLError)?.sqlState == "22023" })
            for (index, input) in inputs.enumerated() {
                try bank.admin.script("SELECT pawl.enqueue_workflow('one_step', \(input), workflow_id => 'step-\(index)')")
                // Fails in SQL, for want of the fields.
                try bank.admin.script("SELECT pawl.enqueue_workflow('transfer', \(input), workflow_id => 'transfer-\(index)')")
            }
            try bank.admin.script(
                """
                SELECT pawl.enqueue_workflow('nobody; DROP TABLE bank.account --', workflow_id => 'unknown');
                SELECT pawl.enqueue_workflow('one_step', workflow_id => E'\\' \\\\ \\u202e {} $1 %s \\n');
                SELECT pawl.enqueue_workflow('one_step', workflow_id => repeat('i', 512));
                SELECT pawl.enqueue_workflow('one_step', workflow_version => 77, workflow_id => 'version of tomorrow');
                """)
            try await bank.waitForEnds(2 * inputs.count + 2, of: worker)

            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'one_step' AND status = 'succeeded'") == inputs.count + 2)
            // Each failed transfer says why; none moved money.
            #expect(try bank.admin.integer("SELECT sum(balance) FROM bank.account") == Bank.accounts * Bank.openingBalance)
            #expect(
                try bank.admin.integer(
                    "SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'transfer' AND (status <> 'failed' OR status_reason IS NULL OR coalesce(error->>'message', '') = '')"
                ) == (try bank.admin.integer("SELECT count(*) FROM bank.applied WHERE what = 'receipt'")))
            #expect(try bank.status("unknown") == "enqueued")
            #expect(try bank.status("version of tomorrow") == "enqueued")
            #expect(worker.isRunning)

            // And it still works, at once.
            try bank.enqueueTransfers(20, from: 1000)
            try await eventually("twenty more; \(worker.output)") {
                try bank.admin.integer("SELECT count(*) FROM bank.applied WHERE what = 'receipt' AND transfer::int >= 1000") == 20
            }
        }

        @Test func aHundredThousandThatNobodyCanRunDoNotHideWhatCanBeRun() async throws {
            let bank = try Bank()
            try bank.admin.script("SELECT count(*) FROM pawl.enqueue_workflows('nobody', array_fill('{}'::jsonb, ARRAY[100000]))")
            try bank.enqueueTransfers(50)
            let worker = try bank.worker()
            try await bank.waitForEnds(50, of: worker)
            try bank.audit(transfers: 50)
            #expect(try bank.count("enqueued") == 100_000)
        }
    }
}
