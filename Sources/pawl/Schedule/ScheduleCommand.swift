internal import ArgumentParser
internal import PostgresStore

struct ScheduleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule",
        abstract: "List, create, alter, drop, pause, resume, trigger and backfill schedules.",
        subcommands: [
            ScheduleListCommand.self, ScheduleShowCommand.self, ScheduleCreateCommand.self, ScheduleAlterCommand.self, ScheduleDropCommand.self,
            SchedulePauseCommand.self, ScheduleResumeCommand.self, ScheduleTriggerCommand.self, ScheduleBackfillCommand.self,
        ])
}

/// `pawl schedule list`
struct ScheduleListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the schedules, and when they fire.")

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let schedules = try session.schedules()
        screen.show(
            screen.json ? schedules : schedules.with("paused", screen.paused),
            [
                "schedule", "cron", TableColumn("timezone", spare: 2), TableColumn("workflow_name", "workflow"), "next_at", "last_at",
                TableColumn("fired", spare: 1), "missed", "skipped", "paused", TableColumn("last_error", "error"),
            ], empty: "There is no schedule.")
    }
}

/// `pawl schedule show`
struct ScheduleShowCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show all about one schedule.")

    @Argument(help: "The schedule.")
    var name: String

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws { screen.show(try session.schedule(name)) }
}

/// What a schedule is, beside its name.
struct ScheduleDefinitionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The workflows' input: JSON, @FILE, or - for standard input.", valueName: "json"))
    var input: String?

    @Option(help: "The queue of its workflows.")
    var queue: String?

    @Option(help: ArgumentHelp("The time zone of the cron text: Europe/Berlin.", valueName: "name"))
    var timezone: String?

    @Option(help: ArgumentHelp("Instants that nobody was there for are made up for, this far back.", valueName: "interval"))
    var catchUp: String?

    @Option(help: "While its last workflow runs: skip (this time), allow (both) or cancel (the running one).")
    var overlap: String?

    @Option(help: ArgumentHelp("Spread the starts over this much time.", valueName: "interval"))
    var jitter: String?

    @Option(
        name: .customLong("options"),
        help: ArgumentHelp("priority, partition_key, timeout, workflow_version, headers, attributes of its workflows.", valueName: "json"))
    var furtherOptions: String?

    func arguments() throws -> OperatorSession.Arguments {
        [
            ("input", try input.map(PayloadArgument.read)), ("queue", queue), ("timezone", timezone), ("catch_up", catchUp), ("overlap", overlap),
            ("jitter", jitter), ("options", furtherOptions),
        ]
    }
}

/// `pawl schedule create`
struct ScheduleCreateCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "create",
        abstract: "Enqueue a workflow at regular times.",
        discussion: "Each instant is one workflow, on any number of workers: its id is NAME@INSTANT.")

    @Argument(help: "Its name.")
    var name: String

    @Argument(help: "When: '30 2 * * mon-fri', with seconds in front '*/10 * * * * *', or @daily.")
    var cron: String

    @Argument(help: "The workflow name.")
    var workflowName: String

    @OptionGroup var definition: ScheduleDefinitionOptions

    @Option(help: "What happens if it exists: raise (an error), keep (leave it as it is) or replace. (default: raise)")
    var onExisting: String?

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try session.call(
            "create_schedule",
            [("name", name), ("cron", cron), ("workflow_name", workflowName), ("on_existing", onExisting)] + definition.arguments())
        screen.sayNext(of: name, session)
    }
}

/// `pawl schedule alter`
struct ScheduleAlterCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "alter", abstract: "Change a schedule.", discussion: "What is not given stays as it is.")

    @Argument(help: "The schedule.")
    var name: String

    @Option(help: "When it fires.")
    var cron: String?

    @Option(help: "The workflow name.")
    var workflowName: String?

    @OptionGroup var definition: ScheduleDefinitionOptions

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try session.call("alter_schedule", [("name", name), ("cron", cron), ("workflow_name", workflowName)] + definition.arguments())
        screen.sayNext(of: name, session)
    }
}

extension Screen {
    /// When a schedule that was made or changed fires next, to a role that may see it.
    fileprivate func sayNext(of name: String, _ session: OperatorSession) {
        guard let schedule = try? session.schedule(name) else {
            return say("Schedule \(name.printable) is set.", ["schedule": .text(name)])
        }
        let next = schedule["next_at"].text.map { "fires next at \($0)" } ?? (schedule["paused"].isTrue ? "is paused" : "never fires")
        say("Schedule \(name.printable) \(next).", schedule)
    }
}

/// `pawl schedule drop`
struct ScheduleDropCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop", abstract: "Drop a schedule; the workflows it enqueued stay.")

    @Argument(help: "The schedule.")
    var name: String

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let changed = try session.call("drop_schedule", [("name", name)]).isTrue
        try screen.report(
            changed, "Schedule \(name.printable) is dropped.", otherwise: "There is no schedule \(name.printable).", ["schedule": .text(name)])
    }
}

/// `pawl schedule pause`
struct SchedulePauseCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Let a schedule fire no more until it is resumed.")

    @Argument(help: "The schedule.")
    var name: String

    @Option(help: "Why: shown with the schedule, and kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let changed = try session.call("pause_schedule", [("name", name), ("reason", reason)]).isTrue
        try screen.report(
            changed, "Schedule \(name.printable) is paused.", otherwise: "Schedule \(name.printable) was paused already.", ["schedule": .text(name)])
    }
}

/// `pawl schedule resume`
struct ScheduleResumeCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Let a paused schedule fire again.",
        discussion: "The instants of the pause are not made up for: `pawl schedule backfill` does that.")

    @Argument(help: "The schedule.")
    var name: String

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let changed = try session.call("resume_schedule", [("name", name)]).isTrue
        try screen.report(
            changed, "Schedule \(name.printable) goes on.", otherwise: "Schedule \(name.printable) was not paused.", ["schedule": .text(name)])
    }
}

/// `pawl schedule trigger`
struct ScheduleTriggerCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "trigger", abstract: "Enqueue the workflow of a schedule now, and print its id.")

    @Argument(help: "The schedule.")
    var name: String

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let id = try session.call("trigger_schedule", [("name", name)])
        screen.say(screen.text(id), ["schedule": .text(name), "workflow_id": id])
    }
}

/// `pawl schedule backfill`
struct ScheduleBackfillCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "backfill",
        abstract: "Enqueue the workflows of past instants that have none.",
        discussion: "An instant that has its workflow gets no second one, so the command can be given again.")

    @Argument(help: "The schedule.")
    var name: String

    @Option(help: ArgumentHelp("The first instant; without a zone it is in UTC.", valueName: "timestamp"))
    var since: String

    @Option(help: ArgumentHelp("The last instant. (default: now)", valueName: "timestamp"))
    var until = "now"

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let made = try session.call("backfill_schedule", [("name", name), ("since", since), ("until", until)]).integer ?? 0
        screen.say("Enqueued \(made.counted("workflow")).", ["schedule": .text(name), "enqueued": .number("\(made)")])
        if made == 0 { throw ExitCode.nothing }
    }
}
