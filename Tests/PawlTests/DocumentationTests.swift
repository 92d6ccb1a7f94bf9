import Foundation
import Testing

/// The examples in the documents compile.
@Suite struct DocumentationTests {
    struct Example: Sendable, CustomTestStringConvertible {
        var document: String
        var line: Int
        /// ` ```swift handler`: the body of a handler.
        var isHandler: Bool
        var source: String
        var testDescription: String { "\(document):\(line)" }
    }

    /// What the examples are about.
    static let surroundings = """
        struct Order: Codable, Sendable {
            var id: Int
            var sku: String
            var quantity: Int
            var customer: String
            var total: Decimal
            var parcels: [Parcel]
        }
        struct Parcel: Codable, Sendable { var number: Int }
        enum Carrier {
            struct Quote: Codable, Sendable { var cents: Int }
            static func quote(for order: Order) async throws -> Quote { Quote(cents: 1) }
            static func buyLabel(for parcel: Parcel) async throws -> String { "" }
        }
        enum Mail { static func send(to: String, text: String) async throws {} }
        enum Bank {
            static func charge(_ amount: Decimal, idempotencyKey: String) async throws -> String { "" }
            static func exchangeRate() async throws -> Double { 1 }
        }
        """

    static func examples(in document: String) -> [Example] {
        guard let text = try? Compiler.file(document) else { return [] }
        var examples: [Example] = []
        var current: Example?
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if current != nil {
                if line == "```" {
                    examples.append(current!)
                    current = nil
                } else {
                    current!.source += line + "\n"
                }
            } else if line == "```swift" || line == "```swift handler" {
                current = Example(document: document, line: index + 1, isHandler: line.hasSuffix("handler"), source: "")
            }
        }
        return examples
    }

    static let all = ["docs/handlers.md", "README.md"].flatMap(examples)

    @Test(arguments: ["README.md", "docs/handlers.md", "Examples/Shop/README.md"])
    func itsLinksLeadSomewhere(_ document: String) throws {
        let directory = URL(fileURLWithPath: document, relativeTo: Compiler.root).deletingLastPathComponent()
        let links = try Compiler.file(document).matches(of: #/\]\(([^)#:]+)\)/#).map { String($0.1) }
        #expect(!links.isEmpty)
        for link in links {
            #expect(FileManager.default.fileExists(atPath: directory.appendingPathComponent(link).path), "\(document) links to \(link)")
        }
    }

    @Test func thereAreExamples() {
        #expect(DocumentationTests.all.filter { $0.document == "docs/handlers.md" }.count >= 8)
    }

    @Test(arguments: all)
    func compiles(_ example: Example) throws {
        let errors =
            try example.isHandler
            ? Compiler.errors(inHandler: example.source, declarations: DocumentationTests.surroundings)
            : Compiler.errors(in: example.source)
        #expect(errors == [])
    }
}
