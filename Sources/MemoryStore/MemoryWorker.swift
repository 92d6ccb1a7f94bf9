internal import Dispatch
internal import Locking
package import WorkflowEngine

/// An engine over a store in memory, whose clock stands still while anything happens and jumps to the next timer when nothing does. It belongs to the
/// thread that calls it.
package final class MemoryWorker {
    package enum Pause: Sendable, Equatable {
        /// What was waited for has come.
        case met
        /// Everything waits; for time alone, if there is a next timer.
        case idle(next: Int64?)
        /// The store was told to crash.
        case crashed
    }

    package let engine: WorkflowEngine
    package let store: MemoryStore
    private let clock: ManualClock
    private let host: WatchedHost
    private let woken: DispatchSemaphore
    /// How long something may go on, in real time and without a sign of life, before the clock jumps all the same.
    private let patience: Duration

    package init(
        _ database: MemoryDatabase, clock: ManualClock, configuration: EngineConfiguration, handlers: any HandlerHost, patience: Duration,
        maximumPayload: Int = 1 << 20, log: @escaping @Sendable (EngineLogRecord) -> Void
    ) {
        let woken = DispatchSemaphore(value: 0)
        let host = WatchedHost(handlers)
        store = MemoryStore(database)
        self.clock = clock
        self.host = host
        self.woken = woken
        self.patience = patience
        engine = WorkflowEngine(
            configuration: configuration, store: store, handlers: host, clock: clock.engineClock, wake: { woken.signal() }, log: log)
        engine.start(maximumPayload: maximumPayload)
    }

    /// Runs that have not been released.
    package var liveRuns: [WorkflowRun] { host.runs }

    /// Another thread has something for whoever turns this.
    package func wake() { woken.signal() }

    /// Turns until the condition holds, or nothing happens any more before that instant.
    package func run(upTo limit: Int64, until condition: () -> Bool) -> Pause {
        var lastSign = ContinuousClock.now
        while true {
            let timeout = engine.tick()
            if store.pump() {
                lastSign = .now
                continue
            }
            if store.hasCrashed { return .crashed }
            if condition() { return .met }
            if timeout == 0 { continue }
            let left = patience - (.now - lastSign)
            // The store answers at once: whatever is being written now waits for a timer of the engine.
            let isWaiting = host.isWaiting
            if isWaiting, !engine.isCaughtUp { continue }
            if isWaiting || left <= .zero {
                let next = [engine.nextTimer.map(clock.instant(ofMonotonic:)), store.database.nextDue].compactMap { $0 }.min()
                guard let next, next <= limit else {
                    // Something still goes on, and no time of this clock is up: perhaps this machine is slow.
                    if next == nil, !isWaiting, left > .seconds(-10) {
                        _ = woken.wait(timeout: .now() + .milliseconds(2))
                        continue
                    }
                    return .idle(next: next)
                }
                clock.advance(to: next)
                lastSign = .now
                continue
            }
            let microseconds = Int(clamping: left.components.seconds * 1_000_000 + left.components.attoseconds / 1_000_000_000_000)
            // What runs may begin to wait without a call, by leaving a branch.
            if woken.wait(timeout: .now() + .microseconds(min(microseconds, 2000))) == .success { lastSign = .now }
        }
    }

    /// The process is gone, as far as the database knows: nothing that is on its way happens, and handlers are told that their runs are over.
    package func die() {
        store.die()
        turn()
    }

    /// Waits a moment for handlers to go on.
    package func rest() { _ = woken.wait(timeout: .now() + .milliseconds(2)) }

    /// Lets handlers of a worker that died hear of it. False: none are left.
    @discardableResult package func turn() -> Bool {
        repeat { _ = engine.tick() } while store.pump()
        return !host.runs.isEmpty
    }
}

/// Knows which runs there are, and whether anything happens in them.
private final class WatchedHost: HandlerHost {
    private let host: any HandlerHost
    private let live = Locked<[ObjectIdentifier: WorkflowRun]>([:])

    init(_ host: any HandlerHost) { self.host = host }

    var runs: [WorkflowRun] { live.withLock { Array($0.values) } }

    var isWaiting: Bool { live.withLock { $0.values.allSatisfy { $0.isWaiting(writesWait: true) } } }

    func deliver(_ deliveries: [Delivery]) {
        live.withLock { live in
            for delivery in deliveries {
                switch delivery {
                case .start(let run): live[ObjectIdentifier(run)] = run
                case .release(let run): live[ObjectIdentifier(run)] = nil
                case .answer, .interrupt, .interruptStep: break
                }
            }
        }
        host.deliver(deliveries)
    }
}
