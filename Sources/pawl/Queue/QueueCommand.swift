internal import ArgumentParser
internal import PostgresStore

struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "List, create, alter, drop, pause and resume queues.",
        subcommands: [
            QueueListCommand.self, QueueCreateCommand.self, QueueAlterCommand.self, QueueDropCommand.self, QueuePauseCommand.self,
            QueueResumeCommand.self,
        ])
}

/// `pawl queue list`
struct QueueListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the queues, their limits, and what is in them now.")

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        screen.show(queues: try session.queues())
    }
}

extension Screen {
    func show(queues: OperatorRows) {
        let people = queues.with("rate") { queue in
            guard let limit = queue["rate_limit"].integer else { return .null }
            return .text("\(limit) per \(text(queue["rate_period"]))")
        }.with("paused", paused)
        show(
            json ? queues : people,
            [
                "queue", TableColumn("depth", "waiting"), "running", TableColumn("oldest", "oldest"), TableColumn("concurrency", "limit"),
                TableColumn("worker_concurrency", "per worker", spare: 1), TableColumn("partition_concurrency", "per partition", spare: 2), "rate",
                "paused",
            ], empty: "There is no queue.")
    }

    /// Since when, by whom and why a queue or a schedule is paused.
    func paused(_ row: OperatorRow) -> OperatorValue {
        guard row["paused"].isTrue else { return .null }
        let reason = row["paused_reason"].text.map { ": \($0)" } ?? ""
        return .text("\(text(row["paused_at"])) by \(text(row["paused_by"]))\(reason)")
    }
}

/// How many at most: a number, or `none` for no limit.
struct CountLimit: ExpressibleByArgument {
    let count: Int?

    init?(argument: String) {
        if argument == "none" {
            count = nil
        } else {
            guard let number = Int(argument), number >= 0 else { return nil }
            count = number
        }
    }
}

struct QueueLimitOptions: ParsableArguments {
    @Option(help: ArgumentHelp("How many of it may run at once, on all workers together; 0: nothing starts.", valueName: "count|none"))
    var concurrency: CountLimit?

    @Option(help: ArgumentHelp("How many of it may run at once in one worker.", valueName: "count|none"))
    var workerConcurrency: CountLimit?

    @Option(help: ArgumentHelp("How many of each partition key may run at once.", valueName: "count|none"))
    var partitionConcurrency: CountLimit?

    @Option(help: ArgumentHelp("How many may start in any --rate-period.", valueName: "count|none"))
    var rateLimit: CountLimit?

    @Option(help: ArgumentHelp("The period of --rate-limit: 1s, '1 minute'.", valueName: "interval"))
    var ratePeriod: String?

    @Flag(inversion: .prefixedNo, help: "A parked workflow keeps its place among the running ones.")
    var holdWhileWaiting: Bool?

    /// - Parameter none: what the function takes for “no limit”.
    func arguments(none: String?) -> OperatorSession.Arguments {
        func limit(_ limit: CountLimit?) -> String? { limit.flatMap { $0.count.map { String($0) } ?? none } }
        return [
            ("concurrency", limit(concurrency)), ("worker_concurrency", limit(workerConcurrency)),
            ("partition_concurrency", limit(partitionConcurrency)), ("rate_limit", limit(rateLimit)), ("rate_period", ratePeriod),
            ("hold_while_waiting", holdWhileWaiting.map { String($0) }),
        ]
    }
}

/// `pawl queue create`
struct QueueCreateCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Make a queue.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var limits: QueueLimitOptions

    @Option(help: "What happens if it exists: raise (an error), keep (leave it as it is) or replace (give it these limits). (default: raise)")
    var onExisting: String?

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try session.call("create_queue", [("name", name), ("on_existing", onExisting)] + limits.arguments(none: nil))
        screen.say("Queue \(name.printable) is there.", ["queue": .text(name)])
    }
}

/// `pawl queue alter`
struct QueueAlterCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "alter",
        abstract: "Change the limits of a queue, at once and on every worker.",
        discussion: "What is not given stays as it is; none takes a limit away. What runs goes on: a lower limit only keeps others from starting.")

    @Argument(help: "The queue.")
    var name: String

    @OptionGroup var limits: QueueLimitOptions

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try session.call("alter_queue", [("name", name)] + limits.arguments(none: "-1"))
        screen.say("Queue \(name.printable) is altered.", ["queue": .text(name)])
    }
}

/// `pawl queue drop`
struct QueueDropCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "drop", abstract: "Drop a queue that holds no unfinished workflow.")

    @Argument(help: "The queue.")
    var name: String

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let changed = try session.call("drop_queue", [("name", name)]).isTrue
        try screen.report(
            changed, "Queue \(name.printable) is dropped.", otherwise: "There is no queue \(name.printable).", ["queue": .text(name)])
    }
}

/// `pawl queue pause`
struct QueuePauseCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Start nothing of a queue until it is resumed; what runs goes on.")

    @Argument(help: "The queue.")
    var name: String

    @Option(help: "Why: shown with the queue, and kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let changed = try session.call("pause_queue", [("name", name), ("reason", reason)]).isTrue
        try screen.report(
            changed, "Queue \(name.printable) is paused.", otherwise: "Queue \(name.printable) was paused already.", ["queue": .text(name)])
    }
}

/// `pawl queue resume`
struct QueueResumeCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "resume", abstract: "Let a paused queue go on.")

    @Argument(help: "The queue.")
    var name: String

    @Option(help: "Why: kept in pawl.audit.")
    var reason: String?

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let changed = try session.call("resume_queue", [("name", name)]).isTrue
        try screen.report(
            changed, "Queue \(name.printable) goes on.", otherwise: "Queue \(name.printable) was not paused.", ["queue": .text(name)])
    }
}
