internal import CPawlPlugin
internal import FoundationEssentials

/// How much a transaction sees of others; PostgreSQL's levels.
public enum IsolationLevel: UInt32, Sendable {
    /// Each statement sees what was committed before it.
    case readCommitted = 0
    /// All statements see what was committed before the first.
    case repeatableRead = 1
    /// As if transactions ran one after the other.
    case serializable = 2
}

extension WorkflowContext {
    /// A step whose SQL and checkpoint commit together: exactly once, whatever crashes.
    ///
    /// If `body` throws, everything it did is rolled back, and it is tried again as ``RetryPolicy/default`` says, except after an error of PostgreSQL that
    /// would only come again. After a serialization failure or a deadlock `body` runs again too, so it should have no effect but its SQL. It runs as the
    /// worker's role.
    /// - Throws: ``WorkflowFailure`` with what the last attempt threw, the first time as on every replay; its `code` is the SQLSTATE if PostgreSQL raised
    ///   it. ``WorkflowCancelled``.
    @discardableResult
    public func transaction<Value: Codable & Sendable>(
        _ name: String, isolation: IsolationLevel = .readCommitted, _ body: @Sendable (Database) async throws -> Value
    ) async throws -> Value {
        let begun = try await run.begin { host, run, context in
            var options = pawl_transaction_options(size: PawlSize.transactionOptions, isolation: isolation.rawValue, retry: nil, flags: 0, reserved: 0)
            return name.withBytes { host.pointee.transaction_begin(run, scope, $0, &options, resumeContinuation, context) }
        }
        if let begun { return try await recorded(begun, name) }
        while true {
            let result = try await StepResult.of { try await body(Database(run: run, scope: scope)) }
            let reply = try await run.endTransaction(result.outcome, in: scope)
            if reply.status == PawlStatus.retry { continue }
            _ = try await run.value(of: reply, call: name, in: scope)
            return try result.value()
        }
    }

    /// A transaction that returns nothing.
    // Disfavored: a body with a result means the other one, also where the result is not used.
    @_disfavoredOverload
    public func transaction(
        _ name: String, isolation: IsolationLevel = .readCommitted, _ body: @Sendable (Database) async throws -> Void
    ) async throws {
        let _: Nothing = try await transaction(name, isolation: isolation) { database in
            try await body(database)
            return Nothing()
        }
    }

    /// A transaction with a say in how often and for how long it is tried.
    ///
    /// When an attempt takes too long, its body's task is cancelled; once the body has returned, everything is rolled back and the attempt has failed with
    /// code `timeout`.
    /// - Parameters:
    ///   - isolation: how much it sees of others.
    ///   - retry: when a failure is tried again.
    ///   - attemptTimeout: how long one attempt may take; nil: as long as it wants.
    ///   - timeout: how long all attempts and the waits between them may take together, from the start of the first; nil: no limit.
    /// - Throws: as ``transaction(_:isolation:_:)``.
    @discardableResult
    public func transaction<Value: Codable & Sendable>(
        _ name: String, isolation: IsolationLevel = .readCommitted, retry: RetryPolicy = .default, attemptTimeout: Duration? = nil,
        timeout: Duration? = nil, _ body: @escaping @Sendable (Database) async throws -> Value
    ) async throws -> Value {
        let run = self.run, scope = self.scope
        let transaction = StepCall(name: name, scope: scope, retry: retry, attemptTimeout: attemptTimeout, timeout: timeout, isolation: isolation)
        switch try await run.perform(transaction, { try await body(Database(run: run, scope: scope)) }) {
        case .recorded(let reply): return try await recorded(reply, name)
        case .performed(let value): return value
        }
    }

    /// A transaction that returns nothing, with a say in how often and for how long it is tried.
    ///
    /// When an attempt takes too long, its body's task is cancelled; once the body has returned, everything is rolled back and the attempt has failed with
    /// code `timeout`.
    /// - Parameters:
    ///   - isolation: how much it sees of others.
    ///   - retry: when a failure is tried again.
    ///   - attemptTimeout: how long one attempt may take; nil: as long as it wants.
    ///   - timeout: how long all attempts and the waits between them may take together, from the start of the first; nil: no limit.
    /// - Throws: as ``transaction(_:isolation:_:)``.
    @_disfavoredOverload
    public func transaction(
        _ name: String, isolation: IsolationLevel = .readCommitted, retry: RetryPolicy = .default, attemptTimeout: Duration? = nil,
        timeout: Duration? = nil, _ body: @escaping @Sendable (Database) async throws -> Void
    ) async throws {
        let _: Nothing = try await transaction(name, isolation: isolation, retry: retry, attemptTimeout: attemptTimeout, timeout: timeout) { database in
            try await body(database)
            return Nothing()
        }
    }
}

extension HandlerRun {
    func endTransaction(_ outcome: StepOutcome, in scope: pawl_scope, _ timed: TimedBody? = nil) async throws -> HostReply {
        try await end(timed) { host, run, completion, context in
            outcome.withResult { host.pointee.transaction_end(run, scope, $0, completion, context) }
        }
    }
}
