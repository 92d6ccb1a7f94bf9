internal import ArgumentParser
internal import PostgresStore

/// `pawl tail`
struct TailCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "tail",
        abstract: "Show what happens, while it happens: workflows enqueued and ended, steps recorded.",
        discussion: """
            It looks twice a second, until Ctrl-C. What a transaction enqueued that commits over five seconds later is not shown. With --json each \
            line is an object.
            """)

    @Option(help: ArgumentHelp("Only those of this workflow name.", valueName: "workflow-name"))
    var name: String?

    @Option(help: "Only those of this queue.")
    var queue: String?

    @Flag(inversion: .prefixedNo, help: "Steps, too.")
    var steps = true

    @Option(help: ArgumentHelp("Begin with what happened this long ago: 10min.", valueName: "interval"))
    var since: String?

    @Option(help: ArgumentHelp("End after so many lines.", valueName: "count"))
    var count: Int?

    @OptionGroup var options: OperatorOptions

    /// How late a commit may make something seen that happened before, in microseconds.
    private static let overlap: Int64 = 5_000_000

    func validate() throws {
        guard count.map({ $0 > 0 }) ?? true else { throw ValidationError("--count must be at least 1") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        try session.untilInterrupted { try follow(session, screen) }
    }

    private func follow(_ session: OperatorSession, _ screen: Screen) throws {
        // What is looked at again, because a late commit may add to it.
        var shown: Set<Happening> = []
        var left = count ?? .max
        let begin = try session.time(before: since)
        var from = begin
        while true {
            // What is older will not come again.
            let next = max(begin, try session.now() - Self.overlap)
            try session.recentActivity(since: from, workflowName: name, queue: queue, steps: steps) { page in
                for row in page where left > 0 {
                    let happening = Happening(row)
                    guard !shown.contains(happening) else { continue }
                    if happening.at >= next { shown.insert(happening) }
                    print(screen.json ? row.json : line(row, screen))
                    left -= 1
                }
                Terminal.flush()
                return left > 0 && !Terminal.lostOutput
            }
            guard left > 0, !Terminal.lostOutput else { return }
            from = next
            shown = shown.filter { $0.at >= from }
            try session.pause(milliseconds: 500)
        }
    }

    private struct Happening: Hashable {
        let event: String?
        let workflowID: String?
        let stepName: String?
        let at: Int64

        init(_ row: OperatorRow) {
            event = row["event"].text
            workflowID = row["workflow_id"].text
            stepName = row["step_name"].text
            at = row["at"].microseconds ?? 0
        }
    }

    private func line(_ row: OperatorRow, _ screen: Screen) -> String {
        // With its zeros, so that what follows stands in a column.
        let time = row["at"].microseconds ?? 0
        let milliseconds = String(time / 1000 % 1000 + 1000).dropFirst()
        let moment = "\(OperatorValue.iso(time / 1_000_000 * 1_000_000).dropLast()).\(milliseconds)Z"
        let status = screen.text(row["status"])
        var words = [screen.styled(moment, .faint)]
        switch row["event"].text {
        case "enqueued": words += ["enqueued".padded(to: 9)]
        default: words += [screen.styled(status.padded(to: 9), .of(status))]
        }
        words.append(screen.text(row["workflow_id"]))
        words.append(screen.styled(screen.text(row["workflow_name"]), .faint))
        if !row["step_name"].isNull {
            words.append("step " + screen.text(row["step_name"]))
            if let attempts = row["attempts"].integer, attempts > 1 { words.append("attempt \(attempts)") }
        }
        if !row["took"].isNull { words.append("after \(screen.text(row["took"]))") }
        if let error = WorkflowErrorText(row["error"]) { words.append(screen.styled(error.sentence, .red)) }
        return words.joined(separator: "  ")
    }
}
