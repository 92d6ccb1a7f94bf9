internal import ArgumentParser
internal import PostgresStore

struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "List workers.", subcommands: [WorkerListCommand.self])
}

/// `pawl worker list`
struct WorkerListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the workers: where they run, what they serve, how busy they are.")

    @Flag(help: "Those that ended within a day, too.")
    var all = false

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let workers = try session.workers(ended: all)
        let people = workers.with("load") { worker in .text("\(worker["running"].text ?? "") of \(worker["concurrency"].text ?? "")") }
        screen.show(
            screen.json ? workers : people,
            [
                TableColumn("worker_name", "worker"), "status", TableColumn("hostname", "host"), "pid", "version", TableColumn("load", "running"),
                "queues", "started_at", "heartbeat_at",
            ], empty: all ? "No worker was there within a day." : "No worker runs.")
    }
}

struct HandlerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "handler", abstract: "List handlers.", subcommands: [HandlerListCommand.self])
}

/// `pawl handler list`
struct HandlerListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List what can be run: the handlers of each live worker, and the SQL functions that all of them can run.")

    @Option(help: ArgumentHelp("Only those of this workflow name.", valueName: "workflow-name"))
    var name: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let handlers = try session.handlers(of: name)
        let people = handlers.with("workers") { $0["workers"].isNull ? .text("all") : $0["workers"] }
        screen.show(
            screen.json ? handlers : people,
            [
                TableColumn("workflow_name", "workflow"), TableColumn("workflow_version", "version"), "plugin", "function",
                TableColumn("role_name", "role"), "workers",
            ], empty: "No handler is offered.")
    }
}

struct RetentionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retention",
        abstract: "List, set and drop the rules of how long ended workflows are kept.",
        subcommands: [RetentionListCommand.self, RetentionSetCommand.self, RetentionDropCommand.self])
}

/// `pawl retention list`
struct RetentionListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List how long ended workflows are kept.")

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let rules = try session.retention()
        screen.show(
            screen.json ? rules : screen.people(rules),
            Screen.retentionColumns + ["changed_at", TableColumn("changed_by", "by")], empty: "Everything is kept.")
    }
}

extension Screen {
    fileprivate static let retentionColumns: [TableColumn] = [
        TableColumn("whose", "of"), "succeeded", TableColumn("failed", "failed, cancelled"), "keep",
    ]

    /// What rules of retention say to people.
    fileprivate func people(_ rules: OperatorRows) -> OperatorRows {
        rules.with("whose") { rule in
            let name = rule["workflow_name"].text.map { "workflow \($0)" }
            return .text(name ?? rule["queue"].text.map { "queue \($0)" } ?? "all others")
        }.with("succeeded") { $0["succeeded"].isNull ? .text("forever") : $0["succeeded"] }
            .with("failed") { $0["failed"].isNull ? .text("forever") : $0["failed"] }
            .with("keep") { $0["keep"].isNull ? .text("any number") : $0["keep"] }
    }
}

/// Whose retention is meant; neither: that of all others.
struct RetentionScope: ParsableArguments {
    @Option(help: ArgumentHelp("Of this workflow name.", valueName: "workflow-name"))
    var name: String?

    @Option(help: "Of this queue.")
    var queue: String?

    func validate() throws {
        guard name == nil || queue == nil else { throw ValidationError("give --name or --queue, not both") }
    }

    var arguments: OperatorSession.Arguments { [("workflow_name", name), ("queue", queue)] }
    var object: OperatorRow { ["workflow_name": name.map { .text($0) } ?? .null, "queue": queue.map { .text($0) } ?? .null] }

    var text: String { name.map { "workflow \($0.printable)" } ?? queue.map { "queue \($0.printable)" } ?? "all others" }

    func rule(_ session: OperatorSession) throws -> OperatorRow? { try session.retention(workflowName: name, queue: queue) }
}

/// `pawl retention set`
struct RetentionSetCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "set",
        abstract: "Set how long ended workflows are kept: of a name, of a queue, or of all others.",
        discussion: """
            What is not given stays as it is. Workers delete what is older, a little at a time. What is unfinished, or still awaited, is never \
            deleted. `pawl retention drop` takes a rule away.
            """)

    @OptionGroup var scope: RetentionScope

    @Option(help: ArgumentHelp("How long those that succeeded are kept: 30d, forever.", valueName: "interval"))
    var succeeded: String?

    @Option(help: ArgumentHelp("How long those that failed or were cancelled are kept.", valueName: "interval"))
    var failed: String?

    @Option(help: ArgumentHelp("How many are kept at most, the newest.", valueName: "count|none"))
    var keep: CountLimit?

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard succeeded != nil || failed != nil || keep != nil else {
            throw ValidationError("say what is kept: --succeeded, --failed or --keep; `pawl retention drop` takes a rule away")
        }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let before = try scope.rule(session)
        func age(_ given: String?, _ column: String) -> String? {
            if let given { return given == "forever" ? "-1" : given }
            guard let before, !before["inherited"].contains(column) else { return nil }
            // For ever is NULL in the view, and -1 for the function.
            return before[column].text ?? "-1"
        }
        try session.call(
            "set_retention",
            scope.arguments + [
                ("succeeded", age(succeeded, "succeeded")), ("failed", age(failed, "failed")),
                ("keep", keep.map { $0.count.map { String($0) } } ?? before?["keep"].text),
            ])
        guard let now = try scope.rule(session) else { return screen.say("Nothing is set for \(scope.text).", scope.object) }
        if screen.json { return print(now.json) }
        screen.show(screen.people(OperatorRows(columns: now.columns, values: [now.values])), Screen.retentionColumns, empty: "")
    }
}

/// `pawl retention drop`
struct RetentionDropCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop",
        abstract: "Drop the retention of a name or of a queue, which goes back to that of all others; or that, which goes back to 30 and 90 days.")

    @OptionGroup var scope: RetentionScope

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let isThere = try scope.rule(session) != nil
        if isThere { try session.call("set_retention", scope.arguments) }
        try screen.report(
            isThere, "The retention of \(scope.text) is dropped.", otherwise: "Nothing is set for \(scope.text).", scope.object)
    }
}

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "List what people did.", subcommands: [AuditListCommand.self])
}

/// `pawl audit list`
struct AuditListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List what people did to workflows, queues, schedules and the rest, the newest first.")

    @Option(help: ArgumentHelp("Only what was done to this: a workflow's id, a queue, a schedule.", valueName: "name"))
    var object: String?

    @Option(help: "Only what was done to these: workflow, queue, schedule, handler, retention, access or database.")
    var kind: String?

    @Option(help: ArgumentHelp("Only this action: cancel_workflow, pause_queue.", valueName: "action"))
    var action: String?

    @Option(help: "Only what this role did.")
    var role: String?

    @Option(help: ArgumentHelp("Only what was done since: 90d, '2 hours'.", valueName: "interval"))
    var newerThan: String?

    @Option(help: "How many at most.")
    var limit = 50

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard limit > 0 else { throw ValidationError("--limit must be at least 1") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        var filter = AuditFilter()
        (filter.objectName, filter.objectKind, filter.action, filter.role, filter.newerThan) = (object, kind, action, role, newerThan)
        screen.show(
            try session.audit(filter, limit: limit),
            [
                TableColumn("created_at", "when"), TableColumn("role_name", "who"), "action", TableColumn("object_kind", "kind"),
                TableColumn("object_name", "object"), "reason",
            ], empty: "Nothing of the kind was done.")
    }
}
