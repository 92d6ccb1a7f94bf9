internal import CPluginSupport
internal import Glibc
package import WorkflowEngine

/// Loads and registers a plugin in a child process that is thrown away, so that one which crashes, exits or hangs takes nothing with it.
/// The child is this same program, started with a hidden argument: its `main` calls `runIfRequested` before anything else.
package struct PluginProbe: Sendable {
    /// The program to start: this one, unless a test says otherwise.
    package var program: String
    /// How long loading and registering may take.
    package var deadline: Duration

    package init(program: String = "/proc/self/exe", deadline: Duration = .seconds(10)) {
        self.program = program
        self.deadline = deadline
    }

    private static let argument = "--pawl-plugin-probe"

    /// In a child that was started as a probe: does its work and ends the process. Otherwise returns at once.
    package static func runIfRequested() {
        let arguments = CommandLine.arguments
        guard arguments.count == 5, arguments[1] == argument, let seconds = UInt32(arguments[4]) else { return }
        // Longer than the parent waits: it ends a child whose parent is gone.
        pawl_limit_probe(seconds + 5)
        ProbeChild(path: arguments[2], file: arguments[3]).run()
    }

    /// Probes the library at `path`, which the operator knows as `file`: the handlers it registers, in its order.
    package func handlers(path: String, file: String) throws(PluginRefusal) -> [HandlerID] {
        let ended: ProbeProcess.End
        do {
            let seconds = String(max(1, deadline.components.seconds))
            ended = try ProbeProcess.run(
                program: program, arguments: [CommandLine.arguments.first ?? "pawl", PluginProbe.argument, path, file, seconds], deadline: deadline)
        } catch {
            throw PluginRefusal(
                .probeFailed, file: file, problem: "could not be tried out, because no child process could be started: \(systemMessage(error.number))",
                cure: "Lift what limits processes or memory for the user that runs pawld.")
        }
        return try ProbeReport(ended.report).verdict(on: ended, path: path, file: file, deadline: deadline)
    }
}

/// The child's side.
private struct ProbeChild {
    let path: String
    let file: String

    func run() -> Never {
        ProbeReport.write(.stage("load"))
        switch DynamicLibrary.load(path: path) {
        case .failure(let failure):
            ProbeReport.write(.notLoadable(failure.text))
        case .success(let register):
            let plugin = LoadedPlugin(file: file) { ProbeReport.write(.log($0.level.rawValue, $0.message)) }
            ProbeReport.write(.stage("register"))
            let result = register(plugin.table)
            let offered = plugin.closeRegistration()
            for misuse in offered.misuses { ProbeReport.write(.misuse(misuse)) }
            for handler in offered.handlers { ProbeReport.write(.handler(handler.id)) }
            ProbeReport.write(.result(result))
        }
        // Without the plugin's destructors: it is not their turn to be judged.
        _exit(0)
    }
}

/// What the child says through its pipe: lines of a word and its values, separated by tabs.
private struct ProbeReport {
    enum Line {
        case stage(String)
        case notLoadable(String)
        case log(Int32, String)
        case misuse(String)
        case handler(HandlerID)
        case result(Int32)
    }

    private var stage = ""
    private var notLoadable: String?
    private var complaints: [String] = []
    private var misuses: [String] = []
    private var handlers: [HandlerID] = []
    private var result: Int32?

    static func write(_ line: Line) {
        let fields: [String] =
            switch line {
            case .stage(let stage): ["stage", stage]
            case .notLoadable(let reason): ["not_loadable", reason]
            case .log(let level, let message): ["log", String(level), message]
            case .misuse(let misuse): ["misuse", misuse]
            case .handler(let handler): ["handler", String(handler.workflowVersion), handler.workflowName]
            case .result(let result): ["result", String(result)]
            }
        var text = fields.map(escaped).joined(separator: "\t") + "\n"
        text.withUTF8 { text in
            var rest = UnsafeRawBufferPointer(text)
            while !rest.isEmpty {
                let count = Glibc.write(Int32(PAWL_PROBE_REPORT), rest.baseAddress, rest.count)
                if count < 0 && errno != EINTR { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(max(count, 0)))
            }
        }
    }

