/// A cell before it is laid out.
struct TableCell {
    var text: String
    var style: Style?
    var isNumber = false
}

/// What a column of a table needs, as far as its cells are known.
struct ColumnNeed {
    let title: String
    /// See `TableColumn`.
    let spare: Int
    /// Of the widest cell.
    private(set) var width = 0
    private(set) var isNumber = false

    init(title: String, spare: Int = 0) {
        self.title = title
        self.spare = spare
    }

    mutating func take(_ cell: TableCell) {
        width = max(width, cell.text.columns)
        if cell.isNumber { isNumber = true }
    }

    /// Of the longest word of its title.
    fileprivate var word: Int { title.split(separator: " ").map { String($0).columns }.max() ?? 0 }

    /// How readily it is left out. What has nothing in it is missed least.
    fileprivate var rank: Int { width == 0 ? .max : spare }
}

/// Which columns of a table are shown, and how wide: as they need, and no wider together than the terminal.
struct TableLayout {
    /// Their indices.
    let shown: [Int]
    private let columns: [ColumnNeed]
    private var widths: [Int]

    static let gap = 2
    /// Narrower a text is hard to tell from others.
    private static let readable = 10
    /// Narrower a column says nothing.
    private static let least = 6

    /// - Parameter shown: the columns that are shown already; nil: that is decided here.
    init(_ columns: [ColumnNeed], width: Int?, shown: [Int]? = nil) {
        self.columns = columns
        // First titles take several lines, then what is empty goes, then texts are cut. Numbers cannot be.
        let wrapped = { (column: ColumnNeed) in max(column.width, column.word) }
        let readable = { (column: ColumnNeed) in column.isNumber ? wrapped(column) : max(min(column.width, Self.readable), column.word) }
        let least = { (column: ColumnNeed) in
            column.isNumber ? max(column.width, min(column.word, Self.least)) : min(wrapped(column), Self.least)
        }
        var indices = shown ?? Array(columns.indices)
        var widths: [Int] = []
        func fits(_ floors: (ColumnNeed) -> Int...) -> Bool {
            widths = columns.map { max($0.width, $0.title.columns) }
            let needed = indices.reduce(-Self.gap) { $0 + widths[$1] + Self.gap }
            var excess = needed - (width ?? needed)
            for floor in floors {
                while excess > 0, let widest = indices.filter({ widths[$0] > floor(columns[$0]) }).max(by: { widths[$0] < widths[$1] }) {
                    widths[widest] -= 1
                    excess -= 1
                }
            }
            return excess <= 0
        }
        /// Of those of a higher rank the last one of the highest; the first column stays.
        func leaveOut(above rank: Int) -> Bool {
            guard shown == nil, let index = indices.dropFirst().reversed().filter({ columns[$0].rank > rank }).max(by: { columns[$0].rank < columns[$1].rank })
            else { return false }
            indices.removeAll { $0 == index }
            return true
        }
        while !fits(wrapped), leaveOut(above: .max - 1) {}
        while !fits(wrapped, readable), leaveOut(above: 0) {}
        while !fits(wrapped, readable, least), leaveOut(above: -1) {}
        self.shown = indices
        self.widths = widths
    }

    /// The titles, one line or more.
    func heading(colours: Bool) -> [String] {
        let titles = columns.indices.map { columns[$0].title.wrapped(to: widths[$0]) }
        let height = shown.map { titles[$0].count }.max() ?? 0
        return (0..<height).map { number in
            line(
                columns.indices.map { column in
                    // Titles stand on their column.
                    let word = number - (height - titles[column].count)
                    return TableCell(text: word < 0 ? "" : titles[column][word], style: .bold, isNumber: columns[column].isNumber)
                }, colours: colours)
        }
    }

    func line(_ cells: [TableCell], colours: Bool) -> String {
        var line = ""
        for column in shown {
            let cell = cells[column]
            let text = cell.text.truncated(to: widths[column])
            let isLast = column == shown.last
            let styled = text.styled(cell.style, colours)
            let padding = String(repeating: " ", count: widths[column] - text.columns)
            line += cell.isNumber ? padding + styled : isLast ? styled : styled + padding
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
