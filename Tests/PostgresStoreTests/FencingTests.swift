import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// Another worker owns the workflow: no kind of write gets through.
    @Suite struct FencingTests {
        let database: TestDatabase
        init() throws {
            database = try TestDatabase.make()
            try database.connect().script("CREATE TABLE effect (i int); GRANT ALL ON effect TO PUBLIC")
        }

        enum Theft: String, CaseIterable { case worker, epoch, both }

        /// Gives the workflow to somebody else, in each way that a fence can differ.
        private func steal(_ workflow: ClaimedWorkflow, _ theft: Theft) throws {
            let change =
                switch theft {
                case .worker: "claimed_by = '00000000-0000-4000-8000-00000000dead'"
                case .epoch: "epoch = epoch + 1"
                case .both: "epoch = epoch + 1, claimed_by = '00000000-0000-4000-8000-00000000dead'"
                }
            try database.connect().execute("UPDATE pawl.workflow SET \(change) WHERE workflow_key = $1::bigint", "\(workflow.fence.key)")
        }

        @Test(arguments: Theft.allCases) func everyKindOfWriteIsRefused(_ theft: Theft) async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            let (lost, kept) = (claimed[0], claimed[1])
            let open = fixture.begin(lost)
            #expect(try await fixture.execute(open, "INSERT INTO effect VALUES (1)").code == nil)
            try steal(lost, theft)
            // A transaction that began before, one that begins after.
            #expect(try await fixture.commit(open, lost.step("t", 1, .transaction)).word == "fenced")
            let late = fixture.begin(lost)
            #expect(try await fixture.execute(late, "INSERT INTO effect VALUES (2)").code == nil)
            #expect(try await fixture.commit(late, lost.step("t", 1, .transaction)).word == "fenced")
            // Steps and ends, beside rows that are still ours.
            #expect(try await fixture.write(steps: [lost.step(), kept.step()], ends: [lost.end()]) == .init(steps: [0: .fenced], ends: [0: .fenced]))
            // A hand-back changes nothing.
            fixture.send(.release([lost.fence]))
            #expect(try await fixture.write(ends: [kept.end()]) == .init())
            let admin = try database.connect()
            #expect(try admin.integer("SELECT count(*) FROM effect") == 0)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_step WHERE workflow_key = $1::bigint", "\(lost.fence.key)") == 0)
            #expect(try admin.value("SELECT status || claimed_by IS NOT NULL FROM pawl.workflow WHERE workflow_key = $1::bigint", "\(lost.fence.key)") == "t")
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_step WHERE workflow_key = $1::bigint", "\(kept.fence.key)") == 1)
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }

        @Test func aWorkerDeclaredDeadDropsEverythingAndBeginsAnew() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            let admin = try database.connect()
            // A statement that waits for a lock, a transaction that is open, a write that waits for a row.
            let holder = try database.connect()
            try holder.script("BEGIN; LOCK TABLE effect; SELECT FROM pawl.workflow WHERE workflow_key = \(claimed[0].fence.key) FOR UPDATE")
            let transaction = fixture.begin(claimed[1])
            let execute = fixture.newID()
            fixture.send(.execute(execute, transaction: transaction, SQLStatement(sql: "INSERT INTO effect VALUES (1)", parameters: [])))
            let write = fixture.newID()
            fixture.send(.write(write, steps: [claimed[0].step()], ends: [claimed[0].end()]))
            try await eventually("both wait") {
                try admin.integer("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'", fixture.role) == 2
            }
            try admin.script("UPDATE pawl.worker SET ended_at = clock_timestamp(), status = 'dead'")
            #expect(try await fixture.written(write) == .init(steps: [0: .fenced], ends: [0: .fenced]))
            guard case .executed(_, .failure(let error)) = try await fixture.answer(execute) else {
                Issue.record("another answer")
                return
            }
            #expect(error.code == "PW001")
            try await eventually("a new life") { fixture.livesLost == 1 && fixture.lives.count == 2 }
            #expect(Set(fixture.lives).count == 2)
            try holder.script("ROLLBACK")
            // The write that waited may still have found the workflow unclaimed by anyone else, and then it ended there, once. The others are handed back
            // by the heartbeats of the new life, and claimed by it.
            let again = try await fixture.claimAll(2)
            #expect(again.allSatisfy { workflow in claimed.contains { $0.fence.key == workflow.fence.key } && workflow.fence.epoch == 2 })
            #expect(try await fixture.write(ends: again.map { $0.end() }) == .init())
            if try admin.integer("SELECT count(*) FROM pawl.workflow") == 1 {
                let last = try await fixture.claimAll(1)
                #expect(try await fixture.write(ends: last.map { $0.end() }) == .init())
            }
            #expect(try admin.integer("SELECT count(DISTINCT workflow_key) FROM pawl.workflow_history WHERE status = 'succeeded'") == 3)
            #expect(try admin.integer("SELECT count(*) FROM effect") == 0)
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }

        @Test func aLifeLineThatIsCutEndsTheLife() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            let line = try admin.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' AND l.classid = 1346459468 AND d.datname = $1",
                database.name)
            #expect(line.rows.count == 1)
            try await eventually("a new life") { fixture.livesLost == 1 && fixture.lives.count == 2 }
            // The old run's writes are refused before they are sent, or by the server.
            #expect(try await fixture.write(steps: [workflow.step()]) == .init(steps: [0: .fenced]))
            let again = try await fixture.claimAll(1)[0]
            #expect(again.fence.key == workflow.fence.key && again.fence.epoch > workflow.fence.epoch)
            #expect(try admin.value("SELECT pg_typeof(claimed_by)::text || (claimed_by::text = $1) FROM pawl.workflow", fixture.lives[1]) == "uuidtrue")
            await fixture.shutdown()
        }
    }
}
