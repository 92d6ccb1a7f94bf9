import Glibc
import HeapModule
import Locking

/// How a drain went.
package struct DrainReport: Sendable, Equatable {
    /// Workflows handed back unfinished, since the engine was made.
    package var handedBack: Int
    /// Workflows whose last writes were not answered in time: the database, or whoever recovers this worker's workflows, knows how they stand.
    package var unresolved: Int
    /// Handlers that were told to stop and have not finished.
    package var lingering: Int
}

/// The driver around `EngineStateMachine`: carries what handlers call, from any thread, and what the store answers, on the engine thread, to the machine,
/// and does what it says. The engine thread is the owner's loop:
///
///     while true {
///         let timeout = engine.tick()
///         …wait for I/O, or for `wake` (an eventfd), for at most `timeout`; let the store read and write…
///     }
package final class WorkflowEngine: @unchecked Sendable {  // mailbox and published statistics have locks; the rest is the engine thread's
    private let store: any WorkflowStore
    private let handlers: any HandlerHost
    private let clock: EngineClock
    private let log: @Sendable (EngineLogRecord) -> Void
    private let mailbox: EngineMailbox
    private let published = Locked(EngineStatistics())

    // The engine thread's.
    private var machine: EngineStateMachine
    private var runs: [WorkflowRun?] = []
    private var messages: [EngineMessage] = []
    private var storeEvents: [StoreEvent] = []
    private var actions = EngineStateMachine.Actions()
    private var deliveries: [Delivery] = []
    private var mailboxStatistics = EngineStatistics()
    private var lastPublished = EngineStatistics()
    private var timers = Heap<Timed>()
    private var drainCompletions: [@Sendable (DrainReport) -> Void] = []

    private enum Alarm {
        case machine(EngineStateMachine.Timer)
        case stopAll
        case giveUpDraining
    }

    private struct Timed: Comparable {
        var due: UInt64
        /// Of two that are due at once the one that was set first.
        var order: UInt64
        var alarm: Alarm
        static func < (one: Timed, other: Timed) -> Bool { (one.due, one.order) < (other.due, other.order) }
        static func == (one: Timed, other: Timed) -> Bool { one.order == other.order }
    }
    private var timersSet: UInt64 = 0

    /// `wake` may be called on any thread: once each time there is something to do while the loop waits. It must end the wait of the owner's loop.
    package init(
        configuration: EngineConfiguration, store: any WorkflowStore, handlers: any HandlerHost, clock: EngineClock = .system,
        wake: @escaping @Sendable () -> Void, log: @escaping @Sendable (EngineLogRecord) -> Void
    ) {
        self.store = store
        self.handlers = handlers
        self.clock = clock
        self.log = log
        mailbox = EngineMailbox(wake: wake)
        machine = EngineStateMachine(configuration: configuration)
        // Kept until the next tick: the store may answer inside `send`.
        store.events = { [weak self] in self?.storeEvents.append($0) }
    }

    // MARK: Any thread

    /// Claims from now on. Called again, it only changes the payload limit (`pawl.max_payload`, which registering the worker answers).
    package func start(maximumPayload: Int) {
        mailbox.post(.start(maximumPayload: maximumPayload))
    }

    /// Claims nothing more, lets what runs go on for so long, then stops the rest and hands it back. `completion` is called once, on the engine thread,
    /// when nothing is owned here any more, or when the answers of the last writes stay out longer than `handBackLimit`. A handler that never finishes
    /// delays nothing. Called again, the sooner deadline counts.
    package func drain(within limit: Duration, completion: @escaping @Sendable (DrainReport) -> Void) {
        mailbox.post(.drain(within: limit, completion: completion))
    }

    /// `drain` without waiting for the handlers.
    package func stop(completion: @escaping @Sendable (DrainReport) -> Void) { drain(within: .zero, completion: completion) }

    package var statistics: EngineStatistics { published.withLock { $0 } }

    // MARK: The engine thread

    /// Handles everything that has come in, and does what follows from it. The answer is how long the loop may wait at most, in milliseconds as
    /// `epoll_wait` takes them: -1 is until woken.
    package func tick() -> Int32 {
        // Bounded, so that handlers that are quick to call again cannot keep the loop from its sockets.
        for _ in 0..<16 {
            mailbox.take(into: &messages, statistics: &mailboxStatistics)
            for message in messages { handle(message) }
            messages.removeAll(keepingCapacity: true)
            handleStoreEvents()
            fireTimers()
            machine.handle(.flush, &actions)
            perform()
            if storeEvents.isEmpty, actions.requests.isEmpty, actions.effects.isEmpty, mailbox.fallAsleep() {
                publish()
                return timeout()
            }
        }
        publish()
        return 0
    }

    private func handle(_ message: EngineMessage) {
        switch message {
        case .run(let id, let call): machine.handle(.call(id, call), &actions)
        case .start(let maximumPayload): machine.handle(.start(maximumPayload: maximumPayload), &actions)
        case .drain(let limit, let completion):
            drainCompletions.append(completion)
            machine.handle(.drain, &actions)
            if case .drained = machine.mode { return finishDraining() }
            if limit <= .zero { machine.handle(.stopAll, &actions) } else { schedule(.stopAll, after: limit) }
            schedule(.giveUpDraining, after: limit + machine.configuration.handBackLimit)
        }
    }

    private func handleStoreEvents() {
        guard !storeEvents.isEmpty else { return }
        var events: [StoreEvent] = []
        swap(&events, &storeEvents)
        for event in events { machine.handle(.store(event), &actions) }
        if storeEvents.isEmpty {
            events.removeAll(keepingCapacity: true)
            storeEvents = events
        }
    }

    private func perform() {
        if !actions.requests.isEmpty {
            store.send(actions.requests)
            actions.requests.removeAll(keepingCapacity: true)
        }
        guard !actions.effects.isEmpty else { return }
        var effects: [EngineStateMachine.Effect] = []
        swap(&effects, &actions.effects)
        for effect in effects { perform(effect) }
        if actions.effects.isEmpty {
            effects.removeAll(keepingCapacity: true)
            actions.effects = effects
        }
        if !deliveries.isEmpty {
            handlers.deliver(deliveries)
            deliveries.removeAll(keepingCapacity: true)
        }
    }

    private func run(_ id: RunID) -> WorkflowRun? { Int(id.slot) < runs.count ? runs[Int(id.slot)] : nil }

    private func perform(_ effect: EngineStateMachine.Effect) {
        switch effect {
        case .start(let id, let workflow):
            let run = WorkflowRun(
                workflow: workflow, id: id, mailbox: mailbox, clock: clock, maximumPayload: machine.maximumPayload,
                valueSeed: machine.configuration.valueSeed)
            let slot = Int(id.slot)
            while runs.count <= slot { runs.append(nil) }
            runs[slot] = run
            deliveries.append(.start(run))
        case .interrupt(let id):
            guard let run = run(id) else { return }
            run.markStopped()
            deliveries.append(.interrupt(run, .stopped))
        case .cancel(let id):
            guard let run = run(id) else { return }
            run.markCancelled()
            deliveries.append(.interrupt(run, .cancelled))
        case .interruptStep(let id, let scope):
            guard let run = run(id) else { return }
            deliveries.append(.interruptStep(run, scope))
        case .answer(let id, let settled, let receiver, let answer):
            guard let run = run(id) else { return }
            if let settled { run.settle(settled.scope, settled.1) }
            deliveries.append(.answer(run, receiver, answer))
        case .waits(let id, let scope): run(id)?.setWaiting(scope)
        case .rest(let id):
            if let run = run(id) { machine.handle(.resting(id, run.isAtRest), &actions) }
        case .park(let id, let assumeIdle, let handledCalls):
            machine.handle(.parked(id, run(id)?.park(assumeIdle: assumeIdle, handledCalls: handledCalls) ?? false), &actions)
        case .release(let id, let handledCalls):
            // A SQL function's has no handler here.
            if let run = run(id) {
                guard run.seal(handledCalls: handledCalls) else { return }
                runs[Int(id.slot)] = nil
                deliveries.append(.release(run))
            }
            machine.handle(.released(id), &actions)
        case .schedule(let timer, let delay): schedule(.machine(timer), after: delay)
        case .drained: finishDraining()
        case .note(let id, let note): write(note, about: id.flatMap { run($0) })
        }
    }

    // MARK: Time

    private func schedule(_ alarm: Alarm, after delay: Duration) {
        let (seconds, attoseconds) = delay.components
        let due = clock.monotonic() &+ UInt64(max(0, seconds)) &* 1_000_000_000 &+ UInt64(max(0, attoseconds)) / 1_000_000_000
        timersSet += 1
        timers.insert(Timed(due: due, order: timersSet, alarm: alarm))
    }

    private func fireTimers() {
        guard !timers.isEmpty else { return }
        let now = clock.monotonic()
        while let next = timers.min, next.due <= now {
            timers.removeMin()
            switch next.alarm {
            case .machine(let timer): machine.handle(.timer(timer), &actions)
            case .stopAll: machine.handle(.stopAll, &actions)
            case .giveUpDraining: finishDraining()
            }
        }
    }

    /// Everything that handlers have called was handled. For manual clocks.
    package var isCaughtUp: Bool {
        runs.enumerated().allSatisfy { slot, run in run.map { $0.isCaughtUp(handledCalls: machine.runs[slot].handledCalls) } ?? true }
    }

    /// When the next timer is due, on the monotonic clock; nil: there is none. A manual clock jumps there.
    package var nextTimer: UInt64? { timers.min?.due }

    private func timeout() -> Int32 {
        guard let next = timers.min else { return -1 }
        let now = clock.monotonic()
        return next.due <= now ? 0 : Int32(clamping: (next.due - now + 999_999) / 1_000_000)
    }

    // MARK: Telling

    private func finishDraining() {
        timers = Heap(timers.unordered.filter { if case .machine = $0.alarm { true } else { false } })
        let statistics = machine.statistics
        let report = DrainReport(handedBack: statistics.handedBack, unresolved: statistics.unresolved, lingering: statistics.lingering)
        publish()
        for completion in drainCompletions { completion(report) }
        drainCompletions = []
    }

    private func publish() {
        var statistics = machine.statistics
        statistics.misuse += mailboxStatistics.misuse
        statistics.replayedSteps = mailboxStatistics.replayedSteps
        if statistics != lastPublished {
            lastPublished = statistics
            published.withLock { $0 = statistics }
        }
    }

    private func write(_ note: EngineStateMachine.Note, about run: WorkflowRun?) {
        let (level, message): (EngineLogRecord.Level, String) =
            switch note {
            case .fenced: (.notice, "Stopped: another worker owns this workflow now, or it has ended.")
            case .condemned(let error): (.warning, "Failed by the engine: \(error.code): \(error.message)")
            case .failed(let error): (.debug, "Failed: \(error.code): \(error.message)")
            case .endRefused(let error): (.warning, "The database refused its outcome: \(error.code): \(error.message)")
            case .abandoned(let error):
                (.error, "The database refused its end in every form (\(error.code): \(error.message)); it stays claimed until this worker ends.")
            case .lifeLost(let count): (.warning, "The life line was lost: \(count) workflows that ran here are another worker's to go on with.")
            case .handedBack: (.debug, "Handed back unfinished.")
            case .parked: (.debug, "Parked.")
            case .cancelling(.asked(let by)): (.debug, by == .parent ? "Being cancelled, with its parent." : "Being cancelled.")
            case .cancelling(.deadline): (.debug, "Its deadline has passed.")
            case .clearing:
                (.notice, "Workflows wait that were there when workers crashed twice: claims rest until each of them has run alone to a checkpoint.")
            }
        log(EngineLogRecord(level: level, message: message, workflowID: run?.workflow.workflowID, epoch: run?.workflow.fence.epoch))
    }
}

extension EngineClock {
    package static let system = EngineClock(
        monotonic: {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
        },
        wall: {
            var time = timespec()
            clock_gettime(CLOCK_REALTIME, &time)
            return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
        })
}
