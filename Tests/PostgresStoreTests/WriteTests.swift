import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    @Suite struct WriteTests {
        let database: TestDatabase
        init() throws { database = try TestDatabase.make() }

        @Test func stepsAndEndsAreStored() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            let error = WorkflowError(code: "x", type: "T", message: "it \"failed\"")
            let failure = WorkflowEnd(fence: claimed[1].fence, end: .failed(error, reason: "determinism"))
            #expect(try await fixture.write(steps: claimed.map { $0.step("a", 1, .step, #"{"v": 1}"#) }) == .init())
            #expect(try await fixture.write(steps: [claimed[0].step("b", 2, .query)], ends: [failure]) == .init())
            #expect(try await fixture.write(ends: [claimed[0].end(#"{"ok": true}"#)]) == .init())
            let admin = try database.connect()
            let ended = try admin.execute(
                "SELECT status, status_reason, output::text, error->>'message' AS message FROM pawl.workflow_history WHERE workflow_key = $1::bigint",
                "\(claimed[0].fence.key)")
            #expect(ended.rows == [["succeeded", nil, #"{"ok": true}"#, nil]])
            let other = try admin.execute(
                "SELECT status, status_reason, output::text, error->>'message' AS message FROM pawl.workflow_history WHERE workflow_key = $1::bigint",
                "\(claimed[1].fence.key)")
            #expect(other.rows == [["failed", "determinism", nil, "it \"failed\""]])
            let steps = try admin.execute(
                "SELECT step_name, step_number, kind, status, output::text, extract(epoch FROM started_at)::bigint FROM pawl.workflow_step WHERE workflow_key = $1::bigint ORDER BY 1",
                "\(claimed[0].fence.key)")
            #expect(
                steps.rows == [["a", "1", "step", "succeeded", #"{"v": 1}"#, "1700000000"], ["b", "2", "query", "succeeded", "1", "1700000000"]])
            await fixture.shutdown()
        }

        @Test func aRepeatedWriteIsRecordedAlready() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            #expect(try await fixture.write(steps: [workflow.step()]) == .init())
            #expect(try await fixture.write(steps: [workflow.step()]) == .init(steps: [0: .alreadyRecorded]))
            #expect(try await fixture.write(ends: [workflow.end()]) == .init())
            #expect(try await fixture.write(ends: [workflow.end()]) == .init(ends: [0: .alreadyRecorded]))
            await fixture.shutdown()
        }

        @Test func onlyTheBadRowIsInvalid() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(20)
            let claimed = try await fixture.claimAll(20)
            var steps = claimed.map { $0.step() }
            // What jsonb refuses, in spite of every check before it.
            steps[7].outcome = .success(Array(#""a\u0000b""#.utf8))
            steps[13].outcome = .success(Array("not json".utf8))
            let written = try await fixture.write(steps: steps)
            #expect(written.ends.isEmpty)
            #expect(written.steps.keys.sorted() == [7, 13])
            guard case .invalid(let error)? = written.steps[7], case .invalid(let other)? = written.steps[13] else {
                Issue.record("\(written)")
                return
            }
            #expect(error.code == "22P05")
            #expect(other.code == "22P02")
            let admin = try database.connect()
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_step") == 18)
            // The log says which workflow, and not what was in it.
            let line = try #require(fixture.log.first { $0.contains("cannot be stored") && $0.contains("workflow_id=\(claimed[7].workflowID)") })
            #expect(line.contains("epoch=1") && line.contains("worker=") && !line.contains("u0000"))
            // And with ends beside: each for itself.
            var ends = claimed.map { $0.end() }
            ends[3].end = .succeeded(Array("oops".utf8))
            let both = try await fixture.write(steps: [claimed[3].step("t", 2)], ends: ends)
            #expect(both.steps.isEmpty)
            #expect(both.ends.keys.sorted() == [3])
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_history") == 19)
            await fixture.shutdown()
        }

        @Test func tooManyStepsIsTheWorkflowsFault() async throws {
            let admin = try database.connect()
            try admin.script("ALTER DATABASE \(database.name) SET pawl.max_steps = 2")
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let written = try await fixture.write(steps: [workflow.step("a", 2), workflow.step("b", 3)])
            guard case .invalid(let error)? = written.steps[1], written.steps.count == 1 else {
                Issue.record("\(written)")
                return
            }
            #expect(error.code == "too_many_steps")
            await fixture.shutdown()
        }

        @Test func aStepOfAnEarlierRunSendsTheWorkflowBackToBeReplayed() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            // Committed by the run before, after this one had read what was there.
            try admin.execute(
                "INSERT INTO pawl.workflow_step (workflow_key, epoch, step_number, step_name, kind, status, output) VALUES ($1::bigint, 0, 1, 's', 'step', 'succeeded', '\"first\"')",
                "\(workflow.fence.key)")
            #expect(try await fixture.write(steps: [workflow.step()]) == .init(steps: [0: .fenced]))
            let again = try await fixture.claimAll(1)[0]
            #expect(again.fence == Fence(key: workflow.fence.key, epoch: 2))
            #expect(again.recordedSteps.map(\.outcome) == [.success(Array("\"first\"".utf8))])
            await fixture.shutdown()
        }

        /// A serialization failure or a lock that is held is not the data's fault.
        @Test func aTransientFailureIsTriedAgain() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            try admin.script(
                """
                CREATE SEQUENCE tries; CREATE FUNCTION flaky() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
                BEGIN IF nextval('public.tries') < 4 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF; RETURN NEW; END $$;
                CREATE TRIGGER flaky BEFORE INSERT ON pawl.workflow_step FOR EACH ROW EXECUTE FUNCTION flaky()
                """)
            #expect(try await fixture.write(steps: [workflow.step()]) == .init())
            #expect(try admin.integer("SELECT last_value FROM tries") == 4)
            await fixture.shutdown()
        }
    }
}
