import Foundation
import Locking
package import WorkflowEngine

/// Handlers as plain blocking functions, a thread for each run and branch.
package final class ThreadHost: HandlerHost {
    package typealias Handler = @Sendable (HandlerContext) throws -> JSONBytes

    private struct State: Sendable {
        var handlers: [String: Handler] = [:]
        var isDead = false
        var waiting: [ObjectIdentifier: Promise] = [:]
        var log: [String] = []
        var live = 0
        /// Threads that are not waiting for an answer.
        var active = 0
        var timesUp: [ObjectIdentifier: [ScopeID: Promise]] = [:]
    }
    private let state = Locked(State())

    package init(_ handlers: [String: Handler]) { state.withLock { $0.handlers = handlers } }

    /// What was delivered, in order: "start w1", "interrupt w1", "cancel w1", "release w1".
    package var log: [String] { state.withLock { $0.log } }
    /// Calls that handlers wait for.
    package var waitingCalls: Int { state.withLock { $0.waiting.count } }
    /// Runs that were started and not released.
    package var live: Int { state.withLock { $0.live } }
    /// Every handler waits for an answer.
    package var isIdle: Bool { state.withLock { $0.active == 0 } }
    package var names: [String] { state.withLock { Array($0.handlers.keys) } }

    package func deliver(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            switch delivery {
            case .start(let run):
                let handler = state.withLock { state in
                    state.log.append("start \(run.workflow.workflowID)")
                    state.live += 1
                    state.active += 1
                    return state.handlers[run.workflow.workflowName]
                }
                let context = HandlerContext(run: run, scope: 0, host: self)
                Thread.detachNewThread { [self] in
                    finish(run, context, handler)
                    state.withLock { $0.active -= 1 }
                }
            case .answer(_, let receiver, let answer):
                guard let context = receiver.context else { continue }
                fulfil(Unmanaged<Promise>.fromOpaque(context).takeRetainedValue(), answer)
            case .interrupt(let run, let reason):
                let word = reason == .cancelled ? "cancel" : "interrupt"
                state.withLock { $0.log.append("\(word) \(run.workflow.workflowID)") }
            case .interruptStep(let run, let scope):
                let promise = state.withLock { state in
                    state.log.append("interrupt step \(run.workflow.workflowID)")
                    return state.timesUp[ObjectIdentifier(run), default: [:]].removeValue(forKey: scope)
                }
                if let promise { fulfil(promise, .execute) }
            case .release(let run):
                state.withLock { state in
                    state.log.append("release \(run.workflow.workflowID)")
                    state.live -= 1
                }
            }
        }
    }

    private func finish(_ run: WorkflowRun, _ context: HandlerContext, _ handler: Handler?) {
        let outcome: RunOutcome
        do {
            guard let handler else { throw HandlerFailure(WorkflowError(code: "no_handler", type: "test", message: "no handler")) }
            outcome = .success(try handler(context))
        } catch is HandlerStopped {
            outcome = .stopped
        } catch is HandlerCancelled {
            outcome = .cancelled
        } catch let failure as HandlerFailure {
            outcome = .failure(failure.error, reason: failure.error.code == "bad_input" ? "bad_input" : "error")
        } catch {
            outcome = .failure(WorkflowError(code: "thrown", type: "test", message: "\(error)"), reason: "error")
        }
        if !state.withLock({ $0.isDead }) { run.finish(outcome) }
    }

    private func fulfil(_ promise: Promise, _ answer: CallAnswer) {
        state.withLock { state in
            if state.waiting.removeValue(forKey: ObjectIdentifier(promise)) != nil { state.active += 1 }
        }
        promise.fulfil(answer)
    }

    /// The process is gone: whoever waits here stops, and hears nothing more.
    package func die() {
        let waiting = state.withLock { state in
            state.isDead = true
            state.active += state.waiting.count
            defer { state.waiting = [:] }
            return Array(state.waiting.values)
        }
        for promise in waiting { promise.fulfil(.stopped) }
    }

    func call(_ body: (CallReceiver) -> Void) -> CallAnswer {
        let promise = Promise()
        let isDead = state.withLock { state in
            if !state.isDead { state.waiting[ObjectIdentifier(promise)] = promise }
            return state.isDead
        }
        if isDead { return .stopped }
        body(CallReceiver(function: nil, context: Unmanaged.passRetained(promise).toOpaque()))
        return wait(for: promise)
    }

    /// A call that may answer at once, and then not through the receiver.
    func begin(_ body: (CallReceiver) -> BeginAnswer) -> BeginAnswer {
        let promise = Promise()
        let isDead = state.withLock { state in
            if !state.isDead { state.waiting[ObjectIdentifier(promise)] = promise }
            return state.isDead
        }
        if isDead { return .stopped }
        let receiver = CallReceiver(function: nil, context: Unmanaged.passRetained(promise).toOpaque())
        let answer = body(receiver)
        guard case .pending = answer else {
            // Unless it died meanwhile, nobody else holds the promise.
            state.withLock { state in if state.waiting.removeValue(forKey: ObjectIdentifier(promise)) == nil { state.active -= 1 } }
            Unmanaged<Promise>.fromOpaque(receiver.context!).release()
            return answer
        }
        switch wait(for: promise) {
        case .execute: return .execute
        case .failure(let error): return .recorded(.failure(error))
        case .cancelled: return .cancelled
        default: return .stopped
        }
    }

    /// Waits, in a body, until the time of its attempt is up.
    func waitForInterruption(_ run: WorkflowRun, _ scope: ScopeID) -> CallAnswer {
        let promise = Promise()
        let isDead = state.withLock { state in
            if state.isDead { return true }
            state.waiting[ObjectIdentifier(promise)] = promise
            state.timesUp[ObjectIdentifier(run), default: [:]][scope] = promise
            return false
        }
        return isDead ? .stopped : wait(for: promise)
    }

    private func wait(for promise: Promise) -> CallAnswer {
        state.withLock { $0.active -= 1 }
        // Whoever answered it has counted this thread as active again.
        return promise.wait()
    }

    /// Runs each body in a thread of its own, and waits for all of them.
    func parallel(_ bodies: [@Sendable () -> Void]) {
        guard !bodies.isEmpty else { return }
        let group = DispatchGroup()
        let left = Locked(bodies.count)
        state.withLock { $0.active += bodies.count }
        for body in bodies {
            group.enter()
            Thread.detachNewThread { [state] in
                body()
                // The last one hands its place to the thread that waits for all of them.
                let isLast = left.withLock { left in
                    left -= 1
                    return left == 0
                }
                if !isLast { state.withLock { $0.active -= 1 } }
                group.leave()
            }
        }
        state.withLock { $0.active -= 1 }
        group.wait()
    }
}

/// One answer, waited for by one thread. The first one counts.
final class Promise: Sendable {
    private let answer = Locked<CallAnswer?>(nil)
    private let semaphore = DispatchSemaphore(value: 0)
    func fulfil(_ answer: CallAnswer) {
        self.answer.withLock { if $0 == nil { $0 = answer } }
        semaphore.signal()
    }
    func wait() -> CallAnswer {
        semaphore.wait()
        return answer.withLock { $0 } ?? .stopped
    }
}

/// The run is over: what the SDK throws through user code.
package struct HandlerStopped: Error { package init() {} }
/// The workflow is being cancelled.
package struct HandlerCancelled: Error { package init() {} }
/// A recorded failure.
package struct HandlerFailure: Error {
    package var error: WorkflowError
    package init(_ error: WorkflowError) { self.error = error }
    package init(_ code: String) { error = WorkflowError(code: code, type: "test", message: "\(code), as asked") }
}
package struct HandlerMisuse: Error {
    package var error: WorkflowError
}
