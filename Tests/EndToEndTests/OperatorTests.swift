import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// The command line beside a worker that lives.
    @Suite struct OperatorTests {
        private static func start(_ bank: Bank, _ arguments: String...) throws -> TestProcess {
            try TestProcess(BuiltProducts.executable("pawl"), arguments, environment: ["PGDATABASE": bank.database.name, "PAWL_DATABASE": ""])
        }

        /// The findings of `pawl doctor`, but for the one about every cluster of tests.
        private static func findings(_ bank: Bank) async throws -> [String] {
            struct Report: Decodable {
                struct Finding: Decodable { let finding, object: String }
                let findings: [Finding]
            }
            let doctor = try start(bank, "doctor", "--json")
            _ = try await doctor.wait()
            return try JSONDecoder().decode(Report.self, from: Data(doctor.output.utf8)).findings.filter { $0.object != "fsync" }.map(\.finding)
        }

        @Test func aSoundWorkerIsNoFindingAndAKilledOneIs() async throws {
            let bank = try Bank()
            let worker = try bank.worker()
            try bank.enqueueTransfers(1)
            try await bank.waitForEnds(1, of: worker)
            #expect(try await Self.findings(bank) == [])
            try worker.killNow()
            try await eventually("the killed worker is found") { try await Self.findings(bank) == ["silent_worker"] }
        }

        @Test func theBenchmarkMeasuresTheWorkerAndLeavesNothing() async throws {
            struct Measure: Decodable { let measure: String; let count: Int }
            let bank = try Bank()
            let worker = try bank.worker()
            try bank.enqueueTransfers(1)
            try await bank.waitForEnds(1, of: worker)
            let bench = try Self.start(bank, "bench", "--count", "20", "--json")
            #expect(try await bench.wait() == .exited(0), "\(bench.output)")
            let measures = try JSONDecoder().decode([Measure].self, from: Data(bench.output.utf8))
            #expect(measures.map(\.count) == [100, 5000, 20, 20, 20])
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'pawl_bench'") == 0)
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.handlers WHERE workflow_name = 'pawl_bench'") == 0)
        }

        @Test func tailShowsAWorkflowFromItsEnqueueingToItsEnd() async throws {
            struct Event: Decodable { let event, workflow_id: String }
            let bank = try Bank()
            let worker = try bank.worker()
            let tail = try Self.start(bank, "tail", "--since", "1min", "--json", "--count", "3")
            try bank.enqueueTransfers(1)
            try await bank.waitForEnds(1, of: worker)
            #expect(try await tail.wait() == .exited(0), "\(tail.output)")
            let events = try tail.output.split(separator: "\n").map { try JSONDecoder().decode(Event.self, from: Data($0.utf8)) }
            #expect(events.first?.event == "enqueued")
            #expect(events.dropFirst().first?.event == "step")
        }
    }
}
