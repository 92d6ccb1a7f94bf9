internal import PostgresStore

/// A workflow drawn for people.
struct WorkflowPortrait {
    private let tree: WorkflowTree
    private let screen: Screen
    private let start: Int64
    private let end: Int64

    init(_ tree: WorkflowTree, _ screen: Screen) {
        self.tree = tree
        self.screen = screen
        let workflow = tree.workflow
        start = workflow["started_at"].microseconds ?? workflow["created_at"].microseconds ?? screen.now
        end = max(workflow["completed_at"].microseconds ?? screen.now, start + 1)
    }

    var lines: [String] { head + timeline }

    // MARK: How it stands

    private var head: [String] {
        let workflow = tree.workflow
        var facts: [(String, String)] = []
        func fact(_ name: String, _ text: String?) {
            if let text, !text.isEmpty { facts.append((name, text)) }
        }
        let status = workflow["status"].text ?? ""
        fact("workflow", text("workflow_name") + (workflow["workflow_version"].text.map { ", version \($0)" } ?? ""))
        fact("status", screen.styled(status, .of(status)) + statusDetail)
        fact("error", WorkflowErrorText(workflow["error"]).map { screen.styled($0.sentence, .red) })
        fact("queue", text("queue") + (workflow["partition_key"].text.map { ", partition \($0.printable)" } ?? ""))
        fact("enqueued", moment("created_at") + (workflow["enqueued_by"].text.map { " by \($0.printable)" } ?? ""))
        fact("not before", workflow["started_at"].isNull ? moment("run_at") : nil)
        fact("started", workflow["started_at"].microseconds.map { moment("started_at") + waited(until: $0) })
        fact("ended", workflow["completed_at"].isNull ? nil : moment("completed_at") + ", after \(TimeText.duration(end - start))")
        fact("deadline", workflow["completed_at"].isNull ? moment("deadline_at") : nil)
        fact("recoveries", workflow["recoveries"].integer.flatMap { $0 > 0 ? "\($0)" : nil })
        for column in ["parent_workflow_id", "forked_from", "schedule_name", "deduplication_id", "attributes", "progress", "input", "output"] {
            fact(TableColumn(stringLiteral: column).title.replacing(" workflow id", with: ""), text(column))
        }
        let width = facts.map(\.0.columns).max() ?? 0
        let room = screen.width.map { max($0 - width - 4, 20) } ?? Int.max
        return [screen.styled(text("workflow_id"), .bold)]
            + facts.map { "  " + screen.styled($0.padded(to: width), .faint) + "  " + ($1.contains("\u{1B}") ? $1 : $1.truncated(to: room)) }
    }

    private func text(_ column: String) -> String { screen.text(tree.workflow[column]) }

    private var statusDetail: String {
        let workflow = tree.workflow
        var details = [workflow["status_reason"].text, workflow["waiting_for"].text.map { "for \($0.printable)" }].compactMap { $0 }
        if let due = workflow["wake_at"].microseconds { details.append("due \(TimeText.relative(due, now: screen.now))") }
        if workflow["completed_at"].isNull, !workflow["cancel_requested_at"].isNull {
            details.append("cancellation requested \(text("cancel_requested_at"))")
        }
        return details.isEmpty ? "" : " (\(details.joined(separator: ", ")))"
    }

    private func moment(_ column: String) -> String {
        guard let time = tree.workflow[column].microseconds else { return "" }
        return "\(OperatorValue.iso(time / 1_000_000 * 1_000_000)) (\(TimeText.relative(time, now: screen.now)))"
    }

    private func waited(until started: Int64) -> String {
        guard let ready = [tree.workflow["created_at"], tree.workflow["run_at"]].compactMap(\.microseconds).max(), started > ready else { return "" }
        return ", waited \(TimeText.duration(started - ready))"
    }

    // MARK: What it did when

    private struct Entry {
        var cells: [TableCell]
        var from: Int64
        var to: Int64
        var mark: Character
        var style: Style?
        /// A line of its own below.
        var remark: String?
        var isHead = false
    }

    private static let waits: Set<String> = ["sleep", "receive", "get_event", "read_stream", "await_child", "await_children", "race"]

