import Foundation
import Logging
import Testing

@testable import pawld

@Suite struct StandardErrorLogTests {
    /// What a logger writes.
    func written(_ form: StandardErrorLog.Form, level: Logger.Level = .trace, _ body: (Logger) -> Void) throws -> String {
        let path = FileManager.default.temporaryDirectory.appending(path: "pawl-log-\(UUID().uuidString)").path
        defer { unlink(path) }
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        body(Logger(label: "test") { _ in StandardErrorLog(level: level, form: form, descriptor: descriptor) })
        return try String(contentsOfFile: path, encoding: .utf8)
    }

    @Test func theJournalGetsPrioritiesAndNoTime() throws {
        let text = try written(.journal) { logger in
            logger.critical("a")
            logger.error("b")
            logger.warning("c")
            logger.notice("d")
            logger.info("e")
            logger.debug("f")
        }
        #expect(text == "<2>a\n<3>b\n<4>c\n<5>d\n<6>e\n<7>f\n")
    }

    @Test func aTerminalGetsTimeAndLevel() throws {
        let text = try written(.terminal) { $0.info("ready", metadata: ["workers": "2"]) }
        #expect(text.contains(#/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info pawld: ready workers=2\n$/#))
    }

    @Test func metadataIsInOrderAndQuotedWhereItMustBe() throws {
        let text = try written(.journal) { logger in
            var logger = logger
            logger[metadataKey: "worker"] = "w1"
            logger.info("ended", metadata: ["workflow_id": "order 7", "epoch": "3", "why": "say \"no\"", "none": ""])
        }
        #expect(text == "<6>ended epoch=3 none=\"\" why=\"say \\\"no\\\"\" worker=w1 workflow_id=\"order 7\"\n")
    }

    /// A quote and an accent after it are one character.
    @Test func everyQuoteIsEscaped() {
        #expect(StandardErrorLog.quoted("a \"\u{308}").utf8.elementsEqual("\"a \\\"\u{308}\"".utf8))
    }

    @Test func oneEventIsOneLine() throws {
        let text = try written(.journal) { $0.info("a\nb\u{1B}[31m", metadata: ["x": "1\n<2>forged"]) }
        #expect(text == "<6>a\\nb\\u{1b}[31m x=\"1\\n<2>forged\"\n")
    }

    @Test func lowerLevelsAreLeftOut() throws {
        #expect(try written(.journal, level: .warning) { $0.info("quiet") } == "")
    }

    @Test func theJournalIsKnownByItsStream() {
        var status = stat()
        fstat(STDERR_FILENO, &status)
        #expect(StandardErrorLog.form(journalStream: "\(status.st_dev):\(status.st_ino)") == .journal)
        #expect(StandardErrorLog.form(journalStream: "\(status.st_dev):\(status.st_ino + 1)") == .terminal)
        #expect(StandardErrorLog.form(journalStream: nil) == .terminal)
    }
}
