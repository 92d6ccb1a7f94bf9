import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

/// A host in memory that keeps the rules of pawl_plugin.h: records steps, counts repeats per scope, answers a replay, delivers on one thread.
final class FakeHost: Sendable {
    struct HandlerKey: Hashable {
        var name: String
        var version: Int32
    }

    /// The table, alive as long as the test.
    // Written once, in init, before anyone can see it.
    nonisolated(unsafe) let table: UnsafeMutablePointer<pawl_host>
    let delivery = DispatchQueue(label: "delivery")
    let handlers = Locked<[HandlerKey: pawl_handler]>([:])
    let logLines = Locked<[String]>([])
    /// What `pawl_plugin_register` would have returned.
    // Written once, at the end of init.
    nonisolated(unsafe) private(set) var registered: Int32 = -1

    init(_ plugin: Plugin, version: UInt32 = UInt32(PAWL_INTERFACE_VERSION), size: Int = MemoryLayout<pawl_host>.size) {
        // Never deallocated: a host's table lives as long as the process.
        table = .allocate(capacity: 1)
        table.initialize(
            to: pawl_host(
                size: UInt32(size), interface_version: version, host: nil,
                register_handler: fakeRegisterHandler, log: fakeLog, finish: fakeFinish, branch: fakeBranch, step_begin: fakeStepBegin,
                step_end: fakeEnd, transaction_begin: fakeTransactionBegin, transaction_execute: fakeExecute, transaction_end: fakeEnd,
                query: fakeQuery, call: fakeCall, offer: fakeOffer, emit: fakeEmit, compensate: fakeCompensate,
                continue_as_new: fakeContinueAsNew, close_branch: fakeCloseBranch, is_cancelled: fakeIsCancelled, attempt: fakeAttempt))
        table.pointee.host = Unmanaged.passUnretained(self).toOpaque()
        registered = plugin.register(with: table)
    }

    /// Starts a run. `recorded`: what earlier runs left.
    func start(
        _ name: String, version: Int32 = 1, input: String = "null", recorded: [String: FakeRun.Record] = [:],
        headers: String? = nil, retries: Int = 0, sql: @escaping @Sendable (String, [String?]) -> FakeRun.SQLAnswer = { _, _ in .rows("") },
        holding: Bool = false, world: FakeRun.World = FakeRun.World()
    ) throws -> FakeRun {
        let handler = try #require(handlers.withLock { $0[HandlerKey(name: name, version: version)] })
        let run = FakeRun(host: self, handler: handler, recorded: recorded, sql: sql, retries: retries, holding: holding, world: world)
        delivery.sync {
            let pointer = OpaquePointer(Unmanaged.passRetained(run).toOpaque())
            name.withBytes { name in
                input.withBytes { input in
                    "workflow-1".withBytes { id in
                        "default".withBytes { queue in
                            (headers ?? "").withBytes { headerBytes in
                                var start = pawl_start(
                                    size: UInt32(MemoryLayout<pawl_start>.size), workflow_version: version, recoveries: 2, priority: -3,
                                    workflow_id: id, workflow_name: name, queue: queue, partition_key: pawl_bytes(), input: input,
                                    headers: headers == nil ? pawl_bytes() : headerBytes, attributes: pawl_bytes(),
                                    created_at: 1_763_721_136_123_456, deadline_at: 1_763_807_536_000_000, parent_workflow_id: queue, attempt: 4,
                                    reserved: 0)
                                let context = handler.start(handler.context, pointer, &start)
                                run.state.withLock { $0.context = Word(context) }
                            }
                        }
                    }
                }
            }
        }
        return run
    }

    /// Runs to the end and releases.
    func run(
        _ name: String, version: Int32 = 1, input: String = "null", recorded: [String: FakeRun.Record] = [:], headers: String? = nil,
        retries: Int = 0, world: FakeRun.World = FakeRun.World(),
        sql: @escaping @Sendable (String, [String?]) -> FakeRun.SQLAnswer = { _, _ in .rows("") }
    ) async throws -> FakeRun {
        let run = try start(name, version: version, input: input, recorded: recorded, headers: headers, retries: retries, sql: sql, world: world)
        await run.finished()
        run.release()
        return run
    }
}

