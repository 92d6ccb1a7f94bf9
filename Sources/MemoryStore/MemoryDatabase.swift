internal import HeapModule
package import Locking
package import WorkflowEngine

/// What Postgres holds, in memory: workflows with all that belongs to them, and one table of counters for transactions to change. Outlives the workers
/// that use it.
package final class MemoryDatabase: Sendable {
    package enum Status: String, Sendable {
        case enqueued, delayed, running, waiting, succeeded, failed, cancelled
        package var isEnd: Bool { self == .succeeded || self == .failed || self == .cancelled }
    }

    package struct Step: Sendable {
        package enum Status: String, Sendable { case waiting, retrying, succeeded, failed }
        package var name: String
        package var number: Int32
        package var kind: String
        package var status: Status
        package var outcome: Outcome?
        package var attempts: Int32 = 1
        /// Of the run that recorded it.
        package var epoch: Int32
        package var startedAt: Int64
        package var completedAt: Int64?
        package var dueAt: Int64?
        /// As a wait was called with.
        package var arguments: JSONBytes?
        package var childWorkflowID: String?
        var wait: Wait?

        func recorded(at now: Int64) -> RecordedStep {
            switch status {
            case .waiting: RecordedStep(name: name, number: number, kind: kind, state: .waiting(dueIn: dueAt.map { $0 - now }))
            case .retrying:
                RecordedStep(
                    name: name, number: number, kind: kind,
                    state: .retrying(
                        attempts: attempts, dueIn: (dueAt ?? now) - now, startedAt: startedAt, failure: outcome?.failure ?? WorkflowError(decoding: [])))
            case .succeeded, .failed: RecordedStep(name: name, number: number, kind: kind, outcome: outcome ?? .success(Array("null".utf8)))
            }
        }
        package var step: RecordedStep { recorded(at: 0) }
    }

    package struct Message: Sendable {
        package var topic: String
        package var message: StoredJSON
        package var idempotencyKey: String?
        /// The step that received it.
        package var consumedBy: String?
    }

    package struct Event: Sendable {
        package var key: String
        package var value: StoredJSON
        package var stepName: String
    }

    package struct StreamEntry: Sendable {
        package var position: Int64
        package var attempt: Int32
        package var stepName: String
        package var value: StoredJSON
    }

    package struct Stream: Sendable {
        package var entries: [StreamEntry] = []
        package var isClosed = false
    }

    package struct Workflow: Sendable {
        package var key: Int64
        package var id: String
        package var name: String
        /// nil: the first claim decides.
        package var version: Int32?
        package var queue = "default"
        package var priority: Int32 = 0
        package var partitionKey: String?
        package var headers: StoredJSON?
        package var attributes: StoredJSON?
        package var progress: StoredJSON?
        package var input: JSONBytes
        package var createdAt: Int64
        package var startedAt: Int64?
        package var completedAt: Int64?
        /// Microseconds, from its first start.
        package var timeout: Int64?
        package var deadlineAt: Int64?
        /// When a delayed or parked one becomes claimable by itself.
        package var dueAt: Int64?
        package var waitingFor: String?
        package var epoch: Int32 = 0
        package var claimedBy: Int?
        package var status = Status.enqueued
        package var reason: String?
        package var outcome: Outcome?
        package var recoveries: Int32 = 0
        /// Since the last recorded step.
        package var crashes: Int32 = 0
        package var isOnProbation = false
        package var parent: Int64?
        package var isDetached = false
        package var children: [Int64] = []
        package var cancellation: Cancellation?
        package var cancelNote: String?
        package var steps: [String: Step] = [:]
        package var messages: [Message] = []
        package var events: [Event] = []
        package var streams: [String: Stream] = [:]
        /// How often it was begun anew.
        package var continuations = 0
        /// A fresh one each time it becomes claimable; nil: it is not.
        var ready: Int64?
        /// Which of all ends it was.
        var endOrder = 0

        package var stepNames: [String] { steps.values.sorted { ($0.number, $0.name) < ($1.number, $1.name) }.map(\.name) }
        package func event(_ key: String) -> StoredJSON? { events.last { $0.key == key }?.value }
        package var isEnded: Bool { status.isEnd }
    }

    package struct State: Sendable {
        package var workflows: [Int64: Workflow] = [:]
        package var keysByID: [String: Int64] = [:]
        /// The table that transactions change.
        package var counters: [String: Int] = [:]
        package var unfinished = 0
        /// What each transaction did, by its step.
        package var committed: [String: [String]] = [:]
        /// Names of workflows that are SQL functions.
        package var functions: [String: SQLFunction] = [:]
        /// nil: any name is a queue.
        package var queues: Set<String>?
        var ready = Heap<Ready>()
        var due = Heap<Due>()
        /// Claimable ones that were there at two crashes in a row.
        var suspects: Set<Int64> = []
        /// Who waits for something of another workflow.
        var waiters: [String: Set<Int64>] = [:]
        /// What happened to workflows that run, by their worker.
        var signals: [Int: Set<Int64>] = [:]
        var lastWorker = 0
        var lastKey: Int64 = 0
        var lastReady: Int64 = 0
        var ends = 0
    }

    /// A workflow that is a function in the database.
    package typealias SQLFunction = @Sendable (JSONBytes) -> Result<JSONBytes, WorkflowError>

    struct Ready: Comparable, Sendable {
        /// 2 × priority, plus 1 while never started.
        var rank: Int64
        var ready: Int64
        var key: Int64
        static func < (one: Ready, other: Ready) -> Bool { (one.rank, one.ready) < (other.rank, other.ready) }
    }

    struct Due: Comparable, Sendable {
        var at: Int64
        var key: Int64
        static func < (one: Due, other: Due) -> Bool { (one.at, one.key) < (other.at, other.key) }
    }

    package static let maximumSteps: Int32 = 50_000
    package static let maximumCrashes: Int32 = 3

    package let state = Locked(State())
    /// Microseconds since 1970-01-01T00:00:00Z.
    package let now: @Sendable () -> Int64
    /// What answers SQL, in a transaction or (nil) outside of one.
    package typealias SQL = @Sendable (SQLStatement, MemoryTransaction?, MemoryDatabase) -> SQLResult
    private let sql: SQL

    package init(clock: EngineClock = .system, sql: @escaping SQL = MemoryDatabase.counterSQL) {
        now = clock.wall
        self.sql = sql
    }

    func execute(_ statement: SQLStatement, in transaction: MemoryTransaction?) -> SQLResult {
        let parameters = statement.parameters.map { $0.map { String(decoding: $0, as: UTF8.self) } ?? "NULL" }
        transaction?.statements.append("\(statement.sql) \(parameters)")
        return sql(statement, transaction, self)
    }

    /// SQL for tests, of the table of counters: `add` (name, amount), `get` (name), `fail` (SQLSTATE).
    package static let counterSQL: SQL = { statement, transaction, database in
        let parameters = statement.parameters.map { String(decoding: $0 ?? [], as: UTF8.self) }
        switch statement.sql {
        case "add":
            guard let transaction else { return .failure(WorkflowError(code: "25006", type: "test", message: "read-only")) }
            transaction.added.append((parameters[0], Int(parameters[1]) ?? 0))
            return .success(Array(#"{"columns": [], "rows": [], "affected": 1}"#.utf8))
        case "get":
            let own = transaction?.added.filter { $0.name == parameters[0] }.reduce(0) { $0 + $1.by } ?? 0
            return .success(Array(#"{"columns": [["value", 23]], "rows": [["\#(database.counter(parameters[0]) + own)"]], "affected": 1}"#.utf8))
        case "fail": return .failure(WorkflowError(code: parameters[0], type: "test", message: "as asked"))
        default: return .failure(WorkflowError(code: "42601", type: "test", message: "what is \(statement.sql)?"))
        }
    }

    // MARK: What users do

    package struct EnqueueOptions: Sendable {
        package var version: Int32?
        package var queue = "default"
        package var priority: Int32 = 0
        package var partitionKey: String?
        package var headers: StoredJSON?
        package var attributes: StoredJSON?
        /// Microseconds.
        package var delay: Int64?
        package var timeout: Int64?
        package init(
            version: Int32? = nil, queue: String = "default", priority: Int32 = 0, partitionKey: String? = nil, headers: StoredJSON? = nil,
            attributes: StoredJSON? = nil, delay: Int64? = nil, timeout: Int64? = nil
        ) {
            self.version = version
            self.queue = queue
            self.priority = priority
            self.partitionKey = partitionKey
            self.headers = headers
            self.attributes = attributes
            self.delay = delay
            self.timeout = timeout
        }
    }

    package func enqueue(_ name: String, id: String, input: String = "{}", version: Int32 = 1) {
        enqueue(name, id: id, input: Array(input.utf8), EnqueueOptions(version: version))
    }

    /// False: there is one of that id, and nothing changed.
    @discardableResult package func enqueue(_ name: String, id: String, input: JSONBytes, _ options: EnqueueOptions) -> Bool {
        let now = now()
        return state.withLock { $0.enqueue(name, id: id, input: input, options, now: now) != nil }
    }

    /// True: accepted, or already sent under that key; false: it has ended; nil: there is no such workflow.
    @discardableResult package func send(_ message: StoredJSON, to id: String, topic: String = "", idempotencyKey: String? = nil) -> Bool? {
        let now = now()
        return state.withLock { $0.send(message, to: id, topic: topic, idempotencyKey: idempotencyKey, now: now) }
    }

    /// True: asked for; false: it had ended; nil: there is no such workflow.
    @discardableResult package func cancel(_ id: String, reason: String? = nil) -> Bool? {
        let now = now()
        return state.withLock { $0.cancel(id, note: reason, now: now) }
    }

    /// What resuming may say: a SQLSTATE, or whether it goes on.
    package func resume(_ id: String, version: Int32? = nil) -> Result<Bool, WorkflowError> {
        state.withLock { $0.resume(id, version: version) }
    }

    package func find(_ id: String) -> Workflow? { state.withLock { state in state.keysByID[id].flatMap { state.workflows[$0] } } }

    package func workflow(_ id: String) -> Workflow {
        guard let workflow = find(id) else { preconditionFailure("no workflow \(id)") }
        return workflow
    }

    package var workflows: [Workflow] { state.withLock { $0.workflows.values.sorted { $0.key < $1.key } } }

    package var unfinished: Int { state.withLock { $0.unfinished } }

    package var committed: [String: [String]] { state.withLock { $0.committed } }

    package func counter(_ name: String) -> Int { state.withLock { $0.counters[name] ?? 0 } }

    /// When the next delayed or parked workflow becomes claimable by itself.
    package var nextDue: Int64? {
        state.withLock { state in
            while let next = state.due.min {
                if state.isDue(next) { return next.at }
                state.due.removeMin()
            }
            return nil
        }
    }

    // MARK: Workers

    package func newWorker() -> Int {
        state.withLock { state in
            state.lastWorker += 1
            return state.lastWorker
        }
    }

    /// What happens when a worker is declared dead: its workflows can be claimed again.
    package func reclaim(from worker: Int) {
        let now = now()
        state.withLock { state in
            state.signals[worker] = nil
            for key in state.workflows.keys.sorted() where state.workflows[key]?.claimedBy == worker && state.workflows[key]?.status == .running {
                state.crash(key, now: now)
            }
        }
    }

    /// Whether a claim would answer something.
    func hasClaimable(alone: Bool, offered: @Sendable (String) -> [Int32]?) -> Bool {
        let now = now()
        return state.withLock { $0.hasClaimable(alone: alone, offered: offered, now: now) }
    }

    func claim(_ worker: Int, limit: Int, alone: Bool, offered: @Sendable (String) -> [Int32]?) -> [ClaimedWorkflow] {
        let now = now()
        return state.withLock { $0.claim(worker, limit: limit, alone: alone, offered: offered, now: now) }
    }

    func takeSignals(of worker: Int) -> [Signal] {
        state.withLock { state in
            guard let keys = state.signals.removeValue(forKey: worker) else { return [] }
            return keys.sorted().compactMap { key in
                guard let row = state.workflows[key], row.claimedBy == worker, row.status == .running else { return nil }
                return Signal(fence: Fence(key: key, epoch: row.epoch), cancellation: row.cancellation)
            }
        }
    }

    var hasSuspects: Bool { state.withLock { !$0.suspects.isEmpty } }

    func record(_ worker: Int, _ record: StepRecord) -> Refusal? {
        let now = now()
        return state.withLock { $0.record(worker, record, now: now) }
    }

    func end(_ worker: Int, _ end: WorkflowEnd) -> Refusal? {
        let now = now()
        return state.withLock { $0.end(worker, end, now: now) }
    }

    func perform(_ worker: Int, _ call: DurableCall) -> CallResult {
        let now = now()
        return state.withLock { $0.perform(worker, call, now: now) }
    }

    func emit(_ worker: Int, _ emission: Emission) -> Refusal? {
        let now = now()
        return state.withLock { $0.emit(worker, emission, now: now) }
    }

    func park(_ worker: Int, _ parkings: [Parking]) {
        let now = now()
        state.withLock { state in for parking in parkings { state.park(worker, parking, now: now) } }
    }

    func release(_ worker: Int, _ fences: [Fence]) { state.withLock { state in for fence in fences { state.release(worker, fence) } } }

    /// All changes of a transaction and its checkpoint, or none of them.
    func commit(_ worker: Int, _ record: StepRecord, _ transaction: MemoryTransaction) -> TransactionEnd {
        let now = now()
        let end: TransactionEnd = state.withLock { state in
            if let refusal = state.record(worker, record, now: now) { return .refused(refusal) }
            for (name, amount) in transaction.added { state.counters[name, default: 0] += amount }
            let workflow = state.workflows[record.fence.key]?.id ?? ""
            state.committed["\"\(record.name)\" of workflow \"\(workflow)\"", default: []] += transaction.statements
            return .committed
        }
        if case .committed = end { for change in transaction.changes { change() } }
        return end
    }

    /// The function and the end of its workflow, or neither.
    func runHandler(_ worker: Int, _ fence: Fence) -> HandlerRunEnd {
        let found: Result<(SQLFunction, JSONBytes), HandlerRefusal> = state.withLock { state in
            guard let row = state.workflows[fence.key], row.epoch == fence.epoch, row.claimedBy == worker else {
                return .failure(HandlerRefusal(.refused(.fenced)))
            }
            if row.isEnded { return .failure(HandlerRefusal(.ended)) }
            if let cancellation = row.cancellation { return .failure(HandlerRefusal(.refused(.cancelled(cancellation)))) }
            guard let function = state.functions[row.name] else { return .failure(HandlerRefusal(.refused(.fenced))) }
            return .success((function, row.input))
        }
        switch found {
        case .failure(let refusal): return refusal.end
        case .success(let (function, input)):
            switch function(input) {
            case .success(let output):
                switch end(worker, WorkflowEnd(fence: fence, end: .succeeded(output))) {
                case nil, .alreadyRecorded: return .ended
                case let refusal?: return .refused(refusal)
                }
            case .failure(let error): return ["40001", "40P01"].contains(error.code) ? .retry(error) : .failed(error)
            }
        }
    }

    private struct HandlerRefusal: Error {
        let end: HandlerRunEnd
        init(_ end: HandlerRunEnd) { self.end = end }
    }
}

/// What an open transaction has changed, and nobody else sees before it commits.
package final class MemoryTransaction {
    /// The workflow whose step it is.
    package let fence: Fence
    package var added: [(name: String, by: Int)] = []
    var statements: [String] = []
    /// Done when it commits, in order.
    package var changes: [() -> Void] = []
    init(fence: Fence) { self.fence = fence }
}
