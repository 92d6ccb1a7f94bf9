internal import WorkflowEngine

/// Durable calls and emissions: docs/durable-calls.md.
extension MemoryDatabase.State {
    /// What a wait came to.
    struct Over {
        enum Result {
            case value(StoredJSON)
            /// Its timeout passed.
            case none
            case failed(WorkflowError)
        }
        var result: Result
        /// The message that it takes.
        var message: Int?

        static func value(_ value: StoredJSON, message: Int? = nil) -> Over { Over(result: .value(value), message: message) }
        static let none = Over(result: .none)
        static func failed(_ error: WorkflowError) -> Over { Over(result: .failed(error)) }
    }

    mutating func perform(_ worker: Int, _ call: DurableCall, now: Int64) -> CallResult {
        guard let row = held(call.fence, by: worker) else { return .refused(.fenced) }
        let existing = row.steps[call.name]
        if let existing {
            guard existing.kind == call.kind.rawValue else { return .refused(.invalid(.otherKind(call, existing.kind))) }
            // A resend, or a run that came after.
            if existing.status != .waiting, let outcome = existing.outcome { return .done(outcome) }
        }
        if let cancellation = row.cancellation { return .refused(.cancelled(cancellation)) }
        guard (1...MemoryDatabase.maximumSteps).contains(call.number) else { return .refused(.invalid(.tooManySteps)) }
        guard case .object(let members)? = StoredJSON(call.arguments) else {
            return .refused(.invalid(WorkflowError(code: "22023", type: "pawl", message: "The arguments are no JSON object.", step: call.name)))
        }
        var arguments = CallArguments(call.kind, members)
        if call.kind.isWait { return wait(call, &arguments, existing, row, now: now) }
        return effect(call, &arguments, row, now: now)
    }

    // MARK: Waits

    private mutating func wait(
        _ call: DurableCall, _ arguments: inout CallArguments, _ existing: MemoryDatabase.Step?, _ row: Workflow, now: Int64
    ) -> CallResult {
        var wait = Wait(call.kind, &arguments, now: now)
        if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
        if var known = existing?.wait {
            // Its times stay those of the first try.
            known.offer = wait.offer ?? known.offer
            wait = known
        }
        var step =
            existing
            ?? MemoryDatabase.Step(
                name: call.name, number: call.number, kind: call.kind.rawValue, status: .waiting, epoch: call.fence.epoch, startedAt: call.startedAt)
        guard let over = look(wait, of: row, now: now) else {
            wait.offer = nil
            step.wait = wait
            step.dueAt = wait.earliestDue
            step.arguments = existing?.arguments ?? call.arguments
            put(step, in: row.key)
            for target in wait.allTargets where target != row.id { waiters[target, default: []].insert(row.key) }
            return .waiting(dueIn: step.dueAt.map { $0 - now })
        }
        step.epoch = call.fence.epoch
        let outcome: Outcome =
            switch over.result {
            case .value(let value) where call.kind == .race: .success(value.bytes)
            case .value(let value): .success(StoredJSON.object(["value": value]).bytes)
            case .none: .success(Array("null".utf8))
            case .failed(let error): .failure(error.at(call.name))
            }
        if let message = over.message { workflows[row.key]?.messages[message].consumedBy = call.name }
        done(step, outcome, in: row.key, now: now)
        return .done(outcome)
    }

    private mutating func done(_ step: MemoryDatabase.Step, _ outcome: Outcome, in key: Int64, now: Int64) {
        var step = step
        step.outcome = outcome
        step.status = .succeeded
        if case .failure = outcome { step.status = .failed }
        step.completedAt = now
        (step.dueAt, step.wait, step.arguments) = (nil, nil, nil)
        put(step, in: key)
    }

