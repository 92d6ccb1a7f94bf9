import Foundation
import Testing

/// Imports run one way. What a target may import of this package is written here; anything else is a decision to be made here first.
@Suite struct ImportDirectionTests {
    static let allowed: [String: Set<String>] = [
        "CLibPQ": [],
        "CPawlPlugin": [],
        "CPawlNote": [],
        "CPluginSupport": [],
        "Locking": [],
        "Pawl": ["CPawlPlugin", "CPawlNote", "Locking"],
        "PawlTesting": ["Pawl", "CPawlPlugin", "WorkflowEngine", "MemoryStore", "PluginRegistry", "Locking"],
        "PostgresClient": ["CLibPQ", "Locking"],
        "WorkflowEngine": ["Locking"],
        "MemoryStore": ["WorkflowEngine", "Locking"],
        "PostgresStore": ["PostgresClient", "WorkflowEngine", "Locking"],
        "PluginRegistry": ["CPawlPlugin", "CPluginSupport", "WorkflowEngine", "Locking"],
        "pawld": ["PluginRegistry", "PostgresStore", "WorkflowEngine", "Locking"],
        "pawl": ["PluginRegistry", "PostgresStore", "MemoryStore", "WorkflowEngine"],
    ]

    static func imports(in text: String) -> [String] {
        let statement =
            #/^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/#
        return text.split(separator: "\n").compactMap { $0.firstMatch(of: statement).map { String($0.1) } }
    }

    static func violations(in file: SourceTree.File) -> [String] {
        guard let allowed = allowed[file.target] else { return ["\(file): target \(file.target) has no line in ImportDirectionTests"] }
        let own = Set(Self.allowed.keys)
        return imports(in: file.text).filter { own.contains($0) && !allowed.contains($0) && $0 != file.target }
            .map { "\(file): \(file.target) may not import \($0)" }
    }

    @Test func sourcesImportOnlyWhatTheyMay() {
        let files = SourceTree.files(below: "Sources", suffix: ".swift")
        #expect(files.count > 10)
        #expect(files.flatMap(Self.violations) == [])
    }

    @Test func anImportAgainstTheDirectionIsSeen() {
        let text = "import Foundation\npackage import PostgresClient\n@testable import struct PostgresStore.X\n// import pawld\n"
        #expect(Self.imports(in: text) == ["Foundation", "PostgresClient", "PostgresStore"])
        #expect(Self.violations(in: .init(path: "Sources/WorkflowEngine/A.swift", text: text)).count == 2)
        #expect(Self.violations(in: .init(path: "Sources/PostgresStore/A.swift", text: text)) == [])
        #expect(Self.violations(in: .init(path: "Sources/Unknown/A.swift", text: "")).count == 1)
    }

    /// The package manifest could allow what the sources do not use yet.
    @Test func theSDKIsNeverDynamic() throws {
        let manifest = try #require(SourceTree.read("Package.swift"))
        #expect(manifest.text.contains(#".library(name: "Pawl", type: .static"#))
        #expect(!manifest.text.contains("type: .dynamic"))
    }
}
