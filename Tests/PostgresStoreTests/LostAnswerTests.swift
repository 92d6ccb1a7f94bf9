import Locking
import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// The connection is cut when the server has committed and the client does not know it yet, or before the server saw anything: no effect is lost,
    /// and none happens twice.
    @Suite struct LostAnswerTests {
        let database: TestDatabase
        let proxy: FaultProxy
        init() throws {
            database = try TestDatabase.make()
            proxy = try FaultProxy(to: database.cluster)
            try database.connect().script("CREATE TABLE effect (i int); GRANT ALL ON effect TO PUBLIC")
        }

        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .afterItIsAnswered]) func ofACheckpoint(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            proxy.cut(moment, on: "pawl_record_steps")
            let written = try await fixture.write(steps: claimed.map { $0.step() }, ends: [])
            #expect(proxy.cuts == 1)
            // Recorded by this very run is success too.
            #expect(written.steps.values.allSatisfy { $0 == .alreadyRecorded })
            #expect(written.steps.count == (moment == .afterItIsAnswered ? 3 : 0))
            #expect(try database.connect().integer("SELECT count(*) FROM pawl.workflow_step WHERE epoch = 1") == 3)
            #expect(fixture.doubleAnswers == 0 && fixture.livesLost == 0)
            await fixture.shutdown()
        }

        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .afterItIsAnswered]) func ofACompletion(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            proxy.cut(moment, on: "pawl_complete")
            // With a last step in the same commit.
            let written = try await fixture.write(steps: [claimed[0].step()], ends: claimed.map { $0.end() })
            #expect(proxy.cuts == 1)
            #expect(written.ends.values.allSatisfy { $0 == .alreadyRecorded })
            #expect(written.steps.values.allSatisfy { $0 == .alreadyRecorded })
            let admin = try database.connect()
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_history WHERE status = 'succeeded'") == 3)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow") == 0)
            #expect(fixture.doubleAnswers == 0 && fixture.livesLost == 0)
            await fixture.shutdown()
        }

        @Test func ofACommit() async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let transaction = fixture.begin(workflow)
            #expect(try await fixture.execute(transaction, "INSERT INTO effect VALUES (1)").code == nil)
            proxy.cut(.afterItIsAnswered, on: "COMMIT")
            #expect(try await fixture.commit(transaction, workflow.step("t", 1, .transaction)).word == "committed")
            #expect(proxy.cuts == 1)
            // Never sent, never committed: the body may run again.
            let second = fixture.begin(workflow)
            #expect(try await fixture.execute(second, "INSERT INTO effect VALUES (2)").code == nil)
            proxy.cut(.beforeItArrives, on: "pawl_record_step")
            #expect(try await fixture.commit(second, workflow.step("u", 2, .transaction)).word == "retry 08006")
            // And in the middle of the body.
            let third = fixture.begin(workflow)
            proxy.cut(.afterItIsAnswered, on: "VALUES (3)")
            #expect(try await fixture.execute(third, "INSERT INTO effect VALUES (3)").code == "08006")
            #expect(try await fixture.commit(third, workflow.step("u", 2, .transaction)).word == "retry 08006")
            let admin = try database.connect()
            #expect(try admin.execute("SELECT i FROM effect").column("i") == ["1"])
            #expect(try admin.execute("SELECT step_name FROM pawl.workflow_step").column("step_name") == ["t"])
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }

        /// The backend is still at its commit when the connection goes: "not there yet" is not "not there".
        @Test func ofACommitThatIsStillUnderWay() async throws {
            defer { proxy.stop() }
            let admin = try database.connect()
            try admin.script(
                """
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON effect DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()
                """)
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let transaction = fixture.begin(workflow)
            #expect(try await fixture.execute(transaction, "INSERT INTO effect VALUES (1)").code == nil)
            try admin.script("SELECT pg_advisory_lock(4711)")
            proxy.cut(.onceItIsSent, on: "COMMIT")
            let commit = fixture.newID()
            fixture.send(.commit(commit, transaction: transaction, workflow.step("t", 1, .transaction)))
            #expect(try await fixture.ended(commit).word == "retry 08006")
            #expect(proxy.cuts == 1)
            // Whatever the backend could still have done, it cannot do any more.
            try admin.script("SELECT pg_advisory_unlock(4711)")
            #expect(try admin.integer("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query = 'COMMIT' AND state = 'active'", fixture.role) == 0)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_step") == 0)
            #expect(try admin.integer("SELECT count(*) FROM effect") == 0)
            await fixture.shutdown()
        }

        @Test func ofAClaim() async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(2)
            let known = try await fixture.claimAll(2)
            for round in 1...3 {
                try fixture.enqueue(5)
                proxy.cut(.afterItIsAnswered, on: "pawl_claim")
                // What the lost answer brought is found again; what is known stays.
                let claimed = try await fixture.claimAll(5)
                #expect(proxy.cuts == round)
                #expect(claimed.count == 5)
                #expect(claimed.allSatisfy { $0.fence.epoch == 2 && $0.recoveries == 0 })
                #expect(try await fixture.write(ends: claimed.map { $0.end() }) == .init())
            }
            #expect(try await fixture.write(steps: known.map { $0.step() }, ends: known.map { $0.end() }) == .init())
            #expect(try database.connect().integer("SELECT count(*) FROM pawl.workflow") == 0)
            #expect(fixture.livesLost == 0)
            await fixture.shutdown()
        }

        /// The session waits on the server when it is cut: its backend may still claim, for nobody.
        @Test func ofAWaitingClaim() async throws {
            defer { proxy.stop() }
            try database.connect().script("ALTER DATABASE \(database.name) SET pawl.poll_interval = 0")
            let fixture = try await StoreFixture(database, through: proxy)
            let before = fixture.claimCount
            let admin = try database.connect()
            func waiting() throws -> Int {
                try admin.integer(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CALL pawl.wait%' AND state = 'active'", database.name)
            }
            try await eventually("the session for signals waits") { try waiting() == 1 }
            proxy.cut(.afterItIsAnswered, on: "pawl_wait")
            fixture.send(.claim(limit: 10, alone: false))
            try await eventually("both wait") { try waiting() == 2 }
            try fixture.enqueue(4)
            let claimed = try await fixture.nextClaim(after: before)
            #expect(claimed.count == 4)
            #expect(claimed.allSatisfy { $0.fence.epoch == 2 })
            #expect(proxy.cuts == 1)
            await fixture.shutdown()
        }

        @Test func ofAHandBack() async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            proxy.cut(.afterItIsAnswered, on: "pawl_release")
            fixture.send(.release([claimed[0].fence]))
            #expect(try await fixture.claimAll(1)[0].fence == Fence(key: claimed[0].fence.key, epoch: 2))
            proxy.cut(.beforeItArrives, on: "pawl_release")
            fixture.send(.release([claimed[1].fence]))
            #expect(try await fixture.claimAll(1)[0].fence == Fence(key: claimed[1].fence.key, epoch: 2))
            #expect(proxy.cuts == 2)
            await fixture.shutdown()
        }

        /// All connections go at once, several times, in the middle of the work: everything ends exactly once.
        @Test func ofEverythingAtOnce() async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            let total = 120
            try fixture.enqueue(total)
            let admin = try database.connect()
            let handled = Locked(0)
            let proxy = proxy
            let chaos = Task {
                for round in 1...4 {
                    while handled.withLock({ $0 }) < round * 20 { try await Task.sleep(for: .milliseconds(1)) }
                    proxy.cutAll()
                }
            }
            var seen = fixture.claimCount
            while try admin.integer("SELECT count(*) FROM pawl.workflow") > 0 {
                // What a lost life took with it comes again; what two took, alone.
                var alone: Bool?
                try await eventually("a claim, or the end; \(fixture.log)", within: .seconds(60), every: .milliseconds(5)) {
                    let suspects = try admin.integer("SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NULL AND crashes >= 2") > 0
                    if alone != suspects {
                        alone = suspects
                        fixture.send(.claim(limit: 30, alone: suspects))
                    }
                    return try fixture.claimCount > seen || admin.integer("SELECT count(*) FROM pawl.workflow") == 0
                }
                guard fixture.claimCount > seen else { break }
                seen += 1
                for workflow in try await fixture.nextClaim(after: seen - 1) {
                    handled.withLock { $0 += 1 }
                    if workflow.recordedSteps.isEmpty {
                        let transaction = fixture.begin(workflow)
                        _ = try await fixture.execute(transaction, "INSERT INTO effect VALUES (\(workflow.fence.key))")
                        guard try await fixture.commit(transaction, workflow.step("t", 1, .transaction)).word == "committed" else {
                            fixture.send(.release([workflow.fence]))
                            continue
                        }
                    }
                    _ = try await fixture.write(ends: [workflow.end()])
                }
            }
            chaos.cancel()
            #expect(fixture.livesLost >= 1)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_history WHERE status = 'succeeded'") == total)
            #expect(try admin.integer("SELECT count(*) FROM effect") == total)
            #expect(try admin.integer("SELECT count(DISTINCT i) FROM effect") == total)
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }
    }
}
