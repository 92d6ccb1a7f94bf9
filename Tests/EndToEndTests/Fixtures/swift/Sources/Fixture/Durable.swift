import FoundationEssentials
import Pawl

/// A child's own error: it crosses to the parent.
struct Negative: Error, Codable, Equatable { var number: Int }

/// Waits, talks, branches, retries and undoes.
let durableWorkflows: [Workflow] = [
    Workflow("durable") { (workflow: WorkflowContext, number: Int) in
        let monitor = workflow.monitor, progress = workflow.progress
        let attempt = try await workflow.step("flaky", retry: .exponential(maxAttempts: 4, initial: .milliseconds(5))) {
            try await progress.report(["attempt": monitor.attempt])
            if monitor.attempt < 3 { throw WorkflowFailure(code: "not_yet", message: "not yet") }
            return monitor.attempt
        }
        try await workflow.sleep("nap", for: .milliseconds(30))
        try await workflow.setEvent("stage", "waiting")
        try await workflow.mergeAttributes(["number": .integer(number), "gone": .null])
        let isPatched = try await workflow.patched("always")
        let id = try await workflow.uuid()
        let now = try await workflow.now()
        var random = try await workflow.random()
        let chance = Int.random(in: 0..<1000, using: &random)

        var children: [ChildWorkflow<Int>] = []
        for value in [1, 2, 3] { children.append(try await workflow.start("durable_child", value, returning: Int.self)) }
        let bad = try await workflow.start("durable_child", -1, returning: Int.self)
        for child in children { try await workflow.send(to: child.workflowID, 10, topic: "factor") }
        let stage = try await workflow.getEvent(String.self, of: children[0].workflowID, key: "stage")
        let products = try await workflow.all(children)
        do {
            _ = try await workflow.result(of: bad)
            throw WorkflowFailure(code: "wrong", message: "a child that fails has a result")
        } catch let failure as WorkflowFailure {
            guard failure.as(Negative.self) == Negative(number: -1), failure.cause?.step == "refuse" else { throw failure }
        }
        let first = try await workflow.any(children).result.get()

        let words = workflow.stream("words", of: String.self)
        try await workflow.step("speak") { for word in ["a", "b"] { try await words.emit(word) } }
        let position = try await workflow.append("c", to: words)
        try await workflow.close(words)
        var heard = ""
        for try await entry in workflow.readStream(String.self, of: workflow.workflowID, key: "words", limit: 2) { heard += entry.value }

        let won = try await workflow.race(
            "quick", .receive(Int.self, topic: "never"), .sleep(for: .hours(1)) { -1 }, .step { 7 })
        let raced = try await workflow.race("timer", .receive(Int.self, topic: "never"), .sleep(for: .milliseconds(10)) { -1 })
        let sums = try await workflow.parallel("part", [1, 2, 3], id: { $0 }) { branch, part in
            try await branch.sleep("nap", for: .milliseconds(5))
            return try await branch.step("double") { part * 2 }
        }
        let none = try await workflow.receive(Int.self, topic: "never", timeout: .milliseconds(10))
        // Any of them may have ended first.
        guard products.contains(first), none == nil, stage == "ready", isPatched, !id.uuidString.isEmpty, now > workflow.createdAt - 60,
            (0..<1000).contains(chance)
        else {
            throw WorkflowFailure(code: "differs", message: "\(String(describing: none)) \(stage ?? "") \(isPatched) \(now)")
        }
        return [attempt] + products + [position, heard.count, won, raced] + sums
    },
    Workflow("durable_child") { (workflow: WorkflowContext, number: Int) in
        if number < 0 { try await workflow.step("refuse", retry: .never) { throw Negative(number: number) } }
        try await workflow.setEvent("stage", "ready")
        return number * (try await workflow.receive(Int.self, topic: "factor"))
    },
    // Fails, or waits to be cancelled; what it did is undone, the last first.
    Workflow("durable_undo") { (workflow: WorkflowContext, waits: Bool) in
        for name in ["first", "second"] {
            try await workflow.step(name) {}
            workflow.compensate("undo_\(name)", retry: .exponential(maxAttempts: 2, initial: .milliseconds(1))) {
                if name == "second" { throw WorkflowFailure(code: "stuck", message: "cannot be undone") }
            }
        }
        if waits { _ = try? await workflow.receive(Int.self) }
        throw Negative(number: 0)
    },
    Workflow("durable_again") { (workflow: WorkflowContext, left: Int) -> String in
        try await workflow.step("work") {}
        if left > 0 { try await workflow.continueAsNew(left - 1) }
        return "done"
    },
    Workflow("durable_timeout") { (workflow: WorkflowContext) in
        try await workflow.step("slow", retry: .never, attemptTimeout: .milliseconds(20)) { try await Task.sleep(for: .seconds(3600)) }
    },
]
