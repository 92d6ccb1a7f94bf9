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

    /// Each write of a durable run, by the request that it is in and the answer to it.
    static let attempt = StepRecord(
        fence: fence, name: "a", number: 1, kind: .step, outcome: .failure(WorkflowError(code: "x", type: "T", message: "")), startedAt: 0, retryIn: 5)
    static let continued = WorkflowEnd(fence: fence, end: .continued(input: []))
    static let call = DurableCall(fence: fence, name: "r", number: 1, kind: .receive, arguments: [], startedAt: 0)
    static let emission = Emission(fence: fence, kind: .progress, arguments: [])
    static let parking = Parking(fence: fence, waitingFor: "")
    static let id = RequestID(3)

    @Test(arguments: ["attempt", "continue", "perform", "emit", "handler"]) func eachOtherWriteHasItsPoints(_ name: String) throws {
        let requests: [String: (StoreRequest, StoreEvent)] = [
            "attempt": (.write(Self.id, steps: [Self.attempt], ends: []), .written(Self.id, steps: [], ends: [])),
            "continue": (.write(Self.id, steps: [], ends: [Self.continued]), .written(Self.id, steps: [], ends: [])),
            "perform": (.perform(Self.id, [Self.call]), .performed(Self.id, [.waiting(dueIn: nil)])),
            "emit": (.emit(Self.id, [Self.emission]), .emitted(Self.id, refused: [])),
            "handler": (.runHandler(Self.id, Self.fence), .handlerRan(Self.id, .ended)),
        ]
        for (moment, crashesAfter) in [("before", 0), ("after", 1)] {
            let subject = try Subject("\(moment)-\(name)")
            for (other, (request, answer)) in requests where other != name {
                subject.outer.send([request])
                subject.inner.events?(answer)
            }
            subject.outer.send([.write(RequestID(4), steps: [Self.step], ends: [Self.end]), .park([Self.parking])])
            subject.inner.events?(.written(RequestID(4), steps: [], ends: []))
            subject.outer.parked(1)
            #expect(subject.crashes.isEmpty)
            let (request, answer) = requests[name]!
            subject.outer.send([request])
            #expect(subject.crashes.count == 1 - crashesAfter)
            subject.inner.events?(answer)
            #expect(subject.crashes.count == 1)
            #expect(subject.crashes.first?.sent == 6 + crashesAfter)
        }
    }

    @Test func parkingHasItsPointsAlthoughTheEngineIsNotTold() throws {
        let before = try Subject("before-park:2")
        before.outer.send([.park([Self.parking])])
        #expect(before.crashes.isEmpty)
        before.outer.send([.park([Self.parking])])
        #expect(before.crashes.first?.sent == 1)
        let after = try Subject("after-park:2")
        after.outer.send([.park([Self.parking, Self.parking])])
        after.outer.parked(1)
        #expect(after.crashes.isEmpty)
        after.outer.parked(1)
        #expect(after.crashes.count == 1)
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
