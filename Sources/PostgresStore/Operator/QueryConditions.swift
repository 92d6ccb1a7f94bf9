/// What narrows a query, and the parameters $1, $2… that it names.
struct QueryConditions {
    private(set) var all: [String] = []
    private(set) var parameters: [String?] = []

    var sql: String { all.joined(separator: " AND ") }

    /// - Parameters:
    ///   - value: nil does not narrow.
    ///   - condition: made with the name of the parameter.
    mutating func add(_ value: String?, _ condition: (String) -> String) {
        guard let value else { return }
        parameters.append(value)
        all.append(condition("$\(parameters.count)"))
    }
}
