internal import CPawlPlugin

/// What can be known of a plugin's file before any of its code runs.
package struct PluginFile: Sendable, Equatable {
    /// The file's name, without its directory.
    package let name: String
    /// The interface version it was built for.
    package let interfaceVersion: Int
    /// The SDK it was built with: `c`, `swift-1.0`.
    package let sdk: String
    /// The compiler that built it, in the compiler's own words.
    package let compiler: String
    /// The shared libraries it needs.
    package let neededLibraries: [String]
    /// What deserves a line in the log but refuses nothing.
    package let warnings: [String]

    /// The one symbol that a plugin must export.
    static let registerSymbol = "pawl_plugin_register"
    /// Libraries that two plugins must not share: each brings its own Swift runtime.
    private static let runtimeLibraries = ["libswift", "lib_Foundation", "libFoundation", "lib_Internals", "libdispatch", "libBlocksRuntime", "libPawl"]
    /// Symbols that linkers put in by themselves.
    private static let linkerSymbols: Set<String> = [
        "_init", "_fini", "_edata", "_end", "__bss_start", "__bss_start__", "__bss_end__", "_bss_end__", "__end__", "_etext", "edata", "end", "etext",
    ]

    /// Reads the file at `path` and checks it.
    package static func inspect(path: String) throws(PluginRefusal) -> PluginFile {
        let bytes = try FileBytes.read(path: path)
        return try inspect(bytes.buffer, name: FileBytes.name(of: path))
    }

    /// Checks a file's content.
    static func inspect(_ buffer: UnsafeRawBufferPointer, name: String) throws(PluginRefusal) -> PluginFile {
        do {
            return try PluginFile(ELFImage(buffer), name: name)
        } catch let error as ELFError {
            throw refusal(of: error, size: buffer.count, name: name)
        } catch let refusal as PluginRefusal {
            throw refusal
        } catch {
            fatalError("unreachable: only the two errors above are thrown, found \(error)")
        }
    }

    private init(_ image: ELFImage, name: String) throws {
        self.name = name
        neededLibraries = try image.neededLibraries()
        let exports = try image.exports()
        guard exports.contains(.init(name: PluginFile.registerSymbol, isFunction: true)) else {
            throw PluginRefusal(
                .noRegisterFunction, file: name, problem: "does not export the function \(PluginFile.registerSymbol)",
                cure: "Define it (in Swift `@c(pawl_plugin_register) public func`, in C with PAWL_EXPORT) and build with `pawl plugin build`; "
                    + "if this is not a plugin, move it out of the plugin directory.")
        }
        if let library = neededLibraries.first(where: { library in PluginFile.runtimeLibraries.contains { library.hasPrefix($0) } }) {
            throw PluginRefusal(
                .sharedRuntime, file: name,
                problem: "needs \(library), and plugins that share a Swift runtime corrupt each other",
                cure: "Build it with `pawl plugin build`, or add `-Xswiftc -static-stdlib`, so that it brings a runtime of its own.")
        }
        let note = try PluginNote(image.noteTexts(owner: "PAWL"), file: name)
        (interfaceVersion, sdk, compiler) = (note.interfaceVersion, note.sdk, note.compiler)
        let others = exports.map(\.name).filter { $0 != PluginFile.registerSymbol && !PluginFile.linkerSymbols.contains($0) }
        if others.isEmpty {
            warnings = []
        } else {
            let some = others.prefix(3).joined(separator: ", ")
            warnings = [
                "\(name) exports \(others.count) symbols besides \(PluginFile.registerSymbol) (\(some)\(others.count > 3 ? ", …" : "")): "
                    + "harmless, but it is larger and loads slower than with `pawl plugin build` or -fvisibility=hidden"
            ]
        }
    }

    private static func refusal(of error: ELFError, size: Int, name: String) -> PluginRefusal {
        switch error {
        case .notELF:
            PluginRefusal(
                .notELF, file: name, problem: "is not a shared library: it does not begin as an ELF file does",
                cure: "Put here only what `pawl plugin build`, or a C compiler with -shared, made.")
        case .wrongClass:
            PluginRefusal(
                .wrongMachine, file: name, problem: "is not built for a 64-bit little-endian machine",
                cure: "Build it for \(machineName(ELFImage.hostMachine)).")
        case .wrongMachine(let machine):
            PluginRefusal(
                .wrongMachine, file: name,
                problem: "is built for \(machineName(machine)), and this machine is \(machineName(ELFImage.hostMachine))",
                cure: "Build it for \(machineName(ELFImage.hostMachine)).")
        case .notSharedLibrary:
            PluginRefusal(
                .notSharedLibrary, file: name, problem: "is an ELF file, but a program or an object file, not a shared library",
                cure: "Build it with `pawl plugin build`, or with a C compiler's -shared -fPIC.")
        case .truncated(let expected):
            PluginRefusal(
                .truncated, file: name, problem: "is cut short: it has \(size) bytes and should have at least \(expected)",
                cure: "Copy it again under another name, and rename that to \(name) when it is whole.")
        case .damaged(let detail):
            PluginRefusal(.damaged, file: name, problem: "is damaged: \(detail)", cure: "Build it again, or copy it again from where it was built.")
        }
    }

    private static func machineName(_ machine: UInt16) -> String {
        switch machine {
        case 3: "x86 (32-bit)"
        case 40: "ARM (32-bit)"
        case 62: "x86-64"
        case 183: "aarch64"
        case 243: "RISC-V"
        default: "machine type \(machine)"
        }
    }
}

