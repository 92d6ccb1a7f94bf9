import Foundation
import Glibc
import Locking
import PluginRegistry
import WorkflowEngine

/// A directory of plugins, built from the fixtures by the compilers of the machine, and a registry over it.
final class Workshop: Sendable {
    let root: String
    var plugins: String { root + "/plugins" }
    var copies: String { root + "/copies" }
    let log = Locked<[PluginLogRecord]>([])

    struct BuildFailure: Error, CustomStringConvertible { let description: String }

    static let fixtures = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures").path
    static let header = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/CPawlPlugin/include").path
    static let examples = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Examples").path

    /// The program that probes: the command line, which lies beside the tests.
    static let program: String = {
        // A plugin's crash is to be seen as what it is, not as the sanitizer's report of it.
        setenv("ASAN_OPTIONS", "handle_segv=0:handle_abort=0:detect_leaks=0", 1)
        setenv("TSAN_OPTIONS", (getenv("TSAN_OPTIONS").map { String(cString: $0) + ":" } ?? "") + "handle_segv=0:handle_abort=0", 1)
        return URL(filePath: try! FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            .deletingLastPathComponent().appending(path: "pawl").path
    }()

    init() throws {
        var template = Array("/tmp/pawl-registry-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw BuildFailure(description: "mkdtemp: errno \(errno)") }
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try FileManager.default.createDirectory(atPath: plugins, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func registry(deadline: Duration = .seconds(10)) -> PluginRegistry {
        PluginRegistry(
            directory: plugins, privateDirectory: copies, log: { [log] record in log.withLock { $0.append(record) } },
            probe: PluginProbe(program: Workshop.program, deadline: deadline))
    }

    /// Compiles a fixture into the plugin directory, or elsewhere. Answers its path.
    @discardableResult
    func build(_ fixture: String, as name: String? = nil, _ defines: [String: String] = [:], flags: [String] = []) throws -> String {
        let stem = fixture.split(separator: ".")[0]
        let output = name.map { $0.contains("/") ? $0 : "\(plugins)/\($0)" } ?? "\(plugins)/\(stem).so"
        let source = fixture.contains("/") ? fixture : "\(Workshop.fixtures)/\(fixture)"
        let compiler = fixture.hasSuffix(".cpp") ? "c++" : "cc"
        try run(
            compiler,
            [
                "-shared", "-fPIC", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-maybe-uninitialized", "-fvisibility=hidden", "-I", Workshop.header, "-o", output,
                source,
            ]
                + defines.sorted { $0.key < $1.key }.map { "-D\($0.key)=\($0.value)" } + flags)
        return output
    }

    func run(_ program: String, _ arguments: [String]) throws {
        let process = Process(), output = Foundation.Pipe()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [program] + arguments
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw BuildFailure(description: "\(program) \(arguments.joined(separator: " ")): \(text)") }
    }

    func bytes(of path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }
    func write(_ bytes: some Collection<UInt8>, to name: String) throws { try Data(bytes).write(to: URL(filePath: "\(plugins)/\(name)")) }
    func move(_ from: String, to: String) throws {
        guard rename("\(plugins)/\(from)", "\(plugins)/\(to)") == 0 else { throw BuildFailure(description: "rename: errno \(errno)") }
    }
}

/// A C string literal as a macro's value.
func quoted(_ text: String) -> String { "\"\(text.replacing("\"", with: "\\\""))\"" }

extension HandlerID: CustomStringConvertible {
    public var description: String { "\(workflowName)@\(workflowVersion)" }
}
