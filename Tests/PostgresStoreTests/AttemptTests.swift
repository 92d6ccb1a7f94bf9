import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// Attempts of steps, ends that begin anew, what is refused to a workflow that is being cancelled, and suspects.
    @Suite struct AttemptTests {
        let database: TestDatabase
        let proxy: FaultProxy
        init() throws {
            database = try TestDatabase.make()
            proxy = try FaultProxy(to: database.cluster)
        }

        @Test func anAttemptIsFollowedByAnother() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            // Beside a step and an end, in one request.
            #expect(
                try await fixture.write(steps: [claimed[0].attempt(1, retryIn: 60_000_000), claimed[0].step("t", 2)], ends: [claimed[1].end()]) == .init())
            let admin = try database.connect()
            #expect(
                try admin.execute("SELECT step_name, status, attempts, error->>'code' AS code FROM pawl.workflow_step ORDER BY 1").rows
                    == [["s", "retrying", "1", "busy"], ["t", "succeeded", "1", nil]])
            #expect(try await fixture.write(steps: [claimed[0].attempt(2, retryIn: 120_000_000)]) == .init())
            fixture.send(.release([claimed[0].fence]))
            let again = try await fixture.claimAll(1)[0]
            guard case .retrying(let attempts, let dueIn, let startedAt, let failure)? = again.recordedSteps.first(where: { $0.name == "s" })?.state else {
                Issue.record("\(again.recordedSteps)")
                return
            }
            #expect(attempts == 2 && dueIn > 110_000_000 && dueIn <= 120_000_000)
            #expect(failure.code == "busy" && startedAt == claimed[0].step().startedAt)
            var outcome = again.step()
            outcome.attempts = 3
            #expect(try await fixture.write(steps: [outcome]) == .init())
            #expect(try await fixture.write(steps: [outcome]) == .init(steps: [0: .alreadyRecorded]))
            #expect(
                try admin.execute("SELECT status, attempts, output::text FROM pawl.workflow_step WHERE step_name = 's'").rows == [["succeeded", "3", "1"]])
            await fixture.shutdown()
        }

        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .afterItIsAnswered]) func anAttemptWhoseAnswerIsLost(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            proxy.cut(moment, on: "pawl_record_attempts")
            let written = try await fixture.write(steps: [workflow.attempt(1, retryIn: 1_000_000)])
            #expect(proxy.cuts == 1)
            #expect(written.steps.values.allSatisfy { $0 == .alreadyRecorded })
            #expect(try database.connect().execute("SELECT status, attempts FROM pawl.workflow_step").rows == [["retrying", "1"]])
            await fixture.shutdown()
        }

        /// A transaction whose attempt before this one failed.
        @Test func aTransactionReplacesWhatIsRetrying() async throws {
            defer { proxy.stop() }
            try database.connect().script("CREATE TABLE effect (i int); GRANT ALL ON effect TO PUBLIC")
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            var failed = workflow.attempt(1, retryIn: 0, "t")
            failed.kind = .transaction
            #expect(try await fixture.write(steps: [failed]) == .init())
            var record = workflow.step("t", 1, .transaction)
            record.attempts = 2
            // Lost before it is sent: what is retrying is not the step.
            let first = fixture.begin(workflow)
            #expect(try await fixture.execute(first, "INSERT INTO effect VALUES (1)").code == nil)
            proxy.cut(.beforeItArrives, on: "pawl_record_step")
            #expect(try await fixture.commit(first, record).word == "retry 08006")
            let second = fixture.begin(workflow)
            #expect(try await fixture.execute(second, "INSERT INTO effect VALUES (2)").code == nil)
            proxy.cut(.afterItIsAnswered, on: "COMMIT")
            #expect(try await fixture.commit(second, record).word == "committed")
            let admin = try database.connect()
            #expect(try admin.execute("SELECT status, attempts FROM pawl.workflow_step").rows == [["succeeded", "2"]])
            #expect(try admin.execute("SELECT i FROM effect").rows == [["2"]])
            await fixture.shutdown()
        }

        @Test func nothingIsRecordedOfAWorkflowThatIsBeingCancelled() async throws {
            try database.connect().script("CREATE TABLE effect (i int); GRANT ALL ON effect TO PUBLIC")
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(1)
            let parent = try await fixture.claimAll(1)[0]
            #expect(try await fixture.perform(parent.call(.startChild, #"{"workflow_name": "w"}"#)).count == 1)
            let child = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            try admin.execute("SELECT pawl.cancel_workflow($1)", parent.workflowID)
            try await eventually("both are told") { Set(fixture.signals.filter { $0.cancellation != nil }.map(\.fence)) == [parent.fence, child.fence] }
            for (workflow, by) in [(parent, Cancellation.request), (child, .parent)] {
                #expect(
                    try await fixture.write(steps: [workflow.step("a", 2), workflow.attempt(1, retryIn: 5, "b", 3)])
                        == .init(steps: [0: .cancelled(by), 1: .cancelled(by)]))
                #expect(try await fixture.perform(workflow.call(.setEvent, #"{"key": "k", "value": 1}"#, "g", 4)) == [.refused(.cancelled(by))])
                let progress = Emission(fence: workflow.fence, kind: .progress, arguments: Array(#"{"value": 1}"#.utf8))
                #expect(try await fixture.emit(progress) == [0: .cancelled(by)])
                let transaction = fixture.begin(workflow)
                #expect(try await fixture.execute(transaction, "INSERT INTO effect VALUES (1)").code == nil)
                #expect(try await fixture.commit(transaction, workflow.step("d", 5, .transaction)).word == "cancelled \(by.rawValue)")
                // What undoes it is.
                var compensation = workflow.step("e", 6, .compensation)
                compensation.cancelling = true
                #expect(try await fixture.write(steps: [compensation]) == .init())
                let undo = fixture.begin(workflow)
                #expect(try await fixture.execute(undo, "INSERT INTO effect VALUES (2)").code == nil)
                var record = workflow.step("f", 7, .compensation)
                record.cancelling = true
                #expect(try await fixture.commit(undo, record).word == "committed")
            }
            #expect(try admin.execute("SELECT DISTINCT i FROM effect").rows == [["2"]])
            #expect(
                try admin.execute("SELECT kind || step_name AS step FROM pawl.workflow_step WHERE step_name <> 'c' ORDER BY 1").column("step")
                    == ["compensatione", "compensatione", "compensationf", "compensationf"])
            await fixture.shutdown()
        }

        @Test(arguments: [nil, FaultProxy.Moment.beforeItArrives, .afterItIsAnswered]) func aWorkflowBeginsAnew(_ moment: FaultProxy.Moment?) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            #expect(try await fixture.write(steps: claimed.map { $0.step() }) == .init())
            if let moment { proxy.cut(moment, on: "pawl_continue") }
            let ends = [
                WorkflowEnd(fence: claimed[0].fence, end: .continued(input: Array(#"{"round": 2}"#.utf8))), claimed[1].end(),
                WorkflowEnd(fence: claimed[2].fence, end: .continued(input: Array("null".utf8))),
            ]
            let written = try await fixture.write(ends: ends)
            #expect(written.ends.values.allSatisfy { $0 == .alreadyRecorded })
            #expect(written.ends.count == (moment == .afterItIsAnswered ? 3 : 0))
            let again = try await fixture.claimAll(2).sorted { $0.fence.key < $1.fence.key }
            #expect(again.map(\.fence) == [Fence(key: claimed[0].fence.key, epoch: 2), Fence(key: claimed[2].fence.key, epoch: 2)])
            #expect(again.map { String(decoding: $0.input, as: UTF8.self) } == [#"{"round": 2}"#, "null"])
            #expect(again.allSatisfy { $0.recordedSteps.isEmpty && $0.recoveries == 0 })
            #expect(try database.connect().integer("SELECT count(*) FROM pawl.workflow_history") == 1)
            await fixture.shutdown()
        }

        @Test func aDeadlineComesWithTheClaim() async throws {
            let fixture = try await StoreFixture(database)
            try database.connect().script("SELECT pawl.enqueue_workflow('w', timeout => '1 hour'); SELECT pawl.enqueue_workflow('w')")
            let claimed = try await fixture.claimAll(2).sorted { $0.fence.key < $1.fence.key }
            let left = try #require(claimed[0].deadlineIn)
            #expect(left > 3_590_000_000 && left <= 3_600_000_000)
            #expect(claimed[0].deadlineAt.map { $0 > claimed[0].createdAt } == true)
            #expect(claimed[1].deadlineIn == nil && claimed[1].deadlineAt == nil && !claimed[1].isSQLHandler && !claimed[1].isOnProbation)
            await fixture.shutdown()
        }

        /// Workflows that were there at two crashes are told of, and claimed by nothing but a claim of one alone, which does not wait.
        @Test func suspectsAreClaimedAlone() async throws {
            let fixture = try await StoreFixture(database)
            #expect(try await fixture.claimAlone().isEmpty)
            try fixture.enqueue(3)
            let admin = try database.connect()
            try admin.script("UPDATE pawl.workflow SET crashes = 2 WHERE workflow_key IN (SELECT workflow_key FROM pawl.workflow ORDER BY 1 LIMIT 2)")
            try await eventually("it is told") { fixture.suspects == [true] }
            #expect(try await fixture.claim(10).count == 1)
            // A claim that waits gives way to it.
            fixture.send(.claim(limit: 10, alone: false))
            let first = try await fixture.claimAlone()
            #expect(first.count == 1 && first[0].isOnProbation)
            let second = try await fixture.claimAlone()
            #expect(second.count == 1 && second[0].isOnProbation && second[0].fence.key != first[0].fence.key)
            try await eventually("there are no more") { fixture.suspects == [true, false] }
            #expect(try await fixture.claimAlone().isEmpty)
            #expect(try await fixture.write(steps: (first + second).map { $0.step() }, ends: (first + second).map { $0.end() }) == .init())
            await fixture.shutdown()
        }
    }
}
