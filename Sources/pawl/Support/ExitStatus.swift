internal import ArgumentParser

/// How commands end, in one place; `docs/command-line.md` has the same table.
extension ExitCode {
    // 0 success, 1 failure and 64 a command line that cannot be read are ArgumentParser's.

    /// What was named is not there, nothing matched, or nothing was left to change.
    static let nothing = ExitCode(2)
    /// `workflow wait`: it ended as failed.
    static let workflowFailed = ExitCode(3)
    /// `workflow wait`: it ended as cancelled.
    static let workflowCancelled = ExitCode(4)
    /// `workflow wait`: it had not ended in time.
    static let workflowUnfinished = ExitCode(5)
    /// Ctrl-C, as a shell has it.
    static let interrupted = ExitCode(130)
}

/// Ends the command with a message for a person.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
