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
    }
    private let state = Locked(State())

    package init(_ handlers: [String: Handler]) { state.withLock { $0.handlers = handlers } }

    /// What was delivered, in order: "start w1", "interrupt w1", "release w1".
    package var log: [String] { state.withLock { $0.log } }
    /// Calls that handlers wait for.
    package var waitingCalls: Int { state.withLock { $0.waiting.count } }
    /// Runs that were started and not released.
    package var live: Int { state.withLock { $0.live } }

    package func deliver(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            switch delivery {
            case .start(let run):
                let handler = state.withLock { state in
                    state.log.append("start \(run.workflow.workflowID)")
                    state.live += 1
                    return state.handlers[run.workflow.workflowName]
                }
                let context = HandlerContext(run: run, scope: 0, host: self)
                Thread.detachNewThread { [state] in
                    do {
                        guard let handler else { throw HandlerFailure(WorkflowError(code: "no_handler", type: "test", message: "no handler")) }
                        let value = try handler(context)
                        run.finish(.success(value))
                    } catch is HandlerStopped {
                        if !state.withLock({ $0.isDead }) { run.finish(.stopped) }
                    } catch let failure as HandlerFailure {
                        run.finish(.failure(failure.error, reason: "error"))
                    } catch {
                        run.finish(.failure(WorkflowError(code: "thrown", type: "test", message: "\(error)"), reason: "error"))
                    }
                }
            case .answer(_, let receiver, let answer):
                guard let context = receiver.context else { continue }
                let promise = Unmanaged<Promise>.fromOpaque(context).takeRetainedValue()
                state.withLock { $0.waiting[ObjectIdentifier(promise)] = nil }
                promise.fulfil(answer)
            case .interrupt(let run, _): state.withLock { $0.log.append("interrupt \(run.workflow.workflowID)") }
            case .interruptStep: break
            case .release(let run):
                state.withLock { state in
                    state.log.append("release \(run.workflow.workflowID)")
                    state.live -= 1
                }
            }
        }
    }

    /// The process is gone: whoever waits here stops, and hears nothing more.
    package func die() {
        let waiting = state.withLock { state in
            state.isDead = true
            defer { state.waiting = [:] }
            return state.waiting.values
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
        return promise.wait()
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
/// A recorded failure.
package struct HandlerFailure: Error {
    package var error: WorkflowError
    package init(_ error: WorkflowError) { self.error = error }
}
package struct HandlerMisuse: Error {
    package var error: WorkflowError
}

/// What a handler of a test calls.
package struct HandlerContext: Sendable {
    package let run: WorkflowRun
    package let scope: ScopeID
    let host: ThreadHost

    package func branch(_ name: String) -> HandlerContext {
        HandlerContext(run: run, scope: run.branch(from: scope, name: name) ?? ScopeID.max, host: host)
    }

    @discardableResult package func step(_ name: String, _ body: () throws -> String) throws -> String {
        switch run.begin(.step, scope: scope, name: name, policy: .never) {
        case .recorded(let outcome): return try value(of: outcome)
        case .stopped, .pending, .cancelled: throw HandlerStopped()
        case .misuse(let error): throw HandlerMisuse(error: error)
        case .execute: break
        }
        let outcome: Outcome
        do {
            outcome = .success(Array(try body().utf8))
        } catch let failure as HandlerFailure {
            outcome = .failure(failure.error)
        }
        return try value(of: host.call { run.end(scope: scope, outcome: outcome, receiver: $0) })
    }

    @discardableResult package func transaction(_ name: String, _ body: (HandlerContext) throws -> String) throws -> String {
        switch run.begin(.transaction, scope: scope, name: name, policy: .never) {
        case .recorded(let outcome): return try value(of: outcome)
        case .stopped, .pending, .cancelled: throw HandlerStopped()
        case .misuse(let error): throw HandlerMisuse(error: error)
        case .execute: break
        }
        while true {
            let outcome: Outcome
            do {
                outcome = .success(Array(try body(self).utf8))
            } catch let failure as HandlerFailure {
                outcome = .failure(failure.error)
            }
            let answer = host.call { run.end(scope: scope, outcome: outcome, receiver: $0) }
            if case .retry = answer { continue }
            return try value(of: answer)
        }
    }

    @discardableResult package func execute(_ sql: String, _ parameters: String...) throws -> String {
        let statement = SQLStatement(sql: sql, parameters: parameters.map { Array($0.utf8) })
        return try value(of: host.call { run.execute(scope: scope, statement: statement, receiver: $0) })
    }

    @discardableResult package func query(_ name: String, _ sql: String, _ parameters: String...) throws -> String {
        let statement = SQLStatement(sql: sql, parameters: parameters.map { Array($0.utf8) })
        return try value(of: host.call { run.query(scope: scope, name: name, statement: statement, receiver: $0) })
    }

    /// Runs each body in a branch and a thread of its own, and waits for all of them.
    package func parallel(_ bodies: [(name: String, body: @Sendable (HandlerContext) throws -> Void)]) throws {
        let failures = Locked<[any Error]>([])
        let group = DispatchGroup()
        // All branches are made before the first body runs: in program order, and with nothing open around them.
        let branches = bodies.map { (branch($0.name), $0.body) }
        for (branch, body) in branches {
            group.enter()
            Thread.detachNewThread {
                do { try body(branch) } catch { failures.withLock { $0.append(error) } }
                group.leave()
            }
        }
        group.wait()
        if let first = failures.withLock({ $0.first }) { throw first }
    }

    /// The answer of a call that is made by hand.
    package func answer(to call: (CallReceiver) -> Void) -> CallAnswer { host.call(call) }

    private func value(of outcome: Outcome) throws -> String {
        switch outcome {
        case .success(let value): return String(decoding: value, as: UTF8.self)
        case .failure(let error): throw HandlerFailure(error)
        }
    }

    private func value(of answer: CallAnswer) throws -> String {
        switch answer {
        case .value(let value): return String(decoding: value, as: UTF8.self)
        case .failure(let error): throw HandlerFailure(error)
        case .stopped, .retry, .none, .cancelled, .execute: throw HandlerStopped()
        case .misuse(let error): throw HandlerMisuse(error: error)
        }
    }
}
