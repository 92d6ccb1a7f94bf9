internal import Pawl
internal import FoundationEssentials
internal import Locking
internal import PluginRegistry
internal import WorkflowEngine

/// One time that a stubbed step was about to run its body.
public struct StubCall: Sendable, Hashable {
    /// The workflow whose step it is.
    public let workflowID: String
    /// The step's full name: `buy_label`, `charge[42]/reserve#2`.
    public let step: String
    /// Which attempt of the step it is, from 1.
    public let attempt: Int

    public init(workflowID: String, step: String, attempt: Int) {
        self.workflowID = workflowID
        self.step = step
        self.attempt = attempt
    }
}

/// What a stub throws so that the step is not tried again, whatever its retry policy says.
public struct NotRetried: Error {
    /// What the step fails with.
    public let error: any Error
    /// A failure after which there is no further attempt.
    public init(_ error: any Error) { self.error = error }
}

/// Stands in for the bodies of steps.
final class StepStubs: StepInterceptor {
    typealias Stub = @Sendable (StubCall) throws -> JSONBytes

    private struct State: Sendable {
        var stubs: [String: Stub] = [:]
        var calls: [StubCall] = []
        /// Bodies that ran because nothing stood in for them.
        var bodies: [StubCall] = []
    }
    private let state = Locked(State())

    func set(_ step: String, _ stub: @escaping Stub) { state.withLock { $0.stubs[step] = stub } }

    var calls: [StubCall] { state.withLock { $0.calls } }

    func intercept(_ step: InterceptedStep) -> Interception {
        let call = StubCall(workflowID: step.run.workflow.workflowID, step: step.path, attempt: Int(step.attempt))
        let stub: Stub? = state.withLock { state in
            guard let stub = state.stubs[step.path] ?? state.stubs[step.name] else {
                state.bodies.append(call)
                return nil
            }
            state.calls.append(call)
            return stub
        }
        guard let stub else { return .run }
        do {
            return .end(.success(try stub(call)), isFinal: false)
        } catch let error as NotRetried {
            return .end(.failure(WorkflowError(recording: error.error)), isFinal: true)
        } catch {
            return .end(.failure(WorkflowError(recording: error)), isFinal: false)
        }
    }
}

extension WorkflowError {
    /// As the SDK records what a body throws.
    init(recording error: any Error) {
        let failure = PayloadAccess.failure(recording: error)
        self.init(code: failure.code, type: failure.type, message: failure.message, detail: failure.detail.map { JSONBytes($0) })
    }

    var failure: WorkflowFailure {
        // It is in the form that it is read in.
        (try? PayloadAccess.failure(from: Data(encoded()))) ?? WorkflowFailure(code: code, message: message)
    }
}