    /// nil: it is not over.
    func look(_ wait: Wait, of row: Workflow, now: Int64) -> Over? {
        let isDue = wait.dueAt.map { $0 <= now } ?? false
        switch wait.kind {
        case .sleep: return isDue ? .value(.null) : nil
        case .receive:
            if let index = row.messages.firstIndex(where: { $0.topic == wait.topic && $0.consumedBy == nil }) {
                return .value(row.messages[index].message, message: index)
            }
        case .getEvent:
            guard let target = workflow(wait.targets[0]) else { return .failed(.unknownWorkflow(wait.targets[0])) }
            if let value = target.event(wait.key) { return .value(value) }
            if target.isEnded { return Over.none }
        case .readStream:
            guard let target = workflow(wait.targets[0]) else { return .failed(.unknownWorkflow(wait.targets[0])) }
            let stream = target.streams[wait.key] ?? MemoryDatabase.Stream()
            let rest = stream.entries.filter { $0.position >= wait.from }
            let isClosed = (stream.isClosed || target.isEnded) && rest.count <= wait.limit
            if !rest.isEmpty || isClosed {
                let entries = rest.prefix(wait.limit).map { entry in
                    StoredJSON.object(["position": .integer(entry.position), "attempt": .integer(entry.attempt), "value": entry.value])
                }
                return .value(.object(["entries": .array(entries), "closed": .bool(isClosed)]))
            }
        case .awaitChild:
            guard let target = workflow(wait.targets[0]) else { return .failed(.unknownWorkflow(wait.targets[0])) }
            if target.isEnded { return target.resultForParent }
        case .awaitChildren:
            var ended: [Workflow] = []
            for id in wait.targets {
                guard let target = workflow(id) else { return .failed(.unknownWorkflow(id)) }
                if target.isEnded { ended.append(target) }
            }
            if wait.isAll, ended.count == wait.targets.count { return .value(.array(ended.map(\.summary))) }
            if !wait.isAll, let first = ended.min(by: { $0.endOrder < $1.endOrder }) { return .value(first.summary) }
        case .race:
            for (index, alternative) in wait.alternatives.enumerated() {
                if alternative.kind == .step {
                    guard let offer = wait.offer, offer.index == index else { continue }
                    switch offer.outcome {
                    case .success(let output): return .value(.object(["winner": .integer(index), "value": StoredJSON(output) ?? .null]))
                    case .failure(let error): return .value(.object(["winner": .integer(index), "error": error.json]))
                    }
                }
                guard let over = look(alternative, of: row, now: now) else { continue }
                switch over.result {
                case .value(let value): return .value(.object(["winner": .integer(index), "value": value]), message: over.message)
                case .none: return .value(.object(["winner": .integer(index), "none": .bool(true)]))
                case .failed(let error): return .value(.object(["winner": .integer(index), "error": error.json]))
                }
            }
            return nil
        default: return nil
        }
        return isDue ? Over.none : nil
    }

    private func workflow(_ id: String) -> Workflow? { keysByID[id].flatMap { workflows[$0] } }

    // MARK: Effects

