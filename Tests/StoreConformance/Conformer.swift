import MemoryStore
package import WorkflowEngine

/// What the suite does to a store, with a crash of the worker before or after one of its writes: a new worker claims what was claimed, and what was not
/// answered is asked again.
package final class Conformer {
    package let world: any ConformanceWorld
    private var worker: any ConformanceWorker
    private var runs: [Run] = []
    /// Which point of all crashes; 0: none. Two for each write.
    private let crashAt: Int
    package private(set) var points = 0
    package private(set) var hasCrashed = false

    /// A workflow that is claimed.
    package final class Run {
        package fileprivate(set) var claimed: ClaimedWorkflow
        private var numbers: [String: Int32] = [:]
        init(_ claimed: ClaimedWorkflow) { self.claimed = claimed }
        package var fence: Fence { claimed.fence }
        /// The same name has the same number.
        func number(_ name: String) -> Int32 {
            if let known = claimed.recordedSteps.first(where: { $0.name == name })?.number ?? numbers[name] { return known }
            let next = max(claimed.recordedSteps.map(\.number).max() ?? 0, numbers.values.max() ?? 0) + 1
            numbers[name] = next
            return next
        }
        package func recorded(_ name: String) -> RecordedStep? { claimed.recordedSteps.first { $0.name == name } }
    }

    package init(_ world: any ConformanceWorld, crashAt: Int = 0) async throws {
        self.world = world
        self.crashAt = crashAt
        worker = try await world.makeWorker()
    }

    /// Does a write, and survives a crash on either side of it. `redo`: whether it is done again after one that came after the write. nil: it was not.
    private func writing<Value>(redo: () -> Bool = { true }, _ write: (any ConformanceWorker) async throws -> Value) async throws -> Value? {
        points += 1
        if points == crashAt { try await crash() }
        let value = try await write(worker)
        points += 1
        guard points == crashAt else { return value }
        try await crash()
        return redo() ? try await write(worker) : nil
    }

    private func crash() async throws {
        hasCrashed = true
        try await world.kill(worker)
        worker = try await world.makeWorker()
        var left = runs.count
        while left > 0 {
            let claimed = try await worker.claimOne()
            runs.first { $0.claimed.fence.key == claimed.fence.key }?.claimed = claimed
            left -= 1
        }
    }

    package func claim() async throws -> Run {
        let run = Run(try await worker.claimOne())
        runs.append(run)
        return run
    }

    /// It is claimed no more.
    private func forget(_ run: Run) { runs.removeAll { $0 === run } }

    package func perform(_ run: Run, _ kind: StepKind, _ name: String, _ arguments: String) async throws -> CallResult {
        let number = run.number(name)
        return try await writing {
            try await $0.perform(
                DurableCall(fence: run.fence, name: name, number: number, kind: kind, arguments: Array(arguments.utf8), startedAt: 1_700_000_000_000_000))
        }!
    }

    /// Until it is over; time passes.
    package func wait(_ run: Run, _ kind: StepKind, _ name: String, _ arguments: String) async throws -> CallResult {
        var result = try await perform(run, kind, name, arguments)
        for _ in 0..<10_000 {
            guard case .waiting = result else { break }
            try await world.pass(milliseconds: 50)
            result = try await worker.perform(
                DurableCall(
                    fence: run.fence, name: name, number: run.number(name), kind: kind, arguments: Array(arguments.utf8), startedAt: 1_700_000_000_000_000))
        }
        return result
    }

    /// nil: recorded.
    @discardableResult
    package func record(
        _ run: Run, _ name: String, _ outcome: Outcome, kind: StepKind = .step, attempts: Int32 = 1, retryIn: Int64? = nil, endsBackOff: Bool = false,
        cancelling: Bool = false
    ) async throws -> Refusal? {
        let number = run.number(name)
        // What the new run finds recorded it does not do again.
        let isMissing = {
            switch run.recorded(name)?.state {
            case .done: false
            case .retrying(let made, _, _, _): made < attempts || endsBackOff
            case .waiting, nil: true
            }
        }
        let refusal = try await writing(redo: isMissing) {
            var record = StepRecord(
                fence: run.fence, name: name, number: number, kind: kind, outcome: outcome, startedAt: 1_700_000_000_000_000, attempts: attempts,
                retryIn: retryIn, cancelling: cancelling)
            record.endsBackOff = endsBackOff
            return try await $0.write(steps: [record], ends: []).steps[0]
        }
        return refusal ?? nil
    }

    @discardableResult
    package func end(_ run: Run, _ end: WorkflowEnd.End) async throws -> Refusal? {
        points += 1
        if points == crashAt { try await crash() }
        let refusal = try await worker.write(steps: [], ends: [WorkflowEnd(fence: run.fence, end: end)]).ends[0]
        forget(run)
        points += 1
        if points == crashAt { try await crash() }
        return refusal
    }

    package func emit(_ run: Run, _ kind: Emission.Kind, _ arguments: String) async throws -> Refusal? {
        try await writing { try await $0.emit(Emission(fence: run.fence, kind: kind, arguments: Array(arguments.utf8))) } ?? nil
    }

    package func park(_ run: Run) async throws {
        points += 1
        if points == crashAt { try await crash() }
        try await worker.park(run.fence)
        forget(run)
        points += 1
        if points == crashAt { try await crash() }
    }

    package func signal(about run: Run) async throws -> Signal { try await worker.signal(about: run.fence) }
}

extension CallResult {
    /// For comparing: the outcome as normalized JSON, or a word.
    package var word: String {
        switch self {
        case .done(.success(let value)): StoredJSON(value)?.description ?? "no JSON"
        case .done(.failure(let error)): "failed \(error.code)"
        case .waiting: "waiting"
        case .refused(.fenced): "fenced"
        case .refused(.alreadyRecorded): "recorded"
        case .refused(.cancelled(let by)): "cancelled \(by.rawValue)"
        case .refused(.invalid(let error)): "invalid \(error.code)"
        }
    }
}
