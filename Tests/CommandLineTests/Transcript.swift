import Foundation
import PostgresTestSupport
import Testing

/// A conversation with the command line, kept in a file of `Transcripts/`, with a database of its own.
///
///     # What follows is shown.                        a comment
///     sql> SELECT pawl.enqueue_workflow('ship')       preparation, as a superuser; contiguous lines are one script
///     $ pawl workflow list                            a shell's command line; `> ` goes on
///     No workflow matches.                            what it wrote, to both outputs
///     [exit 2]                                        unless that is 0
///
/// Commands run in an empty directory; PAWL_SOURCES is that of the source tree. `<role>` is a role of the transcript's own: `$ PGUSER=<role> pawl …`.
/// What differs from run to run is written as `<time>` and `<uuid>`. No line is wider than a command's `COLUMNS=80` says. With PAWL_UPDATE_TRANSCRIPTS=1 the files are rewritten from what the commands do; read the diff.
struct Transcript {
    private enum Block {
        case comment(String)
        case sql(String)
        case command(String, output: String)
    }

    static let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Transcripts")

    static let names: [String] = ((try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? [])
        .filter { $0.hasSuffix(".txt") }.map { String($0.dropLast(4)) }.sorted()

    let name: String
    private var blocks: [Block] = []
    private var file: URL { Self.directory.appending(path: name + ".txt") }

    init(_ name: String) throws {
        self.name = name
        var lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)[...]
        while let line = lines.popFirst() {
            if line.hasPrefix("# ") {
                blocks.append(.comment(String(line)))
            } else if line.hasPrefix("sql> ") {
                var script = String(line.dropFirst(5))
                while let next = lines.first, next.hasPrefix("sql> ") {
                    script += "\n" + next.dropFirst(5)
                    lines.removeFirst()
                }
                blocks.append(.sql(script))
            } else if line.hasPrefix("$ ") {
                var command = String(line.dropFirst(2))
                while let next = lines.first, next.hasPrefix("> ") {
                    command += "\n" + next.dropFirst(2)
                    lines.removeFirst()
                }
                var output: [Substring] = []
                while let next = lines.first, !["$ ", "# ", "sql> "].contains(where: next.hasPrefix) { output.append(lines.removeFirst()) }
                while output.last?.isEmpty == true { output.removeLast() }
                blocks.append(.command(command, output: output.joined(separator: "\n")))
            } else if !line.isEmpty {
                throw TestFailure("\(file.path): a line that belongs to nothing: \(line)")
            }
        }
    }

    /// The command lines in it.
    var commands: [String] {
        blocks.compactMap { if case .command(let command, _) = $0 { command } else { nil } }
    }

    /// Runs it, and compares; or rewrites it.
    func check() throws {
        let database = try TestDatabase.make()
        let session = try database.connect()
        let role = "role_" + database.name
        let directory = FileManager.default.temporaryDirectory.appending(path: "pawl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let needsRole = try String(contentsOf: file, encoding: .utf8).contains("<role>")
        if needsRole { try session.script("CREATE ROLE \(role) LOGIN") }
        defer { if needsRole { _ = try? session.script("DROP OWNED BY \(role); DROP ROLE \(role)") } }

        let updates = ProcessInfo.processInfo.environment["PAWL_UPDATE_TRANSCRIPTS"] == "1"
        var text = ""
        for block in blocks {
            switch block {
            case .comment(let comment): text += comment + "\n"
            case .sql(let script):
                try session.script(script.replacing("<role>", with: role))
                text += script.split(separator: "\n", omittingEmptySubsequences: false).map { "sql> \($0)\n" }.joined() + "\n"
            case .command(let command, let expected):
                let shown = try Self.run(command.replacing("<role>", with: role), database, in: directory)
                if let columns = command.firstMatch(of: #/COLUMNS=(\d+)/#).flatMap({ Int($0.1) }) {
                    let lines: [Substring] = shown.split(separator: "\n")
                    let wide = lines.filter { $0.replacing(#/\^\[\d*m/#, with: "").count > columns }
                    #expect(wide == [], "\(name): $ \(command)")
                }
                let output = Self.normalized(shown, role)
                if !updates { #expect(output == expected, "\(name): $ \(command)") }
                text += "$ " + command.replacing("\n", with: "\n> ") + "\n" + output + (output.isEmpty ? "\n" : "\n\n")
            }
        }
        if updates {
            while text.hasSuffix("\n\n") { text.removeLast() }
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
    }

    private static func run(_ command: String, _ database: TestDatabase, in directory: URL) throws -> String {
        let path = BuiltProducts.directory.path + ":" + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin")
        let process = try TestProcess(
            "/bin/sh", ["-c", "cd '\(directory.path)'\n\(command)"],
            environment: [
                "PATH": path, "PGDATABASE": database.name, "PAWL_DATABASE": "", "COLUMNS": "", "NO_COLOR": "", "TERM": "xterm",
                "PAWL_SOURCES": BuiltProducts.checkout.path,
            ])
        let status = try process.waitBlocking(within: .seconds(60))
        var output = process.output
        while output.hasSuffix("\n") { output.removeLast() }
        switch status {
        case .exited(0): return output
        case .exited(let code): return output + (output.isEmpty ? "" : "\n") + "[exit \(code)]"
        case .signalled(let signal): return output + "\n[signal \(signal)]"
        }
    }

    private static func normalized(_ output: String, _ role: String) -> String {
        output.replacing(role, with: "<role>")
            .replacing(#/\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:\d\d)?)/#, with: "<time>")
            .replacing(#/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/#, with: "<uuid>")
    }
}

@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct TranscriptTests {
    @Test(arguments: Transcript.names) func transcript(_ name: String) throws {
        try Transcript(name).check()
    }
}
