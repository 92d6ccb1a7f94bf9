internal import CPawlPlugin

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
    /// If `body` throws, everything it did is rolled back and the failure is recorded. After a serialization failure or a deadlock `body` runs
    /// again, so it should have no effect but its SQL. It runs as the worker's role.
    /// - Throws: ``WorkflowFailure`` with what `body` threw, the first time as on every replay; its `code` is the SQLSTATE if PostgreSQL raised it.
    @discardableResult
    public func transaction<Value: Codable & Sendable>(
        _ name: String, isolation: IsolationLevel = .readCommitted, _ body: @Sendable (Database) async throws -> Value
    ) async throws -> Value {
        let begun = try await run.begin { host, run, context in
            var options = pawl_transaction_options(size: PawlSize.transactionOptions, isolation: isolation.rawValue, retry: nil)
            return name.withBytes { host.pointee.transaction_begin(run, scope, $0, &options, keepReply, context) }
        }
        if let begun {
            return try PayloadCoding.decodeRecorded(Value.self, from: try await run.value(of: begun, call: name, in: scope), step: name)
        }
        while true {
            let result = try await StepResult.of { try await body(Database(run: run, scope: scope)) }
            let reply = try await run.callAsynchronously { host, run, context in
                result.outcome.withResult { host.pointee.transaction_end(run, scope, $0, resumeContinuation, context) }
            }
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
}
