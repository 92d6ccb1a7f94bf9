/// Why a payload cannot be stored.
package struct PayloadProblem: Sendable, Equatable {
    /// `payload_invalid` or `payload_too_large`.
    package var code: String
    /// What is wrong, without the subject: "invalid UTF-8 at $.items[3].name (byte 17)".
    package var reason: String
}

/// Decides whether jsonb will take a payload, so that no row of a shared write can fail: UTF-8, one JSON value, no U+0000 and no lone
/// surrogate, numbers that `numeric` holds, at most 512 levels, at most the size limit.
package enum PayloadCheck {
    package static let maximumDepth = 512

    /// nil: it can be stored.
    package static func problem(in bytes: JSONBytes, limit: Int) -> PayloadProblem? {
        if bytes.count > limit {
            return PayloadProblem(code: "payload_too_large", reason: "it has \(bytes.count) bytes, and the limit (pawl.max_payload) is \(limit)")
        }
        let failure = bytes.withUnsafeBufferPointer { buffer -> PayloadScanner.Failure? in
            var scanner = PayloadScanner(bytes: buffer, limit: limit)
            return scanner.scan()
        }
        guard let failure else { return nil }
        if failure.reason == .expandsTooMuch {
            return PayloadProblem(
                code: "payload_too_large",
                reason: "written out, its numbers make it larger than the limit (pawl.max_payload) of \(limit) bytes: the last one is at "
                    + "\(JSONPath.text(in: bytes, at: failure.offset))")
        }
        return PayloadProblem(
            code: "payload_invalid",
            reason: "\(failure.reason.rawValue) at \(JSONPath.text(in: bytes, at: failure.offset)) (byte \(failure.offset))")
    }
}

/// One pass over a JSON text without recursion or allocation.
struct PayloadScanner {
    enum Reason: String {
        case empty = "no JSON value"
        case end = "the text ends too early"
        case syntax = "not JSON"
        case trailing = "something follows the JSON value"
        case utf8 = "invalid UTF-8"
        case control = "an unescaped control character"
        case escape = "an unknown escape"
        case nul = "U+0000, which jsonb cannot hold,"
        case surrogate = "a lone surrogate"
        case number = "a number that numeric cannot hold"
        case depth = "nesting deeper than 512 levels"
        case expandsTooMuch
    }
    struct Failure: Error {
        var reason: Reason
        var offset: Int
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private let limit: Int
    private var index = 0
    private var depth = 0
    /// One bit for each open container: set for an object.
    private var isObject = InlineArray<8, UInt64>(repeating: 0)
    /// Digits that numbers such as 1e100000 gain when they are written out.
    private var expansion = 0

    init(bytes: UnsafeBufferPointer<UInt8>, limit: Int) {
        self.bytes = bytes
        self.limit = limit
    }

    mutating func scan() -> Failure? {
        do throws(Failure) {
            skipWhitespace()
            if index == bytes.count { throw Failure(reason: .empty, offset: index) }
            try document()
            return nil
        } catch {
            return error
        }
    }

    private mutating func document() throws(Failure) {
        while true {
            if try value() { continue }
            // A value is complete: close what it closes, then go on to the next one.
            while true {
                skipWhitespace()
                if depth == 0 {
                    if index < bytes.count { throw Failure(reason: .trailing, offset: index) }
                    return
                }
                let next = try byte()
                if next == UInt8(ascii: ",") {
                    index += 1
                    if innermostIsObject { try key() }
                    break
                }
                guard next == (innermostIsObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else { throw Failure(reason: .syntax, offset: index) }
                index += 1
                depth -= 1
            }
        }
    }

    /// True: a container was opened and its first value comes next.
    private mutating func value() throws(Failure) -> Bool {
        skipWhitespace()
        switch try byte() {
        case UInt8(ascii: "\""): try string()
        case UInt8(ascii: "{"):
            try open(object: true)
            skipWhitespace()
            if try byte() == UInt8(ascii: "}") {
                index += 1
                depth -= 1
            } else {
                try key()
                return true
            }
        case UInt8(ascii: "["):
            try open(object: false)
            skipWhitespace()
            if try byte() == UInt8(ascii: "]") {
                index += 1
                depth -= 1
            } else {
                return true
            }
        case UInt8(ascii: "t"): try literal("true")
        case UInt8(ascii: "f"): try literal("false")
        case UInt8(ascii: "n"): try literal("null")
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): try number()
        default: throw Failure(reason: .syntax, offset: index)
        }
        return false
    }

    private mutating func key() throws(Failure) {
        skipWhitespace()
        guard try byte() == UInt8(ascii: "\"") else { throw Failure(reason: .syntax, offset: index) }
        try string()
        skipWhitespace()
        guard try byte() == UInt8(ascii: ":") else { throw Failure(reason: .syntax, offset: index) }
        index += 1
    }

    private mutating func open(object: Bool) throws(Failure) {
        if depth == PayloadCheck.maximumDepth { throw Failure(reason: .depth, offset: index) }
        let bit = UInt64(1) << UInt64(depth & 63)
        if object { isObject[depth >> 6] |= bit } else { isObject[depth >> 6] &= ~bit }
        depth += 1
        index += 1
    }

    private var innermostIsObject: Bool { isObject[(depth - 1) >> 6] & (1 << UInt64((depth - 1) & 63)) != 0 }

    private func byte() throws(Failure) -> UInt8 {
        if index >= bytes.count { throw Failure(reason: .end, offset: index) }
        return bytes[index]
    }

