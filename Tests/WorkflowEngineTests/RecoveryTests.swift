import Locking
import Testing
import WorkflowTestSupport

@testable import WorkflowEngine

/// Scripted workflows, killed before and after every write there is: whoever goes on ends with the same outcome, each transaction's effect exactly
/// once, and steps that were recorded not run again.
@Suite struct RecoveryTests {
    struct Script: CustomTestStringConvertible, Sendable {
        var name: String
        /// Runs of each step's body, over all lives.
        var handler: @Sendable (HandlerContext, Locked<[String: Int]>) throws -> JSONBytes
        var counters: [String: Int]
        var output: String?
        var steps: [String]
        var testDescription: String { name }
    }

    static let scripts: [Script] = [
        Script(
            name: "steps",
            handler: { workflow, ran in
                var values: [String] = []
                for index in 1...4 {
                    values.append(
                        try workflow.step("s") {
                            ran.withLock { $0["s\(index)", default: 0] += 1 }
                            return "\(index)"
                        })
                }
                return Array("[\(values.joined(separator: ", "))]".utf8)
            }, counters: [:], output: "[1, 2, 3, 4]", steps: ["s", "s#2", "s#3", "s#4"]),
        Script(
            name: "transactions",
            handler: { workflow, _ in
                try workflow.transaction("debit") { try $0.execute("add", "a", "-10") }
                let middle = try workflow.query("look", "get", "a")
                try workflow.step("between") { "null" }
                try workflow.transaction("credit") { transaction in
                    try transaction.execute("add", "b", "4")
                    return try transaction.execute("add", "b", "6")
                }
                return Array(middle.utf8)
            }, counters: ["a": -10, "b": 10], output: #"{"columns": [["value", 23]], "rows": [["-10"]], "affected": 1}"#,
            steps: ["debit", "look", "between", "credit"]),
        Script(
            name: "branches",
            handler: { workflow, _ in
                try workflow.step("first") { "0" }
                try workflow.parallel(
                    ["left", "right", "middle"].map { name in
                        (
                            name,
                            { branch in
                                try branch.transaction("t") { try $0.execute("add", name, "1") }
                                let value = try branch.step("s") { "\"\(name)\"" }
                                #expect(value == "\"\(name)\"")
                                try branch.transaction("t") { try $0.execute("add", name, "1") }
                            }
                        )
                    })
                return Array("true".utf8)
            }, counters: ["left": 2, "right": 2, "middle": 2], output: "true",
            steps: ["first"] + ["left", "middle", "right"].flatMap { ["\($0)/s", "\($0)/t", "\($0)/t#2"] }),
        Script(
            name: "failures",
            handler: { workflow, _ in
                do {
                    try workflow.step("may_fail") { throw HandlerFailure(WorkflowError(code: "soft", type: "t", message: "m")) }
                } catch let failure as HandlerFailure { #expect(failure.error.code == "soft") }
                do {
                    try workflow.transaction("undone") { transaction in
                        try transaction.execute("add", "a", "5")
                        throw HandlerFailure(WorkflowError(code: "no", type: "t", message: "m"))
                    }
                } catch let failure as HandlerFailure { #expect(failure.error.code == "no") }
                do {
                    try workflow.transaction("refused") { try $0.execute("fail", "23514") }
                } catch let failure as HandlerFailure { #expect(failure.error.code == "23514") }
                throw HandlerFailure(WorkflowError(code: "hard", type: "t", message: "the end"))
            }, counters: ["a": 0], output: nil, steps: ["may_fail", "undone", "refused"]),
    ]

    @Test(arguments: scripts)
    func killedAtEveryPoint(_ script: Script) {
        var kills = 0
        for fatalPoint in 0..<200 {
            let database = MemoryDatabase()
            database.enqueue("script", id: "w")
            let ran = Locked<[String: Int]>([:])
            let handlers: [String: ThreadHost.Handler] = ["script": { try script.handler($0, ran) }]
            let first = TestWorker(database, handlers: handlers)
            let passed = Locked(0)
            first.store.crash = { _ in
                passed.withLock { passed in
                    passed += 1
                    return passed == fatalPoint + 1
                }
            }
            let survived = first.runToEnd()
            first.die()
            var second: TestWorker?
            if !survived {
                kills += 1
                #expect(first.store.hasCrashed)
                second = TestWorker(database, handlers: handlers)
                #expect(second!.runToEnd(), "stuck after a crash at point \(fatalPoint): \(second!.store.sent)")
                second!.die()
            }
            let workflow = database.workflow("w")
            if let output = script.output {
                #expect(workflow.outcome == .success(Array(output.utf8)), "crash at point \(fatalPoint)")
            } else if case .failure(let error)? = workflow.outcome {
                #expect(error.code == "hard")
                #expect(workflow.reason == "error")
            } else {
                Issue.record("no failure after a crash at point \(fatalPoint)")
            }
            #expect(workflow.steps.keys.sorted() == script.steps.sorted())
            for (name, value) in script.counters { #expect(database.counter(name) == value, "\(name) after a crash at point \(fatalPoint)") }
            // A step's body may run again only if the crash came before its record was there: at most once more in all.
            let extra = ran.withLock { $0.values.reduce(0) { $0 + $1 - 1 } }
            #expect(extra <= 1)
            if survived { break }
        }
        #expect(kills >= 6, "killed \(kills) times")
    }

    /// Two kills and a worker that comes back, many workflows at once.
    @Test func manyWorkflowsManyKills() {
        let database = MemoryDatabase()
        for index in 0..<100 { database.enqueue("transfer", id: "w\(index)") }
        let handlers: [String: ThreadHost.Handler] = [
            "transfer": { workflow in
                try workflow.transaction("debit") { try $0.execute("add", "a", "-1") }
                try workflow.transaction("credit") { try $0.execute("add", "b", "1") }
                return Array("null".utf8)
            }
        ]
        var random = SplitMix64(state: 3)
        for _ in 0..<8 {
            let worker = TestWorker(database, handlers: handlers)
            let fuse = Locked(Int.random(in: 1...60, using: &random))
            worker.store.crash = { _ in
                fuse.withLock { fuse in
                    fuse -= 1
                    return fuse <= 0
                }
            }
            worker.runToEnd()
            worker.die()
        }
        let last = TestWorker(database, handlers: handlers)
        #expect(last.runToEnd())
        #expect(database.counter("a") == -100)
        #expect(database.counter("b") == 100)
    }

    /// A worker that was stopped past its lease and comes back: every kind of write is refused, and its handlers hear that they are over.
    @Test func aWorkerThatComesBackWritesNothing() {
        let database = MemoryDatabase()
        for id in ["step", "transaction", "query", "end", "failed step"] { database.enqueue(id, id: id) }
        let handlers: [String: ThreadHost.Handler] = [
            "step": {
                try $0.step("s") { "1" }; return Array("1".utf8)
            },
            "transaction": {
                try $0.transaction("t") { try $0.execute("add", "n", "1") }; return Array("1".utf8)
            },
            "query": {
                try $0.query("q", "get", "n"); return Array("1".utf8)
            },
            "end": { _ in Array("1".utf8) },
            "failed step": {
                try $0.step("s") { throw HandlerFailure(WorkflowError(code: "no", type: "", message: "")) }; return Array("1".utf8)
            },
        ]
        let first = TestWorker(database, handlers: handlers)
        first.store.holds = { request in
            switch request {
            case .write, .commit: true
            default: false
            }
        }
        // Everything it wants to write is stuck, and then the others think it dead.
        #expect(first.run { first.host.waitingCalls == 4 && first.engine.statistics.running == 4 })
        database.reclaim(from: first.store.worker)
        let second = TestWorker(database, handlers: handlers)
        #expect(second.runToEnd())
        let after = database.state.withLock { ($0.workflows.mapValues { "\($0.epoch) \($0.status) \($0.stepNames)" }, $0.counters) }
        first.store.holds = { _ in false }
        #expect(first.run { first.host.live == 0 })
        #expect(first.engine.statistics.fenced == 5)
        #expect(first.engine.statistics.succeeded == 0)
        #expect(database.state.withLock { ($0.workflows.mapValues { "\($0.epoch) \($0.status) \($0.stepNames)" }, $0.counters) } == after)
        #expect(database.counter("n") == 1)
    }

    @Test func aLostLifeStopsAllAndGoesOnUnderANewOne() {
        let database = MemoryDatabase()
        for index in 0..<20 { database.enqueue("w", id: "w\(index)") }
        let worker = TestWorker(
            database, configuration: EngineConfiguration(concurrency: 8, seed: 1),
            handlers: [
                "w": { workflow in
                    try workflow.transaction("t") { try $0.execute("add", "n", "1") }
                    try workflow.step("s") { "1" }
                    return Array("1".utf8)
                }
            ])
        worker.run { worker.engine.statistics.steps >= 5 }
        worker.store.loseLife()
        worker.run { worker.engine.statistics.steps >= 15 }
        worker.store.loseLife()
        #expect(worker.runToEnd())
        #expect(database.counter("n") == 20)
        #expect(worker.engine.statistics.livesLost == 2)
        #expect(worker.engine.statistics.succeeded == 20)
    }

    /// A step that is recorded is answered from its record, whatever its body would do now.
    @Test func replayAnswersFromTheRecords() {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        let ran = Locked(0)
        let handlers: [String: ThreadHost.Handler] = [
            "w": { workflow in
                let value = try workflow.step("s") {
                    "\(ran.withLock { ran in ran += 1; return ran })"
                }
                try workflow.step("last") { "0" }
                return Array(value.utf8)
            }
        ]
        let first = TestWorker(database, handlers: handlers)
        first.store.crash = { point in point.request == "write" && point.side == .before && !database.workflow("w").steps.isEmpty }
        #expect(!first.runToEnd())
        first.die()
        let second = TestWorker(database, handlers: handlers)
        #expect(second.runToEnd())
        #expect(database.workflow("w").outcome == .success(Array("1".utf8)))
        #expect(second.engine.statistics.replayedSteps == 1)
        #expect(database.workflow("w").stepNames == ["s", "last"])
    }
}
