internal import ArgumentParser
internal import PostgresStore

/// The operator's command line.
struct PawlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pawl",
        abstract: "Durable workflows inside Postgres: tools for developers and operators.",
        discussion: """
            Commands that talk to a database take it from --database, from PAWL_DATABASE, or from the PG* environment, and do nothing that the views \
            and functions of schema pawl do not do as well.

            Exit codes: 0 done; 1 failed; 2 nothing there, nothing matched or nothing to change; 64 a command line that cannot be read; 130 interrupted.
            """,
        version: Release.current,
        subcommands: [
            WorkflowCommand.self, QueueCommand.self, ScheduleCommand.self, WorkerCommand.self, HandlerCommand.self, RetentionCommand.self,
            AuditCommand.self, StatsCommand.self, TailCommand.self, DoctorCommand.self, BenchCommand.self, PluginCommand.self,
        ])
}

struct PluginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin",
        abstract: "Make, build, check and replay plugins, the shared libraries that hold workflow handlers.",
        subcommands: [PluginNewCommand.self, PluginBuildCommand.self, PluginCheckCommand.self, PluginReplayCommand.self])
}
