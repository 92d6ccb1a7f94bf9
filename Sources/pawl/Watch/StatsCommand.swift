internal import ArgumentParser
internal import PostgresStore

/// `pawl stats`
struct StatsCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Show what waits, and throughput, waits, durations and error rates by workflow name and step.",
        discussion: """
            waited: from the moment a workflow could start until it did; ran: from then to its end; took: the duration of a step, in the attempt that \
            was recorded. p50, p95, p99: so many of a hundred took no longer.
            """)

    @Option(help: ArgumentHelp("What ended within this time: 1h, '1 day'.", valueName: "interval"))
    var period = "1 hour"

    @Option(help: ArgumentHelp("Only those of this workflow name.", valueName: "workflow-name"))
    var name: String?

    @Option(help: ArgumentHelp("How many steps at most, the slowest; 0: none.", valueName: "count"))
    var steps = 10

    @Option(help: ArgumentHelp("Show it again every so many seconds, until Ctrl-C.", valueName: "seconds"))
    var watch: Int?

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard steps >= 0 else { throw ValidationError("--steps must not be negative") }
        guard watch.map({ $0 > 0 }) ?? true else { throw ValidationError("--watch must be at least 1") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        guard let watch else { return try show(session, screen) }
        try session.untilInterrupted {
            while true {
                if Terminal.outputIsTerminal, !screen.json { print("\u{1B}[H\u{1B}[2J", terminator: "") }
                try show(session, screen.at(try session.now()))
                Terminal.flush()
                guard !Terminal.lostOutput else { return }
                try session.pause(milliseconds: Int32(clamping: watch * 1000))
            }
        }
    }

    private func show(_ session: OperatorSession, _ screen: Screen) throws {
        let queues = try session.queues()
        let workflows = try session.workflowStatistics(period: period, workflowName: name)
        let slowest = try session.stepStatistics(period: period, workflowName: name, limit: steps)
        guard !screen.json else {
            let row: OperatorRow = [
                "period": .text(period), "queues": .json(queues.json), "workflows": .json(workflows.json), "steps": .json(slowest.json),
            ]
            return print(row.json)
        }
        screen.show(queues: queues)
        print("")
        screen.show(
            workflows.rounded(),
            [
                TableColumn("workflow_name", "workflow"), "queue", "ended", "failed", TableColumn("cancelled", spare: 2),
                TableColumn("per_second", "per second"), TableColumn("error_rate", "errors"), TableColumn("waited_p50", "waited p50"),
                TableColumn("waited_p95", "p95", spare: 1), TableColumn("waited_p99", "p99", spare: 3), TableColumn("ran_p50", "ran p50"),
                TableColumn("ran_p95", "p95", spare: 1), TableColumn("ran_p99", "p99", spare: 3),
            ], empty: "No workflow ended within \(period.printable).")
        guard steps > 0 else { return }
        print("")
        screen.show(
            slowest,
            [
                TableColumn("workflow_name", "workflow"), TableColumn("step_name", "slowest steps"), TableColumn("kind", spare: 2),
                "recorded", "failed", "retries", TableColumn("took_p50", "took p50"), TableColumn("took_p95", "p95"),
                TableColumn("took_p99", "p99", spare: 1),
                TableColumn("took_max", "most"),
            ], empty: "No step was recorded within \(period.printable).")
    }
}

extension OperatorRows {
    /// Rates as people read them.
    fileprivate func rounded() -> OperatorRows {
        with("per_second") { row in
            guard let rate = row["per_second"].text.flatMap({ Double($0) }) else { return .null }
            return .number(rate < 10 ? decimal(rate, 100) : decimal(rate, 1))
        }.with("error_rate") { row in
            guard let rate = row["error_rate"].text.flatMap({ Double($0) }) else { return .null }
            return .number(decimal(rate * 100, 10) + " %")
        }
    }
}

/// Rounded to one part in `parts`.
private func decimal(_ value: Double, _ parts: Double) -> String {
    let rounded = (value * parts).rounded() / parts
    return rounded == rounded.rounded() ? "\(Int(rounded))" : "\(rounded)"
}
