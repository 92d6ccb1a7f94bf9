import PostgresClient
import WorkflowEngine

extension WorkflowError {
    /// What a handler sees of an SQL error: the SQLSTATE as code, the server's words, and where they point as detail.
    init(_ error: PostgresError) {
        let code: String =
            switch error.code {
            case .server, .badRequest: error.sqlState ?? "XX000"
            // Every loss is one thing to a handler, whatever the server said on its way down.
            default: "08006"
            }
        self.init(code: code, type: "Pawl.SQL", message: error.message, detail: Self.detail(error))
    }

    private static func detail(_ error: PostgresError) -> JSONBytes? {
        let parts = [("detail", error.detail), ("hint", error.hint), ("schema", error.schema), ("constraint", error.constraint)]
        var json: JSONBytes = []
        for (name, value) in parts {
            guard let value else { continue }
            json.append(contentsOf: json.isEmpty ? "{".utf8 : ", ".utf8)
            json.append(contentsOf: "\"\(name)\": ".utf8)
            let bytes = Array(value.utf8)
            bytes.withUnsafeBytes { SQLResultJSON.append($0, to: &json) }
        }
        guard !json.isEmpty else { return nil }
        json.append(UInt8(ascii: "}"))
        return json
    }
}
