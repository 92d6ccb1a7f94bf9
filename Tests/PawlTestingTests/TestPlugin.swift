import Foundation
import Locking
import Pawl

struct Order: Codable, Sendable, Equatable {
    var id = 7
    var price = 12.5
}

struct Label: Codable, Sendable, Equatable { var number: String }

struct Approval: Codable, Sendable, Equatable { var who: String }

struct Declined: Error, Codable, Equatable { var reason: String }

/// Each workflow shows one thing that handlers do.
let testPlugin = Plugin("test") {
    Workflow("steps") { (workflow: WorkflowContext, order: Order) in
        let first = try await workflow.step("a") { order.id }
        let label = try await workflow.step("buy_label") { () -> Label in throw Declined(reason: "the body ran") }
        let second = try await workflow.step("a") { first + 1 }
        return ["\(first)", "\(second)", label.number]
    }
    Workflow("money") { (workflow: WorkflowContext, order: Order) in
        try await workflow.transaction("debit") { db in
            try await db.execute("UPDATE account SET balance = balance - $1", order.price)
        }
        struct Balance: Codable { var balance: Double }
        return try await workflow.query("look", "SELECT balance FROM account WHERE id = $1", order.id, as: Balance.self).map(\.balance)
    }
    Workflow("retried") { (workflow: WorkflowContext, input: Int) in
        try await workflow.step("flaky", retry: .exponential(maxAttempts: 4, initial: .seconds(60), nonRetryable: ["declined"])) { input }
    }
    Workflow("hangs") { (workflow: WorkflowContext, _: Int) in
        try await workflow.step("hang", retry: .exponential(maxAttempts: 2), attemptTimeout: .seconds(30)) {
            try await Task.sleep(for: .seconds(3600))
            return 1
        }
    }
    Workflow("waits") { (workflow: WorkflowContext, _: Int) in
        try await workflow.sleep("grace", for: .seconds(86_400))
        let approval = try await workflow.receive(Approval.self, topic: "approval", timeout: .seconds(3600))
        return approval?.who ?? "nobody"
    }
    Workflow("waits_for_ever") { (workflow: WorkflowContext, _: Int) in try await workflow.receive(Approval.self, topic: "approval").who }
    Workflow("talks") { (workflow: WorkflowContext, other: String) in
        try await workflow.setEvent("state", "ready")
        let stream = workflow.stream("words", of: String.self)
        try await workflow.append("one", to: stream)
        try await workflow.append("two", to: stream)
        try await workflow.close(stream)
        let accepted = try await workflow.send(to: other, Approval(who: "talks"), topic: "approval")
        try await workflow.mergeAttributes(["talked": accepted])
        let answer = try await workflow.getEvent(String.self, of: other, key: "done")
        return answer ?? "none"
    }
    Workflow("listens") { (workflow: WorkflowContext, other: String) in
        let approval = try await workflow.receive(Approval.self, topic: "approval")
        var words: [String] = []
        for try await entry in workflow.readStream(String.self, of: other, key: "words") { words.append(entry.value) }
        try await workflow.setEvent("done", "\(approval.who) said \(words.joined(separator: " "))")
        try await workflow.progress.report(100)
    }
    Workflow("parent") { (workflow: WorkflowContext, count: Int) in
        var children: [ChildWorkflow<Int>] = []
        for index in 1...count { children.append(try await workflow.start("child", index, returning: Int.self)) }
        let one = try await workflow.result(of: children[0])
        let all = try await workflow.all(children)
        let failing = try await workflow.start("child", -1, returning: Int.self)
        do {
            _ = try await workflow.result(of: failing)
            return -1
        } catch let failure as WorkflowFailure where failure.code == "declined" {
            return one + all.reduce(0, +)
        }
    }
    Workflow("child") { (workflow: WorkflowContext, number: Int) in
        if number < 0 { throw WorkflowFailure(code: "declined", message: "a child that fails") }
        try await workflow.sleep("a_while", for: .seconds(100))
        return try await workflow.step("double") { number * 2 }
    }
    Workflow("parallel") { (workflow: WorkflowContext, count: Int) in
        try await workflow.parallel("charge", 1...count, id: { $0 }) { branch, number in
            try await branch.sleep("stagger", for: .seconds(number))
            return try await branch.step("take") { number * 10 }
        }
    }
    Workflow("races") { (workflow: WorkflowContext, _: Int) in
        try await workflow.race(
            "decision", .receive(Approval.self, topic: "approval") { $0.who }, .sleep(for: .seconds(600)) { "late" })
    }
    Workflow("undoes") { (workflow: WorkflowContext, _: Int) in
        try await workflow.step("reserve") {}
        workflow.compensate("release") {}
        try await workflow.step("charge") {}
        workflow.compensate("refund") {}
        _ = try await workflow.receive(Approval.self, topic: "approval", timeout: .seconds(60))
        try await workflow.step("ship", retry: .never) { throw Declined(reason: "no truck") }
    }
    Workflow("counts") { (workflow: WorkflowContext, number: Int) in
        try await workflow.step("count") { number }
        if number < 3 { try await workflow.continueAsNew(number + 1) }
        return number
    }
    Workflow("values") { (workflow: WorkflowContext, _: Int) in
        let id = try await workflow.uuid()
        let now = try await workflow.now()
        var random = try await workflow.random()
        let isNew = try await workflow.patched("new")
        return "\(id) \(now.timeIntervalSince1970) \(Int.random(in: 0...1_000_000, using: &random)) \(isNew)"
    }
    Workflow("swallows") { (workflow: WorkflowContext, _: Int) in
        let kind = (try? await workflow.step("a") { 1 }) ?? 0
        _ = try? await workflow.receive(Approval.self, topic: "approval")
        let more = (try? await workflow.step("b") { 2 }) ?? 0
        return kind + more
    }
}
