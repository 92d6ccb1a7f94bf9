import Foundation

/// The checkout, as text.
enum SourceTree {
    static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    struct File: CustomStringConvertible {
        /// From the root of the checkout.
        let path: String
        let text: String

        var description: String { path }
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        /// `Sources/X/…` belongs to `X`.
        var target: String { String(path.split(separator: "/")[1]) }
    }

    /// All files below a directory whose names end so.
    static func files(below directory: String, suffix: String) -> [File] {
        guard let paths = try? FileManager.default.subpathsOfDirectory(atPath: root.appending(path: directory).path) else { return [] }
        return paths.filter { $0.hasSuffix(suffix) && !$0.contains(".build/") }.sorted().compactMap { read("\(directory)/\($0)") }
    }

    static func read(_ path: String) -> File? {
        (try? String(contentsOf: root.appending(path: path), encoding: .utf8)).map { File(path: path, text: $0) }
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appending(path: path).path)
    }
}