/// A pointer that may cross threads, because the test says when it is used.
struct Word: @unchecked Sendable {  // only handed back to the plugin
    let pointer: UnsafeMutableRawPointer?
    init(_ pointer: UnsafeMutableRawPointer?) { self.pointer = pointer }
}

/// One run in the fake host.
final class FakeRun: Sendable {
    enum Record: Equatable, Sendable {
        case value(kind: String, String)
        case failure(kind: String, WorkflowFailure)
        /// So many attempts have failed, and the back-off is not over.
        case retrying(kind: String, attempts: Int32)

        var kind: String {
            switch self {
            case .value(let kind, _), .failure(let kind, _), .retrying(let kind, _): kind
            }
        }
    }

    /// What goes on outside of the workflow.
    struct World {
        struct Other {
            var status = "succeeded", output = "null", error = "null"
            static let running = Other(status: "running")
        }
        /// Microseconds since 1970.
        var now: Int64 = 1_763_721_136_000_000
        var messages: [(topic: String, json: String)] = []
        /// Workflows that exist.
        var workflows: [String: Other] = [:]
        var events: [String: String] = [:]
        /// Sleeps and timeouts are over at once.
        var isQuick = false
        /// By workflow name: what a child ends with, at once.
        var children: [String: Other] = [:]
        var streams: [String: (entries: [(attempt: Int, json: String)], closed: Bool)] = [:]
    }

    struct Wait {
        var name: String
        var kind: String
        var arguments: String
        var since: Int64
        var completion: pawl_completion
        var context: Word
    }

    struct Retry: Equatable {
        var maxAttempts: Int32 = 5
        var initial: Int64 = 0, maximum: Int64 = 0, attemptTimeout: Int64 = 0, timeout: Int64 = 0
        var factor = 0.0
        init() {}
        init(_ retry: UnsafePointer<pawl_retry>?) {
            guard let retry = retry?.pointee else { return }
            if retry.max_attempts > 0 { maxAttempts = retry.max_attempts }
            (initial, maximum, attemptTimeout, timeout) = (retry.initial_interval, retry.maximum_interval, retry.attempt_timeout, retry.timeout)
            factor = retry.factor
        }
    }

    struct Executing {
        var name: String
        var kind: String
        var attempt: Int32 = 1
        var retry = Retry()
    }

    struct Emission: Equatable {
        var kind: String
        var arguments: String
        var step: String?
        var attempt: Int32
    }

    enum SQLAnswer: Sendable {
        /// The JSON of `columns` and `rows`, or nothing for a statement without rows.
        case rows(String)
        case affected(Int)
        case failure(sqlstate: String, String)
    }

    struct Outcome: Equatable, Sendable {
        var status: pawl_status
        var value: String
        var failure: WorkflowFailure?
    }

    struct Scope {
        var path: String
        var counts: [String: Int] = [:]
        /// The full name and kind of what is being executed.
        var executing: Executing?
        var statementFailed = false
        var isClosed = false
    }

    struct State {
        var recorded: [String: Record]
        var scopes: [pawl_scope: Scope] = [PawlScope.root: Scope(path: "")]
        var context = Word(nil)
        var outcome: Outcome?
        var finishes = 0
        var callsAfterRelease = 0
        var released = false
        var stopped = false
        var stoppedAnswers = 0
        var holding: Bool
        var held: [(pawl_completion, Word)] = []
        var statements: [(sql: String, parameters: [String?])] = []
        /// transaction_end answers PAWL_RETRY this often.
        var retries = 0
        /// An attempt that failed by itself is interrupted all the same, just before the next one.
        var interruptsLate = false
        var world = World()
        var isCancelled = false
        var isCompensating = false
        /// What compensate() was called with.
        var compensated: Outcome?
        var continuedWith: String?
        var waits: [pawl_scope: Wait] = [:]
        var offers: [pawl_scope: [Int: (value: String, failure: WorkflowFailure?)]] = [:]
        /// Offers made when no race was on in their scope.
        var lateOffers = 0
        var emissions: [Emission] = []
        /// Kind and arguments of the calls that had an effect.
        var effects: [String] = []
        /// Of each begun step, in order.
        var retryOptions: [Retry] = []
        var failedAttempts: [String] = []
        var waitWaiters: [(count: Int, CheckedContinuation<Void, Never>)] = []
        var waiters: [CheckedContinuation<Void, Never>] = []
        var heldWaiters: [CheckedContinuation<Void, Never>] = []
    }

