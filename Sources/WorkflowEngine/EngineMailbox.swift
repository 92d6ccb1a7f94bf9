import Locking

/// A run's place in the engine's table. The generation tells a place's next tenant from its last.
package struct RunID: Hashable, Sendable {
    var slot: Int32
    var generation: UInt32
}

/// What a run's handler asked for, on its way to the engine thread. Each one counts: a run is released when all of its calls were handled.
enum RunCall: Sendable {
    /// A body runs: with an isolation level in a transaction.
    case begin(ScopeID, StepRecord, IsolationLevel?, RetryPolicy)
    /// It runs once the back-off is over that came after the attempt of that record.
    case backOff(ScopeID, StepRecord, IsolationLevel?, RetryPolicy, dueIn: Int64, CallReceiver)
    case endStep(ScopeID, StepRecord, RetryPolicy, CallReceiver)
    case execute(ScopeID, SQLStatement, CallReceiver)
    /// A statement that no server can take: fails like one that the server refused.
    indirect case refusedStatement(ScopeID, WorkflowError, CallReceiver)
    case endTransaction(ScopeID, Outcome, RetryPolicy, CallReceiver)
    case query(ScopeID, StepRecord, SQLStatement, CallReceiver)
    case perform(ScopeID, DurableCall, CallReceiver)
    case offer(ScopeID, index: Int, Outcome)
    case emit(Emission, CallReceiver)
    /// With the record of the failure, unless it is recorded already.
    indirect case compensate(StepRecord?, WorkflowError, CallReceiver)
    case continueAsNew(JSONBytes, CallReceiver)
    /// Decided already: something recorded, a misuse, a run that is over.
    case answer(CallReceiver, CallAnswer)
    /// The run cannot go on, whatever its handler does from here.
    indirect case condemn(WorkflowError, reason: String)
    case finish(RunOutcome)
}

/// From any thread to the engine thread.
enum EngineMessage: Sendable {
    case run(RunID, RunCall)
    case start(maximumPayload: Int)
    case drain(within: Duration, completion: @Sendable (DrainReport) -> Void)
}

/// Calls the owner once when it turns non-empty while the engine sleeps.
final class EngineMailbox: Sendable {
    private struct Box {
        var messages: [EngineMessage] = []
        var isAsleep = false
        var misuse = 0
        var replayedSteps = 0
    }
    private let box = Locked(Box())
    private let wake: @Sendable () -> Void

    init(wake: @escaping @Sendable () -> Void) { self.wake = wake }

    func post(_ message: EngineMessage) {
        let wasAsleep = box.withLock { box in
            box.messages.append(message)
            let wasAsleep = box.isAsleep
            box.isAsleep = false
            return wasAsleep
        }
        if wasAsleep { wake() }
    }

    /// Counted here and not sent: nobody waits for it.
    func countMisuse() { box.withLock { $0.misuse += 1 } }
    func countReplayedStep() { box.withLock { $0.replayedSteps += 1 } }

    /// Everything that is there, in exchange for an empty array whose storage is used again.
    func take(into messages: inout [EngineMessage], statistics: inout EngineStatistics) {
        box.withLock { box in
            swap(&box.messages, &messages)
            box.isAsleep = false
            statistics.misuse += box.misuse
            statistics.replayedSteps += box.replayedSteps
            box.misuse = 0
            box.replayedSteps = 0
        }
    }

    /// False, and awake, if there is something to do.
    func fallAsleep() -> Bool {
        box.withLock { box in
            box.isAsleep = box.messages.isEmpty
            return box.isAsleep
        }
    }
}
