import MemoryStore
import PostgresTestSupport
import StoreConformance
import Testing
import WorkflowEngine

extension StoreSuites {
    /// The store over Postgres does what every store must, whichever of its writes its worker dies before or after.
    @Suite struct ConformanceTests {
        @Test(arguments: ConformanceCase.all)
        func conforms(_ conformance: ConformanceCase) async throws {
            let points = try await inWorld { try await conformance.run(in: $0) }
            for point in 1...points {
                try await inWorld { try await conformance.run(in: $0, crashAt: point) }
            }
        }

        private func inWorld<Result>(_ body: (PostgresWorld) async throws -> Result) async throws -> Result {
            let world = try PostgresWorld()
            let result = try await body(world)
            await world.shutdown()
            return result
        }
    }
}

private final class PostgresWorld: ConformanceWorld {
    let database: TestDatabase
    let admin: TestConnection
    private var workers: [PostgresWorker] = []

    init() throws {
        database = try TestDatabase.make()
        admin = try database.connect()
    }

    func shutdown() async {
        for worker in workers { await worker.fixture.shutdown() }
        admin.close()
    }

    func makeWorker() async throws -> any ConformanceWorker {
        let worker = PostgresWorker(try await StoreFixture(database))
        workers.append(worker)
        return worker
    }

    /// It is declared dead first, so nothing that its store does while it goes counts.
    func kill(_ worker: any ConformanceWorker) async throws {
        guard let worker = worker as? PostgresWorker, let life = worker.fixture.lives.last else { return }
        workers.removeAll { $0 === worker }
        try admin.execute("SELECT pawl.unregister_worker($1::uuid)", life)
        await worker.fixture.shutdown()
    }

    func enqueue(_ id: String, input: String) async throws { try admin.execute("SELECT pawl.enqueue_workflow('w', $1::jsonb, $2)", input, id) }

    func send(_ message: String, to id: String, topic: String) async throws -> Bool? {
        try admin.value("SELECT pawl.send_message($1, $2::jsonb, $3)", id, message, topic).map { $0 == "t" }
    }

    func cancel(_ id: String) async throws -> Bool { try admin.value("SELECT pawl.cancel_workflow($1)", id) == "t" }
    func resume(_ id: String) async throws -> Bool { try admin.value("SELECT pawl.resume_workflow($1)", id) == "t" }

    func receivers(of id: String) async throws -> [String?] {
        try admin.execute(
            """
            SELECT m.consumed_by FROM pawl.message m JOIN pawl.workflows w ON w.workflow_key = m.workflow_key WHERE w.workflow_id = $1
            ORDER BY m.message_key
            """, id
        ).column("consumed_by")
    }

    /// Time passes by itself here.
    func pass(milliseconds: Int) async throws {}

    func look(at id: String) async throws -> ConformanceLook {
        func value(_ column: String) throws -> String? { try admin.value("SELECT \(column) FROM pawl.workflows WHERE workflow_id = $1", id) }
        let steps = try admin.execute(
            """
            SELECT concat_ws(' ', s.step_name, s.kind, s.status) AS step FROM pawl.workflow_steps s WHERE s.workflow_id = $1 ORDER BY s.step_number
            """, id
        ).column("step")
        return ConformanceLook(
            status: try value("status") ?? "missing", reason: try value("status_reason"), output: try value("output").flatMap { StoredJSON($0) },
            errorCode: try value("error ->> 'code'"), attributes: try value("attributes").flatMap { StoredJSON($0) },
            progress: try value("progress").flatMap { StoredJSON($0) }, steps: steps.compactMap { $0 })
    }
}

private final class PostgresWorker: ConformanceWorker {
    let fixture: StoreFixture

    init(_ fixture: StoreFixture) { self.fixture = fixture }

    func claimOne() async throws -> ClaimedWorkflow { try await fixture.claimAll(1)[0] }

    func write(steps: [StepRecord], ends: [WorkflowEnd]) async throws -> (steps: [Int: Refusal], ends: [Int: Refusal]) {
        let written = try await fixture.write(steps: steps, ends: ends)
        return (written.steps, written.ends)
    }

    func perform(_ call: DurableCall) async throws -> CallResult { try await fixture.perform(call)[0] }
    func emit(_ emission: Emission) async throws -> Refusal? { try await fixture.emit(emission)[0] }

    func park(_ fence: Fence) async throws {
        let before = fixture.parked.count
        fixture.send(.park([Parking(fence: fence, waitingFor: "a test")]))
        try await eventually("it is parked", every: .milliseconds(2)) { self.fixture.parked.count > before }
    }

    func signal(about fence: Fence) async throws -> Signal {
        try await eventually("it is signalled", every: .milliseconds(2)) { self.fixture.signals.contains { $0.fence == fence } }
        return fixture.signals.last { $0.fence == fence }!
    }
}
