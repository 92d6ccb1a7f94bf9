import Glibc
import PostgresClient

/// One value of an answer: as a table shows it, and as JSON has it.
package enum OperatorValue: Equatable, Sendable {
    case null
    case text(String)
    /// As the server writes it: no digit is lost.
    case number(String)
    case boolean(Bool)
    /// Microseconds since 1970-01-01T00:00:00Z.
    case time(Int64)
    /// In microseconds (days of 24 hours, months of 30 days), and as the server writes it.
    case interval(Int64, String)
    case list([String?])
    /// Its JSON text.
    case json(String)

    /// From the text form of a value, in a session whose DateStyle is ISO and whose TimeZone is UTC.
    init(_ text: String, type: UInt32) {
        switch type {
        case 16: self = .boolean(text == "t")
        case 20, 21, 23, 26, 700, 701, 1700:
            // NaN and Infinity are no numbers in JSON.
            self = text.last?.isNumber == true ? .number(text) : .text(text)
        case 114, 3802: self = .json(text)
        case 1184: self = Self.time(text).map(OperatorValue.time) ?? .text(text)
        case 1186: self = Self.interval(text).map { .interval($0, text) } ?? .text(text)
        case 1009, 1015: self = .list(Self.list(text))
        default: self = .text(text)
        }
    }

    package var isNull: Bool { self == .null }

    /// The text of a text, the digits of a number, the JSON of JSON; nil is NULL.
    package var text: String? {
        switch self {
        case .null: nil
        case .text(let text), .number(let text), .json(let text), .interval(_, let text): text
        case .boolean(let value): value ? "true" : "false"
        case .time(let microseconds): Self.iso(microseconds)
        case .list(let elements): elements.map { $0 ?? "NULL" }.joined(separator: ", ")
        }
    }

    package var isTrue: Bool { self == .boolean(true) }

    /// Whether it is a list that has this.
    package func contains(_ element: String) -> Bool { if case .list(let elements) = self { elements.contains(element) } else { false } }

    package var integer: Int? { if case .number(let digits) = self { Int(digits) } else { nil } }

    package var microseconds: Int64? {
        switch self {
        case .time(let value), .interval(let value, _): value
        default: nil
        }
    }

    package var json: String {
        switch self {
        case .null: "null"
        case .number(let text), .json(let text): text
        case .boolean(let value): value ? "true" : "false"
        case .text(let text), .interval(_, let text): Self.quoted(text)
        case .time(let microseconds): Self.quoted(Self.iso(microseconds))
        case .list(let elements): "[" + elements.map { $0.map(Self.quoted) ?? "null" }.joined(separator: ", ") + "]"
        }
    }

    /// A JSON string.
    package static func quoted(_ text: String) -> String {
        var bytes: [UInt8] = []
        Array(text.utf8).withUnsafeBytes { SQLResultJSON.append($0, to: &bytes) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// `2026-11-21T02:00:00.5Z`: UTC, with as many digits as are not zero.
    package static func iso(_ microseconds: Int64) -> String {
        var (seconds, fraction) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        if fraction < 0 { (seconds, fraction) = (seconds - 1, fraction + 1_000_000) }
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func digits(_ number: Int32, _ count: Int = 2) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        var rest = digits(Int32(fraction), 6)
        while rest.last == "0" { rest.removeLast() }
        return digits(parts.tm_year + 1900, 4) + "-" + digits(parts.tm_mon + 1) + "-" + digits(parts.tm_mday) + "T" + digits(parts.tm_hour) + ":"
            + digits(parts.tm_min) + ":" + digits(parts.tm_sec) + (rest.isEmpty ? "" : "." + rest) + "Z"
    }

    /// `00:00:01.5`, as the server writes less than a day.
    package static func interval(_ microseconds: Int64) -> String {
        let text = iso(microseconds)
        return String(text.dropFirst("1970-01-01T".utf8.count).dropLast())
    }

    /// Microseconds of `2026-11-21 02:00:00.5+00`; nil for what is no point of the calendar (infinity) or before the year 1.
    private static func time(_ text: String) -> Int64? {
        guard text.hasSuffix("+00") else { return nil }
        let fields = text.dropLast(3).split(whereSeparator: { "- :".contains($0) })
        guard fields.count == 6, let year = Int32(fields[0]), let month = Int32(fields[1]), let day = Int32(fields[2]), let hour = Int32(fields[3]),
            let minute = Int32(fields[4]), let microseconds = Self.seconds(fields[5])
        else { return nil }
        var parts = tm()
        (parts.tm_year, parts.tm_mon, parts.tm_mday, parts.tm_hour, parts.tm_min) = (year - 1900, month - 1, day, hour, minute)
        return Int64(timegm(&parts)) * 1_000_000 + microseconds
    }

    /// Microseconds of `1 mon 2 days -03:04:05.6`.
    private static func interval(_ text: String) -> Int64? {
        var total: Int64 = 0
        var words = text.split(separator: " ")[...]
        while let word = words.popFirst() {
            if word.contains(":") {
                let fields = word.drop(while: { "+-".contains($0) }).split(separator: ":")
                guard fields.count == 3, let hours = Int64(fields[0]), let minutes = Int64(fields[1]), let rest = seconds(fields[2]) else {
                    return nil
                }
                let time = (hours * 60 + minutes) * 60_000_000 + rest
                total += word.first == "-" ? -time : time
            } else {
                guard let count = Int64(word), let unit = words.popFirst() else { return nil }
                let days: Int64? = unit.hasPrefix("year") ? 360 : unit.hasPrefix("mon") ? 30 : unit.hasPrefix("day") ? 1 : nil
                guard let days else { return nil }
                total += count * days * 86_400_000_000
            }
        }
        return total
    }

    /// Microseconds of `05.6`.
    private static func seconds(_ text: Substring) -> Int64? {
        let parts = text.split(separator: ".")
        guard parts.count <= 2, let whole = Int64(parts[0]) else { return nil }
        guard parts.count == 2 else { return whole * 1_000_000 }
        return Int64(parts[1].prefix(6) + String(repeating: "0", count: max(0, 6 - parts[1].count))).map { whole * 1_000_000 + $0 }
    }

    /// The elements of `{a,"b c",NULL}`.
    private static func list(_ text: String) -> [String?] {
        // By bytes: an accent that follows a quote makes another character of it.
        var elements: [String?] = []
        var element: [UInt8] = []
        var quoted = false
        var inside = false
        var escaped = false
        func end() {
            let text = String(decoding: element, as: UTF8.self)
            if !element.isEmpty || quoted { elements.append(!quoted && text == "NULL" ? nil : text) }
            (element, quoted) = ([], false)
        }
        for byte in text.utf8.dropFirst().dropLast() {
            if escaped {
                element.append(byte)
                escaped = false
            } else if byte == UInt8(ascii: "\\") {
                escaped = true
            } else if byte == UInt8(ascii: "\"") {
                inside.toggle()
                quoted = true
            } else if byte == UInt8(ascii: ","), !inside {
                end()
            } else {
                element.append(byte)
            }
        }
        end()
        return elements
    }
}
