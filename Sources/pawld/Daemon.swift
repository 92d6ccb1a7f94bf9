import Logging
final class Daemon {
    init(configuration: DaemonConfiguration, logger: Logger, notifier: ServiceNotifier) {}
    func run() -> ExitStatus { .stopped }
}
