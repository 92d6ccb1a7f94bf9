internal import ArgumentParser

/// `pawl plugin check`
struct PluginCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Say what pawld would say about plugins.",
        discussion: """
            Each file is examined, and then loaded and registered in a child process, just as pawld does before it uses one. Several files are \
            taken as one plugin directory: two that offer the same workflow and version do not go together.

            The exit status is 1 if any is refused.
            """)

    @Argument(help: "The plugins' files (*.so).", completion: .file(extensions: ["so"]))
    var files: [String]

    @Flag(help: "Write one JSON array instead of text.")
    var json = false

    func run() throws {
        let reports = PluginReport.of(files)
        if json {
            try printJSON(reports)
        } else {
            for report in reports { print(report.text.printableLines) }
        }
        guard reports.allSatisfy(\.accepted) else { throw ExitCode.failure }
    }
}
