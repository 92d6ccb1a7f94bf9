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

        /// The client does not know whether its order was taken, and asks again under the same id.
        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .afterItIsAnswered])
        func anEnqueueWhoseAnswerIsLostIsAskedForAgain(_ moment: FaultProxy.Moment) async throws {
            let bank = try Bank()
            try bank.admin.script("CREATE TABLE bank.orders (id integer PRIMARY KEY)")
            let proxy = try FaultProxy(to: bank.cluster)
            defer { proxy.stop() }
            func order() throws {
                let client = try TestConnection(proxy.connectionString(database: bank.database.name))
                try client.script("BEGIN; INSERT INTO bank.orders VALUES (1) ON CONFLICT DO NOTHING")
                try client.execute("SELECT pawl.enqueue_workflow('one_step', workflow_id => 'order-1')")
                try client.script("COMMIT")
            }
            proxy.cut(moment, on: "COMMIT")
            #expect(throws: TestSQLError.self) { try order() }
            #expect(proxy.cuts == 1)
            let committed = moment == .afterItIsAnswered ? 1 : 0
            try await eventually("the server has let go of the lost session") {
                try bank.admin.integer("SELECT count(*) FROM bank.orders") == committed
                    && bank.admin.integer("SELECT count(*) FROM pawl.workflows") == committed
            }
            try order()
            let worker = try bank.worker()
            try await bank.waitForEnds(1, of: worker)
            #expect(try bank.admin.integer("SELECT count(*) FROM bank.orders") == 1)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows") == 1)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflow_steps") == 1)
        }
    }
}
