internal import FoundationEssentials

/// What `swift package dump-package` says about a plugin's package.
struct PluginPackage: Decodable {
    struct Product: Decodable {
        let name: String
        let type: Kind

        /// `{"library": ["dynamic"]}`, `{"executable": null}`, …
        struct Kind: Decodable {
            let library: [String]?
        }
    }
    struct ToolsVersion: Decodable {
        let _version: String
    }

    let name: String
    let products: [Product]
    let toolsVersion: ToolsVersion

    private var dynamicLibraries: [String] { products.filter { $0.type.library?.contains("dynamic") == true }.map(\.name) }

    /// The product to build.
    func product(named wanted: String?) throws -> String {
        let candidates = dynamicLibraries
        if let wanted {
            if candidates.contains(wanted) { return wanted }
            guard products.contains(where: { $0.name == wanted }) else {
                let others = candidates.isEmpty ? "none" : candidates.joined(separator: ", ")
                throw CommandFailure("package \(name) has no product \(wanted); its dynamic libraries: \(others)")
            }
            throw CommandFailure("product \(wanted) of package \(name) is no dynamic library; declare it as\n    \(declaration(wanted))")
        }
        switch candidates.count {
        case 1: return candidates[0]
        case 0:
            throw CommandFailure(
                "package \(name) has no dynamic library to build a plugin from; in its Package.swift, declare a product such as\n    "
                    + declaration(products.first?.name ?? name))
        default:
            throw CommandFailure(
                "package \(name) has several dynamic libraries; choose one: --product \(candidates.joined(separator: " | "))")
        }
    }

    private func declaration(_ name: String) -> String { ".library(name: \"\(name)\", type: .dynamic, targets: [\"\(name)\"])" }

    /// In older modes the compiler lets through what a workflow must not do.
    var hasSwift6Mode: Bool { (toolsVersion._version.split(separator: ".").first.flatMap { Int($0) } ?? 0) >= 6 }

    static func read(swift: String, directory: String) throws -> PluginPackage {
        let json = try ChildProcess.output(of: swift, ["package", "--package-path", directory, "dump-package"])
        do {
            return try JSONDecoder().decode(PluginPackage.self, from: Data(json))
        } catch {
            throw CommandFailure("cannot read what `swift package dump-package` says about \(directory): \(error)")
        }
    }
}
