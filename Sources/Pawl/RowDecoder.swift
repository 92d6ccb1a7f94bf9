internal import FoundationEssentials

/// Decodes one row of a result: as a keyed container by column name, or as the value of its only column.
struct RowDecoder: Decoder {
    let values: [String?]
    let shape: RowShape
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    static func decode<Row: Decodable>(_ row: Row.Type, values: [String?], shape: RowShape) throws -> Row {
        let decoder = RowDecoder(values: values, shape: shape)
        // A single column is a value, unless the type asks for columns by name.
        if shape.columns.count == 1, SQLValue.isScalar(row) {
            return try SQLValue(text: values[0], typeOID: shape.columns[0].typeOID, codingPath: []).decode(row)
        }
        return try Row(from: decoder)
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(Columns(values: values, shape: shape))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw DecodingError.typeMismatch(
            [String].self, .init(codingPath: [], debugDescription: "a row has named columns; decode it as a struct with those names"))
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        guard shape.columns.count == 1 else {
            throw DecodingError.typeMismatch(
                String.self, .init(codingPath: [], debugDescription: "a row of \(shape.columns.count) columns is no single value"))
        }
        return SQLValue(text: values[0], typeOID: shape.columns[0].typeOID, codingPath: [])
    }

    private struct Columns<Key: CodingKey>: KeyedDecodingContainerProtocol {
        let values: [String?]
        let shape: RowShape
        var codingPath: [any CodingKey] { [] }
        var allKeys: [Key] { shape.columns.compactMap { Key(stringValue: $0.name) } }

        func contains(_ key: Key) -> Bool { shape.indexes[key.stringValue] != nil }

        private func value(_ key: Key) throws -> SQLValue {
            guard let index = shape.indexes[key.stringValue], index < values.count else {
                throw DecodingError.keyNotFound(key, .init(codingPath: [], debugDescription: "no such column"))
            }
            guard !shape.ambiguous.contains(key.stringValue) else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: [key], debugDescription: "the result has more than one column of that name"))
            }
            return SQLValue(text: values[index], typeOID: shape.columns[index].typeOID, codingPath: [key])
        }

        func decodeNil(forKey key: Key) throws -> Bool { try value(key).decodeNil() }
        func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value { try value(key).decode(type) }
        func nestedContainer<NestedKey: CodingKey>(
            keyedBy type: NestedKey.Type, forKey key: Key
        ) throws -> KeyedDecodingContainer<NestedKey> { try value(key).container(keyedBy: type) }
        func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer { try value(key).unkeyedContainer() }
        func superDecoder() throws -> any Decoder { RowDecoder(values: values, shape: shape) }
        func superDecoder(forKey key: Key) throws -> any Decoder { try value(key) }
    }
}

/// One value of a row in PostgreSQL's text form.
struct SQLValue: Decoder, SingleValueDecodingContainer {
    let text: String?
    /// 0: not known, as of an array's element.
    let typeOID: UInt32
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    private static let jsonOIDs: Set<UInt32> = [114, 3802]

    /// Types that are one value, rather than a row of columns.
    static func isScalar(_ type: any Any.Type) -> Bool {
        type is any LosslessStringConvertible.Type || type == Date.self || type == Decimal.self || type == UUID.self || type == Data.self
            || type == JSONValue.self || type is any SQLOptional.Type || type is any SQLArray.Type
    }

    func decodeNil() -> Bool { text == nil }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if let optional = type as? any SQLOptional.Type {
            guard text != nil else { return optional.none as! Value }  // an Optional's own nil
            return try optional.decode(from: self) as! Value  // and its own value
        }
        guard let text else {
            throw DecodingError.valueNotFound(type, .init(codingPath: codingPath, debugDescription: "NULL"))
        }
        let value: Any?
        switch type {
        case is String.Type: value = text
        case is Bool.Type: value = text == "t" || text == "true" ? true : text == "f" || text == "false" ? false : nil
        case is Date.Type: value = Timestamp.date(from: text)
        case is UUID.Type: value = UUID(uuidString: text)
        case is Decimal.Type: value = text.utf8.allSatisfy(SQLValue.isNumeric) ? Decimal(string: text) : nil
        case is Data.Type: value = text.hasPrefix("\\x") ? Data(hex: text.utf8.dropFirst(2)) : nil
        case let number as any (FixedWidthInteger & LosslessStringConvertible).Type: value = number.init(text)
        case is Double.Type: value = Double(text)
        case is Float.Type: value = Float(text)
        default:
            if SQLValue.jsonOIDs.contains(typeOID) { return try decodeJSON(type, text) }
            return try Value(from: self)
        }
        guard let value = value as? Value else {
            throw DecodingError.typeMismatch(type, .init(codingPath: codingPath, debugDescription: "the value is no \(type)"))
        }
        return value
    }

    private static func isNumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"),
            UInt8(ascii: "E"):
            true
        default: false
        }
    }

    /// A `json` or `jsonb` column as any Decodable type; errors keep the column in their path.
    private func decodeJSON<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
        do {
            return try PayloadCoding.decode(type, from: Data(text.utf8))
        } catch {
            let (path, sentence) = PayloadCoding.problem(error)
            throw DecodingError.dataCorrupted(
                .init(codingPath: codingPath, debugDescription: "as JSON, \(path == "$" ? "" : "at ")\(sentence)"))
        }
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        throw DecodingError.typeMismatch(
            [String: String].self, .init(codingPath: codingPath, debugDescription: "only a json or jsonb column decodes as a struct"))
    }

    /// An array column.
    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard let text, let elements = SQLArrayLiteral.elements(of: text) else {
            throw DecodingError.typeMismatch([String].self, .init(codingPath: codingPath, debugDescription: "the value is no array"))
        }
        return SQLArrayContainer(elements: elements, codingPath: codingPath)
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer { self }
}

