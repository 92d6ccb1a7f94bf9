import Foundation
import Testing

/// The Swift compiler, asked whether a source that uses the SDK is right.
enum Compiler {
    /// Where the tests run from: the SDK's module lies beside them.
    private static let products = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func file(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The compiler's errors; none: it accepts the source.
    static func errors(in source: String) throws -> [String] {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("pawl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appendingPathComponent("source.swift")
        try Data(source.utf8).write(to: file)
        let output = directory.appendingPathComponent("output")
        try Data().write(to: output)
        let handle = try FileHandle(forWritingTo: output)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            // Not -typecheck: data races are found later.
            "swiftc", "-emit-sil", "-o", "/dev/null", "-swift-version", "6", "-parse-as-library", file.path,
            "-I", products.appendingPathComponent("Modules").path,
            "-Xcc", "-fmodule-map-file=\(products.appendingPathComponent("CPawlPlugin.build/module.modulemap").path)",
            "-Xcc", "-fmodule-map-file=\(products.appendingPathComponent("CPawlNote.build/module.modulemap").path)",
            "-module-cache-path", products.appendingPathComponent("ModuleCache").path,
        ]
        process.standardError = handle
        process.standardOutput = handle
        try process.run()
        process.waitUntilExit()
        let errors = try String(contentsOf: output, encoding: .utf8).split(separator: "\n").filter { $0.contains("error:") }.map { line in
            // Without the path and the position.
            String(line[(line.range(of: "error:")?.lowerBound ?? line.startIndex)...])
        }
        if process.terminationStatus == 0 { return [] }
        return errors.isEmpty ? ["error: swiftc ended with \(process.terminationStatus)"] : errors
    }

    /// A handler with this body.
    static func errors(inHandler body: String, declarations: String = "") throws -> [String] {
        try errors(
            in: """
                import Foundation
                import Pawl
                \(declarations)
                let handler = Workflow("x") { (workflow: WorkflowContext, order: Order) in
                \(body)
                }
                """)
    }
}
