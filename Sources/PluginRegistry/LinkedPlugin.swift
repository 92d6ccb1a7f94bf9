package import CPawlPlugin
package import WorkflowEngine

/// A plugin that is part of this program, and not a shared library: for tests of its handlers. It is called on the engine's thread.
package final class LinkedPlugin: HandlerHost, @unchecked Sendable {  // constant
    /// What it offers, in the order in which it was declared.
    package let handlers: [HandlerID]
    private let plugin: LoadedPlugin
    private let table: [HandlerID: RegisteredHandler]

    /// - Parameter register: The plugin's `pawl_plugin_register`.
    package init(
        name: String, interceptor: (any StepInterceptor)?, log: @escaping PluginLog, register: (UnsafePointer<pawl_host>) -> Int32
    ) throws(PluginRefusal) {
        plugin = LoadedPlugin(file: name, interceptor: interceptor, log: log)
        let result = register(plugin.table)
        let offered = plugin.closeRegistration()
        if let misuse = offered.misuses.first {
            throw PluginRefusal(.badHandler, file: name, problem: "offers a handler that cannot be taken: \(misuse)", cure: "Mend what it registers.")
        }
        guard result == 0 else {
            throw PluginRefusal(
                .registerFailed, file: name, problem: "refused this host: \(PluginFile.registerSymbol) returned \(result)",
                cure: "The log has what it says about that.")
        }
        handlers = offered.handlers.map(\.id)
        table = Dictionary(uniqueKeysWithValues: offered.handlers.map { ($0.id, $0) })
    }

    package func deliver(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            if case .start(let run) = delivery {
                let id = HandlerID(workflowName: run.workflow.workflowName, workflowVersion: run.workflow.workflowVersion)
                guard let handler = table[id] else {
                    run.finish(.failure(WorkflowError(code: "no_handler", type: "pawl", message: "there is no \(id.quoted)"), reason: "error"))
                    continue
                }
                _ = PluginRun.attach(run, handler: handler, plugin: plugin)
            }
            DeliveryThread.perform(delivery)
        }
    }
}
