import Glibc
import Logging

/// Log lines on standard error: with journald's priority prefix when journald reads it, else with time and level.
/// `message key=value …`, keys in order.
struct StandardErrorLog: LogHandler {
    enum Form: Sendable { case journal, terminal }

    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let form: Form
    private let descriptor: Int32

    init(level: Logger.Level, form: Form, descriptor: Int32 = STDERR_FILENO) {
        logLevel = level
        self.form = form
        self.descriptor = descriptor
    }

    /// JOURNAL_STREAM names device and inode of journald's socket. A shell redirection after that makes it wrong, so it is compared.
    static func form(journalStream: String?, descriptor: Int32 = STDERR_FILENO) -> Form {
        var status = stat()
        guard let journalStream, fstat(descriptor, &status) == 0 else { return .terminal }
        return journalStream == "\(status.st_dev):\(status.st_ino)" ? .journal : .terminal
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line = ""
        switch form {
        case .journal: line += "<\(Self.priority(event.level))>"
        case .terminal: line += "\(Self.timestamp()) \(event.level.rawValue) pawld: "
        }
        line += Self.oneLine("\(event.message)")
        var all = metadata.merging(event.metadata ?? [:]) { $1 }
        if let error = event.error { all["error"] = "\(error)" }
        for (key, value) in all.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=\(Self.quoted("\(value)"))"
        }
        line += "\n"
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno != EINTR { return }
            bytes = bytes.dropFirst(max(0, written))
        }
    }

    /// syslog(3).
    static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// Plain words as they are; anything else in quotes, so that a line parses.
    static func quoted(_ text: String) -> String {
        let plain = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") && $0 != 0x7F }
        guard !plain else { return text }
        // By scalars: an accent that follows a quote makes another character of it.
        var quoted = "\""
        for scalar in oneLine(text).unicodeScalars {
            if scalar == "\"" { quoted += "\\" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }

    /// No line of a log can pass for two.
    static func oneLine(_ text: String) -> String {
        guard text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
        var line = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": line += "\\n"
            case "\t": line += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F: line += "\\u{\(String(scalar.value, radix: 16))}"
            default: line.unicodeScalars.append(scalar)
            }
        }
        return line
    }

    private static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func pad(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
        let date = "\(parts.tm_year + 1900)-\(pad(Int(parts.tm_mon) + 1, 2))-\(pad(Int(parts.tm_mday), 2))"
        let time =
            "\(pad(Int(parts.tm_hour), 2)):\(pad(Int(parts.tm_min), 2)):\(pad(Int(parts.tm_sec), 2)).\(pad(now.tv_nsec / 1_000_000, 3))"
        return "\(date)T\(time)Z"
    }
}
