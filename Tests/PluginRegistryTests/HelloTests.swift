import Foundation
import PluginRegistry
import Testing
import WorkflowEngine

/// Examples/hello, built as its README says.
@Suite struct HelloTests {
    let workshop: Workshop
    init() throws { workshop = try Workshop() }

    private func claimed(_ name: String, key: Int64) -> ClaimedWorkflow {
        ClaimedWorkflow(
            fence: Fence(key: key, epoch: 1), workflowID: "w\(key)", workflowName: name, workflowVersion: 1, queue: "default", priority: 0,
            partitionKey: nil, recoveries: 0, input: Array(#"{"name": "Ada"}"#.utf8), headers: nil, attributes: nil, createdAt: 0,
            recordedSteps: [])
    }

    private func registry() throws -> PluginRegistry {
        // Elsewhere than in the tree, so that tests leave nothing behind.
        let copy = "\(workshop.root)/hello"
        try FileManager.default.copyItem(atPath: "\(Workshop.examples)/hello", toPath: copy)
        try workshop.run(
            "make", ["-B", "-C", copy, "install", "CFLAGS=-O2 -Wall -Wextra -Werror", "PAWL_INCLUDE=\(Workshop.header)", "PLUGINS=\(workshop.plugins)"])
        let registry = workshop.registry()
        let scan = registry.scan()
        #expect(scan.refusals == [])
        #expect(scan.warnings == [])
        #expect(scan.handlers.map(\.description) == ["hello@1", "hello_record@1", "hello_reply@1"])
        return registry
    }

    @Test func itsStepsRunAndReplay() throws {
        let registry = try registry()
        let store = ScriptedStore([claimed("hello", key: 1)])
        #expect(store.run(with: registry))
        #expect(store.outputs == [#"{"greeting": "Hello", "to": {"name": "Ada"}}"#])
        var replay = claimed("hello", key: 2)
        replay.recordedSteps = [RecordedStep(name: "compose", number: 1, kind: "step", outcome: .success(Array("\"recorded\"".utf8)))]
        let second = ScriptedStore([replay])
        #expect(second.run(with: registry))
        #expect(second.outputs == ["\"recorded\""])
        #expect(second.steps == 0)
    }

    @Test(arguments: [(#"{"value": "Hi"}"#, #""Hi""#), ("null", "null")]) func itsCallIsAnsweredWithAMessageOrWithout(recorded: String, output: String) throws {
        let registry = try registry()
        let store = ScriptedStore([claimed("hello_reply", key: 1)])
        store.perform = { _ in .done(.success(Array(recorded.utf8))) }
        #expect(store.run(with: registry))
        #expect(store.outputs == [output])
        #expect(
            store.calls.map { "\($0.kind) \($0.name) \(String(decoding: $0.arguments, as: UTF8.self))" } == [
                #"receive reply {"topic": "reply", "timeout": 86400}"#
            ])
    }

    @Test func itsTransactionRunsRetriesAndFails() throws {
        let registry = try registry()
        let store = ScriptedStore([claimed("hello_record", key: 1)])
        // The first two commits lose against another transaction.
        store.transactionEnds = [
            .retry(WorkflowError(code: "40001", type: "test", message: "")), .retry(WorkflowError(code: "40P01", type: "test", message: "")),
        ]
        #expect(store.run(with: registry))
        #expect(store.outputs == [#"{"recorded": true}"#])
        #expect(store.statements.count == 3)
        #expect(store.statements.allSatisfy { $0.parameters == [Array("w1".utf8), Array(#"{"name": "Ada"}"#.utf8)] })

        let failing = ScriptedStore([claimed("hello_record", key: 2)])
        failing.sqlResult = .failure(WorkflowError(code: "42P01", type: "test", message: "no such table"))
        #expect(failing.run(with: registry))
        #expect(failing.outputs == ["42P01: no such table"])
        // The workflow's failure says which of its steps it was.
        guard case .failed(let error, _)? = failing.ends.first?.end else { return }
        #expect(error.step == "record")
        #expect(error.attempt == 1)
    }
}
