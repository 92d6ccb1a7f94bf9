internal import HeapModule
internal import WorkflowEngine

/// The life of workflows: enqueued, claimed, parked, cancelled, ended, resumed.
extension MemoryDatabase.State {
    package typealias Workflow = MemoryDatabase.Workflow

    /// nil: there is one of that id.
    mutating func enqueue(
        _ name: String, id: String, input: JSONBytes, _ options: MemoryDatabase.EnqueueOptions, parent: Workflow? = nil, isDetached: Bool = false, now: Int64
    ) -> Int64? {
        guard keysByID[id] == nil else { return nil }
        lastKey += 1
        var row = Workflow(key: lastKey, id: id, name: name, version: options.version, input: input, createdAt: now)
        row.queue = options.queue
        row.priority = options.priority
        row.partitionKey = options.partitionKey
        row.headers = options.headers
        row.attributes = options.attributes
        row.timeout = options.timeout
        if let parent {
            row.parent = parent.key
            row.isDetached = isDetached
            row.deadlineAt = parent.deadlineAt
            workflows[parent.key]?.children.append(row.key)
        }
        workflows[row.key] = row
        keysByID[id] = row.key
        unfinished += 1
        if let delay = options.delay, delay > 0 {
            workflows[row.key]?.status = .delayed
            setDue(row.key, now + delay)
        } else {
            makeClaimable(row.key)
        }
        return row.key
    }

    mutating func makeClaimable(_ key: Int64) {
        guard var row = workflows[key] else { return }
        lastReady += 1
        row.status = .enqueued
        row.claimedBy = nil
        row.dueAt = nil
        row.waitingFor = nil
        row.ready = lastReady
        workflows[key] = row
        ready.insert(MemoryDatabase.Ready(rank: 2 * Int64(row.priority) + (row.startedAt == nil ? 1 : 0), ready: lastReady, key: key))
        if row.crashes >= 2 { suspects.insert(key) }
    }

    mutating func setDue(_ key: Int64, _ instant: Int64?) {
        workflows[key]?.dueAt = instant
        if let instant { due.insert(MemoryDatabase.Due(at: instant, key: key)) }
    }

    func isDue(_ entry: MemoryDatabase.Due) -> Bool {
        guard let row = workflows[entry.key] else { return false }
        return row.dueAt == entry.at && (row.status == .delayed || row.status == .waiting)
    }

    /// Delayed and parked ones whose time has come.
    mutating func wakeDue(now: Int64) {
        while let next = due.min, next.at <= now {
            due.removeMin()
            if isDue(next) { makeClaimable(next.key) }
        }
    }

    mutating func hasClaimable(alone: Bool, offered: @Sendable (String) -> [Int32]?, now: Int64) -> Bool {
        wakeDue(now: now)
        return ready.unordered.contains { entry in
            guard let row = workflows[entry.key], row.ready == entry.ready, !row.isEnded else { return false }
            return (row.crashes >= 2) == alone && version(of: row, offered) != nil
        }
    }

    mutating func claim(
        _ worker: Int, limit: Int, alone: Bool, offered: @Sendable (String) -> [Int32]?, now: Int64
    ) -> [ClaimedWorkflow] {
        wakeDue(now: now)
        var claimed: [ClaimedWorkflow] = []
        var passed: [MemoryDatabase.Ready] = []
        while claimed.count < (alone ? 1 : limit), let next = ready.popMin() {
            guard let row = workflows[next.key], row.ready == next.ready, !row.isEnded else { continue }
            let version = version(of: row, offered)
            guard let version, (row.crashes >= 2) == alone else {
                passed.append(next)
                continue
            }
            claimed.append(take(next.key, worker, version, alone: alone, now: now))
        }
        for entry in passed { ready.insert(entry) }
        return claimed
    }

    /// nil: it cannot be run there.
    private func version(of row: Workflow, _ offered: @Sendable (String) -> [Int32]?) -> Int32? {
        if functions[row.name] != nil { return row.version ?? 1 }
        guard let versions = offered(row.name) else { return nil }
        guard let version = row.version else { return versions.max() ?? 1 }
        return versions.isEmpty || versions.contains(version) ? version : nil
    }

    private mutating func take(_ key: Int64, _ worker: Int, _ version: Int32, alone: Bool, now: Int64) -> ClaimedWorkflow {
        var row = workflows[key]!
        row.epoch += 1
        row.claimedBy = worker
        row.status = .running
        row.version = version
        row.ready = nil
        row.isOnProbation = alone
        if row.startedAt == nil {
            row.startedAt = now
            if let timeout = row.timeout { row.deadlineAt = min(row.deadlineAt ?? .max, now + timeout) }
        }
        workflows[key] = row
        suspects.remove(key)
        return ClaimedWorkflow(
            fence: Fence(key: key, epoch: row.epoch), workflowID: row.id, workflowName: row.name, workflowVersion: version, queue: row.queue,
            priority: row.priority, partitionKey: row.partitionKey, recoveries: row.recoveries, input: row.input, headers: row.headers?.bytes,
            attributes: row.attributes?.bytes, createdAt: row.createdAt, deadlineAt: row.deadlineAt, deadlineIn: row.deadlineAt.map { $0 - now },
            parentWorkflowID: row.parent.flatMap { workflows[$0]?.id }, cancellation: row.cancellation, isSQLHandler: functions[row.name] != nil,
            isOnProbation: alone, recordedSteps: row.steps.values.sorted { $0.number < $1.number }.map { $0.recorded(at: now) })
    }

