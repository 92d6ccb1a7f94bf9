import Foundation
import Locking
import PluginRegistry
import Testing
import WorkflowEngine

/// What a plugin calls beyond steps, transactions and queries, over a store that answers as it is told. The plugin is the end-to-end tests' `script.c`.
@Suite struct PluginCallTests {
    let workshop: Workshop
    init() throws {
        workshop = try Workshop()
        try workshop.build("\(Workshop.fixtures)/../../EndToEndTests/Fixtures/script.c", as: "script.so", flags: ["-D_GNU_SOURCE", "-pthread"])
        setenv("PAWL_TEST_GATES", "/tmp", 1)
    }

    private func claimed(_ script: String, recorded: [RecordedStep] = []) throws -> ClaimedWorkflow {
        ClaimedWorkflow(
            fence: Fence(key: 1, epoch: 3), workflowID: "w", workflowName: "script", workflowVersion: 1, queue: "default", priority: 0,
            partitionKey: nil, recoveries: 1, input: Array(try JSONEncoder().encode(script)), headers: nil, attributes: nil, createdAt: 0,
            parentWorkflowID: "p", recordedSteps: recorded)
    }

    private func run(_ script: String, recorded: [RecordedStep] = [], _ prepare: (ScriptedStore) -> Void = { _ in }) throws -> ScriptedStore {
        let registry = workshop.registry()
        #expect(registry.scan().refusals == [])
        let store = ScriptedStore([try claimed(script, recorded: recorded)])
        prepare(store)
        #expect(store.run(with: registry))
        return store
    }

