/// When a step or transaction that failed is tried again. Intervals in microseconds.
package final class RetryPolicy: Sendable {
    package let maxAttempts: Int32
    package let initialInterval: Int64
    package let maximumInterval: Int64
    package let factor: Double
    /// Of one attempt.
    package let attemptTimeout: Int64?
    /// Of all attempts and the waits between them.
    package let timeout: Int64?

    /// Anything that is not positive is the default.
    package init(
        maxAttempts: Int32 = 0, initialInterval: Int64 = 0, maximumInterval: Int64 = 0, factor: Double = 0, attemptTimeout: Int64 = 0, timeout: Int64 = 0
    ) {
        self.maxAttempts = maxAttempts > 0 ? maxAttempts : 5
        self.initialInterval = initialInterval > 0 ? initialInterval : 1_000_000
        self.maximumInterval = maximumInterval > 0 ? maximumInterval : 60_000_000
        self.factor = factor > 0 && factor.isFinite ? factor : 2
        self.attemptTimeout = attemptTimeout > 0 ? attemptTimeout : nil
        self.timeout = timeout > 0 ? timeout : nil
    }

    package static let standard = RetryPolicy()
    package static let never = RetryPolicy(maxAttempts: 1)

    var hasTimeout: Bool { attemptTimeout != nil || timeout != nil }

    /// The same, where of the time for all attempts so much is over.
    func after(_ elapsed: Int64) -> RetryPolicy {
        guard let timeout else { return self }
        return RetryPolicy(
            maxAttempts: maxAttempts, initialInterval: initialInterval, maximumInterval: maximumInterval, factor: factor,
            attemptTimeout: attemptTimeout ?? 0, timeout: max(1, timeout - max(0, elapsed)))
    }

    /// Microseconds before the attempt after that many: full jitter below a cap that grows by the factor. nil: there is none, or it would come too late.
    func interval(after attempts: Int32, using random: inout SplitMix64) -> Int64? {
        guard attempts < maxAttempts else { return nil }
        var cap = Double(initialInterval)
        for _ in 1..<max(1, min(attempts, 64)) { cap = min(cap * factor, Double(maximumInterval)) }
        let interval = Int64(min(cap, Double(maximumInterval)) * Double.random(in: 0...1, using: &random))
        return interval < timeout ?? .max ? interval : nil
    }
}
