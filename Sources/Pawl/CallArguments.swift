internal import FoundationEssentials

/// The JSON object that a durable call is given, written member by member so that payloads go in as they were encoded. A nil member is left out.
struct CallArguments: Sendable {
    private var bytes: [UInt8] = [UInt8(ascii: "{")]

    init() {}

    init(kind: String) { add("kind", CallArguments.quoted(kind)) }

    func text(_ key: String, _ value: String?) -> CallArguments { value.map { adding(key, CallArguments.quoted($0)) } ?? self }
    func integer(_ key: String, _ value: Int?) -> CallArguments { value.map { adding(key, String($0).utf8) } ?? self }
    func flag(_ key: String, _ value: Bool) -> CallArguments { value ? adding(key, "true".utf8) : self }
    /// Seconds with microseconds; what is negative is 0.
    func seconds(_ key: String, _ value: Duration?) -> CallArguments { value.map { adding(key, $0.secondsText.utf8) } ?? self }
    func json(_ key: String, _ value: Data?) -> CallArguments { value.map { adding(key, $0) } ?? self }
    func texts(_ key: String, _ values: [String]) -> CallArguments {
        adding(key, [UInt8(ascii: "[")] + values.map(CallArguments.quoted).joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "]")])
    }
    func objects(_ key: String, _ values: [CallArguments]) -> CallArguments {
        adding(key, [UInt8(ascii: "[")] + values.map(\.object).joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "]")])
    }

    var object: [UInt8] { bytes + [UInt8(ascii: "}")] }

    private func adding(_ key: String, _ value: some Sequence<UInt8>) -> CallArguments {
        var copy = self
        copy.add(key, value)
        return copy
    }

    private mutating func add(_ key: String, _ value: some Sequence<UInt8>) {
        if bytes.count > 1 { bytes.append(UInt8(ascii: ",")) }
        bytes += CallArguments.quoted(key)
        bytes.append(UInt8(ascii: ":"))
        bytes += value
    }

    static func quoted(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        bytes.reserveCapacity(text.utf8.count + 2)
        for unit in text.utf8 {
            switch unit {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(unit)
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                bytes += "\\u00".utf8
                bytes.append(digits[Int(unit >> 4)])
                bytes.append(digits[Int(unit & 15)])
            default: bytes.append(unit)
            }
        }
        bytes.append(UInt8(ascii: "\""))
        return bytes
    }
}
