import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct AtomicEnqueueTests {
        @Test func anOrderAndItsWorkflowAreOne() async throws {
            let bank = try Bank()
            try bank.admin.script(
                """
                CREATE TABLE bank.orders (id integer PRIMARY KEY, note text);
                CREATE TRIGGER pay AFTER INSERT ON bank.orders FOR EACH ROW
                    EXECUTE FUNCTION pawl.enqueue_on_change('one_step', 'workflow_id=order-{id}');
                """)
            let worker = try bank.worker()

            try bank.admin.script("BEGIN; INSERT INTO bank.orders VALUES (1, 'rolled back'); ROLLBACK")
            #expect(throws: TestSQLError.self) {
                try bank.admin.script("INSERT INTO bank.orders VALUES (2, 'fails'); SELECT 1 / 0")
            }
            try bank.admin.script("BEGIN; SAVEPOINT s; INSERT INTO bank.orders VALUES (3, 'undone'); ROLLBACK TO s; COMMIT")
            try bank.admin.script("BEGIN; INSERT INTO bank.orders VALUES (4, 'committed'); COMMIT")
            try bank.admin.script("BEGIN; SAVEPOINT s; INSERT INTO bank.orders VALUES (5, 'committed'); RELEASE s; COMMIT")

            try await bank.waitForEnds(2, of: worker)
            #expect(try bank.admin.execute("SELECT workflow_id FROM pawl.workflows ORDER BY 1").column("workflow_id") == ["order-4", "order-5"])
            #expect(try bank.admin.execute("SELECT 'order-' || id AS id FROM bank.orders ORDER BY 1").column("id") == ["order-4", "order-5"])
            #expect(try bank.count("succeeded") == 2)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflow_steps") == 2)
        }
    }
}
