import Testing

@testable import WorkflowEngine

@Suite struct WorkflowRunTests {
    private let mailbox = EngineMailbox(wake: {})
    private let receiver = CallReceiver(function: nil, context: nil)

    private func makeRun() -> WorkflowRun {
        WorkflowRun(workflow: Transcript.workflow("w1"), id: RunID(slot: 0, generation: 0), mailbox: mailbox, clock: .system, maximumPayload: 1000)
    }

    private func taken() -> (messages: [EngineMessage], misuse: Int) {
        var messages: [EngineMessage] = []
        var statistics = EngineStatistics()
        mailbox.take(into: &messages, statistics: &statistics)
        return (messages, statistics.misuse)
    }

    /// Release is the last word: it waits for every call that was made before it, and none is answered after it.
    @Test func sealedWhenEveryCallWasHandled() {
        let run = makeRun()
        #expect(!run.seal(handledCalls: 0), "not finished")
        run.finish(.success([0x31]))
        run.end(scope: 0, outcome: .success([0x31]), receiver: receiver)
        #expect(!run.seal(handledCalls: 1), "a call is on its way")
        #expect(run.seal(handledCalls: 2))
        #expect(!run.seal(handledCalls: 2), "released once")
        #expect(taken().messages.count == 2)
        run.end(scope: 0, outcome: .success([0x31]), receiver: receiver)
        run.finish(.stopped)
        guard case .stopped = run.begin(.step, scope: 0, name: "late") else {
            Issue.record("a released run goes on")
            return
        }
        let late = taken()
        #expect(late.messages.isEmpty)
        #expect(late.misuse == 2)
    }

    /// A body that may not begin is answered without the engine. Code that swallows that has done nothing since that counts.
    @Test func aSwallowedCancellationIsNoSuccess() {
        for isTold in [true, false] {
            let run = makeRun()
            run.markCancelled()
            if isTold {
                guard case .cancelled = run.begin(.transaction, scope: 0, name: "t") else {
                    Issue.record("it began")
                    return
                }
            }
            run.finish(.success([0x31]))
            guard case .run(_, .finish(let outcome))? = taken().messages.last else {
                Issue.record("it did not finish")
                return
            }
            switch outcome {
            case .cancelled: #expect(isTold)
            case .success: #expect(!isTold, "what was done before anybody told it is done")
            default: Issue.record("\(outcome)")
            }
        }
    }

    @Test func wakesOnceWhileAsleep() {
        let wakes = Counter()
        let mailbox = EngineMailbox(wake: { wakes.add() })
        mailbox.post(.start(maximumPayload: 1))
        #expect(wakes.value == 0, "awake until it says otherwise")
        #expect(!mailbox.fallAsleep())
        var messages: [EngineMessage] = []
        var statistics = EngineStatistics()
        mailbox.take(into: &messages, statistics: &statistics)
        #expect(mailbox.fallAsleep())
        mailbox.post(.start(maximumPayload: 1))
        mailbox.post(.start(maximumPayload: 1))
        #expect(wakes.value == 1)
    }
}

private final class Counter: @unchecked Sendable {  // one thread
    private(set) var value = 0
    func add() { value += 1 }
}
