import PostgresClient

/// Sessions for handlers' SQL, or for SQL handlers, opened when they are needed and never more than allowed. A session is as new when it is lent again.
/// Loop thread only.
final class SessionPool {
    /// A session while somebody has it.
    final class Lease {
        let connection: Connection
        /// It ran something that the cheap reset does not undo.
        var isDirty = false
        fileprivate unowned let place: Place
        fileprivate init(_ connection: Connection, _ place: Place) {
            self.connection = connection
            self.place = place
        }
    }

    fileprivate final class Place {
        enum State {
            /// → free
            case connecting
            /// → leased
            case free
            /// → resetting, connecting
            case leased
            /// → free, connecting
            case resetting
        }
        var state = State.connecting
        let session: Session
        init(_ session: Session) { self.session = session }
    }

    private let context: StoreContext
    private let statements: [PreparedStatement]
    private var places: [Place] = []
    private var waiting: [(ticket: UInt64, taker: (Lease) -> Void)] = []
    private var nextTicket: UInt64 = 0
    private var complaints = LogLimiter()

    init(context: StoreContext, statements: [PreparedStatement]) {
        self.context = context
        self.statements = statements
    }

    func close() {
        waiting = []
        for place in places { place.session.close() }
        places = []
    }

    /// Calls `taker` with a session: now, or when one is free, in the order of the calls.
    @discardableResult
    func take(_ taker: @escaping (Lease) -> Void) -> UInt64 {
        nextTicket += 1
        waiting.append((nextTicket, taker))
        serve()
        return nextTicket
    }

    /// Takes a wish back that has not been served yet.
    func forget(_ ticket: UInt64) { waiting.removeAll { $0.ticket == ticket } }

    func giveBack(_ lease: Lease) {
        let place = lease.place
        guard place.session.connection === lease.connection else { return }
        if lease.isDirty { return replace(place) }
        place.state = .resetting
        switch lease.connection.transactionStatus {
        case .idle: break
        case .inTransaction, .inFailedTransaction: lease.connection.add(sql: TransactionCommand.rollback)
        case .unknown: return replace(place)
        }
        for command in TransactionCommand.reset { lease.connection.add(sql: command) }
        lease.connection.sync { [weak self] reply in
            guard let self, place.session.connection === lease.connection else { return }
            guard reply.failure == nil, lease.connection.transactionStatus == .idle else { return replace(place) }
            place.state = .free
            serve()
        }
    }

    /// Ends a session with whatever runs in it; a new one takes its place.
    func discard(_ lease: Lease) {
        guard lease.place.session.connection === lease.connection else { return }
        replace(lease.place)
    }

    private func replace(_ place: Place) {
        place.state = .connecting
        place.session.reconnect()
    }

    private func serve() {
        while !waiting.isEmpty {
            guard let place = places.first(where: { if case .free = $0.state { $0.session.connection?.isOpen ?? false } else { false } }),
                let connection = place.session.connection
            else { break }
            place.state = .leased
            waiting.removeFirst().taker(Lease(connection, place))
        }
        let opening = places.count { if case .connecting = $0.state { true } else { false } }
        for _ in 0..<max(0, min(waiting.count - opening, max(1, context.configuration.poolConnections) - places.count)) { open() }
    }

    private func open() {
        let session = Session(options: context.poolOptions(statements), connector: context.connector, loop: context.loop)
        let place = Place(session)
        places.append(place)
        session.onReady = { [weak self, unowned place] _ in
            place.state = .free
            self?.serve()
        }
        session.onLost = { [unowned place] _ in place.state = .connecting }
        session.onFailedAttempt = { [weak self] error in
            guard let self, complaints.shouldLog() else { return }
            context.log(.warning, "a session for handlers' SQL cannot connect: \(error)")
        }
        session.start()
    }
}
