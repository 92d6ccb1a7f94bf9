internal import Dispatch
internal import Locking
package import WorkflowEngine

/// Whether a handler still fits what was recorded of a workflow.
package struct ReplayReport: Sendable {
    package enum Problem: Sendable, Equatable {
        /// A step is of another kind now, or its recorded result cannot be read.
        case determinism(step: String, kind: String?, recordedKind: String?, message: String)
        /// The handler cannot read the input, and what is recorded shows that it could.
        case badInput(String)
        /// The handler came to its end, and never to these steps.
        case stepsLeftOut([String])
        /// New work begins before these steps. Where it was put in front of them that is as it should be; where one of them was renamed, its work is done
        /// a second time.
        case stepsPassedOver([String])
        /// The handler neither called nor ended.
        case stuck
    }

    package struct NewWork: Sendable, Equatable {
        package var step: String
        package var kind: String
    }

    package var workflowID: String
    package var workflowName: String
    package var recordedVersion: Int32?
    /// Of the handler that was run.
    package var workflowVersion: Int32
    package var problems: [Problem] = []
    /// Recorded steps that the handler came to.
    package var replayed = 0
    /// Steps that are recorded and not over: the workflow goes on with them.
    package var unfinished: [String] = []
    /// Where it would go on with steps that are not recorded; in each branch at most one.
    package var newWork: [NewWork] = []
    /// How the handler ended, where everything that it came to is recorded.
    package var end: WorkflowEnd.End?
    package var fits: Bool { problems.isEmpty }
}

extension ReplayReport.Problem {
    /// For people.
    package var sentence: String {
        func list(_ steps: [String]) -> String { steps.map { "\"\($0)\"" }.joined(separator: ", ") }
        return switch self {
        case .determinism(_, _, _, let message): message
        case .badInput(let message): "The handler cannot read the input that the workflow began with: \(message)"
        case .stepsLeftOut(let steps): "The handler ends without coming to \(list(steps)), which \(steps.count == 1 ? "is" : "are") recorded."
        case .stepsPassedOver(let steps):
            "New work begins before the handler has come to \(list(steps)), which \(steps.count == 1 ? "is" : "are") recorded. "
                + "Where a step was put in front of them that is as it should be; where one was renamed, its work would be done again."
        case .stuck: "The handler neither called anything nor ended."
        }
    }

    /// A short stable word.
    package var code: String {
        switch self {
        case .determinism: "determinism"
        case .badInput: "bad_input"
        case .stepsLeftOut: "steps_left_out"
        case .stepsPassedOver: "steps_passed_over"
        case .stuck: "stuck"
        }
    }
}

