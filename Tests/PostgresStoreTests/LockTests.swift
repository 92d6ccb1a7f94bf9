import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// Somebody's transaction has locked the row of one workflow, and stays open: only that workflow waits.
    @Suite struct LockTests {
        let database: TestDatabase
        let holder: TestConnection
        init() throws {
            database = try TestDatabase.make()
            holder = try database.connect()
        }

        private func lock(_ workflows: ClaimedWorkflow...) throws {
            let keys = workflows.map { "\($0.fence.key)" }.joined(separator: ", ")
            try holder.script("BEGIN; SELECT FROM pawl.workflow WHERE workflow_key IN (\(keys)) ORDER BY workflow_key FOR UPDATE")
        }

        private func steps() throws -> Int { try database.connect().integer("SELECT count(*) FROM pawl.workflow_step") }

        @Test(arguments: [1, 2, 3]) func theOtherStepsAreRecorded(_ writeConnections: Int) async throws {
            let fixture = try await StoreFixture(database, writeConnections: writeConnections)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            try lock(claimed[0])
            let both = fixture.newID()
            fixture.send(.write(both, steps: claimed.map { $0.step() }, ends: []))
            try await eventually("the other one's is recorded; \(fixture.log)", within: .seconds(5)) { try steps() == 1 }
            #expect(!fixture.isAnswered(both))
            // What comes after waits for nothing, not even for the lock's time; more of the locked one waits with it.
            let more = fixture.newID()
            fixture.send(.write(more, steps: [claimed[0].step("a", 2), claimed[0].attempt(1, retryIn: 5, "b", 3)], ends: []))
            for number in 2...40 {
                #expect(try await fixture.write(steps: [claimed[1].step("s\(number)", Int32(number))]) == .init())
            }
            #expect(!fixture.isAnswered(both) && !fixture.isAnswered(more))
            #expect(fixture.log.contains { $0.contains("waits for a lock") && $0.contains("workflow_id=\(claimed[0].workflowID)") })
            try holder.script("COMMIT")
            #expect(try await fixture.written(both) == .init())
            #expect(try await fixture.written(more) == .init())
            #expect(try steps() == 43)
            #expect(try await fixture.write(ends: claimed.map { $0.end() }) == .init())
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }

        /// Three rows among a thousand.
        @Test func aLargeBatchIsDividedAroundThem() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(1000)
            let claimed = try await fixture.claimAll(1000)
            try lock(claimed[10], claimed[500], claimed[501])
            let id = fixture.newID()
            // The holder also refuses a row of its own: each is settled by itself.
            var records = claimed.map { $0.step() }
            records[11].outcome = .success(Array(#""\u0000""#.utf8))
            records[501].outcome = .success(Array(#""\u0000""#.utf8))
            fixture.send(.write(id, steps: records, ends: []))
            try await eventually("the others are recorded; \(fixture.log)", within: .seconds(15)) { try steps() == 996 }
            #expect(!fixture.isAnswered(id))
            try holder.script("COMMIT")
            #expect(try await fixture.written(id).steps.keys.sorted() == [11, 501])
            #expect(try steps() == 998)
            await fixture.shutdown()
        }

        @Test func everyOtherWriteGoesOnToo() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(12)
            let claimed = try await fixture.claimAll(12)
            let (locked, free) = (Array(claimed.prefix(6)), Array(claimed.suffix(6)))
            let event = #"{"key": "k", "value": 1}"#
            for workflow in [locked[3], free[3]] { #expect(try await fixture.perform(workflow.call(.receive, "{}")).map(\.word) == ["waiting"]) }
            try lock(locked[0], locked[1], locked[2], locked[3], locked[4], locked[5])
            let perform = fixture.newID()
            let emit = fixture.newID()
            let write = fixture.newID()
            func entry(_ workflow: ClaimedWorkflow, _ value: Int) -> Emission {
                Emission(fence: workflow.fence, kind: .stream, arguments: Array(#"{"key": "k", "value": \#(value)}"#.utf8))
            }
            fixture.send(
                .perform(perform, [locked[0].call(.setEvent, event), free[0].call(.setEvent, event)]),
                .emit(emit, [entry(locked[1], 1), entry(free[1], 1), entry(locked[1], 2), entry(free[1], 2)]),
                .write(
                    write, steps: [],
                    ends: [locked[2].end(), free[2].end(), WorkflowEnd(fence: locked[5].fence, end: .continued(input: Array("1".utf8)))]),
                .park([Parking(fence: locked[3].fence, waitingFor: "x"), Parking(fence: free[3].fence, waitingFor: "x")]),
                .release([locked[4].fence, free[4].fence]))
            let admin = try database.connect()
            try await eventually("the free ones are through; \(fixture.log)", within: .seconds(15)) {
                try admin.execute(
                    """
                    SELECT (SELECT count(*) FROM pawl.event), (SELECT count(*) FROM pawl.stream_entry), (SELECT count(*) FROM pawl.workflow_history),
                        (SELECT count(*) FROM pawl.workflow WHERE status = 'waiting'), (SELECT count(*) FROM pawl.workflow WHERE status = 'enqueued')
                    """
                ).rows == [["1", "2", "1", "1", "1"]]
            }
            #expect(!fixture.isAnswered(perform) && !fixture.isAnswered(emit) && !fixture.isAnswered(write))
            try holder.script("COMMIT")
            #expect(try await fixture.performed(perform).map(\.word) == ["null", "null"])
            #expect(try await fixture.written(write) == .init())
            _ = try await fixture.answer(emit)
            try await eventually("the parking and the hand-back are through", within: .seconds(15)) {
                try admin.execute(
                    "SELECT (SELECT count(*) FROM pawl.workflow WHERE status = 'waiting'), (SELECT count(*) FROM pawl.workflow WHERE status = 'enqueued')"
                ).rows == [["2", "3"]]
            }
            let entries = try admin.execute(
                "SELECT value::text FROM pawl.stream_entry WHERE workflow_key = $1::bigint ORDER BY position", "\(locked[1].fence.key)")
            #expect(try entries.column("value") == ["1", "2"])
            await fixture.shutdown()
        }

        /// A life that ends meanwhile answers what waits.
        @Test func aLifeEndsMeanwhile() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            try lock(claimed[0])
            let id = fixture.newID()
            fixture.send(.write(id, steps: claimed.map { $0.step() }, ends: []))
            try await eventually("the other one's is recorded") { try steps() == 1 }
            try database.connect().script("UPDATE pawl.worker SET ended_at = clock_timestamp(), status = 'dead'")
            #expect(try await fixture.written(id).steps[0] == .fenced)
            try await eventually("a new life") { fixture.lives.count == 2 }
            try holder.script("COMMIT")
            let again = try await fixture.claimAll(2)
            #expect(try await fixture.write(steps: again.map { $0.step("t", 2) }, ends: again.map { $0.end() }) == .init())
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }
    }
}
