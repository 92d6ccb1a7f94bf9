internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc
internal import MemoryStore
internal import PluginRegistry
internal import WorkflowEngine

/// `pawl plugin replay`
struct PluginReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Say whether a plugin's handlers still fit what was recorded of workflows.",
        discussion: """
            Each history is what `pawl workflow export` writes. The plugin is loaded, and its handler runs against what is recorded: no body of a step \
            runs, and no database is needed. A history does not fit if a step is of another kind now or its result cannot be read, if the handler ends \
            without coming to a recorded step, or if new work begins before it.

            The exit status is 1 if any does not fit, and 2 if the plugin or a history cannot be used.
            """)

    @Argument(help: "The plugin's file (*.so).", completion: .file(extensions: ["so"]))
    var plugin: String

    @Argument(help: "Files with one history each.", completion: .file(extensions: ["json"]))
    var histories: [String]

    @Option(
        name: .long,
        help: "The handler version to run. (default: the workflow's own while the plugin offers it, otherwise the next higher one)")
    var version: Int32?

    @Flag(help: "Write one JSON array instead of text.")
    var json = false

    func run() throws {
        let check = ReplayCheck()
        let loaded = try LoadedForReplay(plugin, check)
        defer { loaded.remove() }
        var reports: [ReplayLine] = []
        for file in histories {
            do {
                guard let bytes = FileManager.default.contents(atPath: file) else { throw CommandFailure("cannot be read") }
                let history: WorkflowHistory = try WorkflowHistory(JSONBytes(bytes))
                let version = try version ?? ReplayCheck.version(for: history, among: loaded.registry.handlers)
                reports.append(ReplayLine(file: file, check.check(history, version: version, handlers: loaded.registry)))
            } catch {
                throw unusable("\(file): \(error)")
            }
        }
        if json {
            try printJSON(reports)
        } else {
            for report in reports { print(report.text.printableLines) }
        }
        guard reports.allSatisfy(\.fits) else { throw ExitCode.failure }
    }
}

/// Says it, and ends the command with status 2.
private func unusable(_ text: String) -> ExitCode {
    Terminal.complain("Error: \(text)")
    return .nothing
}

/// A plugin in this process, from a directory that holds nothing else.
private struct LoadedForReplay {
    let registry: PluginRegistry
    private let directory: String

    init(_ plugin: String, _ interceptor: any StepInterceptor) throws {
        // One that nobody could have prepared, or can enter: what is in it is loaded.
        var template = Array(FileManager.default.temporaryDirectory.appending(path: "pawl-replay-XXXXXX").path.utf8CString)
        guard mkdtemp(&template) != nil else {
            throw CommandFailure("cannot make a temporary directory: \(String(cString: strerror(errno)))")
        }
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let name = plugin.split(separator: "/").last.map(String.init) ?? plugin
        do {
            try FileManager.default.createDirectory(atPath: "\(directory)/plugins", withIntermediateDirectories: false)
            try FileManager.default.copyItem(atPath: plugin, toPath: "\(directory)/plugins/\(name.hasSuffix(".so") ? name : name + ".so")")
        } catch {
            try? FileManager.default.removeItem(atPath: directory)
            throw unusable("\(plugin): cannot be read")
        }
        self.directory = directory
        registry = PluginRegistry(
            directory: "\(directory)/plugins", privateDirectory: "\(directory)/private",
            log: { record in if record.level >= .warning { Terminal.complain("\(record.plugin): \(record.message)") } }, interceptor: interceptor)
        if let refusal = registry.scan().refusals.first {
            remove()
            throw unusable("\(plugin): it \(refusal.problem). \(refusal.cure)")
        }
    }

    func remove() { try? FileManager.default.removeItem(atPath: directory) }
}

/// What `pawl plugin replay` says about a history.
private struct ReplayLine: Encodable {
    struct Problem: Encodable {
        var code: String
        var message: String
        var step: String?
        var kind: String?
        var recordedKind: String?
        var steps: [String]?
        enum CodingKeys: String, CodingKey { case code, message, step, kind, recordedKind = "recorded_kind", steps }
    }

    struct NewWork: Encodable {
        var step: String
        var kind: String
    }

    var file: String
    var workflowID: String
    var workflowName: String
    var workflowVersion: Int32
    var fits: Bool
    var replayed: Int
    var unfinished: [String]
    var newWork: [NewWork]
    var problems: [Problem]

    enum CodingKeys: String, CodingKey {
        case file, workflowID = "workflow_id", workflowName = "workflow_name", workflowVersion = "workflow_version", fits, replayed, unfinished
        case newWork = "new_work", problems
    }

    init(file: String, _ report: ReplayReport) {
        self.file = file
        workflowID = report.workflowID
        workflowName = report.workflowName
        workflowVersion = report.workflowVersion
        fits = report.fits
        replayed = report.replayed
        unfinished = report.unfinished
        newWork = report.newWork.map { NewWork(step: $0.step, kind: $0.kind) }
        problems = report.problems.map { problem in
            var line = Problem(code: problem.code, message: problem.sentence)
            switch problem {
            case .determinism(let step, let kind, let recordedKind, _): (line.step, line.kind, line.recordedKind) = (step, kind, recordedKind)
            case .stepsLeftOut(let steps), .stepsPassedOver(let steps): line.steps = steps
            case .badInput, .stuck: break
            }
            return line
        }
    }

    var text: String {
        let head = "\(file): \(workflowName) version \(workflowVersion) \(fits ? "fits" : "does not fit")"
        guard fits else { return ([head] + problems.map { "  \($0.message)" }).joined(separator: "\n") }
        var parts = ["\(replayed) steps replayed"]
        if !unfinished.isEmpty { parts.append("going on with \(unfinished.joined(separator: ", "))") }
        if !newWork.isEmpty { parts.append("new work begins at \(newWork.map(\.step).joined(separator: ", "))") }
        return "\(head): \(parts.joined(separator: ", "))"
    }
}
