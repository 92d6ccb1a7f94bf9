internal import CPluginSupport
internal import Glibc
internal import Locking
internal import WorkflowEngine

/// Loads a probed plugin into this process, on a thread of its own, so that one which never returns holds up nobody for ever.
final class PluginLoader: Sendable {
    private let deadline: Duration
    /// A plugin whose constructor did not return holds the dynamic linker's lock: loading another would wait for it.
    private let stuck = Locked<String?>(nil)

    init(deadline: Duration) { self.deadline = deadline }

    /// The plugin and what it registered.
    func load(path: String, file: String, interceptor: (any StepInterceptor)?, log: @escaping PluginLog) throws(PluginRefusal) -> (
        plugin: LoadedPlugin, handlers: [RegisteredHandler]
    ) {
        if let stuck = stuck.withLock({ $0 }) {
            throw PluginRefusal(
                .hung, file: file, problem: "was not loaded, because \(stuck) is still being loaded and never returns",
                cure: "Remove \(stuck) from the plugin directory and restart pawld.")
        }
        let attempt = LoadAttempt(path: path, plugin: LoadedPlugin(file: file, interceptor: interceptor, log: log))
        guard let end = attempt.run(deadline: deadline) else {
            let isLoaded = attempt.isLoaded
            if !isLoaded { stuck.withLock { $0 = file } }
            throw PluginRefusal(
                .hung, file: file,
                problem: "did not return within \(deadline.components.seconds) s "
                    + (isLoaded ? "in \(PluginFile.registerSymbol)" : "while it was loaded, in a constructor or a static initializer of it")
                    + ", though it did in its trial",
                cure: "Nothing may be waited for there. Remove it"
                    + (isLoaded ? "." : " and restart pawld: until then it keeps the dynamic linker, and no other plugin can be loaded."))
        }
        switch end {
        case .notLoadable(let reason):
            throw PluginRefusal(
                .notLoadable, file: file, problem: "cannot be loaded: " + reason.replacing(path, with: file),
                cure: "Install what it needs on this machine, or link that into it.")
        case .registered(let result):
            let offered = attempt.plugin.closeRegistration()
            if let misuse = offered.misuses.first {
                throw PluginRefusal(.badHandler, file: file, problem: "offers a handler that cannot be taken: \(misuse)", cure: "Mend what it registers.")
            }
            guard result == 0 else {
                throw PluginRefusal(
                    .registerFailed, file: file, problem: "refused this pawld: \(PluginFile.registerSymbol) returned \(result)",
                    cure: "The log has what it says about that.")
            }
            return (attempt.plugin, offered.handlers)
        }
    }
}

/// One load, shared by the thread that does it and the one that waits: whoever is last frees it.
private final class LoadAttempt: @unchecked Sendable {  // `end` and `loaded` are locked, the rest is constant
    enum End {
        case notLoadable(String)
        case registered(Int32)
    }

    let plugin: LoadedPlugin
    private let path: String
    private let end = Locked<End?>(nil)
    private let loaded = Locked(false)
    private let done = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init(path: String, plugin: LoadedPlugin) {
        self.path = path
        self.plugin = plugin
        sem_init(done, 0, 0)
    }

    deinit {
        sem_destroy(done)
        done.deallocate()
    }

    /// nil: it did not return in time. The thread is left to itself, and what it comes to is ignored.
    func run(deadline: Duration) -> End? {
        BackgroundThread.start(name: "load plugin") { [self] in
            let end: End =
                switch DynamicLibrary.load(path: path) {
                case .failure(let failure): .notLoadable(failure.text)
                case .success(let register): .registered(call(register))
                }
            self.end.withLock { $0 = end }
            sem_post(done)
        }
        guard pawl_wait(done, UInt32(deadline / .milliseconds(1))) else {
            _ = plugin.closeRegistration()
            return nil
        }
        return end.withLock { $0 }
    }

    /// Whether its constructors have returned.
    var isLoaded: Bool { loaded.withLock { $0 } }

    private func call(_ register: DynamicLibrary.Register) -> Int32 {
        loaded.withLock { $0 = true }
        return register(plugin.table)
    }
}
