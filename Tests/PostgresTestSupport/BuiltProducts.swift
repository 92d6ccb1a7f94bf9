package import Foundation

/// Where the build put the executables that belong to these tests.
package enum BuiltProducts {
    /// The directory of the test program itself.
    package static let directory: URL = {
        let path = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
        return URL(filePath: path).deletingLastPathComponent()
    }()

    /// A product by its name: `pawld`, `pawl`.
    package static func executable(_ name: String) throws -> String {
        let path = directory.appending(path: name).path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw TestFailure("no \(name) in \(directory.path): build all products first (`swift build`)")
        }
        return path
    }

    /// The root of the checkout.
    package static let checkout = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
}
