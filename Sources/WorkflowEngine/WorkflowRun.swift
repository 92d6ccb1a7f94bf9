/// A sequential branch of a run. 0 is the root.
package typealias ScopeID = UInt32

package enum BeginAnswer: Sendable {
    /// Nothing recorded: execute the body, then end the step.
    case execute
    case recorded(Outcome)
    case stopped
    case misuse(WorkflowError)
}

/// How a handler ended its run.
package enum RunOutcome: Sendable {
    case success(JSONBytes)
    case failure(WorkflowError, reason: String)
    /// It was told to stop, and did.
    case stopped
}

// CONTRACT STUB: the engine's author replaces the bodies; the signatures are what PluginRegistry is written against.
/// One run of a workflow's handler, from `start` to `release`. All methods may be called on any thread; none blocks.
package final class WorkflowRun: @unchecked Sendable {
    package let workflow: ClaimedWorkflow
    /// The handler side's own, touched only on the delivery thread of its plugin.
    package nonisolated(unsafe) var hostContext: UnsafeMutableRawPointer?

    package init(workflow: ClaimedWorkflow) { self.workflow = workflow }

    /// nil: unknown parent, or a name that is empty or too long.
    package func branch(from parent: ScopeID, name: String) -> ScopeID? { nil }
    /// A step, transaction or query begins in `scope`.
    package func begin(_ kind: StepKind, scope: ScopeID, name: String, isolation: IsolationLevel = .readCommitted) -> BeginAnswer { .stopped }
    /// The step or transaction that began in `scope` has this outcome; `receiver` gets the answer after the commit.
    package func end(scope: ScopeID, outcome: Outcome, receiver: CallReceiver) {}
    /// SQL inside the transaction of `scope`.
    package func execute(scope: ScopeID, statement: SQLStatement, receiver: CallReceiver) {}
    /// A read-only query as a recorded step.
    package func query(scope: ScopeID, name: String, statement: SQLStatement, receiver: CallReceiver) {}
    package func finish(_ outcome: RunOutcome) {}
}