    let host: FakeHost
    // Only copied and called.
    nonisolated(unsafe) let handler: pawl_handler
    let sql: @Sendable (String, [String?]) -> SQLAnswer
    let state: Locked<State>

    init(
        host: FakeHost, handler: pawl_handler, recorded: [String: Record], sql: @escaping @Sendable (String, [String?]) -> SQLAnswer,
        retries: Int, holding: Bool, world: World
    ) {
        self.host = host
        self.handler = handler
        self.sql = sql
        state = Locked(State(recorded: recorded, holding: holding, retries: retries, world: world))
    }

    var recorded: [String: Record] { state.withLock { $0.recorded } }
    var outcome: Outcome? { state.withLock { $0.outcome } }
    /// The output of a run that succeeded.
    var output: String? { state.withLock { $0.outcome.flatMap { $0.status == PawlStatus.ok ? $0.value : nil } } }
    var failure: WorkflowFailure? { outcome?.failure }
    var handlerRun: HandlerRun? {
        state.withLock { $0.context.pointer.map { Unmanaged<HandlerRun>.fromOpaque($0).takeUnretainedValue() } }
    }

    func finished() async {
        await withCheckedContinuation { continuation in
            let done = state.withLock { state in
                if state.outcome == nil { state.waiters.append(continuation) }
                return state.outcome != nil
            }
            if done { continuation.resume() }
        }
    }

    /// Until a call waits for its answer.
    func holdsACall() async {
        await withCheckedContinuation { continuation in
            let done = state.withLock { state in
                if state.held.isEmpty { state.heldWaiters.append(continuation) }
                return !state.held.isEmpty
            }
            if done { continuation.resume() }
        }
    }

    /// As pawld does it: from now on every call answers STOPPED, then interrupt, then what is outstanding.
    func stop() {
        host.delivery.sync {
            let (context, held) = state.withLock { state in
                state.stopped = true
                defer {
                    state.held = []
                    state.waits = [:]
                }
                return (state.context, state.held + state.waits.values.map { ($0.completion, $0.context) })
            }
            handler.interrupt(context.pointer, PawlStatus.stopped)
            for (completion, word) in held {
                var result = pawl_result(size: PawlSize.result, status: PawlStatus.stopped, value: pawl_bytes(), error: nil)
                completion(word.pointer, &result)
            }
        }
    }

    func release() {
        host.delivery.sync {
            let context = state.withLock { state in
                state.released = true
                return state.context
            }
            handler.release(context.pointer)
        }
    }

    // Called by the host's functions.

    func answer(
        _ completion: @escaping pawl_completion, _ context: UnsafeMutableRawPointer?, _ status: pawl_status, _ value: String,
        _ failure: WorkflowFailure?
    ) {
        let word = Word(context)
        let isHeld = state.withLock { state -> Bool in
            guard state.holding, status != PawlStatus.stopped else { return false }
            state.held.append((completion, word))
            let waiters = state.heldWaiters
            state.heldWaiters = []
            for waiter in waiters { waiter.resume() }
            return true
        }
        if isHeld { return }
        host.delivery.async { FakeRun.complete(completion, word.pointer, status, value, failure) }
    }

    static func complete(
        _ completion: pawl_completion, _ context: UnsafeMutableRawPointer?, _ status: pawl_status, _ value: String,
        _ failure: WorkflowFailure?
    ) {
        if let failure {
            failure.withResult { result in
                var copy = result.pointee
                copy.status = status
                completion(context, &copy)
            }
        } else {
            value.withBytes { value in
                var result = pawl_result(size: PawlSize.result, status: status, value: value, error: nil)
                completion(context, &result)
            }
        }
    }

