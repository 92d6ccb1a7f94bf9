import Dispatch
import WorkflowEngine

/// A store that hands out the workflows it was given and takes every write, at once.
final class ScriptedStore: WorkflowStore {
    var events: ((StoreEvent) -> Void)?
    private var waiting: ArraySlice<ClaimedWorkflow>
    private(set) var ends: [WorkflowEnd] = []
    var steps: Int { records.count }
    private(set) var statements: [SQLStatement] = []
    /// What SQL answers.
    var sqlResult: SQLResult = .success(Array("{}".utf8))
    /// How the first transactions end; the later ones are committed.
    var transactionEnds: [TransactionEnd] = []
    /// What a durable call comes to.
    var perform: (DurableCall) -> CallResult = { _ in .done(.success(Array(#"{"value": 1}"#.utf8))) }
    private(set) var calls: [DurableCall] = []
    private(set) var emissions: [Emission] = []
    private(set) var records: [StepRecord] = []
    /// Called whenever the loop comes round.
    var idle: (ScriptedStore) -> Void = { _ in }
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
                records += steps
                self.ends += ends
                events?(.written(id, steps: [], ends: []))
            case .perform(let id, let calls):
                self.calls += calls
                events?(.performed(id, calls.map(perform)))
            case .emit(let id, let emissions):
                self.emissions += emissions
                events?(.emitted(id, refused: []))
            case .release, .begin, .rollback, .park: break
            case .runHandler: preconditionFailure("not a plugin's")
            case .execute(let id, _, let statement), .query(let id, let statement):
                statements.append(statement)
                events?(.executed(id, sqlResult))
            case .commit(let id, _, _): events?(.transactionEnded(id, transactionEnds.isEmpty ? .committed : transactionEnds.removeFirst()))
            }
        }
    }

    /// Somebody asks for the cancellation of a workflow.
    func cancel(_ fence: Fence) { events?(.signalled([Signal(fence: fence, cancellation: .request)])) }

    /// Runs everything to its end. False: it took too long.
    func run(with handlers: any HandlerHost, concurrency: Int = 64) -> Bool {
        let woken = DispatchSemaphore(value: 0)
        let engine = WorkflowEngine(
            configuration: EngineConfiguration(concurrency: concurrency), store: self, handlers: handlers, wake: { woken.signal() }, log: { _ in })
        engine.start(maximumPayload: 1 << 20)
        let end = ContinuousClock.now + .seconds(60)
        while ends.count < total || engine.statistics.running > 0 {
            guard ContinuousClock.now < end else { return false }
            idle(self)
            if engine.tick() != 0 { _ = woken.wait(timeout: .now() + .milliseconds(10)) }
        }
        return true
    }
}
