/// What a handler is told when a call breaks a rule: the step, what is in the way, and the cure.
extension WorkflowError {
    private static func misuse(_ code: String, _ message: String, step: String?) -> WorkflowError {
        WorkflowError(code: code, type: "Pawl.Misuse", message: message, step: step)
    }

    static func unknownScope(_ scope: ScopeID, step: String) -> WorkflowError {
        misuse(
            "unknown_scope",
            "Step \"\(step.prefixOfBytes(200))\" was begun in scope \(scope), which this run does not have. Use the root scope (0) or one that branch() returned.",
            step: nil)
    }

    static func busyScope(_ kind: StepKind, _ name: String, open: ScopeTree.OpenStep) -> WorkflowError {
        misuse(
            "busy_scope",
            "The \(kind.rawValue) \"\(name.prefixOfBytes(200))\" was begun while the \(open.kind.rawValue) \"\(open.path)\" of the same scope is open. "
                + "A scope is one sequential flow: begin it after \"\(open.path)\" has ended, not inside its body, or give work that runs at the same time "
                + "a branch of its own (workflow.branch, workflow.parallel).",
            step: open.path)
    }

    static func branchInsideStep(_ kind: StepKind, _ name: String, scope: String, outer: String) -> WorkflowError {
        misuse(
            "step_in_step",
            "The \(kind.rawValue) \"\(name.prefixOfBytes(200))\" was begun in the branch \"\(scope.dropLast())\", which was made while the step \"\(outer)\" was open. "
                + "Steps do not nest: make the branch before \"\(outer)\" begins or after it has ended.",
            step: outer)
    }

    static func badStepName(_ name: String, _ kind: StepKind) -> WorkflowError {
        let problem =
            name.isEmpty
            ? "has no name" : name.utf8.contains(0) ? "has a name that holds U+0000" : "has a name that is too long: \"\(name.prefixOfBytes(64))…\""
        return misuse(
            "bad_step_name",
            "A \(kind.rawValue) \(problem). A step's full name, its scopes included, has 1 to \(ScopeTree.maximumNameBytes) bytes.", step: nil)
    }

    static func otherKind(_ path: String, _ kind: StepKind, recorded: String) -> WorkflowError {
        WorkflowError(
            code: "determinism", type: "Pawl.Determinism",
            message:
                "\"\(path)\" is a \(kind.rawValue) in this version of the handler, and was recorded as a \(recorded). Give the new \(kind.rawValue) another "
                + "name, or resume the workflow with a handler version that fits what it has done.",
            detail: Array("{\"kind\": \"\(kind.rawValue)\", \"recorded_kind\": ".utf8) + JSONText.string(recorded) + Array("}".utf8), step: path)
    }

    static func noOpenStep(_ scope: ScopeID, _ call: String) -> WorkflowError {
        misuse("no_open_step", "\(call) was called in scope \(scope), where nothing is open. Begin a step or transaction first, and end each once.", step: nil)
    }

    static func callOutstanding(_ open: ScopeTree.OpenStep, _ call: String) -> WorkflowError {
        misuse(
            "call_outstanding",
            "\(call) was called for the \(open.kind.rawValue) \"\(open.path)\" while another call of it is outstanding. Await each call before the next.",
            step: open.path)
    }

    static func notATransaction(_ open: ScopeTree.OpenStep, _ call: String) -> WorkflowError {
        misuse(
            "not_a_transaction",
            "\(call) was called for the \(open.kind.rawValue) \"\(open.path)\". SQL that is to commit with its checkpoint belongs in a transaction; "
                + "read-only SQL in a query.",
            step: open.path)
    }

    static func finishedWithOpenStep(_ open: ScopeTree.OpenStep) -> WorkflowError {
        misuse(
            "open_step",
            "The handler finished while the \(open.kind.rawValue) \"\(open.path)\" was open. Await every step, and every branch, before returning.",
            step: open.path)
    }

    static let stoppedItself = WorkflowError(
        code: "not_stopped", type: "Pawl.Misuse",
        message: "The handler ended with PAWL_STOPPED, but nobody had stopped its run. Finish with a value or an error.")

    static func compensationTooEarly(_ name: String) -> WorkflowError {
        misuse(
            "compensation_too_early",
            "The compensation \"\(name.prefixOfBytes(200))\" was begun before compensate(). Call compensate() with the failure first.", step: nil)
    }

    static let compensatingAlready = misuse("compensating", "compensate() was called a second time. Run the compensations, then finish.", step: nil)

    static let nothingToCompensate = misuse(
        "nothing_to_compensate",
        "compensate() was called without a failure. Give it the error that the handler failed with, or PAWL_CANCELLED after a call was answered with that.",
        step: nil)

    static func badArguments(_ open: ScopeTree.OpenStep) -> WorkflowError {
        misuse("bad_arguments", "The arguments of the \(open.kind.rawValue) \"\(open.path)\" are not a JSON object.", step: open.path)
    }

    static func badEmission(_ kind: Emission.Kind) -> WorkflowError {
        misuse("bad_arguments", "A value of kind \(kind.rawValue) is a JSON object; step and attempt are added by the host.", step: nil)
    }

    static let notCancelled = WorkflowError(
        code: "not_cancelled", type: "Pawl.Misuse",
        message: "The handler ended with PAWL_CANCELLED, but the workflow is not being cancelled. Finish with a value or an error.")

    /// What a compensation of a cancelled workflow was begun with.
    static let cancelled = WorkflowError(code: "cancelled", type: "Pawl.Engine", message: "The workflow was cancelled.")

    static let timedOut = WorkflowError(code: "timeout", type: "Pawl.Engine", message: "The workflow's deadline has passed.")

    static func payload(_ problem: PayloadProblem, of subject: String, step: String?) -> WorkflowError {
        WorkflowError(
            code: problem.code, type: "Pawl.Payload", message: "\(subject) cannot be stored: \(problem.reason).", step: step)
    }
}
