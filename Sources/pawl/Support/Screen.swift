internal import ArgumentParser
internal import Glibc
internal import PostgresStore

/// A column of a table: which one of the answer, and what stands above it.
struct TableColumn: ExpressibleByStringLiteral {
    let name: String
    let title: String
    /// Where there is no room for all, the highest is left out first; 0: before that texts are cut as short as can be.
    let spare: Int

    init(_ name: String, _ title: String? = nil, spare: Int = 0) {
        self.name = name
        self.title = title ?? Self.title(name)
        self.spare = spare
    }

    init(stringLiteral name: String) { self.init(name) }

    /// Made from the name: `created_at` is created, `workflow_name` is workflow name.
    static func title(_ name: String) -> String { (name.hasSuffix("_at") ? String(name.dropLast(3)) : name).replacing("_", with: " ") }
}

/// Where commands show what they found: tables and sentences for people, or JSON for programs.
struct Screen {
    let json: Bool
    let colours: Bool
    /// Columns of a line; nil: no limit.
    let width: Int?
    /// The database's clock, which relative times are relative to.
    let now: Int64

    /// It at a later time.
    func at(_ now: Int64) -> Screen { Screen(json: json, colours: colours, width: width, now: now) }

    /// Rows as a table of these columns, or all their columns as JSON.
    func show(_ rows: OperatorRows, _ columns: [TableColumn], empty: String) {
        var listing = listing(columns, empty: empty)
        listing.add(rows)
        listing.end()
    }

    /// The same for an answer that comes in pages.
    func listing(_ columns: [TableColumn], empty: String) -> Listing { Listing(screen: self, columns: columns, empty: empty) }

    /// One thing that was done or found: a sentence, or an object.
    func say(_ sentence: String, _ object: OperatorRow) {
        print(json ? object.json : sentence)
    }

    /// Several things that were done: a sentence about all of them, or an array.
    func say(_ sentence: String, _ objects: [OperatorRow]) {
        guard json else { return print(sentence) }
        var listing = listing([], empty: "")
        listing.add(objects)
        listing.end()
    }

    /// What was, or was not, changed about one object.
    func report(_ changed: Bool, _ done: String, otherwise: String, _ object: OperatorRow) throws {
        say(changed ? done : otherwise, object.adding("changed", .boolean(changed)))
        if !changed { throw ExitCode.nothing }
    }

    /// One thing: its columns one below the other, without those that are NULL; or an object.
    func show(_ object: OperatorRow) {
        if json { return print(object.json) }
        let facts = zip(object.columns, object.values).filter { !$1.isNull }.map { (TableColumn.title($0), text($1)) }
        let width = facts.map(\.0.columns).max() ?? 0
        for (name, value) in facts { print(styled(name.padded(to: width), .faint) + "  " + value) }
    }

    /// Beside the answer, on standard error.
    func note(_ text: String) { Terminal.complain(text) }

    /// As it is shown to people: times relative, intervals short, no control characters.
    func text(_ value: OperatorValue) -> String {
        switch value {
        case .null: ""
        case .time(let time): TimeText.relative(time, now: now)
        case .interval(let microseconds, _): TimeText.duration(microseconds)
        case .boolean(let value): value ? "yes" : "no"
        default: (value.text ?? "").printable
        }
    }

    func styled(_ text: String, _ style: Style?) -> String { text.styled(style, colours) }

    /// Asks before something that cannot be taken back. Without a person to ask it is refused.
    func confirm(_ question: String, unless yes: Bool) throws {
        if yes { return }
        guard Terminal.inputIsTerminal, Terminal.errorsAreTerminal else {
            throw CommandFailure("\(question)? There is nobody to ask: give --yes to do it unasked")
        }
        Terminal.writeError("\(question)? [y/N] ")
        var answer: String?
        do {
            // Nobody ended the line.
            defer { if answer == nil { Terminal.writeError("\n") } }
            answer = try StandardInput.line()
        }
        guard let answer, ["y", "yes"].contains(answer.lowercased()) else { throw CommandFailure("nothing was changed") }
    }
}

/// A table, or a JSON array, while its rows come.
struct Listing {
    fileprivate let screen: Screen
    fileprivate let columns: [TableColumn]
    fileprivate let empty: String
    private(set) var count = 0
    private var needs: [ColumnNeed]
    private var layout: TableLayout?

    fileprivate init(screen: Screen, columns: [TableColumn], empty: String) {
        self.screen = screen
        self.columns = columns
        self.empty = empty
        needs = columns.map { ColumnNeed(title: $0.title, spare: $0.spare) }
    }

    mutating func add(_ rows: some Collection<OperatorRow>) {
        if screen.json {
            for row in rows {
                print(count == 0 ? "[\n  " : ",\n  ", terminator: "")
                print(row.json, terminator: "")
                count += 1
            }
            return
        }
        guard !rows.isEmpty else { return }
        let cells = rows.map { row in columns.map { cell(row[$0.name], $0) } }
        for row in cells {
            for (column, cell) in row.enumerated() { needs[column].take(cell) }
        }
        // The first rows decide which columns there are; later ones may need wider ones.
        let layout = TableLayout(needs, width: screen.width, shown: layout?.shown)
        if self.layout == nil {
            for line in layout.heading(colours: screen.colours) { print(line) }
        }
        self.layout = layout
        for row in cells { print(layout.line(row, colours: screen.colours)) }
        count += rows.count
    }

    func end() {
        if screen.json { return print(count == 0 ? "[]" : "\n]") }
        guard let layout else { return print(empty) }
        let leftOut = columns.indices.filter { !layout.shown.contains($0) && needs[$0].width > 0 }.map { columns[$0].name }
        if !leftOut.isEmpty { screen.note("No room for \(leftOut.joined(separator: ", ")).") }
    }

    private func cell(_ value: OperatorValue, _ column: TableColumn) -> TableCell {
        let style: Style? =
            switch column.name {
            case "status", "severity": Style.of(value.text)
            case "error": .red
            default: nil
            }
        switch value {
        case .number, .interval: return TableCell(text: screen.text(value), style: style, isNumber: true)
        case .json where column.name == "error": return TableCell(text: WorkflowErrorText(value)?.sentence ?? screen.text(value), style: style)
        default: return TableCell(text: screen.text(value), style: style)
        }
    }
}