    /// The row of a claimed workflow; nil: it is not that worker's.
    func held(_ fence: Fence, by worker: Int) -> Workflow? {
        guard let row = workflows[fence.key], row.claimedBy == worker, row.epoch == fence.epoch, row.status == .running else { return nil }
        return row
    }

    mutating func record(_ worker: Int, _ record: StepRecord, now: Int64) -> Refusal? {
        guard let row = held(record.fence, by: worker) else { return .fenced }
        if let existing = row.steps[record.name] {
            switch existing.status {
            case .succeeded, .failed: return existing.epoch == record.fence.epoch ? .alreadyRecorded : .fenced
            case .retrying:
                // The answer to the same attempt was lost.
                if record.retryIn != nil, existing.epoch == record.fence.epoch, existing.attempts >= record.attempts { return .alreadyRecorded }
            case .waiting: break
            }
        }
        if let cancellation = row.cancellation, !record.cancelling { return .cancelled(cancellation) }
        guard (1...MemoryDatabase.maximumSteps).contains(record.number) else { return .invalid(.tooManySteps) }
        var outcome = record.outcome
        // Through the stored form, as in the database.
        if case .failure(let error) = outcome { outcome = .failure(WorkflowError(decoding: error.encoded())) }
        var status = MemoryDatabase.Step.Status.succeeded
        if case .failure = outcome { status = record.retryIn == nil ? .failed : .retrying }
        put(
            MemoryDatabase.Step(
                name: record.name, number: record.number, kind: record.kind.rawValue, status: status, outcome: outcome, attempts: record.attempts,
                epoch: record.fence.epoch, startedAt: record.startedAt, completedAt: status == .retrying ? nil : now,
                dueAt: record.retryIn.map { now + $0 }), in: row.key)
        return nil
    }

    /// A checkpoint: whatever crashes there were, it was passed.
    mutating func put(_ step: MemoryDatabase.Step, in key: Int64) {
        workflows[key]?.steps[step.name] = step
        workflows[key]?.crashes = 0
        workflows[key]?.isOnProbation = false
    }

    mutating func end(_ worker: Int, _ end: WorkflowEnd, now: Int64) -> Refusal? {
        guard let row = workflows[end.fence.key], row.epoch == end.fence.epoch else { return .fenced }
        if row.isEnded { return row.claimedBy == worker ? .alreadyRecorded : .fenced }
        guard row.claimedBy == worker, row.status == .running else { return .fenced }
        switch end.end {
        case .succeeded(let output): finish(row.key, .succeeded, reason: nil, .success(output), now: now)
        case .failed(let error, let reason):
            finish(row.key, .failed, reason: reason, .failure(WorkflowError(decoding: error.encoded())), now: now)
        case .cancelled(let by, let error): finish(row.key, .cancelled, reason: by.rawValue, .failure(error ?? Self.cancelError(by, row.cancelNote)), now: now)
        case .continued(let input):
            workflows[row.key]?.steps = [:]
            workflows[row.key]?.input = input
            workflows[row.key]?.continuations += 1
            workflows[row.key]?.crashes = 0
            workflows[row.key]?.isOnProbation = false
            makeClaimable(row.key)
        }
        return nil
    }

    private static func cancelError(_ by: Cancellation, _ note: String?) -> WorkflowError {
        WorkflowError(
            code: "cancelled", type: "pawl", message: note ?? (by == .parent ? "Its parent was cancelled." : "It was cancelled on request."),
            detail: StoredJSON.object(["reason": note.map { .string($0) } ?? .null]).bytes)
    }

    private mutating func finish(_ key: Int64, _ status: MemoryDatabase.Status, reason: String?, _ outcome: Outcome, now: Int64) {
        guard var row = workflows[key] else { return }
        row.status = status
        row.reason = reason
        row.outcome = outcome
        row.completedAt = now
        row.dueAt = nil
        row.ready = nil
        row.waitingFor = nil
        ends += 1
        row.endOrder = ends
        workflows[key] = row
        suspects.remove(key)
        unfinished -= 1
        signalOthers(of: row, now: now)
    }

    mutating func release(_ worker: Int, _ fence: Fence) {
        if held(fence, by: worker) != nil { makeClaimable(fence.key) }
    }

    mutating func crash(_ key: Int64, now: Int64) {
        guard var row = workflows[key] else { return }
        row.recoveries += 1
        row.crashes += 1
        let isPoison = row.isOnProbation && row.crashes - 2 >= MemoryDatabase.maximumCrashes
        row.isOnProbation = false
        workflows[key] = row
        guard isPoison else { return makeClaimable(key) }
        workflows[key]?.claimedBy = nil
        finish(
            key, .failed, reason: "crashes",
            .failure(WorkflowError(code: "crashes", type: "pawl", message: "It was there at \(row.crashes) crashes in a row, at the last ones alone.")),
            now: now)
    }

