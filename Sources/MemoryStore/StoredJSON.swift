package import WorkflowEngine

/// A JSON value as jsonb keeps it: members without order or repeats, numbers as they were written.
package enum StoredJSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(String)
    case string(String)
    case array([StoredJSON])
    case object([String: StoredJSON])

    /// nil: the bytes are not one JSON value.
    package init?(_ bytes: JSONBytes) {
        var parser = Parser(bytes: bytes)
        guard let value = parser.value(depth: 0), parser.next() == nil else { return nil }
        self = value
    }

    package init?(_ text: String) { self.init(Array(text.utf8)) }

    package static func integer(_ value: some BinaryInteger) -> StoredJSON { .number("\(value)") }

    /// nil: it is no object, or has no such member, or that is null.
    package subscript(_ key: String) -> StoredJSON? {
        guard case .object(let members) = self, let value = members[key], value != .null else { return nil }
        return value
    }

    package var text: String? { if case .string(let text) = self { text } else { nil } }
    package var integer: Int64? { if case .number(let text) = self { Int64(text) } else { nil } }
    package var double: Double? { if case .number(let text) = self { Double(text) } else { nil } }
    package var boolean: Bool? { if case .bool(let value) = self { value } else { nil } }
    package var array: [StoredJSON]? { if case .array(let values) = self { values } else { nil } }
    package var object: [String: StoredJSON]? { if case .object(let members) = self { members } else { nil } }

    /// As jsonb writes it: shorter keys first, a space after each comma and colon.
    package var bytes: JSONBytes {
        var bytes = JSONBytes()
        write(to: &bytes)
        return bytes
    }

    package var description: String { String(decoding: bytes, as: UTF8.self) }

    private func write(to bytes: inout JSONBytes) {
        switch self {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let text): bytes.append(contentsOf: text.utf8)
        case .string(let text): Self.write(text, to: &bytes)
        case .array(let values):
            bytes.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(contentsOf: ", ".utf8) }
                value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            let keys = members.keys.sorted {
                ($0.utf8.count, $0).0 == ($1.utf8.count, $1).0 ? $0.utf8.lexicographicallyPrecedes($1.utf8) : $0.utf8.count < $1.utf8.count
            }
            for (index, key) in keys.enumerated() {
                if index > 0 { bytes.append(contentsOf: ", ".utf8) }
                Self.write(key, to: &bytes)
                bytes.append(contentsOf: ": ".utf8)
                members[key]!.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to bytes: inout JSONBytes) {
        bytes.append(UInt8(ascii: "\""))
        for unit in text.utf8 {
            switch unit {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), unit])
            case 0..<0x20:
                let digits = String(unit, radix: 16)
                bytes.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
            default: bytes.append(unit)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private struct Parser {
        let bytes: JSONBytes
        var index = 0

        /// The next byte that is not white space.
        mutating func next() -> UInt8? {
            while index < bytes.count {
                switch bytes[index] {
                case 0x20, 0x09, 0x0A, 0x0D: index += 1
                default: return bytes[index]
                }
            }
            return nil
        }

        private mutating func take(_ byte: Character) -> Bool {
            guard next() == byte.asciiValue else { return false }
            index += 1
            return true
        }

        mutating func value(depth: Int) -> StoredJSON? {
            guard depth < 1000, let first = next() else { return nil }
            switch first {
            case UInt8(ascii: "{"):
                index += 1
                var members: [String: StoredJSON] = [:]
                if take("}") { return .object(members) }
                repeat {
                    guard next() == UInt8(ascii: "\""), let key = string(), take(":"), let value = value(depth: depth + 1) else { return nil }
                    members[key] = value
                } while take(",")
                return take("}") ? .object(members) : nil
            case UInt8(ascii: "["):
                index += 1
                var values: [StoredJSON] = []
                if take("]") { return .array(values) }
                repeat {
                    guard let value = value(depth: depth + 1) else { return nil }
                    values.append(value)
                } while take(",")
                return take("]") ? .array(values) : nil
            case UInt8(ascii: "\""): return string().map { .string($0) }
            default:
                let start = index
                while index < bytes.count, !Array(" \t\n\r,]}".utf8).contains(bytes[index]) { index += 1 }
                let word = String(decoding: bytes[start..<index], as: UTF8.self)
                switch word {
                case "null": return .null
                case "true": return .bool(true)
                case "false": return .bool(false)
                default: return Double(word) == nil ? nil : .number(word)
                }
            }
        }

        private mutating func string() -> String? {
            index += 1
            var plain: [UInt8] = []
            while index < bytes.count {
                let byte = bytes[index]
                index += 1
                switch byte {
                case UInt8(ascii: "\""): return String(decoding: plain, as: UTF8.self)
                case UInt8(ascii: "\\"):
                    guard index < bytes.count else { return nil }
                    let escape = bytes[index]
                    index += 1
                    switch escape {
                    case UInt8(ascii: "b"): plain.append(0x08)
                    case UInt8(ascii: "f"): plain.append(0x0C)
                    case UInt8(ascii: "n"): plain.append(0x0A)
                    case UInt8(ascii: "r"): plain.append(0x0D)
                    case UInt8(ascii: "t"): plain.append(0x09)
                    case UInt8(ascii: "u"):
                        guard var units = unit().map({ [$0] }) else { return nil }
                        if UTF16.isLeadSurrogate(units[0]), index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u") {
                            index += 2
                            guard let trail = unit() else { return nil }
                            units.append(trail)
                        }
                        plain.append(contentsOf: String(decoding: units, as: UTF16.self).utf8)
                    default: plain.append(escape)
                    }
                default: plain.append(byte)
                }
            }
            return nil
        }

        private mutating func unit() -> UInt16? {
            guard index + 4 <= bytes.count else { return nil }
            defer { index += 4 }
            return UInt16(String(decoding: bytes[index..<index + 4], as: UTF8.self), radix: 16)
        }
    }
}

extension WorkflowError {
    package var json: StoredJSON { StoredJSON(encoded()) ?? .null }
}
