internal import CPawlPlugin
internal import Synchronization
internal import WorkflowEngine

/// What a `pawl_run` points at: one run between the engine and its plugin, from the start to the release that end its life.
final class PluginRun: @unchecked Sendable {  // constant, but for `context` and `wasInterrupted`, which only the delivery thread touches
    let run: WorkflowRun
    let handler: RegisteredHandler
    let plugin: LoadedPlugin
    private var context: UnsafeMutableRawPointer?
    private var wasInterrupted = false
    private let finished = Atomic<Bool>(false)

    init(_ run: WorkflowRun, handler: RegisteredHandler, plugin: LoadedPlugin) {
        self.run = run
        self.handler = handler
        self.plugin = plugin
    }

    /// Puts it where the deliveries about the run find it. It stays until `release`.
    static func attach(_ run: WorkflowRun, handler: RegisteredHandler, plugin: LoadedPlugin) -> PluginRun {
        let pluginRun = PluginRun(run, handler: handler, plugin: plugin)
        run.hostContext = Unmanaged.passRetained(pluginRun).toOpaque()
        return pluginRun
    }

    /// nil: there is no handler for the run here.
    static func of(_ run: WorkflowRun) -> PluginRun? {
        run.hostContext.map { Unmanaged.fromOpaque($0).takeUnretainedValue() }
    }

    /// The run that a plugin names.
    static func of(_ pointer: OpaquePointer?) -> PluginRun? {
        pointer.map { Unmanaged.fromOpaque(UnsafeRawPointer($0)).takeUnretainedValue() }
    }

    /// Hands the run to the plugin's handler.
    func start() {
        let workflow = run.workflow
        context = withBytes(workflow.workflowID) { workflowID in
            withBytes(workflow.workflowName) { workflowName in
                withBytes(workflow.queue) { queue in
                    withBytes(workflow.partitionKey) { partitionKey in
                        withBytes(workflow.parentWorkflowID) { parentWorkflowID in
                            withBytes(workflow.input) { input in
                                withBytes(workflow.headers) { headers in
                                    withBytes(workflow.attributes) { attributes in
                                        // Every claim raises the epoch, so it counts the runs.
                                        var start = pawl_start(
                                            size: .size(of: pawl_start.self), workflow_version: workflow.workflowVersion,
                                            recoveries: workflow.recoveries, priority: workflow.priority, workflow_id: workflowID,
                                            workflow_name: workflowName, queue: queue, partition_key: partitionKey, input: input,
                                            headers: headers, attributes: attributes, created_at: workflow.createdAt,
                                            deadline_at: workflow.deadlineAt ?? 0, parent_workflow_id: parentWorkflowID,
                                            attempt: workflow.fence.epoch, reserved: 0)
                                        return handler.start(handler.context, OpaquePointer(Unmanaged.passUnretained(self).toOpaque()), &start)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    func interrupt(_ reason: InterruptReason) {
        if !handler.knowsCancellation {
            // It knows one reason, and that it comes at most once.
            if wasInterrupted { return }
            wasInterrupted = true
        }
        handler.interrupt?(context, pawl_status(reason == .cancelled && handler.knowsCancellation ? PAWL_CANCELLED : PAWL_STOPPED))
    }

    func interruptStep(_ scope: ScopeID) { handler.interruptStep?(context, scope) }

    func answerCancelled(_ receiver: CallReceiver) { receiver.call(handler.knowsCancellation ? .cancelled : .stopped) }

    /// Tells the plugin that the run is over, and lets go of it.
    func release() {
        handler.release?(context)
        run.hostContext = nil
        Unmanaged.passUnretained(self).release()
    }

    /// The run's end, once.
    func finish(_ outcome: PluginOutcome) {
        guard !finished.exchange(true, ordering: .relaxed) else {
            log(.error, "the handler called finish a second time: ignored")
            return
        }
        if case .malformed(let error) = outcome {
            log(.error, "the handler finished with a malformed outcome: \(error.message)")
        }
        run.finish(outcome.ofRun)
    }

    func log(_ level: PluginLogRecord.Level, _ message: String) {
        plugin.log(
            PluginLogRecord(
                level: level, message: message, plugin: plugin.file, workflowID: run.workflow.workflowID, epoch: run.workflow.fence.epoch))
    }
}
