import Locking
package import WorkflowEngine

/// What a handler of a test calls. Texts are JSON.
package struct HandlerContext: Sendable {
    package let run: WorkflowRun
    package let scope: ScopeID
    let host: ThreadHost

    package var workflowID: String { run.workflow.workflowID }
    package var input: StoredJSON { StoredJSON(run.workflow.input) ?? .null }
    package var isCancelled: Bool { run.isCancelled }
    /// Of the step whose body runs.
    package var attempt: Int32 { run.attempt(in: scope) }

    package func branch(_ name: String) -> HandlerContext {
        HandlerContext(run: run, scope: run.branch(from: scope, name: name) ?? ScopeID.max, host: host)
    }

    /// The branch is used no more.
    package func close() { run.close(scope) }

    // MARK: Bodies

    @discardableResult package func step(_ name: String, retry: RetryPolicy = .never, _ body: () throws -> String) throws -> String {
        try run(.step, name, retry, body)
    }

    /// After `compensate`.
    @discardableResult package func compensation(
        _ name: String, retry: RetryPolicy = .never, isolation: IsolationLevel? = nil, _ body: () throws -> String
    ) throws -> String {
        try run(.compensation, name, retry, isolation: isolation, body)
    }

    @discardableResult package func transaction(
        _ name: String, retry: RetryPolicy = .never, isolation: IsolationLevel = .readCommitted, _ body: (HandlerContext) throws -> String
    ) throws -> String {
        try run(.transaction, name, retry, isolation: isolation) { try body(self) }
    }

    private func run(
        _ kind: StepKind, _ name: String, _ retry: RetryPolicy, isolation: IsolationLevel? = nil, _ body: () throws -> String
    ) throws -> String {
        switch host.begin({ run.begin(kind, scope: scope, name: name, isolation: isolation, policy: retry, receiver: $0) }) {
        case .recorded(let outcome): return try value(of: outcome)
        case .stopped, .pending: throw HandlerStopped()
        case .cancelled: throw HandlerCancelled()
        case .misuse(let error): throw HandlerMisuse(error: error)
        case .execute: break
        }
        while true {
            let outcome: Outcome
            do {
                outcome = .success(Array(try body().utf8))
            } catch let failure as HandlerFailure {
                outcome = .failure(failure.error)
            }
            let answer = host.call { run.end(scope: scope, outcome: outcome, receiver: $0) }
            if case .retry = answer { continue }
            return try value(of: answer) ?? "null"
        }
    }

    /// In a body: waits until the time of its attempt is up, and fails it.
    package func waitForTimeout() throws -> Never {
        guard case .execute = host.waitForInterruption(run, scope) else { throw HandlerStopped() }
        throw HandlerFailure("timeout")
    }

    @discardableResult package func execute(_ sql: String, _ parameters: String...) throws -> String {
        let statement = SQLStatement(sql: sql, parameters: parameters.map { Array($0.utf8) })
        return try value(of: host.call { run.execute(scope: scope, statement: statement, receiver: $0) }) ?? "null"
    }

    @discardableResult package func query(_ name: String, _ sql: String, _ parameters: String...) throws -> String {
        let statement = SQLStatement(sql: sql, parameters: parameters.map { Array($0.utf8) })
        return try value(of: host.call { run.query(scope: scope, name: name, statement: statement, receiver: $0) }) ?? "null"
    }

    /// Runs each body in a branch and a thread of its own, and waits for all of them.
    package func parallel(_ bodies: [(name: String, body: @Sendable (HandlerContext) throws -> Void)]) throws {
        let failures = Locked<[any Error]>([])
        // All branches are made before the first body runs: in program order, and with nothing open around them.
        let branches = bodies.map { (branch($0.name), $0.body) }
        host.parallel(
            branches.map { branch, body in
                {
                    do { try body(branch) } catch { failures.withLock { $0.append(error) } }
                    branch.close()
                }
            })
        let all = failures.withLock { $0 }
        if let over = all.first(where: { $0 is HandlerStopped }) ?? all.first { throw over }
    }

    // MARK: Durable calls

    /// nil: its timeout passed.
    @discardableResult package func call(_ kind: StepKind, _ name: String, _ arguments: StoredJSON = .object([:])) throws -> String? {
        try value(of: host.call { run.call(kind, scope: scope, name: name, arguments: arguments.bytes, receiver: $0) })
    }

    package func sleep(_ name: String = "sleep", seconds: Double) throws { try call(.sleep, name, .object(["seconds": .number("\(seconds)")])) }

    package func receive(_ name: String = "receive", topic: String = "", timeout: Double? = nil) throws -> String? {
        try call(.receive, name, .object(["topic": .string(topic)].with(timeout: timeout)))
    }

    @discardableResult package func send(_ name: String = "send", to workflowID: String, _ message: String, topic: String = "") throws -> String {
        let arguments = StoredJSON.object(["workflow_id": .string(workflowID), "message": StoredJSON(message) ?? .null, "topic": .string(topic)])
        return try call(.send, name, arguments) ?? "null"
    }

    package func setEvent(_ name: String = "event", key: String, _ value: String) throws {
        try call(.setEvent, name, .object(["key": .string(key), "value": StoredJSON(value) ?? .null]))
    }

    package func getEvent(_ name: String = "get_event", of workflowID: String, key: String, timeout: Double? = nil) throws -> String? {
        try call(.getEvent, name, .object(["workflow_id": .string(workflowID), "key": .string(key)].with(timeout: timeout)))
    }

    @discardableResult package func writeStream(_ name: String = "write", key: String, _ value: String) throws -> String {
        try call(.writeStream, name, .object(["key": .string(key), "value": StoredJSON(value) ?? .null])) ?? "null"
    }

    package func closeStream(_ name: String = "close", key: String) throws { try call(.closeStream, name, .object(["key": .string(key)])) }

    package func readStream(_ name: String = "read", of workflowID: String, key: String, from: Int = 1, timeout: Double? = nil) throws -> StoredJSON? {
        let arguments: [String: StoredJSON] = ["workflow_id": .string(workflowID), "key": .string(key), "from": .integer(from)]
        return try call(.readStream, name, .object(arguments.with(timeout: timeout))).flatMap { StoredJSON($0) }
    }

    /// Its id.
    @discardableResult package func startChild(
        _ name: String = "start", _ workflowName: String, input: String = "{}", id: String? = nil, _ more: [String: StoredJSON] = [:]
    ) throws -> String {
        var arguments = more
        arguments["workflow_name"] = .string(workflowName)
        arguments["input"] = StoredJSON(input)
        arguments["workflow_id"] = id.map { .string($0) }
        return try call(.startChild, name, .object(arguments)).flatMap { StoredJSON($0) }?["workflow_id"]?.text ?? ""
    }

    package func awaitChild(_ name: String = "await", _ workflowID: String, timeout: Double? = nil) throws -> String? {
        try call(.awaitChild, name, .object(["workflow_id": .string(workflowID)].with(timeout: timeout)))
    }

    package func awaitChildren(_ name: String = "await", _ workflowIDs: [String], mode: String = "all", timeout: Double? = nil) throws -> StoredJSON? {
        let arguments: [String: StoredJSON] = ["workflow_ids": .array(workflowIDs.map { .string($0) }), "mode": .string(mode)]
        return try call(.awaitChildren, name, .object(arguments.with(timeout: timeout))).flatMap { StoredJSON($0) }
    }

    /// One object for each alternative: `kind` and its arguments. `bodies`: by index, what runs beside the race (an alternative of kind step).
    package func race(_ name: String = "race", _ alternatives: [StoredJSON], bodies: [Int: @Sendable () -> Outcome] = [:]) throws -> StoredJSON {
        // Their threads are not counted as waiting, so a manual clock stands still while they run.
        let answer = host.call { receiver in
            run.call(.race, scope: scope, name: name, arguments: StoredJSON.object(["of": .array(alternatives)]).bytes, receiver: receiver)
            for (index, body) in bodies { run.offer(scope: scope, index: index, outcome: body()) }
        }
        return try value(of: answer).flatMap { StoredJSON($0) } ?? .null
    }

    @discardableResult package func mergeAttributes(_ name: String = "attributes", _ attributes: String) throws -> String {
        try call(.mergeAttributes, name, .object(["attributes": StoredJSON(attributes) ?? .null])) ?? "null"
    }

    @discardableResult package func cancelWorkflow(_ name: String = "cancel", _ workflowID: String) throws -> String {
        try call(.cancelWorkflow, name, .object(["workflow_id": .string(workflowID)])) ?? "null"
    }

    package func patched(_ name: String) throws -> Bool { try call(.patch, name) == "true" }

    package func progress(_ value: String) throws {
        _ = try self.value(of: host.call { run.emit(.progress, scope: scope, arguments: Array("{\"value\": \(value)}".utf8), receiver: $0) })
    }

    /// In a body.
    package func stream(key: String, _ value: String) throws {
        _ = try self.value(of: host.call { run.emit(.stream, scope: scope, arguments: Array("{\"key\": \"\(key)\", \"value\": \(value)}".utf8), receiver: $0) })
    }

    // MARK: The end

    /// Runs the body; if it fails, or is cancelled, undoes with what was registered, the last one first.
    package func compensating(_ body: (Undo) throws -> JSONBytes) throws -> JSONBytes {
        let undo = Undo()
        do {
            return try body(undo)
        } catch let failure where !undo.all.isEmpty {
            let outcome: RunOutcome
            switch failure {
            case is HandlerCancelled: outcome = .cancelled
            case let failure as HandlerFailure: outcome = .failure(failure.error, reason: "error")
            default: throw failure
            }
            _ = try value(of: host.call { run.compensate(outcome, receiver: $0) })
            for (name, isolation, undo) in undo.all.reversed() { try compensation(name, isolation: isolation) { try undo(self) } }
            throw failure
        }
    }

    package final class Undo {
        var all: [(String, IsolationLevel?, (HandlerContext) throws -> String)] = []
        package func add(_ name: String, _ body: @escaping () throws -> String) { all.append((name, nil, { _ in try body() })) }
        package func add(_ name: String, _ isolation: IsolationLevel, _ body: @escaping (HandlerContext) throws -> String) {
            all.append((name, isolation, body))
        }
    }

    package func continueAsNew(input: String) throws -> Never {
        _ = try value(of: host.call { run.continueAsNew(input: Array(input.utf8), receiver: $0) })
        throw HandlerStopped()
    }

    /// The answer of a call that is made by hand.
    package func answer(to call: (CallReceiver) -> Void) -> CallAnswer { host.call(call) }

    private func value(of outcome: Outcome) throws -> String {
        switch outcome {
        case .success(let value): return String(decoding: value, as: UTF8.self)
        case .failure(let error): throw HandlerFailure(error)
        }
    }

    /// nil: none.
    private func value(of answer: CallAnswer) throws -> String? {
        switch answer {
        case .value(let value): return String(decoding: value, as: UTF8.self)
        case .none: return nil
        case .failure(let error): throw HandlerFailure(error)
        case .cancelled: throw HandlerCancelled()
        case .stopped, .retry, .execute: throw HandlerStopped()
        case .misuse(let error): throw HandlerMisuse(error: error)
        }
    }
}

extension [String: StoredJSON] {
    func with(timeout: Double?) -> Self {
        guard let timeout else { return self }
        return merging(["timeout": .number("\(timeout)")]) { $1 }
    }
}
