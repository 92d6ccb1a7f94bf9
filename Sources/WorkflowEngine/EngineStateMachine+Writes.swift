/// Checkpoints and ends of all runs share writes: what becomes ready while earlier ones are on their way goes into the next.
extension EngineStateMachine {
    /// Rows for one write, and who waits for each.
    struct PendingWrite {
        var steps: [StepRecord] = []
        var stepOwners: [ScopeOfRun] = []
        var ends: [WorkflowEnd] = []
        var endOwners: [RunID] = []
        var bytes = 0
        var isEmpty: Bool { steps.isEmpty && ends.isEmpty }
    }

    /// Records a step's outcome; its call is answered after the commit.
    mutating func write(_ record: StepRecord, scope: ScopeID, _ slot: Int) {
        runs[slot].writes += 1
        pending.bytes += record.outcome.size + record.name.utf8.count
        pending.steps.append(record)
        pending.stepOwners.append(ScopeOfRun(run: id(slot), scope: scope))
    }

    mutating func write(end: WorkflowEnd.End, _ slot: Int) {
        runs[slot].phase = .ending
        runs[slot].writes += 1
        pending.bytes += end.size
        pending.ends.append(WorkflowEnd(fence: runs[slot].fence, end: end))
        pending.endOwners.append(id(slot))
    }

    mutating func flushWrites(_ actions: inout Actions) {
        while !pending.isEmpty, writes.count < configuration.writesInFlight {
            let write = takePending()
            let request = newRequest()
            statistics.writes += 1
            actions.requests.append(.write(request, steps: write.steps, ends: write.ends))
            writes[request] = write
        }
    }

    /// As much as fits into one write; nearly always everything.
    private mutating func takePending() -> PendingWrite {
        if pending.steps.count + pending.ends.count <= configuration.writeRows, pending.bytes <= configuration.writeBytes {
            let all = pending
            pending = PendingWrite()
            return all
        }
        var write = PendingWrite()
        var room = configuration.writeRows
        var steps = 0
        while steps < pending.steps.count, room > 0, write.bytes < configuration.writeBytes {
            write.bytes += pending.steps[steps].outcome.size + pending.steps[steps].name.utf8.count
            steps += 1
            room -= 1
        }
        var ends = 0
        while ends < pending.ends.count, room > 0, write.bytes < configuration.writeBytes {
            write.bytes += pending.ends[ends].end.size
            ends += 1
            room -= 1
        }
        write.steps = Array(pending.steps.prefix(steps))
        write.stepOwners = Array(pending.stepOwners.prefix(steps))
        write.ends = Array(pending.ends.prefix(ends))
        write.endOwners = Array(pending.endOwners.prefix(ends))
        pending.steps.removeFirst(steps)
        pending.stepOwners.removeFirst(steps)
        pending.ends.removeFirst(ends)
        pending.endOwners.removeFirst(ends)
        pending.bytes -= write.bytes
        return write
    }

    mutating func written(
        _ request: RequestID, steps refusedSteps: [(index: Int, refusal: Refusal)], ends refusedEnds: [(index: Int, refusal: Refusal)],
        _ actions: inout Actions
    ) {
        guard let write = writes.removeValue(forKey: request) else { return }
        var next = 0
        let stepRefusals = refusedSteps.sorted { $0.index < $1.index }
        for (index, owner) in write.stepOwners.enumerated() {
            var refusal: Refusal?
            if next < stepRefusals.count, stepRefusals[next].index == index {
                refusal = stepRefusals[next].refusal
                next += 1
            }
            stepWritten(write.steps[index], owner, refusal, &actions)
        }
        next = 0
        let endRefusals = refusedEnds.sorted { $0.index < $1.index }
        for (index, owner) in write.endOwners.enumerated() {
            var refusal: Refusal?
            if next < endRefusals.count, endRefusals[next].index == index {
                refusal = endRefusals[next].refusal
                next += 1
            }
            endWritten(write.ends[index], owner, refusal, &actions)
        }
    }

    private mutating func stepWritten(_ record: StepRecord, _ owner: ScopeOfRun, _ refusal: Refusal?, _ actions: inout Actions) {
        if refusal == nil || refusal == .alreadyRecorded { statistics.steps += 1 }
        guard let slot = slot(of: owner.run) else { return }
        runs[slot].writes -= 1
        switch refusal {
        case nil, .alreadyRecorded:
            if probation == owner.run { probation = nil }
            if record.retryIn != nil {
                attemptWritten(record, owner, slot, &actions)
            } else {
                switch record.outcome {
                case .success(let value): answer(owner.scope, of: slot, .value(value), &actions)
                case .failure where owner.scope == Self.compensationScope: answer(owner.scope, of: slot, .value(Array("null".utf8)), &actions)
                case .failure(let error): answer(owner.scope, of: slot, .failure(error), &actions)
                }
            }
            advance(slot, &actions)
        case .cancelled(let cancellation):
            cancel(slot, .asked(cancellation), &actions)
            forgetBackOff(owner.scope, slot)
            answer(owner.scope, of: slot, .cancelled, &actions)
            advance(slot, &actions)
        case .fenced: fenced(slot, &actions)
        case .invalid(let error): condemn(slot, error, step: record.name, &actions)
        }
    }

