import Glibc
import Locking
import Logging
import PluginRegistry
import PostgresStore
import WorkflowEngine

/// The life of the process: plugins, lanes, signals, and what systemd is told. Everything here happens on the main thread, which does no other work;
/// each lane works on threads of its own.
final class Daemon {
    private let configuration: DaemonConfiguration
    private let environment: [String: String]
    private let logger: Logger
    private let notifier: ServiceNotifier
    private let registry: PluginRegistry
    private var lanes: [Lane] = []
    private let pipe: Int32

    private var isReady = false
    private var isDraining = false
    private var terminations = 0
    private var hardDeadline: ContinuousClock.Instant?
    private var reload: Reload?
    private var reloadAgain = false

    /// A look into the plugin directory, on a thread of its own: a plugin may take its time, and the watchdog must be fed meanwhile.
    private final class Reload: Sendable {
        let result = Locked<PluginScan?>(nil)
    }

    init(configuration: DaemonConfiguration, environment: [String: String], logger: Logger) throws(ConfigurationError) {
        self.configuration = configuration
        self.environment = environment
        self.logger = logger
        notifier = ServiceNotifier(environment: environment)
        pipe = SignalPipe.open()
        registry = PluginRegistry(
            directory: configuration.pluginDirectory, privateDirectory: ProcessEnvironment.privateDirectory(environment)
        ) { record in
            var metadata: Logger.Metadata = ["plugin": "\(record.plugin)"]
            metadata["workflow_id"] = record.workflowID.map { "\($0)" }
            metadata["epoch"] = record.epoch.map { "\($0)" }
            logger.log(level: Logger.Level(record.level), "\(record.message)", metadata: metadata)
        }
        let queues = configuration.queues
        for (index, database) in configuration.databases.enumerated() {
            lanes.append(
                try Lane(
                    label: configuration.databases.count > 1 ? "\(index + 1)" : nil,
                    storeConfiguration: StoreConfiguration(
                        connectionString: database, workerName: configuration.name, hostname: ProcessEnvironment.hostName(),
                        version: Release.current, concurrency: configuration.concurrency, queues: queues, handlers: []),
                    engineConfiguration: EngineConfiguration(
                        concurrency: configuration.concurrency, parkAfter: configuration.parkAfter, residentLimit: configuration.residentLimit),
                    registry: registry, environment: environment, logger: logger, nudge: { SignalPipe.send(.nudge) }))
        }
    }

    /// Serves until told to stop, or until no database will have it.
    func run() -> ExitStatus {
        logger.info(
            "starting",
            metadata: [
                "version": "\(Release.current)", "pid": "\(getpid())", "databases": "\(lanes.count)",
                "plugin_directory": "\(configuration.pluginDirectory)", "concurrency": "\(configuration.concurrency)",
            ])
        let scan = registry.scan()
        report(scan)
        if scan.plugins.isEmpty {
            logger.warning(
                "no plugin is loaded, so only SQL handlers run: put one into the plugin directory and send SIGHUP (systemctl reload)",
                metadata: ["plugin_directory": "\(configuration.pluginDirectory)"])
        }
        for lane in lanes {
            lane.setHandlers(scan.offers)
            lane.start()
        }
        while true {
            wait()
            for word in SignalPipe.take() {
                switch word {
                case .terminate: terminate()
                case .reload: startReload()
                case .nudge: break
                }
            }
            finishReload()
            if let status = step() { return status }
        }
    }

    /// Until there is something in the pipe, or the next regular look is due.
    private func wait() {
        // Often enough for the watchdog; otherwise only the status line is at stake.
        var limit = notifier.watchdogInterval.map { $0 / 3 } ?? .seconds(10)
        limit = min(limit, .seconds(10))
        if let hardDeadline { limit = min(limit, hardDeadline - ContinuousClock.now) }
        var descriptor = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
        let milliseconds = (limit / .milliseconds(1)).rounded(.up)
        poll(&descriptor, 1, Int32(max(0, milliseconds)))
    }

