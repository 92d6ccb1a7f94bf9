internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow cancel`
struct WorkflowCancelCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel workflows, with their children.",
        discussion: """
            What never started ends at once. What runs or waits is told when this returns: its compensations run, then it ends as cancelled.
            """)

    @OptionGroup var selection: WorkflowSelection

    @Option(help: "Why: kept with the workflow and in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(
            .cancel(reason: reason), session, screen, verb: "Cancel", done: "Asked for the cancellation of", unchanged: "had ended")
    }
}

/// `pawl workflow resume`
struct WorkflowResumeCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Let failed or cancelled workflows go on from their checkpoints.",
        discussion: "Only what failed runs again; what is recorded stays.")

    @OptionGroup var selection: WorkflowSelection

    @Option(help: "The handler version to go on with. (default: the workflow's own)")
    var workflowVersion: Int?

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(
            .resume(version: workflowVersion, reason: reason), session, screen, verb: "Resume", done: "Resumed",
            unchanged: "had not ended, or had succeeded")
    }
}

/// `pawl workflow rewind`
struct WorkflowRewindCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewind",
        abstract: "Run ended workflows again from one of their steps.",
        discussion: "That step and all later ones are undone, with their events, and the messages that they received can be received again.")

    @OptionGroup var selection: WorkflowSelection

    @Option(help: ArgumentHelp("The step to begin with, as `pawl workflow show` names it.", valueName: "step-name"))
    var fromStep: String

    @Option(help: "The handler version to go on with. (default: the workflow's own)")
    var workflowVersion: Int?

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(
            .rewind(fromStep: fromStep, version: workflowVersion, reason: reason), session, screen, verb: "Rewind", done: "Rewound",
            unchanged: "had not ended")
    }
}

/// `pawl workflow redact`
struct WorkflowRedactCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "redact",
        abstract: "Remove the payloads of ended workflows and of their children; the record stays.",
        discussion: "Input, output, steps' results, messages, events and streams are gone for good. Such a workflow cannot go on.")

    @OptionGroup var selection: WorkflowSelection
    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(.redact, session, screen, verb: "Redact", done: "Redacted", unchanged: "had not ended")
    }
}

/// `pawl workflow delete`
struct WorkflowDeleteCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete ended workflows, with all that is recorded of them.",
        discussion: "Their ids are free again: a workflow enqueued under one of them is a new one.")

    @OptionGroup var selection: WorkflowSelection
    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(.delete, session, screen, verb: "Delete", done: "Deleted", unchanged: "had not ended, or are awaited")
    }
}

/// `pawl workflow move`
struct WorkflowMoveCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Move all unfinished workflows of a name from one handler version to another.",
        discussion: "Whether the new version fits what is recorded, `pawl workflow export` and `pawl plugin replay` tell.")

    @Argument(help: "The workflow name.")
    var workflowName: String

    @Option(help: ArgumentHelp("The version they are on.", valueName: "version"))
    var from: Int

    @Option(help: ArgumentHelp("The version they go on with.", valueName: "version"))
    var to: Int

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let moved = try session.moveWorkflows(workflowName, from: from, to: to)
        screen.say(
            "Moved \(moved.counted("workflow")) of \(workflowName.printable) from version \(from) to \(to).",
            ["workflow_name": .text(workflowName), "from_version": .number("\(from)"), "to_version": .number("\(to)"), "moved": .number("\(moved)")])
        if moved == 0 { throw ExitCode.nothing }
    }
}

/// `pawl workflow fork`
struct WorkflowForkCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "fork",
        abstract: "Start new workflows from what others had done up to a step.",
        discussion: """
            The steps before the cut are copied with their events and streams; the new workflow runs the rest. The old one stays as it is. Without \
            --from-step and --from-failure everything runs again.
            """)

    @Argument(help: ArgumentHelp("The workflows' ids.", valueName: "workflow-id"))
    var ids: [String]

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
        if newID != nil, ids.count > 1 { throw ValidationError("--new-id is for one workflow") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let input = try input.map(PayloadArgument.read)
        var forks: [OperatorRow] = []
        var progress = ProgressBar("Fork", total: ids.count > 1 ? ids.count : 0)
        defer {
            progress.end()
            screen.say(forks.compactMap { $0["new_workflow_id"].text?.printable }.joined(separator: "\n"), forks)
        }
        for id in ids {
            let new = try session.forkWorkflow(
                id, fromStep: fromStep, fromFailure: fromFailure, newWorkflowID: newID, input: input, version: workflowVersion)
            forks.append(["workflow_id": .text(id), "new_workflow_id": .text(new)])
            progress.advance(by: 1)
        }
    }
}
