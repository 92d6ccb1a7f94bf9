internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow cancel`
struct WorkflowCancelCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel",
        abstract: "Cancel workflows and their children.",
        discussion: """
            What never started ends at once. What runs or waits is told when this returns: its compensations run, then it ends as cancelled. Children, \
            and theirs, are cancelled too, but for detached ones; a filter does not count them.
            """)

    @OptionGroup var selection: WorkflowSelection

    @Option(help: "Why: kept with the workflow and in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(
            .cancel(reason: reason),
            .init(
                verb: "Cancel", done: "Asked for the cancellation of", scope: "their children", unchanged: "had ended", severalUnchanged: "had ended"),
            session, screen)
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
            .resume(version: workflowVersion, reason: reason),
            .init(verb: "Resume", done: "Resumed", unchanged: "had not ended"), session, screen)
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
            .rewind(fromStep: fromStep, version: workflowVersion, reason: reason),
            .init(verb: "Rewind", done: "Rewound", unchanged: "had not ended"), session, screen)
    }
}

/// `pawl workflow redact`
struct WorkflowRedactCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "redact",
        abstract: "Remove the payloads of ended workflows and of all their children; the record stays.",
        discussion: """
            Input, output, attributes, results of steps, messages, events and streams are gone for good. Such a workflow can be deleted, and not run \
            again. Children, and theirs, are redacted too, detached ones as well; a filter does not count them.
            """)

    @OptionGroup var selection: WorkflowSelection

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(
            .redact, .init(verb: "Redact", done: "Redacted", scope: "all their children", unchanged: "was being changed by somebody else"),
            session, screen)
    }
}

/// `pawl workflow delete`
struct WorkflowDeleteCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete ended workflows, with all that is recorded of them.",
        discussion: "Their ids are free again: a workflow enqueued under one of them is a new one.")

    @OptionGroup var selection: WorkflowSelection

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try selection.apply(.delete, .init(verb: "Delete", done: "Deleted", unchanged: "had not ended"), session, screen)
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

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let moved = try session.moveWorkflows(workflowName, from: from, to: to)
        screen.say(
            "Moved \(moved.counted("workflow")) of \(workflowName.printable) from version \(from) to \(to).",
            ["workflow_name": .text(workflowName), "from_version": .number("\(from)"), "to_version": .number("\(to)"), "moved": .number("\(moved)")])
        if moved == 0 { throw ExitCode.nothing }
    }
}
