internal import CPawlPlugin
internal import WorkflowEngine

/// The begin of a step or transaction in a run with an interceptor. It stands between the plugin and the run until the step is over: what the interceptor
/// ends goes to the run as if the plugin had ended it, and what the run answers to that goes to the plugin as the answer of a pending begin.
final class InterceptedBegin: @unchecked Sendable {  // constant
    private let run: PluginRun
    private let kind: StepKind
    private let scope: pawl_scope
    private let name: String
    private let interceptor: any StepInterceptor
    private let plugin: CallReceiver

    init(_ run: PluginRun, _ kind: StepKind, _ scope: pawl_scope, _ name: String, _ interceptor: any StepInterceptor, _ plugin: CallReceiver) {
        self.run = run
        self.kind = kind
        self.scope = scope
        self.name = name
        self.interceptor = interceptor
        self.plugin = plugin
    }

    func begin(_ begin: (CallReceiver) -> BeginAnswer) -> BeginAnswer {
        // Held until the step is over.
        let receiver = CallReceiver(InterceptedBegin.completion, Unmanaged.passRetained(self).toOpaque())
        let answer = begin(receiver)
        switch answer {
        case .pending: return .pending
        case .execute where goesOn(receiver): return .pending
        default:
            Unmanaged<InterceptedBegin>.fromOpaque(receiver.context!).release()
            return answer
        }
    }

    private static let completion: pawl_completion = { context, result in
        guard let context, let result else { return }
        Unmanaged<InterceptedBegin>.fromOpaque(context).takeUnretainedValue().answered(result, context)
    }

    /// False: the body runs, and the receiver will not be called.
    private func goesOn(_ receiver: CallReceiver) -> Bool {
        let step = InterceptedStep(
            run: run.run, kind: kind, name: name, path: run.run.path(of: scope) ?? name, attempt: run.run.attempt(in: scope))
        switch interceptor.intercept(step) {
        case .run: return false
        case .end(let outcome, let isFinal):
            run.run.end(scope: scope, outcome: outcome, isFinal: isFinal, receiver: receiver)
            return true
        case .suspend(let hold):
            run.run.suspend(scope)
            let plugin = plugin
            hold { plugin.call(.stopped) }
            Unmanaged<InterceptedBegin>.fromOpaque(receiver.context!).release()
            return true
        }
    }

    private func answered(_ result: UnsafePointer<pawl_result>, _ context: UnsafeMutableRawPointer) {
        let status = result.pointee.status
        if status == pawl_status(PAWL_RETRY) || status == pawl_status(PAWL_EXECUTE) {
            if goesOn(CallReceiver(InterceptedBegin.completion, context)) { return }
            plugin.call(.execute)
        } else {
            plugin.forward(result)
        }
        Unmanaged<InterceptedBegin>.fromOpaque(context).release()
    }
}
