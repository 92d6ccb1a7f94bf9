internal import FoundationEssentials
internal import PostgresStore

/// What a command that asks no database prints with --json. (What is asked of one is printed by `Screen`, under the names of the views.)
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
}

extension Sequence<OperatorRow> {
    /// An array on one line, for a place within an object.
    var json: String { "[" + map(\.json).joined(separator: ", ") + "]" }
}
