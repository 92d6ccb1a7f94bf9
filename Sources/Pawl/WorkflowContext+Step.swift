internal import CPawlPlugin
internal import FoundationEssentials

extension WorkflowContext {
    /// Runs `body` and records what it returned; a replay returns the same without running it. A failure is tried again as ``RetryPolicy/default`` says.
    ///
    /// A crash after `body` had its effect and before that was recorded runs it again: give what you call an idempotency key (the workflow's id
    /// and the step's name make a good one), or use ``transaction(_:isolation:_:)`` where the effect is SQL in this database.
    ///
    /// When the workflow is cancelled, `body` hears of it as task cancellation; whatever it then returns is discarded.
    /// - Throws: ``WorkflowFailure`` with what the last attempt threw, the first time as on every replay; ``WorkflowCancelled``.
    @discardableResult
    public func step<Value: Codable & Sendable>(_ name: String, _ body: @Sendable () async throws -> Value) async throws -> Value {
        if let begun = try await run.beginStep(name, in: scope) { return try await recorded(begun, name) }
        while true {
            let result = try await StepResult.of { try await body() }
            let reply = try await run.endStep(result.outcome, in: scope)
            if reply.status == PawlStatus.retry { continue }
            _ = try await run.value(of: reply, call: name, in: scope)
            return try result.value()
        }
    }

    /// Runs `body`; a replay passes over it. A failure is tried again as ``RetryPolicy/default`` says.
    // Disfavored: a body with a result means the other one, also where the result is not used.
    @_disfavoredOverload
    public func step(_ name: String, _ body: @Sendable () async throws -> Void) async throws {
        let _: Nothing = try await step(name) {
            try await body()
            return Nothing()
        }
    }

    /// Runs `body` and records what it returned, with a say in how often and for how long it is tried.
    ///
    /// An attempt that takes too long fails with code `timeout` at once, and is tried again like any failure. Its body's task is cancelled, but a body that
    /// does not mind cancellation may still be running then, beside the next attempt.
    /// - Parameters:
    ///   - retry: when a failure is tried again.
    ///   - attemptTimeout: how long one attempt may take; nil: as long as it wants.
    ///   - timeout: how long all attempts and the waits between them may take together, from the start of the first; nil: no limit.
    /// - Throws: ``WorkflowFailure`` with what the last attempt threw, the first time as on every replay; ``WorkflowCancelled``.
    @discardableResult
    public func step<Value: Codable & Sendable>(
        _ name: String, retry: RetryPolicy = .default, attemptTimeout: Duration? = nil, timeout: Duration? = nil,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let step = StepCall(name: name, scope: scope, retry: retry, attemptTimeout: attemptTimeout, timeout: timeout)
        switch try await run.perform(step, body) {
        case .recorded(let reply): return try await recorded(reply, name)
        case .performed(let value): return value
        }
    }

    /// Runs `body`, with a say in how often and for how long it is tried; a replay passes over it.
    ///
    /// An attempt that takes too long fails with code `timeout` at once, and is tried again like any failure. Its body's task is cancelled, but a body that
    /// does not mind cancellation may still be running then, beside the next attempt.
    /// - Parameters:
    ///   - retry: when a failure is tried again.
    ///   - attemptTimeout: how long one attempt may take; nil: as long as it wants.
    ///   - timeout: how long all attempts and the waits between them may take together, from the start of the first; nil: no limit.
    /// - Throws: ``WorkflowFailure`` with what the last attempt threw, the first time as on every replay; ``WorkflowCancelled``.
    @_disfavoredOverload
    public func step(
        _ name: String, retry: RetryPolicy = .default, attemptTimeout: Duration? = nil, timeout: Duration? = nil,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let _: Nothing = try await step(name, retry: retry, attemptTimeout: attemptTimeout, timeout: timeout) {
            try await body()
            return Nothing()
        }
    }

    /// The value that an earlier run recorded.
    func recorded<Value: Decodable>(_ reply: HostReply, _ name: String) async throws -> Value {
        try PayloadCoding.decodeRecorded(Value.self, from: try await run.value(of: reply, call: name, in: scope), step: name)
    }
}

/// A step or transaction that is more than its name and body.
struct StepCall: Sendable {
    var name: String
    var scope: pawl_scope
    var retry: RetryPolicy
    var attemptTimeout: Duration?
    var timeout: Duration?
    var flags: UInt32 = 0
    /// Of a transaction.
    var isolation: IsolationLevel?

    var hasTimeout: Bool { attemptTimeout != nil || timeout != nil }

    func begin(_ host: PluginHost, _ run: OpaquePointer, _ context: UnsafeMutableRawPointer) -> pawl_status {
        retry.withRetry(attemptTimeout: attemptTimeout, timeout: timeout) { retry in
            name.withBytes { name in
                if let isolation {
                    var options = pawl_transaction_options(
                        size: PawlSize.transactionOptions, isolation: isolation.rawValue, retry: retry, flags: flags, reserved: 0)
                    return host.pointee.transaction_begin(run, scope, name, &options, resumeContinuation, context)
                }
                var options = pawl_step_options(size: PawlSize.stepOptions, flags: flags, retry: retry)
                return host.pointee.step_begin(run, scope, name, &options, resumeContinuation, context)
            }
        }
    }
}

enum StepAnswer<Value: Sendable>: Sendable {
    case recorded(HostReply)
    case performed(Value)
}

extension HandlerRun {
    /// nil: the body is to run.
    func beginStep(_ name: String, in scope: pawl_scope) async throws -> HostReply? {
        try await begin { host, run, context in
            name.withBytes { host.pointee.step_begin(run, scope, $0, nil, resumeContinuation, context) }
        }
    }

    func endStep(_ outcome: StepOutcome, in scope: pawl_scope, _ timed: TimedBody? = nil) async throws -> HostReply {
        try await end(timed) { host, run, completion, context in
            outcome.withResult { host.pointee.step_end(run, scope, $0, completion, context) }
        }
    }

    func perform<Value: Codable & Sendable>(
        _ step: StepCall, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> StepAnswer<Value> {
        // What the body of a transaction still does would be done in the next attempt's.
        let timed = step.hasTimeout ? TimedBody(name: step.name, waitsForBody: step.isolation != nil) : nil
        if let timed { setTimedBody(timed, in: step.scope) }
        defer { if timed != nil { setTimedBody(nil, in: step.scope) } }
        if let begun = try await begin({ host, run, context in step.begin(host, run, context) }) { return .recorded(begun) }
        while true {
            let result = try await StepResult.of(step.retry) {
                guard let timed else { return try await body() }
                return try await timed.run(body)
            }
            let reply =
                step.isolation == nil
                ? try await endStep(result.outcome, in: step.scope, timed) : try await endTransaction(result.outcome, in: step.scope, timed)
            if reply.status == PawlStatus.retry { continue }
            _ = try await value(of: reply, call: step.name, in: step.scope)
            return .performed(try result.value())
        }
    }
}
