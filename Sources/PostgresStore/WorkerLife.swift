import Glibc
import Locking
import PostgresClient

/// A worker's registered life: from a registration until the life line is lost.
struct Incarnation: Sendable {
    let worker: UUIDBytes
    let registration: RegisterWorkerStatement.Registration
}

/// The life line: a session of its own on a thread of its own, which registers the worker and sends its heartbeats. When the line is lost,
/// so is the life; a new one begins under a new id.
final class WorkerLife: @unchecked Sendable {  // `shared` is locked; the rest is the life thread's, or set before it starts
    enum Event: Sendable {
        case began(Incarnation)
        /// These handlers are offered from now on.
        case offered([HandlerOffer])
        case ended(worker: UUIDBytes, reason: String)
        /// The server has just confirmed that the life goes on.
        case confirmed
        /// A life could not begin, and trying again would not help: why, and what would.
        case refused(String)
        /// Whether a restored copy is held still.
        case held(Bool)
        /// Whether workflows wait that must run alone; said again as long as they do.
        case suspects(Bool)
        /// Schedules are due in so many microseconds, or ended workflows past their retention; said again as long as it is so.
        case due(schedulesIn: Int64?, retention: Bool)
        /// The thread has ended, as asked.
        case stopped
    }

    private struct Shared {
        var handlers: [HandlerOffer]
        var handlersChanged = false
        var running = 0
        var draining = false
        var isStopping = false
        var beatNow = false
        var rounds: UInt64 = 0
        /// On the clock that goes on while the machine sleeps: nobody can have declared this worker dead for its silence before.
        var certainUntil: UInt64 = 0
    }

    private let shared: Locked<Shared>
    private let configuration: StoreConfiguration
    private let options: ConnectionOptions
    private let wakeDescriptor = WakeDescriptor()
    private let deliver: @Sendable (Event) -> Void
    private let log: @Sendable (LogLevel, String) -> Void
    private var thread: SystemThread?
    private var backoff = Backoff()

    /// `deliver` is called on the life thread.
    init(
        configuration: StoreConfiguration, options: ConnectionOptions, log: @escaping @Sendable (LogLevel, String) -> Void,
        deliver: @escaping @Sendable (Event) -> Void
    ) {
        self.configuration = configuration
        self.options = options
        self.log = log
        self.deliver = deliver
        shared = Locked(Shared(handlers: configuration.handlers))
    }

    // MARK: Any thread

    func start() { thread = SystemThread(name: "pawl-life") { [self] in run() } }

    func setHandlers(_ handlers: [HandlerOffer]) {
        shared.withLock {
            $0.handlers = handlers
            $0.handlersChanged = true
        }
        wakeDescriptor.signal()
    }

    func setRunning(_ count: Int) { shared.withLock { $0.running = count } }

    /// Grows whenever the thread comes round: at each heartbeat, and at each attempt to connect.
    var rounds: UInt64 { shared.withLock { $0.rounds } }

    func setDraining() { shared.withLock { $0.draining = true } }

    /// Whether nobody can have declared this worker dead for its silence. False after the process was stopped for longer than the lease: then the
    /// life line is asked at once, and `confirmed` or `ended` follows.
    func isCertain() -> Bool {
        let certain = shared.withLock { shared -> Bool in
            if bootTime() < shared.certainUntil { return true }
            shared.beatNow = true
            return false
        }
        if !certain { wakeDescriptor.signal() }
        return certain
    }

    /// Asks the life line at once: a write was told that this worker is not known.
    func check() {
        shared.withLock { $0.beatNow = true }
        wakeDescriptor.signal()
    }

    /// Unregisters the worker, which hands back what it still holds, and ends the thread; `stopped` is its last word.
    func stop() {
        shared.withLock { $0.isStopping = true }
        wakeDescriptor.signal()
    }

    /// Waits for the thread's end.
    func join() {
        thread?.join()
        thread = nil
    }

    // MARK: Life thread

    private var isStopping: Bool { shared.withLock { $0.isStopping } }

    private func run() {
        while !isStopping {
            shared.withLock { $0.rounds += 1 }
            do throws(PostgresError) {
                let connection = try BlockingConnection(options)
                try live(connection)
            } catch {
                guard !isStopping else { break }
                if let refusal = LifeRefusal(error) {
                    log(.error, "life line: \(refusal.text)")
                    deliver(.refused(refusal.text))
                } else {
                    log(.warning, "life line: \(error)\(error.hint.map { ". \($0)" } ?? "")")
                }
                pause(backoff.next())
            }
        }
        deliver(.stopped)
    }

