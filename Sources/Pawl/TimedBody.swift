internal import CPawlPlugin
internal import Locking

/// The body of a step or transaction that has a timeout: what the host's `interrupt_step` reaches. It is there before the host begins the step, so that no
/// timeout comes too early for it.
final class TimedBody: Sendable {
    private enum State {
        /// No attempt runs.
        case idle
        /// The attempt's time was up before its body ran.
        case late
        case running(giveUp: @Sendable () -> Void)
        case interrupted
    }

    private let name: String
    /// Whether an attempt is over only once its body has returned.
    private let waitsForBody: Bool
    private let state = Locked(State.idle)

    init(name: String, waitsForBody: Bool) {
        self.name = name
        self.waitsForBody = waitsForBody
    }

    /// The attempt's time is up.
    func interrupt() {
        let giveUp = state.withLock { state -> (@Sendable () -> Void)? in
            switch state {
            case .running(let giveUp):
                state = .interrupted
                return giveUp
            case .idle, .late: state = .late
            case .interrupted: break
            }
            return nil
        }
        giveUp?()
    }

    /// The host has begun another attempt. Called in the order of its interrupts, so one that came before was for the last attempt.
    func rearm() { state.withLock { $0 = .idle } }

    /// Runs an attempt in a task of its own, which is cancelled with the caller's and when the time is up.
    func run<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let result = FirstResult<Value>()
        let task = Task {
            do {
                result.settle(.success(try await body()))
            } catch {
                result.settle(.failure(error))
            }
        }
        let timeout = WorkflowFailure(code: "timeout", type: "Timeout", message: "an attempt of \"\(name)\" took too long", detail: nil)
        let waitsForBody = self.waitsForBody
        let giveUp: @Sendable () -> Void = {
            if !waitsForBody { result.settle(.failure(timeout)) }
            task.cancel()
        }
        let isLate = state.withLock { state in
            if case .late = state {
                state = .interrupted
                return true
            }
            state = .running(giveUp: giveUp)
            return false
        }
        if isLate { giveUp() }
        let ended = await withTaskCancellationHandler {
            await result.value
        } onCancel: {
            task.cancel()
        }
        let isInterrupted = state.withLock { state in
            if case .interrupted = state { return true }
            state = .idle
            return false
        }
        if isInterrupted { throw timeout }
        return try ended.get()
    }
}

/// A result that one task waits for and the first of several others sets.
private final class FirstResult<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case awaited(UnsafeContinuation<Result<Value, any Error>, Never>)
        case settled(Result<Value, any Error>)
        case over
    }

    private let state = Locked(State.empty)

    func settle(_ result: Result<Value, any Error>) {
        let waiter = state.withLock { state -> UnsafeContinuation<Result<Value, any Error>, Never>? in
            switch state {
            case .empty:
                state = .settled(result)
                return nil
            case .awaited(let waiter):
                state = .over
                return waiter
            case .settled, .over: return nil
            }
        }
        waiter?.resume(returning: result)
    }

    var value: Result<Value, any Error> {
        get async {
            await withUnsafeContinuation { waiter in
                let settled = state.withLock { state -> Result<Value, any Error>? in
                    if case .settled(let result) = state {
                        state = .over
                        return result
                    }
                    state = .awaited(waiter)
                    return nil
                }
                if let settled { waiter.resume(returning: settled) }
            }
        }
    }
}

/// The context of `step_end` where another attempt may follow.
private final class TimedReply: Sendable {
    let body: TimedBody
    let continuation: UnsafeContinuation<HostReply?, Never>

    init(body: TimedBody, continuation: UnsafeContinuation<HostReply?, Never>) {
        self.body = body
        self.continuation = continuation
    }
}

/// Rearms on the delivery thread, where the interrupts come too.
private func resumeTimed(context: UnsafeMutableRawPointer?, result: UnsafePointer<pawl_result>?) {
    guard let context, let result else { return }
    let reply = Unmanaged<TimedReply>.fromOpaque(context).takeRetainedValue()
    if result.pointee.status == PawlStatus.retry { reply.body.rearm() }
    reply.continuation.resume(returning: HostReply(result.pointee))
}

extension HandlerRun {
    /// `callAsynchronously` for the end of an attempt of `body`; nil: a body without a timeout.
    func end(
        _ body: TimedBody?, _ end: (PluginHost, OpaquePointer, @escaping pawl_completion, UnsafeMutableRawPointer) -> Void
    ) async throws -> HostReply {
        guard let body else { return try await callAsynchronously { host, run, context in end(host, run, resumeContinuation, context) } }
        let reply = await withUnsafeContinuation { (continuation: UnsafeContinuation<HostReply?, Never>) in
            let context = Unmanaged.passRetained(TimedReply(body: body, continuation: continuation))
            if call({ host, run in end(host, run, resumeTimed, context.toOpaque()) }) == nil {
                context.release()
                continuation.resume(returning: nil)
            }
        }
        guard let reply else { try await refuse() }
        return reply
    }
}