    private var timeline: [String] {
        let entries = entries(of: tree, indent: 0)
        guard !entries.isEmpty else { return [] }
        let titles = ["step", "kind", "status", "tries", "took"]
        let barWidth = screen.width.map { min(40, max(10, $0 / 4)) } ?? 30
        let layout = TableLayout(titles: titles, rows: entries.map(\.cells), width: screen.width.map { $0 - barWidth - 4 })
        var lines = [""]
        let heading = titles.enumerated().map { TableCell(text: $1, style: .bold, isNumber: $0 >= 3) }
        lines.append("  " + layout.line(heading, colours: screen.colours))
        if tree.hasEarlierSteps { lines.append("  … earlier steps: --steps 0 shows all") }
        for entry in entries {
            let line = layout.line(entry.cells, colours: screen.colours)
            let plain = layout.line(entry.cells, colours: false)
            let gap = String(repeating: " ", count: max(0, layout.widths.reduce(0, +) + TableLayout.gap * titles.count - plain.columns))
            lines.append("  " + (entry.isHead ? line : line + gap + bar(entry, barWidth)))
            if let remark = entry.remark { lines.append("    " + screen.styled(remark.truncated(to: screen.width.map { $0 - 4 } ?? .max), .red)) }
        }
        return lines
    }

    private func entries(of tree: WorkflowTree, indent: Int) -> [Entry] {
        var children = tree.children[...]
        var entries: [Entry] = []
        for step in tree.steps {
            entries.append(entry(step, indent))
            // Below the step that started it; a step that waits for it comes later.
            while let index = children.firstIndex(where: { $0.workflow["workflow_id"] == step["child_workflow_id"] }) {
                entries += self.entries(ofChild: children.remove(at: index), indent + 1)
            }
        }
        for child in children { entries += self.entries(ofChild: child, indent + 1) }
        if tree.hasMoreChildren {
            let id = tree.workflow["workflow_id"].text?.printable ?? ""
            entries.append(head("… more children: pawl workflow list --parent \(id)", indent + 1))
        }
        return entries
    }

    private func entries(ofChild child: WorkflowTree, _ indent: Int) -> [Entry] {
        let workflow = child.workflow
        var entry = entry(
            name: "└ " + screen.text(workflow["workflow_id"]), kind: screen.text(workflow["workflow_name"]), workflow, attempts: nil, indent)
        // What failed in it stands below.
        entry.remark = nil
        return [entry] + entries(of: child, indent: indent + 1)
    }

    private func entry(_ step: OperatorRow, _ indent: Int) -> Entry {
        entry(
            name: screen.text(step["step_name"]), kind: screen.text(step["kind"]), step,
            attempts: step["attempts"].integer.flatMap { $0 > 1 ? $0 : nil }, indent)
    }

    private func entry(name: String, kind: String, _ row: OperatorRow, attempts: Int?, _ indent: Int) -> Entry {
        let status = row["status"].text ?? ""
        let from = row["started_at"].microseconds ?? row["created_at"].microseconds ?? start
        let to = row["completed_at"].microseconds ?? screen.now
        let style = Style.of(status)
        let cells = [
            TableCell(text: String(repeating: "  ", count: indent) + name), TableCell(text: kind, style: .faint),
            TableCell(text: status, style: style), TableCell(text: attempts.map(String.init) ?? "", isNumber: true),
            TableCell(text: TimeText.duration(max(0, to - from)), isNumber: true),
        ]
        let waits = Self.waits.contains(kind) || ["waiting", "retrying"].contains(status)
        return Entry(
            cells: cells, from: from, to: to, mark: waits ? "░" : "█", style: style,
            remark: WorkflowErrorText(row["error"]).map { String(repeating: "  ", count: indent) + $0.sentence })
    }

    private func head(_ text: String, _ indent: Int) -> Entry {
        let cells = [String(repeating: "  ", count: indent) + text, "", "", "", ""].map { TableCell(text: $0) }
        return Entry(cells: cells, from: start, to: start, mark: " ", isHead: true)
    }

    private func bar(_ entry: Entry, _ width: Int) -> String {
        func column(_ time: Int64) -> Int {
            min(width, max(0, Int(Double(time - start) / Double(end - start) * Double(width))))
        }
        let first = min(column(entry.from), width - 1)
        let length = max(1, column(entry.to) - first)
        return String(repeating: " ", count: first) + screen.styled(String(repeating: entry.mark, count: length), entry.style)
    }
}