    /// What follows from where the lanes are now; a status ends the process.
    private func step() -> ExitStatus? {
        let phases = lanes.map(\.phase)
        let over = phases.allSatisfy { phase in
            switch phase {
            case .ended, .refused: true
            default: false
            }
        }
        if over {
            for lane in lanes { lane.stop() }
            if isDraining {
                logger.info("stopped")
                return .stopped
            }
            logger.critical("no database takes this worker: stopped until somebody changes that")
            return .refused
        }
        if let hardDeadline, ContinuousClock.now >= hardDeadline {
            logger.error(
                "not everything could be handed back in time: what is left is recovered by another worker, or by this one's next start")
            return .failure
        }
        if !isReady, !isDraining, lanes.contains(where: \.wasRegistered) {
            isReady = true
            logger.info("ready")
            notifier.ready(status: status(phases))
        } else if !isDraining {
            notifier.status(status(phases))
        }
        // Every loop must have come round; a database that is away stops none.
        let moving = lanes.map { $0.hasMadeProgress() }
        if notifier.watchdogInterval != nil, !moving.contains(false) { notifier.feedWatchdog() }
        return nil
    }

    /// For `systemctl status`.
    private func status(_ phases: [Lane.Phase]) -> String {
        var running = 0
        var waiting = 0
        for lane in lanes {
            let statistics = lane.statistics
            running += statistics.running
            waiting += statistics.resting
        }
        var text = waiting > 0 ? "\(running) running, \(waiting) waiting" : "\(running) running"
        for (lane, phase) in zip(lanes, phases) {
            let name = lane.label.map { "database \($0)" } ?? "the database"
            switch phase {
            case .connecting: text += "; waiting for \(name)"
            case .serving(let held?): text += "; \(name) is held: \(held)"
            case .refused: text += "; \(name) refuses this worker"
            case .serving(nil), .draining, .ended: break
            }
        }
        return text
    }

    /// The first time: drain. The second: stop and hand back at once. The third: leave.
    private func terminate() {
        terminations += 1
        isDraining = true
        switch terminations {
        case 1:
            logger.info("stopping", metadata: ["timeout": "\(configuration.shutdownTimeout)"])
            notifier.stopping(status: "waiting for running workflows")
            for lane in lanes where !lane.isOver { lane.drain(within: configuration.shutdownTimeout) }
            hardDeadline = .now + configuration.shutdownTimeout + .seconds(10)
        case 2:
            logger.info("stopping at once")
            for lane in lanes where !lane.isOver { lane.drain(within: .zero) }
            hardDeadline = min(hardDeadline ?? .now, .now + .seconds(5))
        default:
            hardDeadline = .now
        }
    }

    // MARK: Reloading

    private func startReload() {
        guard !isDraining else { return }
        guard reload == nil else {
            // That one may have passed the new file already.
            reloadAgain = true
            return
        }
        notifier.reloading()
        logger.info("loading new plugins")
        let reload = Reload()
        self.reload = reload
        let registry = registry
        BackgroundThread.start(name: "pawl-reload") {
            let scan = registry.scan()
            reload.result.withLock { $0 = scan }
            SignalPipe.send(.nudge)
        }
    }

    private func finishReload() {
        guard let scan = reload?.result.withLock({ $0 }) else { return }
        reload = nil
        report(scan)
        for lane in lanes { lane.setHandlers(scan.offers) }
        if reloadAgain, !isDraining {
            reloadAgain = false
            return startReload()
        }
        if isReady { notifier.ready(status: status(lanes.map(\.phase))) }
    }

    private func report(_ scan: PluginScan) {
        for refusal in scan.refusals {
            logger.error("plugin refused: \(refusal)", metadata: ["plugin": "\(refusal.file)", "code": "\(refusal.code.rawValue)"])
        }
        for warning in scan.warnings { logger.warning("\(warning)") }
        for plugin in scan.plugins where scan.loaded.contains(plugin.file) {
            let handlers = plugin.handlers.map { "\($0.workflowName) version \($0.workflowVersion)" }.joined(separator: ", ")
            logger.info("plugin loaded", metadata: ["plugin": "\(plugin.file)", "handlers": "\(handlers)", "sdk": "\(plugin.sdk)"])
        }
    }
}

extension PluginScan {
    /// What a store registers.
    var offers: [HandlerOffer] {
        plugins.flatMap { plugin in plugin.handlers.map { HandlerOffer(id: $0, plugin: plugin.file) } }
    }
}

extension Lane {
    var isOver: Bool {
        switch phase {
        case .ended, .refused: true
        default: false
        }
    }
}

extension Logger.Level {
    init(_ level: PluginLogRecord.Level) {
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
}
