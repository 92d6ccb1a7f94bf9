import Dispatch
import Locking
import WorkflowEngine
import WorkflowTestSupport

/// An engine whose handlers are a registry's plugins. The thread that calls `run` is its loop.
final class PluginWorker {
    let engine: WorkflowEngine
    let store: MemoryStore
    private let woken = DispatchSemaphore(value: 0)

    init(_ database: MemoryDatabase, _ handlers: any HandlerHost) {
        store = MemoryStore(database)
        engine = WorkflowEngine(
            configuration: EngineConfiguration(concurrency: 64, retryBase: .microseconds(10), seed: 1), store: store, handlers: handlers,
            wake: { [woken] in woken.signal() }, log: { _ in })
        engine.start(maximumPayload: 1 << 20)
    }

    /// Turns the loop until the condition holds, or the worker dies. False: the deadline passed.
    @discardableResult
    func run(deadline: Duration = .seconds(30), until condition: () -> Bool) -> Bool {
        let end = ContinuousClock.now + deadline
        while ContinuousClock.now < end {
            let timeout = engine.tick()
            if store.hasCrashed { return true }
            if store.pump() { continue }
            if condition() { return true }
            // Handlers call from their own threads, and what the condition asks may be said there: look again now and then.
            if timeout != 0 { _ = woken.wait(timeout: .now() + .milliseconds(2)) }
        }
        return condition()
    }

    /// Runs until every workflow has ended.
    @discardableResult
    func runToEnd() -> Bool { run { store.database.unfinished == 0 && engine.statistics.running == 0 } }
}
