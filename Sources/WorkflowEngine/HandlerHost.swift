/// A handler that can run here.
package struct HandlerID: Hashable, Sendable {
    package let workflowName: String
    package let workflowVersion: Int32
    package init(workflowName: String, workflowVersion: Int32) {
        self.workflowName = workflowName
        self.workflowVersion = workflowVersion
    }
}

/// Where the answer of an asynchronous call goes: the host's own two words, opaque to the engine.
package struct CallReceiver: @unchecked Sendable {  // pointers the engine never follows, only hands back
    package let function: UnsafeRawPointer?
    package let context: UnsafeMutableRawPointer?
    package init(function: UnsafeRawPointer?, context: UnsafeMutableRawPointer?) {
        self.function = function
        self.context = context
    }
}

/// What a call of a handler's context answers.
package enum CallAnswer: Sendable {
    case value(JSONBytes)
    /// The timeout of a wait passed: `PAWL_NONE`.
    case none
    indirect case failure(WorkflowError)
    /// The workflow is being cancelled: `PAWL_CANCELLED`.
    case cancelled
    /// The run is over: `PAWL_STOPPED`.
    case stopped
    indirect case misuse(WorkflowError)
    /// The body of the step or transaction must run again.
    case retry
    /// To a begin that answered `pending`: the body may run now.
    case execute
}

package enum InterruptReason: Sendable {
    /// Every call answers `stopped` from now on.
    case stopped
    /// Every call that is not part of a compensation answers `cancelled` from now on.
    case cancelled
}

/// What the engine tells a handler. For one run: `start`, then answers and interrupts (`cancelled` at most once, `stopped` at most once and last), then
/// `release`, in that order.
package enum Delivery: Sendable {
    case start(WorkflowRun)
    case answer(WorkflowRun, CallReceiver, CallAnswer)
    case interrupt(WorkflowRun, InterruptReason)
    /// The time of the attempt whose body runs in that scope is up.
    case interruptStep(WorkflowRun, ScopeID)
    /// The last word about the run: it finished and nothing is outstanding.
    case release(WorkflowRun)
}

/// The side that holds the handlers (PluginRegistry; a plain Swift one in tests). `deliver` is called on the engine thread and never blocks:
/// it hands each delivery to the thread of its plugin, which keeps their order.
package protocol HandlerHost: AnyObject, Sendable {
    func deliver(_ deliveries: [Delivery])
}
