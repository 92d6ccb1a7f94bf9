import Testing

/// What a handler must not do is an error of the compiler, not a surprise at run time.
@Suite struct MisuseTests {
    static let order = "struct Order: Codable, Sendable { var items: [Int] }"

    struct Misuse: Sendable, CustomTestStringConvertible {
        var what: String
        var body: String
        /// Part of the error.
        var error: String
        var testDescription: String { what }
    }

    static let misuses = [
        Misuse(
            what: "a context shared by two tasks",
            body: """
                async let l = workflow.step("a") { 2 }
                let r = try await workflow.step("b") { 3 }
                return try await l + r
                """, error: "workflow"),
        Misuse(
            what: "a context shared by the tasks of a group",
            body: """
                return try await withThrowingTaskGroup(of: Int.self) { group in
                    for i in 0..<3 { group.addTask { try await workflow.step("a") { i } } }
                    return try await group.reduce(0, +)
                }
                """, error: "data race"),
        Misuse(
            what: "a context in a task left behind",
            body: """
                Task { try await workflow.step("late") { 1 } }
                return try await workflow.step("now") { 1 }
                """, error: "data race"),
        Misuse(
            what: "a branch used by two tasks",
            body: """
                let branch = workflow.branch("b")
                async let x = branch.step("s") { 1 }
                _ = try await branch.step("t") { 2 }
                return try await x
                """, error: "branch"),
        Misuse(
            what: "a step in a step",
            body: #"return try await workflow.step("outer") { try await workflow.step("inner") { 1 } }"#, error: "WorkflowContext"),
        Misuse(
            what: "a step in a transaction",
            body: #"return try await workflow.transaction("outer") { db in try await workflow.step("inner") { 1 } }"#,
            error: "WorkflowContext"),
        Misuse(
            what: "a transaction's database kept",
            body: #"let kept: Database = try await workflow.transaction("t") { db in db }"#, error: "Database"),
        Misuse(
            what: "statements of a transaction at once",
            body: """
                try await workflow.transaction("t") { db in
                    async let a = db.execute("SELECT 1")
                    async let b = db.execute("SELECT 2")
                    _ = try await (a, b)
                }
                """, error: "db"),
        Misuse(
            what: "a variable changed by a step's body",
            body: """
                var count = 0
                try await workflow.step("count") { count += 1 }
                """, error: "count"),
        Misuse(
            what: "a result that cannot be recorded",
            body: """
                struct Opaque: Sendable {}
                let value: Opaque = try await workflow.step("opaque") { Opaque() }
                print(value)
                """, error: "Opaque"),
    ]

    @Test(arguments: misuses)
    func isRefused(_ misuse: Misuse) throws {
        let errors = try Compiler.errors(inHandler: misuse.body, declarations: MisuseTests.order)
        #expect(errors.contains { $0.contains(misuse.error) }, "\(errors)")
    }

    /// Without it the others would prove nothing.
    @Test func theRightFormsAreAccepted() throws {
        let body = """
            let left = workflow.branch("left"), right = workflow.branch("right")
            async let l = left.step("a") { 2 }
            async let r = right.step("a") { 3 }
            var sum = try await l + r
            sum += try await withThrowingTaskGroup(of: Int.self) { group in
                for i in 0..<3 {
                    let branch = workflow.branch("item[\\(i)]")
                    group.addTask {
                        let x = try await branch.step("a") { i }
                        return x + (try await branch.step("b") { i })
                    }
                }
                return try await group.reduce(0, +)
            }
            let lengths = try await workflow.parallel("charge", ["p", "q"], id: { $0 }) { branch, item in
                try await branch.step("reserve") { item.count }
            }
            let log = workflow.log
            try await workflow.transaction("t") { db in
                log.info("in a transaction")
                try await db.execute("SELECT $1, $2, $3", nil, order.items, .json(order))
            }
            return sum + lengths.count
            """
        #expect(try Compiler.errors(inHandler: body, declarations: MisuseTests.order) == [])
    }
}
