internal import Glibc

/// Ctrl-C while a command talks to a database: the first lets it stop in order, the second ends the program.
enum Interrupt {
    // Written once, before the handler is installed.
    fileprivate nonisolated(unsafe) static var writeEnd: Int32 = -1

    /// Can be read from the first Ctrl-C on; asking for it is what changes the meaning of Ctrl-C. Negative: it was not changed.
    static let descriptor: Int32 = {
        var ends: [Int32] = [-1, -1]
        // Without a pipe Ctrl-C does what it always does.
        guard pipe(&ends) == 0 else { return -1 }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        writeEnd = ends[1]
        var action = sigaction()
        action.__sigaction_handler.sa_handler = receiveInterrupt
        // SA_RESETHAND, which is the sign bit.
        action.sa_flags = Int32(bitPattern: 0x8000_0000)
        sigaction(SIGINT, &action, nil)
        return ends[0]
    }()
}

private func receiveInterrupt(_ signal: Int32) {
    let saved = errno
    var byte: UInt8 = 1
    _ = write(Interrupt.writeEnd, &byte, 1)
    errno = saved
}
