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
        /// What else it reaches than those that are named or counted: “all their children”.
        var scope = ""
        /// Why one was not changed: “had ended”.
        var unchanged = ""
        /// Nil: for several reasons, and the command for one of them alone says which.
        var severalUnchanged: String?

        /// `3 workflows and all their children`
        func targets(_ count: Int) -> String {
            count.counted("workflow") + (scope.isEmpty ? "" : " and " + (count == 1 ? scope.replacing("their", with: "its") : scope))
        }

        /// `Redacted 3 of 5 workflows and all their children; 2 were left out: …`
        func answer(_ changed: Int, of count: Int) -> String {
            let rest = count - changed
            let what = changed > 0 ? "\(done) \(rest > 0 ? "\(changed.grouped) of " : "")\(targets(count))" : "Nothing was changed"
            guard rest > 0 else { return what + "." }
            let why = severalUnchanged ?? "\(rest == 1 ? "was" : "were") left out: `pawl workflow \(verb.lowercased()) ID` says why"
            return "\(what); \(rest.grouped) \(why)."
        }
    }

    /// Does it to all of them.
    func apply(_ action: WorkflowAction, _ words: Words, _ session: OperatorSession, _ screen: Screen) throws {
        if ids.count == 1 {
            // Of a single one the server says why it cannot be done.
            let changed = try session.perform(action, on: ids[0])
            let object: OperatorRow = ["workflow_id": .text(ids[0]), "changed": .boolean(changed)]
            screen.say(changed ? "\(words.done) \(words.targets(1))." : "Nothing was changed: it \(words.unchanged).", [object])
            if !changed { throw ExitCode.nothing }
            return
        }
        let targets = try targets(in: action.statuses, words, session, screen)
        let changed = try inBatches(targets, words, screen) { try session.perform(action, on: $0) }
        if !screen.json { print(words.answer(changed, of: targets.count)) }
        if changed == 0 { throw ExitCode.nothing }
    }

    /// Those that are meant. What a filter found is counted, and asked about; it means those in `statuses`, unless it names some itself.
    func targets(in statuses: [String], _ words: Words, _ session: OperatorSession, _ screen: Screen) throws -> WorkflowTargets {
        guard ids.isEmpty else {
            // By bytes: texts that look alike are different ids.
            var seen: Set<[UInt8]> = []
            return .named(ids.filter { seen.insert(Array($0.utf8)).inserted })
        }
        var filter = filter.filter
        if filter.statuses.isEmpty { filter.statuses = statuses }
        let found = try session.workflowKeys(filter)
        if found.isEmpty {
            screen.say("No workflow matches.", [])
            throw ExitCode.nothing
        }
        try screen.confirm("\(words.verb) \(words.targets(found.count))", unless: yes)
        return .found(found)
    }

    /// Runs `change` for so many at a time as one transaction should change, with a progress bar, and returns how many it changed. What became of each
    /// batch is told at once: by --json, otherwise in lines, if there are any. So it is known also if the rest fails.
    func inBatches(
        _ targets: WorkflowTargets, _ words: Words, _ screen: Screen, line: ((OperatorRow) -> String)? = nil,
        _ change: (WorkflowTargets) throws -> OperatorRows
    ) throws -> Int {
        var changed = 0
        var listing = screen.listing([], empty: "")
        let tells = screen.json || line != nil
        var progress = ProgressBar(words.verb, total: tells && Terminal.outputIsTerminal ? 0 : targets.count)
        do {
            for batch in targets.batches(of: 500) {
                let rows = try change(batch)
                let done = rows.filter { $0["changed"].isTrue }
                changed += done.count
                if screen.json { listing.add(rows) } else if let line { for row in done { print(line(row)) } }
                progress.advance(by: batch.count)
            }
        } catch {
            progress.end()
            if screen.json, listing.count > 0 { listing.end() }
            if changed > 0 { screen.note("\(words.done) \(words.targets(changed)) before this:") }
            throw error
        }
        progress.end()
        if screen.json { listing.end() }
        return changed
    }
}
