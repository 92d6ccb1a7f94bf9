internal import ArgumentParser

/// The operator's command line.
struct PawlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pawl",
        abstract: "Durable workflows inside Postgres: tools for developers and operators.",
        discussion: "Workflows themselves are listed, cancelled, resumed and searched in SQL: see the views and functions of schema pawl.",
        version: PawlVersion.current,
        subcommands: [PluginCommand.self, WorkflowCommand.self])
}

struct PluginCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plugin",
        abstract: "Build, check and replay plugins, the shared libraries that hold workflow handlers.",
        subcommands: [PluginBuildCommand.self, PluginCheckCommand.self, PluginReplayCommand.self])
}

/// Ends the command with a message for a person.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
