import Testing
import WorkflowEngine

@testable import pawld

/// Where a process that is to crash would have died: before or after the store has seen what it is about.
@Suite struct CrashPointTests {
    final class Store: WorkflowStore {
        var events: ((StoreEvent) -> Void)?
        var sent = 0
        func send(_ requests: [StoreRequest]) { sent += requests.count }
    }

    /// A store with a crash point whose crash is only noted.
    final class Subject {
        let inner = Store()
        var outer: CrashPointStore!
        var crashes: [(sent: Int, heard: Int)] = []
        var heard = 0

        init(_ point: String) throws {
            outer = CrashPointStore(wrapping: inner, point: try CrashPoint(parsing: point)) { [unowned self] in
                crashes.append((inner.sent, heard))
            }
            outer.events = { [unowned self] _ in heard += 1 }
        }
    }

    static let fence = Fence(key: 1, epoch: 1)
    static let step = StepRecord(fence: fence, name: "a", number: 1, kind: .step, outcome: .success([]), startedAt: 0)
    static let end = WorkflowEnd(fence: fence, end: .succeeded([]))
    static func claimed(_ count: Int) -> StoreEvent {
        let workflow = ClaimedWorkflow(
            fence: fence, workflowID: "w", workflowName: "n", workflowVersion: 1, queue: "default", priority: 0, partitionKey: nil,
            recoveries: 0,
            input: [], headers: nil, attributes: nil, createdAt: 0, recordedSteps: [])
        return .claimed(Array(repeating: workflow, count: count))
    }

    @Test(arguments: [("before-record", false), ("after-record", true), ("before-complete", false), ("after-complete", true)])
    func aWriteIsSeenOnItsSide(_ point: String, _ after: Bool) throws {
        let subject = try Subject(point)
        let isRecord = point.hasSuffix("record")
        // One of the other kind passes.
        subject.outer.send([.write(RequestID(1), steps: isRecord ? [] : [Self.step], ends: isRecord ? [Self.end] : [])])
        subject.inner.events?(.written(RequestID(1), steps: [], ends: []))
        #expect(subject.crashes.isEmpty)
        subject.outer.send([.write(RequestID(2), steps: isRecord ? [Self.step] : [], ends: isRecord ? [] : [Self.end])])
        #expect(subject.crashes.count == (after ? 0 : 1))
        subject.inner.events?(.written(RequestID(2), steps: [], ends: []))
        let crash = try #require(subject.crashes.first)
        #expect(crash.sent == (after ? 2 : 1))
        #expect(crash.heard == 1)
    }

    @Test(arguments: [("before-commit", false), ("after-commit", true)])
    func aCommitIsSeenOnItsSide(_ point: String, _ after: Bool) throws {
        let subject = try Subject(point)
        subject.outer.send([.begin(RequestID(1), Self.fence, .readCommitted)])
        subject.inner.events?(.transactionEnded(RequestID(9), .refused(.fenced)))
        #expect(subject.crashes.isEmpty)
        subject.outer.send([.commit(RequestID(2), transaction: RequestID(1), Self.step)])
        #expect(subject.crashes.count == (after ? 0 : 1))
        subject.inner.events?(.transactionEnded(RequestID(2), .committed))
        #expect(subject.crashes.count == 1)
        #expect(subject.crashes.first?.sent == (after ? 2 : 1))
    }

    @Test func theTimeCountsWorkflowsAndNotBatches() throws {
        let subject = try Subject("after-claim:7")
        subject.inner.events?(Self.claimed(5))
        #expect(subject.crashes.isEmpty)
        subject.inner.events?(Self.claimed(5))
        #expect(subject.crashes.count == 1)
        subject.inner.events?(Self.claimed(5))
        #expect(subject.crashes.count == 1)
    }

    @Test(arguments: ["", "nowhere", "after-claim:", "after-claim:0", "after-claim:x", "after-claim:1:2"])
    func anUnknownPointIsAnError(_ text: String) {
        #expect(throws: ConfigurationError.self) { try CrashPoint(parsing: text) }
    }
}
