internal import ArgumentParser
internal import PostgresStore

/// `pawl workflow list`
struct WorkflowListCommand: OperatorCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List workflows, the newest first.")

    @OptionGroup var filter: WorkflowFilterOptions

    @Option(help: "How many at most; 0: all.")
    var limit = 50

    @OptionGroup var options: OperatorOptions

    func validate() throws {
        guard limit >= 0 else { throw ValidationError("--limit must not be negative") }
    }

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        var listing = screen.listing(
            [
                TableColumn("workflow_id", "workflow"), TableColumn("workflow_name", "name"), "status", "queue", "created_at", "completed_at",
                "error",
            ], empty: "No workflow matches.")
        var hasMore = false
        // One more than asked for tells whether there are more.
        try session.workflows(filter.filter, limit: limit > 0 ? limit + 1 : nil) { page in
            let room = limit > 0 ? limit - listing.count : page.count
            hasMore = page.count > room
            listing.add(OperatorRows(columns: page.columns, values: Array(page.values.prefix(room))))
            return true
        }
        listing.end()
        if hasMore { screen.note("There are more: --limit \(limit * 10) shows more of them, --limit 0 all.") }
    }
}