    private mutating func effect(_ call: DurableCall, _ arguments: inout CallArguments, _ row: Workflow, now: Int64) -> CallResult {
        var step = MemoryDatabase.Step(
            name: call.name, number: call.number, kind: call.kind.rawValue, status: .succeeded, epoch: call.fence.epoch, startedAt: call.startedAt)
        var outcome = Outcome.success(Array("null".utf8))
        switch call.kind {
        case .send:
            let (id, message, topic) = (arguments.required("workflow_id"), arguments.any("message") ?? .null, arguments.text("topic") ?? "")
            if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
            switch send(message, to: id, topic: topic, idempotencyKey: nil, now: now) {
            case let accepted?: outcome = .success(StoredJSON.bool(accepted).bytes)
            case nil: outcome = .failure(.unknownWorkflow(id))
            }
        case .setEvent:
            let (key, value) = (arguments.required("key"), arguments.any("value") ?? .null)
            if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
            workflows[row.key]?.events.append(MemoryDatabase.Event(key: key, value: value, stepName: call.name))
            signal(row.key, now: now)
        case .writeStream:
            let (key, value) = (arguments.required("key"), arguments.any("value") ?? .null)
            if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
            if let position = append(value, to: key, of: row.key, stepName: call.name, attempt: 1, now: now) {
                outcome = .success(StoredJSON.integer(position).bytes)
            } else {
                outcome = .failure(.streamClosed(key))
            }
        case .closeStream:
            let key = arguments.required("key")
            if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
            workflows[row.key]?.streams[key, default: MemoryDatabase.Stream()].isClosed = true
            signal(row.key, now: now)
        case .mergeAttributes:
            let changes = arguments.object("attributes")
            if changes == nil { arguments.refuse("attributes is missing") }
            if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
            var members = row.attributes?.object ?? [:]
            for (key, value) in changes ?? [:] { members[key] = value == .null ? nil : value }
            let attributes = StoredJSON.object(members)
            if attributes.bytes.count > 8192 {
                outcome = .failure(WorkflowError(code: "22023", type: "pawl", message: "The attributes would have more than 8 kB."))
            } else {
                workflows[row.key]?.attributes = attributes
                outcome = .success(attributes.bytes)
            }
        case .startChild:
            switch startChild(call, &arguments, row, now: now) {
            case .success(.success(let id)):
                step.childWorkflowID = id
                outcome = .success(StoredJSON.object(["workflow_id": .string(id)]).bytes)
            case .success(.failure(let error)): outcome = .failure(error)
            case .failure(let refusal): return .refused(.invalid(refusal))
            }
        case .cancelWorkflow:
            let (id, reason) = (arguments.required("workflow_id"), arguments.text("reason"))
            if let refusal = arguments.refusal(step: call.name) { return .refused(.invalid(refusal)) }
            switch cancel(id, note: reason, now: now) {
            case let asked?: outcome = .success(StoredJSON.bool(asked).bytes)
            case nil: outcome = .failure(.unknownWorkflow(id))
            }
        default:
            return .refused(.invalid(WorkflowError(code: "22023", type: "pawl", message: "\(call.kind.rawValue) is no durable call.", step: call.name)))
        }
        if case .failure(let error) = outcome { outcome = .failure(error.at(call.name)) }
        done(step, outcome, in: row.key, now: now)
        return .done(outcome)
    }

    /// Its id, or what enqueuing refuses; or a refusal of the call itself.
    private mutating func startChild(
        _ call: DurableCall, _ arguments: inout CallArguments, _ row: Workflow, now: Int64
    ) -> Result<Result<String, WorkflowError>, WorkflowError> {
        let name = arguments.required("workflow_name")
        let input = arguments.any("input") ?? .object([:])
        let given = arguments.text("workflow_id")
        let options = MemoryDatabase.EnqueueOptions(
            version: nil, queue: arguments.text("queue") ?? "default", priority: arguments.integer("priority").map { Int32(clamping: $0) } ?? row.priority,
            partitionKey: arguments.text("partition_key") ?? row.partitionKey, headers: arguments.any("headers") ?? row.headers,
            attributes: arguments.any("attributes") ?? row.attributes, delay: arguments.interval("delay", now: now),
            timeout: arguments.interval("timeout", now: now))
        var versioned = options
        versioned.version = arguments.integer("workflow_version").map { Int32(clamping: $0) }
        let isDetached = arguments.boolean("detached") ?? false
        if let refusal = arguments.refusal(step: call.name) { return .failure(refusal) }
        func refused(_ code: String, _ message: String) -> Result<Result<String, WorkflowError>, WorkflowError> {
            .success(.failure(WorkflowError(code: code, type: "pawl", message: message)))
        }
        if name.utf8.count > 128 { return refused("22023", "workflow_name is longer than 128 bytes") }
        if let given, given.isEmpty || given.utf8.count > 512 { return refused("22023", "workflow_id must have 1 to 512 bytes") }
        if let version = versioned.version, version < 1 { return refused("22023", "workflow_version must be at least 1") }
        if let queues, !queues.contains(versioned.queue) { return refused("PW005", "queue \"\(versioned.queue)\" does not exist") }
        if let given, let existing = keysByID[given].flatMap({ workflows[$0] }) {
            return existing.name == name
                ? .success(.success(given)) : refused("PW002", "workflow \"\(given)\" exists with the name \"\(existing.name)\"")
        }
        var id = given ?? "\(row.id)/\(call.name)"
        // Begun anew, or resumed, a workflow may start another child in the same step.
        var repeats = 1
        while keysByID[id] != nil {
            repeats += 1
            id = "\(row.id)/\(call.name)/\(repeats)"
        }
        _ = enqueue(name, id: id, input: input.bytes, versioned, parent: row, isDetached: isDetached, now: now)
        return .success(.success(id))
    }

