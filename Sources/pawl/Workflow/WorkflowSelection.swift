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

    /// How a command speaks of what it does.
    struct Words {
        /// For the question: “Cancel”.
        let verb: String
        /// For the answer: “Cancelled”.
        let done: String
        /// Why some were not changed: “had ended”.
        var unchanged = ""
    }

    /// Does it to all of them.
    func apply(_ action: WorkflowAction, _ words: Words, _ session: OperatorSession, _ screen: Screen) throws {
        let targets = try targets(in: action.statuses, words, session, screen)
        var changed: Set<String> = []
        try inBatches(targets, words, screen) { batch in
            // Of a single one the server says why it cannot be done.
            let done =
                try ids.count == 1
                ? (session.perform(action, on: ids[0]) ? ids : []) : session.perform(action, on: batch, evenIfGone: ids.isEmpty)
            changed.formUnion(done)
            return done.count
        }
        let rest = targets.count - changed.count
        let sentence =
            changed.isEmpty ? "Nothing was changed: " : "\(words.done) \(changed.count.counted("workflow"))" + (rest > 0 ? "; " : ".")
        screen.say(
            sentence + (rest > 0 ? "\(rest.grouped) \(words.unchanged)." : ""),
            targets.map { ["workflow_id": .text($0), "changed": .boolean(changed.contains($0))] })
        if changed.isEmpty { throw ExitCode.nothing }
    }

    /// The ids of those that are meant. What a filter found is counted, and asked about; it means those in `statuses`, unless it names some itself.
    func targets(in statuses: [String], _ words: Words, _ session: OperatorSession, _ screen: Screen) throws -> [String] {
        guard ids.isEmpty else {
            var seen: Set<String> = []
            return ids.filter { seen.insert($0).inserted }
        }
        var filter = filter.filter
        if filter.statuses.isEmpty { filter.statuses = statuses }
        let found = try session.workflowIDs(filter)
        if found.isEmpty {
            screen.say("No workflow matches.", [])
            throw ExitCode.nothing
        }
        try screen.confirm("\(words.verb) \(found.count.counted("workflow"))", unless: yes)
        return found
    }

    /// Runs `change` for so many at a time as one transaction should change, with a progress bar. It returns how many it changed; if it fails on the
    /// way, what was done before is said.
    func inBatches(_ targets: [String], _ words: Words, _ screen: Screen, _ change: ([String]) throws -> Int) throws {
        let size = 500
        var changed = 0
        var progress = ProgressBar(words.verb, total: targets.count)
        do {
            for start in stride(from: 0, to: targets.count, by: size) {
                let batch = Array(targets[start..<min(start + size, targets.count)])
                changed += try change(batch)
                progress.advance(by: batch.count)
            }
        } catch {
            progress.end()
            if changed > 0 { screen.note("\(words.done) \(changed.counted("workflow")) before this:") }
            throw error
        }
        progress.end()
    }
}
