extension String {
    /// How many columns of a terminal it takes.
    var columns: Int { reduce(0) { $0 + $1.columns } }

    /// At most `limit` columns of it; what was cut off is marked.
    func truncated(to limit: Int) -> String {
        // No more bytes than columns: nothing to measure.
        guard utf8.count > limit, columns > limit else { return self }
        var text = ""
        var width = 0
        for character in self {
            width += character.columns
            if width > limit - 1 { break }
            text.append(character)
        }
        return limit > 0 ? text + "…" : ""
    }

    /// Its words, on lines of at most `limit` columns; a word that is wider is cut.
    func wrapped(to limit: Int) -> [String] {
        var lines: [String] = []
        for word in split(separator: " ").map({ String($0).truncated(to: limit) }) {
            if let last = lines.last, last.columns + 1 + word.columns <= limit {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(word)
            }
        }
        return lines
    }

    func padded(to width: Int, right: Bool = false) -> String {
        let padding = String(repeating: " ", count: max(0, width - columns))
        return right ? padding + self : self + padding
    }

    /// Without what moves a terminal's cursor or changes its state: text from a database is only shown. One line.
    var printable: String {
        guard unicodeScalars.contains(where: \.isControl) else { return self }
        var text = ""
        text.unicodeScalars.append(contentsOf: unicodeScalars.map { $0.isControl ? " " : $0 })
        return text
    }

    /// The same for text of several lines.
    var printableLines: String { split(separator: "\n", omittingEmptySubsequences: false).map { String($0).printable }.joined(separator: "\n") }
}

extension Unicode.Scalar {
    var isControl: Bool {
        // Among the formats are those that turn the direction of writing.
        properties.generalCategory == .control || (0x202A...0x202E).contains(value) || (0x2066...0x2069).contains(value)
    }
}

extension Character {
    fileprivate var columns: Int {
        if isASCII { return 1 }
        let scalars = unicodeScalars
        guard let first = scalars.first else { return 0 }
        if first.properties.isEmojiPresentation || scalars.contains("\u{FE0F}") || Self.isWide(first.value) { return 2 }
        switch first.properties.generalCategory {
        case .nonspacingMark, .enclosingMark, .format, .control: return 0
        default: return 1
        }
    }

    /// East Asian Width W and F, as blocks.
    private static func isWide(_ value: UInt32) -> Bool {
        switch value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xA000...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3,
            0xF900...0xFAFF, 0xFE30...0xFE4F, 0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            true
        default: false
        }
    }
}
