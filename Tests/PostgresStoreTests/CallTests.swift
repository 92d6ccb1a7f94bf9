import PostgresStore
import PostgresTestSupport
import Testing
import WorkflowEngine

extension StoreSuites {
    /// Durable calls and emissions.
    @Suite struct CallTests {
        let database: TestDatabase
        let proxy: FaultProxy
        init() throws {
            database = try TestDatabase.make()
            proxy = try FaultProxy(to: database.cluster)
        }

        @Test func anEffectIsDoneOnceWithItsStep() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            let send = claimed[0].call(.send, #"{"workflow_id": "\#(claimed[1].workflowID)", "message": {"n": 1}, "topic": "t"}"#)
            #expect(try await fixture.perform(send).map(\.word) == ["true"])
            // Asked again, it answers what is recorded.
            #expect(try await fixture.perform(send).map(\.word) == ["true"])
            let admin = try database.connect()
            #expect(try admin.execute("SELECT message::text, topic FROM pawl.message").rows == [[#"{"n": 1}"#, "t"]])
            let step = try admin.execute(
                "SELECT step_name, step_number, kind, status, output::text, extract(epoch FROM started_at)::bigint FROM pawl.workflow_step")
            #expect(step.rows == [["c", "1", "send", "succeeded", "true", "1700000000"]])
            await fixture.shutdown()
        }

