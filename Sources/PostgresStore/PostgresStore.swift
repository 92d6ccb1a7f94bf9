import PostgresClient
package import WorkflowEngine

/// `WorkflowStore` over the worker protocol of one database: its event loop, sessions, life line, and the fate of every request.
///
/// Callbacks come on the loop's thread, which is the engine's thread too; `send` belongs there. The rest may be called on any thread.
package final class PostgresStore: WorkflowStore, @unchecked Sendable {  // what changes is the loop thread's, or set before `start`
    /// Set before `start`.
    package var events: ((StoreEvent) -> Void)?
    /// Life line held or lost. Set before `start`.
    package var onStatus: ((StoreStatus) -> Void)?
    /// Runs once in each round of the loop: after `perform`ed work and timers, before the loop waits. Answers how long it may wait at most, in
    /// milliseconds; negative: until woken. Set before `start`.
    package var onTick: (() -> Int32)? {
        get { loop.tick }
        set { loop.tick = newValue }
    }

    /// These are parked, or another worker's: the engine does not wait for that, a test may. Set before `start`.
    package var onParked: (([Parking]) -> Void)? {
        get { writes.onParked }
        set { writes.onParked = newValue }
    }

    private let configuration: StoreConfiguration
    private let loop: EventLoop
    private let connector: Connector
    private let log: @Sendable (LogLevel, String) -> Void
    private let context: StoreContext
    private let claims: ClaimSession
    private let signals: SignalSession
    private let writes: WriteSessions
    private let sql: HandlerSQL
    private let functions: SQLHandlerRuns
    private let housekeeping: HousekeepingSession
    private let life: WorkerLife
    private var suspicion = Suspicion()
    private var isClosing = false
    private var isClosed = false
    private var looksAgain = false
    private var completion: (@Sendable () -> Void)?

    package init(configuration: StoreConfiguration, log: @escaping @Sendable (LogLevel, String) -> Void) {
        self.configuration = configuration
        self.log = log
        loop = EventLoop(name: "pawl-engine")
        connector = Connector()
        context = StoreContext(loop: loop, connector: connector, configuration: configuration, log: log)
        claims = ClaimSession(context: context)
        signals = SignalSession(context: context)
        writes = WriteSessions(context: context)
        sql = HandlerSQL(context: context, writes: writes)
        functions = SQLHandlerRuns(context: context)
        housekeeping = HousekeepingSession(context: context)
        let owner = Owner()
        let loop = loop
        life = WorkerLife(configuration: configuration, options: context.protocolOptions(StatementSet.life), log: log) { event in
            loop.post { owner.store?.handle(event) }
        }
        owner.store = self
        context.life = life
        claims.onClaimed = { [unowned self] in
            if $0.isEmpty { suspicion.wasVain() }
            emit(.claimed($0))
        }
        claims.onUnwanted = { [unowned self] in writes.release($0) }
        signals.onSignals = { [unowned self] in emit(.signalled($0)) }
        writes.onEvent = { [unowned self] in emit($0) }
        sql.onEvent = { [unowned self] in emit($0) }
        functions.onEvent = { [unowned self] in emit($0) }
    }

    /// Breaks the circle: the life line is made before its store is.
    private final class Owner: @unchecked Sendable {  // set once in init, before any thread starts
        weak var store: PostgresStore?
    }

    // MARK: Any thread

    /// Starts the loop's thread, connects, registers the worker, and from then on serves what `send` was given.
    package func start() {
        loop.start()
        life.start()
        loop.post { [self] in
            claims.start()
            signals.start()
            writes.start()
        }
    }

    /// Makes sure that `onTick` runs after this call. Costs no system call while the loop is awake.
    package func wake() { loop.wake() }

    /// Runs `work` on the loop's thread.
    package func perform(_ work: @escaping @Sendable () -> Void) { loop.post(work) }

    /// Runs `work` on the loop's thread after a while. Loop thread only.
    package func schedule(after delay: Duration, _ work: @escaping () -> Void) {
        _ = loop.schedule(afterNanoseconds: delay.nanoseconds, work)
    }

    /// Offers these handlers from now on (SIGHUP loaded plugins). They are claimed once the database knows of them.
    package func setHandlers(_ handlers: [HandlerOffer]) { life.setHandlers(handlers) }

    /// Shows the worker as draining from its next heartbeat on. What it did for all of them is done by others.
    package func announceDraining() {
        life.setDraining()
        loop.post { [self] in housekeeping.close() }
    }

    /// Grows as long as the life line's thread comes round, connected or trying to be; it rests for at most a minute.
    package var lifeRounds: UInt64 { life.rounds }

    /// Claims nothing more, waits for the writes under way (but not longer than that), hands back what is left and unregisters the worker.
    /// `completion` is called on the loop's thread; then `stop`.
    package func shutdown(within limit: Duration = .seconds(10), _ completion: @escaping @Sendable () -> Void) {
        loop.post { [self] in
            guard !isClosing else { return }
            isClosing = true
            self.completion = completion
            life.setDraining()
            housekeeping.close()
            claims.want(0)
            functions.end()
            _ = loop.schedule(afterNanoseconds: limit.nanoseconds) { [weak self] in self?.close() }
            closeWhenIdle()
        }
    }

    /// Ends all threads and waits for them: after `shutdown`, and not on the loop itself.
    package func stop() {
        life.stop()
        life.join()
        loop.stop()
        connector.stop()
    }

    // MARK: Loop thread

    package func send(_ requests: [StoreRequest]) {
        loop.assertCurrent()
        for request in requests {
            switch request {
            case .claim(let limit, let alone): if !isClosing || limit == 0 { claims.want(limit, alone: alone) }
            case .write(let id, let steps, let ends): write(.write(id, steps: steps, ends: ends))
            case .perform(let id, let calls): write(.perform(id, calls))
            case .emit(let id, let emissions): write(.emit(id, emissions))
            case .park(let parkings): write(.park(parkings))
            case .release(let fences): write(.release(fences))
            case .runHandler(let id, let fence):
                if context.incarnation == nil { emit(.handlerRan(id, .refused(.fenced))) } else { functions.run(id, fence) }
            case .begin(let id, let fence, let isolation): if context.incarnation != nil { sql.begin(id, fence, isolation) }
            case .execute(let id, let transaction, let statement): sql.execute(id, in: transaction, statement)
            case .commit(let id, let transaction, let record): sql.commit(id, transaction, record)
            case .rollback(let transaction): sql.rollback(transaction)
            case .query(let id, let statement): sql.query(id, statement)
            }
        }
    }

    private func write(_ content: WriteBatch.Content) {
        if context.incarnation != nil {
            writes.write(content)
        } else if let event = WriteBatch(content).fencedAnswer() {
            emit(event)
        }
    }

    private func emit(_ event: StoreEvent) {
        events?(event)
        // What answers arrive outside a tick must be seen by one before the loop waits.
        loop.wake()
        if isClosing { closeWhenIdle() }
    }

    private func handle(_ event: WorkerLife.Event) {
        switch event {
        case .began(let incarnation):
            context.incarnation = incarnation
            let held = incarnation.registration.held
            log(.info, "registered as worker \(incarnation.worker), number \(incarnation.registration.workerNumber)")
            if let held { log(.warning, "the database is held, nothing is claimed: \(held). To let it run: SELECT pawl.release_hold('why')") }
            onStatus?(
                .registered(
                    workerID: "\(incarnation.worker)", workerNumber: incarnation.registration.workerNumber,
                    maximumPayload: incarnation.registration.maximumPayload, held: held))
        case .offered(let handlers):
            guard context.incarnation != nil else { return }
            claims.setOffer(Offer(handlers, queues: configuration.queues))
            signals.pump()
            writes.pump()
        case .confirmed:
            claims.pump()
            signals.pump()
            writes.pump()
            sql.pump()
            functions.pump()
            housekeeping.pump()
        case .held(let isHeld):
            log(isHeld ? .warning : .notice, isHeld ? "the database is held: nothing is claimed" : "the database was released: claiming")
        case .suspects(let exist): if suspicion.isNews(exist) { emit(.suspects(exist)) }
        case .due(let schedulesIn, let retention): if context.incarnation != nil { housekeeping.expect(schedulesIn: schedulesIn, retention: retention) }
        case .refused(let why): onStatus?(.refused(why))
        case .stopped:
            completion?()
            completion = nil
        case .ended(let worker, let reason):
            guard context.incarnation?.worker == worker else { return }
            log(.error, "worker \(worker) lost its life line: \(reason). Its workflows are dropped here, and go on with whoever claims them")
            context.incarnation = nil
            claims.lifeEnded()
            signals.lifeEnded()
            writes.lifeEnded()
            sql.lifeEnded()
            functions.lifeEnded()
            housekeeping.lifeEnded()
            context.owned = [:]
            life.setRunning(0)
            emit(.lifeLost)
            onStatus?(.disconnected)
        }
        loop.wake()
    }

    /// The last write was answered, and nothing is claimed any more.
    private func closeWhenIdle() {
        guard !isClosed else { return }
        if claims.isIdle, writes.isIdle, sql.isIdle, functions.isIdle { return close() }
        guard !looksAgain else { return }
        // Hand-backs and parkings are not answered.
        looksAgain = true
        _ = loop.schedule(afterNanoseconds: 5_000_000) { [weak self] in
            self?.looksAgain = false
            self?.closeWhenIdle()
        }
    }

    private func close() {
        guard !isClosed else { return }
        isClosed = true
        functions.close()
        sql.close()
        writes.close()
        signals.close()
        claims.close()
        life.stop()
    }
}

/// What the engine was told of workflows that must run alone. It rests its claims for them, so a claim of one that came back empty (its queue is paused,
/// say) is followed by a while in which it is not told again.
private struct Suspicion {
    private var isKnown = false
    private var quietUntil: UInt64 = 0
    private var pause = Suspicion.shortestPause
    private static let shortestPause: UInt64 = 2_000_000_000
    private static let longestPause: UInt64 = 300_000_000_000

    mutating func isNews(_ exist: Bool) -> Bool {
        if !exist { pause = Self.shortestPause }
        guard exist != isKnown, !exist || EventLoop.now() >= quietUntil else { return false }
        isKnown = exist
        return true
    }

    mutating func wasVain() {
        isKnown = false
        quietUntil = EventLoop.now() + pause
        pause = min(2 * pause, Self.longestPause)
    }
}

extension Duration {
    /// Nanoseconds; 0 for a negative one.
    fileprivate var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        return UInt64(seconds) &* 1_000_000_000 &+ UInt64(attoseconds / 1_000_000_000)
    }
}