    /// One life. Returns when it has ended in order; throws if it could not begin, or was asked about in vain.
    private func live(_ connection: BlockingConnection) throws(PostgresError) {
        let worker = UUIDBytes.random()
        let handlers = takeHandlers()
        let patience: UInt64 = 30_000_000_000
        var sentAt = bootTime()
        let registration = try register(worker, handlers, on: connection, patience)
        shared.withLock { $0.certainUntil = sentAt + registration.lease }
        backoff.reset()
        deliver(.began(Incarnation(worker: worker, registration: registration)))
        deliver(.offered(handlers))

        var held = registration.held != nil
        var hadSuspects = false
        var nextBeat = bootTime() + registration.heartbeatInterval
        do throws(PostgresError) {
            while true {
                wait(until: nextBeat, connection)
                let (stopping, changed, beatNow) = shared.withLock { shared in
                    defer { shared.beatNow = false }
                    shared.rounds += 1
                    return (shared.isStopping, shared.handlersChanged, shared.beatNow)
                }
                if stopping {
                    let returned = try UnregisterWorkerStatement(worker: worker).run(on: connection, timeoutNanoseconds: registration.lease)
                    if returned.rowCount == 1, returned.int32(0, 0) > 0 {
                        log(.notice, "handed back \(returned.int32(0, 0)) workflows at the end of worker \(worker)")
                    }
                    return
                }
                if connection.isClosed { throw PostgresError(code: .connectionLost, message: "the server closed the life line") }
                if changed {
                    let handlers = takeHandlers()
                    do throws(PostgresError) {
                        _ = try register(worker, handlers, on: connection, registration.lease)
                        deliver(.offered(handlers))
                    } catch {
                        guard error.code == .server else { throw error }
                        log(.error, "worker \(worker): the handlers could not be changed: \(error)\(error.hint.map { ". \($0)" } ?? "")")
                    }
                }
                guard beatNow || bootTime() >= nextBeat else { continue }
                sentAt = bootTime()
                let (running, draining, certainUntil) = shared.withLock { ($0.running, $0.draining, $0.certainUntil) }
                // Past its lease a worker counts as dead; after a long stop the answer still decides.
                let limit = max(certainUntil, sentAt + registration.heartbeatInterval) - sentAt
                let result = try HeartbeatStatement(worker: worker, running: running, draining: draining)
                    .run(on: connection, timeoutNanoseconds: max(limit, registration.lease / 2))
                let beat = HeartbeatStatement.decode(result)
                guard beat.alive else { throw PostgresError(code: .server, sqlState: "PW004", message: "the worker was declared dead") }
                shared.withLock { $0.certainUntil = sentAt + registration.lease }
                // Nobody waits to be found dead by it; and whoever comes is found to have come within a second.
                nextBeat = sentAt + (beat.alone ? 2 : 1) * registration.heartbeatInterval
                if beatNow { deliver(.confirmed) }
                if beat.held != held {
                    held = beat.held
                    deliver(.held(held))
                }
                if beat.suspects || hadSuspects {
                    hadSuspects = beat.suspects
                    deliver(.suspects(hadSuspects))
                }
                let schedulesIn = beat.scheduleIn.flatMap { $0 <= HousekeepingSession.horizon ? $0 : nil }
                if schedulesIn != nil || beat.retention { deliver(.due(schedulesIn: schedulesIn, retention: beat.retention)) }
                if beat.reclaimed > 0 { log(.notice, "worker \(worker) handed back \(beat.reclaimed) workflows of dead workers") }
            }
        } catch {
            shared.withLock { $0.certainUntil = 0 }
            if !isStopping { deliver(.ended(worker: worker, reason: "\(error)")) }
            throw error
        }
    }

    private func takeHandlers() -> [HandlerOffer] {
        shared.withLock { shared in
            shared.handlersChanged = false
            return shared.handlers
        }
    }

    private func register(_ worker: UUIDBytes, _ handlers: [HandlerOffer], on connection: BlockingConnection, _ timeout: UInt64)
        throws(PostgresError) -> RegisterWorkerStatement.Registration
    {
        let statement = RegisterWorkerStatement(worker: worker, configuration: configuration, processID: getpid(), handlers: handlers)
        return try RegisterWorkerStatement.decode(try statement.run(on: connection, timeoutNanoseconds: timeout))
    }

    /// Until then, or a signal, or the socket has something to say (its end, mostly).
    private func wait(until deadline: UInt64, _ connection: BlockingConnection) {
        let now = bootTime()
        guard deadline > now else { return wakeDescriptor.clear() }
        wakeDescriptor.wait(nanoseconds: deadline - now, or: connection.descriptor)
    }

    private func pause(_ nanoseconds: UInt64) {
        let deadline = bootTime() + nanoseconds
        while !isStopping {
            let now = bootTime()
            guard now < deadline else { return }
            wakeDescriptor.wait(nanoseconds: deadline - now, or: -1)
        }
    }
}

/// Nanoseconds since the machine was started, suspended time included.
private func bootTime() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