/// `PAWL_PLUGIN_NOTE`: `interface=1;sdk=c;compiler=12.2.0`.
private struct PluginNote {
    let interfaceVersion: Int
    let sdk: String
    let compiler: String

    init(_ texts: [String], file: String) throws(PluginRefusal) {
        guard let text = texts.first else {
            throw PluginRefusal(
                .noNote, file: file, problem: "carries no note that says which plugin interface it was built for",
                cure: "Put PAWL_PLUGIN_NOTE(\"c\"); into one C file of it and do not strip .note.pawl; the Swift SDK brings the note by itself.")
        }
        guard Set(texts).count == 1 else {
            throw PluginRefusal(
                .noNote, file: file, problem: "carries notes of more than one build of the plugin interface (\(texts.joined(separator: " | ")))",
                cure: "Build all its parts against one pawl_plugin.h.")
        }
        let fields = Dictionary(
            // The compiler's text comes last and may itself contain a semicolon.
            text.split(separator: ";", maxSplits: 2).compactMap { field -> (Substring, Substring)? in
                guard let equals = field.firstIndex(of: "=") else { return nil }
                return (field[..<equals], field[field.index(after: equals)...])
            }, uniquingKeysWith: { first, _ in first })
        guard let version = fields["interface"].flatMap({ Int($0) }) else {
            throw PluginRefusal(
                .noNote, file: file, problem: "carries a note that does not say which plugin interface it was built for",
                cure: "Use PAWL_PLUGIN_NOTE of pawl_plugin.h as it is.")
        }
        interfaceVersion = version
        sdk = String(fields["sdk"] ?? "")
        compiler = String(fields["compiler"] ?? "")
        let host = Int(PAWL_INTERFACE_VERSION)
        if version > host {
            throw PluginRefusal(
                .newerInterface, file: file, problem: "was built for plugin interface \(version), and this pawld speaks \(host)",
                cure: "Upgrade pawld, or build the plugin against this pawld's pawl_plugin.h.")
        }
        if version < host {
            throw PluginRefusal(
                .olderInterface, file: file, problem: "was built for plugin interface \(version), and this pawld speaks \(host)",
                cure: "Build the plugin again, against this pawld's pawl_plugin.h or SDK.")
        }
    }
}
