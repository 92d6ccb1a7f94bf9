import Glibc
import Locking
import PostgresStore
import PostgresTestSupport
import WorkflowEngine

/// A store on a database of its own, connected as a role that has the access `work` and nothing else.
final class StoreFixture: Sendable {
    let database: TestDatabase
    let store: PostgresStore
    private let state = Locked(State())
    let role: String

    private struct State {
        var nextRequest: UInt64 = 1
        var claims: [[ClaimedWorkflow]] = []
        var answers: [RequestID: StoreEvent] = [:]
        var order: [String] = []
        var lives: [String] = []
        var livesLost = 0
        var log: [String] = []
        var doubleAnswers = 0
        var signals: [Signal] = []
        var suspects: [Bool] = []
        var parked: [Parking] = []
    }

    /// - Parameter proxy: what the store connects through.
    init(
        _ database: TestDatabase, through proxy: FaultProxy? = nil, handlers: [String] = ["w"], poolConnections: Int = 4, writeConnections: Int = 2
    ) async throws {
        self.database = database
        let admin = try database.connect()
        role = "role_\(database.name)"
        if try admin.value("SELECT 1 FROM pg_roles WHERE rolname = $1", role) == nil {
            try admin.script("CREATE ROLE \(role) LOGIN; SELECT pawl.grant_access('\(role)', 'work')")
        }
        let connectionString = proxy?.connectionString(database: database.name, user: role) ?? database.connectionString(user: role)
        let state = state
        store = PostgresStore(
            configuration: StoreConfiguration(
                connectionString: connectionString, workerName: "test", hostname: "localhost", version: "1", concurrency: 1000,
                handlers: Self.offers(handlers), writeConnections: writeConnections, poolConnections: poolConnections)
        ) { level, message in state.withLock { $0.log.append("\(level): \(message)") } }
        store.onStatus = { status in
            if case .registered(let worker, _, _, _) = status { state.withLock { $0.lives.append(worker) } }
        }
        store.events = { event in
            state.withLock { state in
                switch event {
                case .claimed(let workflows): state.claims.append(workflows)
                case .written(let id, _, _), .executed(let id, _), .transactionEnded(let id, _), .performed(let id, _), .emitted(let id, _),
                    .handlerRan(let id, _):
                    if state.answers[id] != nil { state.doubleAnswers += 1 }
                    state.answers[id] = event
                case .signalled(let signals): state.signals += signals
                case .suspects(let exist): state.suspects.append(exist)
                case .lifeLost: state.livesLost += 1
                }
            }
        }
        store.onParked = { parkings in state.withLock { $0.parked += parkings } }
        store.start()
        try await eventually("the worker is registered; its log: \(log)") { !self.lives.isEmpty }
    }

    static func offers(_ names: [String]) -> [HandlerOffer] {
        names.map { HandlerOffer(id: HandlerID(workflowName: $0, workflowVersion: 1), plugin: "test") }
    }

    var log: [String] { state.withLock { $0.log } }
    var lives: [String] { state.withLock { $0.lives } }
    var livesLost: Int { state.withLock { $0.livesLost } }
    var doubleAnswers: Int { state.withLock { $0.doubleAnswers } }

    /// Everything that was signalled so far.
    var signals: [Signal] { state.withLock { $0.signals } }
    var suspects: [Bool] { state.withLock { $0.suspects } }
    /// What is parked, as far as the store knows.
    var parked: [Parking] { state.withLock { $0.parked } }

    func shutdown() async {
        await withCheckedContinuation { continuation in store.shutdown { continuation.resume() } }
        await Task.detached { [store] in store.stop() }.value
    }

    func enqueue(_ count: Int = 1, name: String = "w", input: String = "{}") throws {
        try database.connect().execute(
            "SELECT pawl.enqueue_workflow($1, $2::jsonb) FROM generate_series(1, $3::int)", name, input, "\(count)")
    }

    // MARK: Requests

    func newID() -> RequestID {
        state.withLock { state in
            state.nextRequest += 1
            return RequestID(state.nextRequest)
        }
    }

    func send(_ requests: StoreRequest...) { store.perform { [store] in store.send(requests) } }

