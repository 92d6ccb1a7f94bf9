import Foundation
import Testing

@testable import WorkflowEngine

@Suite struct PayloadCheckTests {
    private func problem(_ text: String, limit: Int = 1 << 20) -> PayloadProblem? { PayloadCheck.problem(in: Array(text.utf8), limit: limit) }

    @Test(arguments: [
        "null", "true", "false", "0", "-0", "1.5e-10", "\"\"", "[]", "{}", " {\"a\" : [1, 2, {\"b\": null}]}\n", #""\ud83d\ude00 \u0041 \/ \b""#,
        "\"\u{1F600} é \u{FFFF}\"", #"{"": 1, "": 2}"#, "[[[[]]]]", "1e131071", "0e1000000", "0.0001e131075", "1e-16383", "\"\u{7F}\"",
    ])
    func storable(_ text: String) { #expect(problem(text) == nil) }

    @Test(arguments: [
        ("", "no JSON value at $ (byte 0)"), ("   ", "no JSON value"), ("{", "ends too early"), ("[1,]", "not JSON at $[1] (byte 3)"),
        ("01", "something follows"),
        ("1 2", "something follows"), ("+1", "not JSON"), (".5", "not JSON"), ("1.", "too early"), ("1e", "too early"), ("-", "too early"),
        ("nul", "too early"),
        ("nule", "not JSON"), ("{\"a\":1,}", "not JSON"), ("{a:1}", "not JSON"), ("{\"a\" 1}", "not JSON at $.a"), ("'a'", "not JSON"), ("[1}", "not JSON"),
        ("{\"a\":[1]]", "not JSON"), ("\"a\nb\"", "control character"), (#""\x""#, "unknown escape"), (#""\u12g4""#, "unknown escape"),
        (#"{"items": [{"name": "ok"}, {"name": "\u0000"}]}"#, "U+0000, which jsonb cannot hold, at $.items[1].name"),
        (#"["\ud800"]"#, "a lone surrogate at $[0]"), (#"["\udc00"]"#, "a lone surrogate at $[0]"), (#"["\ud800\u0041"]"#, "a lone surrogate"),
        (#"["\ud800\ud800"]"#, "a lone surrogate"), (#"{"a b": {"c": 1e131072}}"#, #"a number that numeric cannot hold at $["a b"].c"#),
        ("1e-16384", "a number"), ("0.1e-16383", "a number"), ("1e99999999999999999999", "a number"), ("0e1073741823", "a number"),
    ])
    func refused(_ text: String, _ reason: String) throws {
        let problem = try #require(self.problem(text))
        #expect(problem.code == "payload_invalid")
        #expect(problem.reason.contains(reason), "\(problem.reason)")
    }

    @Test func longNumbers() {
        #expect(problem("1" + String(repeating: "0", count: 131_071)) == nil)
        #expect(problem("1" + String(repeating: "0", count: 131_072))?.reason.hasPrefix("a number") == true)
        #expect(problem("0." + String(repeating: "0", count: 16_383)) == nil)
        #expect(problem("0." + String(repeating: "0", count: 16_384))?.reason.hasPrefix("a number") == true)
    }

    @Test func depthOf512IsStorable() {
        #expect(problem(String(repeating: "[", count: 513) + String(repeating: "]", count: 513))?.reason.hasPrefix("nesting deeper than 512") == true)
        #expect(problem(String(repeating: "[", count: 512) + String(repeating: "]", count: 512)) == nil)
        #expect(problem(String(repeating: "{\"a\":", count: 512) + "1" + String(repeating: "}", count: 512)) == nil)
    }

    @Test(
        arguments: [
            [0x22, 0xC0, 0x80, 0x22], [0x22, 0xC1, 0xBF, 0x22], [0x22, 0xE0, 0x80, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0xF0, 0x80, 0x80, 0x80, 0x22],
            [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xF5, 0x80, 0x80, 0x80, 0x22], [0x22, 0x80, 0x22], [0x22, 0xE2, 0x82, 0x22], [0x22, 0xC3],
            [0x22, 0xF0, 0x9F, 0x98, 0x22], [0x22, 0xFF, 0x22], [0x22, 0xE2, 0x28, 0xA1, 0x22],
        ] as [[UInt8]])
    func invalidUTF8(_ bytes: [UInt8]) {
        #expect(PayloadCheck.problem(in: bytes, limit: 100)?.reason.hasPrefix("invalid UTF-8") == true)
    }

    @Test func sizes() {
        #expect(problem("\"abc\"", limit: 5) == nil)
        #expect(problem("\"abc\"", limit: 4)?.code == "payload_too_large")
        // Seven bytes here, 131,072 digits when the database writes it out.
        let bomb = "[" + Array(repeating: "1e131071", count: 100).joined(separator: ",") + "]"
        #expect(problem(bomb)?.code == "payload_too_large")
        #expect(problem(bomb)?.reason.contains("$[7]") == true, "\(problem(bomb)!.reason)")
    }

    @Test func pathsAreCutNotLost() {
        let deep = String(repeating: "{\"some_long_key\":", count: 100) + "\u{1}"
        #expect(problem(deep)!.reason.contains("$.some_long_key.some_long_key"))
        #expect(problem(deep)!.reason.utf8.count < 300)
    }

    /// Random mutations of valid documents, judged by Foundation's parser as well where the two have the same rules.
    @Test func agreesWithFoundation() throws {
        var random = SplitMix64(state: 7)
        let seeds = [
            #"{"a": [1, 2.5, -3e2, "x\u0041\n", true, false, null], "b": {"c": "é😀", "d": []}}"#, #"[[], {}, "", 0, "\\", "\"", {"k": {"k": [1]}}]"#,
            #""\ud83d\ude00""#, "-12.75E+3", #"{"x":"\t","y":[{"z":[[[0]]]}]}"#,
        ]
        let alphabet = Array(#"{}[]",:\u0123456789abdtrfnE+-. \#u{1}é"#.utf8) + [0xC3, 0xFF, 0xED, 0xA0]
        var valid = 0
        for _ in 0..<60_000 {
            var bytes = Array(seeds.randomElement(using: &random)!.utf8)
            for _ in 0..<Int.random(in: 0...3, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = alphabet.randomElement(using: &random)!
                case 1: bytes.insert(alphabet.randomElement(using: &random)!, at: at)
                default: bytes.remove(at: at)
                }
                if bytes.isEmpty { bytes = [0x20] }
            }
            let mine = PayloadCheck.problem(in: bytes, limit: .max)
            let parsed = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
            let text = String(decoding: bytes, as: UTF8.self)
            if mine == nil {
                valid += 1
                // A Double holds less than numeric.
                let isLargeNumber = text.contains(/[eE][+-]?\d{3}/)
                #expect(parsed != nil || isLargeNumber, "storable here, refused by Foundation: \(text)")
            } else if parsed != nil {
                // Foundation knows no U+0000 rule, and forgives trailing commas, some surrogates and huge numbers; nothing else.
                let reason = mine!.reason
                let isForgiven = ["U+0000", "surrogate", "a number"].contains { reason.contains($0) } || text.contains(/,\s*[\]}]/)
                #expect(isForgiven, "refused here (\(reason)), taken by Foundation: \(text)")
            }
        }
        #expect(valid > 5_000)
    }
}