        @Test func aWaitIsTriedUntilItIsOver() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let receive = workflow.call(.receive, #"{"topic": "t"}"#)
            let sleep = workflow.call(.sleep, #"{"seconds": 3600}"#, "z", 2)
            guard case .waiting(nil) = try await fixture.perform(receive)[0], case .waiting(let due?) = try await fixture.perform(sleep)[0] else {
                Issue.record("it is over")
                return
            }
            #expect(due > 3_590_000_000 && due <= 3_600_000_000)
            try database.connect().execute("SELECT pawl.send_message($1, '7', 't')", workflow.workflowID)
            #expect(try await fixture.perform(receive, sleep).map(\.word) == [#"{"value": 7}"#, "waiting, due"])
            // What the next run reads of it.
            fixture.send(.release([workflow.fence]))
            let again = try await fixture.claimAll(1)[0]
            let steps = Dictionary(uniqueKeysWithValues: again.recordedSteps.map { ($0.name, $0.state) })
            guard case .done(.success(let message))? = steps["c"], case .waiting(let rest?)? = steps["z"], steps.count == 2 else {
                Issue.record("\(steps)")
                return
            }
            #expect(String(decoding: message, as: UTF8.self) == #"{"value": 7}"#)
            #expect(rest > 3_500_000_000 && rest <= due)
            await fixture.shutdown()
        }

        /// Each call for itself, whatever is beside it.
        @Test func refusalsAreTheCallsOwn() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(4)
            let claimed = try await fixture.claimAll(4)
            let admin = try database.connect()
            try admin.execute("UPDATE pawl.workflow SET epoch = epoch + 1 WHERE workflow_key = $1::bigint", "\(claimed[0].fence.key)")
            #expect(try admin.value("SELECT pawl.cancel_workflow($1)", claimed[1].workflowID) == "t")
            try await eventually("it is told") { fixture.signals.contains(Signal(fence: claimed[1].fence, cancellation: .request)) }
            let event = #"{"key": "k", "value": 1}"#
            let results = try await fixture.perform(
                claimed[0].call(.setEvent, event), claimed[1].call(.setEvent, event), claimed[2].call(.setEvent, #"{"nothing": 1}"#),
                claimed[3].call(.setEvent, #"{"key": "k", "value": "a\u0000b"}"#), claimed[3].call(.setEvent, event, "d", 2),
                claimed[3].call(.awaitChild, #"{"workflow_id": "nobody"}"#, "e", 3), claimed[3].call(.sleep, "not json", "f", 4))
            #expect(
                results.map(\.word) == [
                    "fenced", "cancelled request", "invalid 22023", "invalid 22P05", "null", "failed unknown_workflow", "invalid 22P02",
                ])
            #expect(try admin.execute("SELECT workflow_key, value::text FROM pawl.event").rows == [["\(claimed[3].fence.key)", "1"]])
            await fixture.shutdown()
        }

        @Test func aThousandCallsAreOneRequest() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(1000)
            let claimed = try await fixture.claimAll(1000)
            let id = fixture.newID()
            fixture.send(
                .perform(id, claimed.enumerated().map { $1.call($0 % 2 == 0 ? .setEvent : .receive, $0 % 2 == 0 ? #"{"key": "k", "value": \#($0)}"# : "{}") }))
            let results = try await fixture.performed(id)
            #expect(results.count == 1000)
            #expect(results.enumerated().allSatisfy { $1.word == ($0 % 2 == 0 ? "null" : "waiting") })
            let admin = try database.connect()
            #expect(try admin.integer("SELECT count(*) FROM pawl.event e JOIN pawl.workflow_step s USING (workflow_key) WHERE s.status = 'succeeded'") == 500)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow_step WHERE status = 'waiting'") == 500)
            fixture.send(.park(claimed.enumerated().filter { $0.offset % 2 == 1 }.map { Parking(fence: $0.element.fence, waitingFor: "receive") }))
            try await eventually("they are parked") { fixture.parked.count == 500 }
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow WHERE status = 'waiting' AND claimed_by IS NULL AND waiting_for = 'receive'") == 500)
            await fixture.shutdown()
        }

        /// The effect was done, and nobody knows: done again it would be twice.
        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .onceItIsSent, .afterItIsAnswered])
        func anEffectWhoseAnswerIsLostIsNotDoneTwice(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            proxy.cut(moment, on: "pawl_perform")
            let results = try await fixture.perform(
                claimed[0].call(.send, #"{"workflow_id": "\#(claimed[2].workflowID)", "message": 1}"#),
                claimed[0].call(.writeStream, #"{"key": "k", "value": 1}"#, "d", 2),
                claimed[1].call(.startChild, #"{"workflow_name": "child"}"#))
            #expect(proxy.cuts == 1)
            #expect(results.prefix(2).map(\.word) == ["true", "1"])
            #expect(results[2].word.contains("workflow_id"))
            let admin = try database.connect()
            #expect(try admin.integer("SELECT count(*) FROM pawl.message") == 1)
            #expect(try admin.integer("SELECT count(*) FROM pawl.stream_entry") == 1)
            #expect(try admin.integer("SELECT count(*) FROM pawl.workflow WHERE workflow_name = 'child'") == 1)
            #expect(fixture.doubleAnswers == 0 && fixture.livesLost == 0)
            await fixture.shutdown()
        }

        @Test func aMessageWhoseAnswerIsLostIsConsumedOnce() async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            let admin = try database.connect()
            for message in 1...3 { try admin.execute("SELECT pawl.send_message($1, $2::jsonb)", workflow.workflowID, "\(message)") }
            for (round, moment) in [FaultProxy.Moment.afterItIsAnswered, .beforeItArrives, .onceItIsSent].enumerated() {
                proxy.cut(moment, on: "pawl_perform")
                let result = try await fixture.perform(workflow.call(.receive, "{}", "r\(round)", Int32(round + 1)))
                #expect(result.map(\.word) == [#"{"value": \#(round + 1)}"#])
            }
            #expect(proxy.cuts == 3)
            await fixture.shutdown()
        }

        @Test func whatIsEmittedKeepsItsOrder() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(2)
            let claimed = try await fixture.claimAll(2)
            func entry(_ value: String, _ workflow: Int = 0) -> Emission {
                Emission(
                    fence: claimed[workflow].fence, kind: .stream, arguments: Array(#"{"key": "k", "value": \#(value), "step": "s", "attempt": 2}"#.utf8))
            }
            let progress = Emission(fence: claimed[1].fence, kind: .progress, arguments: Array(#"{"value": {"done": 5}}"#.utf8))
            #expect(try await fixture.emit(entry("1"), progress, entry("2"), entry("\"x\"", 1)) == [:])
            // One that jsonb refuses, in the middle of many.
            let id = fixture.newID()
            fixture.send(.emit(id, (3...40).map { entry($0 == 21 ? #""\u0000""# : "\($0)") }))
            guard case .emitted(_, let refused) = try await fixture.answer(id) else { return }
            #expect(refused.map(\.index) == [18])
            guard case .invalid(let error) = refused[0].refusal else { return }
            #expect(error.code == "22P05")
            let admin = try database.connect()
            let values = try admin.execute(
                "SELECT value::text FROM pawl.stream_entry WHERE workflow_key = $1::bigint ORDER BY position", "\(claimed[0].fence.key)")
            #expect(try values.column("value") == (1...40).filter { $0 != 21 }.map { "\($0)" })
            #expect(try admin.value("SELECT progress::text FROM pawl.workflow WHERE workflow_key = $1::bigint", "\(claimed[1].fence.key)") == #"{"done": 5}"#)
            // Closed, overtaken, wrong.
            #expect(try await fixture.perform(claimed[1].call(.closeStream, #"{"key": "k"}"#)).map(\.word) == ["null"])
            try admin.execute("UPDATE pawl.workflow SET epoch = epoch + 1 WHERE workflow_key = $1::bigint", "\(claimed[0].fence.key)")
            let wrong = Emission(fence: claimed[1].fence, kind: .stream, arguments: Array("{}".utf8))
            let last = try await fixture.emit(entry("1"), entry("1", 1), wrong)
            #expect(last.count == 3 && last[0] == .fenced)
            guard case .invalid(let closed)? = last[1], case .invalid(let misuse)? = last[2] else {
                Issue.record("\(last)")
                return
            }
            #expect(closed.code == "stream_closed" && misuse.code == "22023")
            await fixture.shutdown()
        }

        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .afterItIsAnswered]) func whatIsEmittedIsNotLost(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try fixture.enqueue()
            let workflow = try await fixture.claimAll(1)[0]
            proxy.cut(moment, on: "pawl_emit")
            let emission = Emission(fence: workflow.fence, kind: .stream, arguments: Array(#"{"key": "k", "value": 1}"#.utf8))
            #expect(try await fixture.emit(emission) == [:])
            // At least once.
            #expect(try database.connect().integer("SELECT count(*) FROM pawl.stream_entry") == (moment == .beforeItArrives ? 1 : 2))
            #expect(fixture.doubleAnswers == 0)
            await fixture.shutdown()
        }
    }
}