    func entered() {
        state.withLock { if $0.released { $0.callsAfterRelease += 1 } }
    }

    /// The full name of the next call of that name in the scope.
    enum Beginning {
        case execute(String)
        case pending
        case answer(pawl_status, String, WorkflowFailure?)
    }

    func begin(_ scope: pawl_scope, _ name: String, kind: String, retry: Retry = Retry()) -> Beginning {
        state.withLock { state in
            if state.stopped {
                state.stoppedAnswers += 1
                return .answer(PawlStatus.stopped, "", nil)
            }
            guard var here = state.scopes[scope] else { return .misuse("unknown_scope", "unknown scope") }
            if let executing = here.executing { return .misuse("busy_scope", "the scope is busy with \(executing.name)") }
            guard !name.isEmpty, name.utf8.count <= 128 else { return .misuse("bad_step_name", "a step's name has 1 to 128 bytes") }
            if kind == "compensation", !state.isCompensating { return .misuse("compensation_too_early", "compensate() was not called") }
            let path = kind == "compensation" ? "%compensate/" + here.path : here.path
            let counted = kind == "compensation" ? "%" + name : name
            here.counts[counted, default: 0] += 1
            let count = here.counts[counted]!
            let full = path + name + (count > 1 ? "#\(count)" : "")
            defer { state.scopes[scope] = here }
            let mayBegin = kind == "compensation" || !(state.isCancelled || state.isCompensating)
            switch state.recorded[full] {
            case .some(let record) where record.kind != kind:
                return .misuse("determinism", "\(full) was recorded as a \(record.kind)")
            case .value(_, let value): return .answer(PawlStatus.ok, value, nil)
            case .failure(_, let failure): return .answer(PawlStatus.error, "", failure)
            case _ where !mayBegin: return .answer(PawlStatus.cancelled, "", nil)
            case .retrying(_, let attempts):
                here.executing = Executing(name: full, kind: kind, attempt: attempts + 1, retry: retry)
                return .pending
            case nil:
                here.executing = Executing(name: full, kind: kind, retry: retry)
                here.statementFailed = false
                return .execute(full)
            }
        }
    }
}

extension FakeRun.Beginning {
    static func misuse(_ code: String, _ message: String) -> FakeRun.Beginning {
        .answer(PawlStatus.misuse, "", WorkflowFailure(code: code, type: "FakeHost", message: message, detail: nil))
    }
}

func fakeRun(_ run: OpaquePointer?) -> FakeRun {
    let run = Unmanaged<FakeRun>.fromOpaque(UnsafeRawPointer(run!)).takeUnretainedValue()
    run.entered()
    return run
}

private func fakeHost(_ host: UnsafeMutableRawPointer?) -> FakeHost {
    Unmanaged<FakeHost>.fromOpaque(host!).takeUnretainedValue()
}

private func fakeRegisterHandler(host: UnsafeMutableRawPointer?, handler: UnsafePointer<pawl_handler>?) -> pawl_status {
    let handler = handler!.pointee
    let name = handler.workflow_name.copiedString
    let key = FakeHost.HandlerKey(name: name, version: handler.workflow_version)
    return fakeHost(host).handlers.withLock { handlers in
        guard !name.isEmpty, name.utf8.count <= 128, handler.workflow_version >= 1, handlers[key] == nil else { return PawlStatus.misuse }
        handlers[key] = handler
        return PawlStatus.ok
    }
}

private func fakeLog(host: UnsafeMutableRawPointer?, run: OpaquePointer?, level: Int32, message: pawl_bytes) {
    if run != nil { _ = fakeRun(run) }
    let line = "\(level) \(run == nil ? "-" : "run") \(message.copiedString)"
    fakeHost(host).logLines.withLock { $0.append(line) }
}

private func fakeFinish(run: OpaquePointer?, outcome: UnsafePointer<pawl_result>?) {
    let run = fakeRun(run)
    let result = outcome!.pointee
    let waiters = run.state.withLock { state in
        state.finishes += 1
        state.outcome = FakeRun.Outcome(
            status: result.status, value: result.value.copiedString, failure: result.error.map { WorkflowFailure($0) })
        defer { state.waiters = [] }
        return state.waiters
    }
    for waiter in waiters { waiter.resume() }
}

