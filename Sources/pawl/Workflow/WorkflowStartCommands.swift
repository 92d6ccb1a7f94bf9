internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow enqueue`
struct WorkflowEnqueueCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Enqueue a workflow, and print its id.",
        discussion: "The options are the arguments of pawl.enqueue_workflow; what is not given is left to its defaults.")

    @Argument(help: "The workflow name: which handler runs it.")
    var workflowName: String

    @Argument(help: "Its input: JSON, @FILE, or - for standard input. (default: {})")
    var input: String?

    @Option(help: "The workflow's id, which makes the call idempotent. (default: a new one)")
    var id: String?

    @Option(help: "What happens if that id exists: return (it), raise (an error) or skip.")
    var onExisting: String?

    @Option(help: "The queue.")
    var queue: String?

    @Option(help: "Lower runs first.")
    var priority: Int?

    @Option(help: ArgumentHelp("Not before this time; without a zone it is in UTC.", valueName: "timestamp"))
    var runAt: String?

    @Option(help: ArgumentHelp("Not before this much time has passed.", valueName: "interval"))
    var delay: String?

    @Option(help: ArgumentHelp("How long it may take from its first start.", valueName: "interval"))
    var timeout: String?

    @Option(help: "Unique among the unfinished workflows of the queue.")
    var deduplicationID: String?

    @Option(help: "What happens if that is taken: return (the holder), raise, skip or replace.")
    var onDuplicate: String?

    @Option(help: ArgumentHelp("With replace: the start is never put off longer than this.", valueName: "interval"))
    var maxDelay: String?

    @Option(help: "The tenant it counts for.")
    var partitionKey: String?

    @Option(help: "Pins it to this version of the handler.")
    var workflowVersion: Int?

    @Option(help: ArgumentHelp("Trace context and the like.", valueName: "json"))
    var headers: String?

    @Option(help: ArgumentHelp("What it is searched by.", valueName: "json"))
    var attributes: String?

    @Option(name: .customLong("options"), help: ArgumentHelp("Further options.", valueName: "json"))
    var furtherOptions: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let id = try session.call(
            "enqueue_workflow",
            [
                ("workflow_name", workflowName), ("input", try input.map(PayloadArgument.read)), ("workflow_id", id), ("on_existing", onExisting),
                ("queue", queue), ("priority", priority.map(String.init)), ("run_at", runAt), ("delay", delay), ("timeout", timeout),
                ("deduplication_id", deduplicationID), ("on_duplicate", onDuplicate), ("max_delay", maxDelay), ("partition_key", partitionKey),
                ("workflow_version", workflowVersion.map(String.init)), ("headers", headers), ("attributes", attributes),
                ("options", furtherOptions),
            ], needs: .enqueue
        ).text
        screen.say(id?.printable ?? "Skipped: it is there already.", ["workflow_id": id.map { .text($0) } ?? .null])
        if id == nil { throw ExitCode.nothing }
    }
}

/// `pawl workflow send`
struct WorkflowSendCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "send", abstract: "Send a message to a workflow.")

    @Argument(help: "The workflow's id.")
    var workflowID: String

    @Argument(help: "The message: JSON, @FILE, or - for standard input.")
    var message: String

    @Option(help: "The topic that the workflow receives from. (default: the empty one)")
    var topic = ""

    @Option(help: "A message sent again under the same key is not sent twice.")
    var idempotencyKey: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let accepted = try session.sendMessage(
            to: workflowID, PayloadArgument.read(message), topic: topic, idempotencyKey: idempotencyKey)
        screen.say(
            accepted ? "Sent." : "Not sent: \(workflowID.printable) has ended.", ["workflow_id": .text(workflowID), "accepted": .boolean(accepted)])
        if !accepted { throw ExitCode.nothing }
    }
}

/// `pawl workflow wait`
struct WorkflowWaitCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait for the end of a workflow, and print its output.",
        discussion: """
            Exit codes: 0 it succeeded, 3 it failed, 4 it was cancelled, 5 it had not ended in time.
            """)

    @Argument(help: "The workflow's id.")
    var workflowID: String

    @Option(help: ArgumentHelp("How long to wait. (default: for ever)", valueName: "interval"))
    var timeout: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let outcome = try session.waitForWorkflow(workflowID, timeout: timeout)
        let status = outcome["status"].text
        if screen.json {
            let id: OperatorRow = ["workflow_id": .text(workflowID)]
            print(OperatorRow(columns: id.columns + outcome.columns, values: id.values + outcome.values).json)
        } else if status == "succeeded" {
            print(outcome["output"].json)
        } else {
            let why = WorkflowErrorText(outcome["error"]).map { ": \($0.sentence)" } ?? ""
            screen.note("\(workflowID.printable) \(Self.outcome(status))\(why)")
        }
        switch status {
        case "succeeded": return
        case "failed": throw ExitCode.workflowFailed
        case "cancelled": throw ExitCode.workflowCancelled
        default: throw ExitCode.workflowUnfinished
        }
    }

    private static func outcome(_ status: String?) -> String {
        switch status {
        case "failed": "failed"
        case "cancelled": "was cancelled"
        default: "has not ended" + (status.map { "; it is \($0)" } ?? "")
        }
    }
}
