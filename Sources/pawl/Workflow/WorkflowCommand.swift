internal import ArgumentParser
internal import PostgresStore

struct WorkflowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workflow",
        abstract: "List, inspect, start and steer workflows.",
        subcommands: [
            WorkflowListCommand.self, WorkflowShowCommand.self, WorkflowExplainCommand.self, WorkflowEnqueueCommand.self, WorkflowSendCommand.self,
            WorkflowWaitCommand.self, WorkflowCancelCommand.self, WorkflowResumeCommand.self, WorkflowRewindCommand.self, WorkflowForkCommand.self,
            WorkflowMoveCommand.self, WorkflowRedactCommand.self, WorkflowDeleteCommand.self, WorkflowExportCommand.self,
        ])
}

/// Which workflows: what `list` shows, and what other commands change.
struct WorkflowFilterOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Only those of this workflow name.", valueName: "workflow-name"))
    var name: String?

    @Option(help: "Only those in this status; repeatable.")
    var status: [WorkflowStatus] = []

    @Option(help: "Only those of this queue.")
    var queue: String?

    @Option(help: ArgumentHelp("Only those enqueued longer ago: 90d, '2 hours'.", valueName: "interval"))
    var olderThan: String?

    @Option(help: ArgumentHelp("Only those enqueued since: 90d, '2 hours'.", valueName: "interval"))
    var newerThan: String?

    @Option(help: ArgumentHelp("Only those whose attributes contain this: '{\"customer\": 42}'.", valueName: "json"))
    var attributes: String?

    @Option(help: ArgumentHelp("Only the children of this workflow.", valueName: "workflow-id"))
    var parent: String?

    var filter: WorkflowFilter {
        var filter = WorkflowFilter()
        filter.workflowName = name
        filter.statuses = status.map(\.rawValue)
        filter.queue = queue
        filter.olderThan = olderThan
        filter.newerThan = newerThan
        filter.attributes = attributes
        filter.parent = parent
        return filter
    }
}

enum WorkflowStatus: String, ExpressibleByArgument, CaseIterable {
    case enqueued, delayed, running, waiting, succeeded, failed, cancelled
}
