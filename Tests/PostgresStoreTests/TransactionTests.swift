import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    @Suite struct TransactionTests {
        let database: TestDatabase
        init() throws {
            database = try TestDatabase.make()
            try database.connect().script(
                """
                CREATE TABLE stock (sku text PRIMARY KEY, on_hand int CHECK (on_hand >= 0)); INSERT INTO stock VALUES ('a', 5), ('b', 5);
                CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
                GRANT ALL ON stock, parent, child TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC
                """)
        }

        private func onHand(_ sku: String = "a") throws -> Int { try database.connect().integer("SELECT on_hand FROM stock WHERE sku = $1", sku) }
        private func steps() throws -> Int { try database.connect().integer("SELECT count(*) FROM pawl.workflow_step") }

        private func claimed(_ fixture: StoreFixture, _ count: Int = 1) async throws -> [ClaimedWorkflow] {
            try fixture.enqueue(count)
            return try await fixture.claimAll(count)
        }

        @Test func theSQLAndTheStepCommitTogether() async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow)
            let update = try await fixture.execute(
                transaction, "UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2 RETURNING sku, on_hand, NULL AS nothing, 'q\"' AS quote", "2", "a")
            #expect(
                update.text
                    == #"{"columns": [["sku", 25], ["on_hand", 23], ["nothing", 25], ["quote", 25]], "rows": [["a", "3", null, "q\""]], "affected": 1}"#)
            #expect(try onHand() == 5)
            #expect(try await fixture.execute(transaction, "SELECT current_user").text?.contains(fixture.role) == true)
            #expect(try await fixture.commit(transaction, workflow.step("reserve", 1, .transaction, #"{"left": 3}"#)).word == "committed")
            #expect(try onHand() == 3)
            let row = try database.connect().execute("SELECT step_name, step_number, kind, epoch, output::text FROM pawl.workflow_step")
            #expect(row.rows == [["reserve", "1", "transaction", "1", #"{"left": 3}"#]])
            // Without any SQL of its own it is a step all the same.
            let empty = fixture.begin(workflow)
            #expect(try await fixture.commit(empty, workflow.step("empty", 2, .transaction)).word == "committed")
            #expect(try steps() == 2)
            await fixture.shutdown()
        }

        /// Whoever declares a stopped worker dead finds its transactions by this lock, and ends their sessions.
        @Test func anOpenTransactionIsMarkedAsThisWorkers() async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let admin = try database.connect()
            let marks = """
                SELECT count(*) FROM pg_locks l JOIN pawl.worker w ON w.worker_number = l.objid::bigint
                WHERE l.locktype = 'advisory' AND l.classid = 1346459470 AND l.objsubid = 2 AND l.mode = 'ShareLock' AND l.granted
                """
            for isolation in [IsolationLevel.readCommitted, .serializable] {
                let transaction = fixture.begin(workflow, isolation)
                #expect(try await fixture.execute(transaction, "SAVEPOINT a").code == nil)
                #expect(try await fixture.execute(transaction, "ROLLBACK TO a").code == nil)
                #expect(try admin.integer(marks) == 1)
                #expect(try await fixture.commit(transaction, workflow.step("t\(isolation)", 1, .transaction)).word == "committed")
                #expect(try admin.integer(marks) == 0)
            }
            #expect(try await fixture.query("SELECT 1").code == nil)
            await fixture.shutdown()
        }

        @Test func aRollbackLeavesNothing() async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow)
            _ = try await fixture.execute(transaction, "UPDATE stock SET on_hand = 0")
            fixture.send(.rollback(transaction: transaction))
            // The row is free again.
            let next = fixture.begin(workflow)
            #expect(try await fixture.execute(next, "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'a'").code == nil)
            #expect(try await fixture.commit(next, workflow.step()).word == "committed")
            #expect(try onHand() == 4)
            await fixture.shutdown()
        }

        @Test func aFailedStatementFailsTheTransaction() async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow)
            #expect(try await fixture.execute(transaction, "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'b'").code == nil)
            let failure = try await fixture.execute(transaction, "UPDATE stock SET on_hand = -1 WHERE sku = 'a'")
            #expect(failure.code == "23514")
            #expect(try await fixture.execute(transaction, "SELECT 1").code == "25P02")
            #expect(try await fixture.commit(transaction, workflow.step()).word == "failed 23514")
            #expect(try onHand("b") == 5)
            #expect(try steps() == 0)
            await fixture.shutdown()
        }

        @Test func aDeferredConstraintFailsItAtTheCommit() async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow)
            #expect(try await fixture.execute(transaction, "INSERT INTO child VALUES (1)").code == nil)
            #expect(try await fixture.commit(transaction, workflow.step()).word == "failed 23503")
            #expect(try steps() == 0)
            #expect(try database.connect().integer("SELECT count(*) FROM child") == 0)
            await fixture.shutdown()
        }

        @Test func aSerializationFailureMayBeRetried() async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow, .repeatableRead)
            #expect(try await fixture.execute(transaction, "SELECT on_hand FROM stock").code == nil)
            try database.connect().script("UPDATE stock SET on_hand = on_hand - 1")
            #expect(try await fixture.execute(transaction, "UPDATE stock SET on_hand = on_hand - 1").code == "40001")
            #expect(try await fixture.commit(transaction, workflow.step()).word == "retry 40001")
            // At the commit itself: a write skew.
            let skewed = fixture.begin(workflow, .serializable)
            #expect(try await fixture.execute(skewed, "SELECT sum(on_hand) FROM stock").code == nil)
            #expect(try await fixture.execute(skewed, "UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'a'").code == nil)
            try database.connect().script(
                "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(on_hand) FROM stock; UPDATE stock SET on_hand = on_hand - 1 WHERE sku = 'b'; COMMIT")
            #expect(try await fixture.commit(skewed, workflow.step()).word == "retry 40001")
            #expect(try steps() == 0)
            await fixture.shutdown()
        }

        /// A body may not end the transaction around it: its SQL would be committed without the step.
        @Test(arguments: ["COMMIT", ";commit", "/* x */ END", "COMMIT AND CHAIN", "ROLLBACK", "PREPARE TRANSACTION 'x'", "BEGIN"])
        func aBodyCannotEndItsTransaction(_ sql: String) async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow)
            #expect(try await fixture.execute(transaction, "UPDATE stock SET on_hand = on_hand - 1").code == nil)
            #expect(try await fixture.execute(transaction, sql).code == "2D000")
            #expect(try await fixture.commit(transaction, workflow.step()).word == "failed 2D000")
            #expect(try onHand() == 5)
            #expect(try steps() == 0)
            await fixture.shutdown()
        }

        @Test func neitherCanAProcedure() async throws {
            try database.connect().script(
                "CREATE PROCEDURE sneaky() LANGUAGE plpgsql AS $$ BEGIN UPDATE stock SET on_hand = on_hand - 1; COMMIT; END $$; GRANT ALL ON PROCEDURE sneaky() TO PUBLIC"
            )
            let fixture = try await StoreFixture(database)
            let workflow = try await claimed(fixture)[0]
            for sql in ["CALL sneaky()", "DO $$ BEGIN UPDATE stock SET on_hand = 0; COMMIT; END $$"] {
                let transaction = fixture.begin(workflow)
                #expect(try await fixture.execute(transaction, sql).code == "2D000")
                #expect(try await fixture.commit(transaction, workflow.step()).word == "failed 2D000")
            }
            // As the first statement of a query too.
            #expect(try await fixture.query("CALL sneaky()").code != nil)
            #expect(try await fixture.query("COMMIT").code == "2D000")
            #expect(try onHand() == 5)
            await fixture.shutdown()
        }

        @Test func nothingStaysInASessionForTheNextOne() async throws {
            let admin = try database.connect()
            let fixture = try await StoreFixture(database, poolConnections: 1)
            try admin.script("CREATE ROLE guest_\(database.name); GRANT guest_\(database.name) TO \(fixture.role)")
            defer { _ = try? admin.script("DROP OWNED BY guest_\(database.name); DROP ROLE guest_\(database.name)") }
            let workflow = try await claimed(fixture)[0]
            func backend() async throws -> String? { try await fixture.query("SELECT pg_backend_pid()").text }
            let before = try await backend()
            let transaction = fixture.begin(workflow)
            for sql in [
                "SET search_path = nowhere", "SELECT set_config('work_mem', '64kB', false)", "CREATE TEMP TABLE leftover (i int)",
                "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "LISTEN something", "SELECT pg_advisory_lock(7)", "SET SESSION statement_timeout = 12345",
            ] { #expect(try await fixture.execute(transaction, sql).code == nil, "\(sql)") }
            #expect(try await fixture.commit(transaction, workflow.step()).word == "committed")
            let left = try await fixture.query(
                """
                SELECT current_setting('search_path') <> 'nowhere' AND current_setting('work_mem') <> '64kB' AND current_setting('statement_timeout') = '0'
                    AND to_regclass('pg_temp.leftover') IS NULL AND NOT EXISTS (SELECT FROM pg_cursors WHERE is_holdable)
                    AND NOT EXISTS (SELECT FROM pg_listening_channels()) AND current_user = session_user
                    AND NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
                """)
            #expect(left.text?.contains(#"[["t"]]"#) == true)
            // It was the same session, and not a new one.
            #expect(try await backend() == before)

            // A role taken on is not left on, and its step is refused where that role may not record one.
            let other = fixture.begin(workflow)
            #expect(try await fixture.execute(other, "SET ROLE guest_\(database.name)").code == nil)
            #expect(try await fixture.commit(other, workflow.step("r", 2)).word == "failed 42501")
            #expect(try await fixture.query("SELECT current_user").text?.contains("[[\"\(fixture.role)\"]]") == true)

            // What it prepared goes with the session.
            let third = fixture.begin(workflow)
            #expect(try await fixture.execute(third, "PREPARE x AS SELECT 1").code == nil)
            #expect(try await fixture.commit(third, workflow.step("p", 3)).word == "committed")
            #expect(try await fixture.query("SELECT count(*) FROM pg_prepared_statements WHERE name = 'x'").text?.contains(#"[["0"]]"#) == true)
            await fixture.shutdown()
        }

        @Test func queriesReadAndDoNotWrite() async throws {
            let fixture = try await StoreFixture(database)
            #expect(try await fixture.query("SELECT on_hand FROM stock WHERE sku = $1", "a").text?.contains(#""rows": [["5"]]"#) == true)
            #expect(try await fixture.query("UPDATE stock SET on_hand = 0").code == "25006")
            #expect(try await fixture.query("SELECT set_config('transaction_read_only', 'off', true)").code != nil)
            #expect(try await fixture.query("SELECT missing").code == "42703")
            #expect(try await fixture.query("SELECT 1\0").code == "22021")
            #expect(try await fixture.query("COPY stock TO STDOUT").code == "0A000")
            #expect(try await fixture.query("SELECT $1::text", nil).text?.contains("[[null]]") == true)
            #expect(try onHand() == 5)
            await fixture.shutdown()
        }

        @Test func moreTransactionsThanSessionsWaitForTheirTurn() async throws {
            let fixture = try await StoreFixture(database, poolConnections: 2)
            let workflows = try await claimed(fixture, 20)
            let commits = workflows.map { workflow -> RequestID in
                let transaction = fixture.begin(workflow)
                let execute = fixture.newID()
                let commit = fixture.newID()
                fixture.send(.execute(execute, transaction: transaction, SQLStatement(sql: "SELECT pg_sleep(0.01)", parameters: [])))
                fixture.send(.commit(commit, transaction: transaction, workflow.step()))
                return commit
            }
            for commit in commits { #expect(try await fixture.ended(commit).word == "committed") }
            #expect(try steps() == 20)
            let sessions = try database.connect().integer(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query LIKE 'DISCARD%'", fixture.role)
            #expect(sessions <= 2)
            await fixture.shutdown()
        }

        @Test func aRollbackEndsAStatementThatRuns() async throws {
            let fixture = try await StoreFixture(database, poolConnections: 1)
            let workflow = try await claimed(fixture)[0]
            let transaction = fixture.begin(workflow)
            let id = fixture.newID()
            fixture.send(.execute(id, transaction: transaction, SQLStatement(sql: "SELECT pg_sleep(600)", parameters: [])))
            let admin = try database.connect()
            func sleeping() throws -> Int {
                try admin.integer("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event = 'PgSleep'", fixture.role)
            }
            try await eventually("it runs") { try sleeping() == 1 }
            fixture.send(.rollback(transaction: transaction))
            // The only session of the pool serves the next one, and the server stops by itself.
            #expect(try await fixture.query("SELECT 1").code == nil)
            try await eventually("it runs no more") { try sleeping() == 0 }
            await fixture.shutdown()
        }
    }
}
