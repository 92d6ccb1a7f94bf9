internal import CPawlPlugin
internal import FoundationEssentials
internal import Locking
internal import Synchronization

/// How a handler's run ended.
enum RunEnd: Sendable {
    case success(Data)
    case failure(WorkflowFailure)
    /// It was told that the workflow is being cancelled.
    case cancelled
    case stopped
}

/// One run of a handler: the only type that holds the host's `pawl_run`, and the gate that no call passes once the run has ended.
///
/// The gate is needed because the host may free its side as soon as the run has finished, while a task that the handler left behind, or
/// another branch of an abandoned run, can still be about to call.
// Unchecked: `gate` orders every access to `outcome`; the host's two pointers are made for any thread.
final class HandlerRun: @unchecked Sendable {
    let identity: WorkflowIdentity
    /// What several threads share.
    private struct Shared {
        /// The task that runs the handler, and the one that undoes. They keep this run only until they end.
        var handler: Task<Void, Never>?
        var compensating: Task<RunEnd, Never>?
        var interruptedBy: pawl_status?
        var timedBodies: [pawl_scope: TimedBody] = [:]
        var compensations: [Compensation] = []
    }

    private let shared = Locked(Shared())
    private let host: PluginHost
    private let run: OpaquePointer
    /// Calls inside the host, times `call`, plus the bits `closed` and `finished`.
    private let gate = Atomic<Int>(0)
    private let ending = Atomic<Bool>(false)
    private var outcome: RunEnd?
    /// Whether some call was answered that the workflow is being cancelled. A handler that was done before it was told has done its work.
    private let toldCancelled = Atomic<Bool>(false)
    var isToldCancelled: Bool { toldCancelled.load(ordering: .relaxed) }
    func tellCancelled() { toldCancelled.store(true, ordering: .relaxed) }
    /// How often the host answered that the run is over.
    private let stops = Atomic<Int>(0)

    private static let closed = 1, finished = 2, call = 4
    /// Code that goes on calling after being told this often to stop is never resumed again.
    static let tarpitAfter = 64

    init(host: PluginHost, run: OpaquePointer, identity: WorkflowIdentity) {
        self.host = host
        self.run = run
        self.identity = identity
    }

    // MARK: The handler's task

    /// Starts the handler. The host may interrupt it from here on.
    func start(_ body: @escaping @Sendable () async -> Void) {
        let task = Task.detached { await body() }
        let isInterrupted = shared.withLock { shared in
            shared.handler = task
            return shared.interruptedBy != nil
        }
        if isInterrupted { task.cancel() }
    }

    /// The host wants the run to stop soon, so whatever runs in a body hears of it as task cancellation. Durable calls do not look at that: the host
    /// answers them. Compensations only hear of a stop.
    func interrupt(_ reason: pawl_status) {
        let (handler, compensating) = shared.withLock { shared in
            if shared.interruptedBy != PawlStatus.stopped { shared.interruptedBy = reason }
            return (shared.handler, reason == PawlStatus.stopped ? shared.compensating : nil)
        }
        handler?.cancel()
        compensating?.cancel()
    }

    /// Runs `body` in a task that only a stop of the run cancels.
    func runCompensating(_ body: @escaping @Sendable () async -> RunEnd) async -> RunEnd {
        let task = Task.detached { await body() }
        let isStopped = shared.withLock { shared in
            shared.compensating = task
            return shared.interruptedBy == PawlStatus.stopped
        }
        if isStopped { task.cancel() }
        return await task.value
    }

    /// What is to be undone, the last one first; nothing is left.
    func takeCompensations() -> [Compensation] {
        shared.withLock { shared in
            defer { shared.compensations = [] }
            return shared.compensations.reversed()
        }
    }

    func add(_ compensation: Compensation) { shared.withLock { $0.compensations.append(compensation) } }

    /// nil: none any more.
    func setTimedBody(_ body: TimedBody?, in scope: pawl_scope) { shared.withLock { $0.timedBodies[scope] = body } }

    func interruptStep(in scope: pawl_scope) { shared.withLock { $0.timedBodies[scope] }?.interrupt() }

    // MARK: Calls

    func offers(_ function: HostFunction) -> Bool { function.isOffered(by: host) }

    /// Calls the host. nil: the run has ended, and the host was not called.
    func call<Answer>(_ body: (PluginHost, OpaquePointer) -> Answer) -> Answer? {
        let state = gate.add(HandlerRun.call, ordering: .acquiring).newValue
        defer { leave() }
        guard state & HandlerRun.closed == 0 else { return nil }
        return body(host, run)
    }

    /// Ends the run, once; later ends are ignored. The host hears of it when the last call has left it.
    func end(_ end: RunEnd) {
        // The first to get here owns `outcome`: it is written before the gate closes and read after.
        guard ending.exchange(true, ordering: .acquiringAndReleasing) == false else { return }
        outcome = end
        // What nobody will undo any more may hold on to this run.
        shared.withLock { $0.compensations = [] }
        gate.add(HandlerRun.call, ordering: .relaxed)
        gate.bitwiseOr(HandlerRun.closed, ordering: .acquiringAndReleasing)
        leave()
    }

    private func leave() {
        let state = gate.subtract(HandlerRun.call, ordering: .acquiringAndReleasing).newValue
        guard state == HandlerRun.closed else { return }
        // Nobody is inside, and nobody who comes later gets past `closed`: whoever sets `finished` reports.
        let (first, _) = gate.compareExchange(
            expected: HandlerRun.closed, desired: HandlerRun.closed | HandlerRun.finished, ordering: .acquiringAndReleasing)
        guard first, let outcome else { return }
        finish(outcome)
    }

    private func finish(_ end: RunEnd) {
        switch end {
        case .success(let output):
            output.withBytes { value in
                var result = pawl_result(size: PawlSize.result, status: PawlStatus.ok, value: value, error: nil)
                host.pointee.finish(run, &result)
            }
        case .failure(let failure):
            failure.withResult { host.pointee.finish(run, $0) }
        case .cancelled: withStatus(PawlStatus.cancelled) { host.pointee.finish(run, $0) }
        case .stopped: withStatus(PawlStatus.stopped) { host.pointee.finish(run, $0) }
        }
    }

    /// What a call does that came after the end.
    func refuse() async throws -> Never {
        guard stops.load(ordering: .relaxed) == 0 else { try await stop() }
        throw WorkflowMisuse(
            code: "run_ended",
            message:
                "the handler of workflow \"\(identity.workflowID)\" has returned, but a task that it left behind still uses its context; "
                + "await every task before returning")
    }

    /// Leaves the handler by an error. Code that catches it and goes on is stopped for good after a while: it is never resumed, and the host
    /// is told that the run ended.
    func stop() async throws -> Never {
        if stops.add(1, ordering: .relaxed).newValue > HandlerRun.tarpitAfter {
            end(.stopped)
            await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in }
        }
        throw WorkflowStopped()
    }
}