    // MARK: Streams and progress

    /// Its position; nil: the stream is closed.
    private mutating func append(_ value: StoredJSON, to key: String, of workflow: Int64, stepName: String, attempt: Int32, now: Int64) -> Int64? {
        var stream = workflows[workflow]?.streams[key] ?? MemoryDatabase.Stream()
        guard !stream.isClosed else { return nil }
        let position = Int64(stream.entries.count + 1)
        stream.entries.append(MemoryDatabase.StreamEntry(position: position, attempt: attempt, stepName: stepName, value: value))
        workflows[workflow]?.streams[key] = stream
        signal(workflow, now: now)
        return position
    }

    mutating func emit(_ worker: Int, _ emission: Emission, now: Int64) -> Refusal? {
        guard let row = held(emission.fence, by: worker) else { return .fenced }
        if let cancellation = row.cancellation { return .cancelled(cancellation) }
        guard let arguments = StoredJSON(emission.arguments) else { return .invalid(WorkflowError(code: "22023", type: "pawl", message: "That is no JSON.")) }
        switch emission.kind {
        case .progress: workflows[row.key]?.progress = arguments["value"] ?? .null
        case .stream:
            guard let key = arguments["key"]?.text, !key.isEmpty else {
                return .invalid(WorkflowError(code: "22023", type: "pawl", message: "A stream's value needs a key."))
            }
            let attempt = Int32(clamping: arguments["attempt"]?.integer ?? 1)
            if append(arguments["value"] ?? .null, to: key, of: row.key, stepName: arguments["step"]?.text ?? "", attempt: attempt, now: now) == nil {
                return .invalid(.streamClosed(key))
            }
        }
        return nil
    }
}

extension MemoryDatabase.Workflow {
    /// What its parent's await_child comes to.
    fileprivate var resultForParent: MemoryDatabase.State.Over {
        guard case .failure(let error)? = outcome else {
            if case .success(let output)? = outcome { return .value(StoredJSON(output) ?? .null) }
            return .value(.null)
        }
        return .failed(
            WorkflowError(
                code: status == .cancelled ? "child_cancelled" : error.code, type: error.type,
                message: "Workflow \"\(id)\" \(status == .cancelled ? "was cancelled" : "failed"): \(error.message)", detail: error.detail,
                cause: error.encoded()))
    }

    fileprivate var summary: StoredJSON {
        var members: [String: StoredJSON] = ["workflow_id": .string(id), "status": .string(status.rawValue), "output": .null, "error": .null]
        switch outcome {
        case .success(let output): members["output"] = StoredJSON(output) ?? .null
        case .failure(let error): members["error"] = error.json
        case nil: break
        }
        return .object(members)
    }
}

extension WorkflowError {
    fileprivate func at(_ step: String) -> WorkflowError {
        var error = self
        error.step = error.step ?? step
        error.attempt = error.attempt ?? 1
        return WorkflowError(decoding: error.encoded())
    }

    fileprivate static func unknownWorkflow(_ id: String) -> WorkflowError {
        WorkflowError(code: "unknown_workflow", type: "pawl", message: "There is no workflow \"\(id)\".")
    }

    fileprivate static func streamClosed(_ key: String) -> WorkflowError {
        WorkflowError(code: "stream_closed", type: "pawl", message: "The stream \"\(key)\" is closed.")
    }

    fileprivate static func otherKind(_ call: DurableCall, _ recorded: String) -> WorkflowError {
        WorkflowError(
            code: "determinism", type: "Pawl.Determinism",
            message: "\"\(call.name)\" is a \(call.kind.rawValue) in this version of the handler, and was recorded as a \(recorded).", step: call.name)
    }
}
