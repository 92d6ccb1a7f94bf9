internal import CPawlPlugin
internal import FoundationEssentials
internal import Synchronization

/// How a handler's run ended.
enum RunEnd: Sendable {
    case success(Data)
    case failure(WorkflowFailure)
    case stopped
}

/// One run of a handler: the only type that holds the host's `pawl_run`, and the gate that no call passes once the run has ended.
///
/// The gate is needed because the host may free its side as soon as the run has finished, while a task that the handler left behind, or
/// another branch of an abandoned run, can still be about to call.
// Unchecked: `gate` orders every access to `end`; `task` is touched on the delivery thread only.
final class HandlerRun: @unchecked Sendable {
    let identity: WorkflowIdentity
    /// The task that runs the handler. It keeps this run only until it ends.
    var task: Task<Void, Never>?
    private let host: PluginHost
    private let run: OpaquePointer
    /// Calls inside the host, times `call`, plus the bits `closed` and `finished`.
    private let gate = Atomic<Int>(0)
    private let ending = Atomic<Bool>(false)
    private var outcome: RunEnd?
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
        case .stopped:
            var result = pawl_result(size: PawlSize.result, status: PawlStatus.stopped, value: pawl_bytes(), error: nil)
            host.pointee.finish(run, &result)
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
