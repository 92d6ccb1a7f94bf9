package import Locking
package import WorkflowEngine

/// What Postgres holds, in memory: workflows, their steps, and one table of counters for transactions to change. Outlives the workers that use it.
package final class MemoryDatabase: Sendable {
    package enum Status: String, Sendable { case enqueued, running, succeeded, failed, cancelled }

    package struct Workflow: Sendable {
        package var key: Int64
        package var id: String
        package var name: String
        package var version: Int32 = 1
        package var input: JSONBytes
        package var epoch: Int32 = 0
        package var claimedBy: Int?
        package var status = Status.enqueued
        package var reason: String?
        package var outcome: Outcome?
        package var recoveries: Int32 = 0
        /// Name, then what was recorded under which epoch.
        package var steps: [String: (step: RecordedStep, epoch: Int32)] = [:]

        package var stepNames: [String] { steps.values.map(\.step).sorted { $0.number < $1.number }.map(\.name) }
    }

    package struct State: Sendable {
        package var workflows: [Int64: Workflow] = [:]
        package var keysByID: [String: Int64] = [:]
        /// Keys that can be claimed, first in first out.
        package var claimable: [Int64] = []
        /// The table that transactions change.
        package var counters: [String: Int] = [:]
        var lastWorker = 0
    }

    package let state = Locked(State())

    package init() {}

    package func enqueue(_ name: String, id: String, input: String = "{}", version: Int32 = 1) {
        state.withLock { state in
            let key = Int64(state.workflows.count + 1)
            state.workflows[key] = Workflow(key: key, id: id, name: name, version: version, input: Array(input.utf8))
            state.keysByID[id] = key
            state.claimable.append(key)
        }
    }

    package func workflow(_ id: String) -> Workflow {
        state.withLock { state in
            guard let key = state.keysByID[id], let workflow = state.workflows[key] else { preconditionFailure("no workflow \(id)") }
            return workflow
        }
    }

    package var unfinished: Int { state.withLock { state in state.workflows.values.count { $0.status == .enqueued || $0.status == .running } } }

    package func counter(_ name: String) -> Int { state.withLock { $0.counters[name] ?? 0 } }

    package func newWorker() -> Int {
        state.withLock { state in
            state.lastWorker += 1
            return state.lastWorker
        }
    }

    /// What happens when a worker is declared dead: its workflows can be claimed again.
    package func reclaim(from worker: Int) {
        state.withLock { state in
            for key in state.workflows.keys.sorted() where state.workflows[key]?.claimedBy == worker && state.workflows[key]?.status == .running {
                state.workflows[key]?.claimedBy = nil
                state.workflows[key]?.status = .enqueued
                state.workflows[key]?.recoveries += 1
                state.claimable.append(key)
            }
        }
    }

    // MARK: The worker protocol

    func claim(_ worker: Int, limit: Int) -> [ClaimedWorkflow] {
        state.withLock { state in
            let keys = state.claimable.prefix(limit)
            state.claimable.removeFirst(keys.count)
            return keys.compactMap { key in
                guard var row = state.workflows[key] else { return nil }
                row.epoch += 1
                row.claimedBy = worker
                row.status = .running
                state.workflows[key] = row
                return ClaimedWorkflow(
                    fence: Fence(key: key, epoch: row.epoch), workflowID: row.id, workflowName: row.name, workflowVersion: row.version,
                    queue: "default", priority: 0, partitionKey: nil, recoveries: row.recoveries, input: row.input, headers: nil, attributes: nil,
                    createdAt: 0, recordedSteps: row.steps.values.map(\.step))
            }
        }
    }

    func record(_ worker: Int, _ record: StepRecord) -> Refusal? { state.withLock { Self.record(worker, record, &$0) } }

    static func record(_ worker: Int, _ record: StepRecord, _ state: inout State) -> Refusal? {
        guard var row = state.workflows[record.fence.key], row.claimedBy == worker, row.epoch == record.fence.epoch else { return .fenced }
        if let existing = row.steps[record.name] { return existing.epoch == record.fence.epoch ? .alreadyRecorded : .fenced }
        // Through the stored form, as in the database.
        var outcome = record.outcome
        if case .failure(let error) = outcome { outcome = .failure(WorkflowError(decoding: error.encoded())) }
        row.steps[record.name] = (
            RecordedStep(name: record.name, number: record.number, kind: record.kind.rawValue, outcome: outcome), record.fence.epoch
        )
        state.workflows[record.fence.key] = row
        return nil
    }

    func end(_ worker: Int, _ end: WorkflowEnd) -> Refusal? {
        state.withLock { state in
            guard var row = state.workflows[end.fence.key], row.claimedBy == worker, row.epoch == end.fence.epoch else { return .fenced }
            if row.status != .running { return .alreadyRecorded }
            switch end.end {
            case .succeeded(let value): (row.status, row.outcome) = (.succeeded, .success(value))
            case .failed(let error, let reason): (row.status, row.outcome, row.reason) = (.failed, .failure(error), reason)
            case .cancelled(let by, let error): (row.status, row.outcome, row.reason) = (.cancelled, error.map { .failure($0) }, by.rawValue)
            case .continued(let input):
                (row.status, row.input, row.steps, row.claimedBy) = (.enqueued, input, [:], nil)
                state.claimable.append(end.fence.key)
            }
            state.workflows[end.fence.key] = row
            return nil
        }
    }

    func release(_ worker: Int, _ fences: [Fence]) {
        state.withLock { state in
            for fence in fences {
                guard var row = state.workflows[fence.key], row.claimedBy == worker, row.epoch == fence.epoch, row.status == .running else { continue }
                row.claimedBy = nil
                row.status = .enqueued
                state.workflows[fence.key] = row
                state.claimable.append(fence.key)
            }
        }
    }

    /// All changes of a transaction and its checkpoint, or none of them.
    func commit(_ worker: Int, _ record: StepRecord, changes: [(name: String, by: Int)]) -> TransactionEnd {
        state.withLock { state in
            if let refusal = Self.record(worker, record, &state) { return .refused(refusal) }
            for change in changes { state.counters[change.name, default: 0] += change.by }
            return .committed
        }
    }
}
