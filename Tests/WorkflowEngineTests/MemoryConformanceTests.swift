import MemoryStore
import StoreConformance
import Testing
import WorkflowEngine

/// The store in memory does what every store must, with a crash before and after every write.
@Suite struct MemoryConformanceTests {
    @Test(arguments: ConformanceCase.all)
    func conforms(_ conformance: ConformanceCase) async throws {
        let points = try await conformance.run(in: MemoryWorld())
        #expect(points > 0)
        for point in 1...points { try await conformance.run(in: MemoryWorld(), crashAt: point) }
    }
}

private final class MemoryWorld: ConformanceWorld {
    let clock = ManualClock()
    let database: MemoryDatabase

    init() { database = MemoryDatabase(clock: clock.engineClock) }

    func makeWorker() async throws -> any ConformanceWorker { MemoryWorkerStore(database) }
    func kill(_ worker: any ConformanceWorker) async throws { (worker as? MemoryWorkerStore)?.store.die() }
    func enqueue(_ id: String, input: String) async throws { database.enqueue("w", id: id, input: Array(input.utf8), .init()) }
    func send(_ message: String, to id: String, topic: String) async throws -> Bool? { database.send(StoredJSON(message) ?? .null, to: id, topic: topic) }
    func cancel(_ id: String) async throws -> Bool { database.cancel(id) ?? false }
    func resume(_ id: String) async throws -> Bool { try database.resume(id).get() }
    func receivers(of id: String) async throws -> [String?] { database.workflow(id).messages.map(\.consumedBy) }
    func pass(milliseconds: Int) async throws { clock.advance(microseconds: Int64(milliseconds) * 1000) }

    func look(at id: String) async throws -> ConformanceLook {
        let row = database.workflow(id)
        var look = ConformanceLook(
            status: row.status.rawValue, reason: row.reason, output: nil, errorCode: nil, attributes: row.attributes, progress: row.progress,
            steps: row.stepNames.compactMap { row.steps[$0] }.map { "\($0.name) \($0.kind) \($0.status.rawValue)" })
        switch row.outcome {
        case .success(let output)?: look.output = StoredJSON(output)
        case .failure(let error)?: look.errorCode = error.code
        case nil: break
        }
        return look
    }
}

private final class MemoryWorkerStore: ConformanceWorker {
    let store: MemoryStore
    private var events: [StoreEvent] = []
    private var signals: [Signal] = []
    private var requests: UInt64 = 0

    init(_ database: MemoryDatabase) {
        store = MemoryStore(database)
        store.events = { [unowned self] event in
            if case .signalled(let signals) = event { self.signals += signals } else { events.append(event) }
        }
    }

    private func ask(_ request: (RequestID) -> StoreRequest) -> StoreEvent? {
        requests += 1
        events = []
        store.send([request(RequestID(requests))])
        store.pump()
        return events.first
    }

    func claimOne() async throws -> ClaimedWorkflow {
        guard case .claimed(let claimed)? = ask({ _ in .claim(limit: 1, alone: false) }) else { throw NoAnswer() }
        return try #require(claimed.first)
    }

    func write(steps: [StepRecord], ends: [WorkflowEnd]) async throws -> (steps: [Int: Refusal], ends: [Int: Refusal]) {
        guard case .written(_, let steps, let ends)? = ask({ .write($0, steps: steps, ends: ends) }) else { throw NoAnswer() }
        return (
            Dictionary(uniqueKeysWithValues: steps.map { ($0.index, $0.refusal) }), Dictionary(uniqueKeysWithValues: ends.map { ($0.index, $0.refusal) })
        )
    }

    func perform(_ call: DurableCall) async throws -> CallResult {
        guard case .performed(_, let results)? = ask({ .perform($0, [call]) }) else { throw NoAnswer() }
        return results[0]
    }

    func emit(_ emission: Emission) async throws -> Refusal? {
        guard case .emitted(_, let refused)? = ask({ .emit($0, [emission]) }) else { throw NoAnswer() }
        return refused.first?.refusal
    }

    func park(_ fence: Fence) async throws { _ = ask { _ in .park([Parking(fence: fence, waitingFor: "a test")]) } }

    func signal(about fence: Fence) async throws -> Signal {
        store.pump()
        return try #require(signals.last { $0.fence == fence })
    }

    struct NoAnswer: Error {}
}
