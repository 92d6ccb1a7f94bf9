import Locking
import MemoryStore
import Testing
import WorkflowTestSupport

@testable import WorkflowEngine

/// Waits, children, races, retries and compensations, killed before and after every write there is, with runs that wait here and with runs that are parked
/// at once: each ends as it does undisturbed.
@Suite struct DurableRecoveryTests {
    struct Script: CustomTestStringConvertible, Sendable {
        var name: String
        var handlers: [String: ThreadHost.Handler]
        var input = "{}"
        /// Done while nothing else happens, once.
        var outside: (@Sendable (MemoryDatabase) -> Void)?
        var testDescription: String { name }
    }

    static func text(_ value: String?) -> JSONBytes { Array((value ?? "null").utf8) }

    static let scripts: [Script] = [
        Script(
            name: "sleeps and messages",
            handlers: [
                "main": { workflow in
                    try workflow.sleep("short", seconds: 0.5)
                    try workflow.sleep("long", seconds: 86_400)
                    let first = try workflow.receive("first", topic: "t")
                    let none = try workflow.receive("second", topic: "u", timeout: 60)
                    return text("[\(first ?? "none"), \(none == nil)]")
                }
            ], outside: { $0.send(.number("7"), to: "main", topic: "t") }),
        Script(
            name: "events and streams",
            handlers: [
                "main": { workflow in
                    let child = try workflow.startChild("start", "writer", id: "writer")
                    let state = try workflow.getEvent("look", of: child, key: "state")
                    var values: [String] = []
                    var from = 1
                    while true {
                        guard let portion = try workflow.readStream("read", of: child, key: "words", from: from) else { break }
                        let entries = portion["entries"]?.array ?? []
                        values += entries.compactMap { $0["value"]?.description }
                        from += entries.count
                        if portion["closed"] == .bool(true) { break }
                    }
                    return text("[\(state ?? "none"), \(values.joined(separator: ", "))]")
                },
                "writer": { workflow in
                    try workflow.writeStream("one", key: "words", "1")
                    try workflow.sleep(seconds: 30)
                    try workflow.setEvent(key: "state", "\"on\"")
                    try workflow.writeStream("two", key: "words", "2")
                    try workflow.sleep(seconds: 30)
                    try workflow.closeStream(key: "words")
                    return text("null")
                },
            ]),
        Script(
            name: "children",
            handlers: [
                "main": { workflow in
                    let ids = try (1...3).map { try workflow.startChild("start", "child", input: "\($0)") }
                    let first = try workflow.awaitChildren("any", ids, mode: "any")
                    let all = try workflow.awaitChildren("all", ids)
                    let failing = try workflow.startChild("fail", "child", input: "0", ["detached": .bool(true)])
                    do {
                        _ = try workflow.awaitChild("await", failing)
                        return text("null")
                    } catch let failure as HandlerFailure {
                        let outputs = all?.array?.compactMap { $0["output"]?.description } ?? []
                        return text("[\(first?["output"]?.description ?? ""), \(outputs.joined(separator: ", ")), \"\(failure.error.code)\"]")
                    }
                },
                "child": { workflow in
                    let number = workflow.input.integer ?? 0
                    if number == 0 { throw HandlerFailure("zero") }
                    try workflow.sleep(seconds: Double(100 - number * 10))
                    return text(try workflow.step("s") { "\(number * 2)" })
                },
            ]),
        Script(
            name: "branches and races",
            handlers: [
                "main": { workflow in
                    try workflow.parallel(
                        ["left", "right"].map { name in
                            (
                                name,
                                { branch in
                                    try branch.sleep(seconds: name == "left" ? 10 : 20)
                                    try branch.step("s") { "1" }
                                    _ = try branch.receive(topic: name, timeout: 5)
                                }
                            )
                        })
                    let race = try workflow.race(
                        "race", [.object(["kind": .string("receive"), "topic": .string("t")]), .object(["kind": .string("sleep"), "seconds": .number("9")])])
                    return race.bytes
                }
            ]),
        Script(
            name: "retries",
            handlers: [
                "main": { workflow in
                    let policy = RetryPolicy(maxAttempts: 3, initialInterval: 60_000_000)
                    let value = try workflow.step("flaky", retry: policy) {
                        if workflow.attempt < 3 { throw HandlerFailure("busy") }
                        return "\(workflow.attempt)"
                    }
                    do {
                        try workflow.step("lost", retry: RetryPolicy(maxAttempts: 2)) { throw HandlerFailure("lost") }
                    } catch let failure as HandlerFailure {
                        try workflow.transaction("note") { try $0.execute("add", failure.error.code, "1") }
                    }
                    try workflow.step("hangs", retry: RetryPolicy(maxAttempts: 2, attemptTimeout: 30_000_000)) {
                        if workflow.attempt == 1 { try workflow.waitForTimeout() }
                        return "0"
                    }
                    return text(value)
                }
            ]),
        Script(
            name: "compensations",
            handlers: [
                "main": { workflow in
                    try workflow.compensating { undo in
                        try workflow.transaction("take") { try $0.execute("add", "taken", "1") }
                        undo.add("give_back", .readCommitted) { try $0.execute("add", "taken", "-1") }
                        try workflow.step("book") { "1" }
                        undo.add("cancel_booking") { "2" }
                        try workflow.sleep(seconds: 60)
                        throw HandlerFailure("no_room")
                    }
                }
            ]),
        Script(
            name: "cancelled",
            handlers: [
                "main": { workflow in
                    try workflow.compensating { undo in
                        try workflow.step("book") { "1" }
                        undo.add("cancel_booking") { "2" }
                        undo.add("count", .serializable) { try $0.execute("add", "undone", "1") }
                        try workflow.startChild("start", "child", id: "child")
                        _ = try workflow.receive("never", topic: "never")
                        return text("1")
                    }
                },
                "child": { workflow in
                    _ = try workflow.receive("never", topic: "never")
                    return text("1")
                },
            ], outside: { $0.cancel("main") }),
        Script(
            name: "begun anew",
            handlers: [
                "main": { workflow in
                    let number = workflow.input.integer ?? 0
                    try workflow.step("s") { "\(number)" }
                    try workflow.sleep(seconds: 10)
                    if number < 2 { try workflow.continueAsNew(input: "\(number + 1)") }
                    return text("\(number)")
                }
            ], input: "0"),
        Script(
            name: "values",
            handlers: [
                "main": { workflow in
                    let values = try [StepKind.uuid, .random].map { kind in try workflow.call(kind, kind.rawValue) ?? "" }
                    let isNew = try workflow.patched("patch")
                    try workflow.mergeAttributes("attributes", #"{"new": \#(isNew)}"#)
                    try workflow.progress("50")
                    return text("[\(values.joined(separator: ", "))]")
                }
            ]),
    ]

    struct Ending: Equatable {
        var workflows: [String: String] = [:]
        var counters: [String: Int] = [:]
    }

    /// nil: it did not come that far.
    static func ending(of script: Script, parks: Bool, crashAt point: Int) -> (ending: Ending, crashed: Bool)? {
        let clock = ManualClock()
        let database = MemoryDatabase(clock: clock.engineClock)
        database.enqueue("main", id: "main", input: Array(script.input.utf8), .init())
        let points = Locked(0)
        let isTold = Locked(script.outside == nil)
        var crashed = false
        for life in 0..<3 {
            var configuration = EngineConfiguration(concurrency: 16, retryBase: .microseconds(10), seed: UInt64(life), valueSeed: 1)
            if parks { configuration.parkAfter = .zero }
            let worker = TestWorker(database, configuration: configuration, manualClock: clock, handlers: script.handlers)
            worker.store.crash = { _ in
                points.withLock { points in
                    points += 1
                    return points == point
                }
            }
            let isOver = { database.unfinished == 0 && worker.host.live == 0 }
            worker.run(until: isOver)
            if !worker.store.hasCrashed, !isOver(), !isTold.withLock({ $0 }) {
                // Nothing happens any more without it.
                isTold.withLock { $0 = true }
                script.outside?(database)
                worker.run(until: isOver)
            }
            let isDead = worker.store.hasCrashed
            if !isDead { #expect(isOver(), "stuck: \(worker.host.log) \(worker.store.sent)") }
            worker.die()
            crashed = crashed || isDead
            if !isDead { break }
        }
        guard database.unfinished == 0 else { return nil }
        var ending = Ending()
        ending.counters = database.state.withLock { $0.counters }
        for row in database.workflows {
            // How many entries of a stream come at a time depends on when they are looked for.
            let recorded = row.steps.values.filter { $0.kind != "read_stream" }.sorted { $0.name < $1.name }
            let steps = recorded.map { "\($0.name) \($0.kind) \($0.status) \(describe($0.outcome))" }
            let messages = row.messages.map { "\($0.message.description) \($0.consumedBy ?? "-")" }
            let streams = row.streams.mapValues { "\($0.entries.map(\.value.description)) \($0.isClosed)" }.sorted { $0.key < $1.key }
            let rest = "\(steps) \(messages) \(row.events.map(\.value.description)) \(streams) \(row.attributes?.description ?? "")"
            ending.workflows[row.id] = "\(row.status) \(row.reason ?? "") \(describe(row.outcome)) \(rest)"
        }
        return (ending, crashed)
    }

    static func describe(_ outcome: Outcome?) -> String {
        switch outcome {
        case .success(let value): String(decoding: value, as: UTF8.self)
        case .failure(let error): error.code
        case nil: "-"
        }
    }

    @Test(arguments: scripts, [false, true])
    func killedAtEveryPoint(_ script: Script, parks: Bool) throws {
        let expected = try #require(Self.ending(of: script, parks: parks, crashAt: 0)).ending
        var point = 1
        while true {
            guard let (ending, crashed) = Self.ending(of: script, parks: parks, crashAt: point) else {
                Issue.record("it never ended after a crash at point \(point)")
                return
            }
            #expect(ending == expected, "after a crash at point \(point)")
            if !crashed { break }
            point += 1
        }
        #expect(point > 6)
    }

    /// The time for all attempts goes on while nobody makes one: the run is parked, or its worker died.
    @Test(arguments: [false, true], [nil, 3, 1000]) func theTimeOfAllAttemptsOutlivesARun(parks: Bool, crashAfter: Int?) {
        let clock = ManualClock(now: 1_000_000_000_000)
        let database = MemoryDatabase(clock: clock.engineClock)
        database.enqueue("main", id: "main")
        let policy = RetryPolicy(maxAttempts: 1000, initialInterval: 20_000_000, maximumInterval: 20_000_000, timeout: 100_000_000)
        let attempts = Locked(0)
        for life in 0..<2 where database.unfinished > 0 {
            let worker = TestWorker(
                database, configuration: EngineConfiguration(concurrency: 1, parkAfter: parks ? .zero : .seconds(3600), seed: 1), manualClock: clock,
                handlers: [
                    "main": { workflow in
                        try workflow.step("s", retry: policy) {
                            attempts.withLock { $0 += 1 }
                            throw HandlerFailure("down")
                        }
                        return Self.text("1")
                    }
                ])
            // Written as an attempt, or as the last one.
            worker.store.crash = { point in life == 0 && point.side == .after && attempts.withLock { $0 == crashAfter } }
            worker.runToEnd()
            worker.die()
            if crashAfter == 3, life == 0 { clock.advance(to: clock.now + 30_000_000) }
        }
        let step = database.workflow("main").steps["s"]
        #expect(database.workflow("main").outcome?.failure?.code == "down")
        #expect(step?.status == .failed && step?.attempts == Int32(attempts.withLock { $0 }))
        let time = (step?.completedAt ?? 0) - (step?.startedAt ?? 0)
        #expect(time > 80_000_000 && time <= 100_000_000, "\(time)")
    }

    @Test func aFunctionRunsOnceWithItsEnd() {
        var point = 1
        while true {
            let database = MemoryDatabase()
            let runs = Locked(0)
            database.state.withLock { state in
                state.functions["sql"] = { _ in
                    // A serialization failure at first.
                    runs.withLock { runs in
                        runs += 1
                        return runs == 1 ? .failure(WorkflowError(code: "40001", type: "T", message: "m")) : .success(Array("5".utf8))
                    }
                }
            }
            database.enqueue("sql", id: "w")
            let points = Locked(0)
            var crashed = false
            for _ in 0..<2 {
                let worker = TestWorker(database, handlers: [:])
                worker.store.crash = { _ in
                    points.withLock { points in
                        points += 1
                        return points == point
                    }
                }
                worker.run { database.unfinished == 0 }
                crashed = crashed || worker.store.hasCrashed
                worker.die()
            }
            #expect(database.workflow("w").outcome == .success(Array("5".utf8)))
            if !crashed { break }
            point += 1
        }
        #expect(point > 4)
    }

    /// One that kills its worker, among others: it runs alone, and only it fails.
    @Test func onlyThePoisonFails() {
        let database = MemoryDatabase()
        for index in 0..<50 { database.enqueue(index == 20 ? "poison" : "w", id: "w\(index)") }
        for _ in 0..<40 where database.unfinished > 0 {
            let kills = Locked(false)
            let worker = TestWorker(
                database,
                handlers: [
                    "poison": { workflow in
                        kills.withLock { $0 = true }
                        try workflow.step("never") { "1" }
                        return Self.text("1")
                    },
                    "w": { workflow in
                        try workflow.step("a") { "1" }
                        try workflow.step("b") { "2" }
                        return Self.text("1")
                    },
                ])
            // The process dies before anything more is written.
            worker.store.crash = { _ in kills.withLock { $0 } }
            worker.runToEnd()
            worker.die()
        }
        #expect(database.workflow("w20").status == .failed)
        #expect(database.workflow("w20").reason == "crashes")
        #expect(database.workflows.count { $0.status == .succeeded } == 49)
    }
}
