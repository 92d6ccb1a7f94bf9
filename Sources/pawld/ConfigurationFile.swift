import Glibc

/// A file of `PAWL_NAME=value` lines: the same names as in the environment, and the form that systemd reads as an EnvironmentFile.
struct ConfigurationFile: Equatable {
    let path: String
    /// By variable: the value and its line.
    private(set) var values: [String: (value: String, line: Int)] = [:]

    static func == (left: Self, right: Self) -> Bool {
        left.path == right.path && left.values.mapValues { "\($0.line) \($0.value)" } == right.values.mapValues { "\($0.line) \($0.value)" }
    }

    init(reading path: String) throws(ConfigurationError) {
        guard let file = fopen(path, "r") else {
            throw ConfigurationError("--config", source: nil, "names \(path), which cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { break }
            bytes += buffer[..<count]
        }
        guard ferror(file) == 0 else {
            throw ConfigurationError("--config", source: nil, "names \(path), which cannot be read: \(String(cString: strerror(errno)))")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ConfigurationError(source: path, "is not UTF-8")
        }
        try self.init(path: path, text: text)
    }

    /// Comments begin with `#` or `;`. A value may stand in single or double quotes; `\"` and `\\` are meant literally inside double ones.
    /// Variables that are not Pawl's (PGPASSWORD, LANG) are left to systemd and ignored.
    init(path: String, text: String) throws(ConfigurationError) {
        self.path = path
        let known = Set(Setting.allCases.map(\.variable))
        // By scalars: a carriage return before a newline, or an accent after a mark, makes another character of it.
        for (index, raw) in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let source = "\(path) line \(index + 1)"
            let line = Substring(raw).trimmed.unicodeScalars
            if line.isEmpty || line.first == "#" || line.first == ";" { continue }
            guard let equals = line.firstIndex(of: "=") else {
                throw ConfigurationError(source: source, "is not NAME=value")
            }
            let name = String(Substring(line[..<equals]).trimmed)
            guard name.hasPrefix("PAWL_") else { continue }
            guard known.contains(name) else {
                throw ConfigurationError(
                    source: source, "sets \(name), which is no setting of pawld\(Suggestion.clause(for: name, among: known))")
            }
            if let earlier = values[name] {
                throw ConfigurationError(source: source, "sets \(name) a second time (first in line \(earlier.line))")
            }
            values[name] = (try Self.unquoted(Substring(line[line.index(after: equals)...]).trimmed.unicodeScalars, source: source), index + 1)
        }
    }

    private static func unquoted(_ text: Substring.UnicodeScalarView, source: String) throws(ConfigurationError) -> String {
        guard let quote = text.first, quote == "\"" || quote == "'" else { return String(text) }
        var value = String.UnicodeScalarView()
        var index = text.index(after: text.startIndex)
        while index < text.endIndex {
            let scalar = text[index]
            let next = text.index(after: index)
            if scalar == quote {
                guard next == text.endIndex else { throw ConfigurationError(source: source, "goes on after its closing quote") }
                return String(value)
            }
            if scalar == "\\", quote == "\"", next < text.endIndex, text[next] == "\"" || text[next] == "\\" {
                value.append(text[next])
                index = text.index(after: next)
                continue
            }
            value.append(scalar)
            index = next
        }
        throw ConfigurationError(source: source, "has no closing quote")
    }
}

/// "did you mean": the nearest name, if one is near.
enum Suggestion {
    static func clause(for name: String, among known: Set<String>) -> String {
        nearest(to: name, among: known).map { "; did you mean \($0)?" } ?? "; there are \(known.sorted().joined(separator: ", "))"
    }

    /// The nearest one, if it is so near that it may have been meant.
    static func nearest(to name: String, among known: Set<String>) -> String? {
        let nearest = known.map { (distance: distance(name, $0), name: $0) }.min { ($0.distance, $0.name) < ($1.distance, $1.name) }
        return nearest.flatMap { $0.distance <= 3 ? $0.name : nil }
    }

    /// Insertions, deletions and replacements from one to the other.
    static func distance(_ left: String, _ right: String) -> Int {
        let right = Array(right)
        var row = Array(0...right.count)
        for (i, character) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in right.indices {
                let replaced = diagonal + (character == right[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[right.count]
    }
}

extension StringProtocol where SubSequence == Substring {
    /// Without white space at its ends.
    var trimmed: Substring {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return text
    }
}