    private mutating func skipWhitespace() {
        while index < bytes.count {
            switch bytes[index] {
            case 0x20, 0x09, 0x0A, 0x0D: index += 1
            default: return
            }
        }
    }

    private mutating func literal(_ word: StaticString) throws(Failure) {
        for offset in 0..<word.utf8CodeUnitCount {
            guard try byte() == word.utf8Start[offset] else { throw Failure(reason: .syntax, offset: index) }
            index += 1
        }
    }

    private mutating func string() throws(Failure) {
        index += 1
        while true {
            let unit = try byte()
            switch unit {
            case UInt8(ascii: "\""):
                index += 1
                return
            case UInt8(ascii: "\\"): try escape()
            case 0..<0x20: throw Failure(reason: unit == 0 ? .nul : .control, offset: index)
            case 0x20..<0x80: index += 1
            default: try multibyte(unit)
            }
        }
    }

    /// Well-formed UTF-8 as in table 3-7 of the Unicode standard.
    private mutating func multibyte(_ lead: UInt8) throws(Failure) {
        let count: Int
        var second: ClosedRange<UInt8> = 0x80...0xBF
        switch lead {
        case 0xC2...0xDF: count = 1
        case 0xE0: (count, second) = (2, 0xA0...0xBF)
        case 0xE1...0xEC, 0xEE...0xEF: count = 2
        case 0xED: (count, second) = (2, 0x80...0x9F)
        case 0xF0: (count, second) = (3, 0x90...0xBF)
        case 0xF1...0xF3: count = 3
        case 0xF4: (count, second) = (3, 0x80...0x8F)
        default: throw Failure(reason: .utf8, offset: index)
        }
        guard index + count < bytes.count, second.contains(bytes[index + 1]) else { throw Failure(reason: .utf8, offset: index) }
        for offset in stride(from: 2, through: count, by: 1) where bytes[index + offset] & 0xC0 != 0x80 {
            throw Failure(reason: .utf8, offset: index)
        }
        index += count + 1
    }

    private mutating func escape() throws(Failure) {
        let start = index
        index += 1
        switch try byte() {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"), UInt8(ascii: "n"),
            UInt8(ascii: "r"), UInt8(ascii: "t"):
            index += 1
        case UInt8(ascii: "u"):
            index += 1
            let unit = try hexadecimal()
            if unit == 0 { throw Failure(reason: .nul, offset: start) }
            if unit & 0xFC00 == 0xDC00 { throw Failure(reason: .surrogate, offset: start) }
            if unit & 0xFC00 == 0xD800 {
                guard index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u") else {
                    throw Failure(reason: .surrogate, offset: start)
                }
                index += 2
                if try hexadecimal() & 0xFC00 != 0xDC00 { throw Failure(reason: .surrogate, offset: start) }
            }
        default: throw Failure(reason: .escape, offset: start)
        }
    }

    private mutating func hexadecimal() throws(Failure) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            let digit = try byte()
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): unit = unit << 4 | UInt32(digit &- UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): unit = unit << 4 | UInt32(digit &- UInt8(ascii: "a") &+ 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): unit = unit << 4 | UInt32(digit &- UInt8(ascii: "A") &+ 10)
            default: throw Failure(reason: .escape, offset: index)
            }
            index += 1
        }
        return unit
    }

    private mutating func digits() throws(Failure) -> Range<Int> {
        let start = index
        while index < bytes.count, case UInt8(ascii: "0")...UInt8(ascii: "9") = bytes[index] { index += 1 }
        if index == start {
            _ = try byte()
            throw Failure(reason: .syntax, offset: index)
        }
        return start..<index
    }

    private mutating func number() throws(Failure) {
        let start = index
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        let whole: Range<Int>
        if try byte() == UInt8(ascii: "0") {
            whole = index..<index + 1
            index += 1
        } else {
            whole = try digits()
        }
        var fraction = index..<index
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") {
            index += 1
            fraction = try digits()
        }
        var exponent = 0
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            var negative = false
            if index < bytes.count, bytes[index] == UInt8(ascii: "-") || bytes[index] == UInt8(ascii: "+") {
                negative = bytes[index] == UInt8(ascii: "-")
                index += 1
            }
            for position in try digits() { exponent = min(exponent * 10 + Int(bytes[position] &- UInt8(ascii: "0")), 4_000_000_000) }
            if negative { exponent = -exponent }
        }
        if index - start > 1000 || exponent != 0 {
            try checkRange(start: start, whole: whole, fraction: fraction, exponent: exponent)
        }
    }

    /// The limits of numeric: exponents below 2^30, 131,072 digits before the point, 16,383 after it.
    private mutating func checkRange(start: Int, whole: Range<Int>, fraction: Range<Int>, exponent: Int) throws(Failure) {
        let scale = max(0, fraction.count - exponent)
        var wholeDigits = 1
        if let first = whole.first(where: { bytes[$0] != UInt8(ascii: "0") }) {
            wholeDigits = whole.upperBound - first + exponent
        } else if let first = fraction.first(where: { bytes[$0] != UInt8(ascii: "0") }) {
            wholeDigits = fraction.lowerBound - first + exponent
        }
        if abs(exponent) >= 1_073_741_823 || wholeDigits > 131_072 || scale > 16_383 { throw Failure(reason: .number, offset: start) }
        expansion += max(0, max(wholeDigits, 1) + scale - (index - start))
        if bytes.count + expansion > limit { throw Failure(reason: .expandsTooMuch, offset: start) }
    }
}
