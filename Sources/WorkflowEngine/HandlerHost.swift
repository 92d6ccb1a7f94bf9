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
    indirect case failure(WorkflowError)
    /// The run is over: `PAWL_STOPPED`.
    case stopped
    indirect case misuse(WorkflowError)
    /// The transaction's body must run again.
    case retry
}

/// What the engine tells a handler. For one run: `start`, then answers and at most one `interrupt`, then `release`, in that order.
package enum Delivery: Sendable {
    case start(WorkflowRun)
    case answer(WorkflowRun, CallReceiver, CallAnswer)
    case interrupt(WorkflowRun)
    /// The last word about the run: it finished and nothing is outstanding.
    case release(WorkflowRun)
}

/// The side that holds the handlers (PluginRegistry; a plain Swift one in tests). `deliver` is called on the engine thread and never blocks:
/// it hands each delivery to the thread of its plugin, which keeps their order.
package protocol HandlerHost: AnyObject, Sendable {
    func deliver(_ deliveries: [Delivery])
}
