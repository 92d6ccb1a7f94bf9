internal import PostgresStore

/// What a workflow did when: a line for each step, with a bar from its start to its end, and its children below the steps that started them.
struct WorkflowTimeline {
    private let tree: WorkflowTree
    private let screen: Screen
    private let start: Int64
    private let end: Int64

    init(_ tree: WorkflowTree, _ screen: Screen) {
        self.tree = tree
        self.screen = screen
        let span = Self.span(tree.workflow, now: screen.now)
        start = span.lowerBound
        end = max(span.upperBound, start + 1)
    }

    private static let titles = ["step", "kind", "status", "tries", "took"]
    /// Kinds that pass their time waiting.
    private static let waits: Set<String> = ["sleep", "receive", "get_event", "read_stream", "await_child", "await_children", "race"]

    private struct Entry {
        let cells: [TableCell]
        let span: Range<Int64>
        let mark: Character
        let style: Style?
        /// On a line of its own below.
        var error: String?
    }

    private enum Line {
        case entry(Entry)
        case note(String)
    }

    /// Empty if nothing was recorded.
    var lines: [String] {
        let lines = lines(of: tree, indent: "")
        guard !lines.isEmpty else { return [] }
        let barWidth = screen.width.map { min(40, max(10, $0 / 4)) } ?? 30
        let cells = lines.compactMap { if case .entry(let entry) = $0 { entry.cells } else { nil } }
        var columns = Self.titles.map { ColumnNeed(title: $0) }
        for row in cells {
            for (column, cell) in row.enumerated() { columns[column].take(cell) }
        }
        let layout = TableLayout(columns, width: screen.width.map { $0 - barWidth - 4 })
        var drawn = layout.heading(colours: screen.colours).map { "  " + $0 }
        for line in lines {
            switch line {
            case .note(let note): drawn.append("  " + note)
            case .entry(let entry):
                drawn.append("  \(layout.line(entry.cells, colours: screen.colours))  \(bar(entry, barWidth))")
                if let error = entry.error {
                    drawn.append("    " + screen.styled(error.truncated(to: screen.width.map { $0 - 4 } ?? .max), .red))
                }
            }
        }
        return drawn
    }

    private func lines(of tree: WorkflowTree, indent: String) -> [Line] {
        var lines: [Line] = tree.hasEarlierSteps ? [.note(indent + "… earlier steps: --steps 0 shows all")] : []
        var children = tree.children[...]
        func add(_ child: WorkflowTree) {
            lines.append(.entry(entry(child.workflow, "workflow_id", "workflow_name", indent: indent + "  └ ")))
            lines += self.lines(of: child, indent: indent + "    ")
        }
        for step in tree.steps {
            var entry = entry(step, "step_name", "kind", indent: indent)
            entry.error = WorkflowErrorText(step["error"]).map { indent + $0.sentence }
            lines.append(.entry(entry))
            // The first step that names it is the one that started it.
            if let index = children.firstIndex(where: { $0.workflow["workflow_id"] == step["child_workflow_id"] }) {
                add(children.remove(at: index))
            }
        }
        for child in children { add(child) }
        if tree.hasMoreChildren {
            lines.append(.note("\(indent)  … more children: pawl workflow list --parent \(screen.text(tree.workflow["workflow_id"]))"))
        }
        return lines
    }

    /// A step, or a child among the steps.
    private func entry(_ row: OperatorRow, _ name: String, _ kind: String, indent: String) -> Entry {
        let status = row["status"].text ?? ""
        let span = Self.span(row, now: screen.now)
        let tries = row["attempts"].integer ?? 1
        let cells = [
            TableCell(text: indent + screen.text(row[name])), TableCell(text: screen.text(row[kind]), style: .faint),
            TableCell(text: status, style: .of(status)), TableCell(text: tries > 1 ? "\(tries)" : "", isNumber: true),
            TableCell(text: TimeText.duration(Int64(span.count)), isNumber: true),
        ]
        let waits = Self.waits.contains(row[kind].text ?? "") || ["waiting", "retrying"].contains(status)
        return Entry(cells: cells, span: span, mark: waits ? "░" : "█", style: .of(status))
    }

    /// From its start to its end; until now if it has none.
    private static func span(_ row: OperatorRow, now: Int64) -> Range<Int64> {
        let from = row["started_at"].microseconds ?? row["created_at"].microseconds ?? now
        return from..<max(from, row["completed_at"].microseconds ?? now)
    }

    private func bar(_ entry: Entry, _ width: Int) -> String {
        func column(_ time: Int64) -> Int { min(width, max(0, Int(Double(time - start) / Double(end - start) * Double(width)))) }
        let first = min(column(entry.span.lowerBound), width - 1)
        let length = max(1, column(entry.span.upperBound) - first)
        return String(repeating: " ", count: first) + screen.styled(String(repeating: entry.mark, count: length), entry.style)
    }
}
