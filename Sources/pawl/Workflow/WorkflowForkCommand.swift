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

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        if fromStep != nil, fromFailure { throw ValidationError("give --from-step or --from-failure, not both") }
        if newID != nil, selection.ids.count != 1 { throw ValidationError("--new-id goes with the id of one workflow") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        var fork = WorkflowFork()
        (fork.fromStep, fork.fromFailure, fork.workflowVersion) = (fromStep, fromFailure, workflowVersion)
        fork.input = try input.map(PayloadArgument.read)
        if selection.ids.count == 1 {
            // Of a single one the server says why it cannot be done.
            let id = try session.forkWorkflow(selection.ids[0], newWorkflowID: newID, fork)
            screen.say(id.printable, [["workflow_id": .text(selection.ids[0]), "new_workflow_id": .text(id), "changed": .boolean(true)]])
            return
        }
        let words = WorkflowSelection.Words(verb: "Fork", done: "Forked")
        let targets = try selection.targets(in: fromFailure ? ["failed", "cancelled"] : [], words, session, screen)
        let forked = try selection.inBatches(targets, words, screen, line: { screen.text($0["new_workflow_id"]) }) {
            try session.forkWorkflows($0, fork)
        }
        if forked < targets.count { screen.note(words.answer(forked, of: targets.count)) }
        if forked == 0 { throw ExitCode.nothing }
    }
}
