import PostgresClient

/// The session for what one worker does for all of them: it fires schedules at their instants, and deletes what is past its retention. Heartbeats say
/// when something is due.
///
/// A lost answer needs no care: whatever was done was done once, and the next heartbeat says what is left. Loop thread only.
final class HousekeepingSession {
    /// What it is doing, and what that can turn into.
    private enum Phase {
        /// → running, closed
        case idle
        /// → idle, closed
        case running
        case closed
    }

    /// Schedules due within this many microseconds get a timer; of later ones another heartbeat comes in time.
    static let horizon: Int64 = 2_000_000

    private let context: StoreContext
    private let session: Session
    private var phase = Phase.idle
    /// When the next instant of a schedule comes.
    private var alarm: (deadline: UInt64, timer: EventLoop.Timer)?
    private var schedulesAreDue = false
    private var retentionIsDue = false
    /// After a batch of retention, until the next one.
    private var rest: EventLoop.Timer?
    private var complaints = LogLimiter()

    init(context: StoreContext) {
        self.context = context
        let options = context.protocolOptions(StatementSet.housekeeping, lockTimeout: "\(StoreContext.lockTimeout)")
        session = Session(options: options, connector: context.connector, loop: context.loop)
        session.onReady = { [weak self] _ in self?.pump() }
        session.onFailedAttempt = { [weak self] error in self?.complain("the housekeeping session cannot connect: \(error)") }
        session.onLost = { [weak self] error in self?.complain("the housekeeping session was lost: \(error)") }
    }

    /// For good: others do it from now on.
    func close() {
        forget()
        phase = .closed
        session.close()
    }

    /// Whatever its backend still does, it does no harm.
    func lifeEnded() {
        if case .closed = phase { return }
        forget()
        phase = .idle
        session.reconnect()
    }

    /// - Parameter schedulesIn: microseconds until a schedule is due; nil: none is, soon.
    func expect(schedulesIn: Int64?, retention: Bool) {
        if case .closed = phase { return }
        session.start()
        if let schedulesIn { awaitSchedules(in: schedulesIn) }
        if retention, rest == nil { retentionIsDue = true }
        pump()
    }

    /// Something that held it back may be over.
    func pump() {
        guard case .idle = phase, schedulesAreDue || retentionIsDue, let connection = session.connection, let worker = context.certainWorker else { return }
        phase = .running
        // A batch of retention may take a while, an instant should not.
        if schedulesAreDue { fireSchedules(connection, worker) } else { runRetention(connection, worker) }
    }

    private func awaitSchedules(in microseconds: Int64) {
        guard microseconds > 0 else {
            schedulesAreDue = true
            return
        }
        guard microseconds <= Self.horizon else { return }
        let delay = UInt64(microseconds) * 1000
        let deadline = EventLoop.now() + delay
        // A timer that comes too early finds nothing, and learns when to come again.
        if let alarm {
            guard deadline < alarm.deadline else { return }
            context.loop.cancel(alarm.timer)
        }
        let timer = context.loop.schedule(afterNanoseconds: delay) { [weak self] in
            guard let self else { return }
            alarm = nil
            schedulesAreDue = true
            pump()
        }
        alarm = (deadline, timer)
    }

    private func fireSchedules(_ connection: Connection, _ worker: UUIDBytes) {
        schedulesAreDue = false
        RunSchedulesStatement(worker: worker).add(to: connection, &context.buffer)
        sync(connection, worker, "schedules cannot be fired") { [self] result in
            if let next = RunSchedulesStatement.decode(result) { awaitSchedules(in: next) }
            phase = .idle
            pump()
        }
    }

    private func runRetention(_ connection: Connection, _ worker: UUIDBytes) {
        retentionIsDue = false
        let began = EventLoop.now()
        RunRetentionStatement(worker: worker).add(to: connection, &context.buffer)
        sync(connection, worker, "retention cannot be kept") { [self] result in
            phase = .idle
            // A heartbeat that came meanwhile did not know of this.
            retentionIsDue = false
            if RunRetentionStatement.decode(result) {
                // Half of the time is others': nobody's next batch begins earlier.
                rest = context.loop.schedule(afterNanoseconds: EventLoop.now() - began) { [weak self] in
                    guard let self else { return }
                    rest = nil
                    retentionIsDue = true
                    pump()
                }
            }
            pump()
        }
    }

    /// `next` is called if the request succeeded in the life it was sent in; otherwise the next heartbeat says what is due.
    private func sync(_ connection: Connection, _ worker: UUIDBytes, _ what: String, _ next: @escaping (PostgresResult) -> Void) {
        connection.sync { [self] reply in
            guard case .running = phase, context.incarnation?.worker == worker else { return }
            guard let failure = reply.failure else { return next(reply.results[0]) }
            phase = .idle
            if failure.sqlState == "PW004" { context.life?.check() }
            if failure.code == .server { complain("\(what): \(failure)") }
        }
    }

    private func forget() {
        if let alarm { context.loop.cancel(alarm.timer) }
        if let rest { context.loop.cancel(rest) }
        alarm = nil
        rest = nil
        schedulesAreDue = false
        retentionIsDue = false
    }

    private func complain(_ message: String) {
        if complaints.shouldLog() { context.log(.warning, message) }
    }
}
