import Foundation
import PostgresTestSupport

/// Fixtures in C, compiled once for all tests.
enum TestPlugin {
    static let bank = build("bank")
    /// Does what its input says.
    static let script = build("script")
    static let script2 = build("script", as: "script-2", defines: ["VERSION=2"])
    /// The same under another name, for a plugin beside it.
    static let other = build("script", as: "other", defines: ["NAME=\"other\""])
    /// In the place of the Swift fixture's handler of that name.
    static let child = build("script", as: "child", defines: ["NAME=\"child\""])

    private static func build(_ fixture: String, as name: String? = nil, defines: [String] = []) -> Result<URL, any Error> {
        Result {
            let checkout = BuiltProducts.checkout
            let directory = FileManager.default.temporaryDirectory.appending(path: "pawl-plugins-\(getpid())")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let output = directory.appending(path: "\(name ?? fixture).so")
            let compiler = try TestProcess(
                "/usr/bin/env",
                [
                    "cc", "-shared", "-fPIC", "-g", "-pthread", "-D_GNU_SOURCE", "-I", checkout.appending(path: "Sources/CPawlPlugin/include").path,
                    checkout.appending(path: "Tests/EndToEndTests/Fixtures/\(fixture).c").path, "-o", output.path,
                ] + defines.map { "-D\($0)" })
            guard try compiler.waitBlocking(within: .seconds(60)) == .exited(0) else { throw TestFailure(compiler.output) }
            return output
        }
    }
}
