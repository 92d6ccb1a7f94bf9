/// Writing and reading of JSON texts where the engine itself needs them: error objects and paths.
enum JSONText {
    /// `text` as a JSON string that jsonb takes: U+0000 becomes U+FFFD.
    static func append(_ text: String, to bytes: inout JSONBytes) {
        bytes.append(UInt8(ascii: "\""))
        for unit in text.utf8 {
            switch unit {
            case UInt8(ascii: "\""): bytes.append(contentsOf: [UInt8(ascii: "\\"), unit])
            case UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), unit])
            case 0: bytes.append(contentsOf: "\u{FFFD}".utf8)
            case 1..<0x20:
                let hexadecimal = Array("0123456789abcdef".utf8)
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(hexadecimal[Int(unit >> 4)])
                bytes.append(hexadecimal[Int(unit & 15)])
            default: bytes.append(unit)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    static func string(_ text: String) -> JSONBytes {
        var bytes = JSONBytes()
        append(text, to: &bytes)
        return bytes
    }
}

/// Walks a JSON text that is known to be valid, or valid up to where the walk stops.
struct JSONCursor {
    let bytes: JSONBytes
    var index = 0

    init(_ bytes: JSONBytes) { self.bytes = bytes }

    /// The next byte that is not white space, or nil at the end.
    mutating func peek() -> UInt8? {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x09, 0x0A, 0x0D: index += 1
            default: return bytes[index]
            }
        }
        return nil
    }

    /// Skips a string; the range of its content, quotes excluded, or nil when the text ends inside it.
    mutating func skipString() -> Range<Int>? {
        index += 1
        let start = index
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                index += 1
                return start..<index - 1
            case UInt8(ascii: "\\"): index += 2
            default: index += 1
            }
        }
        return nil
    }

    /// The value that comes next, as it is written.
    mutating func skipValue() -> Range<Int>? {
        guard let first = peek() else { return nil }
        let start = index
        var depth = 0
        switch first {
        case UInt8(ascii: "\""): return skipString().map { start..<$0.upperBound + 1 }
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            while index < bytes.count {
                switch bytes[index] {
                case UInt8(ascii: "\""):
                    if skipString() == nil { return nil }
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 {
                        index += 1
                        return start..<index
                    }
                default: break
                }
                index += 1
            }
            return nil
        default:
            while index < bytes.count, ![0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]")].contains(bytes[index]) {
                index += 1
            }
            return start..<index
        }
    }

    /// The text of a string's content.
    func unescaped(_ range: Range<Int>) -> String {
        var units: [UInt16] = []
        var plain: [UInt8] = []
        var text = ""
        func hexadecimal(at start: Int) -> UInt16 {
            guard start + 4 <= range.upperBound else { return 0xFFFD }
            return UInt16(String(decoding: bytes[start..<start + 4], as: UTF8.self), radix: 16) ?? 0xFFFD
        }
        func flush() {
            if !plain.isEmpty { text += String(decoding: plain, as: UTF8.self) }
            if !units.isEmpty { text += String(decoding: units, as: UTF16.self) }
            plain = []
            units = []
        }
        var position = range.lowerBound
        while position < range.upperBound {
            guard bytes[position] == UInt8(ascii: "\\"), position + 1 < range.upperBound else {
                if !units.isEmpty { flush() }
                plain.append(bytes[position])
                position += 1
                continue
            }
            let escape = bytes[position + 1]
            if escape == UInt8(ascii: "u") {
                if !plain.isEmpty { flush() }
                units.append(hexadecimal(at: position + 2))
                position += 6
                continue
            }
            if !units.isEmpty { flush() }
            switch escape {
            case UInt8(ascii: "b"): plain.append(0x08)
            case UInt8(ascii: "f"): plain.append(0x0C)
            case UInt8(ascii: "n"): plain.append(0x0A)
            case UInt8(ascii: "r"): plain.append(0x0D)
            case UInt8(ascii: "t"): plain.append(0x09)
            default: plain.append(escape)
            }
            position += 2
        }
        flush()
        return text
    }
}

/// Where in a JSON text a byte lies: `$.items[3].name`.
enum JSONPath {
    static func text(in bytes: JSONBytes, at offset: Int) -> String {
        enum Part {
            case key(Range<Int>)
            case index(Int)
        }
        var cursor = JSONCursor(bytes)
        var parts: [Part] = []
        // An object's key is read where a key can stand; everything else moves on by one token.
        var expectsKey = false
        walk: while let next = cursor.peek(), cursor.index < offset {
            switch next {
            case UInt8(ascii: "{"):
                parts.append(.key(0..<0))
                expectsKey = true
                cursor.index += 1
            case UInt8(ascii: "["):
                parts.append(.index(0))
                expectsKey = false
                cursor.index += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                _ = parts.popLast()
                expectsKey = false
                cursor.index += 1
            case UInt8(ascii: ","):
                switch parts.last {
                case .index(let index): parts[parts.count - 1] = .index(index + 1)
                case .key: expectsKey = true
                case nil: break
                }
                cursor.index += 1
            case UInt8(ascii: "\""):
                guard let content = cursor.skipString(), cursor.index <= offset else { break walk }
                if expectsKey, !parts.isEmpty { parts[parts.count - 1] = .key(content) }
                expectsKey = false
            default:
                cursor.index += 1
            }
        }
        var path = "$"
        for part in parts {
            switch part {
            case .index(let index): path += "[\(index)]"
            case .key(let content) where content.isEmpty: continue
            case .key(let content):
                let key = cursor.unescaped(content)
                let isWord = key.utf8.allSatisfy { ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x5F }
                path += isWord ? ".\(key)" : "[\(String(decoding: JSONText.string(key), as: UTF8.self))]"
            }
            if path.utf8.count > 200 { return path.prefixOfBytes(200) + "…" }
        }
        return path
    }
}

extension String {
    /// The longest prefix of whole characters (scalars) within so many bytes of UTF-8.
    func prefixOfBytes(_ limit: Int) -> String {
        if utf8.count <= limit { return self }
        var end = utf8.index(startIndex, offsetBy: limit)
        while end > startIndex, UTF8.isContinuation(utf8[end]) { end = utf8.index(before: end) }
        return String(self[..<end])
    }
}
