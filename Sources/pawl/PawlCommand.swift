internal import ArgumentParser

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
        version: PawlVersion.current,
        subcommands: [WorkflowCommand.self, PluginCommand.self])
}

struct PluginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin",
        abstract: "Build, check and replay plugins, the shared libraries that hold workflow handlers.",
        subcommands: [PluginBuildCommand.self, PluginCheckCommand.self, PluginReplayCommand.self])
}
