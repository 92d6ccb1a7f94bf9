internal import CPawlPlugin
internal import FoundationEssentials

/// Something to undo if the workflow fails or is cancelled.
struct Compensation: Sendable {
    var step: StepCall
    var body: @Sendable () async throws -> Void
}

extension WorkflowContext {
    /// Says how to undo what was just done, if the workflow later fails or is cancelled.
    ///
    /// When the handler throws, or the workflow is cancelled or passes its deadline, what was registered runs in reverse order, each as a step of its own,
    /// of kind `compensation`, in the steps view: recorded, retried, continued after a crash. One that fails is recorded as failed, and the next ones still
    /// run. The workflow ends with what it failed with, whatever the compensations come to; once they have begun it cannot be resumed. Together they have
    /// one hour, or what ``Workflow/compensationLimit(_:)`` says. Nothing is undone when the run merely stops, to go on elsewhere.
    ///
    /// Register it after the step that it undoes, and let it bear being called twice.
    /// - Parameters:
    ///   - name: the name of its step; repeats are counted, as of any step.
    ///   - retry: when a failure is tried again.
    ///   - attemptTimeout: how long one attempt may take; nil: as long as it wants.
    public func compensate(
        _ name: String, retry: RetryPolicy = .default, attemptTimeout: Duration? = nil, _ body: @escaping @Sendable () async throws -> Void
    ) {
        let step = StepCall(
            name: name, scope: scope, retry: retry, attemptTimeout: attemptTimeout, flags: UInt32(PAWL_STEP_COMPENSATION))
        run.add(Compensation(step: step, body: body))
    }

    /// Says how to undo by SQL in this database what was just done: a compensation that is a transaction, so exactly once.
    ///
    /// As ``compensate(_:retry:attemptTimeout:_:)``, but what `body` does through its `Database` commits with the record that it was undone, or is rolled
    /// back with it. Let it have no effect but its SQL.
    /// - Parameters:
    ///   - name: the name of its step; repeats are counted, as of any step.
    ///   - isolation: how much it sees of others.
    ///   - retry: when a failure is tried again; what PostgreSQL raised is final, as in ``transaction(_:isolation:_:)``.
    ///   - attemptTimeout: how long one attempt may take; nil: as long as it wants.
    public func compensate(
        _ name: String, isolation: IsolationLevel = .readCommitted, retry: RetryPolicy = .default, attemptTimeout: Duration? = nil,
        _ body: @escaping @Sendable (Database) async throws -> Void
    ) {
        let run = self.run, scope = self.scope
        let transaction = StepCall(
            name: name, scope: scope, retry: retry, attemptTimeout: attemptTimeout, flags: UInt32(PAWL_STEP_COMPENSATION), isolation: isolation)
        run.add(Compensation(step: transaction, body: { try await body(Database(run: run, scope: scope)) }))
    }
}

extension HandlerRun {
    /// Undoes, and gives back how the run is to end.
    func compensate(_ compensations: [Compensation], after end: RunEnd, limit: Duration) async -> RunEnd {
        do {
            try require(.compensate)
        } catch {
            return .failure(WorkflowFailure(recording: error))
        }
        return await runCompensating {
            do {
                let reply = try await self.callAsynchronously { host, run, context in
                    switch end {
                    case .failure(let failure): failure.withResult { host.pointee.compensate(run, $0, resumeContinuation, context) }
                    case .success, .cancelled, .stopped:
                        withStatus(PawlStatus.cancelled) { host.pointee.compensate(run, $0, resumeContinuation, context) }
                    }
                }
                _ = try await self.value(of: reply, call: "compensate", in: PawlScope.root)
                let deadline = ContinuousClock.now + limit
                for compensation in compensations { try await self.perform(compensation, until: deadline) }
            } catch is WorkflowStopped {
                return .stopped
            } catch {
                self.log(.error, "the compensations did not run: \(error)")
            }
            return end
        }
    }

    /// Only a stop gets through: a compensation that fails is recorded as failed, and the next one's turn comes.
    private func perform(_ compensation: Compensation, until deadline: ContinuousClock.Instant) async throws {
        let left = ContinuousClock.now.duration(to: deadline)
        var step = compensation.step
        step.timeout = left
        let body = compensation.body
        do {
            _ = try await perform(step) { () -> Nothing in
                if left <= .zero { throw CompensationsTookTooLong() }
                try await body()
                return Nothing()
            }
        } catch let stopped as WorkflowStopped {
            throw stopped
        } catch let failure as WorkflowFailure {
            log(.error, "the compensation \"\(step.name)\" failed: \(failure)")
        } catch {
            log(.error, "the compensation \"\(step.name)\" did not run: \(error)")
        }
    }

    private func log(_ level: WorkflowLog.Level, _ message: String) { WorkflowLog(run: self)(level, message) }
}

/// Recorded for those whose turn never came.
private struct CompensationsTookTooLong: CodedError {
    var code: String { "timeout" }
    var message: String { "the time for all compensations together was over before this one ran" }
}
