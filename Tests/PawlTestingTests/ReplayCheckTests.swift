import Foundation
import Locking
import Pawl
import PawlTesting
import Testing

/// Histories of one version against the code of another.
@Suite struct ReplayCheckTests {
    static func plugin(_ body: @escaping @Sendable (WorkflowContext, Int) async throws -> Int) -> Plugin {
        Plugin("orders") { Workflow("order", body) }
    }

    static let original = plugin { workflow, id in
        let reserved = try await workflow.step("reserve") { id + 1 }
        try await workflow.sleep("grace", for: .seconds(60))
        return try await workflow.step("charge") { reserved * 2 }
    }

    /// Of an order that has ended, or of one that sleeps.
    static func history(ended: Bool) async throws -> Data {
        let test = try WorkflowTest(original)
        let workflow = try await test.start("order", input: 1)
        if ended { try await workflow.end() }
        return workflow.history
    }

    @Test func theSameCodeFits() async throws {
        let ended = try await WorkflowTest.checkReplay(of: Self.history(ended: true), plugin: Self.original)
        #expect(ended.fits)
        #expect(ended.replayed == 3)
        #expect(ended.newWork == [])
        let sleeping = try await WorkflowTest.checkReplay(of: Self.history(ended: false), plugin: Self.original)
        #expect(sleeping.fits)
        #expect(sleeping.replayed == 1)
        #expect(sleeping.unfinished == ["grace"])
    }

    @Test func noBodyRuns() async throws {
        let ran = Locked(false)
        let longer = Self.plugin { workflow, id in
            let reserved = try await workflow.step("reserve") { id + 1 }
            try await workflow.sleep("grace", for: .seconds(60))
            let charged = try await workflow.step("charge") { reserved * 2 }
            try await workflow.step("thank") { ran.withLock { $0 = true } }
            return charged
        }
        let result = try await WorkflowTest.checkReplay(of: Self.history(ended: true), plugin: longer)
        #expect(result.fits)
        #expect(result.newWork == ["thank"])
        #expect(!ran.withLock { $0 })
    }

    @Test func anotherKindIsDeterminism() async throws {
        let changed = Self.plugin { workflow, id in
            try await workflow.transaction("reserve") { _ in id + 1 }
        }
        let result = try await WorkflowTest.checkReplay(of: Self.history(ended: false), plugin: changed)
        #expect(!result.fits)
        #expect(result.problems.count == 1)
        #expect(result.problems[0].contains(#""reserve" is a transaction"#))
        #expect(result.problems[0].contains("recorded as a step"))
    }

    @Test func anotherResultIsDeterminism() async throws {
        let changed = Self.plugin { workflow, id in
            try await workflow.step("reserve") { "seat \(id)" }.count
        }
        let result = try await WorkflowTest.checkReplay(of: Self.history(ended: false), plugin: changed)
        #expect(!result.fits)
        #expect(result.problems[0].contains(#""reserve" has a recorded result that is no String"#))
    }

    @Test func aStepThatIsGone() async throws {
        let shorter = Self.plugin { workflow, id in
            try await workflow.sleep("grace", for: .seconds(60))
            return id
        }
        let result = try await WorkflowTest.checkReplay(of: Self.history(ended: true), plugin: shorter)
        #expect(result.problems == [#"The handler ends without coming to "reserve", "charge", which are recorded."#])
    }

    @Test func aStepThatIsRenamed() async throws {
        let renamed = Self.plugin { workflow, id in try await workflow.step("book") { id + 1 } }
        let result = try await WorkflowTest.checkReplay(of: Self.history(ended: true), plugin: renamed)
        #expect(!result.fits)
        #expect(result.newWork == ["book"])
        #expect(result.problems[0].hasPrefix(#"New work begins before the handler has come to "reserve", "grace", "charge""#))
    }

    @Test func patchedCodeFitsOldHistories() async throws {
        let patched = Self.plugin { workflow, id in
            let isNew = try await workflow.patched("insure")
            let reserved = try await workflow.step("reserve") { id + 1 }
            if isNew { try await workflow.step("insure") {} }
            try await workflow.sleep("grace", for: .seconds(60))
            return try await workflow.step("charge") { reserved * 2 }
        }
        #expect(try await WorkflowTest.checkReplay(of: Self.history(ended: true), plugin: patched).fits)
    }

    @Test func anotherInputDoesNotFit() async throws {
        let changed = Plugin("orders") {
            Workflow("order") { (_: WorkflowContext, input: [String: Int]) in input.count }
        }
        let result = try await WorkflowTest.checkReplay(of: Self.history(ended: false), plugin: changed)
        #expect(result.problems.first?.hasPrefix("The handler cannot read the input") == true)
    }

    @Test func versions() async throws {
        let plugin = Plugin("orders") {
            Workflow("order", version: 2) { (workflow: WorkflowContext, id: Int) in try await workflow.step("reserve") { id } }
            Workflow("order", version: 3) { (_: WorkflowContext, id: Int) in id }
        }
        let history = try await Self.history(ended: false)
        #expect(try await WorkflowTest.checkReplay(of: history, plugin: plugin).version == 2)
        #expect(try await WorkflowTest.checkReplay(of: history, plugin: plugin, version: 3).fits == false)
        let none = Plugin("none") { Workflow("other") { (_: WorkflowContext) in } }
        await #expect(throws: (any Error).self) { try await WorkflowTest.checkReplay(of: history, plugin: none) }
    }

    @Test func compensationsAreReplayed() async throws {
        let test = try WorkflowTest(testPlugin)
        let workflow = try await test.start("undoes", input: 0)
        try await workflow.end()
        let result = try await WorkflowTest.checkReplay(of: workflow.history, plugin: testPlugin)
        #expect(result.fits, "\(result)")
        #expect(result.replayed == workflow.steps.count - 1)
    }

    @Test(arguments: ["", "{}", #"{"format": 2}"#, #"{"format": 1, "workflow_id": "w", "workflow_name": "order", "steps": [{}]}"#])
    func whatIsNoHistoryIsRefused(_ text: String) async throws {
        await #expect(throws: (any Error).self) { try await WorkflowTest.checkReplay(of: Data(text.utf8), plugin: Self.original) }
    }
}
