internal import ArgumentParser
internal import Glibc
internal import PostgresStore

/// What every command that talks to a database takes.
struct OperatorOptions: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The database, as libpq takes it. (default: PAWL_DATABASE, or the PG* environment)", valueName: "conninfo"))
    var database: String?

    @Flag(help: "Write JSON instead of text.")
    var json = false

    @Flag(name: .customLong("no-color"), help: "No colours; NO_COLOR in the environment says the same.")
    var noColor = false

    /// The database that is meant.
    func connectionString() throws -> String {
        if let database { return database }
        if let database = Terminal.environment("PAWL_DATABASE") {
            guard !database.contains(";") else {
                throw CommandFailure("PAWL_DATABASE names several databases: choose one with --database")
            }
            return database
        }
        return ""
    }
}

/// A command that talks to a database. It says what it does in `run(_:_:)`; connecting, the form of its output, Ctrl-C, errors and exit codes are
/// the same for all.
protocol OperatorCommand: ParsableCommand {
    var options: OperatorOptions { get }
    /// Why, of a command that changes something: the audit keeps it with whatever is done.
    var reason: String? { get }
    func run(_ session: OperatorSession, _ screen: Screen) throws
}

extension OperatorCommand {
    var reason: String? { nil }

    func run() throws {
        do {
            let session = try OperatorSession(database: options.connectionString(), onNotice: { Terminal.complain("note: \($0)") })
            session.interruptDescriptor = Interrupt.descriptor
            let screen = Screen(
                json: options.json, colours: Terminal.hasColours && !options.noColor, width: Terminal.width, now: try session.now())
            if let reason { try session.setReason(reason) }
            try run(session, screen)
        } catch let error as OperatorError {
            Terminal.complain(error.kind == .interrupted ? "\(error)" : "Error: \(error)")
            switch error.kind {
            case .failed: throw ExitCode.failure
            case .notFound: throw ExitCode.nothing
            case .interrupted: throw ExitCode.interrupted
            }
        }
    }
}

extension OperatorSession {
    /// For what goes on until Ctrl-C: that is then its end, and no failure.
    func untilInterrupted(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as OperatorError where error.kind == .interrupted {}
    }
}
