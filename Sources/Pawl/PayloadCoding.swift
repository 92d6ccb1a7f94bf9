internal import FoundationEssentials

/// Swift values as the JSON that PostgreSQL stores: what `to_jsonb` writes can be read, and what is written reads well in SQL.
///
/// Dates are ISO 8601 in UTC with microseconds; `Data` is base64, and hex (`\x…`) is read too; not-a-number and infinities are strings.
enum PayloadCoding {
    static let null = Data("null".utf8)

    private static let encoder: JSONEncoder = {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .withoutEscapingSlashes
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(try Timestamp.text(of: date))
        }
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        return encoder
    }()

    private static let decoder: JSONDecoder = {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let date = Timestamp.date(from: text) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "is no date in ISO 8601")
            }
            return date
        }
        decoder.dataDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            guard let data = text.hasPrefix("\\x") ? Data(hex: text.utf8.dropFirst(2)) : Data(base64Encoded: text) else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "is neither base64 nor hex after \\x")
            }
            return data
        }
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
        return decoder
    }()

    static func encode(_ value: some Encodable) throws -> Data {
        // Without the coder's machinery for what most steps return.
        switch value {
        case is Nothing: return null
        case let value as Int: return Data(String(value).utf8)
        case let value as Bool: return Data((value ? "true" : "false").utf8)
        default: return try encoder.encode(value)
        }
    }

    /// The same bytes for the same value, so that a replay has an equal failure.
    static func encode(sorted value: JSONValue) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        return try encoder.encode(value)
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from json: Data) throws -> Value {
        try decoder.decode(type, from: json)
    }

    /// What a replay will make of `recorded`. Values that come back as they are need no detour.
    static func readBack<Value: Codable>(_ value: Value, from recorded: Data) throws -> Value {
        if value is Nothing || value is Int || value is Bool || value is String { return value }
        do {
            return try decode(Value.self, from: recorded)
        } catch {
            throw WorkflowFailure(
                code: "bad_result", message: "the result does not decode as the \(Value.self) that it is: \(problem(error).sentence)")
        }
    }

    static func decodeInput<Input: Decodable>(_ type: Input.Type, from json: Data) throws -> Input {
        do {
            return try decode(type, from: json.isEmpty ? null : json)
        } catch {
            let (path, sentence) = problem(error)
            throw WorkflowFailure(
                code: "bad_input", type: String(describing: type), message: "the input is no \(type): \(sentence)",
                detail: try? encode(["path": path]))
        }
    }

    static func encodeOutput(_ output: some Encodable) throws -> Data {
        do {
            return try encode(output)
        } catch {
            throw WorkflowFailure(code: "bad_output", message: "the output cannot be written as JSON: \(problem(error).sentence)")
        }
    }

    /// A result that an earlier run recorded.
    static func decodeRecorded<Value: Decodable>(_ type: Value.Type, from json: Data, step: String) throws -> Value {
        do {
            return try decode(type, from: json)
        } catch {
            throw WorkflowMisuse(
                code: "determinism",
                message: "step \"\(step)\" has a recorded result that is no \(type): \(problem(error).sentence); "
                    + "give a step a new name, or the workflow a new version, when its result changes")
        }
    }

    /// A value that came from outside the workflow (a message, an event, a child's output): what does not fit is a failure that the handler may catch.
    static func decodeReceived<Value: Decodable>(_ type: Value.Type, from json: Data, code: String, what: String) throws -> Value {
        do {
            return try decode(type, from: json)
        } catch {
            let (path, sentence) = problem(error)
            throw WorkflowFailure(
                code: code, type: String(describing: type), message: "\(what) is no \(type): \(sentence)", detail: try? encode(["path": path]))
        }
    }

    /// A value on its way out of the workflow.
    static func encodeSent(_ value: some Encodable, what: String) throws -> Data {
        do {
            return try encode(value)
        } catch {
            throw WorkflowFailure(code: "bad_value", message: "\(what) cannot be written as JSON: \(problem(error).sentence)")
        }
    }

    /// Where in the JSON a coding error is, and what it is.
    static func problem(_ error: any Error) -> (path: String, sentence: String) {
        switch error {
        case DecodingError.keyNotFound(let key, let context):
            let path = jsonPath(context.codingPath + [key])
            return (path, "\(path) is missing")
        case DecodingError.valueNotFound(let type, let context):
            let path = jsonPath(context.codingPath)
            return (path, "\(path) is null where a \(type) is needed")
        case DecodingError.typeMismatch(_, let context), DecodingError.dataCorrupted(let context):
            let path = jsonPath(context.codingPath)
            return (path, "\(path): \(context.debugDescription)")
        case EncodingError.invalidValue(_, let context):
            let path = jsonPath(context.codingPath)
            return (path, "\(path): \(context.debugDescription)")
        default:
            return ("$", String(describing: error))
        }
    }

    /// `$.items[2].quantity`
    static func jsonPath(_ codingPath: [any CodingKey]) -> String {
        codingPath.reduce(into: "$") { path, key in
            if let index = key.intValue {
                path += "[\(index)]"
            } else if !key.stringValue.isEmpty, key.stringValue.utf8.allSatisfy({ $0 >= 0x80 || $0.isWord }) {
                path += ".\(key.stringValue)"
            } else {
                path += "[\(String(decoding: CallArguments.quoted(key.stringValue), as: UTF8.self))]"
            }
        }
    }
}

extension UInt8 {
    fileprivate var isWord: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

extension Data {
    /// nil: an odd number of digits, or something else among them.
    init?(hex digits: some Sequence<UInt8>) {
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in digits {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        guard high == nil else { return nil }
        self.init(bytes)
    }

    var hex: String {
        var text = ""
        text.reserveCapacity(count * 2)
        for byte in self {
            if byte < 16 { text += "0" }
            text += String(byte, radix: 16)
        }
        return text
    }
}
