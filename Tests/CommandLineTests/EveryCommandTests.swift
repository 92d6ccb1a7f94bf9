import Foundation
import Testing

/// Every command has a transcript, and another of its `--json` form.
@Suite struct EveryCommandTests {
    /// What `pawl --experimental-dump-help` says.
    private struct Help: Decodable {
        struct Command: Decodable {
            struct Argument: Decodable {
                struct Name: Decodable { let name: String }
                let names: [Name]?
            }
            let commandName: String
            let subcommands: [Command]?
            let arguments: [Argument]?
            let shouldDisplay: Bool?
        }
        let command: Command
    }

    /// The commands that do something, with their whole path.
    private static func leaves(_ command: Help.Command, _ path: String) -> [(path: String, hasJSON: Bool)] {
        let subcommands = (command.subcommands ?? []).filter { $0.commandName != "help" }
        if subcommands.isEmpty {
            return [(path, (command.arguments ?? []).contains { $0.names?.contains { $0.name == "json" } == true })]
        }
        return subcommands.flatMap { leaves($0, "\(path) \($0.commandName)") }
    }

    @Test func hasATranscript() throws {
        let dump = try PluginCommandTests.pawl("--experimental-dump-help")
        let help = try JSONDecoder().decode(Help.self, from: Data(dump.output.utf8))
        let commands = try Transcript.names.flatMap { try Transcript($0).commands }
        let leaves = Self.leaves(help.command, "pawl")
        #expect(leaves.count > 10)
        for (path, hasJSON) in leaves {
            let own = commands.filter { $0.contains(path + " ") || $0.hasSuffix(path) }
            #expect(!own.isEmpty, "no transcript has: $ \(path)")
            #expect(!hasJSON || own.contains { $0.contains("--json") }, "no transcript has: $ \(path) … --json")
        }
    }
}
