package import MemoryStore
package import WorkflowEngine

/// A database, and what the suite needs of it besides its workers' stores.
package protocol ConformanceWorld: AnyObject {
    /// One more worker, with a store of its own, that runs workflows named "w".
    func makeWorker() async throws -> any ConformanceWorker
    /// Lets another worker die, as far as the database knows: what it had claimed can be claimed again.
    func kill(_ worker: any ConformanceWorker) async throws
    func enqueue(_ id: String, input: String) async throws
    /// nil: there is no such workflow.
    func send(_ message: String, to id: String, topic: String) async throws -> Bool?
    func cancel(_ id: String) async throws -> Bool
    func resume(_ id: String) async throws -> Bool
    func look(at id: String) async throws -> ConformanceLook
    /// Of messages to it, in order: the step that received each.
    func receivers(of id: String) async throws -> [String?]
    /// Lets so much time pass, or does nothing where time passes by itself.
    func pass(milliseconds: Int) async throws
}

package struct ConformanceLook: Sendable, Equatable {
    package var status: String
    package var reason: String?
    package var output: StoredJSON?
    package var errorCode: String?
    package var attributes: StoredJSON?
    package var progress: StoredJSON?
    /// In the order of their numbers: "name kind status".
    package var steps: [String]
    package init(
        status: String, reason: String?, output: StoredJSON?, errorCode: String?, attributes: StoredJSON?, progress: StoredJSON?, steps: [String]
    ) {
        self.status = status
        self.reason = reason
        self.output = output
        self.errorCode = errorCode
        self.attributes = attributes
        self.progress = progress
        self.steps = steps
    }
}

/// A worker's store, asked one thing at a time.
package protocol ConformanceWorker: AnyObject {
    /// Waits until there is something.
    func claimOne() async throws -> ClaimedWorkflow
    func write(steps: [StepRecord], ends: [WorkflowEnd]) async throws -> (steps: [Int: Refusal], ends: [Int: Refusal])
    func perform(_ call: DurableCall) async throws -> CallResult
    func emit(_ emission: Emission) async throws -> Refusal?
    func park(_ fence: Fence) async throws
    /// The next signal about it.
    func signal(about fence: Fence) async throws -> Signal
}
