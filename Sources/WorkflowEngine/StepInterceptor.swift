/// Says what becomes of steps and transactions whose bodies a handler is about to run: for tests of handlers, and for replaying what was recorded.
package protocol StepInterceptor: Sendable {
    /// Called before each attempt, on any thread.
    func intercept(_ step: InterceptedStep) -> Interception
}

package struct InterceptedStep: Sendable {
    package let run: WorkflowRun
    package let kind: StepKind
    /// As the handler gave it.
    package let name: String
    /// The full name.
    package let path: String
    package let attempt: Int32
    package init(run: WorkflowRun, kind: StepKind, name: String, path: String, attempt: Int32) {
        self.run = run
        self.kind = kind
        self.name = name
        self.path = path
        self.attempt = attempt
    }
}

package enum Interception: Sendable {
    /// The body runs.
    case run
    /// This is what the body comes to; it does not run.
    case end(Outcome, isFinal: Bool)
    /// It never begins. The closure, called later, tells the handler that the run is over.
    case suspend(@Sendable (_ stop: @escaping @Sendable () -> Void) -> Void)
}