/// Runs a handler against a history. No body of a step runs, and nothing is written anywhere.
package final class ReplayCheck: StepInterceptor {
    /// Told to those whose bodies would have run.
    private let stops = Locked<[@Sendable () -> Void]>([])

    package init() {}

    package func intercept(_ step: InterceptedStep) -> Interception {
        .suspend { [stops] stop in stops.withLock { $0.append(stop) } }
    }

    package struct NoHandler: Error, CustomStringConvertible {
        package let description: String
    }

    /// The version that would go on with a workflow: its own while that is offered, otherwise the next higher one.
    package static func version(for history: WorkflowHistory, among offered: [HandlerID]) throws(NoHandler) -> Int32 {
        let versions = offered.filter { $0.workflowName == history.workflowName }.map(\.workflowVersion).sorted()
        guard let highest = versions.last else { throw NoHandler(description: "there is no handler of \"\(history.workflowName)\"") }
        guard let recorded = history.workflowVersion else { return highest }
        if let next = versions.first(where: { $0 >= recorded }) { return next }
        throw NoHandler(description: "the workflow is at version \(recorded) of \"\(history.workflowName)\", and the highest one offered is \(highest)")
    }

    /// - Parameters:
    ///   - handlers: Asks this before any body runs.
    ///   - patience: How long the handler may compute without calling.
    package func check(_ history: WorkflowHistory, version: Int32, handlers: any HandlerHost, patience: Duration = .seconds(10)) -> ReplayReport {
        let store = ReplayStore(history, version: version)
        let woken = DispatchSemaphore(value: 0)
        let host = ReplayHost(handlers)
        let engine = WorkflowEngine(
            configuration: EngineConfiguration(concurrency: 1, seed: 1), store: store, handlers: host, clock: ManualClock(now: history.createdAt).engineClock,
            wake: { woken.signal() }, log: { _ in })
        engine.start(maximumPayload: .max / 4)
        let deadline = ContinuousClock.now + patience
        var isStuck = true
        while ContinuousClock.now < deadline {
            let isBusy = engine.tick() == 0
            if isBusy || store.takeAnswers() { continue }
            if store.end != nil || host.run?.isWaiting(writesWait: true) == true {
                if !engine.isCaughtUp { continue }
                isStuck = false
                break
            }
            _ = woken.wait(timeout: .now() + .milliseconds(2))
        }
        let unvisited = (host.run?.unvisitedSteps ?? []).filter { !$0.hasPrefix("%") }
        let report = report(on: history, version, store.end, host.run?.openSteps ?? [], unvisited: unvisited, isStuck: isStuck)
        // Whatever the handler does when it is told to stop, it does to nobody.
        store.events?(.lifeLost)
        let suspended = stops.withLock { stops in
            defer { stops = [] }
            return stops
        }
        for stop in suspended { stop() }
        let end = ContinuousClock.now + .seconds(1)
        while !host.isReleased, ContinuousClock.now < end {
            if engine.tick() != 0 { _ = woken.wait(timeout: .now() + .milliseconds(2)) }
        }
        return report
    }

    private func report(
        on history: WorkflowHistory, _ version: Int32, _ end: WorkflowEnd.End?, _ begun: [(path: String, kind: StepKind)], unvisited: [String], isStuck: Bool
    ) -> ReplayReport {
        var report = ReplayReport(
            workflowID: history.workflowID, workflowName: history.workflowName, recordedVersion: history.workflowVersion, workflowVersion: version)
        report.end = end
        let open = Set(history.steps.lazy.filter { $0.outcome == nil }.map(\.name))
        for (path, kind) in end == nil ? begun : [] {
            if open.contains(path) { report.unfinished.append(path) } else { report.newWork.append(.init(step: path, kind: kind.rawValue)) }
        }
        report.replayed = history.steps.count { !$0.name.hasPrefix("%compensate") || $0.name.contains("/") } - unvisited.count - report.unfinished.count
        if isStuck { report.problems.append(.stuck) }
        if case .failed(let error, let reason)? = end {
            if reason == "determinism" || error.code == "determinism" {
                let detail = error.detail.flatMap { StoredJSON($0) }
                report.problems.append(
                    .determinism(
                        step: error.step ?? "", kind: detail?["kind"]?.text,
                        recordedKind: detail?["recorded_kind"]?.text ?? history.steps.first { $0.name == error.step }?.kind, message: error.message))
                return report
            }
            if reason == "bad_input", !history.steps.isEmpty {
                report.problems.append(.badInput(error.message))
                return report
            }
        }
        if !unvisited.isEmpty {
            if end != nil {
                report.problems.append(.stepsLeftOut(unvisited))
            } else if !report.newWork.isEmpty {
                report.problems.append(.stepsPassedOver(unvisited))
            }
        }
        return report
    }
}

private final class ReplayHost: HandlerHost {
    private let host: any HandlerHost
    private let state = Locked<(run: WorkflowRun?, isReleased: Bool)>((nil, false))

    init(_ host: any HandlerHost) { self.host = host }

    var run: WorkflowRun? { state.withLock { $0.run } }
    var isReleased: Bool { state.withLock { $0.isReleased || $0.run == nil } }

    func deliver(_ deliveries: [Delivery]) {
        for delivery in deliveries {
            switch delivery {
            case .start(let run): state.withLock { $0.run = run }
            case .release: state.withLock { $0.isReleased = true }
            case .answer, .interrupt, .interruptStep: break
            }
        }
        host.deliver(deliveries)
    }
}

/// Hands out one workflow, and notes what its handler wants done. Nothing is done, so nothing is answered but what is not a step.
private final class ReplayStore: WorkflowStore {
    var events: ((StoreEvent) -> Void)?
    private(set) var end: WorkflowEnd.End?
    private var workflow: ClaimedWorkflow?
    private var answers: [StoreEvent] = []

    init(_ history: WorkflowHistory, version: Int32) {
        workflow = ClaimedWorkflow(
            fence: Fence(key: 1, epoch: 1), workflowID: history.workflowID, workflowName: history.workflowName, workflowVersion: version, queue: "default",
            priority: 0, partitionKey: nil, recoveries: 0, input: history.input, headers: history.headers, attributes: history.attributes,
            createdAt: history.createdAt, recordedSteps: history.steps)
    }

    /// False: there are none.
    func takeAnswers() -> Bool {
        guard !answers.isEmpty else { return false }
        let all = answers
        answers = []
        for answer in all { events?(answer) }
        return true
    }

    func send(_ requests: [StoreRequest]) {
        for request in requests {
            switch request {
            case .claim(let limit, _):
                guard limit > 0, let claimed = workflow else { continue }
                workflow = nil
                answers.append(.claimed([claimed]))
            case .write(let id, let steps, let ends):
                if let end = ends.first { self.end = end.end }
                // The mark of a compensation is no work of the handler's.
                if steps.allSatisfy({ $0.name == "%compensate" }) { answers.append(.written(id, steps: [], ends: [])) }
            case .perform(let id, let calls):
                answers.append(.performed(id, calls.map { _ in .waiting(dueIn: nil) }))
            case .emit(let id, _): answers.append(.emitted(id, refused: []))
            case .query, .park, .runHandler, .release, .begin, .execute, .commit, .rollback: break
            }
        }
    }
}
