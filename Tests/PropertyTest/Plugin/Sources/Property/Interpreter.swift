import FoundationEssentials
import Pawl

/// Runs a program of the property test (generator.py) through the SDK. Returns a trace of what its operations came to.
struct Interpreter: Sendable {
    typealias Children = [String: ChildWorkflow<JSONValue>]
    let workflowID: String
    let parentID: String?
    let label: String?

    func run(_ program: [JSONValue], _ workflow: WorkflowContext, _ children: inout Children) async throws -> [JSONValue] {
        var trace: [JSONValue] = []
        for operation in program { try await perform(Operation(json: operation), workflow, &children, &trace) }
        return trace
    }

    private func perform(_ op: Operation, _ workflow: WorkflowContext, _ children: inout Children, _ trace: inout [JSONValue]) async throws {
        switch op.kind {
        case "step": trace.append(try await step(op, workflow))
        case "tx": trace.append(try await transaction(op, workflow))
        case "query":
            let numbers = try await workflow.query(op.name, "SELECT $1::int + g FROM generate_series(0, 1) g", op.int("v"), as: Int.self)
            trace.append(.array(numbers.map { .integer($0) }))
        case "sleep":
            try await workflow.sleep(op.name, for: op.milliseconds ?? .zero)
        case "until":
            let now = try await workflow.now("\(op.name).now")
            try await workflow.sleep(op.name, until: now.addingTimeInterval(Double(op.int("ms")) / 1000))
        case "send":
            let accepted = try await workflow.send(to: id(op.text("to"), children), op.value("m"), topic: op.text("t"), name: op.name)
            if op.text("to") == "self" { trace.append(.bool(accepted)) }
        case "recv":
            if let timeout = op.milliseconds {
                let message = try await workflow.receive(JSONValue.self, topic: op.text("t"), timeout: timeout, name: op.name)
                trace.append(message.map { ["message": $0] } ?? "none")
            } else {
                trace.append(["message": try await workflow.receive(JSONValue.self, topic: op.text("t"), name: op.name)])
            }
        case "event":
            try await workflow.setEvent(op.text("k"), op.value("v"), name: op.name)
        case "getev":
            let target = id(op.text("of"), children)
            let value: JSONValue?
            if let timeout = op.milliseconds {
                value = try await workflow.getEvent(JSONValue.self, of: target, key: op.text("k"), timeout: timeout, name: op.name)
            } else {
                value = try await workflow.getEvent(JSONValue.self, of: target, key: op.text("k"), name: op.name)
            }
            trace.append(value.map { ["event": $0] } ?? "none")
        case "write":
            trace.append(.integer(try await workflow.append(op.value("v"), to: workflow.stream(op.text("k"), of: JSONValue.self), name: op.name)))
        case "close":
            try await workflow.close(workflow.stream(op.text("k"), of: JSONValue.self), name: op.name)
        case "read":
            var values: [JSONValue] = []
            for try await entry in workflow.readStream(JSONValue.self, of: id(op.text("of"), children), key: op.text("k"), limit: 2) {
                values.append([.integer(entry.position), entry.value])
            }
            trace.append(.array(values))
        case "attr":
            let attributes = try await workflow.mergeAttributes([op.text("k"): op.value("v")], name: op.name)
            trace.append(attributes[op.text("k")] ?? .null)
        case "made":
            trace.append(try await made(op, workflow))
        case "patch":
            trace.append(.bool(try await workflow.patched(op.name)))
        case "comp":
            compensate(op, workflow)
        case "fail":
            throw WorkflowFailure(code: op.text("code"), message: "as the program says")
        case "loop":
            for _ in 0..<op.int("k") { trace += try await run(op.list("b"), workflow, &children) }
        case "try":
            do {
                trace.append(["ok", .array(try await run(op.list("b"), workflow, &children))])
            } catch let failure as WorkflowFailure {
                trace.append(["caught", .string(failure.code), .array(try await run(op.list("h"), workflow, &children))])
            }
        case "swallow":
            // Careless code: whatever it is that was thrown.
            do {
                trace.append(["ok", .array(try await run(op.list("b"), workflow, &children))])
            } catch {
                let code = (error as? WorkflowFailure)?.code ?? String(describing: type(of: error))
                trace.append(["caught", .string(code), .array((try? await run(op.list("h"), workflow, &children)) ?? [])])
            }
        case "par":
            let known = children
            let items = op.list("items").map { ($0["id"]?.string ?? "", Operation(json: $0)) }
            let results = try await workflow.parallel(op.name, items, id: { $0.0 }, limit: op.optionalInt("lim")) { branch, item in
                var children = known
                return JSONValue.array(try await run(item.1.list("p"), branch, &children))
            }
            trace.append(.array(results))
        case "both":
            let left = workflow.branch("\(op.name).left"), right = workflow.branch("\(op.name).right")
            let known = children
            async let first = branch(op.list("l"), left, known)
            async let second = branch(op.list("r"), right, known)
            let results = (await first, await second)
            trace.append([try results.0.get(), try results.1.get()])
        case "race": trace.append(try await race(op, workflow, children))
        case "start":
            children[op.text("l")] = try await workflow.start(
                "child", Assignment(p: op.list("p"), l: op.text("l")), workflowID: op.flag("id") ? "\(workflowID)/\(op.text("l"))" : nil,
                timeout: op.optionalInt("tmo").map { .milliseconds($0) }, detached: op.flag("det"), name: op.name)
        case "await":
            let child = child(op.text("l"), children)
            if let timeout = op.milliseconds {
                trace.append(try await workflow.result(of: child, timeout: timeout, name: op.name).map { ["output": $0] } ?? "none")
            } else {
                trace.append(["output": try await workflow.result(of: child, name: op.name)])
            }
        case "all":
            let finished = try await workflow.allFinished(op.labels("ls").map { child($0, children) }, name: op.name)
            trace.append(.array(finished.map(outcome)))
        case "any":
            let first = try await workflow.any(op.labels("ls").map { child($0, children) }, name: op.name)
            trace.append([.integer(first.index), outcome(first)])
        case "cancel":
            try await workflow.cancel(child(op.text("l"), children), name: op.name)
        case "again":
            try await workflow.continueAsNew(Assignment(p: op.list("p"), l: label))
        default:
            throw WorkflowFailure(code: "unknown_operation", message: op.kind)
        }
    }

