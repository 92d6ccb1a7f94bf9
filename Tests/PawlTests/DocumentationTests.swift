import Foundation
import Locking
import Testing

@testable import Pawl

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

    /// What the examples are about, and the examples of docs/handlers.md once more, in the form in which they are run.
    static let (surroundings, run): (String, String) = {
        let text = (try? Compiler.file("Tests/PawlTests/HandlerExamples.swift")) ?? ""
        let start = text.range(of: "// What they are about."), end = text.range(of: "// Of the page.")
        guard let start, let end else { return ("", "") }
        return (String(text[start.upperBound..<end.lowerBound]), lines(in: text[end.upperBound...]))
    }()

    /// Without indentation and empty lines.
    static func lines(in text: some StringProtocol) -> String {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }.joined(separator: "\n") + "\n"
    }

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

    @Test(arguments: all.filter { $0.isHandler && $0.document == "docs/handlers.md" })
    func isTheOneThatRuns(_ example: Example) {
        let isThere = DocumentationTests.run.contains(DocumentationTests.lines(in: example.source))
        #expect(isThere, "it is not in HandlerExamples.swift, or differs there")
    }

    static let order = #"{"id":7,"sku":"lamp","quantity":2,"customer":"Ada","total":12.5,"parcels":[{"number":1},{"number":2}]}"#

    static var world: FakeRun.World {
        var world = FakeRun.World()
        world.isQuick = true
        world.messages = [("approval", #"{"desk":"desk-1"}"#)]
        world.workflows = ["desk-1": .running, "order-7": .running, "answer-7": .init()]
        world.events = ["order-7/stage": #""packed""#]
        world.streams = ["answer-7/tokens": ([(1, #""a""#), (2, #""b""#)], false)]
        world.children = [
            "ship_parcel": .init(output: #""PT""#), "reserve": .init(status: "failed", error: ChildTests.outOfStock),
        ]
        return world
    }

    /// Each runs to its end, and a replay ends in the same way without doing anything.
    @Test(arguments: HandlerExamples.all.map(\.name))
    func runs(_ name: String) async throws {
        let example = try #require(HandlerExamples.all.first { $0.name == name })
        let host = FakeHost(Plugin("x") { Workflow("x", example.body) })
        let first = try await host.run("x", input: DocumentationTests.order, world: DocumentationTests.world)
        #expect(first.recorded.isEmpty == false)
        #expect(first.failure?.code == (name == "failures" ? "out_of_stock" : nil))
        let second = try await host.run("x", input: DocumentationTests.order, recorded: first.recorded)
        #expect(second.outcome == first.outcome)
        #expect(second.recorded == first.recorded)
        #expect(second.state.withLock { $0.effects } == [])
    }
}
