/// The element types that binary arrays are made of.
package enum ElementType: UInt32, Sendable {
    case bool = 16, int8 = 20, int4 = 23, text = 25, timestamptz = 1184, jsonb = 3802
}

/// The parameters of one statement in PostgreSQL's binary form, in one buffer that is kept from use to use.
package struct ParameterBuffer {
    private(set) var bytes: [UInt8] = []
    /// Where each parameter ends; negative: it is NULL.
    private(set) var ends: [Int] = []

    package init() {}

    package mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        // One huge value must not stay for ever.
        if bytes.capacity > 16 << 20 { bytes = [] }
    }

    package var count: Int { ends.count }

    private mutating func close() { ends.append(bytes.count) }

    package mutating func addNull() { ends.append(-1 - bytes.count) }

    package mutating func add(_ value: Bool) {
        bytes.append(value ? 1 : 0)
        close()
    }

    package mutating func add(_ value: Int32) {
        bytes.append(bigEndian: value)
        close()
    }

    package mutating func add(_ value: Int64) {
        bytes.append(bigEndian: value)
        close()
    }

    package mutating func add(_ value: String) {
        bytes.append(contentsOf: value.utf8)
        close()
    }

    package mutating func add(_ value: UUIDBytes) {
        bytes.append(contentsOf: value.bytes)
        close()
    }

    /// `jsonb` from JSON text, or NULL.
    package mutating func add(json value: [UInt8]?) {
        guard let value else { return addNull() }
        bytes.append(1)
        bytes.append(contentsOf: value)
        close()
    }

    /// A one-dimensional array. `fill` appends the elements; how many is counted.
    package mutating func addArray(of type: ElementType, _ fill: (inout ArrayElements) -> Void) {
        let start = bytes.count
        var elements = ArrayElements(bytes: [], type: type)
        swap(&elements.bytes, &bytes)
        elements.bytes.append(contentsOf: repeatElement(0, count: 20))
        fill(&elements)
        swap(&elements.bytes, &bytes)
        if elements.count == 0 {
            bytes.removeLast(8)
        } else {
            bytes.put(UInt32(1), at: start)
            bytes.put(UInt32(truncatingIfNeeded: elements.count), at: start + 12)
            bytes.put(UInt32(1), at: start + 16)
        }
        bytes.put(UInt32(elements.hasNulls ? 1 : 0), at: start + 4)
        bytes.put(type.rawValue, at: start + 8)
        close()
    }

    package mutating func addArray(_ values: [String]) {
        addArray(of: .text) { elements in for value in values { elements.append(value) } }
    }

    package mutating func addArray(_ values: [Int32]) {
        addArray(of: .int4) { elements in for value in values { elements.append(value) } }
    }
}

/// The inside of an array parameter while it is being filled.
package struct ArrayElements {
    fileprivate var bytes: [UInt8]
    fileprivate(set) package var count = 0
    fileprivate var hasNulls = false
    private let type: ElementType

    fileprivate init(bytes: [UInt8], type: ElementType) {
        self.bytes = bytes
        self.type = type
    }

    private mutating func open(_ length: Int) {
        bytes.append(bigEndian: Int32(truncatingIfNeeded: length))
        count += 1
    }

    package mutating func appendNull() {
        open(-1)
        hasNulls = true
    }

    package mutating func append(_ value: Bool) {
        open(1)
        bytes.append(value ? 1 : 0)
    }

    package mutating func append(_ value: Int32) {
        open(4)
        bytes.append(bigEndian: value)
    }

    package mutating func append(_ value: Int64) {
        open(8)
        bytes.append(bigEndian: value)
    }

    package mutating func append(_ value: String) {
        let utf8 = value.utf8
        open(utf8.count)
        bytes.append(contentsOf: utf8)
    }

    /// A `jsonb` element from JSON text.
    package mutating func append(json value: [UInt8]) {
        open(value.count + 1)
        bytes.append(1)
        bytes.append(contentsOf: value)
    }

    /// A `timestamptz` from microseconds since 1970-01-01T00:00:00Z.
    package mutating func append(microseconds value: Int64) { append(value &- PostgresEpoch.microseconds) }
}

extension [UInt8] {
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    fileprivate mutating func put(_ value: UInt32, at offset: Int) {
        for index in 0..<4 { self[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index)) }
    }
}

/// A `uuid`.
package struct UUIDBytes: Hashable, Sendable, CustomStringConvertible {
    package let bytes: [UInt8]

    /// Version 4, from the system's generator.
    package static func random() -> UUIDBytes {
        var bytes = [UInt8](repeating: 0, count: 16)
        for index in bytes.indices { bytes[index] = UInt8.random(in: .min ... .max) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        return UUIDBytes(bytes: bytes)
    }

    package var description: String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text.append(UInt8(ascii: "-")) }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }
}
