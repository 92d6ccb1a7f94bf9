internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow show`
struct WorkflowShowCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show all about one workflow: how it stands, its steps as a timeline, its children.",
        discussion: """
            Each step has a bar from its start to its end, on the scale of the whole workflow: solid while it worked, light while it waited. \
            Children stand below the step that started them: the first \(WorkflowTree.childLimit) of a workflow, and \(WorkflowTree.limit) in all.
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
        var room = WorkflowTree.limit
        let tree = try WorkflowTree(session.workflow(workflowID), session, steps: steps > 0 ? steps : nil, depth: depth, room: &room)
        if screen.json { return print(tree.object.json) }
        for line in WorkflowPortrait(tree, screen).lines { print(line) }
    }
}

/// A workflow with its steps and its children.
struct WorkflowTree {
    /// So many children of one workflow are shown.
    static let childLimit = 50
    /// So many children, their children and so on.
    static let limit = 200

    let workflow: OperatorRow
    let steps: OperatorRows
    let children: [WorkflowTree]
    let hasEarlierSteps: Bool
    let hasMoreChildren: Bool

    /// - Parameter room: how many more workflows may be shown.
    init(_ workflow: OperatorRow, _ session: OperatorSession, steps limit: Int?, depth: Int, room: inout Int) throws {
        self.workflow = workflow
        let key = workflow["workflow_key"].text
        // One more than is shown tells whether there are more.
        let latest = try session.steps(of: key, limit: limit.map { $0 + 1 })
        hasEarlierSteps = limit.map { latest.count > $0 } ?? false
        steps = hasEarlierSteps ? OperatorRows(columns: latest.columns, values: Array(latest.values.dropFirst())) : latest
        let most = depth > 0 ? min(Self.childLimit, room) : 0
        let found = try session.children(of: key, limit: most + 1)
        hasMoreChildren = found.count > most
        let shown = found.prefix(most)
        // All children come before any of theirs.
        room -= shown.count
        children = try shown.map { try WorkflowTree($0, session, steps: limit, depth: depth - 1, room: &room) }
    }

    /// The columns of pawl.workflows, then the steps and the children, and whether that is all of them.
    var object: OperatorRow {
        workflow.adding("steps", .json(steps.json)).adding("has_earlier_steps", .boolean(hasEarlierSteps))
            .adding("children", .json(children.map(\.object).json)).adding("has_more_children", .boolean(hasMoreChildren))
    }
}
