import Testing

/// `PostgresStore` is the only Swift that holds SQL; `PostgresClient` knows the commands of a transaction and no more.
@Suite struct SQLPlaceTests {
    static func sql(in file: SourceTree.File) -> [String] {
        let statement = #/\b(?:SELECT|INSERT INTO|DELETE FROM|CALL|TRUNCATE|CREATE TABLE)\s|\bpawl\.[a-z_]+\s*\(\$|\bUPDATE\s+\w[\w.]*\s+SET\b/#
        return file.lines.enumerated().compactMap { index, line in
            let code = line.drop { $0 == " " }
            guard !code.hasPrefix("//"), code.contains(statement) else { return nil }
            return "\(file):\(index + 1): \(code)"
        }
    }

    @Test func onlyTheStoreHoldsSQL() {
        let files = SourceTree.files(below: "Sources", suffix: ".swift").filter { $0.target != "PostgresStore" }
        #expect(files.flatMap(Self.sql) == [])
    }

    @Test func sqlElsewhereIsSeen() {
        let text = #"let a = "SELECT 1""# + "\n    // SELECT in a comment\n" + #"let b = "UPDATE pawl.workflow SET epoch = 1""# + "\nlet select = call(1)\n"
        #expect(Self.sql(in: .init(path: "Sources/pawld/A.swift", text: text)).count == 2)
    }
}
