import Testing

/// The commands that the documents name exist.
@Suite struct CommandTests {
    static let documents = SourceTree.files(below: "docs", suffix: ".md") + [SourceTree.read("README.md")].compactMap { $0 }

    static func targets(inMakefile text: String) -> Set<String> {
        Set(text.split(separator: "\n").compactMap { $0.firstMatch(of: #/^([a-z-]+):/#).map { String($0.1) } })
    }

    /// `make x` in code: between backticks, or at the start of a line of a code block.
    static func makeCommands(in text: String) -> Set<String> {
        let command = #/(?:`|^\s*(?:\$ )?(?:sudo )?)make ([a-z-]+)/#.anchorsMatchLineEndings()
        return Set(text.matches(of: command).map { String($0.1) })
    }

    /// `scripts/x`, as a command or a path.
    static func scripts(in text: String) -> Set<String> {
        Set(text.matches(of: #/(?:^|[\s`@(])((?:scripts|extension/test)\/[\w\/-]+(?:\.sh)?)/#.anchorsMatchLineEndings()).map { String($0.1) })
    }

    @Test func theReadmeNamesTheTwoCommands() throws {
        let readme = try #require(SourceTree.read("README.md"))
        #expect(Self.makeCommands(in: readme.text).isSuperset(of: ["run", "test"]))
    }

    @Test func theMakefileHasEveryTargetThatIsNamed() throws {
        let makefile = try #require(SourceTree.read("Makefile"))
        let targets = Self.targets(inMakefile: makefile.text)
        #expect(targets.isSuperset(of: ["help", "build", "test", "run", "bench", "install", "format"]))
        for document in Self.documents {
            #expect(Self.makeCommands(in: document.text).subtracting(targets) == [], "in \(document)")
        }
    }

    @Test func everyScriptThatIsNamedExists() throws {
        for document in Self.documents + [try #require(SourceTree.read("Makefile"))] {
            #expect(Self.scripts(in: document.text).filter { !SourceTree.exists($0) } == [], "in \(document)")
        }
    }

    @Test func continuousIntegrationRunsTheTestCommand() throws {
        let run = try #require(SourceTree.read(".ci/run"))
        #expect(Self.makeCommands(in: run.text.replacing("exec ", with: "")) == ["test"])
    }

    @Test func commandsAreFound() {
        let text = "Run `make test` or\n\n    make run KEEP=1\n\nto make everything; `scripts/with-cluster psql` too."
        #expect(Self.makeCommands(in: text) == ["test", "run"])
        #expect(Self.scripts(in: text) == ["scripts/with-cluster"])
        #expect(Self.targets(inMakefile: "a-b: c ## d\n\techo\nx := y\n") == ["a-b"])
    }
}