/// Optional, asked about without knowing what it wraps.
protocol SQLOptional {
    static var none: Self { get }
    static func decode(from value: SQLValue) throws -> Self
}

extension Optional: SQLOptional where Wrapped: Decodable {
    static func decode(from value: SQLValue) throws -> Wrapped? { .some(try value.decode(Wrapped.self)) }
}

/// Array, likewise.
protocol SQLArray {}
extension Array: SQLArray where Element: Decodable {}

/// The elements of an array column, in order.
private struct SQLArrayContainer: UnkeyedDecodingContainer {
    let elements: [String?]
    let codingPath: [any CodingKey]
    var currentIndex = 0
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    init(elements: [String?], codingPath: [any CodingKey]) {
        self.elements = elements
        self.codingPath = codingPath
    }

    private struct Index: CodingKey {
        let intValue: Int?
        var stringValue: String { String(intValue ?? 0) }
        init?(stringValue: String) { nil }
        init(intValue: Int) { self.intValue = intValue }
    }

    private mutating func next() throws -> SQLValue {
        guard !isAtEnd else {
            throw DecodingError.valueNotFound(
                SQLValue.self, .init(codingPath: codingPath, debugDescription: "the array has no more elements"))
        }
        defer { currentIndex += 1 }
        return SQLValue(text: elements[currentIndex], typeOID: 0, codingPath: codingPath + [Index(intValue: currentIndex)])
    }

    mutating func decodeNil() throws -> Bool {
        guard !isAtEnd, elements[currentIndex] == nil else { return false }
        currentIndex += 1
        return true
    }
    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try next().decode(type) }
    mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        try next().container(keyedBy: type)
    }
    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer { try next().unkeyedContainer() }
    mutating func superDecoder() throws -> any Decoder { try next() }
}

/// PostgreSQL's `{a,"b c",NULL,{…}}`.
enum SQLArrayLiteral {
    /// The elements' texts, nested arrays still as literals; nil: no array literal.
    static func elements(of text: String) -> [String?]? {
        var rest = Array(text.utf8)[...]
        // [2:4]={…}: an array that does not start at 1.
        if rest.first == UInt8(ascii: "["), let equals = rest.firstIndex(of: UInt8(ascii: "=")) { rest = rest[(equals + 1)...] }
        guard rest.first == UInt8(ascii: "{"), rest.last == UInt8(ascii: "}"), rest.count >= 2 else { return nil }
        rest = rest.dropFirst().dropLast()
        guard !rest.isEmpty else { return [] }
        var elements: [String?] = []
        var element: [UInt8] = []
        var quoted = false, inQuotes = false, depth = 0
        var position = rest.startIndex
        func end() {
            let text = String(decoding: element, as: UTF8.self)
            elements.append(!quoted && text.utf8.count == 4 && text.uppercased() == "NULL" ? nil : text)
            element = []
            quoted = false
        }
        while position < rest.endIndex {
            let byte = rest[position]
            switch byte {
            case UInt8(ascii: "\\"):
                // Inside a nested array the marks stay, for the next round.
                if depth > 0 { element.append(byte) }
                position += 1
                guard position < rest.endIndex else { return nil }
                element.append(rest[position])
            case UInt8(ascii: "\""):
                inQuotes.toggle()
                quoted = true
                if depth > 0 { element.append(byte) }
            case UInt8(ascii: "{") where !inQuotes:
                depth += 1
                quoted = true
                element.append(byte)
            case UInt8(ascii: "}") where !inQuotes:
                depth -= 1
                guard depth >= 0 else { return nil }
                element.append(byte)
            case UInt8(ascii: ",") where !inQuotes && depth == 0:
                end()
            default:
                element.append(byte)
            }
            position += 1
        }
        guard !inQuotes, depth == 0 else { return nil }
        end()
        return elements
    }
}
