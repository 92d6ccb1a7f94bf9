import Pawl

/// What a workflow is given: its program, and the label by which its parent knows it.
struct Assignment: Codable, Sendable {
    var p: [JSONValue]
    var l: String?
}

private func handler(_ workflow: WorkflowContext, _ assignment: Assignment) async throws -> JSONValue {
    var children: [String: ChildWorkflow<JSONValue>] = [:]
    let interpreter = Interpreter(workflowID: workflow.workflowID, parentID: workflow.parentWorkflowID, label: assignment.l)
    return ["trace": .array(try await interpreter.run(assignment.p, workflow, &children))]
}

let plugin = Plugin("property") {
    Workflow("program") { (workflow: WorkflowContext, assignment: Assignment) in try await handler(workflow, assignment) }
    Workflow("child") { (workflow: WorkflowContext, assignment: Assignment) in try await handler(workflow, assignment) }
}

@c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
