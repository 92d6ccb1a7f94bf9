import PostgresClient
import WorkflowEngine

/// The session that takes signals: take; nothing there: arm, and look once more; still nothing: wait and look in one round trip. A session whose wait
/// ran out is armed still, so an idle worker costs one round trip in each poll interval.
///
/// What was taken by a statement whose answer was lost is gone: once its backend cannot take any more, every workflow that is owned here is signalled
/// once, for whatever it may have been. Loop thread only.
final class SignalSession {
    /// What it is doing, and what that can turn into.
    private enum Phase {
        /// → settling, taking
        case idle
        /// Making sure of what a lost connection took. → idle
        case settling
        /// → taking, arming, idle
        case taking
        /// → taking, waiting, idle
        case arming
        /// → taking, arming, waiting, idle
        case waiting
        /// A failed attempt rests. → idle
        case resting
    }

    var onSignals: (([Signal]) -> Void)?

    private let context: StoreContext
    private let session: Session
    private var phase = Phase.idle
    /// Lost connections that may have taken signals, and may still.
    private var unsettled: [BackendIdentity] = []
    /// Signals are left that could not be looked at, mostly because somebody has the workflow locked for a moment: how many milliseconds until
    /// the next look, if nothing comes before.
    private var pause: Int32?
    private var complaints = LogLimiter()

    private static let shortestPause: Int32 = 5
    private static let longestPause: Int32 = 500

    init(context: StoreContext) {
        self.context = context
        session = Session(options: context.protocolOptions(StatementSet.signals), connector: context.connector, loop: context.loop)
        session.onReady = { [weak self] _ in self?.pump() }
        session.onFailedAttempt = { [weak self] error in self?.complain("the signal session cannot connect: \(error)") }
        session.onLost = { [weak self] error in self?.complain("the signal session was lost: \(error)") }
    }

    func start() { session.start() }
    func close() { session.close() }

    /// Its signals are nobody's now; what its backend still does, it does for a worker that has ended.
    func lifeEnded() {
        unsettled = []
        pause = nil
        phase = .idle
        session.reconnect()
    }

    /// Something that held it back may be over.
    func pump() {
        guard case .idle = phase, let connection = session.connection, let worker = context.certainWorker else { return }
        guard unsettled.isEmpty else { return settle(connection, worker) }
        take(connection, worker)
    }

    // MARK: Phases

    private func take(_ connection: Connection, _ worker: UUIDBytes) {
        phase = .taking
        TakeSignalsStatement(worker: worker).add(to: connection, &context.buffer)
        sync(connection, worker) { [self] reply in
            if took(reply.results[0]), let connection = still(worker) { arm(connection, worker) }
        }
    }

    private func arm(_ connection: Connection, _ worker: UUIDBytes) {
        phase = .arming
        var milliseconds: Int32 = 1000
        ArmSignalsStatement(worker: worker).add(to: connection, &context.buffer)
        // If arming fails, the look follows all the same: the failure shows, and a short wait comes of it.
        connection.sync { [self] reply in
            if let failure = reply.failure {
                if failure.code == .server { complain("the waiter for signals cannot be armed: \(failure)") }
            } else {
                milliseconds = ArmSignalsStatement.decode(reply.results[0])
            }
        }
        TakeSignalsStatement(worker: worker).add(to: connection, &context.buffer)
        sync(connection, worker) { [self] reply in
            if took(reply.results[0]), let connection = still(worker) { wait(connection, worker, milliseconds) }
        }
    }

    private func wait(_ connection: Connection, _ worker: UUIDBytes, _ milliseconds: Int32) {
        phase = .waiting
        let patience = pause.map { milliseconds < 0 ? $0 : min($0, milliseconds) } ?? milliseconds
        WaitStatement(milliseconds: patience).add(to: connection, &context.buffer)
        TakeSignalsStatement(worker: worker).add(to: connection, &context.buffer)
        sync(connection, worker) { [self] reply in
            let woken = WaitStatement.decode(reply.results[0])
            guard took(reply.results[1]), let connection = still(worker) else { return }
            if woken { arm(connection, worker) } else { wait(connection, worker, milliseconds) }
        }
    }

    /// Hands on what was taken. False: the next look is under way.
    private func took(_ result: PostgresResult) -> Bool {
        let (signals, more) = TakeSignalsStatement.decode(result)
        if !signals.isEmpty { onSignals?(signals) }
        guard more else {
            pause = nil
            return true
        }
        if signals.isEmpty {
            pause = min(pause.map { 2 * $0 } ?? Self.shortestPause, Self.longestPause)
            return true
        }
        pause = nil
        phase = .idle
        pump()
        return false
    }

    /// The connection, if the life that a round of waiting began with goes on.
    private func still(_ worker: UUIDBytes) -> Connection? {
        guard let connection = session.connection, context.certainWorker == worker else {
            phase = .idle
            return nil
        }
        return connection
    }

    /// Closes a request that takes. `next` is called if it succeeded in the life it was sent in.
    private func sync(_ connection: Connection, _ worker: UUIDBytes, _ next: @escaping (Reply) -> Void) {
        let backend = connection.backend
        connection.sync { [self] reply in
            guard context.incarnation?.worker == worker else { return }
            guard let failure = reply.failure else { return next(reply) }
            if failure.code == .connectionLost {
                unsettled.append(backend)
                phase = .idle
            } else {
                if failure.sqlState == "PW004" { context.life?.check() }
                complain("taking signals failed: \(failure)")
                rest(200_000_000)
            }
        }
    }

    private func rest(_ nanoseconds: UInt64) {
        guard nanoseconds > 0 else {
            phase = .idle
            return pump()
        }
        phase = .resting
        _ = context.loop.schedule(afterNanoseconds: nanoseconds) { [weak self] in
            guard let self, case .resting = phase else { return }
            phase = .idle
            pump()
        }
    }

    // MARK: Lost answers

    /// Ends the backends whose answers were lost, then signals everything that is owned here.
    private func settle(_ connection: Connection, _ worker: UUIDBytes) {
        phase = .settling
        for backend in unsettled { EndBackendStatement(backend: backend).add(to: connection, &context.buffer) }
        connection.sync { [self] reply in
            guard context.incarnation?.worker == worker else { return }
            guard reply.failure == nil, reply.results.allSatisfy(EndBackendStatement.isGone) else {
                if let failure = reply.failure, failure.code == .server { complain("a lost session cannot be ended: \(failure)") }
                return rest(reply.failure?.code == .connectionLost ? 0 : 500_000_000)
            }
            unsettled = []
            let owned = context.owned.map { Signal(fence: Fence(key: $0.key, epoch: $0.value.epoch), cancellation: nil) }
            if !owned.isEmpty { onSignals?(owned) }
            rest(0)
        }
    }

    private func complain(_ message: String) {
        if complaints.shouldLog() { context.log(.warning, message) }
    }
}