private func fakeBranch(run: OpaquePointer?, parent: pawl_scope, name: pawl_bytes) -> pawl_scope {
    let name = name.copiedString
    return fakeRun(run).state.withLock { state in
        guard !name.isEmpty, name.utf8.count <= 128, state.scopes[parent] != nil else { return PawlScope.invalid }
        state.scopes[parent]!.counts["/" + name, default: 0] += 1
        let count = state.scopes[parent]!.counts["/" + name]!
        let id = pawl_scope(state.scopes.count)
        state.scopes[id] = FakeRun.Scope(path: state.scopes[parent]!.path + name + (count > 1 ? "#\(count)" : "") + "/")
        return id
    }
}

private func begin(
    _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, kind: String, _ retry: UnsafePointer<pawl_retry>?, _ answer: pawl_completion?,
    _ context: UnsafeMutableRawPointer?
) -> pawl_status {
    let run = fakeRun(run)
    let retry = FakeRun.Retry(retry)
    run.state.withLock { $0.retryOptions.append(retry) }
    switch run.begin(scope, name.copiedString, kind: kind, retry: retry) {
    case .execute: return PawlStatus.execute
    case .pending:
        run.answer(answer!, context, PawlStatus.execute, "", nil)
        return PawlStatus.pending
    case .answer(let status, let value, let failure):
        FakeRun.complete(answer!, context, status, value, failure)
        return status
    }
}

private func fakeStepBegin(
    run: OpaquePointer?, scope: pawl_scope, name: pawl_bytes, options: UnsafePointer<pawl_step_options>?, answer: pawl_completion?,
    context: UnsafeMutableRawPointer?
) -> pawl_status {
    let isCompensation = (options?.pointee.flags ?? 0) & UInt32(PAWL_STEP_COMPENSATION) != 0
    return begin(run, scope, name, kind: isCompensation ? "compensation" : "step", options?.pointee.retry, answer, context)
}

private func fakeTransactionBegin(
    run: OpaquePointer?, scope: pawl_scope, name: pawl_bytes, options: UnsafePointer<pawl_transaction_options>?, answer: pawl_completion?,
    context: UnsafeMutableRawPointer?
) -> pawl_status {
    if let options { fakeRun(run).state.withLock { $0.statements.append(("BEGIN \(options.pointee.isolation)", [])) } }
    let isCompensation = (options?.pointee.flags ?? 0) & UInt32(PAWL_STEP_COMPENSATION) != 0
    return begin(run, scope, name, kind: isCompensation ? "compensation" : "transaction", options?.pointee.retry, answer, context)
}

