package import WorkflowEngine

/// One worker's store over a `MemoryDatabase`. What is sent waits until `pump` carries it out, so a test can look at it, refuse it, delay it, lose its
/// answer, or kill the worker before or after it.
package final class MemoryStore: WorkflowStore {
    /// Where a worker can be killed: twice for each request that writes.
    package struct Point: Sendable, Equatable {
        package enum Side: Sendable { case before, after }
        package var request: String
        package var side: Side
        /// Steps that are written.
        package var steps: [String] = []
    }

    package var events: ((StoreEvent) -> Void)?
    package let database: MemoryDatabase
    package private(set) var worker: Int
    /// The versions of a name that this worker can run: empty is all of them, nil none.
    package var offered: @Sendable (String) -> [Int32]? = { _ in [] }
    /// True: the worker dies here; nothing is carried out or answered any more.
    package var crash: (Point) -> Bool = { _ in false }
    /// Instead of what the database says, for tests of refusals.
    package var refuseStep: (StepRecord) -> Refusal? = { _ in nil }
    package var refuseEnd: (WorkflowEnd) -> Refusal? = { _ in nil }
    package var refuseCall: (DurableCall) -> Refusal? = { _ in nil }
    package var endTransaction: (StepRecord) -> TransactionEnd? = { _ in nil }
    /// Requests that stay where they are for now.
    package var holds: (StoreRequest) -> Bool = { _ in false }
    package private(set) var hasCrashed = false
    /// Everything that was ever sent, by kind.
    package private(set) var sent: [String] = []
    package private(set) var queue: [StoreRequest] = []

    private var isDead = false
    /// In the middle of which it crashed.
    private var unanswered: StoreRequest?
    private var claimLimit = 0
    private var claimsAlone = false
    private var sawSuspects = false
    private var transactions: [RequestID: MemoryTransaction] = [:]

    package init(_ database: MemoryDatabase) {
        self.database = database
        worker = database.newWorker()
    }

    package func send(_ requests: [StoreRequest]) {
        for request in requests {
            sent.append(request.kind)
            if case .claim(let limit, let alone) = request {
                claimLimit = limit
                claimsAlone = alone
            } else {
                queue.append(request)
            }
        }
    }

    /// Carries out what is queued. False: there was nothing to do.
    @discardableResult package func pump() -> Bool {
        if isDead { return refuseAll() }
        if hasCrashed { return false }
        var didSomething = false
        var held: [StoreRequest] = []
        while !queue.isEmpty, !hasCrashed {
            let request = queue.removeFirst()
            if holds(request) {
                held.append(request)
            } else {
                carryOut(request)
                if hasCrashed { unanswered = request }
                didSomething = true
            }
        }
        queue = held
        if !hasCrashed { didSomething = claim() || didSomething }
        if !hasCrashed { didSomething = tell() || didSomething }
        return didSomething
    }

    private func claim() -> Bool {
        guard claimLimit > 0 else { return false }
        let alone = claimsAlone
        var claimed: [ClaimedWorkflow] = []
        if database.hasClaimable(alone: alone, offered: offered) {
            if dies("claim", .before) { return true }
            claimed = database.claim(worker, limit: claimLimit, alone: alone, offered: offered)
            if dies("claim", .after) { return true }
        } else if !alone {
            return false
        }
        claimLimit = 0
        events?(.claimed(claimed))
        return true
    }

    /// What happened to the workflows that run here, and whether suspects wait.
    private func tell() -> Bool {
        var didSomething = false
        let suspects = database.hasSuspects
        if suspects != sawSuspects {
            sawSuspects = suspects
            events?(.suspects(suspects))
            didSomething = true
        }
        let signals = database.takeSignals(of: worker)
        if !signals.isEmpty {
            events?(.signalled(signals))
            didSomething = true
        }
        return didSomething
    }

    /// Declared dead, and a new incarnation at once: what is queued is refused, as the contract says.
    package func loseLife() {
        database.reclaim(from: worker)
        worker = database.newWorker()
        events?(.lifeLost)
    }

    /// The worker is gone, as far as the database knows: what is queued is lost, and its workflows can be claimed again. Its engine only stops its runs from
    /// here on, and is answered that all is fenced.
    package func die() {
        hasCrashed = true
        isDead = true
        if let unanswered { queue.insert(unanswered, at: 0) }
        transactions = [:]
        claimLimit = 0
        database.reclaim(from: worker)
        events?(.lifeLost)
    }

    private func refuseAll() -> Bool {
        guard !queue.isEmpty else { return false }
        let requests = queue
        queue = []
        let lost = WorkflowError(code: "08006", type: "MemoryStore", message: "The worker is gone.")
        for request in requests {
            switch request {
            case .write(let id, let steps, let ends):
                events?(.written(id, steps: steps.indices.map { ($0, .fenced) }, ends: ends.indices.map { ($0, .fenced) }))
            case .perform(let id, let calls): events?(.performed(id, calls.map { _ in .refused(.fenced) }))
            case .emit(let id, let emissions): events?(.emitted(id, refused: emissions.indices.map { ($0, .fenced) }))
            case .runHandler(let id, _): events?(.handlerRan(id, .refused(.fenced)))
            case .execute(let id, _, _), .query(let id, _): events?(.executed(id, .failure(lost)))
            case .commit(let id, _, _): events?(.transactionEnded(id, .refused(.fenced)))
            case .claim, .park, .release, .begin, .rollback: break
            }
        }
        return true
    }

    private func dies(_ request: String, _ side: Point.Side, steps: [String] = []) -> Bool {
        if crash(Point(request: request, side: side, steps: steps)) { hasCrashed = true }
        return hasCrashed
    }

    /// Carries out a write and answers it, unless the worker dies on either side of it.
    private func write(_ name: String, steps: [String] = [], _ body: () -> StoreEvent?) {
        if dies(name, .before, steps: steps) { return }
        let event = body()
        if dies(name, .after, steps: steps) { return }
        if let event { events?(event) }
    }

    private func carryOut(_ request: StoreRequest) {
        switch request {
        case .claim: break
        case .write(let id, let steps, let ends):
            write("write", steps: steps.map(\.name)) {
                let refusedSteps = steps.enumerated().compactMap { index, step in
                    (refuseStep(step) ?? database.record(worker, step)).map { (index: index, refusal: $0) }
                }
                let refusedEnds = ends.enumerated().compactMap { index, end in
                    (refuseEnd(end) ?? database.end(worker, end)).map { (index: index, refusal: $0) }
                }
                return .written(id, steps: refusedSteps, ends: refusedEnds)
            }
        case .perform(let id, let calls):
            write("perform", steps: calls.map(\.name)) {
                .performed(id, calls.map { call in refuseCall(call).map { .refused($0) } ?? database.perform(worker, call) })
            }
        case .emit(let id, let emissions):
            write("emit") {
                .emitted(
                    id, refused: emissions.enumerated().compactMap { index, emission in database.emit(worker, emission).map { (index: index, refusal: $0) } })
            }
        case .park(let parkings):
            write("park") {
                database.park(worker, parkings)
                return nil
            }
        case .runHandler(let id, let fence): write("runHandler") { .handlerRan(id, database.runHandler(worker, fence)) }
        case .release(let fences):
            write("release") {
                database.release(worker, fences)
                return nil
            }
        case .begin(let id, let fence, _): transactions[id] = MemoryTransaction(fence: fence)
        case .execute(let id, let transaction, let statement):
            events?(.executed(id, database.execute(statement, in: transactions[transaction])))
        case .commit(let id, let transaction, let record):
            let changes = transactions.removeValue(forKey: transaction) ?? MemoryTransaction(fence: record.fence)
            write("commit", steps: [record.name]) { .transactionEnded(id, endTransaction(record) ?? database.commit(worker, record, changes)) }
        case .rollback(let transaction): transactions[transaction] = nil
        case .query(let id, let statement): events?(.executed(id, database.execute(statement, in: nil)))
        }
    }
}

extension StoreRequest {
    package var kind: String {
        switch self {
        case .claim(let limit, let alone): alone ? "claim alone" : "claim \(limit)"
        case .write(_, let steps, let ends): "write \(steps.count) \(ends.count)"
        case .perform(_, let calls): "perform \(calls.count)"
        case .emit(_, let emissions): "emit \(emissions.count)"
        case .park(let parkings): "park \(parkings.count)"
        case .runHandler: "runHandler"
        case .release(let fences): "release \(fences.count)"
        case .begin: "begin"
        case .execute: "execute"
        case .commit: "commit"
        case .rollback: "rollback"
        case .query: "query"
        }
    }
}
