import Locking
import PostgresClient
import PostgresTestSupport
import Testing

@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct SessionTests {
    let database: TestDatabase
    let fixture = LoopFixture()

    init() throws { database = try TestDatabase.make(extension: false) }

    private func start(_ options: ConnectionOptions, _ recorder: Recorder) async -> Session {
        await fixture.ask { [fixture] answer in
            let session = Session(
                options: options, connector: fixture.connector, loop: fixture.loop,
                backoff: Backoff(firstNanoseconds: 1_000_000, capNanoseconds: 20_000_000))
            session.onReady = { _ in recorder.add("ready") }
            session.onLost = { _ in recorder.add("lost") }
            session.onFailedAttempt = { _ in recorder.add("failed") }
            session.start()
            answer(session)
        }
    }

    private func close(_ session: Session) async {
        await fixture.ask { (answer: @Sendable (Bool) -> Void) in
            session.close()
            answer(true)
        }
    }

    @Test func aTerminatedBackendIsReplaced() async throws {
        defer { fixture.stop() }
        let recorder = Recorder()
        let session = await start(ConnectionOptions(connectionString: database.connectionString, applicationName: "session-tests"), recorder)
        let observer = try database.connect()
        for round in 1...3 {
            try await eventually("connected") { recorder.all.count { $0 == "ready" } == round }
            try observer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'session-tests' AND datname = $1", database.name)
            try await eventually("lost") { recorder.all.count { $0 == "lost" } == round }
        }
        try await eventually("connected again") { recorder.all.last == "ready" }
        #expect(recorder.all == ["ready", "lost", "ready", "lost", "ready", "lost", "ready"])
        await close(session)
    }

    @Test func aServerThatIsDownIsTriedUntilItIsUp() async throws {
        defer { fixture.stop() }
        let proxy = try FaultProxy(to: database.cluster)
        defer { proxy.stop() }
        let recorder = Recorder()
        let session = await start(ConnectionOptions(connectionString: proxy.connectionString(database: database.name)), recorder)
        try await eventually("connected") { recorder.all == ["ready"] }
        proxy.setDown(true)
        try await eventually("several attempts failed") { recorder.all.count { $0 == "failed" } >= 3 }
        proxy.setDown(false)
        try await eventually("connected again") { recorder.all.last == "ready" }
        #expect(recorder.all.first == "ready")
        #expect(recorder.all[1] == "lost")
        await close(session)
    }

    @Test func aClosedSessionSaysNothingMore() async throws {
        defer { fixture.stop() }
        let recorder = Recorder()
        let session = await start(ConnectionOptions(connectionString: database.connectionString, applicationName: "closed-session"), recorder)
        try await eventually("connected") { recorder.all == ["ready"] }
        await close(session)
        let observer = try database.connect()
        try await eventually("its backend is gone") {
            try observer.integer("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'closed-session' AND datname = $1", database.name) == 0
        }
        #expect(recorder.all == ["ready"])
    }

    @Test func reconnectingGivesANewBackend() async throws {
        defer { fixture.stop() }
        let recorder = Recorder()
        let session = await start(ConnectionOptions(connectionString: database.connectionString), recorder)
        try await eventually("connected") { recorder.all == ["ready"] }
        let first = await fixture.ask { $0(session.connection?.backend.processID ?? 0) }
        fixture.loop.post { session.reconnect() }
        try await eventually("connected again") { recorder.all == ["ready", "ready"] }
        let second = await fixture.ask { $0(session.connection?.backend.processID ?? 0) }
        #expect(first != 0 && second != 0 && first != second)
        await close(session)
    }
}
