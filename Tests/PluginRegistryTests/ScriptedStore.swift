import Dispatch
import WorkflowEngine

/// A store that hands out the workflows it was given and takes every write, at once.
final class ScriptedStore: WorkflowStore {
    var events: ((StoreEvent) -> Void)?
    private var waiting: ArraySlice<ClaimedWorkflow>
    private(set) var ends: [WorkflowEnd] = []
    private(set) var steps = 0
    private(set) var statements: [SQLStatement] = []
    /// What SQL answers.
    var sqlResult: SQLResult = .success(Array("{}".utf8))
    /// How the first transactions end; the later ones are committed.
    var transactionEnds: [TransactionEnd] = []
    private let total: Int

    init(_ workflows: [ClaimedWorkflow]) {
        waiting = workflows[...]
        total = workflows.count
    }

    var outputs: [String] {
        ends.map { end in
            switch end.end {
            case .succeeded(let value), .continued(let value): String(decoding: value, as: UTF8.self)
            case .failed(let error, _): "\(error.code): \(error.message)"
            case .cancelled(let by, _): by.rawValue
            }
        }
    }

    func send(_ requests: [StoreRequest]) {
        for request in requests {
            switch request {
            case .claim(let limit, _):
                guard limit > 0, !waiting.isEmpty else { continue }
                let claimed = waiting.prefix(limit)
                waiting = waiting.dropFirst(limit)
                events?(.claimed(Array(claimed)))
            case .write(let id, let steps, let ends):
                self.steps += steps.count
                self.ends += ends
                events?(.written(id, steps: [], ends: []))
            case .release, .begin, .rollback, .park: break
            case .perform, .emit, .runHandler: preconditionFailure("not in this store")
            case .execute(let id, _, let statement), .query(let id, let statement):
                statements.append(statement)
                events?(.executed(id, sqlResult))
            case .commit(let id, _, _): events?(.transactionEnded(id, transactionEnds.isEmpty ? .committed : transactionEnds.removeFirst()))
            }
        }
    }

    /// Runs everything to its end. False: it took too long.
    func run(with handlers: any HandlerHost, concurrency: Int = 64) -> Bool {
        let woken = DispatchSemaphore(value: 0)
        let engine = WorkflowEngine(
            configuration: EngineConfiguration(concurrency: concurrency), store: self, handlers: handlers, wake: { woken.signal() }, log: { _ in })
        engine.start(maximumPayload: 1 << 20)
        let end = ContinuousClock.now + .seconds(60)
        while ends.count < total || engine.statistics.running > 0 {
            guard ContinuousClock.now < end else { return false }
            if engine.tick() != 0 { _ = woken.wait(timeout: .now() + .milliseconds(100)) }
        }
        return true
    }
}
