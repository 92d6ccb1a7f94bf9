// `stdout` is a variable to C; nobody changes it.
@preconcurrency internal import Glibc

/// What this program writes to, as far as it is a terminal.
enum Terminal {
    static let outputIsTerminal = isatty(STDOUT_FILENO) == 1
    static let errorsAreTerminal = isatty(STDERR_FILENO) == 1
    static let inputIsTerminal = isatty(STDIN_FILENO) == 1

    /// How many columns lines should have; nil: as many as they need, for whatever reads them. COLUMNS says it for a pipe too.
    static var width: Int? {
        if let columns = environment("COLUMNS").flatMap({ Int($0) }), columns > 0 { return columns }
        var size = winsize()
        guard outputIsTerminal, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return outputIsTerminal ? 80 : nil }
        return Int(size.ws_col)
    }

    /// See https://no-color.org.
    static var hasColours: Bool { outputIsTerminal && environment("NO_COLOR") == nil && environment("TERM") != "dumb" }

    /// A variable that is set to something.
    static func environment(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What was printed goes out now, also to a pipe.
    static func flush() { fflush(nil) }

    /// Whether something that was printed could not be written: a full disk, a reader that is gone.
    static var lostOutput: Bool { ferror(stdout) != 0 }

    /// Makes that a failure of the program, however it ends otherwise.
    static func failIfOutputIsLost() {
        atexit {
            let isWritten = fflush(stdout) == 0
            let reason = isWritten ? "" : ": " + String(cString: strerror(errno))
            guard !isWritten || Terminal.lostOutput else { return }
            Terminal.writeError("Error: the output could not be written\(reason)\n")
            _exit(EXIT_FAILURE)
        }
    }

    /// To standard error, as it is.
    static func writeError(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    /// Lines on standard error, after what was printed so far. They may hold text from a database.
    static func complain(_ text: String) {
        flush()
        writeError(text.printableLines + "\n")
    }
}

/// A colour or weight of text on a terminal.
enum Style: String {
    case bold = "1"
    case faint = "2"
    case red = "31"
    case green = "32"
    case yellow = "33"
    case cyan = "36"

    /// How a status, or the severity of a finding, is marked.
    static func of(_ word: String?) -> Style? {
        switch word {
        case "succeeded", "ok": .green
        case "failed", "error", "lost": .red
        case "cancelled", "retrying", "warning", "paused": .yellow
        case "running", "waiting", "note": .cyan
        case "delayed", "ended": .faint
        default: nil
        }
    }
}
