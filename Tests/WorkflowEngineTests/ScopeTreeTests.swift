import Testing

@testable import WorkflowEngine

@Suite struct ScopeTreeTests {
    private func step(_ tree: inout ScopeTree, _ name: String, _ scope: ScopeID = 0, kind: StepKind = .step) -> String? {
        guard case .execute = tree.begin(kind, scope: scope, name: name, now: { 0 }) else { return nil }
        let path = tree.openStep(in: scope)?.path
        tree.setCall(.ending, in: scope)
        tree.settle(scope, .over)
        return path
    }

    private func expect(_ path: String?, _ expected: String, _ location: SourceLocation = #_sourceLocation) {
        #expect(path == expected, sourceLocation: location)
    }

    private func expectNone(_ scope: ScopeID?, _ location: SourceLocation = #_sourceLocation) { #expect(scope == nil, sourceLocation: location) }

    private func branch(_ tree: inout ScopeTree, _ parent: ScopeID, _ name: String) throws -> ScopeID {
        let scope = tree.branch(from: parent, name: name)
        return try #require(scope)
    }

    @Test func paths() throws {
        var tree = ScopeTree(recordedSteps: [])
        expect(step(&tree, "a"), "a")
        expect(step(&tree, "a"), "a#2")
        let left = try branch(&tree, 0, "left")
        let again = try branch(&tree, 0, "left")
        let charge = try branch(&tree, 0, "charge[42]")
        let inner = try branch(&tree, left, "deep")
        expect(step(&tree, "a", left), "left/a")
        expect(step(&tree, "a", again), "left#2/a")
        expect(step(&tree, "reserve", charge), "charge[42]/reserve")
        expect(step(&tree, "reserve", charge), "charge[42]/reserve#2")
        expect(step(&tree, "a", inner), "left/deep/a")
        expect(step(&tree, "a"), "a#3")
    }

    /// However names are chosen, no two calls share a path: a step called "left/a" is not the step "a" of the branch "left".
    @Test func namesCannotForgePaths() throws {
        var tree = ScopeTree(recordedSteps: [])
        let left = try branch(&tree, 0, "left")
        let odd = try branch(&tree, 0, "le/ft")
        var paths: [String] = []
        for (name, scope) in [
            ("left/a", 0), ("a", left), ("a#2", 0), ("a", 0), ("a", 0), ("a%232", 0), ("left%2Fa", 0), ("100%", 0), ("b#", 0), ("#1", 0), ("x#2y", 0),
            ("a", odd),
        ] as [(String, ScopeID)] {
            let path = step(&tree, name, scope)
            paths.append(try #require(path))
        }
        #expect(Set(paths).count == paths.count, "\(paths)")
        #expect(paths == ["left%2Fa", "left/a", "a%232", "a", "a#2", "a%25232", "left%252Fa", "100%25", "b#", "%231", "x#2y", "le%2Fft/a"])
    }

    @Test func numbersGoOnAfterWhatIsRecorded() {
        let steps = [
            RecordedStep(name: "a", number: 7, kind: "step", outcome: .success([0x31])),
            RecordedStep(name: "b", number: 3, kind: "step", outcome: .success([])),
        ]
        var tree = ScopeTree(recordedSteps: steps)
        guard case .recorded(.success([0x31])) = tree.begin(.step, scope: 0, name: "a", now: { 0 }) else { return #expect(Bool(false)) }
        _ = tree.begin(.step, scope: 0, name: "c", now: { 99 })
        #expect(tree.openStep(in: 0)?.number == 8)
        #expect(tree.openStep(in: 0)?.startedAt == 99)
    }

    @Test func limits() {
        var tree = ScopeTree(recordedSteps: [])
        expectNone(tree.branch(from: 0, name: ""))
        expectNone(tree.branch(from: 9, name: "a"))
        expectNone(tree.branch(from: 0, name: String(repeating: "x", count: 512)))
        expect(step(&tree, String(repeating: "x", count: 512)), String(repeating: "x", count: 512))
        for name in ["", "a\0b", String(repeating: "x", count: 513), String(repeating: "/", count: 200), String(repeating: "x", count: 512)] {
            guard case .misuse(let error) = tree.begin(.step, scope: 0, name: name, now: { 0 }) else { return #expect(Bool(false), "\(name.count)") }
            #expect(error.code == "bad_step_name")
            #expect(error.message.contains("512 bytes"))
        }
    }

    @Test func manyNames() {
        var counts = NameCounts()
        for round in 1...3 {
            for name in 0..<100 {
                let count = counts.count("\(name)")
                #expect(count == round)
            }
        }
    }
}
