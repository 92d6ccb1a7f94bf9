internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc

/// `pawl plugin new`
struct PluginNewCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "new",
        abstract: "Make a Swift package that is a plugin, with one workflow to begin with.",
        discussion: """
            It builds at once: `pawl plugin build NAME`. It has a unit test where the SDK brings the test kit along, as the one of a source checkout \
            does.
            """)

    @Argument(help: "Its name: letters, digits and underscores, with a letter first.")
    var name: String

    @Option(help: "Where to make it. (default: ./NAME)", completion: .directory)
    var directory: String?

    @Option(help: "The directory of the Swift SDK of pawl. (default: the one this program was installed or built with)", completion: .directory)
    var sdk: String?

    @Flag(help: "Write one JSON object instead of text.")
    var json = false

    func validate() throws {
        guard name.wholeMatch(of: #/[A-Za-z][A-Za-z0-9_]*/#) != nil else {
            throw ValidationError("\(name) cannot be the name of a Swift module: give letters, digits and underscores, with a letter first")
        }
        guard name != "Pawl", name != "PawlTesting" else { throw ValidationError("\(name) is a module of the SDK: give another name") }
    }

    func run() throws {
        let sdk = try self.sdk.map(absolute) ?? SDKLocation.find()
        guard let manifest = FileManager.default.contents(atPath: sdk + "/Package.swift") else {
            throw CommandFailure("there is no Package.swift in \(sdk); give the directory of the SDK: --sdk PREFIX/share/pawl/sdk")
        }
        let directory = absolute(directory ?? name)
        if let entries = try? FileManager.default.contentsOfDirectory(atPath: directory), !entries.isEmpty {
            throw CommandFailure("\(directory) is there already, and not empty: give another --directory")
        }
        let template = PluginTemplate(name: name, sdk: sdk, hasTestKit: String(decoding: manifest, as: UTF8.self).contains("PawlTesting"))
        for (path, text) in template.files {
            let file = "\(directory)/\(path)"
            do {
                try FileManager.default.createDirectory(
                    atPath: String(file[..<(file.lastIndex(of: "/") ?? file.endIndex)]), withIntermediateDirectories: true)
                try Data(text.utf8).write(to: URL(filePath: file))
            } catch {
                throw CommandFailure("cannot write \(file): \(error)")
            }
        }
        if json {
            try printJSON(Made(directory: directory, sdk: sdk, files: template.files.map(\.path)))
        } else {
            print("Made \(directory). Build it with: pawl plugin build \(self.directory ?? name)")
        }
    }

    private struct Made: Encodable {
        let directory: String
        let sdk: String
        let files: [String]
    }
}

/// Where the Swift SDK is that belongs to this program.
private enum SDKLocation {
    static func find() throws -> String {
        var buffer = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &buffer, buffer.count)
        let program = String(decoding: buffer[..<max(0, count)], as: UTF8.self)
        // PREFIX/bin/pawl, or .build/… in a checkout.
        let parents = sequence(first: program) { $0.lastIndex(of: "/").map { slash in String(program[..<slash]) } }.dropFirst()
        for directory in parents.prefix(6) {
            if access("\(directory)/share/pawl/sdk/Package.swift", R_OK) == 0 { return "\(directory)/share/pawl/sdk" }
            if access("\(directory)/packaging/sdk/Package.swift", R_OK) == 0 { return directory }
        }
        throw CommandFailure("the Swift SDK is not beside this program: give its directory with --sdk PREFIX/share/pawl/sdk")
    }
}

/// The files of a new plugin.
private struct PluginTemplate {
    let name: String
    let sdk: String
    let hasTestKit: Bool

    var files: [(path: String, text: String)] {
        var files = [("Package.swift", manifest), ("Sources/\(name)/Plugin.swift", plugin), ("README.md", readme), (".gitignore", ".build\n")]
        if hasTestKit { files.append(("Tests/\(name)Tests/GreetTests.swift", test)) }
        return files
    }

    private var manifest: String {
        let tests = """

                    .testTarget(
                        name: "\(name)Tests", dependencies: ["\(name)", .product(name: "PawlTesting", package: "pawl")]),
            """
        return """
            // swift-tools-version: 6.2
            import PackageDescription

            let package = Package(
                name: "\(name)",
                products: [
                    // A plugin is one shared library. `pawl plugin build` links it with a Swift runtime of its own.
                    .library(name: "\(name)", type: .dynamic, targets: ["\(name)"])
                ],
                dependencies: [
                    .package(name: "pawl", path: "\(sdk)")
                ],
                targets: [
                    .target(name: "\(name)", dependencies: [.product(name: "Pawl", package: "pawl")]),\(hasTestKit ? tests : "")
                ]
            )

            """
    }

    // This program imports neither; the text of what it makes does.
    private static let module = "Pawl"
    private static let testKit = "PawlTesting"

    private var plugin: String {
        """
        import \(Self.module)

        struct Guest: Codable, Sendable {
            var name: String
        }

        let plugin = Plugin("\(name.lowercased())") {
            Workflow("greet") { (workflow: WorkflowContext, guest: Guest) in
                // What a step returns is recorded: after a crash the workflow goes on from here.
                let greeting = try await workflow.step("compose") { "Hello, \\(guest.name)!" }
                try await workflow.sleep("pause", for: .seconds(2))
                return greeting
            }
        }

        /// What pawld calls when it loads the library.
        @c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }

        """
    }

    private var test: String {
        """
        import \(Self.testKit)
        import Testing

        @testable import \(name)

        @Suite struct GreetTests {
            @Test func aGuestIsGreeted() async throws {
                let test = try WorkflowTest(plugin)
                #expect(try await test.run("greet", input: Guest(name: "Ada"), as: String.self) == "Hello, Ada!")
            }
        }

        """
    }

    private var readme: String {
        """
        # \(name)

        A plugin for pawld with one workflow, `greet`.

        ```
        \(hasTestKit ? "swift test\n" : "")pawl plugin build . --output \(name).so
        sudo install \(name).so /usr/local/lib/pawl/plugins && sudo systemctl reload 'pawld@*'
        pawl workflow enqueue greet '{"name": "Ada"}' --id greet-ada && pawl workflow wait greet-ada
        ```

        """
    }
}