    mutating func fenced(_ slot: Int, _ actions: inout Actions) {
        switch runs[slot].phase {
        case .running, .closing, .handling, .stopping(.handBack), .stopping(.condemned), .stopping(.parked), .stopping(.continued):
            statistics.fenced += 1
            actions.effects.append(.note(id(slot), .fenced))
            stop(slot, .lost, &actions)
        case .ending:
            // Its end waits for all its other writes, so this is the answer to the end itself.
            statistics.fenced += 1
            actions.effects.append(.note(id(slot), .fenced))
            resolve(slot, &actions)
        case .stopping(.lost), .resolved: advance(slot, &actions)
        case .free: break
        }
    }

    /// What this run wanted to record cannot be stored: the workflow fails, whatever the handler does.
    mutating func condemn(_ slot: Int, _ error: WorkflowError, step: String, _ actions: inout Actions) {
        var error = error.storable(limit: maximumPayload)
        if error.step == nil { error.step = step }
        switch runs[slot].phase {
        case .running, .closing: stop(slot, .condemned(error, reason: "error"), &actions)
        case .stopping(.handBack), .stopping(.parked):
            runs[slot].phase = .stopping(.condemned(error, reason: "error"))
            advance(slot, &actions)
        case .handling, .stopping, .ending, .resolved: advance(slot, &actions)
        case .free: break
        }
    }

    private mutating func endWritten(_ end: WorkflowEnd, _ owner: RunID, _ refusal: Refusal?, _ actions: inout Actions) {
        guard let slot = slot(of: owner) else { return }
        runs[slot].writes -= 1
        guard case .ending = runs[slot].phase else { return advance(slot, &actions) }
        switch refusal {
        case nil, .alreadyRecorded:
            switch end.end {
            case .succeeded: statistics.succeeded += 1
            case .failed: statistics.failed += 1
            case .cancelled: statistics.cancelled += 1
            case .continued: statistics.continued += 1
            }
            resolve(slot, &actions)
        case .fenced, .cancelled: fenced(slot, &actions)
        case .invalid(let error):
            runs[slot].refusedEnds += 1
            if runs[slot].refusedEnds == 1 {
                // The output was refused: the workflow fails with that.
                actions.effects.append(.note(id(slot), .endRefused(error)))
                write(end: .failed(error.storable(limit: maximumPayload), reason: "error"), slot)
            } else if runs[slot].refusedEnds == 2 {
                let plain = WorkflowError(
                    code: "not_storable", type: "Pawl.Engine", message: "The workflow ended, and the database refused its outcome and then the reason for that."
                )
                write(end: .failed(plain, reason: "error"), slot)
            } else {
                statistics.abandoned += 1
                actions.effects.append(.note(id(slot), .abandoned(error)))
                resolve(slot, &actions)
            }
        }
    }

    /// A lost run's rows are not sent: they would only be refused.
    mutating func dropUnsentWrites(of slot: Int) {
        let owner = id(slot)
        dropUnsentCalls(of: slot)
        guard runs[slot].writes > 0, pending.stepOwners.contains(where: { $0.run == owner }) else { return }
        for index in pending.stepOwners.indices.reversed() where pending.stepOwners[index].run == owner {
            pending.bytes -= pending.steps[index].outcome.size + pending.steps[index].name.utf8.count
            pending.steps.remove(at: index)
            pending.stepOwners.remove(at: index)
            runs[slot].writes -= 1
        }
    }
}

extension WorkflowEnd.End {
    /// Roughly the bytes it takes on the wire.
    var size: Int {
        switch self {
        case .succeeded(let value), .continued(let value): value.count + 64
        case .failed(let error, _): Outcome.failure(error).size
        case .cancelled(_, let error): error.map { Outcome.failure($0).size } ?? 64
        }
    }
}

extension Outcome {
    /// Roughly the bytes it takes on the wire.
    var size: Int {
        switch self {
        case .success(let value): value.count + 64
        case .failure(let error): error.message.utf8.count + (error.detail?.count ?? 0) + (error.cause?.count ?? 0) + 256
        }
    }
}
