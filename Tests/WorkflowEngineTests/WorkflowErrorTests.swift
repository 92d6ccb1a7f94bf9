import Foundation
import Testing

@testable import WorkflowEngine

@Suite struct WorkflowErrorTests {
    @Test func roundTrip() {
        let error = WorkflowError(
            code: "payment_declined", type: "Shop.Declined", message: "The \"card\" \\ said:\n\tno \u{1F600}\u{1}", detail: Array(#"{"a": [1, "}"]}"#.utf8),
            step: "left/charge#2", cause: Array(#"{"code": "x"}"#.utf8), attempt: 3)
        #expect(WorkflowError(decoding: error.encoded()) == error)
        #expect(PayloadCheck.problem(in: error.encoded(), limit: .max) == nil)
    }

    @Test func allKeysAreThere() throws {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(WorkflowError(code: "a", type: "b", message: "c").encoded())) as? [String: Any])
        #expect(Set(object.keys) == ["code", "type", "message", "step", "attempt", "detail", "cause"])
        #expect(object["step"] is NSNull)
    }

    @Test func jsonbCanHoldWhatItCannot() {
        let error = WorkflowError(code: "a\0b", type: "\0", message: "nul: \0", detail: Array("\"\\u0000\"".utf8), cause: Array("not json".utf8))
        let stored = error.storable(limit: 1000)
        #expect(PayloadCheck.problem(in: stored.encoded(), limit: .max) == nil)
        let decoded = WorkflowError(decoding: stored.encoded())
        #expect(decoded.message == "nul: \u{FFFD}")
        #expect(String(decoding: decoded.detail!, as: UTF8.self).contains("left_out"))
        #expect(String(decoding: decoded.cause!, as: UTF8.self).contains("left_out"))
    }

    @Test func overlongTextsAreCutAtCharacters() {
        let error = WorkflowError(
            code: "", type: String(repeating: "é", count: 500), message: String(repeating: "😀", count: 10_000),
            detail: Array("[\(String(repeating: " ", count: 900))]".utf8))
        let stored = error.storable(limit: 1000)
        #expect(stored.code == "unknown")
        #expect(stored.type.utf8.count == 512)
        #expect(stored.message.utf8.count == 16_384)
        #expect(String(decoding: stored.detail!, as: UTF8.self).contains("too large") == false)
        #expect(String(decoding: stored.detail!, as: UTF8.self).contains("902 bytes"))
    }

    /// Anybody with the right to record a step can store any JSON as its error.
    @Test(arguments: [
        "1", "\"text\"", "[1, 2]", "null", "{}", "{\"message\": 5}", "{\"message\": {\"a\": \"}\"}}", "{\"code\": null, \"attempt\": \"x\"}", "nonsense", "",
        "{\"code\": \"\\ud83d\\ude00\\n\\u0041\"}",
    ])
    func whateverIsStored(_ text: String) {
        let error = WorkflowError(decoding: Array(text.utf8))
        #expect(PayloadCheck.problem(in: error.encoded(), limit: .max) == nil)
        if text == "\"text\"" { #expect(error.detail == Array(text.utf8)) }
        if text.hasPrefix("{\"message\": 5") { #expect(error.message == "5") }
        if text.contains("ud83d") { #expect(error.code == "😀\nA") }
    }

    @Test func attemptOfAnErrorIsDecoded() { #expect(WorkflowError(decoding: Array("{\"attempt\": 4}".utf8)).attempt == 4) }
}
