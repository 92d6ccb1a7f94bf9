import PostgresClient
import WorkflowEngine

/// The session that claims: claim; nothing there: arm, and claim once more; still nothing: wait and claim in one round trip from the wake-up to
/// the work. A claim of one that must run alone does not wait. What was claimed by a statement whose answer was lost is handed back before the next
/// claim. Loop thread only.
final class ClaimSession {
    /// What it is doing, and what that can turn into.
    private enum Phase {
        /// → settling, claiming
        case idle
        /// Making sure of what a lost connection claimed. → idle
        case settling
        /// → loading, arming, idle
        case claiming
        /// → loading, waiting, idle
        case arming
        /// → loading, arming, waiting, idle
        case waiting
        /// Reading recorded steps; goes on over a new connection. → idle
        case loading
        /// A failed attempt rests. → idle
        case resting
    }

    /// Rows that were claimed for a wish that still stands; none for a wish that does not wait.
    var onClaimed: (([ClaimedWorkflow]) -> Void)?
    /// Rows that nobody wants any more.
    var onUnwanted: (([Fence]) -> Void)?

    private let context: StoreContext
    private let session: Session
    private var phase = Phase.idle
    private var wanted = 0
    /// It wants one that must run alone.
    private var alone = false
    private var offer: Offer?
    /// The offer changed while a wait was under way with the old one.
    private var cancelled = false
    /// Lost connections that may have claimed, and may still.
    private var unsettled: [BackendIdentity] = []
    private var loading: Loading?
    private var complaints = LogLimiter()

    private struct Loading {
        var claims: [ClaimStatement.Claim]
        var alone: Bool
        var places: [Int64: Int]
        var fences: [Fence]
        var after: RecordedStepsStatement.Position?
    }

    init(context: StoreContext) {
        self.context = context
        session = Session(options: context.protocolOptions(StatementSet.claim), connector: context.connector, loop: context.loop)
        session.onReady = { [weak self] _ in self?.connected() }
        session.onFailedAttempt = { [weak self] error in self?.complain("the claim session cannot connect: \(error)") }
        session.onLost = { [weak self] error in self?.complain("the claim session was lost: \(error)") }
    }

    func start() { session.start() }
    func close() { session.close() }

    var isIdle: Bool {
        switch phase {
        case .idle, .resting, .settling: loading == nil
        default: false
        }
    }

    func want(_ limit: Int, alone: Bool = false) {
        let another = alone != self.alone
        wanted = limit
        self.alone = alone
        if limit == 0 || another { interrupt() }
        pump()
    }

    /// What to claim from now on; nil: nothing.
    func setOffer(_ offer: Offer?) {
        guard offer != self.offer else { return }
        self.offer = offer
        interrupt()
        pump()
    }

    /// Everything it holds is another's now; what its backend still does, it does for a worker that has ended.
    func lifeEnded() {
        offer = nil
        loading = nil
        unsettled = []
        phase = .idle
        session.reconnect()
    }

    /// Something that held it back may be over.
    func pump() {
        guard case .idle = phase, let connection = session.connection, wanted > 0, let offer,
            let worker = context.certainWorker
        else { return }
        guard unsettled.isEmpty else { return settle(connection, worker) }
        claim(connection, worker, offer)
    }

    // MARK: Phases

    private func connected() {
        guard let loading else { return pump() }
        phase = .loading
        load(loading)
    }

    private func claim(_ connection: Connection, _ worker: UUIDBytes, _ offer: Offer) {
        phase = .claiming
        let alone = alone
        ClaimStatement(worker: worker, limit: wanted, offer: offer, alone: alone).add(to: connection, &context.buffer)
        sync(connection, worker) { [self] reply in
            let claims = ClaimStatement.decode(reply.results[0])
            guard claims.isEmpty else { return took(claims, alone: alone) }
            if alone { return finish([], alone: true) }
            guard let connection = still(worker) else { return rest(0) }
            arm(connection, worker, offer)
        }
    }

    private func arm(_ connection: Connection, _ worker: UUIDBytes, _ offer: Offer) {
        phase = .arming
        var milliseconds: Int32 = 1000
        ArmStatement(worker: worker, offer: offer).add(to: connection, &context.buffer)
        // If arming fails, its claim follows all the same: the failure shows, and a short wait comes of it.
        connection.sync { [self] reply in
            if let failure = reply.failure {
                if failure.code == .server { complain("the waiter cannot be armed: \(failure)") }
            } else {
                milliseconds = ArmStatement.decode(reply.results[0])
            }
        }
        ClaimStatement(worker: worker, limit: wanted, offer: offer, alone: false).add(to: connection, &context.buffer)
        sync(connection, worker) { [self] reply in
            let claims = ClaimStatement.decode(reply.results[0])
            guard claims.isEmpty else { return took(claims, alone: false) }
            guard let connection = still(worker) else { return rest(0) }
            wait(connection, worker, offer, milliseconds)
        }
    }

    private func wait(_ connection: Connection, _ worker: UUIDBytes, _ offer: Offer, _ milliseconds: Int32?) {
        phase = .waiting
        // One request: a cancelled wait takes the claim behind it along.
        WaitStatement(milliseconds: milliseconds).add(to: connection, &context.buffer)
        ClaimStatement(worker: worker, limit: wanted, offer: offer, alone: false).add(to: connection, &context.buffer)
        sync(connection, worker) { [self] reply in
            let claims = ClaimStatement.decode(reply.results[1])
            guard claims.isEmpty else { return took(claims, alone: false) }
            guard let connection = still(worker) else { return rest(0) }
            // A claim after a wait that ran out arms the session before it looks: an idle worker takes one round trip each time.
            if WaitStatement.decode(reply.results[0]) {
                arm(connection, worker, offer)
            } else {
                wait(connection, worker, offer, nil)
            }
        }
    }

