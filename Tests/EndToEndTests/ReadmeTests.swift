import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct ReadmeTests {
        /// The README's SQL that a new user types first does what it says, with a worker that has no plugin for it.
        @Test func sixtySecondsWithNothingButSQL() async throws {
            let readme = try String(contentsOf: BuiltProducts.checkout.appending(path: "README.md"), encoding: .utf8)
            let script = try #require(readme.components(separatedBy: "```sql try\n").dropFirst().first?.components(separatedBy: "\n```").first)
            let bank = try Bank()
            try bank.admin.script(script)
            let worker = try bank.worker()
            try await bank.waitForEnds(1, of: worker)
            #expect(try bank.status("books-2026-11-20") == "succeeded")
            #expect(try bank.admin.value("SELECT output ->> 'turnover' FROM pawl.workflows") == "1234.50")
            #expect(try bank.admin.integer("SELECT count(*) FROM books") == 1)
        }
    }
}
