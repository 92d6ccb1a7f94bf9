import PostgresClient
package import WorkflowEngine

/// `WorkflowStore` over the worker protocol of one database: its event loop, sessions, life line, and the fate of every request.
///
/// Callbacks come on the loop's thread, which is the engine's thread too; `send` belongs there. The rest may be called on any thread.
package final class PostgresStore: WorkflowStore, @unchecked Sendable {  // the loop thread's, as `send` asserts
    /// Set before `start`.
    package var events: ((StoreEvent) -> Void)?
    /// Life line held or lost. Set before `start`.
    package var onStatus: ((StoreStatus) -> Void)?
    /// Runs once in each round of the loop: after `perform`ed work and timers, before the loop waits. Answers how long it may wait at most, in
    /// milliseconds; negative: until woken. Set before `start`.
    package var onTick: (() -> Int32)? {
        get { loop.tick }
        set { loop.tick = newValue }
    }

    private let configuration: StoreConfiguration
    private let loop: EventLoop
    private let log: @Sendable (LogLevel, String) -> Void

    package init(configuration: StoreConfiguration, log: @escaping @Sendable (LogLevel, String) -> Void) {
        self.configuration = configuration
        self.log = log
        loop = EventLoop(name: "pawl-engine")
    }

    /// Starts the loop's thread, connects, registers the worker, and from then on serves what `send` was given.
    package func start() { loop.start() }

    /// Makes sure that `onTick` runs after this call. Costs no system call while the loop is awake.
    package func wake() { loop.wake() }

    /// Runs `work` on the loop's thread.
    package func perform(_ work: @escaping @Sendable () -> Void) { loop.post(work) }

    /// Runs `work` on the loop's thread after a while. Loop thread only.
    package func schedule(after delay: Duration, _ work: @escaping () -> Void) {
        let (seconds, attoseconds) = delay.components
        let nanoseconds = max(0, seconds) &* 1_000_000_000 &+ attoseconds / 1_000_000_000
        _ = loop.schedule(afterNanoseconds: UInt64(max(0, nanoseconds)), work)
    }

    /// Offers these handlers from now on (SIGHUP loaded plugins).
    package func setHandlers(_ handlers: [HandlerOffer]) {}

    /// Claims nothing more, waits for the writes under way, hands back what is left and unregisters the worker. `completion` is called on the
    /// loop's thread; the store is of no use afterwards.
    package func shutdown(_ completion: @escaping @Sendable () -> Void) { loop.post(completion) }

    /// Ends the loop's thread and waits for it; after `shutdown`, and not on the loop itself.
    package func stop() { loop.stop() }

    package func send(_ requests: [StoreRequest]) { loop.assertCurrent() }
}
