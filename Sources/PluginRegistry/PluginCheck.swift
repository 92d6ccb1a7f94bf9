internal import WorkflowEngine

/// What the loader would say about a file, found out without loading it into this process.
package struct PluginCheck: Sendable {
    package struct Handler: Sendable, Equatable {
        package let workflowName: String
        package let workflowVersion: Int32
    }

    package enum Verdict: Sendable {
        case accepted(PluginFile, [Handler])
        case refused(PluginRefusal)
    }

    /// As it was given.
    package let path: String
    package let verdict: Verdict

    /// Checks files as if they lay in one plugin directory and were loaded in this order.
    package static func check(_ paths: [String], probe: PluginProbe = PluginProbe()) -> [PluginCheck] {
        var owners: [String: (path: String, file: String)] = [:]
        return paths.map { path in
            do throws(PluginRefusal) {
                let file = try PluginFile.inspect(path: path)
                // A path with a slash: otherwise the dynamic linker would search its own directories.
                let offered = try probe.handlers(path: path.contains("/") ? path : "./" + path, file: file.name)
                for handler in offered {
                    if let owner = owners[handler.quoted], owner.path != path {
                        throw PluginRefusal(
                            .conflict, file: file.name, problem: "offers \(handler.quoted), which \(owner.file) has already",
                            cure: "Raise the version in one of them, or use only one of the two.")
                    }
                }
                for handler in offered { owners[handler.quoted] = (path, file.name) }
                let handlers = offered.map { Handler(workflowName: $0.workflowName, workflowVersion: $0.workflowVersion) }
                return PluginCheck(path: path, verdict: .accepted(file, handlers))
            } catch {
                return PluginCheck(path: path, verdict: .refused(error))
            }
        }
    }
}
