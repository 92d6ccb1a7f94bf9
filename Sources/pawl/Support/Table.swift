/// A cell before it is laid out.
struct TableCell {
    var text: String
    var style: Style?
    var isNumber = false
}

/// How wide the columns of a table are: as they need, and no wider together than the terminal.
struct TableLayout {
    private(set) var widths: [Int]

    static let gap = 2
    /// Narrower a column says nothing.
    private static let least = 6

    init(titles: [String], rows: [[TableCell]], width: Int?) {
        widths = titles.map(\.columns)
        for row in rows {
            for (column, cell) in row.enumerated() { widths[column] = max(widths[column], cell.text.columns) }
        }
        guard let width else { return }
        // Numbers cannot be cut; of the others the widest gives way.
        let cuttable = widths.indices.filter { column in !rows.contains { $0[column].isNumber } }
        var excess = widths.reduce(0, +) + Self.gap * (widths.count - 1) - width
        // Titles give way last.
        for floors in [titles.map { max(Self.least, $0.columns) }, titles.map { _ in Self.least }] {
            while excess > 0, let widest = cuttable.filter({ widths[$0] > floors[$0] }).max(by: { widths[$0] < widths[$1] }) {
                widths[widest] -= 1
                excess -= 1
            }
        }
    }

    func line(_ cells: [TableCell], colours: Bool) -> String {
        var line = ""
        for (column, cell) in cells.enumerated() {
            let text = cell.text.truncated(to: widths[column])
            let isLast = column == cells.count - 1
            let shown = text.styled(cell.style, colours)
            let padding = String(repeating: " ", count: widths[column] - text.columns)
            line += cell.isNumber ? padding + shown : isLast ? shown : shown + padding
            if !isLast { line += String(repeating: " ", count: Self.gap) }
        }
        while line.last == " " { line.removeLast() }
        return line
    }
}

extension String {
    func styled(_ style: Style?, _ colours: Bool) -> String {
        guard colours, let style, !isEmpty else { return self }
        return "\u{1B}[\(style.rawValue)m\(self)\u{1B}[0m"
    }
}