    /// The connection, if the wish and the life that a round of waiting began with still stand.
    private func still(_ worker: UUIDBytes) -> Connection? {
        guard wanted > 0, !alone, !cancelled, context.certainWorker == worker else { return nil }
        return session.connection
    }

    /// Closes a request that claims. `next` is called if it succeeded in the life it was sent in.
    private func sync(_ connection: Connection, _ worker: UUIDBytes, _ next: @escaping (Reply) -> Void) {
        let backend = connection.backend
        connection.sync { [self] reply in
            guard context.incarnation?.worker == worker else { return }
            guard let failure = reply.failure else { return next(reply) }
            if failure.code == .connectionLost {
                unsettled.append(backend)
                phase = .idle
            } else if failure.sqlState == "57014", cancelled || wanted == 0 || alone {
                rest(0)
            } else {
                if failure.sqlState == "PW004" { context.life?.check() }
                complain("claiming failed: \(failure)")
                rest(200_000_000)
            }
        }
    }

    private func rest(_ nanoseconds: UInt64) {
        cancelled = false
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

    private func interrupt() {
        switch phase {
        case .waiting, .arming:
            cancelled = true
            if case .waiting = phase { session.connection?.cancel() }
        default: break
        }
    }

    // MARK: Claimed

    private func took(_ claims: [ClaimStatement.Claim], alone: Bool) {
        cancelled = false
        for claim in claims {
            context.owned[claim.workflow.fence.key] = .init(epoch: claim.workflow.fence.epoch, workflowID: claim.workflow.workflowID)
        }
        context.life?.setRunning(context.owned.count)
        guard claims.contains(where: \.replay) else { return finish(claims, alone: alone) }
        var fresh = Loading(claims: claims, alone: alone, places: [:], fences: [])
        for (index, claim) in claims.enumerated() where claim.replay {
            fresh.places[claim.workflow.fence.key] = index
            fresh.fences.append(claim.workflow.fence)
        }
        phase = .loading
        load(fresh)
    }

    /// Reads one page of recorded steps after another.
    private func load(_ state: Loading) {
        loading = state
        guard let connection = session.connection, let worker = context.incarnation?.worker else { return }
        RecordedStepsStatement(worker: worker, fences: state.fences, after: state.after, maximumBytes: 8 << 20)
            .add(to: connection, &context.buffer)
        connection.sync { [self] reply in
            guard context.incarnation?.worker == worker, var state = loading else { return }
            if let failure = reply.failure {
                // A new connection goes on from here.
                guard failure.code != .connectionLost else { return }
                complain("recorded steps cannot be read: \(failure)")
                _ = context.loop.schedule(afterNanoseconds: 200_000_000) { [weak self] in
                    guard let self, let loading, case .loading = phase else { return }
                    load(loading)
                }
                return
            }
            let page = RecordedStepsStatement.decode(reply.results[0])
            for (key, step) in page.steps {
                if let place = state.places[key] { state.claims[place].workflow.recordedSteps.append(step) }
            }
            if let end = page.end {
                state.after = end
                load(state)
            } else {
                finish(state.claims, alone: state.alone)
            }
        }
    }

    private func finish(_ claims: [ClaimStatement.Claim], alone: Bool) {
        loading = nil
        phase = .idle
        guard wanted > 0, alone == self.alone else {
            onUnwanted?(claims.map(\.workflow.fence))
            return pump()
        }
        wanted = 0
        onClaimed?(claims.map(\.workflow))
        pump()
    }

    // MARK: Lost answers

    /// Ends the backends whose answers were lost, then hands back what they claimed and nobody here knows of.
    private func settle(_ connection: Connection, _ worker: UUIDBytes) {
        phase = .settling
        for backend in unsettled {
            EndBackendStatement(backend: backend).add(to: connection, &context.buffer)
        }
        let count = unsettled.count
        connection.sync { [self] reply in
            guard context.incarnation?.worker == worker else { return }
            guard reply.failure == nil, reply.results.allSatisfy(EndBackendStatement.isGone) else {
                if let failure = reply.failure, failure.code == .server { complain("a lost session cannot be ended: \(failure)") }
                return rest(reply.failure?.code == .connectionLost ? 0 : 500_000_000)
            }
            guard let connection = session.connection else { return rest(0) }
            let known = context.owned.map { Fence(key: $0.key, epoch: $0.value.epoch) }
            ReleaseUnknownStatement(worker: worker, known: known).add(to: connection, &context.buffer)
            connection.sync { [self] reply in
                guard context.incarnation?.worker == worker else { return }
                guard reply.failure == nil else {
                    if let failure = reply.failure, failure.code == .server { complain("lost claims cannot be handed back: \(failure)") }
                    return rest(reply.failure?.code == .connectionLost ? 0 : 500_000_000)
                }
                let (released, remaining) = ReleaseUnknownStatement.decode(reply.results[0])
                if released > 0 { context.log(.notice, "handed back \(released) workflows whose claim was lost on its way here; worker=\(worker)") }
                if remaining == 0 { unsettled.removeFirst(count) }
                rest(remaining == 0 ? 0 : 200_000_000)
            }
        }
    }

    private func complain(_ message: String) {
        if complaints.shouldLog() { context.log(.warning, message) }
    }
}
