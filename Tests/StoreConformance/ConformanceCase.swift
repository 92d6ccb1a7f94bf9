import MemoryStore
import Testing
import WorkflowEngine

/// One capability of a store.
package struct ConformanceCase: Sendable, CustomTestStringConvertible {
    package var name: String
    package var testDescription: String { name }
    let body: @Sendable (Conformer) async throws -> Void

    /// Without a crash; and how many points there are to crash at.
    package func run(in world: any ConformanceWorld) async throws -> Int {
        let conformer = try await Conformer(world)
        try await body(conformer)
        return conformer.points
    }

    package func run(in world: any ConformanceWorld, crashAt point: Int) async throws {
        let conformer = try await Conformer(world, crashAt: point)
        try await body(conformer)
        #expect(conformer.hasCrashed)
    }

    package static let all: [ConformanceCase] = [
        .init(name: "steps") { store in
            try await store.world.enqueue("w1", input: #"{"a": 1}"#)
            let run = try await store.claim()
            #expect(run.claimed.workflowID == "w1")
            #expect(StoredJSON(run.claimed.input) == StoredJSON(#"{"a": 1}"#))
            #expect(try await store.record(run, "one", .success(Array("1".utf8))) == nil)
            #expect(try await store.record(run, "two", .failure(WorkflowError(code: "no", type: "T", message: "m"))) == nil)
            #expect(try await store.end(run, .succeeded(Array("[1]".utf8))) == nil)
            let look = try await store.world.look(at: "w1")
            #expect(look.status == "succeeded")
            #expect(look.output == StoredJSON("[1]"))
            #expect(look.steps == ["one step succeeded", "two step failed"])
        },
        .init(name: "attempts") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            let failure = Outcome.failure(WorkflowError(code: "busy", type: "T", message: "m"))
            #expect(try await store.record(run, "s", failure, attempts: 1, retryIn: 3_600_000_000) == nil)
            #expect(try await store.world.look(at: "w1").steps == ["s step retrying"])
            #expect(try await store.record(run, "s", failure, attempts: 2, retryIn: 3_600_000_000) == nil)
            #expect(try await store.record(run, "s", .success(Array("5".utf8)), attempts: 3) == nil)
            // The time of all attempts was up before there was a second one.
            #expect(try await store.record(run, "t", failure, attempts: 1, retryIn: 3_600_000_000) == nil)
            #expect(try await store.record(run, "t", failure, attempts: 1, endsBackOff: true) == nil)
            #expect(try await store.world.look(at: "w1").steps == ["s step succeeded", "t step failed"])
        },
        .init(name: "failures and ends") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.end(run, .failed(WorkflowError(code: "gone", type: "T", message: "m"), reason: "error")) == nil)
            let look = try await store.world.look(at: "w1")
            #expect([look.status, look.reason, look.errorCode] == ["failed", "error", "gone"])
            #expect(try await store.world.send("1", to: "w1", topic: "") == false)
        },
        .init(name: "messages are received once and in order") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .receive, "r1", #"{"topic": "a"}"#).word == "waiting")
            #expect(try await store.world.send("null", to: "w1", topic: "a") == true)
            #expect(try await store.world.send("2", to: "w1", topic: "b") == true)
            #expect(try await store.world.send("3", to: "w1", topic: "a") == true)
            #expect(try await store.perform(run, .receive, "r1", #"{"topic": "a"}"#).word == #"{"value": null}"#)
            #expect(try await store.perform(run, .receive, "r2", #"{"topic": "a"}"#).word == #"{"value": 3}"#)
            #expect(try await store.perform(run, .receive, "r3", #"{"topic": "a", "timeout": 3600}"#).word == "waiting")
            #expect(try await store.world.receivers(of: "w1") == ["r1", nil, "r2"])
        },
        .init(name: "a message signals the run that waits") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .receive, "r", "{}").word == "waiting")
            _ = try await store.world.send("1", to: "w1", topic: "")
            #expect(try await store.signal(about: run).cancellation == nil)
        },
        .init(name: "timeouts stay timeouts") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.wait(run, .receive, "r", #"{"timeout": 0.05}"#).word == "null")
            _ = try await store.world.send("1", to: "w1", topic: "")
            #expect(try await store.perform(run, .receive, "r", #"{"timeout": 0.05}"#).word == "null")
            #expect(try await store.wait(run, .sleep, "s", #"{"seconds": 0.05}"#).word == #"{"value": null}"#)
        },
        .init(name: "sends") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .send, "s1", #"{"workflow_id": "w1", "message": {"n": 1}, "topic": "t"}"#).word == "true")
            #expect(try await store.perform(run, .send, "s2", #"{"workflow_id": "nobody", "message": 1}"#).word == "failed unknown_workflow")
            #expect(try await store.perform(run, .receive, "r", #"{"topic": "t"}"#).word == #"{"value": {"n": 1}}"#)
            #expect(try await store.world.receivers(of: "w1") == ["r"])
        },
        .init(name: "events") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .getEvent, "g1", #"{"workflow_id": "w1", "key": "k"}"#).word == "waiting")
            #expect(try await store.perform(run, .setEvent, "e1", #"{"key": "k", "value": 1}"#).word == "null")
            #expect(try await store.perform(run, .getEvent, "g1", #"{"workflow_id": "w1", "key": "k"}"#).word == #"{"value": 1}"#)
            #expect(try await store.perform(run, .setEvent, "e2", #"{"key": "k", "value": 2}"#).word == "null")
            #expect(try await store.perform(run, .getEvent, "g2", #"{"workflow_id": "w1", "key": "k"}"#).word == #"{"value": 2}"#)
            #expect(try await store.perform(run, .getEvent, "g3", #"{"workflow_id": "x", "key": "k"}"#).word == "failed unknown_workflow")
        },
        .init(name: "streams") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .writeStream, "w1", #"{"key": "k", "value": "a"}"#).word == "1")
            #expect(try await store.perform(run, .writeStream, "w2", #"{"key": "k", "value": "b"}"#).word == "2")
            #expect(
                try await store.perform(run, .readStream, "r1", #"{"workflow_id": "w1", "key": "k", "from": 2}"#).word
                    == #"{"value": {"closed": false, "entries": [{"value": "b", "attempt": 1, "position": 2}]}}"#)
            #expect(try await store.perform(run, .readStream, "r2", #"{"workflow_id": "w1", "key": "k", "from": 3}"#).word == "waiting")
            #expect(try await store.perform(run, .closeStream, "c", #"{"key": "k"}"#).word == "null")
            #expect(
                try await store.perform(run, .readStream, "r2", #"{"workflow_id": "w1", "key": "k", "from": 3}"#).word
                    == #"{"value": {"closed": true, "entries": []}}"#)
            #expect(try await store.perform(run, .writeStream, "w3", #"{"key": "k", "value": "c"}"#).word == "failed stream_closed")
        },
        .init(name: "emissions") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.emit(run, .progress, #"{"value": 50}"#) == nil)
            #expect(try await store.world.look(at: "w1").progress == StoredJSON("50"))
            #expect(try await store.emit(run, .stream, #"{"key": "k", "value": 1, "step": "s", "attempt": 2}"#) == nil)
            let read = try await store.perform(run, .readStream, "r", #"{"workflow_id": "w1", "key": "k", "limit": 1}"#).word
            #expect(read == #"{"value": {"closed": false, "entries": [{"value": 1, "attempt": 2, "position": 1}]}}"#)
        },
        .init(name: "attributes") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .mergeAttributes, "a1", #"{"attributes": {"a": 1, "b": 2}}"#).word == #"{"a": 1, "b": 2}"#)
            #expect(try await store.perform(run, .mergeAttributes, "a2", #"{"attributes": {"a": null, "c": 3}}"#).word == #"{"b": 2, "c": 3}"#)
            #expect(try await store.world.look(at: "w1").attributes == StoredJSON(#"{"b": 2, "c": 3}"#))
        },
        .init(name: "children") { store in
            try await store.world.enqueue("w1", input: "{}")
            let parent = try await store.claim()
            #expect(
                try await store.perform(parent, .startChild, "s1", #"{"workflow_name": "w", "workflow_id": "c1", "input": 5}"#).word
                    == #"{"workflow_id": "c1"}"#)
            #expect(try await store.perform(parent, .awaitChild, "a1", #"{"workflow_id": "c1"}"#).word == "waiting")
            let child = try await store.claim()
            #expect(child.claimed.workflowID == "c1")
            #expect(child.claimed.parentWorkflowID == "w1")
            #expect(try await store.end(child, .succeeded(Array("10".utf8))) == nil)
            #expect(try await store.perform(parent, .awaitChild, "a1", #"{"workflow_id": "c1"}"#).word == #"{"value": 10}"#)
            #expect(
                try await store.perform(parent, .startChild, "s2", #"{"workflow_name": "w", "workflow_id": "c2"}"#).word == #"{"workflow_id": "c2"}"#)
            let failing = try await store.claim()
            #expect(try await store.end(failing, .failed(WorkflowError(code: "gone", type: "T", message: "m"), reason: "error")) == nil)
            #expect(try await store.perform(parent, .awaitChild, "a2", #"{"workflow_id": "c2"}"#).word == "failed gone")
            let all = try await store.perform(parent, .awaitChildren, "a3", #"{"workflow_ids": ["c2", "c1"], "mode": "all"}"#)
            guard case .done(.success(let bytes)) = all, let ended = StoredJSON(bytes)?["value"]?.array else {
                Issue.record("\(all.word)")
                return
            }
            #expect(ended.compactMap { $0["workflow_id"]?.text } == ["c2", "c1"])
            #expect(ended.compactMap { $0["status"]?.text } == ["failed", "succeeded"])
            #expect(
                try await store.perform(parent, .startChild, "s3", #"{"workflow_name": "other", "workflow_id": "c1"}"#).word == "failed PW002")
        },
        .init(name: "races") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            let of = #"[{"kind": "receive", "topic": "a"}, {"kind": "receive", "topic": "b"}, {"kind": "step"}]"#
            #expect(try await store.perform(run, .race, "r1", "{\"of\": \(of)}").word == "waiting")
            _ = try await store.world.send("2", to: "w1", topic: "b")
            #expect(try await store.perform(run, .race, "r1", "{\"of\": \(of)}").word == #"{"value": 2, "winner": 1}"#)
            #expect(
                try await store.perform(run, .race, "r2", "{\"of\": \(of), \"offer\": {\"index\": 2, \"output\": [1]}}").word
                    == #"{"value": [1], "winner": 2}"#)
            #expect(
                try await store.wait(run, .race, "r3", #"{"of": [{"kind": "receive"}, {"kind": "receive", "topic": "x", "timeout": 0.05}]}"#).word
                    == #"{"none": true, "winner": 1}"#)
        },
        .init(name: "a parked workflow is woken by a message") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .receive, "r", "{}").word == "waiting")
            try await store.park(run)
            #expect(try await store.world.look(at: "w1").status == "waiting")
            _ = try await store.world.send("7", to: "w1", topic: "")
            let again = try await store.claim()
            #expect(again.fence.epoch > run.fence.epoch)
            #expect(try await store.perform(again, .receive, "r", "{}").word == #"{"value": 7}"#)
        },
        .init(name: "a message before the parking") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .receive, "r", "{}").word == "waiting")
            _ = try await store.world.send("7", to: "w1", topic: "")
            try await store.park(run)
            let again = try await store.claim()
            #expect(try await store.perform(again, .receive, "r", "{}").word == #"{"value": 7}"#)
        },
        .init(name: "a parked workflow is woken by its child") { store in
            try await store.world.enqueue("w1", input: "{}")
            let parent = try await store.claim()
            _ = try await store.perform(parent, .startChild, "s", #"{"workflow_name": "w", "workflow_id": "c1"}"#)
            let child = try await store.claim()
            #expect(try await store.perform(parent, .awaitChild, "a", #"{"workflow_id": "c1"}"#).word == "waiting")
            try await store.park(parent)
            #expect(try await store.end(child, .succeeded(Array("1".utf8))) == nil)
            let again = try await store.claim()
            #expect(again.claimed.workflowID == "w1")
            #expect(try await store.perform(again, .awaitChild, "a", #"{"workflow_id": "c1"}"#).word == #"{"value": 1}"#)
        },
        .init(name: "cancellation") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.record(run, "before", .success(Array("1".utf8))) == nil)
            _ = try await store.perform(run, .startChild, "s", #"{"workflow_name": "w", "workflow_id": "c1"}"#)
            #expect(try await store.world.cancel("w1"))
            #expect(try await store.world.look(at: "c1").status == "cancelled")
            #expect(try await store.world.look(at: "c1").reason == "parent")
            #expect(try await store.record(run, "after", .success(Array("1".utf8))) == .cancelled(.request))
            #expect(try await store.perform(run, .receive, "r", "{}").word == "cancelled request")
            #expect(try await store.record(run, "undo", .success(Array("1".utf8)), kind: .compensation, cancelling: true) == nil)
            #expect(try await store.end(run, .cancelled(.request, nil)) == nil)
            let look = try await store.world.look(at: "w1")
            #expect([look.status, look.reason, look.errorCode] == ["cancelled", "request", "cancelled"])
            #expect(look.steps == ["before step succeeded", "s start_child succeeded", "undo compensation succeeded"])
            #expect(try await store.world.cancel("w1") == false)
        },
        .init(name: "cancellation reaches below a child that has ended") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            _ = try await store.perform(run, .startChild, "s", #"{"workflow_name": "w", "workflow_id": "c1"}"#)
            let child = try await store.claim()
            _ = try await store.perform(child, .startChild, "s", #"{"workflow_name": "w", "workflow_id": "g1"}"#)
            #expect(try await store.end(child, .succeeded(Array("1".utf8))) == nil)
            #expect(try await store.world.cancel("w1"))
            #expect(try await store.world.look(at: "c1").status == "succeeded")
            #expect(try await store.world.look(at: "g1").status == "cancelled")
        },
        .init(name: "a parked workflow wakes up to be cancelled") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.perform(run, .receive, "r", "{}").word == "waiting")
            try await store.park(run)
            #expect(try await store.world.cancel("w1"))
            #expect(try await store.claim().claimed.cancellation == .request)
        },
        .init(name: "resumed") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            #expect(try await store.record(run, "kept", .success(Array("1".utf8))) == nil)
            #expect(try await store.record(run, "failed", .failure(WorkflowError(code: "no", type: "T", message: "m", step: "failed"))) == nil)
            let failure = WorkflowError(code: "no", type: "T", message: "m", step: "failed")
            #expect(try await store.end(run, .failed(failure, reason: "error")) == nil)
            #expect(try await store.world.resume("w1"))
            let again = try await store.claim()
            #expect(again.claimed.recordedSteps.map(\.name) == ["kept"])
            #expect(try await store.end(again, .succeeded(Array("1".utf8))) == nil)
        },
        .init(name: "begun anew") { store in
            try await store.world.enqueue("w1", input: "1")
            let run = try await store.claim()
            #expect(try await store.record(run, "s", .success(Array("1".utf8))) == nil)
            _ = try await store.world.send("5", to: "w1", topic: "")
            #expect(try await store.end(run, .continued(input: Array("2".utf8))) == nil)
            let again = try await store.claim()
            #expect(StoredJSON(again.claimed.input) == StoredJSON("2"))
            #expect(again.claimed.recordedSteps.isEmpty)
            #expect(try await store.perform(again, .receive, "r", "{}").word == #"{"value": 5}"#)
        },
        .init(name: "wrong arguments") { store in
            try await store.world.enqueue("w1", input: "{}")
            let run = try await store.claim()
            for (kind, arguments) in [
                (StepKind.sleep, "{}"), (.receive, #"{"topc": "a"}"#), (.send, #"{"message": 1}"#), (.race, #"{"of": [{"kind": "dance"}]}"#),
                (.awaitChildren, #"{"workflow_ids": ["a"], "mode": "some"}"#), (.receive, #"{"timeout": "soon"}"#),
            ] {
                #expect(try await store.perform(run, kind, "bad", arguments).word == "invalid 22023", "\(kind) \(arguments)")
            }
            #expect(try await store.world.look(at: "w1").steps == [])
        },
    ]
}
