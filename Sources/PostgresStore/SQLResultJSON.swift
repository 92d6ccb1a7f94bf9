import PostgresClient

/// The JSON object that `pawl_plugin.h` promises for the result of SQL.
enum SQLResultJSON {
    static func encode(_ result: PostgresResult) -> [UInt8] {
        var json: [UInt8] = []
        json.reserveCapacity(64 + result.rowCount * (result.columnCount * 12 + 4))
        json.append(contentsOf: "{\"columns\": [".utf8)
        for column in 0..<result.columnCount {
            if column > 0 { json.append(contentsOf: ", ".utf8) }
            json.append(UInt8(ascii: "["))
            append(result.columnName(column), to: &json)
            json.append(contentsOf: ", ".utf8)
            json.append(contentsOf: String(result.columnType(column)).utf8)
            json.append(UInt8(ascii: "]"))
        }
        json.append(contentsOf: "], \"rows\": [".utf8)
        for row in 0..<result.rowCount {
            if row > 0 { json.append(contentsOf: ", ".utf8) }
            json.append(UInt8(ascii: "["))
            for column in 0..<result.columnCount {
                if column > 0 { json.append(contentsOf: ", ".utf8) }
                if result.isNull(row, column) {
                    json.append(contentsOf: "null".utf8)
                } else {
                    append(result.bytes(row, column), to: &json)
                }
            }
            json.append(UInt8(ascii: "]"))
        }
        json.append(contentsOf: "], \"affected\": ".utf8)
        json.append(contentsOf: String(result.affectedRows).utf8)
        json.append(UInt8(ascii: "}"))
        return json
    }

    /// A JSON string of UTF-8 text: runs of plain bytes are copied whole.
    static func append(_ text: UnsafeRawBufferPointer, to json: inout [UInt8]) {
        json.append(UInt8(ascii: "\""))
        var plain = 0
        for (index, byte) in text.enumerated() where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            json.append(contentsOf: text[plain..<index])
            plain = index + 1
            json.append(UInt8(ascii: "\\"))
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): json.append(byte)
            case 0x0A: json.append(UInt8(ascii: "n"))
            case 0x0D: json.append(UInt8(ascii: "r"))
            case 0x09: json.append(UInt8(ascii: "t"))
            default:
                json.append(contentsOf: "u00".utf8)
                json.append(hexadecimal[Int(byte >> 4)])
                json.append(hexadecimal[Int(byte & 15)])
            }
        }
        json.append(contentsOf: text[plain...])
        json.append(UInt8(ascii: "\""))
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)
}
