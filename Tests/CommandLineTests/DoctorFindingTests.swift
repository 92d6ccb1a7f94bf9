import PostgresStore
import Testing

@testable import pawl_cli

/// When clocks are said to differ, and which way.
@Suite struct DoctorFindingTests {
    @Test(
        arguments: [
            (2_000_000, 0, "2.0 s behind"), (-2_000_000, 0, "2.0 s ahead of"), (2_000_000, 100_000, "2.0 s behind"), (500_000, 0, nil), (-500_000, 0, nil),
            // As far as so slow an answer tells, it may be half a second.
            (2_000_000, 3_000_000, nil), (-2_000_000, 3_000_000, nil),
        ] as [(Int64, Int64, String?)])
    func clocks(_ ahead: Int64, _ roundTrip: Int64, _ difference: String?) {
        let clock = ClockDifference(asked: 1_000_000, server: 1_000_000 + roundTrip / 2 + ahead, answered: 1_000_000 + roundTrip)
        #expect(clock.ahead == ahead)
        let findings = DoctorCommand.findings(clock)
        #expect(findings.map { $0["finding"].text } == (difference == nil ? [] : ["clock_difference"]))
        #expect(
            findings.first?["message"].text == difference.map { "the clock of this machine is \($0) the server's: a worker here times steps by it" })
    }
}
