/// A connection that comes back: connects, and when the connection is lost connects again, with a growing pause between failures.
/// Loop thread only.
package final class Session: @unchecked Sendable {  // the loop thread's, as `start` asserts
    package private(set) var connection: Connection?
    /// A new connection is there. Called before anything else can use it.
    package var onReady: ((Connection) -> Void)?
    /// The connection was lost; its requests have been answered. A new one is being made.
    package var onLost: ((PostgresError) -> Void)?
    /// An attempt failed; another one follows.
    package var onFailedAttempt: ((PostgresError) -> Void)?

    private let options: ConnectionOptions
    private let connector: Connector
    private let loop: EventLoop
    private var backoff: Backoff
    private var timer: EventLoop.Timer?
    private var connectedAt: UInt64 = 0
    private var wanted = false
    private var connecting = false

    package init(options: ConnectionOptions, connector: Connector, loop: EventLoop, backoff: Backoff = Backoff()) {
        self.options = options
        self.connector = connector
        self.loop = loop
        self.backoff = backoff
    }

    package func start() {
        loop.assertCurrent()
        wanted = true
        guard connection == nil, timer == nil else { return }
        connect()
    }

    /// Ends it. Requests without an answer fail with `connectionLost`; no callback is called any more.
    package func close() {
        wanted = false
        onReady = nil
        onLost = nil
        onFailedAttempt = nil
        if let timer { loop.cancel(timer) }
        timer = nil
        connection?.close()
        connection = nil
    }

    /// Drops the connection and makes another: for a session whose state cannot be trusted any more.
    package func reconnect() {
        guard let connection else { return }
        self.connection = nil
        connection.close()
        if wanted { connect() }
    }

    private func connect() {
        guard !connecting else { return }
        connecting = true
        connector.connect(options, loop: loop) { [self] result in
            connecting = false
            switch result {
            case .success(let fresh):
                guard wanted else { return fresh.close() }
                connection = fresh
                connectedAt = EventLoop.now()
                fresh.onLost = { [weak self] error in self?.lost(error) }
                onReady?(fresh)
            case .failure(let error):
                guard wanted else { return }
                onFailedAttempt?(error)
                retry()
            }
        }
    }

    private func lost(_ error: PostgresError) {
        connection = nil
        onLost?(error)
        guard wanted else { return }
        // One that lived a while is tried again at full speed; one that dies at once is not.
        if EventLoop.now() - connectedAt > 5_000_000_000 { backoff.reset() }
        retry()
    }

    private func retry() {
        guard wanted, timer == nil else { return }
        timer = loop.schedule(afterNanoseconds: backoff.next()) { [weak self] in
            guard let self else { return }
            timer = nil
            connect()
        }
    }
}
