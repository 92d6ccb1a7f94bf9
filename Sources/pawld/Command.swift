import ArgumentParser
import Glibc
import Logging
import PostgresStore

/// `pawld`: what can be said on its command line.
struct Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pawld",
        abstract: "Runs durable workflows for one or more Postgres databases that have the pawl extension.",
        discussion: """
            Each option can also be an environment variable (PAWL_DATABASE, PAWL_PLUGIN_DIRECTORY, …) or a line of the --config file \
            (the same names, NAME=value). The command line wins over the environment, and the environment over the file.

            SIGTERM and SIGINT let running steps end and hand the rest back; a second one ends at once. SIGHUP loads new plugins.

            Exit codes: 0 stopped as asked; 64 a command line that cannot be read; 78 a setting that cannot be used; 69 a database that \
            refuses this worker for good; 70 anything else.
            """,
        version: Release.current)

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "A database to serve; repeatable. PAWL_DATABASE separates several by ‘;’. Default: the PG* environment.", valueName: "conninfo")
    )
    var database: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp("Where the plugins (*.so) are. Default: lib/pawl/plugins of this installation.", valueName: "dir"))
    var pluginDirectory: String?

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp("A queue to serve; repeatable. PAWL_QUEUE separates several by ‘,’. Default: all.", valueName: "name"))
    var queue: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Workflows running at once, in each database. Default: \(DaemonConfiguration.defaultConcurrency).", valueName: "n"))
    var concurrency: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How long a workflow that only waits stays in memory before it is parked: 5s, 500ms, 1min. Default: 5s.", valueName: "time"))
    var parkAfter: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How many workflows that only wait stay in memory, in each database. Default: \(DaemonConfiguration.defaultResidentLimit).", valueName: "n"))
    var residentLimit: String?

    @Option(
        name: .long,
        help: ArgumentHelp("How long running work may take to end after SIGTERM: 30s, 500ms, 2min. Default: 30s.", valueName: "time"))
    var shutdownTimeout: String?

    @Option(name: .long, help: ArgumentHelp("What pawl.workers shows as worker_name. Default: the host's name.", valueName: "name"))
    var name: String?

    @Option(
        name: .long,
        help: ArgumentHelp("trace, debug, info, notice, warning, error or critical. Default: info.", valueName: "level"))
    var logLevel: String?

    @Option(name: .long, help: ArgumentHelp("A file of PAWL_NAME=value lines. Also PAWL_CONFIG.", valueName: "file"))
    var config: String?

    /// What was given, by setting.
    private var given: [Setting: [String]] {
        [
            .database: database, .queue: queue, .pluginDirectory: [pluginDirectory].compactMap { $0 },
            .concurrency: [concurrency].compactMap { $0 }, .parkAfter: [parkAfter].compactMap { $0 },
            .residentLimit: [residentLimit].compactMap { $0 }, .shutdownTimeout: [shutdownTimeout].compactMap { $0 },
            .name: [name].compactMap { $0 }, .logLevel: [logLevel].compactMap { $0 },
        ]
    }

    func run() throws {
        let environment = ProcessEnvironment.variables()
        let configuration: DaemonConfiguration
        do {
            let path = config ?? environment["PAWL_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
            let layers = try SettingLayers(
                commandLine: given, environment: environment, file: try path.map(ConfigurationFile.init(reading:)))
            configuration = try DaemonConfiguration(
                layers, environment: environment, executable: ProcessEnvironment.executable(), hostName: ProcessEnvironment.hostName())
        } catch {
            ProcessEnvironment.complain(error.description)
            throw ExitCode(ExitStatus.configuration.rawValue)
        }

        let form = StandardErrorLog.form(journalStream: environment["JOURNAL_STREAM"])
        let logger = Logger(label: "pawld") { _ in StandardErrorLog(level: configuration.logLevel, form: form) }
        let status: ExitStatus
        do throws(ConfigurationError) {
            status = try Daemon(configuration: configuration, environment: environment, logger: logger).run()
        } catch {
            ProcessEnvironment.complain(error.description)
            status = .configuration
        }
        // Not `exit`: it would run destructors under the feet of plugins' threads.
        fflush(nil)
        _exit(status.rawValue)
    }
}

/// How pawld ends; systemd/pawld@.service restarts it after none of 64, 69 and 78.
enum ExitStatus: Int32 {
    case stopped = 0
    /// EX_UNAVAILABLE: a database refuses this worker, and will until somebody changes something there.
    case refused = 69
    /// EX_SOFTWARE.
    case failure = 70
    /// EX_CONFIG.
    case configuration = 78
}
