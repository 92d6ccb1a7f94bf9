import Foundation
import Testing

/// `pawl plugin replay`, with the plugin in C that Examples holds.
@Suite struct PluginReplayTests {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Its file, in a directory of its own.
    static func hello() throws -> URL {
        let library = try PluginCommandTests.temporaryDirectory().appendingPathComponent("hello.so")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "cc", "-shared", "-fPIC", "-fvisibility=hidden", "-I", root.appendingPathComponent("Sources/CPawlPlugin/include").path, "-o", library.path,
            root.appendingPathComponent("Examples/hello/hello.c").path,
        ]
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
        return library
    }

    static func history(_ steps: String, in directory: URL, name: String = "history.json") throws -> String {
        let file = directory.appendingPathComponent(name)
        let text = """
            {"format": 1, "workflow_id": "h1", "workflow_name": "hello", "workflow_version": 1, "status": "running", "input": {"name": "Ada"},
             "created_at": "2026-11-21T02:00:00+00:00", "steps": [\(steps)]}
            """
        try Data(text.utf8).write(to: file)
        return file.path
    }

    @Test func whatFitsAndWhatDoesNot() throws {
        let library = try Self.hello()
        let directory = library.deletingLastPathComponent()
        defer { try? FileManager.default.removeItem(at: directory) }
        let fresh = try Self.history("", in: directory, name: "fresh.json")
        let fits = try PluginCommandTests.pawl("plugin", "replay", library.path, fresh)
        #expect(fits.status == 0, "\(fits.errors)")
        #expect(fits.output.contains("hello version 1 fits: 0 steps replayed, new work begins at "))

        let step = try #require(fits.output.split(separator: " ").last.map { String($0).trimmingCharacters(in: .newlines) })
        let other = try Self.history(
            #"{"step_name": "\#(step)", "step_number": 1, "kind": "race", "status": "succeeded", "output": {"winner": 0}}"#, in: directory)
        let misfit = try PluginCommandTests.pawl("plugin", "replay", "--json", library.path, fresh, other)
        #expect(misfit.status == 1, "\(misfit.errors)")
        let reports = try #require(try JSONSerialization.jsonObject(with: Data(misfit.output.utf8)) as? [[String: Any]])
        #expect(reports.map { $0["fits"] as? Bool } == [true, false])
        let problem = (reports[1]["problems"] as? [[String: Any]])?.first
        #expect(problem?["code"] as? String == "determinism")
        #expect(problem?["step"] as? String == step)
        #expect(problem?["recorded_kind"] as? String == "race")
    }

    @Test func whatCannotBeUsedEndsWithTwo() throws {
        let library = try Self.hello()
        let directory = library.deletingLastPathComponent()
        defer { try? FileManager.default.removeItem(at: directory) }
        let junk = directory.appendingPathComponent("junk.json")
        try Data("{}".utf8).write(to: junk)
        let history = try PluginCommandTests.pawl("plugin", "replay", library.path, junk.path)
        #expect(history.status == 2)
        #expect(history.errors.contains("it is not what pawl.export_workflow answers"))
        #expect(try PluginCommandTests.pawl("plugin", "replay", junk.path, junk.path).status == 2)
    }
}
