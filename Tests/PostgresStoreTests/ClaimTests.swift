import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    @Suite struct ClaimTests {
        let database: TestDatabase
        init() throws { database = try TestDatabase.make() }

        @Test func aClaimBringsEverythingThatWasEnqueued() async throws {
            let fixture = try await StoreFixture(database)
            let admin = try database.connect()
            try admin.script(
                """
                SELECT pawl.enqueue_workflow('w', '{"a": "ü"}', 'the-id', priority => -3, partition_key => 'tenant', headers => '{"h": 1}',
                    attributes => '{"customer": 42}')
                """)
            let claimed = try await fixture.claim(10)
            try #require(claimed.count == 1)
            let workflow = claimed[0]
            #expect(workflow.workflowID == "the-id")
            #expect(workflow.workflowName == "w")
            #expect(workflow.workflowVersion == 1)
            #expect(workflow.queue == "default")
            #expect(workflow.priority == -3)
            #expect(workflow.partitionKey == "tenant")
            #expect(workflow.recoveries == 0)
            #expect(workflow.fence.epoch == 1)
            #expect(workflow.recordedSteps.isEmpty)
            #expect(String(decoding: workflow.input, as: UTF8.self) == #"{"a": "ü"}"#)
            #expect(workflow.headers.map { String(decoding: $0, as: UTF8.self) } == #"{"h": 1}"#)
            #expect(workflow.attributes.map { String(decoding: $0, as: UTF8.self) } == #"{"customer": 42}"#)
            let created = try admin.integer("SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM pawl.workflow")
            #expect(Int(workflow.createdAt) == created)
            await fixture.shutdown()
        }

        /// The poll is off: only the wake-up can bring it.
        @Test func aWaitingClaimIsWokenByAnEnqueue() async throws {
            try database.connect().script("ALTER DATABASE \(database.name) SET pawl.poll_interval = 0")
            let fixture = try await StoreFixture(database)
            for _ in 0..<20 {
                let before = fixture.claimCount
                fixture.send(.claim(limit: 5, alone: false))
                try fixture.enqueue()
                #expect(try await fixture.nextClaim(after: before).count == 1)
            }
            await fixture.shutdown()
        }

        @Test func aClaimTakenBackTakesNothing() async throws {
            try database.connect().script("ALTER DATABASE \(database.name) SET pawl.poll_interval = 0")
            let fixture = try await StoreFixture(database)
            let admin = try database.connect()
            fixture.send(.claim(limit: 5, alone: false))
            // And the session for signals.
            try await eventually("it waits") {
                try admin.integer(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CALL pawl.wait%' AND state = 'active'", database.name) == 2
            }
            fixture.send(.claim(limit: 0, alone: false))
            try await eventually("it waits no more") {
                try admin.integer(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CALL pawl.wait%' AND state = 'active'", database.name) == 1
            }
            try fixture.enqueue(3)
            // Something else that the store does takes its turn; the claim would have come before it.
            _ = try await fixture.query("SELECT 1")
            #expect(fixture.claimCount == 0)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NOT NULL") == 0)
            #expect(try await fixture.claim(5).count == 3)
            await fixture.shutdown()
        }

        @Test func aReplayBringsWhatIsRecordedPageByPage() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let first = try await fixture.claimAll(2)
            // Past one page.
            let big = "\"" + String(repeating: "x", count: 700_000) + "\""
            for round in 0..<4 {
                let steps = first.flatMap { workflow in (0..<4).map { workflow.step("big\(round)-\($0)", Int32(round * 4 + $0 + 1), .query, big) } }
                #expect(try await fixture.write(steps: steps) == .init())
            }
            let error = WorkflowError(code: "declined", type: "CardError", message: "no funds", detail: Array("{\"limit\": 3}".utf8), step: "charge")
            let failed = StepRecord(fence: first[0].fence, name: "charge", number: 17, kind: .step, outcome: .failure(error), startedAt: 0)
            #expect(try await fixture.write(steps: [failed]) == .init())
            fixture.send(.release(first.map(\.fence)))
            let again = try await fixture.claimAll(2)
            #expect(again.map(\.fence.epoch) == [2, 2])
            #expect(again.map(\.recoveries) == [0, 0])
            for workflow in again {
                let isFirst = workflow.fence.key == first[0].fence.key
                #expect(workflow.recordedSteps.count == (isFirst ? 17 : 16))
                let bigs = workflow.recordedSteps.filter { $0.name.hasPrefix("big") }
                #expect(Set(bigs.map(\.number)) == Set(1...16))
                #expect(bigs.allSatisfy { $0.kind == "query" && $0.outcome == .success(Array(big.utf8)) })
                if isFirst {
                    let charge = try #require(workflow.recordedSteps.first { $0.name == "charge" })
                    #expect(charge.outcome == .failure(error))
                }
            }
            await fixture.shutdown()
        }

        @Test func newHandlersAreClaimedByAClaimThatIsWaiting() async throws {
            try database.connect().script("ALTER DATABASE \(database.name) SET pawl.poll_interval = 0")
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(name: "other")
            let before = fixture.claimCount
            fixture.send(.claim(limit: 5, alone: false))
            let admin = try database.connect()
            try await eventually("it waits") {
                try admin.integer(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CALL pawl.wait%' AND state = 'active'", database.name) == 2
            }
            fixture.store.setHandlers(StoreFixture.offers(["w", "other"]))
            #expect(try await fixture.nextClaim(after: before).first?.workflowName == "other")
            #expect(
                try admin.execute("SELECT workflow_name FROM pawl.worker_handler ORDER BY 1").column("workflow_name") == ["other", "w"])
            await fixture.shutdown()
        }

        @Test func anOrderlyEndHandsBackAndIsNotACrash() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            #expect(try await fixture.write(ends: [claimed[0].end()]) == .init())
            fixture.send(.claim(limit: 5, alone: false))
            await fixture.shutdown()
            let admin = try database.connect()
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow WHERE claimed_by IS NULL AND recoveries = 0 AND status = 'enqueued'") == 2)
            #expect(try admin.value("SELECT status FROM pawl.worker") == "stopped")
            try await eventually("no session is left") {
                try admin.integer("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", fixture.role) == 0
            }
        }
    }
}
