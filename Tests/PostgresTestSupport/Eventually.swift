/// Waits until a condition holds, looking every few milliseconds; throws past the deadline.
///
/// The deadline decides nothing but how long a broken run takes to say so: keep it generous.
package func eventually(
    _ what: String, within limit: Duration = .seconds(20), every interval: Duration = .milliseconds(10),
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < deadline else { throw TestFailure("not within \(limit): \(what)") }
        try await Task.sleep(for: interval)
    }
}
