import Glibc

/// Signals as bytes in a pipe, for one thread that reads them. Handlers, not a blocked mask: a mask would be inherited by every program
/// that a plugin starts.
enum SignalPipe {
    enum Word: UInt8 {
        case terminate, reload
        /// Somebody on another thread has news for the reader.
        case nudge
    }

    // Written once by `open`, before any handler is installed or thread started.
    private nonisolated(unsafe) static var descriptors: (read: Int32, write: Int32) = (-1, -1)

    /// The end to poll and read. SIGTERM, SIGINT and SIGHUP come here from now on.
    static func open() -> Int32 {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "no descriptors left for a pipe: errno \(errno)")
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        descriptors = (ends[0], ends[1])
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = receiveSignal
            action.sa_flags = SA_RESTART
            sigaction(signal, &action, nil)
        }
        // A peer that went away is an error of that write, not the end of the daemon.
        signal(SIGPIPE, SIG_IGN)
        return ends[0]
    }

    /// Any thread, and signal handlers. A full pipe has enough to say already.
    static func send(_ word: Word) {
        var byte = word.rawValue
        let saved = errno
        _ = write(descriptors.write, &byte, 1)
        errno = saved
    }

    /// What has come since.
    static func take() -> [Word] {
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = read(descriptors.read, &buffer, buffer.count)
        return count > 0 ? buffer[..<count].compactMap(Word.init(rawValue:)) : []
    }
}

private func receiveSignal(_ signal: Int32) {
    SignalPipe.send(signal == SIGHUP ? .reload : .terminate)
}
