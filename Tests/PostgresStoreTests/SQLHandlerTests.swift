import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// Workflows that are one SQL function: it and the workflow's end are one transaction, whatever becomes of the connection.
    @Suite struct SQLHandlerTests {
        let database: TestDatabase
        let proxy: FaultProxy
        init() throws {
            database = try TestDatabase.make()
            proxy = try FaultProxy(to: database.cluster)
            try database.connect().script(
                """
                CREATE TABLE ledger (entry text); CREATE SEQUENCE tries;
                CREATE FUNCTION close_books(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
                BEGIN
                    INSERT INTO public.ledger VALUES (input ->> 'book');
                    PERFORM nextval('public.tries');
                    IF input ? 'lock' THEN PERFORM pg_advisory_xact_lock((input ->> 'lock')::bigint); END IF;
                    IF input ? 'state' THEN RAISE EXCEPTION USING ERRCODE = input ->> 'state', MESSAGE = 'as it was told'; END IF;
                    RETURN jsonb_build_object('closed', input -> 'book');
                END $$;
                SELECT pawl.create_handler('books', 'public.close_books(jsonb)')
                """)
        }

        private func claim(_ fixture: StoreFixture, _ input: String) async throws -> ClaimedWorkflow {
            try fixture.enqueue(name: "books", input: input)
            return try await fixture.claimAll(1)[0]
        }

        private func entries() throws -> [String?] { try database.connect().execute("SELECT entry FROM ledger ORDER BY 1").column("entry") }

        /// A worker without a handler of its own claims it too.
        @Test func itRunsAndEnds() async throws {
            let fixture = try await StoreFixture(database, handlers: [])
            let workflow = try await claim(fixture, #"{"book": "a"}"#)
            #expect(workflow.isSQLHandler && workflow.workflowName == "books" && workflow.workflowVersion == 1)
            #expect(try await fixture.runHandler(workflow).word == "ended")
            #expect(try await fixture.runHandler(workflow).word == "fenced")
            let admin = try database.connect()
            #expect(try admin.execute("SELECT status, output::text FROM pawl.workflow_history").rows == [["succeeded", #"{"closed": "a"}"#]])
            #expect(try entries() == ["a"])
            await fixture.shutdown()
        }

        @Test(arguments: [
            ("40001", "retry 40001"), ("40P01", "retry 40P01"), ("57014", "retry 57014"), ("55P03", "retry 55P03"), ("22012", "failed 22012"),
            ("P0001", "failed P0001"), ("42501", "failed 42501"),
        ])
        func anErrorUndoesIt(_ state: String, _ word: String) async throws {
            let fixture = try await StoreFixture(database)
            let workflow = try await claim(fixture, #"{"book": "a", "state": "\#(state)"}"#)
            #expect(try await fixture.runHandler(workflow).word == word)
            #expect(try entries() == [])
            // It is still this worker's, to try again or to end.
            #expect(
                try await fixture.write(ends: [
                    WorkflowEnd(fence: workflow.fence, end: .failed(WorkflowError(code: state, type: "T", message: "m"), reason: "error"))
                ]) == .init())
            await fixture.shutdown()
        }

        @Test(arguments: [
            (FaultProxy.Moment.beforeItArrives, "retry 08006"), (.onceItIsSent, "retry 08006"), (.afterItIsAnswered, "ended"),
        ])
        func itsAnswerIsLost(_ moment: FaultProxy.Moment, _ word: String) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            // The session that it takes is there already: what is cut is not its preparation.
            #expect(try await fixture.runHandler(claim(fixture, "{}")).word == "ended")
            let admin = try database.connect()
            try admin.script("TRUNCATE ledger, pawl.workflow_history")
            // Once it is sent, it stays at work until somebody ends its backend.
            try admin.script("SELECT pg_advisory_lock(4711)")
            let workflow = try await claim(fixture, moment == .onceItIsSent ? #"{"book": "a", "lock": 4711}"# : #"{"book": "a"}"#)
            proxy.cut(moment, on: "pawl_run_handler")
            #expect(try await fixture.runHandler(workflow).word == word)
            #expect(proxy.cuts == 1)
            try admin.script("SELECT pg_advisory_unlock_all()")
            if word != "ended" {
                #expect(try entries() == [])
                #expect(try await fixture.runHandler(workflow).word == "ended")
            }
            #expect(try entries() == ["a"])
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_history WHERE status = 'succeeded'") == 1)
            #expect(fixture.doubleAnswers == 0 && fixture.livesLost == 0)
            await fixture.shutdown()
        }

        @Test func aCancellationStopsIt() async throws {
            let fixture = try await StoreFixture(database)
            let admin = try database.connect()
            let before = try await claim(fixture, #"{"book": "a"}"#)
            try admin.execute("SELECT pawl.cancel_workflow($1)", before.workflowID)
            try await eventually("it is told") { fixture.signals.contains(Signal(fence: before.fence, cancellation: .request)) }
            #expect(try await fixture.runHandler(before).word == "cancelled request")
            // While it runs.
            try admin.script("SELECT pg_advisory_lock(4711)")
            let during = try await claim(fixture, #"{"book": "b", "lock": 4711}"#)
            let id = fixture.newID()
            fixture.send(.runHandler(id, during.fence))
            try await eventually("it runs") { try admin.integer("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1 }
            try admin.execute("SELECT pawl.cancel_workflow($1)", during.workflowID)
            try await eventually("it is told") { fixture.signals.contains(Signal(fence: during.fence, cancellation: .request)) }
            try admin.script("SELECT pg_advisory_unlock(4711)")
            #expect(try await fixture.handlerRan(id).word == "cancelled request")
            #expect(try entries() == [])
            await fixture.shutdown()
        }

        /// As many as there may be, all of them busy: checkpoints and transactions have sessions of their own.
        @Test func aLongFunctionHoldsUpNothing() async throws {
            let fixture = try await StoreFixture(database, poolConnections: 2)
            let admin = try database.connect()
            try admin.script("SELECT pg_advisory_lock(4711)")
            try fixture.enqueue(3, name: "books", input: #"{"book": "a", "lock": 4711}"#)
            let books = try await fixture.claimAll(3)
            let ids = books.map { _ in fixture.newID() }
            for (id, book) in zip(ids, books) { fixture.send(.runHandler(id, book.fence)) }
            try await eventually("two run") { try admin.integer("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 2 }
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            #expect(try await fixture.write(steps: [workflow.step()]) == .init())
            let transaction = fixture.begin(workflow)
            #expect(try await fixture.execute(transaction, "SELECT 1").code == nil)
            #expect(try await fixture.commit(transaction, workflow.step("t", 2, .transaction)).word == "committed")
            #expect(!ids.contains { fixture.isAnswered($0) })
            try admin.script("SELECT pg_advisory_unlock(4711)")
            for id in ids { #expect(try await fixture.handlerRan(id).word == "ended") }
            await fixture.shutdown()
        }

        /// An orderly end undoes a function that still runs, and hands its workflow back.
        @Test func aShutdownEndsIt() async throws {
            let fixture = try await StoreFixture(database)
            let admin = try database.connect()
            try admin.script("SELECT pg_advisory_lock(4711)")
            let workflow = try await claim(fixture, #"{"book": "a", "lock": 4711}"#)
            let id = fixture.newID()
            fixture.send(.runHandler(id, workflow.fence))
            try await eventually("it runs") { try admin.integer("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1 }
            let start = ContinuousClock.now
            await fixture.shutdown()
            #expect(ContinuousClock.now - start < .seconds(5))
            #expect(try await fixture.handlerRan(id).word == "retry 57014")
            #expect(try admin.execute("SELECT status, claimed_by, recoveries FROM pawl.workflow").rows == [["enqueued", nil, "0"]])
            try admin.script("SELECT pg_advisory_unlock(4711)")
            #expect(try entries() == [])
        }

        @Test func aLostLifeUndoesIt() async throws {
            let fixture = try await StoreFixture(database)
            let admin = try database.connect()
            try admin.script("SELECT pg_advisory_lock(4711)")
            let workflow = try await claim(fixture, #"{"book": "a", "lock": 4711}"#)
            let id = fixture.newID()
            fixture.send(.runHandler(id, workflow.fence))
            try await eventually("it runs") { try admin.integer("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1 }
            try admin.script("UPDATE pawl.worker SET ended_at = clock_timestamp(), status = 'dead'")
            #expect(try await fixture.handlerRan(id).word == "fenced")
            let again = try await fixture.claimAll(1)[0]
            #expect(again.fence.key == workflow.fence.key && again.fence.epoch == 2)
            try admin.script("SELECT pg_advisory_unlock(4711)")
            #expect(try entries() == [])
            #expect(try await fixture.runHandler(again).word == "ended")
            #expect(try entries() == ["a"])
            await fixture.shutdown()
        }
    }
}
