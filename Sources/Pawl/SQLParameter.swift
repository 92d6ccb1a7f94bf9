public import FoundationEssentials

/// A value that can stand for `$1`, `$2`, … in SQL. PostgreSQL infers the parameter's type from where it stands; add a cast where it cannot
/// (`$1::date`). `nil` is NULL.
public protocol SQLParameter: Sendable {
    /// The text that PostgreSQL reads, or nil for NULL.
    func sqlText() throws -> String?
    /// The text inside an array literal.
    func sqlArrayElement() throws -> String
}

extension SQLParameter {
    /// Quoted, so that no text is taken for NULL or for the array's own marks.
    public func sqlArrayElement() throws -> String {
        guard let text = try sqlText() else { return "NULL" }
        var quoted = "\""
        for character in text.unicodeScalars {
            if character == "\"" || character == "\\" { quoted += "\\" }
            quoted.unicodeScalars.append(character)
        }
        return quoted + "\""
    }
}

extension String: SQLParameter {
    public func sqlText() throws -> String? {
        // PostgreSQL's text has no U+0000, and its client library would cut the value off there.
        guard !utf8.contains(0) else {
            throw WorkflowFailure(code: "bad_parameter", message: "an SQL parameter contains U+0000, which PostgreSQL cannot store in text")
        }
        return self
    }
}

extension Substring: SQLParameter {
    public func sqlText() throws -> String? { try String(self).sqlText() }
}

extension SQLParameter where Self: BinaryInteger {
    public func sqlText() throws -> String? { String(self) }
}
extension Int: SQLParameter {}
extension Int8: SQLParameter {}
extension Int16: SQLParameter {}
extension Int32: SQLParameter {}
extension Int64: SQLParameter {}
extension UInt: SQLParameter {}
extension UInt8: SQLParameter {}
extension UInt16: SQLParameter {}
extension UInt32: SQLParameter {}
extension UInt64: SQLParameter {}

extension SQLParameter where Self: BinaryFloatingPoint & LosslessStringConvertible {
    public func sqlText() throws -> String? {
        if isNaN { return "NaN" }
        if isInfinite { return self < 0 ? "-Infinity" : "Infinity" }
        return description
    }
}
extension Double: SQLParameter {}
extension Float: SQLParameter {}

extension Bool: SQLParameter {
    public func sqlText() throws -> String? { self ? "true" : "false" }
}

extension Decimal: SQLParameter {
    public func sqlText() throws -> String? { description }
}

extension Date: SQLParameter {
    /// ISO 8601 in UTC, with microseconds.
    public func sqlText() throws -> String? { try Timestamp.text(of: self) }
}

extension UUID: SQLParameter {
    public func sqlText() throws -> String? { uuidString }
}

extension Data: SQLParameter {
    /// The hex form of `bytea`.
    public func sqlText() throws -> String? { "\\x" + hex }
}

extension Array: SQLParameter where Element: SQLParameter {
    /// `{"a","b"}`, or nested for arrays of arrays.
    public func sqlText() throws -> String? { "{" + (try map { try $0.sqlArrayElement() }).joined(separator: ",") + "}" }
    public func sqlArrayElement() throws -> String { try sqlText() ?? "NULL" }
}

extension Optional: SQLParameter where Wrapped: SQLParameter {
    public func sqlText() throws -> String? { try self?.sqlText() }
    public func sqlArrayElement() throws -> String { try self?.sqlArrayElement() ?? "NULL" }
}

/// A value as `json` or `jsonb`. Made by `.json(value)`.
public struct JSONParameter: SQLParameter {
    private let write: @Sendable () throws -> Data

    /// The JSON of `value`.
    public init(_ value: some Encodable & Sendable) {
        write = { try PayloadCoding.encode(value) }
    }

    public func sqlText() throws -> String? { String(decoding: try write(), as: UTF8.self) }
}

// On Optional, because that is what the variadic parameters hold and where an implicit member is looked up.
extension Optional where Wrapped == any SQLParameter {
    /// A value as `json` or `jsonb`: `db.execute("INSERT INTO label VALUES ($1)", .json(label))`.
    public static func json(_ value: some Encodable & Sendable) -> (any SQLParameter)? { JSONParameter(value) }
}
