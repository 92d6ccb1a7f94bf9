internal import ArgumentParser
internal import FoundationEssentials
internal import PostgresStore

struct WorkflowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workflow",
        abstract: "Take workflows out of a database.",
        subcommands: [WorkflowExportCommand.self])
}

/// `pawl workflow export`
struct WorkflowExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the history of a workflow as one JSON object.",
        discussion: """
            The history is the workflow's input, how it ended, and every step that is recorded: what a handler is checked against before a changed \
            version of it is put to work. It holds payloads, so the role needs the access “inspect” (pawl.grant_access).

            The database is that of --database, of PAWL_DATABASE if it names one, or of the PG* environment.
            """)

    @Argument(help: "The workflow's id.")
    var workflowID: String

    @Option(name: .shortAndLong, help: ArgumentHelp("The database, as libpq takes it.", valueName: "conninfo"))
    var database: String?

    @Option(name: .shortAndLong, help: "The file to write. (default: standard output)", completion: .file())
    var output: String?

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        let connectionString = database ?? environment["PAWL_DATABASE"] ?? ""
        if connectionString.isEmpty, !["PGDATABASE", "PGSERVICE", "PGHOST", "PGHOSTADDR"].contains(where: { environment[$0]?.isEmpty == false }) {
            throw CommandFailure("no database is named: give --database 'host=/run/postgresql dbname=shop', PAWL_DATABASE, or PGDATABASE")
        }
        let history: String
        do throws(WorkflowExport.Failure) {
            history = try WorkflowExport.json(of: workflowID, connectionString: connectionString)
        } catch {
            throw CommandFailure(error.description)
        }
        guard let output else { return print(history) }
        do {
            try Data((history + "\n").utf8).write(to: URL(filePath: output), options: .atomic)
        } catch {
            throw CommandFailure("cannot write \(output): \(error)")
        }
    }
}
