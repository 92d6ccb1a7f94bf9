internal import Glibc
internal import Locking
package import WorkflowEngine

/// Finds, checks and loads the plugins of a directory, and runs their handlers for the engine. A plugin that cannot be used is refused
/// with a reason, and takes nothing else with it; one that is loaded stays for the life of the process.
package final class PluginRegistry: HandlerHost {
    private struct Table {
        var handlers: [HandlerID: (handler: RegisteredHandler, plugin: LoadedPlugin)] = [:]
        var plugins: [PluginScan.Plugin] = []
        /// Private copies that are loaded, and the file names they came from.
        var loaded: [String: String] = [:]
    }

    private let directory: String
    private let privateDirectory: String
    private let log: PluginLog
    private let probe: PluginProbe
    private let loader: PluginLoader
    private let interceptor: (any StepInterceptor)?
    private let table = Locked(Table())
    /// Held through a whole scan.
    private let scanning = Locked(())

    /// - Parameters:
    ///   - directory: Where the plugins (`*.so`) are.
    ///   - privateDirectory: Where their copies are loaded from: made if it is not there, with mode 0700, and refused if others can write it
    ///     or it is mounted noexec, as /run often is.
    ///   - log: Takes what plugins log, and what there is to say about them while they run.
    ///   - probe: How a plugin is tried out; its deadline also holds for loading it here.
    ///   - interceptor: What is asked before the bodies of its steps run; nil: they run.
    package init(
        directory: String, privateDirectory: String, log: @escaping PluginLog, probe: PluginProbe = PluginProbe(),
        interceptor: (any StepInterceptor)? = nil
    ) {
        self.interceptor = interceptor
        self.directory = directory
        self.privateDirectory = privateDirectory
        self.log = log
        self.probe = probe
        loader = PluginLoader(deadline: probe.deadline)
    }

    /// Every handler that can run here, sorted by name and version.
    package var handlers: [HandlerID] {
        table.withLock { Array($0.handlers.keys) }.sorted { ($0.workflowName, $0.workflowVersion) < ($1.workflowName, $1.workflowVersion) }
    }

    /// Looks into the directory and loads what is new there, in the order of the file names. Blocks while it does: seconds, if a plugin
    /// hangs. Any thread; the engine goes on meanwhile.
    package func scan() -> PluginScan {
        scanning.withLock { _ in
            var found = Findings()
            do throws(PluginRefusal) {
                let copies = try PrivateDirectory(path: privateDirectory)
                for file in try fileNames() {
                    do throws(PluginRefusal) {
                        try consider(file, copies, &found)
                    } catch {
                        found.refusals.append(error)
                    }
                }
            } catch {
                found.refusals.append(error)
            }
            return PluginScan(
                plugins: table.withLock { $0.plugins }, loaded: found.loaded, refusals: found.refusals, warnings: found.warnings)
        }
    }

    private struct Findings {
        var loaded: [String] = []
        var refusals: [PluginRefusal] = []
        var warnings: [String] = []
    }

    /// The plugins in the directory, sorted. Hidden files are somebody's temporary ones.
    private func fileNames() throws(PluginRefusal) -> [String] {
        guard let stream = opendir(directory) else {
            throw PluginRefusal(
                .unreadable, file: directory, problem: "cannot be read: \(systemMessage(errno))",
                cure: "Make the plugin directory, readable for the user that runs pawld, or name another with --plugin-directory.")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: entry.pointee.d_name)) { String(cString: $0) }
            }
            if name.hasSuffix(".so"), !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    private func consider(_ file: String, _ copies: PrivateDirectory, _ found: inout Findings) throws(PluginRefusal) {
        let bytes = try FileBytes.read(path: "\(directory)/\(file)")
        let facts = try PluginFile.inspect(bytes.buffer, name: file)
        let copy = try copies.copy(bytes, name: file)
        let identity = String(copy.suffix(35))
        if let twin = table.withLock({ $0.loaded[identity] }) {
            if twin != file { found.warnings.append("\(file) is the same plugin as \(twin), which is loaded: ignored") }
            return
        }
        found.warnings += facts.warnings
        let offered = try probe.handlers(path: copy, file: file)
        let kept = try keptHandlers(among: offered, file: file)
        guard kept.count < offered.count else { throw changed(file, kept) }
        let (plugin, handlers) = try loader.load(path: copy, file: file, interceptor: interceptor, log: log)
        // Again, because what a plugin registers is its own decision, each time.
        let keptNow = try keptHandlers(among: handlers.map(\.id), file: file)
        table.withLock { table in
            for handler in handlers where !keptNow.contains(handler.id) { table.handlers[handler.id] = (handler, plugin) }
            table.plugins.append(
                PluginScan.Plugin(
                    file: file, handlers: handlers.map(\.id).filter { !keptNow.contains($0) }, sdk: facts.sdk, compiler: facts.compiler))
            table.loaded[identity] = file
        }
        found.loaded.append(file)
        if !keptNow.isEmpty { found.refusals.append(changed(file, keptNow)) }
    }

    /// Those that an earlier build of the same file has already. Another file that has one refuses the whole plugin.
    private func keptHandlers(among offered: [HandlerID], file: String) throws(PluginRefusal) -> Set<HandlerID> {
        var kept: Set<HandlerID> = []
        for id in offered {
            guard let owner = table.withLock({ $0.handlers[id]?.plugin.file }) else { continue }
            guard owner == file else {
                throw PluginRefusal(
                    .conflict, file: file, problem: "offers \(id.quoted), which \(owner) has already",
                    cure: "Raise the version in one of them, or remove one of the two files and restart pawld.")
            }
            kept.insert(id)
        }
        return kept
    }

    private func changed(_ file: String, _ kept: Set<HandlerID>) -> PluginRefusal {
        let names = kept.map(\.quoted).sorted().joined(separator: ", ")
        return PluginRefusal(
            .changed, file: file, problem: "has changed, but the build of it that is loaded keeps \(names)",
            cure: "Raise the version of a workflow that changed, so that both run side by side; or restart pawld to replace the old one.")
    }

    package func deliver(_ deliveries: [Delivery]) {
        var handlers: [HandlerID: (handler: RegisteredHandler, plugin: LoadedPlugin)]?
        var batches = DeliveryBatches()
        for delivery in deliveries {
            switch delivery {
            case .start(let run):
                let table = handlers ?? self.table.withLock { $0.handlers }
                handlers = table
                let id = HandlerID(workflowName: run.workflow.workflowName, workflowVersion: run.workflow.workflowVersion)
                guard let (handler, plugin) = table[id] else {
                    run.finish(
                        .failure(
                            WorkflowError(code: "no_handler", type: "pawl", message: "this worker claimed the workflow, but has no \(id.quoted)"),
                            reason: "error"))
                    continue
                }
                _ = PluginRun.attach(run, handler: handler, plugin: plugin)
                batches.append(delivery, for: plugin)
            case .answer(let run, _, _), .interrupt(let run, _), .interruptStep(let run, _), .release(let run):
                guard let plugin = PluginRun.of(run)?.plugin else { continue }
                batches.append(delivery, for: plugin)
            }
        }
        batches.send()
    }
}

/// Deliveries of one tick, by plugin: there are few plugins, and mostly one.
private struct DeliveryBatches {
    private var plugins: [LoadedPlugin] = []
    private var batches: [[Delivery]] = []

    mutating func append(_ delivery: Delivery, for plugin: LoadedPlugin) {
        if let index = plugins.firstIndex(where: { $0 === plugin }) {
            batches[index].append(delivery)
        } else {
            plugins.append(plugin)
            batches.append([delivery])
        }
    }

    func send() {
        for (plugin, batch) in zip(plugins, batches) { plugin.deliveries.append(batch) }
    }
}
