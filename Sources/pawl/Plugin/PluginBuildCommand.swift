internal import ArgumentParser
internal import FoundationEssentials
internal import Glibc

/// `pawl plugin build`
struct PluginBuildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build",
        abstract: "Build a Swift package into a plugin.",
        discussion: """
            The package needs one product that is a dynamic library and depends on Pawl. It is built in release mode into one file that \
            brings its own Swift runtime and exports one symbol, which is what pawld accepts. The file is checked as by `pawl plugin check`.

            Put it into the plugin directory of pawld and reload the daemon to use it.
            """)

    @Argument(help: "The directory of the package.", completion: .directory)
    var directory = "."

    @Option(
        name: .shortAndLong, help: "The file to write, or a directory for it. (default: DIRECTORY/.build/plugin/PRODUCT.so)",
        completion: .file())
    var output: String?

    @Option(help: "The product to build, if the package has several dynamic libraries.")
    var product: String?

    @Flag(help: "Keep symbols and debug information: larger, but a crash report then names functions and lines.")
    var symbols = false

    @Flag(help: "Write one JSON object instead of text; what the compiler says goes to standard error.")
    var json = false

    func run() throws {
        let directory = absolute(self.directory)
        guard access(directory + "/Package.swift", R_OK) == 0 else {
            throw CommandFailure("there is no Package.swift in \(directory); give the directory of a Swift package")
        }
        guard let swift = ChildProcess.find("swift") else {
            throw CommandFailure(
                "swift is not on the PATH; building a plugin needs the Swift toolchain, 6.3 or later (https://swift.org/install)")
        }
        let package = try PluginPackage.read(swift: swift, directory: directory)
        let product = try package.product(named: self.product)
        if !package.hasSwift6Mode {
            Terminal.complain(
                "note: package \(package.name) has swift-tools-version \(package.toolsVersion._version): from 6.0 the compiler finds most misuse of a workflow's context"
            )
        }

        // Its own place: other flags than an ordinary build of the package, which would be rebuilt each time.
        let scratch = directory + "/.build/plugin"
        try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
        let exports = scratch + "/exports.map"
        guard FileManager.default.createFile(atPath: exports, contents: Data("{ global: pawl_plugin_register; local: *; };\n".utf8)) else {
            throw CommandFailure("cannot write \(exports)")
        }
        let arguments =
            ["build", "--package-path", directory, "--scratch-path", scratch, "--configuration", "release", "--product", product]
            + PluginBuildCommand.flags(exports: exports, symbols: symbols)
        guard try ChildProcess.run(swift, arguments, output: json ? STDERR_FILENO : nil) == 0 else {
            throw CommandFailure("package \(package.name) does not build; the compiler's messages are above")
        }

        let built = scratch + "/release/lib\(product).so"
        guard access(built, R_OK) == 0 else { throw CommandFailure("the build ended well, but left no \(built)") }
        guard var report = PluginReport.of([built]).first else { return }
        if report.accepted {
            // Only what is accepted takes the place of what was there.
            let file = try destination(default: scratch + "/\(product).so", product: product)
            guard let bytes = FileManager.default.contents(atPath: built) else { throw CommandFailure("cannot read \(built)") }
            try OutputFile.write(Array(bytes), to: file, mode: 0o777)
            report.file = file
        }
        if json { try printJSON(report) } else { print(report.text.printableLines) }
        guard report.accepted else { throw ExitCode.failure }
    }

    /// Everything in one file (plugins that shared a Swift runtime would corrupt each other), nothing undefined, one symbol exported, and
    /// what nothing refers to left out. That the symbol is there at all is for the check to say, in words that help.
    static func flags(exports: String, symbols: Bool) -> [String] {
        let linker = ["-z", "defs", "--version-script=\(exports)", "--undefined-version", "--gc-sections"] + (symbols ? [] : ["-s"])
        return ["-Xswiftc", "-static-stdlib", "-Xswiftc", "-use-ld=lld"] + linker.flatMap { ["-Xlinker", $0] }
    }

    private func destination(default file: String, product: String) throws -> String {
        guard let output else { return file }
        let path = absolute(output)
        var isDirectory = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory ? "\(path)/\(product).so" : path
    }
}

/// A path that means the same from any directory.
func absolute(_ path: String) -> String {
    path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
}
