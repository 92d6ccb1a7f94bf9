internal import CPawlPlugin

/// When a step or transaction that failed is tried again.
///
/// Between attempts the step waits a random time up to an interval that grows by a factor (full jitter), and a long wait gives up the workflow's place on
/// its worker. Each failed attempt is recorded, so a restart goes on with the next one. What does not encode or decode is never tried again; neither is
/// an error that PostgreSQL raised in a transaction, unless it is one that passes (a serialization failure, a deadlock, a lost connection).
public struct RetryPolicy: Sendable {
    private let maxAttempts: Int32
    private let initial: Duration
    private let maximum: Duration
    private let factor: Double
    let isNonRetryable: (@Sendable (any Error) -> Bool)?

    /// Five attempts, up to 1, 2, 4 and 8 seconds apart: what a step does unless told otherwise.
    public static let `default` = exponential()

    /// One attempt.
    public static let never = exponential(maxAttempts: 1)

    /// Growing waits between attempts.
    /// - Parameters:
    ///   - maxAttempts: at least 1, the first one included.
    ///   - initial: the longest wait before the second attempt.
    ///   - maximum: the longest wait before any.
    ///   - factor: by which the longest wait grows, at least 1.
    ///   - nonRetryable: error codes (``WorkflowFailure/code``, such as `card_declined`) after which there is no further attempt.
    public static func exponential(
        maxAttempts: Int = 5, initial: Duration = .seconds(1), maximum: Duration = .seconds(60), factor: Double = 2, nonRetryable: Set<String> = []
    ) -> RetryPolicy {
        var isNonRetryable: (@Sendable (any Error) -> Bool)?
        if !nonRetryable.isEmpty { isNonRetryable = { nonRetryable.contains(WorkflowFailure(recording: $0).code) } }
        return RetryPolicy(maxAttempts, initial, maximum, factor, isNonRetryable)
    }

    /// Growing waits between attempts.
    /// - Parameters:
    ///   - maxAttempts: at least 1, the first one included.
    ///   - initial: the longest wait before the second attempt.
    ///   - maximum: the longest wait before any.
    ///   - factor: by which the longest wait grows, at least 1.
    ///   - nonRetryable: asked about what the body threw; true: there is no further attempt.
    public static func exponential(
        maxAttempts: Int = 5, initial: Duration = .seconds(1), maximum: Duration = .seconds(60), factor: Double = 2,
        nonRetryable: @escaping @Sendable (any Error) -> Bool
    ) -> RetryPolicy {
        RetryPolicy(maxAttempts, initial, maximum, factor, nonRetryable)
    }

    private init(
        _ maxAttempts: Int, _ initial: Duration, _ maximum: Duration, _ factor: Double, _ isNonRetryable: (@Sendable (any Error) -> Bool)?
    ) {
        self.maxAttempts = Int32(clamping: max(1, maxAttempts))
        self.initial = initial
        self.maximum = maximum
        self.factor = factor.isFinite ? max(1, factor) : 2
        self.isNonRetryable = isNonRetryable
    }

    func withRetry<Result>(
        attemptTimeout: Duration?, timeout: Duration?, _ body: (UnsafePointer<pawl_retry>) -> Result
    ) -> Result {
        var retry = pawl_retry(
            size: PawlSize.retry, max_attempts: maxAttempts, initial_interval: initial.positiveMicroseconds,
            maximum_interval: maximum.positiveMicroseconds, attempt_timeout: attemptTimeout?.positiveMicroseconds ?? 0,
            timeout: timeout?.positiveMicroseconds ?? 0, factor: factor)
        return body(&retry)
    }
}
