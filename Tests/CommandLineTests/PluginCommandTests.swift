import Foundation
import Testing

/// Runs the built `pawl`.
@Suite struct PluginCommandTests {
    static let program = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
        .appendingPathComponent("pawl")

    struct Run {
        var status: Int32
        var output: String
        var errors: String
    }

    static func pawl(_ arguments: String..., environment: [String: String] = [:]) throws -> Run {
        let directory = try temporaryDirectory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let files = try ["output", "errors"].map { name in
            let file = directory.appendingPathComponent(name)
            try Data().write(to: file)
            return (file, try FileHandle(forWritingTo: file))
        }
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = files[0].1
        process.standardError = files[1].1
        try process.run()
        process.waitUntilExit()
        return Run(
            status: process.terminationStatus, output: try String(contentsOf: files[0].0, encoding: .utf8),
            errors: try String(contentsOf: files[1].0, encoding: .utf8))
    }

    static func temporaryDirectory() throws -> URL {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("pawl-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        return directory
    }

    /// A package with these products, whose target needs nothing.
    static func package(products: String, tools: String = "6.2") throws -> URL {
        let directory = try temporaryDirectory()
        let sources = directory.appendingPathComponent("Sources/Thing")
        try FileManager.default.createDirectory(at: sources, withIntermediateDirectories: true)
        try Data(
            "// swift-tools-version: \(tools)\nimport PackageDescription\nlet package = Package(name: \"Thing\", products: [\(products)], targets: [.target(name: \"Thing\")])\n"
                .utf8
        )
        .write(to: directory.appendingPathComponent("Package.swift"))
        try Data("public func thing() -> Int { 1 }\n".utf8).write(to: sources.appendingPathComponent("Thing.swift"))
        return directory
    }

    @Test func theVersionIsANumber() throws {
        let run = try Self.pawl("--version")
        #expect(run.status == 0)
        #expect(run.output.wholeMatch(of: #/\d+\.\d+\.\d+\n/#) != nil)
    }

    @Test func whatIsRefusedIsSaidAndEndsWithOne() throws {
        let directory = try Self.temporaryDirectory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let junk = directory.appendingPathComponent("junk.so")
        try Data("junk".utf8).write(to: junk)
        let text = try Self.pawl("plugin", "check", junk.path)
        #expect(text.status == 1)
        #expect(text.output.hasPrefix("\(junk.path): refused: it is not a shared library"))

        let json = try Self.pawl("plugin", "check", "--json", junk.path, directory.appendingPathComponent("none.so").path)
        #expect(json.status == 1)
        let reports = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [[String: Any]])
        #expect(reports.map { $0["accepted"] as? Bool } == [false, false])
        #expect(reports.map { ($0["refusal"] as? [String: String])?["code"] } == ["not_elf", "unreadable"])
    }

    @Test func aDirectoryWithoutAPackageIsAnError() throws {
        let run = try Self.pawl("plugin", "build", "/nowhere")
        #expect(run.status == 1)
        #expect(run.errors.contains("no Package.swift in /nowhere"))
    }

    @Test func aPackageWithoutADynamicLibraryIsToldHowToDeclareOne() throws {
        let directory = try Self.package(products: #".library(name: "Thing", targets: ["Thing"])"#)
        defer { try? FileManager.default.removeItem(at: directory) }
        let none = try Self.pawl("plugin", "build", directory.path)
        #expect(none.status == 1)
        #expect(none.errors.contains(#".library(name: "Thing", type: .dynamic, targets: ["Thing"])"#))
        let named = try Self.pawl("plugin", "build", directory.path, "--product", "Other")
        #expect(named.status == 1)
        #expect(named.errors.contains("has no product Other"))
    }

    @Test func ofSeveralLibrariesOneMustBeChosen() throws {
        let directory = try Self.package(
            products: #".library(name: "A", type: .dynamic, targets: ["Thing"]), .library(name: "B", type: .dynamic, targets: ["Thing"])"#)
        defer { try? FileManager.default.removeItem(at: directory) }
        let run = try Self.pawl("plugin", "build", directory.path)
        #expect(run.status == 1)
        #expect(run.errors.contains("--product A | B"))
    }

    /// A whole build, of a library that is no plugin: what was there before stays.
    @Test func aLibraryThatIsNoPluginIsBuiltAndRefused() throws {
        let directory = try Self.package(products: #".library(name: "Thing", type: .dynamic, targets: ["Thing"])"#, tools: "5.9")
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appendingPathComponent("Thing.so")
        try Data("before".utf8).write(to: file)
        let run = try Self.pawl("plugin", "build", directory.path, "--output", directory.path)
        #expect(run.status == 1)
        #expect(run.errors.contains("swift-tools-version 5.9"))
        #expect(try String(contentsOf: file, encoding: .utf8) == "before")
        #expect(run.output.contains("/libThing.so: refused: it does not export the function pawl_plugin_register"), "\(run)")
    }
}