    private func id(_ who: String, _ children: Children) -> String {
        switch who {
        case "self": workflowID
        case "parent": parentID ?? "no parent"
        case "nobody": "there is no such workflow"
        default: child(who, children).workflowID
        }
    }

    private func child(_ label: String, _ children: Children) -> ChildWorkflow<JSONValue> {
        guard let child = children[label] else { fatalError("the program names a child that it has not started: \(label)") }
        return child
    }

    private func branch(_ program: [JSONValue], _ workflow: WorkflowContext, _ children: Children) async -> Result<JSONValue, any Error> {
        var children = children
        do {
            return .success(.array(try await run(program, workflow, &children)))
        } catch {
            return .failure(error)
        }
    }

    private func outcome(_ finished: FinishedChild<JSONValue>) -> JSONValue {
        switch finished.result {
        case .success(let output): ["output": output]
        case .failure(let failure): ["code": .string(failure.code)]
        }
    }

    private func policy(_ op: Operation) -> RetryPolicy {
        .exponential(
            maxAttempts: op.optionalInt("max") ?? 5, initial: .milliseconds(20), maximum: .milliseconds(60),
            nonRetryable: op.flag("final") ? [op.text("code")] : [])
    }

    private func step(_ op: Operation, _ workflow: WorkflowContext) async throws -> JSONValue {
        let monitor = workflow.monitor, workflowID = self.workflowID
        let tokens = op.optionalText("emit").map { workflow.stream($0, of: JSONValue.self) }, progress = op.flag("progress") ? workflow.progress : nil
        let body: @Sendable () async throws -> JSONValue = {
            let attempt = monitor.attempt
            Effects.happen(op.int("i"), of: workflowID, "step")
            try await progress?.report(op.int("i"))
            try await tokens?.emit(op.value("v"))
            if let hanging = op.optionalInt("hang"), attempt <= hanging { try await Task.sleep(for: .seconds(3600)) }
            if let failures = op.optionalInt("fail"), attempt <= failures { throw WorkflowFailure(code: op.text("code"), message: "attempt \(attempt)") }
            return op.value("v")
        }
        if op.optionalInt("hang") != nil { return try await workflow.step(op.name, retry: policy(op), attemptTimeout: .milliseconds(100), body) }
        if op.optionalInt("max") != nil { return try await workflow.step(op.name, retry: policy(op), body) }
        return try await workflow.step(op.name, body)
    }

