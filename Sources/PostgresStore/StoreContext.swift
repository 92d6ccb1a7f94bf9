import PostgresClient
import WorkflowEngine

/// What the parts of a store share. Loop thread only.
final class StoreContext {
    let loop: EventLoop
    let connector: Connector
    let configuration: StoreConfiguration
    let log: @Sendable (LogLevel, String) -> Void
    /// The present life; nil: there is none, and nothing may be sent.
    var incarnation: Incarnation?
    /// Workflows that this worker owns, as far as it knows.
    var owned: [Int64: Owned] = [:]
    var life: WorkerLife?
    /// Parameters of the statement at hand.
    var buffer = ParameterBuffer()

    struct Owned {
        var epoch: Int32
        var workflowID: String
    }

    init(loop: EventLoop, connector: Connector, configuration: StoreConfiguration, log: @escaping @Sendable (LogLevel, String) -> Void) {
        self.loop = loop
        self.connector = connector
        self.configuration = configuration
        self.log = log
    }

    /// The worker's id if it may write now: it has a life line, and nobody can have declared it dead for its silence.
    var certainWorker: UUIDBytes? {
        guard let incarnation, let life, life.isCertain() else { return nil }
        return incarnation.worker
    }

    func disown(_ fence: Fence) {
        if owned[fence.key]?.epoch == fence.epoch { owned[fence.key] = nil }
    }

    /// For a line in the log: which workflow, which run of it, whose.
    func describe(_ fence: Fence) -> String {
        let id = owned[fence.key].flatMap { $0.epoch == fence.epoch ? $0.workflowID : nil } ?? "key \(fence.key)"
        return "workflow_id=\(id) epoch=\(fence.epoch) worker=\(incarnation.map { "\($0.worker)" } ?? "none")"
    }

    /// How long a write waits for a lock before it goes on without the row, in milliseconds. Less than `deadlock_timeout`, and more than a commit takes.
    static let lockTimeout = 500

    /// The options of a session for writes: a lock that somebody holds for long must not hold up what shares the session.
    func writeOptions() -> ConnectionOptions { protocolOptions(StatementSet.write, lockTimeout: "\(Self.lockTimeout)") }

    /// The options of a session for the worker protocol: READ COMMITTED, and no limit of the server's own on how long it takes or idles.
    func protocolOptions(_ statements: [PreparedStatement], lockTimeout: String = "0") -> ConnectionOptions {
        ConnectionOptions(
            connectionString: configuration.connectionString,
            settings: [
                ("statement_timeout", "0"), ("lock_timeout", lockTimeout), ("idle_in_transaction_session_timeout", "0"), ("idle_session_timeout", "0"),
                ("default_transaction_isolation", "read committed"), ("default_transaction_read_only", "off"),
                ("client_connection_check_interval", "500ms"), ("plan_cache_mode", "force_generic_plan"),
            ],
            statements: statements, identityQuery: EndBackendStatement.identityQuery)
    }

    /// A session for handlers' SQL keeps what the administrator set for the role and the database.
    func poolOptions(_ statements: [PreparedStatement]) -> ConnectionOptions {
        ConnectionOptions(
            connectionString: configuration.connectionString,
            settings: [("idle_session_timeout", "0"), ("client_connection_check_interval", "500ms")], statements: statements,
            identityQuery: EndBackendStatement.identityQuery)
    }
}

/// Says a thing that goes on and on only now and then.
struct LogLimiter {
    private var last: UInt64?
    mutating func shouldLog() -> Bool {
        let now = EventLoop.now()
        if let last, now - last < 5_000_000_000 { return false }
        last = now
        return true
    }
}
