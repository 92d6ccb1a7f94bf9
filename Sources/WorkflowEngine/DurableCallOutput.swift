/// The recorded output of a wait is `{"value": …}`, or null when its timeout passed: so that a message that is JSON null is a message.
enum DurableCallOutput {
    static func answer(_ kind: StepKind, _ outcome: Outcome) -> CallAnswer {
        switch outcome {
        case .failure(let error): .failure(error)
        case .success(let output) where !kind.isWait || kind == .race: .value(output)
        case .success(let output): value(in: output).map { .value($0) } ?? .none
        }
    }

    /// nil: it is null, or (which the database never records) has no value.
    static func value(in output: JSONBytes) -> JSONBytes? {
        var cursor = JSONCursor(output)
        guard cursor.peek() == UInt8(ascii: "{") else { return nil }
        cursor.index += 1
        while let next = cursor.peek(), next != UInt8(ascii: "}") {
            if next == UInt8(ascii: ",") { cursor.index += 1 }
            guard cursor.peek() == UInt8(ascii: "\""), let key = cursor.skipString(), cursor.peek() == UInt8(ascii: ":") else { return nil }
            cursor.index += 1
            guard cursor.peek() != nil, let value = cursor.skipValue() else { return nil }
            if cursor.unescaped(key) == "value" { return JSONBytes(output[value]) }
        }
        return nil
    }

    /// Whether an alternative of a race is a body that the handler runs: such a run cannot be parked.
    static func racesBody(_ arguments: JSONBytes) -> Bool {
        var inString = false
        var escaped = false
        var packed = JSONBytes()
        packed.reserveCapacity(arguments.count)
        for unit in arguments {
            if !inString, unit == 0x20 || (0x09...0x0D).contains(unit) { continue }
            packed.append(unit)
            if escaped { escaped = false } else if unit == UInt8(ascii: "\\") { escaped = inString } else if unit == UInt8(ascii: "\"") { inString.toggle() }
        }
        // Inside a text the quotes would be escaped.
        let pattern = Array(#""kind":"step""#.utf8)
        guard packed.count >= pattern.count else { return false }
        return (0...packed.count - pattern.count).contains { packed[$0..<$0 + pattern.count].elementsEqual(pattern) }
    }
}