    private func transaction(_ op: Operation, _ workflow: WorkflowContext) async throws -> JSONValue {
        let monitor = workflow.monitor, workflowID = self.workflowID
        let isolation: IsolationLevel =
            switch op.optionalText("iso") {
            case "repeatable_read": .repeatableRead
            case "serializable": .serializable
            default: .readCommitted
            }
        return try await workflow.transaction(op.name, isolation: isolation, retry: policy(op)) { database in
            let attempt = monitor.attempt
            try await database.execute("INSERT INTO property.effect (workflow_id, effect) VALUES ($1, $2)", workflowID, op.int("i"))
            if op.flag("sql") { try await database.execute("INSERT INTO property.effect (workflow_id, effect) VALUES ($1, NULL)", workflowID) }
            if let failures = op.optionalInt("fail"), attempt <= failures { throw WorkflowFailure(code: op.text("code"), message: "attempt \(attempt)") }
            return op.value("v")
        }
    }

    private func compensate(_ op: Operation, _ workflow: WorkflowContext) {
        let monitor = workflow.monitor, workflowID = self.workflowID
        let body = { @Sendable () async throws -> Void in
            let attempt = monitor.attempt
            Effects.happen(op.int("i"), of: workflowID, "compensation")
            if let failures = op.optionalInt("fail"), attempt <= failures { throw WorkflowFailure(code: op.text("code"), message: "attempt \(attempt)") }
        }
        guard op.flag("tx") else { return workflow.compensate(op.name, retry: policy(op), body) }
        workflow.compensate(op.name, retry: policy(op)) { database in
            try await database.execute("INSERT INTO property.effect (workflow_id, effect) VALUES ($1, $2)", workflowID, op.int("i"))
            try await body()
        }
    }

    /// A value that the host made must be the same on every replay: a step remembers it.
    private func made(_ op: Operation, _ workflow: WorkflowContext) async throws -> JSONValue {
        let text: String
        switch op.text("kind") {
        case "now": text = "\(Int64((try await workflow.now(op.name).timeIntervalSince1970 * 1_000_000).rounded()))"
        case "uuid": text = try await workflow.uuid(op.name).uuidString
        default:
            var random = try await workflow.random(op.name)
            text = "\(Int.random(in: 0..<1_000_000_000, using: &random))"
        }
        let remembered = try await workflow.step(op.text("m")) { text }
        return .bool(remembered == text && !text.isEmpty)
    }

    private func race(_ op: Operation, _ workflow: WorkflowContext, _ children: Children) async throws -> JSONValue {
        let workflowID = self.workflowID
        var alternatives: [RaceAlternative<JSONValue>] = []
        for (index, json) in op.list("alts").enumerated() {
            let alternative = Operation(json: json)
            let number = JSONValue.integer(index)
            switch alternative.text("k") {
            case "sleep": alternatives.append(.sleep(for: alternative.milliseconds ?? .zero) { ["race", number, .null] })
            case "recv": alternatives.append(.receive(JSONValue.self, topic: alternative.text("t")) { ["race", number, $0] })
            case "event":
                alternatives.append(
                    .event(JSONValue.self, of: id(alternative.text("of"), children), key: alternative.text("key")) { ["race", number, $0 ?? "none"] })
            case "child": alternatives.append(.child(child(alternative.text("l"), children)) { ["race", number, $0] })
            default:
                alternatives.append(
                    .step(
                        { () -> JSONValue in
                            Effects.happen(alternative.int("i"), of: workflowID, "race")
                            if let code = alternative.optionalText("code") { throw WorkflowFailure(code: code, message: "as the program says") }
                            return alternative.value("v")
                        }, then: { ["race", number, $0] }))
            }
        }
        return try await workflow.race(op.name, alternatives)
    }
}

/// One operation of a program.
struct Operation: Sendable {
    let json: JSONValue

    var kind: String { text("o") }
    var name: String { text("n") }
    func value(_ key: String) -> JSONValue { json[key] ?? .null }
    func optionalText(_ key: String) -> String? { json[key]?.string }
    func text(_ key: String) -> String { json[key]?.string ?? "" }
    func optionalInt(_ key: String) -> Int? { json[key]?.int }
    func int(_ key: String) -> Int { json[key]?.int ?? 0 }
    func flag(_ key: String) -> Bool { json[key] == .bool(true) }
    func list(_ key: String) -> [JSONValue] {
        guard case .array(let values)? = json[key] else { return [] }
        return values
    }
    func labels(_ key: String) -> [String] { list(key).compactMap(\.string) }
    var milliseconds: Duration? { optionalInt("ms").map { .milliseconds($0) } }
}
