import PostgresClient

/// What a query answered: objects whose columns keep their order and, in JSON, their names.
package struct OperatorRows: Sendable {
    package var columns: [String]
    package var values: [[OperatorValue]]

    package init(columns: [String], values: [[OperatorValue]]) {
        self.columns = columns
        self.values = values
    }

    init(_ result: PostgresResult) {
        columns = (0..<result.columnCount).map { String(decoding: result.columnName($0), as: UTF8.self) }
        let types = (0..<result.columnCount).map(result.columnType)
        values = (0..<result.rowCount).map { row in
            types.indices.map { result.isNull(row, $0) ? .null : OperatorValue(result.string(row, $0), type: types[$0]) }
        }
    }
}

extension OperatorRows: RandomAccessCollection {
    package var startIndex: Int { 0 }
    package var endIndex: Int { values.count }
    package subscript(position: Int) -> OperatorRow { OperatorRow(columns: columns, values: values[position]) }
}

/// One object.
package struct OperatorRow: Sendable, ExpressibleByDictionaryLiteral {
    package var columns: [String]
    package var values: [OperatorValue]

    package init(columns: [String], values: [OperatorValue]) {
        self.columns = columns
        self.values = values
    }

    /// In the order written.
    package init(dictionaryLiteral elements: (String, OperatorValue)...) {
        self.init(columns: elements.map(\.0), values: elements.map(\.1))
    }

    /// The value of a column; NULL if there is none of that name.
    package subscript(_ column: String) -> OperatorValue {
        columns.firstIndex(of: column).map { values[$0] } ?? .null
    }

    /// It with one more column at its end.
    package func adding(_ column: String, _ value: OperatorValue) -> OperatorRow {
        OperatorRow(columns: columns + [column], values: values + [value])
    }

    /// One line: `{"workflow_id": "order-7", …}`.
    package var json: String {
        "{" + zip(columns, values).map { "\(OperatorValue.quoted($0)): \($1.json)" }.joined(separator: ", ") + "}"
    }
}

extension OperatorRows {
    /// The rows with one column made, or made anew, from each.
    package func with(_ column: String, _ value: (OperatorRow) -> OperatorValue) -> OperatorRows {
        let made = map(value)
        guard let index = columns.firstIndex(of: column) else {
            return OperatorRows(columns: columns + [column], values: zip(values, made).map { $0 + [$1] })
        }
        var rows = self
        for row in rows.values.indices { rows.values[row][index] = made[row] }
        return rows
    }
}
