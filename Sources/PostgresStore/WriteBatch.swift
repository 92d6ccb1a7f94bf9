import PostgresClient
import WorkflowEngine

/// A request of the engine that these sessions write: its items by their index, and what became of them. Loop thread only.
final class WriteBatch {
    enum Content {
        /// The steps come first, then the ends.
        case write(RequestID, steps: [StepRecord], ends: [WorkflowEnd])
        case perform(RequestID, [DurableCall])
        case emit(RequestID, [Emission])
        case park([Parking])
        case release([Fence])
    }

    /// A statement, and the items that it is about, in the order of its arrays.
    enum Group {
        case steps, attempts, completions, continuations, calls, emissions, parkings, releases
    }

    let content: Content
    let count: Int
    var refusals: [(index: Int, refusal: Refusal)] = []
    var results: [CallResult?] = []
    /// Jobs that are parts of it and have no answer.
    var parts = 0

    init(_ content: Content) {
        self.content = content
        switch content {
        case .write(_, let steps, let ends): count = steps.count + ends.count
        case .perform(_, let calls):
            count = calls.count
            results = Array(repeating: nil, count: calls.count)
        case .emit(_, let emissions): count = emissions.count
        case .park(let parkings): count = parkings.count
        case .release(let fences): count = fences.count
        }
    }

    var request: RequestID? {
        switch content {
        case .write(let request, _, _), .perform(let request, _), .emit(let request, _): request
        case .park, .release: nil
        }
    }

    func fence(_ index: Int) -> Fence {
        switch content {
        case .write(_, let steps, let ends): index < steps.count ? steps[index].fence : ends[index - steps.count].fence
        case .perform(_, let calls): calls[index].fence
        case .emit(_, let emissions): emissions[index].fence
        case .park(let parkings): parkings[index].fence
        case .release(let fences): fences[index]
        }
    }

    /// For a line in the log.
    func name(_ index: Int) -> String {
        switch content {
        case .write(_, let steps, _): index < steps.count ? "step \(steps[index].name)" : "the end"
        case .perform(_, let calls): "\(calls[index].kind.rawValue) \(calls[index].name)"
        case .emit(_, let emissions): emissions[index].kind.rawValue
        case .park: "what it waits for"
        case .release: "the hand-back"
        }
    }

    /// The items of the jobs that it begins with. Attempts are a commit of their own: in one with other steps they would lock rows out of order.
    func initialParts() -> [[Int]] {
        guard case .write(_, let steps, _) = content, steps.contains(where: \.isAttempt) else { return [Array(0..<count)] }
        return [(0..<count).filter { $0 >= steps.count || !steps[$0].isAttempt }, steps.indices.filter { steps[$0].isAttempt }].filter { !$0.isEmpty }
    }

    /// Adds the statements for these items, which are in ascending order, to the connection's open request.
    func add(_ items: [Int], to connection: Connection, _ worker: UUIDBytes, _ buffer: inout ParameterBuffer) -> [(group: Group, items: [Int])] {
        func pick<Item>(_ all: [Item], _ items: [Int], from first: Int = 0) -> [Item] {
            items.count == all.count ? all : items.map { all[$0 - first] }
        }
        switch content {
        case .write(_, let steps, let ends):
            var groups: [(Group, [Int])] = []
            let firstEnd = items.firstIndex { $0 >= steps.count } ?? items.count
            if firstEnd > 0 {
                let items = firstEnd == items.count ? items : Array(items[..<firstEnd])
                if steps[items[0]].isAttempt {
                    RecordAttemptsStatement(worker: worker, steps: pick(steps, items)).add(to: connection, &buffer)
                    groups.append((.attempts, items))
                } else {
                    RecordStepsStatement(worker: worker, steps: pick(steps, items)).add(to: connection, &buffer)
                    groups.append((.steps, items))
                }
            }
            guard firstEnd < items.count else { return groups }
            var completions = Array(items[firstEnd...])
            var continuations: [Int] = []
            if ends.contains(where: \.isContinued) {
                continuations = completions.filter { ends[$0 - steps.count].isContinued }
                completions.removeAll { ends[$0 - steps.count].isContinued }
            }
            if !completions.isEmpty {
                CompleteWorkflowsStatement(worker: worker, ends: pick(ends, completions, from: steps.count)).add(to: connection, &buffer)
                groups.append((.completions, completions))
            }
            if !continuations.isEmpty {
                ContinueWorkflowsStatement(worker: worker, ends: pick(ends, continuations, from: steps.count)).add(to: connection, &buffer)
                groups.append((.continuations, continuations))
            }
            return groups
        case .perform(_, let calls):
            PerformCallsStatement(worker: worker, calls: pick(calls, items)).add(to: connection, &buffer)
            return [(.calls, items)]
        case .emit(_, let emissions):
            EmitValuesStatement(worker: worker, emissions: pick(emissions, items)).add(to: connection, &buffer)
            return [(.emissions, items)]
        case .park(let parkings):
            ParkWorkflowsStatement(worker: worker, parkings: pick(parkings, items)).add(to: connection, &buffer)
            return [(.parkings, items)]
        case .release(let fences):
            ReleaseWorkflowsStatement(worker: worker, fences: pick(fences, items)).add(to: connection, &buffer)
            return [(.releases, items)]
        }
    }

    /// What the engine is told, once all of it is settled; nil: it does not wait for that.
    func answer() -> StoreEvent? {
        switch content {
        case .write(let request, let steps, _):
            let refusedEnds = refusals.filter { $0.index >= steps.count }.map { (index: $0.index - steps.count, refusal: $0.refusal) }
            return .written(request, steps: refusedEnds.isEmpty ? refusals : refusals.filter { $0.index < steps.count }, ends: refusedEnds)
        case .perform(let request, _):
            // The protocol has an answer for every call.
            return .performed(request, results.map { $0 ?? .refused(.fenced) })
        case .emit(let request, _): return .emitted(request, refused: refusals)
        case .park, .release: return nil
        }
    }

    /// The same when another worker owns everything now.
    func fencedAnswer() -> StoreEvent? {
        refusals = (0..<count).map { ($0, .fenced) }
        results = results.map { _ in .refused(.fenced) }
        return answer()
    }
}
