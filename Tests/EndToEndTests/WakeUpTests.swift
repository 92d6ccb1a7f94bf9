import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct WakeUpTests {
        /// The poll is off: whatever runs was woken for.
        @Test func withoutThePollHostileTransactionsAreAllServed() async throws {
            let bank = try Bank()
            try bank.admin.script(
                """
                CREATE TABLE bank.late (id text);
                CREATE FUNCTION bank.enqueue_late() RETURNS trigger LANGUAGE plpgsql AS $$
                    BEGIN PERFORM pawl.enqueue_workflow('one_step', workflow_id => NEW.id); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER late AFTER INSERT ON bank.late DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION bank.enqueue_late();
                """)
            let worker = try bank.worker(concurrency: 50, options: "-c pawl.poll_interval=0")
            try await eventually("idle; \(worker.output)") {
                try bank.admin.integer("SELECT count(*) FROM pg_stat_activity WHERE query ILIKE '%pawl.wait%' AND usename = 'end_to_end_worker'") == 2
            }
            let clients = try (0..<4).map { _ in try bank.database.connect() }
            var expected = 0
            for round in 0..<250 {
                // Opened together, committed in another order: late keys, low keys.
                for (index, client) in clients.enumerated() {
                    let id = "\(round)-\(index)"
                    try client.script("BEGIN")
                    switch (round + index) % 4 {
                    case 0:
                        try client.execute("SELECT pawl.enqueue_workflow('one_step', workflow_id => $1)", id)
                    case 1:
                        try client.execute("INSERT INTO bank.late VALUES ($1)", id)
                    case 2:
                        try client.script("SAVEPOINT s; SELECT pawl.enqueue_workflow('one_step', workflow_id => 'never-\(id)'); ROLLBACK TO s")
                        try client.execute("SELECT pawl.enqueue_workflow('one_step', workflow_id => $1)", id)
                    default:
                        try client.execute("SELECT pawl.enqueue_workflow('one_step', workflow_id => $1)", "aborted-" + id)
                    }
                }
                for (index, client) in clients.enumerated().reversed() {
                    let aborts = (round + index) % 4 == 3
                    try client.script(aborts ? "ROLLBACK" : "COMMIT")
                    expected += aborts ? 0 : 1
                }
            }
            try await bank.waitForEnds(expected, of: worker)
            #expect(try bank.count("succeeded") == expected)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows") == expected)
        }
    }
}
