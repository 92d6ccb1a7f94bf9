internal import FoundationEssentials
internal import Glibc
internal import PluginRegistry

/// What `pawl plugin check` says about a file, for people and as JSON.
struct PluginReport: Encodable {
    struct Handler: Encodable {
        let workflowName: String
        let workflowVersion: Int32
        enum CodingKeys: String, CodingKey { case workflowName = "workflow_name", workflowVersion = "workflow_version" }
    }

    struct Refusal: Encodable {
        let code: String
        let problem: String
        let cure: String
    }

    var file: String
    let accepted: Bool
    let size: Int?
    var interface: Int?
    var sdk: String?
    var compiler: String?
    var handlers: [Handler]?
    var warnings: [String]?
    var refusal: Refusal?

    init(_ check: PluginCheck) {
        file = check.path
        var status = stat()
        size = stat(check.path, &status) == 0 ? Int(status.st_size) : nil
        switch check.verdict {
        case .accepted(let plugin, let offered):
            accepted = true
            interface = plugin.interfaceVersion
            sdk = plugin.sdk
            compiler = plugin.compiler
            handlers = offered.map { Handler(workflowName: $0.workflowName, workflowVersion: $0.workflowVersion) }
            warnings = plugin.warnings
        case .refused(let reason):
            accepted = false
            refusal = Refusal(code: reason.code.rawValue, problem: reason.problem, cure: reason.cure)
        }
    }

    static func of(_ files: [String]) -> [PluginReport] { PluginCheck.check(files).map(PluginReport.init) }

    var text: String {
        if let refusal { return "\(file): refused: it \(refusal.problem).\n  \(refusal.cure)" }
        let megabytes = size.map { ", \($0 / 1_000_000).\($0 / 100_000 % 10) MB" } ?? ""
        var lines = ["\(file): accepted (\(sdk ?? ""), interface \(interface ?? 0)\(megabytes))"]
        for handler in handlers ?? [] { lines.append("  \(handler.workflowName) version \(handler.workflowVersion)") }
        for warning in warnings ?? [] { lines.append("  warning: \(warning)") }
        return lines.joined(separator: "\n")
    }
}
