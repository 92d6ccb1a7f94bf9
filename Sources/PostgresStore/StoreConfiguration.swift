package import WorkflowEngine

/// A handler this worker offers, and the plugin it came from.
package struct HandlerOffer: Hashable, Sendable {
    package var id: HandlerID
    package var plugin: String
    package init(id: HandlerID, plugin: String) {
        self.id = id
        self.plugin = plugin
    }
}

/// One database, and how a worker shows itself there.
package struct StoreConfiguration: Sendable {
    /// Anything libpq takes; empty for the PG* environment.
    package var connectionString: String
    package var workerName: String
    package var hostname: String
    /// Of this program, as `pawl.workers` shows it.
    package var version: String
    /// Workflows running at once.
    package var concurrency: Int
    /// nil: every queue.
    package var queues: [String]?
    package var handlers: [HandlerOffer]
    /// Sessions for checkpoints, durable calls and completions, 1 to 3.
    package var writeConnections: Int
    /// Sessions for handlers' transactions and queries, at most, and as many again for SQL handlers; opened when needed.
    package var poolConnections: Int

    package init(
        connectionString: String, workerName: String, hostname: String, version: String, concurrency: Int, queues: [String]? = nil,
        handlers: [HandlerOffer], writeConnections: Int = 3, poolConnections: Int = 8
    ) {
        self.connectionString = connectionString
        self.workerName = workerName
        self.hostname = hostname
        self.version = version
        self.concurrency = concurrency
        self.queues = queues
        self.handlers = handlers
        self.writeConnections = writeConnections
        self.poolConnections = poolConnections
    }
}

package enum LogLevel: Int, Sendable {
    case trace, debug, info, notice, warning, error, critical
}

/// What a store tells about its life, on the loop thread.
package enum StoreStatus: Sendable, Equatable {
    /// It holds the life line and takes work. `held`: the database is a restored copy that nobody has released yet; nothing runs until then.
    case registered(workerID: String, workerNumber: Int32, maximumPayload: Int, held: String?)
    /// It lost the life line, or never had it yet; it is trying.
    case disconnected
    /// It is trying, but the database said no to this worker and will again until somebody changes something there: what it said, and what to do.
    case refused(String)
}
