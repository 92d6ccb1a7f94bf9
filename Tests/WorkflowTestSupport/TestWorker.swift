import Dispatch
package import Locking
package import WorkflowEngine

/// An engine over a `MemoryStore`, run by the thread that calls `run`.
package final class TestWorker {
    package let engine: WorkflowEngine
    package let store: MemoryStore
    package let host: ThreadHost
    package let log: Locked<[EngineLogRecord]>
    private let woken = DispatchSemaphore(value: 0)

    package init(
        _ database: MemoryDatabase, configuration: EngineConfiguration = EngineConfiguration(concurrency: 16, retryBase: .microseconds(10), seed: 1),
        clock: EngineClock = .system, handlers: [String: ThreadHost.Handler]
    ) {
        store = MemoryStore(database)
        host = ThreadHost(handlers)
        let log = Locked<[EngineLogRecord]>([])
        self.log = log
        engine = WorkflowEngine(
            configuration: configuration, store: store, handlers: host, clock: clock, wake: { [woken] in woken.signal() },
            log: { record in log.withLock { $0.append(record) } })
        engine.start(maximumPayload: 1 << 20)
    }

    /// Turns the loop until the condition holds. False: the deadline passed first, or the worker died.
    @discardableResult package func run(deadline: Duration = .seconds(20), until condition: () -> Bool) -> Bool {
        let end = ContinuousClock.now + deadline
        while ContinuousClock.now < end {
            let timeout = engine.tick()
            if store.pump() { continue }
            if store.hasCrashed { break }
            if condition() { return true }
            // A condition can also come true in a handler's thread: look again now and then.
            if timeout != 0 { _ = woken.wait(timeout: .now() + .milliseconds(timeout < 0 ? 5 : min(Int(timeout), 5))) }
        }
        return condition()
    }

    /// Runs until everything has ended and every run is released.
    @discardableResult package func runToEnd() -> Bool { run { store.database.unfinished == 0 && host.live == 0 } }

    /// The process is gone, and its workflows go back to the queue.
    package func die() {
        store.events = nil
        host.die()
        store.database.reclaim(from: store.worker)
    }
}
