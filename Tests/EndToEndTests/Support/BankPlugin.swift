import Foundation
import PostgresTestSupport

/// `Fixtures/bank.c`, compiled once for all tests.
enum BankPlugin {
    static let built: Result<URL, any Error> = Result {
        let checkout = BuiltProducts.checkout
        let output = FileManager.default.temporaryDirectory.appending(path: "pawl-bank-\(getpid()).so")
        let compiler = try TestProcess(
            "/usr/bin/env",
            [
                "cc", "-shared", "-fPIC", "-pthread", "-I", checkout.appending(path: "Sources/CPawlPlugin/include").path,
                checkout.appending(path: "Tests/EndToEndTests/Fixtures/bank.c").path, "-o", output.path,
            ])
        guard try compiler.waitBlocking(within: .seconds(60)) == .exited(0) else { throw TestFailure(compiler.output) }
        return output
    }
}