/// step_end and transaction_end.
private func fakeEnd(
    run: OpaquePointer?, scope: pawl_scope, outcome: UnsafePointer<pawl_result>?, done: pawl_completion?, context: UnsafeMutableRawPointer?
) {
    let run = fakeRun(run)
    let result = outcome!.pointee
    let (status, failure): (pawl_status, WorkflowFailure?) = run.state.withLock { state in
        if state.stopped {
            state.stoppedAnswers += 1
            return (PawlStatus.stopped, nil)
        }
        guard var executing = state.scopes[scope]?.executing else {
            return (PawlStatus.misuse, WorkflowFailure(code: "not_begun", message: "nothing was begun"))
        }
        if state.isCancelled, executing.kind != "compensation" {
            state.scopes[scope]!.executing = nil
            return (PawlStatus.cancelled, nil)
        }
        let retry = { (state: inout FakeRun.State) -> (pawl_status, WorkflowFailure?) in
            executing.attempt += 1
            state.scopes[scope]!.executing = executing
            state.scopes[scope]!.statementFailed = false
            return (PawlStatus.retry, nil)
        }
        if executing.kind == "transaction", state.retries > 0 {
            state.retries -= 1
            return retry(&state)
        }
        var failure = result.error.map { WorkflowFailure($0) }
        var isFinal = result.error.map { $0.pointee.flags & UInt32(PAWL_ERROR_FINAL) != 0 } ?? true
        if failure == nil, state.scopes[scope]!.statementFailed {
            failure = WorkflowFailure(code: "25P02", message: "a statement of the transaction failed")
        }
        if result.value.copiedString.contains("\\u0000") {
            failure = WorkflowFailure(code: "bad_payload", message: "U+0000 at $")
            isFinal = true
        }
        if failure?.type == "PostgreSQL", failure?.code != "40001" { isFinal = true }
        if let failure {
            state.failedAttempts.append("\(executing.name) \(executing.attempt): \(failure.code)")
            if !isFinal, executing.attempt < executing.retry.maxAttempts { return retry(&state) }
            state.scopes[scope]!.executing = nil
            state.recorded[executing.name] = .failure(kind: executing.kind, failure)
            return (PawlStatus.error, failure)
        }
        state.scopes[scope]!.executing = nil
        state.recorded[executing.name] = .value(kind: executing.kind, result.value.copiedString)
        return (PawlStatus.ok, nil)
    }
    if status == PawlStatus.retry, run.state.withLock({ $0.interruptsLate }) {
        run.host.delivery.async { run.handler.interrupt_step(run.state.withLock { $0.context }.pointer, scope) }
    }
    run.answer(done!, context, status, "null", failure)
}

private func texts(_ parameters: UnsafePointer<pawl_bytes>?, _ count: Int) -> [String?] {
    UnsafeBufferPointer(start: parameters, count: count).map(\.copiedStringIfPresent)
}

private func json(_ answer: FakeRun.SQLAnswer) -> (pawl_status, String, WorkflowFailure?) {
    switch answer {
    case .rows(""): (PawlStatus.ok, #"{"columns":[],"rows":[],"affected":0}"#, nil)
    case .rows(let json): (PawlStatus.ok, "{\(json),\"affected\":0}", nil)
    case .affected(let count): (PawlStatus.ok, #"{"columns":[],"rows":[],"affected":\#(count)}"#, nil)
    case .failure(let state, let message):
        (PawlStatus.error, "", WorkflowFailure(code: state, type: "PostgreSQL", message: message, detail: nil))
    }
}

private func fakeExecute(
    run: OpaquePointer?, scope: pawl_scope, sql: pawl_bytes, parameters: UnsafePointer<pawl_bytes>?, count: Int, done: pawl_completion?,
    context: UnsafeMutableRawPointer?
) {
    let run = fakeRun(run)
    let sql = sql.copiedString, parameters = texts(parameters, count)
    let stopped = run.state.withLock { state in
        if state.stopped { state.stoppedAnswers += 1 } else { state.statements.append((sql, parameters)) }
        return state.stopped
    }
    if stopped { return run.answer(done!, context, PawlStatus.stopped, "", nil) }
    let (status, value, failure) = json(run.sql(sql, parameters))
    if failure != nil { run.state.withLock { $0.scopes[scope]!.statementFailed = true } }
    run.answer(done!, context, status, value, failure)
}

private func fakeQuery(
    run: OpaquePointer?, scope: pawl_scope, name: pawl_bytes, sql: pawl_bytes, parameters: UnsafePointer<pawl_bytes>?, count: Int,
    done: pawl_completion?, context: UnsafeMutableRawPointer?
) {
    let run = fakeRun(run)
    switch run.begin(scope, name.copiedString, kind: "query") {
    case .answer(let status, let value, let failure):
        run.answer(done!, context, status, value, failure)
    case .pending: preconditionFailure("a query has no attempts")
    case .execute(let full):
        let sql = sql.copiedString, parameters = texts(parameters, count)
        let (status, value, failure) = json(run.sql(sql, parameters))
        run.state.withLock { state in
            state.statements.append((sql, parameters))
            state.scopes[scope]!.executing = nil
            state.recorded[full] = failure.map { .failure(kind: "query", $0) } ?? .value(kind: "query", value)
        }
        run.answer(done!, context, status, value, failure)
    }
}
