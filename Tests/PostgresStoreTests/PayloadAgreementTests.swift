import PostgresTestSupport
import Testing
import WorkflowEngine

/// What the engine lets through, jsonb takes, and what it refuses, jsonb refuses: no row may fail a write that many workflows share.
@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment))
struct PayloadAgreementTests {
    private static let seeds = [
        #"{"a": [1, 2.5, -3e2, "x\u0041\n", true, false, null], "b": {"c": "é😀", "d": []}}"#, #"[[], {}, "", 0, "\\", "\"", {"k": {"k": [1]}}]"#,
        #""\ud83d\ude00""#, "-12.75E+3", #"{"x":"\t","y":[{"z":[[[0]]]}]}"#, "1e131071", "1e-16383", "0.001e131073", "0e99999", "123456e131066",
        "0.000012e-16377", "1e1073741822", "0e1073741822", "12E400", #""\ud800\udc00\u0000""#,
    ]

    @Test func mutatedDocuments() throws {
        let database = try TestDatabase.make()
        let session = try database.connect()
        try session.script(
            """
            CREATE FUNCTION takes(value bytea) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                PERFORM length(convert_from(value, 'UTF8')::jsonb::text);
                RETURN true;
            EXCEPTION WHEN OTHERS THEN
                RETURN false;
            END $$
            """)
        let alphabet = Array(#"{}[]",:\u0123456789abdtrfnE+-. eE\#u{1}é"#.utf8) + [0xC3, 0xFF, 0xED, 0xA0, 0xF0, 0x9F, 0x80, 0]
        var random = Repeatable(state: 99)
        var taken = 0
        for _ in 0..<20 {
            let documents = (0..<500).map { _ -> [UInt8] in
                var bytes = Array(Self.seeds.randomElement(using: &random)!.utf8)
                for _ in 0..<Int.random(in: 0...3, using: &random) {
                    let at = Int.random(in: 0..<bytes.count, using: &random)
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0: bytes[at] = alphabet.randomElement(using: &random)!
                    case 1: bytes.insert(alphabet.randomElement(using: &random)!, at: at)
                    default: bytes.remove(at: at)
                    }
                }
                return bytes
            }
            let hexadecimal = documents.map { $0.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined() }
            let verdicts = try session.execute(
                "SELECT takes(decode(x.value, 'hex')) FROM unnest(string_to_array($1, ',')) WITH ORDINALITY AS x (value, place) ORDER BY place",
                hexadecimal.joined(separator: ",")
            ).rows.map { $0[0] == "t" }
            #expect(verdicts.count == documents.count)
            for (document, isTaken) in zip(documents, verdicts) {
                taken += isTaken ? 1 : 0
                let problem = PayloadCheck.problem(in: document, limit: .max)
                #expect((problem == nil) == isTaken, "\(String(decoding: document, as: UTF8.self)): \(problem?.reason ?? "let through")")
            }
        }
        #expect(taken > 1000 && taken < 9000)
    }
}

private struct Repeatable: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (state >> 32) ^ (state << 31)
    }
}
