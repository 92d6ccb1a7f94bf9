import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// Waiting, in memory and parked: signals come in time, and none is lost. The poll is off: only a wake-up can bring anything.
    @Suite struct ParkTests {
        let database: TestDatabase
        let proxy: FaultProxy
        init() throws {
            database = try TestDatabase.make()
            proxy = try FaultProxy(to: database.cluster)
            try database.connect().script("ALTER DATABASE \(database.name) SET pawl.poll_interval = 0")
        }

        private func waitsForSignals(_ fixture: StoreFixture, _ admin: TestConnection) async throws {
            try await eventually("it waits for signals") {
                try admin.integer(
                    """
                    SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE 'CALL pawl.wait%' AND state = 'active' AND usename = $2
                    """, database.name, fixture.role) >= 1
            }
        }

        @Test func aRunningWorkflowIsSignalled() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            let admin = try database.connect()
            for round in 1...10 {
                let before = fixture.signals.count
                #expect(try await fixture.perform(claimed[0].call(.receive, "{}", "r\(round)", Int32(round))).map(\.word) == ["waiting"])
                try await waitsForSignals(fixture, admin)
                try admin.execute("SELECT pawl.send_message($1, $2::jsonb)", claimed[0].workflowID, "\(round)")
                try await eventually("it is signalled; the log: \(fixture.log)", every: .milliseconds(1)) { fixture.signals.count > before }
                #expect(Set(fixture.signals[before...].map(\.fence)) == [claimed[0].fence])
                #expect(try await fixture.perform(claimed[0].call(.receive, "{}", "r\(round)", Int32(round))).map(\.word) == [#"{"value": \#(round)}"#])
            }
            // By a workflow of the same worker; and one that waits for another's event.
            #expect(
                try await fixture.perform(claimed[1].call(.getEvent, #"{"workflow_id": "\#(claimed[2].workflowID)", "key": "k"}"#)).map(\.word) == ["waiting"])
            #expect(try await fixture.perform(claimed[2].call(.setEvent, #"{"key": "k", "value": 1}"#)).map(\.word) == ["null"])
            try await eventually("who waits for it is signalled") { fixture.signals.contains(Signal(fence: claimed[1].fence, cancellation: nil)) }
            await fixture.shutdown()
        }

        @Test func aCancellationIsSignalled() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            let admin = try database.connect()
            #expect(try await fixture.perform(claimed[0].call(.startChild, #"{"workflow_name": "w"}"#)).map(\.word).first?.contains("workflow_id") == true)
            let child = try await fixture.claimAll(1)[0]
            #expect(child.parentWorkflowID == claimed[0].workflowID)
            #expect(try admin.value("SELECT pawl.cancel_workflow($1, 'no longer needed')", claimed[0].workflowID) == "t")
            try await eventually("both are told; \(fixture.signals)") {
                fixture.signals.contains(Signal(fence: claimed[0].fence, cancellation: .request))
                    && fixture.signals.contains(Signal(fence: child.fence, cancellation: .parent))
            }
            #expect(!fixture.signals.contains { $0.fence == claimed[1].fence })
            #expect(
                try await fixture.write(steps: [claimed[0].step("t", 2), child.step(), claimed[1].step()])
                    == .init(steps: [0: .cancelled(.request), 1: .cancelled(.parent)]))
            // A new claim of it says so.
            fixture.send(.release([claimed[0].fence]))
            let again = try await fixture.claimAll(1)[0]
            #expect(again.workflowID == claimed[0].workflowID && again.cancellation == .request)
            let ends = [WorkflowEnd(fence: again.fence, end: .cancelled(.request, nil)), WorkflowEnd(fence: child.fence, end: .cancelled(.parent, nil))]
            #expect(try await fixture.write(ends: ends) == .init())
            #expect(
                try admin.execute("SELECT status, status_reason FROM pawl.workflow_history ORDER BY workflow_key").rows
                    == [["cancelled", "request"], ["cancelled", "parent"]])
            await fixture.shutdown()
        }

        @Test func aParkedWorkflowComesBackWithItsMessage() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            var workflow = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            for round in 1...5 {
                let call = { (workflow: ClaimedWorkflow) in workflow.call(.receive, "{}", "r\(round)", Int32(round)) }
                #expect(try await fixture.perform(call(workflow)).map(\.word) == ["waiting"])
                try await fixture.park(workflow)
                #expect(try admin.execute("SELECT status, waiting_for, claimed_by FROM pawl.workflow").rows == [["waiting", "a test", nil]])
                let before = fixture.claimCount
                fixture.send(.claim(limit: 1, alone: false))
                try await waitsForSignals(fixture, admin)
                try admin.execute("SELECT pawl.send_message($1, $2::jsonb)", workflow.workflowID, "\(round)")
                workflow = try await fixture.nextClaim(after: before)[0]
                #expect(workflow.fence.epoch == Int32(round + 1) && workflow.recoveries == 0)
                #expect(
                    workflow.recordedSteps.count == round
                        && workflow.recordedSteps.filter { if case .done = $0.state { true } else { false } }.count == round - 1)
                #expect(try await fixture.perform(call(workflow)).map(\.word) == [#"{"value": \#(round)}"#])
            }
            #expect(try await fixture.write(ends: [workflow.end()]) == .init())
            await fixture.shutdown()
        }

        @Test func whatHappenedBeforeItIsParkedIsSeen() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            #expect(try await fixture.perform(workflow.call(.receive, "{}")).map(\.word) == ["waiting"])
            try database.connect().execute("SELECT pawl.send_message($1, '1')", workflow.workflowID)
            try await fixture.park(workflow)
            #expect(try await fixture.claimAll(1)[0].fence.epoch == 2)
            await fixture.shutdown()
        }

        @Test func aSleeperWakesByItself() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            #expect(try await fixture.perform(workflow.call(.sleep, #"{"seconds": 0.3}"#)).map(\.word) == ["waiting, due"])
            try await fixture.park(workflow)
            let again = try await fixture.claimAll(1)[0]
            #expect(again.fence.epoch == 2)
            #expect(try await fixture.perform(again.call(.sleep, #"{"seconds": 0.3}"#)).map(\.word).first?.hasPrefix("waiting") == false)
            await fixture.shutdown()
        }

        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .afterItIsAnswered]) func aParkingWhoseAnswerIsLost(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            for workflow in claimed { #expect(try await fixture.perform(workflow.call(.receive, "{}")).map(\.word) == ["waiting"]) }
            proxy.cut(moment, on: "pawl_park")
            try await fixture.park(claimed[0], claimed[1])
            #expect(proxy.cuts == 1)
            #expect(try database.connect().integer("SELECT count(*) FROM pawl.workflow WHERE status = 'waiting' AND claimed_by IS NULL") == 2)
            #expect(fixture.livesLost == 0)
            await fixture.shutdown()
        }

        /// A parking that is overtaken changes nothing.
        @Test func aParkingIsFenced() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            #expect(try await fixture.perform(workflow.call(.receive, "{}")).map(\.word) == ["waiting"])
            let admin = try database.connect()
            try admin.script("UPDATE pawl.workflow SET epoch = epoch + 1")
            try await fixture.park(workflow)
            #expect(try admin.value("SELECT status FROM pawl.workflow WHERE claimed_by IS NOT NULL") == "running")
            await fixture.shutdown()
        }

        /// Taken in the database, and never heard of here: everything that runs is told to look again, once the old backend can take no more.
        @Test func signalsThatAreLostOnTheirWay() async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            #expect(try await fixture.perform(claimed[0].call(.receive, "{}")).map(\.word) == ["waiting"])
            let admin = try database.connect()
            try await waitsForSignals(fixture, admin)
            // Of the wait after this one, and the look that comes with it.
            proxy.cut(.afterItIsAnswered, on: "pawl_wait")
            try admin.execute("SELECT pawl.send_message($1, '1')", claimed[1].workflowID)
            try await eventually("it waits again") { proxy.cuts == 1 }
            #expect(fixture.signals == [Signal(fence: claimed[1].fence, cancellation: nil)])
            try admin.execute("SELECT pawl.send_message($1, '1')", claimed[0].workflowID)
            try await eventually("everything is signalled; \(fixture.log)") { Set(fixture.signals.map(\.fence)) == Set(claimed.map(\.fence)) }
            #expect(proxy.cuts == 1)
            try await eventually("none is left") { try admin.integer("SELECT count(*) FROM pawl.signal") == 0 }
            #expect(fixture.livesLost == 0)
            await fixture.shutdown()
        }

        @Test func aSignalSessionThatIsCutWhileItWaits() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            for _ in 0..<3 {
                try await waitsForSignals(fixture, admin)
                try admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2 AND query LIKE 'CALL pawl.wait%'",
                    database.name, fixture.role)
                let before = fixture.signals.count
                try admin.execute("SELECT pawl.send_message($1, '1')", workflow.workflowID)
                try await eventually("it is signalled; \(fixture.log)") { fixture.signals.count > before }
            }
            #expect(fixture.livesLost == 0)
            await fixture.shutdown()
        }

        /// A thousand signals in one commit.
        @Test func manySignalsAtOnce() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2500)
            let claimed = try await fixture.claimAll(2500)
            try database.connect().script("SELECT pawl.send_messages(array_agg(workflow_id), '1') FROM pawl.workflow")
            try await eventually("all are signalled") { Set(fixture.signals.map(\.fence)).count == 2500 }
            #expect(Set(fixture.signals.map(\.fence)) == Set(claimed.map(\.fence)))
            await fixture.shutdown()
        }
    }
}
