import Glibc

/// What this process can find out about itself.
enum ProcessEnvironment {
    static func variables() -> [String: String] {
        var variables: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            // By scalars: an accent that follows the mark makes another character of it.
            let pair = String(cString: text).unicodeScalars.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            // The first of two of one name is what getenv finds.
            if pair.count == 2, variables[String(pair[0])] == nil { variables[String(pair[0])] = String(pair[1]) }
            entry += 1
        }
        return variables
    }

    static func executable() -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        return count > 0 ? String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : CommandLine.arguments[0]
    }

    static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 257)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        return buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    /// Where plugins are copied before they are loaded: systemd's CacheDirectory, or the user's. /run would not do, it is mounted noexec.
    static func privateDirectory(_ environment: [String: String]) -> String {
        func make(_ directory: String) -> Bool { mkdir(directory, 0o700) == 0 || errno == EEXIST }
        func value(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
        // systemd separates several by colons.
        if let directory = value("CACHE_DIRECTORY")?.split(separator: ":").first { return "\(directory)/plugins" }
        let cache = value("XDG_CACHE_HOME") ?? value("HOME").map { "\($0)/.cache" }
        if let cache, make(cache), make("\(cache)/pawl"), access("\(cache)/pawl", W_OK) == 0 { return "\(cache)/pawl/plugins" }
        return "/var/tmp/pawl-\(geteuid())"
    }

    /// To standard error, before there is a log.
    static func complain(_ text: String) {
        let line = Array("pawld: \(StandardErrorLog.oneLine(text))\n".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }
}