    @Test func everyKindOfCallPassesAndIsAnswered() throws {
        let performed: [StepKind] = [
            .send, .setEvent, .writeStream, .closeStream, .mergeAttributes, .startChild, .cancelWorkflow, .sleep, .receive, .getEvent, .readStream, .awaitChild,
            .awaitChildren, .race,
        ]
        let lines = performed.map { #"call \#($0.rawValue) my-\#($0.rawValue) {"kind": "\#($0.rawValue)"}"# } + ["call patch p {}", "call now n {}"]
        let store = try run(lines.joined(separator: "\n")) { $0.perform = { .done(.success(Array(#"{"value": "\#($0.kind.rawValue)"}"#.utf8))) } }
        #expect(store.calls.map(\.kind) == performed)
        for call in store.calls {
            #expect(call.name == "my-\(call.kind.rawValue)")
            #expect(String(decoding: call.arguments, as: UTF8.self) == #"{"kind": "\#(call.kind.rawValue)"}"#)
        }
        let output = try #require(store.outputs.first)
        let answers = try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [Any])
        // An effect, and a race, answer what is recorded; a wait the value in it.
        for (kind, answer) in zip(performed, answers) {
            #expect(kind.isWait && kind != .race ? answer as? String == kind.rawValue : answer as? [String: String] == ["value": kind.rawValue])
        }
        #expect(answers[performed.count] as? Bool == true)
        #expect(answers[performed.count + 1] as? Int64 ?? 0 > 1_700_000_000_000_000)
        #expect(store.records.map(\.kind) == [.patch, .now])
    }

    @Test func aTimeoutAFailureAndARefusalAreToldApart() throws {
        let store = try run("call receive a {}\ntry call await_child b {}\ntry call sleep c {}\ntry call now d []\ntry step e final fail=9") {
            $0.perform = { call in
                switch call.kind {
                case .receive: .done(.success(Array("null".utf8)))
                case .sleep: .refused(.invalid(WorkflowError(code: "22023", type: "test", message: "no seconds")))
                default: .done(.failure(WorkflowError(code: "child_cancelled", type: "test", message: "")))
                }
            }
        }
        #expect(store.outputs == [#"["none", {"error": "child_cancelled"}, {"misuse": "22023"}, {"misuse": "bad_arguments"}, {"error": "asked"}]"#])
    }

    @Test func aFailedStepIsTriedAgainUnderItsPolicy() throws {
        let store = try run("step a fail=2 retry=3,1000,1000\ntry step b fail=9 retry=2,1000\ntry step c fail=9 final retry=5,1000\ninfo")
        #expect(
            store.outputs == [#"[3, {"error": "asked"}, {"error": "asked"}, {"version": 1, "attempt": 3, "recoveries": 1, "deadline": false, "parent": "p"}]"#])
        #expect(
            store.records.map { "\($0.name) \($0.attempts) \($0.retryIn != nil)" } == [
                "a 1 true", "a 2 true", "a 3 false", "b 1 true", "b 2 false", "c 1 false",
            ])
        #expect(store.records.allSatisfy { ($0.retryIn ?? 0) <= 1000 })
    }

    @Test func aBackOffOfAnEarlierRunIsWaitedFor() throws {
        let recorded = RecordedStep(
            name: "a", number: 1, kind: "step",
            state: .retrying(attempts: 2, dueIn: 20_000, startedAt: 0, failure: WorkflowError(code: "asked", type: "t", message: "m")))
        let store = try run("step a fail=2 retry=3,1000,1000", recorded: [recorded])
        #expect(store.outputs == ["[3]"])
        #expect(store.records.map(\.attempts) == [3])
    }

    @Test func theTimeOfAnAttemptIsEnforcedWhereThePluginTakesPart() throws {
        let store = try run("try step a slow timeout=20000 retry=2,1000")
        #expect(store.outputs == [#"[{"error": "timeout"}]"#])
        #expect(store.records.map(\.attempts) == [1, 2])
    }

    @Test func anOfferDecidesARace() throws {
        let store = try run(#"race r 1 "won" {"of": [{"kind": "sleep", "seconds": 60}, {"kind": "step"}]}"#) {
            $0.perform = { call in
                String(decoding: call.arguments, as: UTF8.self).contains("offer")
                    ? .done(.success(Array(#"{"winner": 1, "value": "won"}"#.utf8))) : .waiting(dueIn: 60_000_000)
            }
        }
        #expect(store.outputs == [#"[{"winner": 1, "value": "won"}]"#])
        let last = String(decoding: store.calls.last?.arguments ?? [], as: UTF8.self)
        #expect(last.contains(#""offer": {"index": 1, "output": "won"}"#))
    }

    @Test func whatIsEmittedInsideAStepCarriesItAndItsAttempt() throws {
        let store = try run(#"emit progress {"value": 50}\nstep s stream=tokens fail=1 retry=2,1000"#.replacing("\\n", with: "\n"))
        #expect(
            store.emissions.map { "\($0.kind) \(String(decoding: $0.arguments, as: UTF8.self))" } == [
                #"progress {"value": 50}"#, #"stream {"key": "tokens", "value": 1, "step": "s", "attempt": 1}"#,
                #"stream {"key": "tokens", "value": 2, "step": "s", "attempt": 2}"#,
            ])
    }

    @Test func compensationsRunAfterAFailure() throws {
        let store = try run("step a\nundo undo-a\nstep b\nundo undo-b fail=1 retry=2,1000\nfail broken")
        #expect(store.outputs == ["broken: as asked"])
        #expect(
            store.records.map { "\($0.name) \($0.kind.rawValue) \($0.attempts)" } == [
                "a step 1", "b step 1", "%compensate compensation 1", "%compensate/undo-b compensation 1", "%compensate/undo-b compensation 2",
                "%compensate/undo-a compensation 1",
            ])
    }

    @Test func aCancellationIsToldAtOnceAndCompensated() throws {
        let store = try run(#"step a\nundo undo-a\ncall sleep nap {"seconds": 60}\nstep never"#.replacing("\\n", with: "\n")) { store in
            store.perform = { [unowned store] call in
                store.cancel(call.fence)
                return .waiting(dueIn: 60_000_000)
            }
        }
        #expect(store.outputs == ["request"])
        #expect(store.records.map(\.name) == ["a", "%compensate", "%compensate/undo-a"])
        #expect(store.records.map(\.cancelling) == [false, true, true])
    }

    /// It goes on after every refusal, and finishes with a value.
    @Test func aHandlerThatSwallowsTheCancellationRecordsNothing() throws {
        let store = try run("swallow\nstep a\ncall sleep nap {}\nstep b\nsql t SELECT\ncall send m {}\nemit stream {}\ncancelled") { store in
            store.perform = { [unowned store] call in
                store.cancel(call.fence)
                return .waiting(dueIn: 60_000_000)
            }
        }
        #expect(store.outputs == ["request"])
        #expect(store.records.map(\.name) == ["a"])
        #expect(store.calls.allSatisfy { $0.name == "nap" })
        #expect(store.emissions.isEmpty)
    }

    @Test func aWorkflowContinuesAsNew() throws {
        let store = try run("step a\ncontinue \"next\"\nstep never")
        guard case .continued(let input)? = store.ends.first?.end else {
            Issue.record("\(store.outputs)")
            return
        }
        #expect(String(decoding: input, as: UTF8.self) == "\"next\"")
        #expect(store.records.map(\.name) == ["a"])
    }

    @Test func branchesRunAtOnceAndAreClosed() throws {
        let store = try run("parallel\nstep a ;; step b\ncall sleep c {}\nend\nstep d")
        #expect(store.outputs == ["[[[1, 1], [1]], 1]"])
        #expect(Set(store.records.map(\.name)) == ["branch0/a", "branch0/b", "d"])
        #expect(store.calls.map(\.name) == ["branch1/c"])
    }
}

/// Plugins that were compiled against `Fixtures/interface-1.0`, the header before there were retries, cancellation and durable calls.
@Suite struct OldInterfaceTests {
    static let flags = ["-DINTERFACE_1_0", "-iquote", "\(Workshop.fixtures)/interface-1.0"]
    let workshop: Workshop
    init() throws { workshop = try Workshop() }

    private func claimed(_ name: String, version: Int32 = 1) -> ClaimedWorkflow {
        ClaimedWorkflow(
            fence: Fence(key: 1, epoch: 3), workflowID: "w", workflowName: name, workflowVersion: version, queue: "default", priority: 0, partitionKey: nil,
            recoveries: 0, input: Array("{}".utf8), headers: nil, attributes: nil, createdAt: 0, deadlineAt: 77, deadlineIn: 1 << 50, recordedSteps: [])
    }

    /// By the new header the step is tried again unless told otherwise; by the old one it fails, as it always did.
    @Test(arguments: [true, false]) func aFailedStepOfAnOldPluginIsNotTriedAgain(isOld: Bool) throws {
        try workshop.build("stumbles.c", flags: isOld ? Self.flags : [])
        let registry = workshop.registry()
        let store = ScriptedStore([claimed("stumbles")])
        #expect(registry.scan().refusals == [])
        #expect(store.run(with: registry))
        #expect(store.outputs == [isOld ? "stumbled: once" : "2"])
        #expect(store.records.map(\.attempts) == (isOld ? [1] : [1, 2]))
    }

    /// An old one knows no cancellation: it is stopped, and the workflow ends cancelled all the same.
    @Test(arguments: [true, false]) func aCancellationComesAsWhatThePluginKnows(isOld: Bool) throws {
        try workshop.build("waits.c", flags: isOld ? Self.flags : [])
        let registry = workshop.registry()
        #expect(registry.scan().refusals == [])
        let store = ScriptedStore([claimed("waits")])
        let worker = Locked(false)
        store.idle = { store in
            // Once it waits.
            guard workshop.log.withLock({ $0.contains { $0.message == "waiting" } }), !worker.withLock({ $0 }) else { return }
            worker.withLock { $0 = true }
            store.cancel(Fence(key: 1, epoch: 3))
        }
        #expect(store.run(with: registry))
        #expect(store.outputs == ["request"])
        #expect(store.records.isEmpty)
        let log = workshop.log.withLock { $0.map(\.message) }
        #expect(
            log == (isOld ? ["waiting", "interrupted", "no more", "stopped", "released"] : ["waiting", "interrupted for no reason", "answered", "released"]))
    }

    @Test func whatItIsGivenIsWhereItAlwaysWas() throws {
        try workshop.build("echo.c", flags: Self.flags)
        let registry = workshop.registry()
        #expect(registry.scan().refusals == [])
        let store = ScriptedStore([claimed("echo", version: 4)])
        #expect(store.run(with: registry))
        #expect(store.outputs == [#"[1,4,0,0,0,"w","echo","default","absent",{},"absent","absent","mine"]"#])
    }
}
