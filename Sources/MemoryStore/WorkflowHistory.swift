package import WorkflowEngine

/// What `pawl.export_workflow` answers: a workflow, and the steps that are recorded of it.
package struct WorkflowHistory: Sendable {
    package var workflowID: String
    package var workflowName: String
    /// nil: it never ran.
    package var workflowVersion: Int32?
    package var status: String
    package var input: JSONBytes
    package var headers: JSONBytes?
    package var attributes: JSONBytes?
    package var output: StoredJSON?
    package var error: StoredJSON?
    package var createdAt: Int64
    package var steps: [RecordedStep]

    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    package init(_ bytes: JSONBytes) throws(Problem) {
        guard let json = StoredJSON(bytes) else { throw Problem(description: "it is no JSON") }
        guard let format = json["format"]?.integer else {
            throw Problem(description: "it has no member \"format\": it is not what pawl.export_workflow answers")
        }
        guard format == 1 else { throw Problem(description: "its format is \(format), and this program reads format 1") }
        guard let id = json["workflow_id"]?.text, let name = json["workflow_name"]?.text, let steps = json["steps"]?.array else {
            throw Problem(description: "it lacks workflow_id, workflow_name or steps")
        }
        workflowID = id
        workflowName = name
        workflowVersion = json["workflow_version"]?.integer.map { Int32(clamping: $0) }
        status = json["status"]?.text ?? ""
        input = (json["input"] ?? .null).bytes
        headers = json["headers"]?.bytes
        attributes = json["attributes"]?.bytes
        output = json["output"]
        error = json["error"]
        createdAt = json["created_at"]?.text.flatMap(RFC3339.parse) ?? 0
        self.steps = []
        for (index, step) in steps.enumerated() {
            guard let name = step["step_name"]?.text, let kind = step["kind"]?.text, let status = step["status"]?.text else {
                throw Problem(description: "steps[\(index)] lacks step_name, kind or status")
            }
            let state: RecordedStep.State =
                switch status {
                case "waiting": .waiting(dueIn: nil)
                case "retrying":
                    // No time is up in a replay.
                    .retrying(
                        attempts: Int32(clamping: step["attempts"]?.integer ?? 1), dueIn: 0, startedAt: .max,
                        failure: WorkflowError(decoding: (step["error"] ?? .null).bytes))
                case "failed": .done(.failure(WorkflowError(decoding: (step["error"] ?? .null).bytes)))
                default: .done(.success((step["output"] ?? .null).bytes))
                }
            self.steps.append(RecordedStep(name: name, number: Int32(clamping: step["step_number"]?.integer ?? Int64(index + 1)), kind: kind, state: state))
        }
    }
}

extension MemoryDatabase.Workflow {
    /// As `pawl.export_workflow` answers it.
    package var exported: StoredJSON {
        func time(_ instant: Int64?) -> StoredJSON { instant.map { .string(RFC3339.text($0)) } ?? .null }
        func value(_ outcome: Outcome?, isError: Bool) -> StoredJSON {
            switch outcome {
            case .success(let output) where !isError: StoredJSON(output) ?? .null
            case .failure(let error) where isError: error.json
            default: .null
            }
        }
        return .object([
            "format": .integer(1), "workflow_id": .string(id), "workflow_name": .string(name), "workflow_version": version.map { .integer($0) } ?? .null,
            "input": StoredJSON(input) ?? .null, "headers": headers ?? .null, "attributes": attributes ?? .null, "status": .string(status.rawValue),
            "status_reason": reason.map { .string($0) } ?? .null, "output": value(outcome, isError: false), "error": value(outcome, isError: true),
            "created_at": time(createdAt), "started_at": time(startedAt), "completed_at": time(completedAt), "deadline_at": time(deadlineAt),
            "steps": .array(
                steps.values.sorted { ($0.number, $0.name) < ($1.number, $1.name) }.map { step in
                    .object([
                        "step_name": .string(step.name), "step_number": .integer(step.number), "kind": .string(step.kind),
                        "status": .string(step.status.rawValue), "output": value(step.outcome, isError: false), "error": value(step.outcome, isError: true),
                        "attempts": .integer(step.attempts), "arguments": step.arguments.flatMap { StoredJSON($0) } ?? .null,
                        "started_at": time(step.startedAt), "completed_at": time(step.completedAt), "due_at": time(step.dueAt),
                    ])
                }),
        ])
    }
}