    func answer(_ id: RequestID, _ what: String = "an answer") async throws -> StoreEvent {
        try await eventually("\(what); the log: \(log)", every: .milliseconds(2)) { self.state.withLock { $0.answers[id] != nil } }
        return state.withLock { $0.answers[id]! }
    }

    func isAnswered(_ id: RequestID) -> Bool { state.withLock { $0.answers[id] != nil } }

    var claimCount: Int { state.withLock { $0.claims.count } }

    /// Asks, and waits for what comes.
    func claim(_ limit: Int) async throws -> [ClaimedWorkflow] {
        let before = claimCount
        send(.claim(limit: limit, alone: false))
        return try await nextClaim(after: before)
    }

    func nextClaim(after count: Int) async throws -> [ClaimedWorkflow] {
        try await eventually("something is claimed; the log: \(log)", every: .milliseconds(2)) { self.claimCount > count }
        return state.withLock { $0.claims[count] }
    }

    /// Claims until there are so many.
    func claimAll(_ count: Int) async throws -> [ClaimedWorkflow] {
        var all: [ClaimedWorkflow] = []
        while all.count < count { all += try await claim(count - all.count) }
        return all
    }

    /// Asks for one that must run alone.
    func claimAlone() async throws -> [ClaimedWorkflow] {
        let before = claimCount
        send(.claim(limit: 1, alone: true))
        return try await nextClaim(after: before)
    }

    struct Written: Equatable {
        var steps: [Int: Refusal] = [:]
        var ends: [Int: Refusal] = [:]
    }

    func write(steps: [StepRecord] = [], ends: [WorkflowEnd] = []) async throws -> Written {
        let id = newID()
        send(.write(id, steps: steps, ends: ends))
        return try await written(id)
    }

    func written(_ id: RequestID) async throws -> Written {
        guard case .written(_, let steps, let ends) = try await answer(id, "the write's answer") else { throw TestFailure("another answer") }
        return Written(
            steps: Dictionary(uniqueKeysWithValues: steps.map { ($0.index, $0.refusal) }),
            ends: Dictionary(uniqueKeysWithValues: ends.map { ($0.index, $0.refusal) }))
    }

    func perform(_ calls: DurableCall...) async throws -> [CallResult] {
        let id = newID()
        send(.perform(id, calls))
        return try await performed(id)
    }

    func performed(_ id: RequestID) async throws -> [CallResult] {
        guard case .performed(_, let results) = try await answer(id, "what became of the calls") else { throw TestFailure("another answer") }
        return results
    }

    /// What was refused.
    func emit(_ emissions: Emission...) async throws -> [Int: Refusal] {
        let id = newID()
        send(.emit(id, emissions))
        guard case .emitted(_, let refused) = try await answer(id, "the answer to what was emitted") else { throw TestFailure("another answer") }
        return Dictionary(uniqueKeysWithValues: refused.map { ($0.index, $0.refusal) })
    }

    /// Parks them, and waits until that is done.
    func park(_ workflows: ClaimedWorkflow...) async throws {
        let before = parked.count
        send(.park(workflows.map { Parking(fence: $0.fence, waitingFor: "a test") }))
        try await eventually("it is parked; the log: \(log)", every: .milliseconds(2)) { self.parked.count == before + workflows.count }
    }

    func runHandler(_ workflow: ClaimedWorkflow) async throws -> HandlerRunEnd {
        let id = newID()
        send(.runHandler(id, workflow.fence))
        return try await handlerRan(id)
    }

    func handlerRan(_ id: RequestID) async throws -> HandlerRunEnd {
        guard case .handlerRan(_, let end) = try await answer(id, "the function's end") else { throw TestFailure("another answer") }
        return end
    }

    func begin(_ workflow: ClaimedWorkflow, _ isolation: IsolationLevel = .readCommitted) -> RequestID {
        let id = newID()
        send(.begin(id, workflow.fence, isolation))
        return id
    }

