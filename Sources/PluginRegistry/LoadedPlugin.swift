internal import CPawlPlugin
internal import Locking
internal import WorkflowEngine

/// A handler as its plugin registered it.
struct RegisteredHandler {
    let id: HandlerID
    let context: UnsafeMutableRawPointer?
    let start: @convention(c) (UnsafeMutableRawPointer?, OpaquePointer?, UnsafePointer<pawl_start>?) -> UnsafeMutableRawPointer?
    let interrupt: (@convention(c) (UnsafeMutableRawPointer?, pawl_status) -> Void)?
    let release: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
    let interruptStep: (@convention(c) (UnsafeMutableRawPointer?, pawl_scope) -> Void)?
    /// False: built when the interface had neither retries nor cancellation. A step of it that fails is recorded as it is, and a cancellation
    /// comes to it as the stop that it knows.
    let knowsCancellation: Bool
    /// Of steps and transactions that name none.
    var defaultPolicy: RetryPolicy { knowsCancellation ? .standard : .never }
}

/// A plugin's side of the host table: what its registration offered, and where its log goes. It is never freed once its plugin's code has
/// run, because that may keep the table for as long as the process lives.
final class LoadedPlugin: @unchecked Sendable {  // everything is constant but `registration`, which is locked
    /// The plugin's file name.
    let file: String
    let log: PluginLog
    /// nil: every body runs.
    let interceptor: (any StepInterceptor)?
    /// Runs the plugin's share of the deliveries.
    let deliveries: DeliveryThread
    /// The table that it is handed. Stays for the life of the process.
    let table: UnsafePointer<pawl_host>

    private struct Registration {
        var open = true
        var handlers: [RegisteredHandler] = []
        var misuses: [String] = []
    }
    private let registration = Locked(Registration())

    init(file: String, interceptor: (any StepInterceptor)? = nil, log: @escaping PluginLog) {
        self.file = file
        self.interceptor = interceptor
        self.log = log
        deliveries = DeliveryThread(name: file)
        let table = UnsafeMutablePointer<pawl_host>.allocate(capacity: 1)
        self.table = UnsafePointer(table)
        table.initialize(to: PluginHostTable.make(host: nil))
        table.pointee.host = Unmanaged.passRetained(self).toOpaque()
    }

    /// The plugin behind a table's `host`.
    static func of(_ host: UnsafeMutableRawPointer) -> LoadedPlugin { Unmanaged.fromOpaque(host).takeUnretainedValue() }

    /// nil: taken. Otherwise what is wrong with it.
    func register(_ handler: UnsafePointer<pawl_handler>?) -> String? {
        let problem: String? = registration.withLock { registration in
            guard registration.open else { return "register_handler was called after pawl_plugin_register had returned" }
            switch LoadedPlugin.read(handler) {
            case .success(let handler):
                guard !registration.handlers.contains(where: { $0.id == handler.id }) else {
                    return "\(handler.id.quoted) is registered twice"
                }
                registration.handlers.append(handler)
                return nil
            case .failure(let problem): return problem.text
            }
        }
        if let problem {
            registration.withLock { $0.misuses.append(problem) }
            log(PluginLogRecord(level: .error, message: problem, plugin: file))
        }
        return problem
    }

    /// Ends the registration: what it offered, and what was wrong with it.
    func closeRegistration() -> (handlers: [RegisteredHandler], misuses: [String]) {
        registration.withLock { registration in
            registration.open = false
            return (registration.handlers, registration.misuses)
        }
    }

    private struct Problem: Error { let text: String }

    private static func read(_ pointer: UnsafePointer<pawl_handler>?) -> Result<RegisteredHandler, Problem> {
        guard let pointer else { return .failure(Problem(text: "register_handler was called with NULL")) }
        let size = pointer.pointee.size
        // Up to and with `start`; the ends of the members are asserted in CPawlPlugin's shim.c.
        guard size >= 40 else {
            return .failure(Problem(text: "a handler's size is \(size): set it to sizeof (pawl_handler)"))
        }
        guard let name = pointer.pointee.workflow_name.text, !name.isEmpty, name.utf8.count <= 128 else {
            return .failure(Problem(text: "a handler's workflow_name is not a text of 1 to 128 bytes of UTF-8"))
        }
        let id = HandlerID(workflowName: name, workflowVersion: pointer.pointee.workflow_version)
        guard id.workflowVersion >= 1 else {
            return .failure(Problem(text: "\(id.quoted): a version is at least 1"))
        }
        guard let start = pointer.pointee.start else {
            return .failure(Problem(text: "\(id.quoted) has no start function"))
        }
        return .success(
            RegisteredHandler(
                id: id, context: pointer.pointee.context, start: start, interrupt: size >= 48 ? pointer.pointee.interrupt : nil,
                release: size >= 56 ? pointer.pointee.release : nil, interruptStep: size >= 64 ? pointer.pointee.interrupt_step : nil,
                knowsCancellation: size >= 64))
    }
}

extension HandlerID {
    /// As messages name it.
    var quoted: String { "handler \"\(workflowName)\" version \(workflowVersion)" }
}
