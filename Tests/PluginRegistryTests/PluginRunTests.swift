import Foundation
import Glibc
import Locking
@testable import PluginRegistry
import Testing
import WorkflowEngine
import WorkflowTestSupport

/// Handlers of plugins, run by the engine.
@Suite struct PluginRunTests {
    let workshop: Workshop
    let database = MemoryDatabase()
    init() throws { workshop = try Workshop() }

    private func worker(_ registry: PluginRegistry? = nil) -> PluginWorker {
        let registry = registry ?? workshop.registry()
        let scan = registry.scan()
        #expect(scan.refusals == [])
        return PluginWorker(database, registry)
    }

    private func output(_ id: String) -> String {
        switch database.workflow(id).outcome {
        case .success(let value)?: String(decoding: value, as: UTF8.self)
        case .failure(let error)?: "\(error.code)|\(error.type)|\(error.message)|\(String(decoding: error.detail ?? [], as: UTF8.self))"
        case nil: "unfinished"
        }
    }

    private func log(of id: String) -> [String] { workshop.log.withLock { $0.filter { $0.workflowID == id }.map(\.message) } }

    /// By this header, and by the one that knew nothing else.
    @Test(arguments: [[:], ["THREADS": ""]], [[], OldInterfaceTests.flags]) func everyKindOfCall(defines: [String: String], flags: [String]) throws {
        try workshop.build("everything.c", defines, flags: flags)
        let worker = worker()
        for index in 0..<200 { database.enqueue("everything", id: "w\(index)") }
        #expect(worker.runToEnd())
        #expect(database.counter("stock") == 200)
        for index in 0..<200 {
            let row = database.workflow("w\(index)")
            #expect(row.status == .succeeded)
            #expect(row.stepNames == ["a", "left/b", "t", "q"])
            #expect(output("w\(index)").contains(#""columns": [["value", 23]]"#))
        }
        #expect(worker.engine.statistics.misuse == 0)
    }

    /// Killed at each of its writes, the workflow goes on in the next worker with the answers that were recorded.
    @Test func aReplayIsAnsweredFromWhatIsRecorded() throws {
        try workshop.build("everything.c")
        let registry = workshop.registry()
        _ = worker(registry)
        for point in 0..<12 {
            let id = "replay\(point)"
            let before = database.counter("stock")
            database.enqueue("everything", id: id)
            let first = PluginWorker(database, registry)
            var seen = 0
            first.store.crash = { _ in
                seen += 1
                return seen > point
            }
            #expect(first.runToEnd())
            if first.store.hasCrashed {
                database.reclaim(from: first.store.worker)
                #expect(PluginWorker(database, registry).runToEnd())
            }
            #expect(database.workflow(id).status == .succeeded, "point \(point): \(output(id))")
            #expect(database.workflow(id).stepNames == ["a", "left/b", "t", "q"])
            #expect(database.counter("stock") == before + 1)
        }
    }

