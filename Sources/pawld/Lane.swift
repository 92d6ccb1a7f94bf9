import Locking
import Logging
import PluginRegistry
import PostgresStore
import WorkflowEngine

/// One database: its store, with a thread, sessions and a life line of its own, and its engine. Lanes share only the handlers: what happens to one
/// database is nothing to the others.
final class Lane: Sendable {
    /// As far as it has come.
    enum Phase: Equatable, Sendable {
        /// Not registered yet, or not at the moment: the database cannot be reached.
        case connecting
        /// `held`: why nothing runs, although the worker is registered.
        case serving(held: String?)
        case draining
        /// Drained, and its worker unregistered.
        case ended
        /// The database refuses this worker until somebody changes something there.
        case refused(String)
    }

    struct State: Sendable {
        var phase = Phase.connecting
        /// It was registered once.
        var wasRegistered = false
        var workerID: String?
        /// What the store's loop was asked to answer, and has answered.
        var asked: UInt64 = 0
        var answered: UInt64 = 0
        /// How far the life line had come, and when it was last seen to move.
        var lifeRounds: UInt64 = 0
        var lifeMovedAt = ContinuousClock.now
    }

    /// For log lines and `systemctl status`: the database's place on the command line, when there are several.
    let label: String?
    private let store: PostgresStore
    private let engine: WorkflowEngine
    private let state = Locked(State())
    private let logger: Logger
    private let nudge: @Sendable () -> Void

    /// - Parameter nudge: called on any thread after a change of phase.
    init(
        label: String?, storeConfiguration: StoreConfiguration, engineConfiguration: EngineConfiguration, registry: any HandlerHost,
        environment: [String: String], logger: Logger,
        nudge: @escaping @Sendable () -> Void
    ) throws(ConfigurationError) {
        self.label = label
        self.nudge = nudge
        var logger = logger
        if let label { logger[metadataKey: "database"] = "\(label)" }
        self.logger = logger

        let state = self.state
        let log = logger
        store = PostgresStore(configuration: storeConfiguration) { level, message in
            log.log(level: Logger.Level(level), "\(message)", metadata: Self.metadata(state))
        }
        var seam: any WorkflowStore = store
        #if DEBUG
            if let text = environment["PAWL_TEST_CRASH_POINT"], !text.isEmpty {
                let crashing = CrashPointStore(wrapping: store, point: try CrashPoint(parsing: text))
                store.onParked = { [unowned crashing] in crashing.parked($0.count) }
                seam = crashing
            }
        #endif
        let wakeStore = store
        engine = WorkflowEngine(
            configuration: engineConfiguration, store: seam, handlers: registry,
            wake: { wakeStore.wake() },
            log: { record in
                var metadata = Self.metadata(state)
                metadata["workflow_id"] = record.workflowID.map { "\($0)" }
                metadata["epoch"] = record.epoch.map { "\($0)" }
                log.log(level: Logger.Level(record.level), "\(record.message)", metadata: metadata)
            })
    }

    private static func metadata(_ state: Locked<State>) -> Logger.Metadata {
        state.withLock { $0.workerID }.map { ["worker": "\($0)"] } ?? [:]
    }

    var phase: Phase { state.withLock { $0.phase } }
    var wasRegistered: Bool { state.withLock { $0.wasRegistered } }
    var workerID: String? { state.withLock { $0.workerID } }
    var statistics: EngineStatistics { engine.statistics }

    func start() {
        store.onTick = { [engine] in engine.tick() }
        store.onStatus = { [weak self] in self?.statusChanged($0) }
        store.start()
    }

    private func statusChanged(_ status: StoreStatus) {
        switch status {
        case .registered(let workerID, _, let maximumPayload, let held):
            state.withLock { state in
                state.workerID = workerID
                state.wasRegistered = true
                if state.phase != .draining { state.phase = .serving(held: held) }
            }
            engine.start(maximumPayload: maximumPayload)
        case .disconnected:
            state.withLock { if $0.phase != .draining { $0.phase = .connecting } }
        case .refused(let why):
            // Once it has served, it keeps trying: an extension that is being replaced, a role that is being changed.
            state.withLock { if $0.phase == .connecting, !$0.wasRegistered { $0.phase = .refused(why) } }
        }
        nudge()
    }

    /// Handlers that were loaded meanwhile.
    func setHandlers(_ handlers: [HandlerOffer]) { store.setHandlers(handlers) }

    /// Claims nothing more, gives what runs that long, hands the rest back and unregisters the worker; then the phase is `ended`.
    func drain(within limit: Duration) {
        state.withLock { $0.phase = .draining }
        store.announceDraining()
        engine.drain(within: limit) { [weak self] report in
            guard let self else { return }
            if report.handedBack > 0 || report.unresolved > 0 || report.lingering > 0 {
                logger.notice(
                    "drained",
                    metadata: Self.metadata(state).merging([
                        "handed_back": "\(report.handedBack)", "unresolved": "\(report.unresolved)",
                        "still_in_a_handler": "\(report.lingering)",
                    ]) { $1 })
            }
            store.shutdown { [weak self] in
                self?.state.withLock { $0.phase = .ended }
                self?.nudge()
            }
        }
    }

    /// Ends the loop's thread. After `ended`.
    func stop() { store.stop() }

    /// For the watchdog: whether the loop has come round since the last call, and the life line within the last minute (connecting and
    /// registering may take most of that).
    func hasMadeProgress() -> Bool {
        let rounds = store.lifeRounds
        let (moved, asked, lifeMoves) = state.withLock { state in
            let now = ContinuousClock.now
            if state.lifeRounds != rounds {
                state.lifeRounds = rounds
                state.lifeMovedAt = now
            }
            let moved = state.answered == state.asked
            if moved { state.asked += 1 }
            return (moved, state.asked, now - state.lifeMovedAt < .seconds(60))
        }
        if moved {
            store.perform { [state] in state.withLock { $0.answered = asked } }
        }
        return moved && lifeMoves
    }
}

extension Logger.Level {
    init(_ level: LogLevel) {
        self =
            switch level {
            case .trace: .trace
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            case .critical: .critical
            }
    }

    init(_ level: EngineLogRecord.Level) {
        self =
            switch level {
            case .debug: .debug
            case .info: .info
            case .notice: .notice
            case .warning: .warning
            case .error: .error
            }
    }
}
