extension WorkflowError {
    /// The error object of the SQL contract, with all its keys. jsonb always takes it, provided that `detail` and `cause` are JSON (see `storable`).
    package func encoded() -> JSONBytes {
        var bytes = JSONBytes()
        bytes.reserveCapacity(160 + message.utf8.count + (detail?.count ?? 0) + (cause?.count ?? 0))
        bytes.append(contentsOf: "{\"code\": ".utf8)
        JSONText.append(code, to: &bytes)
        bytes.append(contentsOf: ", \"type\": ".utf8)
        JSONText.append(type, to: &bytes)
        bytes.append(contentsOf: ", \"message\": ".utf8)
        JSONText.append(message, to: &bytes)
        bytes.append(contentsOf: ", \"step\": ".utf8)
        if let step { JSONText.append(step, to: &bytes) } else { bytes.append(contentsOf: "null".utf8) }
        bytes.append(contentsOf: ", \"attempt\": ".utf8)
        bytes.append(contentsOf: (attempt.map(String.init) ?? "null").utf8)
        bytes.append(contentsOf: ", \"detail\": ".utf8)
        bytes.append(contentsOf: detail ?? Array("null".utf8))
        bytes.append(contentsOf: ", \"cause\": ".utf8)
        bytes.append(contentsOf: cause ?? Array("null".utf8))
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }

    /// An error object as it is stored. Never fails: what somebody recorded by hand, in another shape, becomes an error that carries it as its detail.
    package init(decoding bytes: JSONBytes) {
        let isJSON = PayloadCheck.problem(in: bytes, limit: .max) == nil
        var cursor = JSONCursor(bytes)
        guard isJSON, cursor.peek() == UInt8(ascii: "{") else {
            self.init(
                code: "unknown", type: "unknown", message: "The recorded error is not an error object; its detail is what was recorded.",
                detail: isJSON ? bytes : nil)
            return
        }
        self.init(code: "unknown", type: "unknown", message: "")
        cursor.index += 1
        while let next = cursor.peek(), next != UInt8(ascii: "}") {
            if next == UInt8(ascii: ",") { cursor.index += 1 }
            guard cursor.peek() == UInt8(ascii: "\""), let key = cursor.skipString(), cursor.peek() == UInt8(ascii: ":") else { return }
            cursor.index += 1
            guard let value = cursor.skipValue() else { return }
            let raw = JSONBytes(bytes[value])
            if raw == Array("null".utf8) { continue }
            let text =
                raw.first == UInt8(ascii: "\"")
                ? cursor.unescaped(value.lowerBound + 1..<value.upperBound - 1) : String(decoding: raw, as: UTF8.self)
            switch cursor.unescaped(key) {
            case "code": code = text
            case "type": type = text
            case "message": message = text
            case "step": step = text
            case "attempt": attempt = Int32(text)
            case "detail": detail = raw
            case "cause": cause = raw
            default: break
            }
        }
    }

    /// The same error in a form that can be stored: over-long texts are cut, and a detail or cause that jsonb would refuse is replaced by the reason.
    package func storable(limit: Int) -> WorkflowError {
        var error = self
        error.code = code.isEmpty ? "unknown" : code.prefixOfBytes(128)
        error.type = type.prefixOfBytes(512)
        error.message = message.prefixOfBytes(16_384)
        error.detail = Self.storable(detail, limit: limit / 2)
        error.cause = Self.storable(cause, limit: limit / 4)
        return error
    }

    private static func storable(_ value: JSONBytes?, limit: Int) -> JSONBytes? {
        guard let value, let problem = PayloadCheck.problem(in: value, limit: limit) else { return value }
        return Array("{\"left_out\": ".utf8) + JSONText.string(problem.reason) + Array("}".utf8)
    }
}
