internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow show`
struct WorkflowShowCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show all about one workflow: how it stands, its steps as a timeline, its children.",
        discussion: """
            Each step has a bar from its start to its end, on the scale of the whole workflow: solid while it worked, light while it waited. \
            Children stand below the step that started them.
            """)

    @Argument(help: "The workflow's id.")
    var workflowID: String

    @Option(help: "How many steps of each workflow at most, the last ones; 0: all.")
    var steps = 200

    @Option(help: "How many levels of children.")
    var depth = 3

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard steps >= 0, depth >= 0 else { throw ValidationError("--steps and --depth must not be negative") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let tree = try WorkflowTree(session.workflow(workflowID), session, steps: steps > 0 ? steps : nil, depth: depth)
        if screen.json { return print(tree.object.json) }
        for line in WorkflowPortrait(tree, screen).lines { print(line) }
    }
}

/// A workflow with its steps and its children.
struct WorkflowTree {
    /// So many children of one workflow are shown.
    static let childLimit = 50

    let workflow: OperatorRow
    let steps: OperatorRows
    let children: [WorkflowTree]
    let hasEarlierSteps: Bool
    let hasMoreChildren: Bool

    init(_ workflow: OperatorRow, _ session: OperatorSession, steps limit: Int?, depth: Int) throws {
        self.workflow = workflow
        let key = workflow["workflow_key"].text
        // One more than is shown tells whether there are more.
        let latest = try session.steps(of: key, limit: limit.map { $0 + 1 })
        hasEarlierSteps = limit.map { latest.count > $0 } ?? false
        steps = hasEarlierSteps ? OperatorRows(columns: latest.columns, values: Array(latest.values.dropFirst())) : latest
        let found = depth > 0 ? try session.children(of: key, limit: Self.childLimit + 1) : OperatorRows(columns: [], values: [])
        hasMoreChildren = found.count > Self.childLimit
        children = try found.prefix(Self.childLimit).map { try WorkflowTree($0, session, steps: limit, depth: depth - 1) }
    }

    /// The columns of pawl.workflows, then the steps and the children.
    var object: OperatorRow {
        workflow.adding("steps", .json("[" + steps.map(\.json).joined(separator: ", ") + "]"))
            .adding("children", .json("[" + children.map(\.object.json).joined(separator: ", ") + "]"))
    }
}
