import PostgresClient
@testable import PostgresStore
import PostgresTestSupport
import Testing

@Suite struct StatementTests {
    /// Every statement of the store, against the extension as it is.
    @Test(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) func everyStatementPrepares() throws {
        let database = try TestDatabase.make()
        let statements = Dictionary(StatementSet.all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        #expect(statements.count == 24)
        let session = try BlockingConnection(
            ConnectionOptions(connectionString: database.connectionString, statements: Array(statements.values)))
        for command in TransactionCommand.reset { try session.execute(command) }
        try session.execute(EndBackendStatement.identityQuery)
    }

    @Test(arguments: [
        ("SELECT 1", LeadingKeyword.Verdict.allowed), ("update t set commit = 1", .allowed), ("", .allowed), ("   ;;  ", .allowed),
        ("COMMIT", .controlsTransaction("COMMIT")), (" commit work", .controlsTransaction("COMMIT")), (";COMMIT", .controlsTransaction("COMMIT")),
        ("-- hi\nEnd", .controlsTransaction("END")), ("-- hi\rEnd", .controlsTransaction("END")),
        ("/* a /* nested */ comment */abort", .controlsTransaction("ABORT")), ("/* open", .allowed),
        ("\u{000B}\u{000C}\t\r\nbegin", .controlsTransaction("BEGIN")), ("START TRANSACTION", .controlsTransaction("START")),
        ("ROLLBACK", .controlsTransaction("ROLLBACK")), ("rollback/**/work", .controlsTransaction("ROLLBACK")),
        ("ROLLBACK AND CHAIN", .controlsTransaction("ROLLBACK")), ("ROLLBACK TO s", .allowed), ("rollback transaction to savepoint s", .allowed),
        ("ROLLBACK PREPARED 'x'", .controlsTransaction("ROLLBACK")), ("COMMIT PREPARED 'x'", .controlsTransaction("COMMIT")),
        ("PREPARE TRANSACTION 'x'", .controlsTransaction("PREPARE TRANSACTION")), ("prepare x as select 1", .dirties), ("DEALLOCATE ALL", .dirties),
        ("commitment", .allowed), ("SAVEPOINT a", .allowed), ("\"commit\"", .allowed), ("('COMMIT')", .allowed),
    ])
    func theFirstWordsDecide(_ sql: String, _ verdict: LeadingKeyword.Verdict) {
        #expect(LeadingKeyword.judge(sql) == verdict)
    }

    @Test(arguments: [
        ("", #""""#), ("plain", #""plain""#), ("\"\\/", #""\"\\/""#), ("a\nb\tc\rd\u{0}e\u{1F}f\u{7F}", "\"a\\nb\\tc\\rd\\u0000e\\u001ff\u{7F}\""),
        ("ünïcode 😀", "\"ünïcode 😀\""), ("\u{8}", #""\u0008""#),
    ])
    func stringsAreEscaped(_ text: String, _ json: String) {
        var bytes: [UInt8] = []
        Array(text.utf8).withUnsafeBytes { SQLResultJSON.append($0, to: &bytes) }
        #expect(String(decoding: bytes, as: UTF8.self) == json)
    }
}
