package import WorkflowEngine

/// One worker's store over a `MemoryDatabase`. What is sent waits until `pump` carries it out, so a test can look at it, refuse it, delay it, lose its
/// answer, or kill the worker before or after it.
package final class MemoryStore: WorkflowStore {
    /// Where a worker can be killed: twice for each request that writes.
    package struct Point: Sendable, Equatable {
        package enum Side: Sendable { case before, after }
        package var request: String
        package var side: Side
    }

    package var events: ((StoreEvent) -> Void)?
    package let database: MemoryDatabase
    package private(set) var worker: Int
    /// True: the worker dies here; nothing is carried out or answered any more.
    package var crash: (Point) -> Bool = { _ in false }
    /// Instead of what the database says, for tests of refusals.
    package var refuseStep: (StepRecord) -> Refusal? = { _ in nil }
    package var refuseEnd: (WorkflowEnd) -> Refusal? = { _ in nil }
    package var endTransaction: (StepRecord) -> TransactionEnd? = { _ in nil }
    /// Requests that stay where they are for now.
    package var holds: (StoreRequest) -> Bool = { _ in false }
    package private(set) var hasCrashed = false
    /// Everything that was ever sent, by kind.
    package private(set) var sent: [String] = []
    package private(set) var queue: [StoreRequest] = []

    private var claimLimit = 0
    private var changes: [RequestID: [(name: String, by: Int)]] = [:]

    package init(_ database: MemoryDatabase) {
        self.database = database
        worker = database.newWorker()
    }

    package func send(_ requests: [StoreRequest]) {
        for request in requests {
            sent.append(request.kind)
            if case .claim(let limit, _) = request { claimLimit = limit } else { queue.append(request) }
        }
    }

    /// Carries out what is queued. False: there was nothing to do.
    @discardableResult package func pump() -> Bool {
        if hasCrashed { return false }
        var didSomething = false
        var held: [StoreRequest] = []
        while !queue.isEmpty, !hasCrashed {
            let request = queue.removeFirst()
            if holds(request) {
                held.append(request)
            } else {
                carryOut(request)
                didSomething = true
            }
        }
        queue = held
        if claimLimit > 0, !hasCrashed {
            if dies("claim", .before) { return true }
            let claimed = database.claim(worker, limit: claimLimit)
            if !claimed.isEmpty {
                if dies("claim", .after) { return true }
                claimLimit = 0
                events?(.claimed(claimed))
                didSomething = true
            }
        }
        return didSomething
    }

    /// Declared dead, and a new incarnation at once: what is queued is refused, as the contract says.
    package func loseLife() {
        database.reclaim(from: worker)
        worker = database.newWorker()
        events?(.lifeLost)
    }

    private func dies(_ request: String, _ side: Point.Side) -> Bool {
        if crash(Point(request: request, side: side)) { hasCrashed = true }
        return hasCrashed
    }

    private func carryOut(_ request: StoreRequest) {
        switch request {
        case .claim: break
        case .write(let id, let steps, let ends):
            if dies("write", .before) { return }
            let refusedSteps = steps.enumerated().compactMap { index, step in
                (refuseStep(step) ?? database.record(worker, step)).map { (index: index, refusal: $0) }
            }
            let refusedEnds = ends.enumerated().compactMap { index, end in
                (refuseEnd(end) ?? database.end(worker, end)).map { (index: index, refusal: $0) }
            }
            if dies("write", .after) { return }
            events?(.written(id, steps: refusedSteps, ends: refusedEnds))
        case .release(let fences):
            if dies("release", .before) { return }
            database.release(worker, fences)
            _ = dies("release", .after)
        case .begin(let id, _, _): changes[id] = []
        case .execute(let id, let transaction, let statement):
            events?(.executed(id, run(statement, transaction)))
        case .commit(let id, let transaction, let record):
            if dies("commit", .before) { return }
            let changes = changes.removeValue(forKey: transaction) ?? []
            let end = endTransaction(record) ?? database.commit(worker, record, changes: changes)
            if dies("commit", .after) { return }
            events?(.transactionEnded(id, end))
        case .rollback(let transaction): changes[transaction] = nil
        case .query(let id, let statement): events?(.executed(id, run(statement, nil)))
        case .perform, .emit, .park, .runHandler: preconditionFailure("not in this store")
        }
    }

    /// The SQL of tests: `add` (name, amount), `get` (name), `fail` (SQLSTATE).
    private func run(_ statement: SQLStatement, _ transaction: RequestID?) -> SQLResult {
        let parameters = statement.parameters.map { String(decoding: $0 ?? [], as: UTF8.self) }
        switch statement.sql {
        case "add":
            guard let transaction else { return .failure(WorkflowError(code: "25006", type: "test", message: "read-only")) }
            changes[transaction, default: []].append((parameters[0], Int(parameters[1]) ?? 0))
            return .success(Array(#"{"columns": [], "rows": [], "affected": 1}"#.utf8))
        case "get":
            let own = transaction.flatMap { changes[$0] }?.filter { $0.name == parameters[0] }.reduce(0) { $0 + $1.by } ?? 0
            return .success(Array(#"{"columns": [["value", 23]], "rows": [["\#(database.counter(parameters[0]) + own)"]], "affected": 1}"#.utf8))
        case "fail": return .failure(WorkflowError(code: parameters[0], type: "test", message: "as asked"))
        default: return .failure(WorkflowError(code: "42601", type: "test", message: "what is \(statement.sql)?"))
        }
    }
}

extension StoreRequest {
    package var kind: String {
        switch self {
        case .claim(let limit, let alone): "claim \(limit)\(alone ? " alone" : "")"
        case .write(_, let steps, let ends): "write \(steps.count) \(ends.count)"
        case .release(let fences): "release \(fences.count)"
        case .begin: "begin"
        case .execute: "execute"
        case .commit: "commit"
        case .rollback: "rollback"
        case .query: "query"
        case .perform(_, let calls): "perform \(calls.count)"
        case .emit(_, let values): "emit \(values.count)"
        case .park(let parkings): "park \(parkings.count)"
        case .runHandler: "run handler"
        }
    }
}
