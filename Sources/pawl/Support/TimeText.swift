/// Times and durations as people say them.
enum TimeText {
    /// `850 µs`, `12 ms`, `2.1 s`, `3 min 5 s`, `2 h 5 min`, `3 d 4 h`.
    static func duration(_ microseconds: Int64) -> String {
        if microseconds < 0 { return "-" + duration(-microseconds) }
        if microseconds < 1000 { return "\(microseconds) µs" }
        if microseconds < 1_000_000 { return "\(microseconds / 1000) ms" }
        let seconds = microseconds / 1_000_000
        if seconds < 60 { return seconds < 10 ? "\(seconds).\(microseconds / 100_000 % 10) s" : "\(seconds) s" }
        if seconds < 3600 { return two(seconds / 60, "min", seconds % 60, "s") }
        if seconds < 86_400 { return two(seconds / 3600, "h", seconds / 60 % 60, "min") }
        return two(seconds / 86_400, "d", seconds / 3600 % 24, "h")
    }

    /// `3 min ago`, `in 2 h`.
    static func relative(_ time: Int64, now: Int64) -> String {
        let distance = abs(now - time)
        if distance < 1_000_000 { return "now" }
        let text = coarse(distance / 1_000_000)
        return time < now ? "\(text) ago" : "in \(text)"
    }

    private static func coarse(_ seconds: Int64) -> String {
        if seconds < 60 { return "\(seconds) s" }
        if seconds < 3600 { return "\(seconds / 60) min" }
        if seconds < 86_400 { return "\(seconds / 3600) h" }
        return "\(seconds / 86_400) d"
    }

    private static func two(_ large: Int64, _ unit: String, _ small: Int64, _ smaller: String) -> String {
        small == 0 ? "\(large) \(unit)" : "\(large) \(unit) \(small) \(smaller)"
    }
}

extension Int {
    /// `1,204`
    var grouped: String {
        let digits = String(magnitude)
        let head = digits.count % 3
        var groups = head > 0 ? [String(digits.prefix(head))] : []
        var rest = digits.dropFirst(head)
        while !rest.isEmpty {
            groups.append(String(rest.prefix(3)))
            rest = rest.dropFirst(3)
        }
        return (self < 0 ? "-" : "") + groups.joined(separator: ",")
    }

    /// `1 workflow`, `1,204 workflows`.
    func counted(_ noun: String) -> String { "\(grouped) \(noun)\(self == 1 ? "" : "s")" }
}
