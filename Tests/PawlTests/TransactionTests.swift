import CPawlPlugin
import Foundation
import Locking
import Testing

@testable import Pawl

@Suite struct TransactionTests {
    static func host<Output: Codable & Sendable>(
        _ isolation: Pawl.IsolationLevel = .readCommitted, _ body: @escaping @Sendable (Database) async throws -> Output
    ) -> FakeHost {
        FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    try await workflow.transaction("t", isolation: isolation, body)
                }
            })
    }

    @Test func statementsRunInOrderAndTheResultIsRecorded() async throws {
        let host = Self.host(.serializable) { db in
            let changed = try await db.execute("UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2", 3, "lamp")
            let left = try await db.queryRow("SELECT on_hand FROM stock WHERE sku = $1", "lamp", as: Int.self)
            return [changed, left ?? -1]
        }
        let first = try await host.run("x") { sql, _ in
            sql.hasPrefix("UPDATE") ? .affected(1) : .rows(#""columns":[["on_hand",23]],"rows":[["39"]]"#)
        }
        #expect(first.output == "[1,39]")
        #expect(first.recorded == ["t": .value(kind: "transaction", "[1,39]")])
        let statements = first.state.withLock { $0.statements }
        #expect(statements.map(\.sql).first == "BEGIN 2")
        #expect(statements.map(\.parameters) == [[], ["3", "lamp"], ["lamp"]])
        let second = try await host.run("x", recorded: first.recorded) { _, _ in
            Issue.record("a replay ran SQL")
            return .affected(0)
        }
        #expect(second.output == "[1,39]")
    }

    @Test func aFailedBodyIsRecordedAndRolledBack() async throws {
        let host = Self.host { db -> Int in
            try await db.execute("DELETE FROM stock")
            throw OutOfStock(sku: "lamp")
        }
        let run = try await host.run("x")
        #expect(run.failure?.as(OutOfStock.self) == OutOfStock(sku: "lamp"))
        guard case .failure("transaction", _)? = run.recorded["t"] else {
            Issue.record("recorded \(run.recorded)")
            return
        }
    }

    @Test func anSQLErrorCarriesItsSQLSTATE() async throws {
        let host = Self.host { db in try await db.execute("UPDATE stock SET on_hand = -1") }
        let run = try await host.run("x") { _, _ in .failure(sqlstate: "23514", "violates check constraint stock_on_hand") }
        #expect(run.failure?.code == "23514")
        #expect(run.failure?.message.contains("stock_on_hand") == true)
    }

    @Test func aSwallowedSQLErrorIsStillAFailure() async throws {
        let host = Self.host { db in
            _ = try? await db.execute("UPDATE stock SET on_hand = -1")
            return 1
        }
        let run = try await host.run("x") { _, _ in .failure(sqlstate: "23514", "violates check constraint stock_on_hand") }
        #expect(run.failure?.code == "25P02")
        #expect(run.output == nil)
    }

    @Test func aRetriedTransactionRunsItsBodyAgain() async throws {
        let bodies = Counter()
        let host = Self.host { db in
            bodies.add()
            return try await db.execute("UPDATE stock SET on_hand = on_hand - 1")
        }
        let run = try await host.run("x", retries: 2, sql: { _, _ in .affected(1) })
        #expect(run.output == "1")
        #expect(bodies.count == 3)
    }

    @Test func moreThanOneRowIsAnErrorOfQueryRow() async throws {
        let host = Self.host { db in try await db.queryRow("SELECT 1", as: Int.self) ?? 0 }
        let run = try await host.run("x") { _, _ in .rows(#""columns":[["a",23]],"rows":[["1"],["2"]]"#) }
        #expect(run.failure?.code == "too_many_rows")
        let none = try await host.run("x") { _, _ in .rows(#""columns":[["a",23]],"rows":[]"#) }
        #expect(none.output == "0")
    }

    @Test func aRecordedQueryGivesAReplayTheSameRows() async throws {
        struct Item: Codable, Sendable {
            var sku: String
            var left: Int?
        }
        let host = FakeHost(
            Plugin("x") {
                Workflow("x") { (workflow: WorkflowContext) in
                    let items = try await workflow.query("low", "SELECT sku, left FROM stock WHERE left < $1", 10, as: Item.self)
                    return items.map(\.sku)
                }
            })
        let first = try await host.run("x") { _, parameters in
            #expect(parameters == ["10"])
            return .rows(#""columns":[["sku",25],["left",23]],"rows":[["lamp","3"],["chair",null]]"#)
        }
        #expect(first.output == #"["lamp","chair"]"#)
        let second = try await host.run("x", recorded: first.recorded) { _, _ in
            Issue.record("a replay queried")
            return .rows("")
        }
        #expect(second.output == first.output)
    }
}

@Suite struct BranchTests {
    static let host = FakeHost(
        Plugin("x") {
            Workflow("branches") { (workflow: WorkflowContext) in
                let left = workflow.branch("left"), right = workflow.branch("right")
                async let l = left.step("a") { 1 }
                async let r = right.step("a") { 2 }
                let (a, b) = try await (l, r)
                return [a, b]
            }
            Workflow("parallel") { (workflow: WorkflowContext, items: [String]) in
                try await workflow.parallel("charge", items, id: { $0 }, limit: 2) { branch, item in
                    // The later ones first.
                    if item == items.first { try await Task.sleep(for: .milliseconds(20)) }
                    let one = try await branch.step("reserve") { item + "1" }
                    let two = try await branch.step("reserve") { item + "2" }
                    return one + two
                }
            }
            Workflow("failing") { (workflow: WorkflowContext, items: [String]) in
                try await workflow.parallel("charge", items, id: { $0 }) { branch, item in
                    if item == "b" { try await Task.sleep(for: .milliseconds(20)) }
                    return try await branch.step("s") {
                        if item != "a" { throw WorkflowFailure(code: item, message: item) }
                        return item
                    }
                }
            }
            Workflow("bad_name") { (workflow: WorkflowContext) in
                let branch = workflow.branch(String(repeating: "x", count: 129))
                return try await branch.step("s") { 1 }
            }
            Workflow("reentrant") { (workflow: WorkflowContext) in
                // What the compiler refuses without this box.
                let box = Box(workflow)
                return try await workflow.step("outer") { try await box.workflow.step("inner") { 1 } }
            }
        })

    final class Box: @unchecked Sendable {  // the test breaks the rule on purpose
        let workflow: WorkflowContext
        init(_ workflow: WorkflowContext) { self.workflow = workflow }
    }

    @Test func branchesRecordBelowTheirNames() async throws {
        let run = try await Self.host.run("branches")
        #expect(run.output == "[1,2]")
        #expect(Set(run.recorded.keys) == ["left/a", "right/a"])
    }

    @Test func parallelReturnsInInputOrderAndReplaysTheSame() async throws {
        let run = try await Self.host.run("parallel", input: #"["p","q","r"]"#)
        #expect(run.output == #"["p1p2","q1q2","r1r2"]"#)
        #expect(
            Set(run.recorded.keys) == [
                "charge[p]/reserve", "charge[p]/reserve#2", "charge[q]/reserve", "charge[q]/reserve#2", "charge[r]/reserve",
                "charge[r]/reserve#2",
            ])
        // Another order of the items finds each item's own steps.
        let again = try await Self.host.run("parallel", input: #"["r","p","q"]"#, recorded: run.recorded)
        #expect(again.output == #"["r1r2","p1p2","q1q2"]"#)
        #expect(again.recorded == run.recorded)
        let none = try await Self.host.run("parallel", input: "[]")
        #expect(none.output == "[]")
    }

    @Test func theFirstFailureInInputOrderIsThrown() async throws {
        let run = try await Self.host.run("failing", input: #"["a","b","c"]"#)
        #expect(run.failure?.code == "b")
        #expect(run.recorded.count == 3)
        let again = try await Self.host.run("failing", input: #"["a","b","c"]"#, recorded: run.recorded)
        #expect(again.outcome == run.outcome)
    }

    @Test func misuseReadsWell() async throws {
        let bad = try await Self.host.run("bad_name")
        #expect(bad.failure?.type == "WorkflowMisuse")
        #expect(bad.failure?.message.contains("1 to 128 bytes") == true)
        let inner = try await Self.host.run("reentrant")
        #expect(inner.failure?.code == "busy_scope")
        #expect(inner.failure?.message.contains("outer") == true)
    }
}
