import Dispatch
package import Locking
package import WorkflowEngine

/// An engine over a `MemoryStore`, run by the thread that calls `run`.
package final class TestWorker {
    package let engine: WorkflowEngine
    package let store: MemoryStore
    package let host: ThreadHost
    package let log: Locked<[EngineLogRecord]>
    private let manualClock: ManualClock?
    private let woken = DispatchSemaphore(value: 0)

    package init(
        _ database: MemoryDatabase, configuration: EngineConfiguration = EngineConfiguration(concurrency: 16, retryBase: .microseconds(10), seed: 1),
        clock: EngineClock = .system, handlers: [String: ThreadHost.Handler]
    ) {
        (store, host, engine, log) = Self.make(database, configuration, clock, handlers, woken)
        manualClock = nil
    }

    /// Whenever all handlers wait, the clock jumps to the next timer of the engine or the database. Handlers must not wait for anything else.
    package init(
        _ database: MemoryDatabase, configuration: EngineConfiguration = EngineConfiguration(concurrency: 16, retryBase: .microseconds(10), seed: 1),
        manualClock: ManualClock, handlers: [String: ThreadHost.Handler]
    ) {
        (store, host, engine, log) = Self.make(database, configuration, manualClock.engineClock, handlers, woken)
        self.manualClock = manualClock
    }

    private static func make(
        _ database: MemoryDatabase, _ configuration: EngineConfiguration, _ clock: EngineClock, _ handlers: [String: ThreadHost.Handler],
        _ woken: DispatchSemaphore
    ) -> (MemoryStore, ThreadHost, WorkflowEngine, Locked<[EngineLogRecord]>) {
        let store = MemoryStore(database)
        let host = ThreadHost(handlers)
        let log = Locked<[EngineLogRecord]>([])
        let engine = WorkflowEngine(
            configuration: configuration, store: store, handlers: host, clock: clock, wake: { woken.signal() },
            log: { record in log.withLock { $0.append(record) } })
        engine.start(maximumPayload: 1 << 20)
        return (store, host, engine, log)
    }

    /// Turns the loop until the condition holds. False: the deadline passed first, or the worker died, or nothing will ever happen again.
    @discardableResult package func run(deadline: Duration = .seconds(20), until condition: () -> Bool) -> Bool {
        let end = ContinuousClock.now + deadline
        while ContinuousClock.now < end {
            let timeout = engine.tick()
            if store.pump() { continue }
            if store.hasCrashed { break }
            if condition() { return true }
            if let manualClock, host.isIdle {
                // What they called before they began to wait may still be in the mailbox.
                if !engine.isCaughtUp { continue }
                let next = [engine.nextTimer.map(manualClock.instant(ofMonotonic:)), store.database.nextDue].compactMap { $0 }.min()
                guard let next else { return condition() }
                manualClock.advance(to: next)
                continue
            }
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
