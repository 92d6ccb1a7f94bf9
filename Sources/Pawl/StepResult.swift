internal import FoundationEssentials

/// What a step that returns nothing records: null.
struct Nothing: Codable, Sendable {
    init() {}
    init(from decoder: any Decoder) throws {}
    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encodeNil()
    }
}

/// What a step's body came to: what is recorded, and what the handler gets for it.
struct StepResult<Value: Codable & Sendable>: Sendable {
    let outcome: StepOutcome
    private let read: Value?

    /// Runs a body. Only an engine's stop gets through; everything else is an outcome.
    static func of(_ policy: RetryPolicy? = nil, _ body: () async throws -> Value) async throws -> StepResult {
        do {
            let value = try await body()
            let recorded: Data
            do {
                recorded = try PayloadCoding.encode(value)
            } catch {
                throw WorkflowFailure(code: "bad_result", message: "the result cannot be written as JSON: \(PayloadCoding.problem(error).sentence)")
            }
            // Read back before it is recorded: the handler gets now what every replay will get, and what cannot be read fails now.
            return StepResult(outcome: .success(recorded), read: try PayloadCoding.readBack(value, from: recorded))
        } catch let stopped as WorkflowStopped {
            throw stopped
        } catch {
            return StepResult(outcome: .failure(WorkflowFailure(recording: error), isFinal: isFinal(error, policy)), read: nil)
        }
    }

    private init(outcome: StepOutcome, read: Value?) {
        self.outcome = outcome
        self.read = read
    }

    /// Whether another attempt could not end otherwise.
    private static func isFinal(_ error: any Error, _ policy: RetryPolicy?) -> Bool {
        switch error {
        case is DecodingError, is EncodingError, is WorkflowMisuse, is WorkflowCancelled: true
        // The body's task was cancelled; it would be again.
        case is CancellationError where Task.isCancelled: true
        case let failure as WorkflowFailure where ["bad_result", "bad_row", "bad_value"].contains(failure.code): true
        default: policy?.isNonRetryable?(error) ?? false
        }
    }

    /// After the host recorded it as a success.
    func value() throws -> Value {
        guard let read else {
            throw WorkflowMisuse(code: "unknown_answer", message: "the host reported a failed step as recorded without its failure")
        }
        return read
    }
}
