internal import CPawlPlugin

extension WorkflowContext {
    /// Runs `body` for every item at once, each in a branch of its own, and returns the results in the items' order.
    ///
    /// `id` names an item's branch: `charge[42]`. It should say which item it is, rather than where it stands, so that a replay finds the
    /// item's steps even if the items come in another order.
    ///
    /// All of them run to their end. If some failed, the error of the first of those, in the items' order, is thrown: the same on a replay.
    /// - Parameter limit: how many run at the same time, at least 1; nil: all.
    public func parallel<Item: Sendable, ID: CustomStringConvertible, Value: Sendable>(
        _ name: String, _ items: some Sequence<Item>, id: (Item) -> ID, limit: Int? = nil,
        _ body: @escaping @Sendable (WorkflowContext, Item) async throws -> Value
    ) async throws -> [Value] {
        let run = self.run, scope = self.scope
        let items = Array(items)
        let results = await withTaskGroup(of: (Int, Result<Value, any Error>).self) { group in
            var results = [Result<Value, any Error>?](repeating: nil, count: items.count)
            var running = 0
            for (index, item) in items.enumerated() {
                if running >= max(1, limit ?? .max), let (done, result) = await group.next() {
                    results[done] = result
                    running -= 1
                }
                running += 1
                // In the items' order, so that repeats are counted as they come; and not before its turn, for a branch that nobody uses yet would
                // keep the workflow from giving up its place while the others wait.
                let branch = run.branch("\(name)[\(id(item))]", of: scope)
                group.addTask {
                    do {
                        return (index, .success(try await body(WorkflowContext(run: run, scope: branch), item)))
                    } catch {
                        return (index, .failure(error))
                    }
                }
            }
            for await (done, result) in group { results[done] = result }
            return results
        }
        var failure: (any Error)?
        var values: [Value] = []
        values.reserveCapacity(results.count)
        for result in results {
            switch result {
            case .success(let value): values.append(value)
            case .failure(let stopped as WorkflowStopped): throw stopped
            // It may have come to some of them only, and is no outcome of theirs.
            case .failure(let error): if !(failure is WorkflowCancelled), failure == nil || error is WorkflowCancelled { failure = error }
            case nil: break
            }
        }
        if let failure { throw failure }
        return values
    }
}
