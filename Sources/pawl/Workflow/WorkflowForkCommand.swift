internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow fork`
struct WorkflowForkCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "fork",
        abstract: "Start new workflows from what others had done up to a step.",
        discussion: """
            The steps before the cut are copied with their events and streams; the new workflow runs the rest. The old one stays as it is. Without \
            --from-step and --from-failure everything runs again.
            """)

    @OptionGroup var selection: WorkflowSelection

    @Option(help: ArgumentHelp("The first step to run again.", valueName: "step-name"))
    var fromStep: String?

    @Flag(help: "Cut at the step that failed.")
    var fromFailure = false

    @Option(help: "The id of the new workflow. (default: a new one)")
    var newID: String?

    @Option(help: "The input of the new workflow: JSON, @FILE, or - for standard input. (default: the old one's)")
    var input: String?

    @Option(help: "The handler version of the new workflow. (default: the old one's)")
    var workflowVersion: Int?

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        if fromStep != nil, fromFailure { throw ValidationError("give --from-step or --from-failure, not both") }
        if newID != nil, selection.ids.count != 1 { throw ValidationError("--new-id goes with the id of one workflow") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let input = try input.map(PayloadArgument.read)
        let words = WorkflowSelection.Words(verb: "Fork", done: "Forked")
        let targets = try selection.targets(in: fromFailure ? ["failed", "cancelled"] : [], words, session, screen)
        var forks: [OperatorRow] = []
        // What was made is told, also if the rest fails.
        defer { if !forks.isEmpty { screen.say(forks.map { screen.text($0["new_workflow_id"]) }.joined(separator: "\n"), forks) } }
        try selection.inBatches(targets, words, screen) { batch in
            let new = try session.forkWorkflows(
                batch, fromStep: fromStep, fromFailure: fromFailure, newWorkflowID: newID, input: input, version: workflowVersion)
            forks += zip(batch, new).map { ["workflow_id": .text($0), "new_workflow_id": .text($1)] }
            return new.count
        }
    }
}
