internal import CPawlPlugin

/// Writes to the daemon's log; the daemon adds the workflow to each line. Sendable, so that step bodies can use it.
public struct WorkflowLog: Sendable {
    let run: HandlerRun

    /// How much a line matters.
    public enum Level: Int32, Sendable, CaseIterable {
        case trace = 0, debug, info, notice, warning, error, critical
    }

    /// Writes a line.
    public func callAsFunction(_ level: Level, _ message: String) {
        _ = run.call { host, run in message.withBytes { host.pointee.log(host.pointee.host, run, level.rawValue, $0) } }
    }

    /// Writes a line of level trace.
    public func trace(_ message: String) { self(.trace, message) }
    /// Writes a line of level debug.
    public func debug(_ message: String) { self(.debug, message) }
    /// Writes a line of level info.
    public func info(_ message: String) { self(.info, message) }
    /// Writes a line of level notice.
    public func notice(_ message: String) { self(.notice, message) }
    /// Writes a line of level warning.
    public func warning(_ message: String) { self(.warning, message) }
    /// Writes a line of level error.
    public func error(_ message: String) { self(.error, message) }
    /// Writes a line of level critical.
    public func critical(_ message: String) { self(.critical, message) }
}
