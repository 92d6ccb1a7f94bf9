internal import FoundationEssentials

/// What the host answers to SQL: `{"columns": [["id", 20], …], "rows": [["1", null], …], "affected": 2}`, values in PostgreSQL's text form.
struct SQLResult: Decodable {
    struct Column: Decodable {
        let name: String
        let typeOID: UInt32

        init(from decoder: any Decoder) throws {
            var container = try decoder.unkeyedContainer()
            name = try container.decode(String.self)
            typeOID = try container.decode(UInt32.self)
        }
    }

    let columns: [Column]
    let affected: Int
    private let rows: [[String?]]

    init(json: Data) throws {
        do {
            self = try PayloadCoding.decode(SQLResult.self, from: json)
        } catch {
            throw WorkflowMisuse(
                code: "unknown_answer",
                message: "the host answered SQL in a form this SDK does not know: \(PayloadCoding.problem(error).sentence)")
        }
    }

    func rows<Row: Decodable>(as row: Row.Type) throws -> [Row] {
        let shape = RowShape(columns)
        return try rows.enumerated().map { index, values in
            do {
                return try RowDecoder.decode(row, values: values, shape: shape)
            } catch let error as DecodingError {
                throw WorkflowFailure(
                    code: "bad_row", message: "row \(index + 1) of the result is no \(row): \(PayloadCoding.problem(error).sentence)")
            }
        }
    }
}

/// The columns of a result, found by name.
struct RowShape {
    let columns: [SQLResult.Column]
    let indexes: [String: Int]
    let ambiguous: Set<String>

    init(_ columns: [SQLResult.Column]) {
        self.columns = columns
        var indexes: [String: Int] = [:], ambiguous: Set<String> = []
        for (index, column) in columns.enumerated() where indexes.updateValue(index, forKey: column.name) != nil {
            ambiguous.insert(column.name)
        }
        self.indexes = indexes
        self.ambiguous = ambiguous
    }
}
