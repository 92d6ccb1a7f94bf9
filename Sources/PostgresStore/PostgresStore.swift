package import PostgresClient
package import WorkflowEngine

/// `WorkflowStore` over the worker protocol of one database: sessions, life line, and the fate of every request.
///
/// Made on any thread; `start`, `setHandlers`, `shutdown` and `send` belong to the loop's thread, and all callbacks come there.
package final class PostgresStore: WorkflowStore, @unchecked Sendable {  // the loop thread's, as `send` asserts
    package var events: ((StoreEvent) -> Void)?
    /// Life line held or lost. Set before `start`.
    package var onStatus: ((StoreStatus) -> Void)?

    private let configuration: StoreConfiguration
    private let loop: EventLoop
    private let log: @Sendable (LogLevel, String) -> Void

    package init(configuration: StoreConfiguration, loop: EventLoop, log: @escaping @Sendable (LogLevel, String) -> Void) {
        self.configuration = configuration
        self.loop = loop
        self.log = log
    }

    /// Connects, registers the worker, and from then on serves what `send` was given.
    package func start() {}

    /// Offers these handlers from now on (SIGHUP loaded plugins).
    package func setHandlers(_ handlers: [HandlerOffer]) {}

    /// Claims nothing more, waits for the writes under way, hands back what is left and unregisters the worker. The store is of no use
    /// afterwards.
    package func shutdown(_ completion: @escaping () -> Void) { completion() }

    package func send(_ requests: [StoreRequest]) { loop.assertCurrent() }
}