    @Test func twoVersionsRunTheirOwnWorkflows() throws {
        try workshop.build("good.c", as: "shop-1.so", ["VERSION": "1", "ANSWER": quoted("1")])
        try workshop.build("good.c", as: "shop-2.so", ["VERSION": "2", "ANSWER": quoted("2")])
        let worker = worker()
        for index in 0..<20 { database.enqueue("good", id: "w\(index)", version: Int32(index % 2 + 1)) }
        #expect(worker.runToEnd())
        for index in 0..<20 { #expect(output("w\(index)") == "\(index % 2 + 1)") }
    }

    @Test func aChangedFileRunsBesideTheBuildItReplaces() throws {
        try workshop.build("good.c", as: "shop.so", ["VERSION": "1", "ANSWER": quoted("1")])
        let registry = workshop.registry()
        let worker = worker(registry)
        try workshop.build("good.c", as: "new", ["VERSION": "2", "ANSWER": quoted("2")])
        try workshop.move("new", to: "shop.so")
        #expect(registry.scan().loaded == ["shop.so"])
        database.enqueue("good", id: "old", version: 1)
        database.enqueue("good", id: "new", version: 2)
        #expect(worker.runToEnd())
        #expect(output("old") == "1")
        #expect(output("new") == "2")
    }

    @Test func startIsGivenEverything() throws {
        try workshop.build("echo.c")
        let registry = workshop.registry()
        #expect(registry.scan().handlers == [HandlerID(workflowName: "echo", workflowVersion: 4)])
        var workflow = ClaimedWorkflow(
            fence: Fence(key: 1, epoch: 9), workflowID: "order-42-of-a-customer-with-a-long-id", workflowName: "echo", workflowVersion: 4,
            queue: "shipping", priority: -7, partitionKey: "", recoveries: 2, input: Array(#"{"a":[1]}"#.utf8), headers: Array(#"{"h":1}"#.utf8),
            attributes: nil, createdAt: 1_700_000_000_123_456, deadlineAt: 1_800_000_000_654_321, deadlineIn: 1 << 50, parentWorkflowID: "order-41",
            recordedSteps: [])
        let store = ScriptedStore([workflow])
        #expect(store.run(with: registry))
        #expect(
            store.outputs == [
                #"[1,4,2,-7,1700000000123456,"order-42-of-a-customer-with-a-long-id","echo","shipping","",{"a":[1]},{"h":1},"absent",1800000000654321,9,"order-41","mine"]"#
            ])
        (workflow.partitionKey, workflow.headers, workflow.attributes) = ("north", nil, Array("{}".utf8))
        (workflow.deadlineAt, workflow.deadlineIn, workflow.parentWorkflowID) = (nil, nil, nil)
        let second = ScriptedStore([workflow])
        #expect(second.run(with: registry))
        #expect(second.outputs.first?.hasSuffix(#""north",{"a":[1]},"absent",{},0,9,"absent","mine"]"#) == true)
    }

    @Test func failuresAreReadAndRepaired() throws {
        try workshop.build("fails.c")
        let worker = worker()
        let inputs = ["plain", "bad_input", "texts", "nothing", "stopped", "status", "null"]
        for input in inputs { database.enqueue("fails", id: input, input: "\"\(input)\"") }
        #expect(worker.runToEnd())
        for input in inputs {
            #expect(database.workflow(input).status == .failed)
            #expect(database.workflow(input).reason == (input == "bad_input" ? "bad_input" : "error"))
        }
        #expect(output("plain") == "declined|Payment|no|")
        #expect(output("texts") == "declined|Payment|nul \u{FFFD} and \u{FFFD}|{\"card\": 1}")
        #expect(output("nothing").contains("gave no error"))
        #expect(output("status").contains("1 is not a status that an outcome can have"))
        #expect(output("null").contains("the outcome is NULL"))
        #expect(log(of: "null").first?.contains("malformed outcome") == true)
    }

    @Test(arguments: ["OLDER", "NEWER"]) func aPluginOfAnotherHeaderIsReadByItsSizes(age: String) throws {
        try workshop.build("sizes.c", [age: ""])
        let worker = worker()
        database.enqueue("sizes", id: "w")
        #expect(worker.runToEnd())
        #expect(output("w") == (age == "OLDER" ? "older|c|an old plugin|" : "\"newer\""))
    }

    @Test func brokenRulesAreAnsweredAndHurtNobody() throws {
        try workshop.build("breaks_rules.c")
        let worker = worker()
        database.enqueue("breaks_rules", id: "w")
        #expect(worker.runToEnd())
        let answers = try #require(try JSONSerialization.jsonObject(with: Data(output("w").utf8)) as? [String])
        #expect(answers.count == 44)
        for answer in answers {
            // -2: a call that the engine answers, later. Everything that is refused at the boundary is answered before the call returns.
            let expected = answer.hasPrefix("branch") ? "1" : "6"
            #expect(answer.hasSuffix(" \(expected)"), "\(answer)")
        }
        // The second finish is told, and changes nothing. It may come after the first has ended the workflow.
        #expect(worker.run { log(of: "w").count == 3 })
        #expect(log(of: "w").first?.hasPrefix("the handler offered a race a malformed outcome, which is ignored: the error has flags") ?? false)
        #expect(log(of: "w").dropFirst() == ["trace", "the handler called finish a second time: ignored"])
        let strange = workshop.log.withLock { $0.first { $0.workflowID == nil } }
        #expect(strange == PluginLogRecord(level: .critical, message: "a \u{FFFD} level", plugin: "breaks_rules.so"))
    }

    @Test func aStoppedRunIsInterruptedThenReleased() throws {
        try workshop.build("waits.c")
        let worker = worker()
        database.enqueue("waits", id: "w")
        #expect(worker.run { log(of: "w") == ["waiting"] })
        worker.store.loseLife()
        // It is claimed again at once, as epoch 2.
        func first() -> [String] { workshop.log.withLock { $0.filter { $0.workflowID == "w" && $0.epoch == 1 }.map(\.message) } }
        #expect(worker.run { first().last == "released" })
        #expect(first() == ["waiting", "interrupted", "no more", "stopped", "released"])
    }

    @Test func aPluginThatBlocksDelaysOnlyItself() throws {
        let gate = "\(workshop.root)/gate"
        #expect(mkfifo(gate, 0o600) == 0)
        try workshop.build("blocks.c", ["GATE": quoted(gate)])
        try workshop.build("good.c")
        let worker = worker()
        database.enqueue("blocks", id: "blocked")
        for index in 0..<50 { database.enqueue("good", id: "w\(index)") }
        #expect(worker.run { database.unfinished == 1 })
        #expect(output("blocked") == "unfinished")
        // The reader is there, or will be: opening waits for it, and closing lets it go on.
        let writer = open(gate, O_WRONLY)
        #expect(writer >= 0)
        close(writer)
        #expect(worker.runToEnd())
        #expect(output("blocked") == "null")
    }

    @Test func aWorkflowWithoutAHandlerFailsWithAReason() throws {
        let worker = worker()
        database.enqueue("nobody", id: "w")
        #expect(worker.runToEnd())
        #expect(output("w").contains("no handler \"nobody\" version 1"))
    }
}
