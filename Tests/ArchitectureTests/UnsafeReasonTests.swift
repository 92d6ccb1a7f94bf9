import Testing

/// What the compiler is told not to check gives its reason, on the line above or at its end.
@Suite struct UnsafeReasonTests {
    static let words = ["@unchecked " + "Sendable", "nonisolated(" + "unsafe)", "unsafe" + "BitCast"]

    static func unreasoned(in file: SourceTree.File) -> [String] {
        let lines = file.lines
        return lines.indices.compactMap { index in
            let line = lines[index]
            let code = line.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)
            guard words.contains(where: { code[0].contains($0) }) else { return nil }
            if code.count == 2 && !code[1].isEmpty { return nil }
            let above = index > 0 ? lines[index - 1].drop { $0 == " " } : ""
            return above.hasPrefix("//") ? nil : "\(file):\(index + 1): \(line)"
        }
    }

    @Test func everyOneHasAReason() {
        let files = ["Sources", "Tests", "Examples"].flatMap { SourceTree.files(below: $0, suffix: ".swift") }
        #expect(files.flatMap(Self.unreasoned) == [])
    }

    @Test func oneWithoutIsSeen() {
        let bare = "struct A: \(Self.words[0]) {}\n"
        #expect(Self.unreasoned(in: .init(path: "Sources/X/A.swift", text: bare)).count == 1)
        #expect(Self.unreasoned(in: .init(path: "Sources/X/A.swift", text: "// Only the engine's thread touches it.\n" + bare)) == [])
        #expect(Self.unreasoned(in: .init(path: "Sources/X/A.swift", text: "let a = \(Self.words[2])(b, to: C.self) // same layout\n")) == [])
    }
}
