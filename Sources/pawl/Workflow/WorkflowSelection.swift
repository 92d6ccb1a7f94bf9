internal import ArgumentParser
internal import PostgresStore

/// The workflows that a command changes: by their ids, or all that match a filter.
struct WorkflowSelection: ParsableArguments {
    @Argument(help: ArgumentHelp("The workflows' ids, instead of a filter.", valueName: "workflow-id"))
    var ids: [String] = []

    @OptionGroup var filter: WorkflowFilterOptions

    @Flag(name: .shortAndLong, help: "Do not ask before what a filter matched is changed.")
    var yes = false

    func validate() throws {
        guard ids.isEmpty != filter.filter.isEmpty else {
            throw ValidationError(
                ids.isEmpty
                    ? "say which workflows: by their ids, or by a filter such as --name ship_order --older-than 30d"
                    : "give ids or a filter, not both")
        }
    }

    /// What one transaction changes.
    private static let batch = 500

    /// Does it to all of them, batch by batch.
    /// - Parameters:
    ///   - verb: for the question: “Cancel”.
    ///   - done: for the answer: “Cancelled”.
    ///   - unchanged: why some were not changed: “had ended”.
    func apply(
        _ action: WorkflowAction, _ session: OperatorSession, _ screen: Screen, verb: String, done: String, unchanged: String
    ) throws {
        let targets = try matching(action.statuses, session)
        if targets.isEmpty {
            screen.say("No workflow matches.", [])
            throw ExitCode.nothing
        }
        if ids.isEmpty { try screen.confirm("\(verb) \(targets.count.counted("workflow"))", unless: yes) }

        var changed: Set<String> = []
        var progress = ProgressBar(verb, total: targets.count)
        do {
            for start in stride(from: 0, to: targets.count, by: Self.batch) {
                let batch = Array(targets[start..<min(start + Self.batch, targets.count)])
                changed.formUnion(try session.perform(action, on: batch, evenIfGone: ids.isEmpty))
                progress.advance(by: batch.count)
            }
        } catch {
            progress.end()
            if !changed.isEmpty { screen.note("\(done) \(changed.count.counted("workflow")) before this:") }
            throw error
        }
        progress.end()
        let rest = targets.count - changed.count
        let sentence = changed.isEmpty ? "Nothing was changed: " : "\(done) \(changed.count.counted("workflow"))" + (rest > 0 ? "; " : ".")
        screen.say(
            sentence + (rest > 0 ? "\(rest.grouped) \(unchanged)." : ""),
            targets.map { ["workflow_id": .text($0), "changed": .boolean(changed.contains($0))] })
        if changed.isEmpty { throw ExitCode.nothing }
    }

    /// A filter means those that there is something to do about, unless it names a status itself.
    private func matching(_ statuses: [String], _ session: OperatorSession) throws -> [String] {
        guard ids.isEmpty else {
            var seen: Set<String> = []
            return ids.filter { seen.insert($0).inserted }
        }
        var filter = filter.filter
        if filter.statuses.isEmpty { filter.statuses = statuses }
        return try session.workflowIDs(filter)
    }
}
