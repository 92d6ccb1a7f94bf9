internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow export`
struct WorkflowExportCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the history of a workflow as one JSON object.",
        discussion: """
            The history is the workflow's input, how it ended, and every step that is recorded: what a handler is checked against before a changed \
            version of it is put to work. It holds payloads, so the role needs the access “inspect” (pawl.grant_access).
            """)

    @Argument(help: "The workflow's id.")
    var workflowID: String

    @Option(name: .shortAndLong, help: "The file to write. (default: standard output)", completion: .file())
    var output: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let history = try session.exportWorkflow(workflowID)
        guard let output else { return print(history) }
        try OutputFile.write(Array("\(history)\n".utf8), to: output)
    }
}

/// `pawl workflow explain`
struct WorkflowExplainCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Say in a sentence why a workflow is not running, and what would help.")

    @Argument(help: "The workflow's id.")
    var workflowID: String

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let explanation = try session.explainWorkflow(workflowID)
        screen.say(explanation.printable, ["workflow_id": .text(workflowID), "explanation": .text(explanation)])
    }
}
