internal import PostgresStore

/// How one workflow stands, drawn for people: facts, then its timeline.
struct WorkflowPortrait {
    private let tree: WorkflowTree
    private let screen: Screen

    init(_ tree: WorkflowTree, _ screen: Screen) {
        self.tree = tree
        self.screen = screen
    }

    var lines: [String] {
        let timeline = WorkflowTimeline(tree, screen).lines
        return head + (timeline.isEmpty ? [] : [""] + timeline)
    }

    private var workflow: OperatorRow { tree.workflow }
    private var hasEnded: Bool { !workflow["completed_at"].isNull }

    private struct Fact {
        let name: String
        let text: String
        var style: Style?
    }

    private var head: [String] {
        let facts = facts.filter { !$0.text.isEmpty }
        let width = facts.map(\.name.columns).max() ?? 0
        let room = screen.width.map { max($0 - width - 4, 20) } ?? .max
        return [screen.styled(text("workflow_id"), .bold)]
            + facts.map { "  \(screen.styled($0.name.padded(to: width), .faint))  \(screen.styled($0.text.truncated(to: room), $0.style))" }
    }

    private var facts: [Fact] {
        var facts = [
            Fact(name: "workflow", text: text("workflow_name") + text("workflow_version", after: ", version ")),
            Fact(name: "status", text: text("status") + statusDetail, style: .of(workflow["status"].text)),
            Fact(name: "error", text: WorkflowErrorText(workflow["error"])?.sentence ?? "", style: .red),
            Fact(name: "queue", text: text("queue") + text("partition_key", after: ", partition ")),
            Fact(name: "enqueued", text: moment("created_at") + text("enqueued_by", after: " by ")),
            Fact(name: "not before", text: workflow["started_at"].isNull ? moment("run_at") : ""),
            Fact(name: "started", text: moment("started_at") + waited),
            Fact(name: "ended", text: moment("completed_at") + took),
            Fact(name: "deadline", text: hasEnded ? "" : moment("deadline_at")),
            Fact(name: "recoveries", text: workflow["recoveries"].integer == 0 ? "" : text("recoveries")),
        ]
        for (name, column) in [
            ("parent", "parent_workflow_id"), ("forked from", "forked_from"), ("schedule", "schedule_name"), ("deduplication", "deduplication_id"),
            ("attributes", "attributes"), ("progress", "progress"), ("input", "input"), ("output", "output"),
        ] {
            facts.append(Fact(name: name, text: text(column)))
        }
        return facts
    }

    /// A column as text, behind these words if it is there.
    private func text(_ column: String, after words: String = "") -> String {
        workflow[column].isNull ? "" : words + screen.text(workflow[column])
    }

    private var statusDetail: String {
        let details = [
            text("status_reason"), text("waiting_for", after: "for "), text("wake_at", after: "due "),
            hasEnded ? "" : text("cancel_requested_at", after: "cancellation requested "),
        ].filter { !$0.isEmpty }
        return details.isEmpty ? "" : " (\(details.joined(separator: ", ")))"
    }

    private func moment(_ column: String) -> String {
        guard let time = workflow[column].microseconds else { return "" }
        return "\(OperatorValue.iso(time / 1_000_000 * 1_000_000)) (\(TimeText.relative(time, now: screen.now)))"
    }

    private var waited: String {
        guard let started = workflow["started_at"].microseconds,
            let ready = [workflow["created_at"], workflow["run_at"]].compactMap(\.microseconds).max(), started > ready
        else { return "" }
        return ", waited \(TimeText.duration(started - ready))"
    }

    private var took: String {
        guard let ended = workflow["completed_at"].microseconds, let began = workflow["started_at"].microseconds else { return "" }
        return ", after \(TimeText.duration(ended - began))"
    }
}
