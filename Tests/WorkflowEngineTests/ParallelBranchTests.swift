import Foundation
import Locking
import Testing
import WorkflowTestSupport

@testable import WorkflowEngine

/// Without scopes, 283 of 1,000 histories like these replayed with another branch's data and no error.
@Suite struct ParallelBranchTests {
    @Test func everyHistoryReplaysWithItsOwnData() {
        let database = MemoryDatabase()
        let count = 1000
        for index in 0..<count { database.enqueue("w", id: "w\(index)") }
        let wrong = Locked(0)
        let handlers: [String: ThreadHost.Handler] = [
            "w": { workflow in
                try workflow.parallel(
                    ["L", "R"].map { me in
                        (
                            "side",
                            { branch in
                                // Both branches have one name; which is "#2" is the order of branch(), which is the program's.
                                let path = branch.scope == 1 ? "first" : "second"
                                for name in ["a", "b", "a"] {
                                    if Bool.random() { sched_yield() }
                                    let value = try branch.step(name) { "\"\(path) \(me) \(name)\"" }
                                    if value != "\"\(path) \(me) \(name)\"" { wrong.withLock { $0 += 1 } }
                                }
                            }
                        )
                    })
                return Array("true".utf8)
            }
        ]
        // The first worker records and never ends anything; the second replays all of it, in whatever order its threads run.
        let first = TestWorker(database, configuration: EngineConfiguration(concurrency: 32, seed: 1), handlers: handlers)
        first.store.crash = { point in point.request == "write" && point.side == .before && Bool.random() && Bool.random() && Bool.random() && Bool.random() }
        var lives = 0
        var worker = first
        while !worker.runToEnd(), lives < 10_000 {
            lives += 1
            worker.die()
            let next = TestWorker(database, configuration: EngineConfiguration(concurrency: 32, seed: 1), handlers: handlers)
            // Ever rarer, so that it comes to an end.
            let odds = 16 + lives * 4
            next.store.crash = { point in point.request == "write" && Int.random(in: 0..<odds) == 0 }
            worker = next
        }
        #expect(database.unfinished == 0)
        #expect(wrong.withLock { $0 } == 0)
        #expect(lives > 5, "killed \(lives) times")
        #expect(database.workflow("w7").steps.keys.sorted() == ["side#2/a", "side#2/a#2", "side#2/b", "side/a", "side/a#2", "side/b"])
    }

    /// Many threads call one run at once, in scopes of their own and in each other's: no crash, no lost answer, each step recorded once.
    @Test func oneRunFromManyThreads() {
        let database = MemoryDatabase()
        database.enqueue("w", id: "w")
        let done = Locked(0)
        let busy = Locked(0)
        let worker = TestWorker(
            database,
            handlers: [
                "w": { workflow in
                    try workflow.parallel(
                        (0..<8).map { index in
                            (
                                "b\(index)",
                                { branch in
                                    for _ in 0..<50 {
                                        try branch.step("s") { "1" }
                                        done.withLock { $0 += 1 }
                                        // In the root scope they get in each other's way, and are told so.
                                        do { try workflow.step("shared") { "1" } } catch is HandlerMisuse { busy.withLock { $0 += 1 } }
                                    }
                                }
                            )
                        })
                    return Array("true".utf8)
                }
            ])
        #expect(worker.runToEnd())
        #expect(done.withLock { $0 } == 400)
        let shared = database.workflow("w").steps.keys.count { $0.hasPrefix("shared") }
        #expect(shared + busy.withLock { $0 } == 400)
        #expect(database.workflow("w").steps.count == 400 + shared)
        #expect(Set(database.workflow("w").steps.values.map(\.step.number)).count == 400 + shared)
    }
}