    func execute(_ transaction: RequestID, _ sql: String, _ parameters: String?...) async throws -> SQLResult {
        let id = newID()
        send(.execute(id, transaction: transaction, SQLStatement(sql: sql, parameters: parameters.map { $0.map { Array($0.utf8) } })))
        guard case .executed(_, let result) = try await answer(id, "the answer to \(sql)") else { throw TestFailure("another answer") }
        return result
    }

    func commit(_ transaction: RequestID, _ record: StepRecord) async throws -> TransactionEnd {
        let id = newID()
        send(.commit(id, transaction: transaction, record))
        return try await ended(id)
    }

    func ended(_ id: RequestID) async throws -> TransactionEnd {
        guard case .transactionEnded(_, let end) = try await answer(id, "the transaction's end") else { throw TestFailure("another answer") }
        return end
    }

    func query(_ sql: String, _ parameters: String?...) async throws -> SQLResult {
        let id = newID()
        send(.query(id, SQLStatement(sql: sql, parameters: parameters.map { $0.map { Array($0.utf8) } })))
        guard case .executed(_, let result) = try await answer(id, "the answer to \(sql)") else { throw TestFailure("another answer") }
        return result
    }
}

// MARK: Short forms

extension ClaimedWorkflow {
    func step(_ name: String = "s", _ number: Int32 = 1, _ kind: StepKind = .step, _ value: String = "1") -> StepRecord {
        StepRecord(fence: fence, name: name, number: number, kind: kind, outcome: .success(Array(value.utf8)), startedAt: 1_700_000_000_000_000)
    }

    func end(_ value: String = "null") -> WorkflowEnd { WorkflowEnd(fence: fence, end: .succeeded(Array(value.utf8))) }
}

extension ClaimedWorkflow {
    func call(_ kind: StepKind, _ arguments: String, _ name: String = "c", _ number: Int32 = 1) -> DurableCall {
        DurableCall(fence: fence, name: name, number: number, kind: kind, arguments: Array(arguments.utf8), startedAt: 1_700_000_000_000_000)
    }

    /// A failed attempt that another one follows.
    func attempt(_ attempts: Int32, retryIn: Int64, _ name: String = "s", _ number: Int32 = 1, cancelling: Bool = false) -> StepRecord {
        StepRecord(
            fence: fence, name: name, number: number, kind: .step, outcome: .failure(WorkflowError(code: "busy", type: "T", message: "not now")),
            startedAt: 1_700_000_000_000_000, attempts: attempts, retryIn: retryIn, cancelling: cancelling)
    }
}

extension CallResult {
    /// A word, and what came of it.
    var word: String {
        switch self {
        case .done(.success(let value)): String(decoding: value, as: UTF8.self)
        case .done(.failure(let error)): "failed \(error.code)"
        case .waiting(let dueIn): dueIn == nil ? "waiting" : "waiting, due"
        case .refused(.fenced): "fenced"
        case .refused(.alreadyRecorded): "recorded"
        case .refused(.cancelled(let by)): "cancelled \(by.rawValue)"
        case .refused(.invalid(let error)): "invalid \(error.code)"
        }
    }
}

extension HandlerRunEnd {
    /// A word, and the error's code.
    var word: String {
        switch self {
        case .ended: "ended"
        case .retry(let error): "retry \(error.code)"
        case .failed(let error): "failed \(error.code)"
        case .refused(.fenced): "fenced"
        case .refused(.alreadyRecorded): "recorded"
        case .refused(.cancelled(let by)): "cancelled \(by.rawValue)"
        case .refused(.invalid(let error)): "invalid \(error.code)"
        }
    }
}

extension SQLResult {
    var text: String? { if case .success(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil } }
    var code: String? { if case .failure(let error) = self { error.code } else { nil } }
}

extension TransactionEnd {
    /// A word, and the error's code.
    var word: String {
        switch self {
        case .committed: "committed"
        case .retry(let error): "retry \(error.code)"
        case .failed(let error): "failed \(error.code)"
        case .refused(.fenced): "fenced"
        case .refused(.alreadyRecorded): "recorded"
        case .refused(.cancelled(let by)): "cancelled \(by.rawValue)"
        case .refused(.invalid(let error)): "invalid \(error.code)"
        }
    }
}