    private static func escaped(_ field: String) -> String {
        guard field.utf8.contains(where: { $0 < 32 || $0 == UInt8(ascii: "\\") }) else { return field }
        var text = ""
        for scalar in field.unicodeScalars {
            switch scalar {
            case "\\": text += "\\\\"
            case "\t": text += "\\t"
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    private static func unescaped(_ field: Substring) -> String {
        var text = ""
        var scalars = field.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "\\" else {
                text.unicodeScalars.append(scalar)
                continue
            }
            switch scalars.next() {
            case "t": text += "\t"
            case "n": text += "\n"
            case let other?: text.unicodeScalars.append(other)
            case nil: break
            }
        }
        return text
    }

    init(_ bytes: [UInt8]) {
        // By scalars: a carriage return before the newline would make one character of the two.
        let text = String(decoding: bytes, as: UTF8.self)
        for line in text.unicodeScalars.split(separator: "\n") {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map { ProbeReport.unescaped(Substring($0)) }
            switch (fields[0], fields.count) {
            case ("stage", 2): stage = fields[1]
            case ("not_loadable", 2): notLoadable = fields[1]
            case ("log", 3):
                if let level = Int32(fields[1]), level >= PluginLogRecord.Level.warning.rawValue { complaints.append(fields[2]) }
            case ("misuse", 2): misuses.append(fields[1])
            case ("handler", 3):
                if let version = Int32(fields[1]) { handlers.append(HandlerID(workflowName: fields[2], workflowVersion: version)) }
            case ("result", 2): result = Int32(fields[1])
            default: break
            }
        }
    }

    /// The handlers, if nothing speaks against the plugin.
    func verdict(on end: ProbeProcess.End, path: String, file: String, deadline: Duration) throws(PluginRefusal) -> [HandlerID] {
        let place = stage == "register" ? "in \(PluginFile.registerSymbol)" : "while it was loaded, in a constructor or a static initializer of it"
        let lastWords = end.lastOutput.map { " It printed last: \($0)" } ?? ""
        if let notLoadable {
            throw PluginRefusal(
                .notLoadable, file: file, problem: "cannot be loaded: " + notLoadable.replacing(path, with: file),
                cure: notLoadable.contains("undefined symbol")
                    ? "Link what it uses into it; `pawl plugin build`, or the linker's option -z defs, finds what is missing."
                    : "Install what it needs on this machine, or link that into it.")
        }
        if let result {
            return try registered(result, file: file)
        }
        switch end.how {
        case .timedOut:
            throw PluginRefusal(
                .hung, file: file, problem: "did not return within \(deadline.components.seconds) s \(place)",
                cure: "Nothing may be waited for there: connect, look up and compute in a workflow's steps.\(lastWords)")
        case .signal(let signal):
            throw PluginRefusal(
                .crashed, file: file, problem: "crashed with \(String(cString: pawl_signal_name(signal))) \(place)",
                cure: "Mend it; `pawl plugin check FILE` tries it out in the same way.\(lastWords)")
        case .exit(let status):
            throw PluginRefusal(
                .exited, file: file, problem: "ended its process with exit status \(status) \(place)",
                cure: "A plugin returns from there, and reports a failure by returning something else than 0.\(lastWords)")
        }
    }

    private func registered(_ result: Int32, file: String) throws(PluginRefusal) -> [HandlerID] {
        if let misuse = misuses.first {
            throw PluginRefusal(.badHandler, file: file, problem: "offers a handler that cannot be taken: \(misuse)", cure: "Mend what it registers.")
        }
        guard result == 0 else {
            throw PluginRefusal(
                .registerFailed, file: file, problem: "refused this pawld: \(PluginFile.registerSymbol) returned \(result)",
                cure: complaints.last.map { "It says: \($0)" }
                    ?? "It gave no reason; a plugin that logs one before it returns has it shown here. Often it needs a newer pawld.")
        }
        guard !handlers.isEmpty else {
            throw PluginRefusal(
                .noHandlers, file: file, problem: "registers no handler", cure: "Call register_handler in \(PluginFile.registerSymbol).")
        }
        return handlers
    }
}
