public import FoundationEssentials
internal import MemoryStore
public import Pawl
internal import PluginRegistry
internal import WorkflowEngine

/// Whether a handler fits a history.
public struct ReplayResult: Sendable, CustomStringConvertible {
    let report: ReplayReport
    let texts: [String]

    /// It goes on from what is recorded.
    public var fits: Bool { report.fits }
    /// What is in the way, each as a sentence.
    public var problems: [String] { texts }
    /// The version of the handler that was run.
    public var version: Int { Int(report.workflowVersion) }
    /// How many recorded steps it came to.
    public var replayed: Int { report.replayed }
    /// Full names of steps that are recorded and not over: a workflow that has not ended goes on with them.
    public var unfinished: [String] { report.unfinished }
    /// Full names of the steps with which new work would begin, at most one in each branch.
    public var newWork: [String] { report.newWork.map(\.step) }

    public var description: String {
        fits ? "fits: \(replayed) steps are replayed" + (newWork.isEmpty ? "" : ", then \(newWork.joined(separator: ", "))") : texts.joined(separator: "\n")
    }
}

extension WorkflowTest {
    /// Runs a handler against the history of a workflow and says whether it still fits: whether the workflow could go on with it. No body of a step runs, and
    /// nothing is written.
    /// - Parameters:
    ///   - history: What `SELECT pawl.export_workflow('…')` answers, or `pawl workflow export` writes.
    ///   - version: Of the handler; nil: the one that would go on with the workflow, which is its own while the plugin has that, otherwise the next higher one.
    public static func checkReplay(of history: Data, plugin: Plugin, version: Int? = nil) async throws -> ReplayResult {
        let history: WorkflowHistory = try WorkflowHistory(JSONBytes(history))
        let check = ReplayCheck()
        let linked: LinkedPlugin
        do {
            linked = try LinkedPlugin(name: plugin.name, interceptor: check, log: { _ in }, register: { plugin.register(with: $0) })
        } catch {
            throw PluginRefused(description: "\(error.file) \(error.problem). \(error.cure)")
        }
        let version = try version.map { Int32($0) } ?? ReplayCheck.version(for: history, among: linked.handlers)
        let report = await EngineThread.once { check.check(history, version: version, handlers: linked) }
        return ReplayResult(report: report, texts: report.problems.map(\.sentence))
    }
}
