internal import Locking
package import WorkflowEngine

/// Time that stands still until somebody moves it: of a database in memory and of the engines that use it.
package final class ManualClock: Sendable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    private let time: Locked<Int64>
    private let began: Int64

    /// Unless told otherwise, 2026-01-01T00:00:00Z.
    package init(now: Int64 = 1_767_225_600_000_000) {
        time = Locked(now)
        began = now
    }

    package var now: Int64 { time.withLock { $0 } }

    package func advance(microseconds: Int64) { time.withLock { $0 += max(0, microseconds) } }

    /// Never back.
    package func advance(to instant: Int64) { time.withLock { $0 = max($0, instant) } }

    /// What this clock shows once an engine's monotonic clock shows that.
    package func instant(ofMonotonic nanoseconds: UInt64) -> Int64 { began + Int64((nanoseconds + 999) / 1000) }

    package var engineClock: EngineClock {
        EngineClock(monotonic: { [self] in UInt64(now - began) * 1000 }, wall: { [self] in now })
    }
}