    // MARK: Parking and signals

    mutating func park(_ worker: Int, _ parking: Parking, now: Int64) {
        guard let row = held(parking.fence, by: worker) else { return }
        if row.cancellation != nil || mayGoOn(row, now: now) { return makeClaimable(row.key) }
        workflows[row.key]?.status = .waiting
        workflows[row.key]?.claimedBy = nil
        workflows[row.key]?.waitingFor = parking.waitingFor
        let dues = row.steps.values.compactMap { $0.status == .waiting || $0.status == .retrying ? $0.dueAt : nil }
        setDue(row.key, (dues + [row.deadlineAt].compactMap { $0 }).min())
    }

    /// Whether one of its waits is over, or it has none.
    func mayGoOn(_ row: Workflow, now: Int64) -> Bool {
        if let deadline = row.deadlineAt, deadline <= now { return true }
        var waits = false
        for step in row.steps.values {
            switch step.status {
            case .waiting:
                guard let wait = step.wait, look(wait, of: row, now: now) == nil else { return true }
                waits = true
            case .retrying:
                if let due = step.dueAt, due <= now { return true }
                waits = true
            case .succeeded, .failed: break
            }
        }
        return !waits
    }

    /// Something happened at a workflow: it looks again, and so does whoever waits for it.
    mutating func signal(_ key: Int64, now: Int64) {
        guard let row = workflows[key] else { return }
        signalItself(key, now: now)
        signalOthers(of: row, now: now)
    }

    private mutating func signalOthers(of row: Workflow, now: Int64) {
        for waiter in (waiters[row.id] ?? []).sorted() where waiter != row.key { signalItself(waiter, now: now) }
    }

    mutating func signalItself(_ key: Int64, now: Int64) {
        guard let row = workflows[key] else { return }
        switch row.status {
        case .running: if let worker = row.claimedBy { signals[worker, default: []].insert(key) }
        case .waiting: if row.cancellation != nil || mayGoOn(row, now: now) { makeClaimable(key) }
        case .enqueued, .delayed, .succeeded, .failed, .cancelled: break
        }
    }

    // MARK: What users ask for

    mutating func send(_ message: StoredJSON, to id: String, topic: String, idempotencyKey: String?, now: Int64) -> Bool? {
        guard let key = keysByID[id], let row = workflows[key] else { return nil }
        if let idempotencyKey, row.messages.contains(where: { $0.idempotencyKey == idempotencyKey }) { return true }
        if row.isEnded { return false }
        workflows[key]?.messages.append(MemoryDatabase.Message(topic: topic, message: message, idempotencyKey: idempotencyKey))
        signalItself(key, now: now)
        return true
    }

    mutating func cancel(_ id: String, note: String?, now: Int64) -> Bool? {
        guard let key = keysByID[id], let row = workflows[key] else { return nil }
        if row.isEnded { return false }
        cancel(key, .request, note: note, now: now)
        return true
    }

    private mutating func cancel(_ key: Int64, _ cancellation: Cancellation, note: String?, now: Int64) {
        guard let row = workflows[key] else { return }
        if !row.isEnded, row.cancellation == nil {
            workflows[key]?.cancellation = cancellation
            workflows[key]?.cancelNote = note
            if row.startedAt == nil {
                finish(key, .cancelled, reason: cancellation.rawValue, .failure(Self.cancelError(cancellation, note)), now: now)
            } else {
                signalItself(key, now: now)
            }
        }
        for child in row.children where workflows[child]?.isDetached == false { cancel(child, .parent, note: note, now: now) }
    }

    mutating func resume(_ id: String, version: Int32?) -> Result<Bool, WorkflowError> {
        guard let key = keysByID[id], var row = workflows[key] else {
            return .failure(WorkflowError(code: "PW010", type: "pawl", message: "workflow \"\(id)\" does not exist"))
        }
        guard row.isEnded else { return .success(false) }
        guard row.status != .succeeded, !row.steps.values.contains(where: { $0.kind == StepKind.compensation.rawValue }) else {
            return .failure(WorkflowError(code: "PW011", type: "pawl", message: "workflow \"\(id)\" cannot be resumed"))
        }
        // Only the failure that ended it runs again.
        if case .failure(let error)? = row.outcome, let step = error.step, row.steps[step]?.status == .failed { row.steps[step] = nil }
        row.outcome = nil
        row.reason = nil
        row.completedAt = nil
        row.deadlineAt = nil
        row.timeout = nil
        row.cancellation = nil
        row.cancelNote = nil
        row.crashes = 0
        row.version = version ?? row.version
        workflows[key] = row
        unfinished += 1
        makeClaimable(key)
        return .success(true)
    }
}

extension WorkflowError {
    static let tooManySteps = WorkflowError(
        code: "too_many_steps", type: "pawl", message: "A workflow has at most \(MemoryDatabase.maximumSteps) steps.")
}
