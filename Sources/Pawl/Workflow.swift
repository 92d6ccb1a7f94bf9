internal import CPawlPlugin
internal import FoundationEssentials

/// The handler of the workflows of one name and version: what a plugin offers.
///
/// The closure is the workflow. It may run more than once for one workflow (after a crash, an update, a restart), each time from the top, with
/// its recorded steps answered from their checkpoints. So whatever has an effect, or differs from one time to the next (the clock, random
/// numbers, a look at the world), belongs in a step, a transaction or a query.
public struct Workflow: Sendable {
    /// The name that `enqueue_workflow` calls it by.
    public let name: String
    /// The version of this code; workflows in flight go on with the one they began with while a worker offers it.
    public let version: Int
    /// Input and output as JSON texts.
    let run: @Sendable (WorkflowContext, Data) async throws -> Data
    private var compensationLimit: Duration = .hours(1)

    /// The same workflow with another limit for all of its compensations together, instead of one hour.
    ///
    /// It counts from when the first one begins, and anew if a crash or restart interrupts them. An attempt that runs when the time is over is given up, and
    /// those that have not run by then are recorded as failed, with code `timeout`.
    public func compensationLimit(_ limit: Duration) -> Workflow {
        var copy = self
        copy.compensationLimit = limit
        return copy
    }

    /// Runs the handler, and what it wants undone if it fails.
    fileprivate func end(of run: HandlerRun, input: Data) async -> RunEnd {
        let end: RunEnd
        do {
            end = .success(try await self.run(WorkflowContext(run: run, scope: PawlScope.root), input))
        } catch is WorkflowStopped {
            return .stopped
        } catch is WorkflowCancelled {
            end = .cancelled
        } catch {
            end = .failure(WorkflowFailure(recording: error))
        }
        let compensations = run.takeCompensations()
        if compensations.isEmpty { return end }
        // Code that swallowed the cancellation has done nothing since that counts.
        if run.isToldCancelled { return await run.compensate(compensations, after: .cancelled, limit: compensationLimit) }
        if case .success = end { return end }
        return await run.compensate(compensations, after: end, limit: compensationLimit)
    }

    /// Declares a workflow that reads its input as `Input` and ends with an `Output`.
    public init<Input: Decodable & Sendable, Output: Encodable & Sendable>(
        _ name: String, version: Int = 1, _ body: @escaping @Sendable (WorkflowContext, Input) async throws -> Output
    ) {
        self.name = name
        self.version = version
        run = { context, input in
            let input = try PayloadCoding.decodeInput(Input.self, from: input)
            return try PayloadCoding.encodeOutput(try await body(context, input))
        }
    }

    /// Declares a workflow that reads its input as `Input` and ends without an output.
    // Disfavored: a handler with a result means the other one.
    @_disfavoredOverload
    public init<Input: Decodable & Sendable>(
        _ name: String, version: Int = 1, _ body: @escaping @Sendable (WorkflowContext, Input) async throws -> Void
    ) {
        self.name = name
        self.version = version
        run = { context, input in
            try await body(context, try PayloadCoding.decodeInput(Input.self, from: input))
            return PayloadCoding.null
        }
    }

    /// Declares a workflow that needs no input, whatever it was given, and ends with an `Output`.
    public init<Output: Encodable & Sendable>(
        _ name: String, version: Int = 1, _ body: @escaping @Sendable (WorkflowContext) async throws -> Output
    ) {
        self.name = name
        self.version = version
        run = { context, _ in try PayloadCoding.encodeOutput(try await body(context)) }
    }

    /// Declares a workflow that needs no input, whatever it was given, and ends without an output.
    @_disfavoredOverload
    public init(_ name: String, version: Int = 1, _ body: @escaping @Sendable (WorkflowContext) async throws -> Void) {
        self.name = name
        self.version = version
        run = { context, _ in
            try await body(context)
            return PayloadCoding.null
        }
    }

    /// nil, or why it was refused.
    func register(with host: PluginHost) -> String? {
        guard let version32 = Int32(exactly: version) else { return "workflow \"\(name)\": version \(version) is out of range" }
        // Lives as long as the process: the host may start runs at any time.
        let registration = Unmanaged.passRetained(Registration(host: host, workflow: self))
        let status = name.withBytes { name in
            var handler = pawl_handler(
                size: UInt32(MemoryLayout<pawl_handler>.size), workflow_version: version32, workflow_name: name,
                context: registration.toOpaque(),
                start: startRun, interrupt: interruptRun, release: releaseRun, interrupt_step: interruptStep)
            return host.pointee.register_handler(host.pointee.host, &handler)
        }
        guard status == PawlStatus.ok else {
            registration.release()
            return "workflow \"\(name)\" version \(version) was refused: a name has 1 to 128 bytes, a version is at least 1, "
                + "and a plugin offers each name and version once"
        }
        return nil
    }
}

/// A workflow and the host it was registered with.
private final class Registration: Sendable {
    // Safe: the table stays valid and unchanged for the life of the process.
    nonisolated(unsafe) let host: PluginHost
    let workflow: Workflow

    init(host: PluginHost, workflow: Workflow) {
        self.host = host
        self.workflow = workflow
    }
}

// The four functions the host calls, on the plugin's delivery thread, one at a time.

private func startRun(
    context: UnsafeMutableRawPointer?, run: OpaquePointer?, start: UnsafePointer<pawl_start>?
) -> UnsafeMutableRawPointer? {
    guard let context, let run, let start else { return nil }
    let registration = Unmanaged<Registration>.fromOpaque(context).takeUnretainedValue()
    let workflow = registration.workflow
    let input = start.pointee.input.copiedData
    let handlerRun = HandlerRun(host: registration.host, run: run, identity: WorkflowIdentity(start))
    handlerRun.start { handlerRun.end(await workflow.end(of: handlerRun, input: input)) }
    return Unmanaged.passRetained(handlerRun).toOpaque()
}

private func interruptRun(context: UnsafeMutableRawPointer?, reason: pawl_status) {
    guard let context else { return }
    Unmanaged<HandlerRun>.fromOpaque(context).takeUnretainedValue().interrupt(reason)
}

private func interruptStep(context: UnsafeMutableRawPointer?, scope: pawl_scope) {
    guard let context else { return }
    Unmanaged<HandlerRun>.fromOpaque(context).takeUnretainedValue().interruptStep(in: scope)
}

private func releaseRun(context: UnsafeMutableRawPointer?) {
    guard let context else { return }
    Unmanaged<HandlerRun>.fromOpaque(context).release()
}
