import Locking
import PostgresClient
import PostgresTestSupport
import Testing

@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct ConnectionTests {
    let database: TestDatabase
    let fixture = LoopFixture()

    init() throws { database = try TestDatabase.make(extension: false) }

    // MARK: Order and commits

    @Test func answersComeInTheOrderOfTheRequests() async throws {
        defer { fixture.stop() }
        let connection = try await fixture.connect(database)
        let recorder = Recorder()
        await fixture.ask { (answer: @escaping @Sendable (Bool) -> Void) in
            for index in 0..<2000 {
                connection.add(sql: "SELECT \(index)")
                connection.sync { recorder.add($0.results.first?.string(0, 0) ?? "none") }
            }
            connection.add(sql: "SELECT 'end'")
            connection.sync { _ in answer(true) }
        }
        #expect(recorder.all == (0..<2000).map(String.init))
    }

    /// The rows of an INSERT arrive long before its commit; the handler must not.
    @Test func aHandlerIsCalledOnlyWhenOthersSeeTheCommit() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        try observer.script("CREATE TABLE big (t text); CREATE FUNCTION seen() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM big'")
        let connection = try await fixture.connect(database)
        let holder = try database.connect()
        try holder.script("SELECT pg_advisory_lock(1)")
        let answered = Locked(false)
        async let summary = fixture.ask { (answer: @escaping @Sendable (Summary) -> Void) in
            // More than libpq's and the server's buffers hold, so that rows are on their way at once.
            connection.add(sql: "INSERT INTO big SELECT repeat('x', 1000) FROM generate_series(1, 200) RETURNING t")
            connection.add(sql: "SELECT pg_advisory_lock(1)")
            connection.sync {
                answered.withLock { $0 = true }
                answer(Summary($0))
            }
        }
        try await eventually("the second statement waits") {
            try observer.integer("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == 1
        }
        #expect(try observer.integer("SELECT seen()") == 0)
        #expect(!answered.withLock { $0 })
        try holder.script("SELECT pg_advisory_unlock(1)")
        #expect(await summary.failure == nil)
        #expect(try observer.integer("SELECT seen()") == 200)
    }

    /// The statement succeeds and its commit does not: only the sync can tell.
    @Test func aDeferredConstraintFailsTheRequestThoughItsStatementSucceeded() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        try observer.script(
            "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
        let connection = try await fixture.connect(database)
        let summary = await fixture.run(connection, "INSERT INTO child VALUES (1) RETURNING id")
        #expect(summary.failure?.sqlState == "23503")
        #expect(summary.failure?.constraint == "child_id_fkey")
        #expect(summary.failure?.isDataError == true)
        #expect(try observer.integer("SELECT count(*) FROM child") == 0)
        #expect(await fixture.run(connection, "SELECT 'still here'").value == "still here")
    }

    @Test func aFailureUndoesItsRequestAndNoOther() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        try observer.script("CREATE TABLE t (i int)")
        let connection = try await fixture.connect(database)
        let summaries = await fixture.ask { (answer: @escaping @Sendable ([Summary]) -> Void) in
            let summaries = Locked<[Summary]>([])
            for index in 0..<3 {
                connection.add(sql: "INSERT INTO t VALUES (\(index))")
                if index == 1 { connection.add(sql: "SELECT 1/0") }
                connection.add(sql: "SELECT \(index)")
                connection.sync { reply in
                    let all = summaries.withLock { all in
                        all.append(Summary(reply))
                        return all
                    }
                    if index == 2 { answer(all) }
                }
            }
        }
        #expect(summaries.map(\.failure?.sqlState) == [nil, "22012", nil])
        #expect(summaries.map(\.count) == [2, 1, 2])
        #expect(try observer.execute("SELECT i FROM t ORDER BY i").column("i") == ["0", "2"])
    }

    @Test func anExplicitTransactionSpansRequests() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        try observer.script("CREATE TABLE t (i int)")
        let connection = try await fixture.connect(database)
        func status() async -> TransactionStatus { await fixture.ask { $0(connection.transactionStatus) } }
        #expect(await fixture.run(connection, "BEGIN", "INSERT INTO t VALUES (1)").failure == nil)
        #expect(await status() == .inTransaction)
        #expect(try observer.integer("SELECT count(*) FROM t") == 0)
        #expect(await fixture.run(connection, "SELECT 1/0").failure?.sqlState == "22012")
        #expect(await status() == .inFailedTransaction)
        #expect(await fixture.run(connection, "ROLLBACK").failure == nil)
        #expect(await status() == .idle)
        #expect(await fixture.run(connection, "BEGIN", "INSERT INTO t VALUES (2)").failure == nil)
        #expect(await fixture.run(connection, "COMMIT").failure == nil)
        #expect(try observer.execute("SELECT i FROM t").column("i") == ["2"])
    }

    @Test func warningsComeWithTheirRequest() async throws {
        defer { fixture.stop() }
        let connection = try await fixture.connect(database)
        let doubtful = await fixture.run(connection, "DO $$BEGIN RAISE WARNING 'standby gone' USING ERRCODE = '01000'; END$$")
        #expect(doubtful.warnings == ["01000"])
        let reply = await fixture.ask { (answer: @escaping @Sendable (Bool) -> Void) in
            connection.add(sql: "DO $$BEGIN RAISE WARNING 'standby gone'; END$$")
            connection.sync { answer($0.commitIsDoubtful) }
        }
        #expect(reply)
        #expect(await fixture.run(connection, "DO $$BEGIN RAISE NOTICE 'nothing'; END$$").warnings == [])
    }

    // MARK: Loss

    @Test func whatWasOutstandingIsUnknownWhenTheConnectionGoes() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        let connection = try await fixture.connect(database)
        let lost = Recorder()
        let backend = await fixture.ask { (answer: @escaping @Sendable (Int32) -> Void) in
            connection.onLost = { lost.add("\($0.code == .connectionLost)") }
            answer(connection.backend.processID)
        }
        async let summaries = fixture.ask { (answer: @escaping @Sendable ([Summary]) -> Void) in
            let summaries = Locked<[Summary]>([])
            for index in 0..<3 {
                connection.add(sql: index == 0 ? "SELECT pg_sleep(600)" : "SELECT 1")
                connection.sync { reply in
                    let all = summaries.withLock { all in
                        all.append(Summary(reply))
                        return all
                    }
                    if index == 2 { answer(all) }
                }
            }
        }
        try await eventually("the statement runs") {
            try observer.integer("SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int AND wait_event = 'PgSleep'", "\(backend)") == 1
        }
        try observer.execute("SELECT pg_terminate_backend($1::int)", "\(backend)")
        let all = await summaries
        #expect(all.map(\.failure?.code) == [.connectionLost, .connectionLost, .connectionLost])
        #expect(all.allSatisfy { $0.failure?.isTransient == true })
        #expect(await fixture.ask { $0(lost.all) } == ["true"])
        // And what comes later is told so too, once, and not inside the call.
        let order = Recorder()
        await fixture.ask { (answer: @escaping @Sendable (Bool) -> Void) in
            connection.add(sql: "SELECT 1")
            connection.sync { reply in
                order.add("answer \(reply.failure?.code == .connectionLost)")
                answer(true)
            }
            order.add("returned")
        }
        #expect(order.all == ["returned", "answer true"])
    }

    /// Committed, and the answer lost: the client may not say "failed".
    @Test func aLostAnswerIsUnknownThoughTheCommitHappened() async throws {
        defer { fixture.stop() }
        let proxy = try FaultProxy(to: database.cluster)
        defer { proxy.stop() }
        let observer = try database.connect()
        try observer.script("CREATE TABLE t (i int)")
        let connection = try await fixture.connect(ConnectionOptions(connectionString: proxy.connectionString(database: database.name)))
        proxy.cut(.afterItIsAnswered, on: "INSERT INTO t")
        let summary = await fixture.run(connection, "INSERT INTO t VALUES (1)")
        #expect(summary.failure?.code == .connectionLost)
        #expect(summary.count == 0)
        #expect(try observer.integer("SELECT count(*) FROM t") == 1)
        #expect(proxy.cuts == 1)
    }

    /// The server's administrator ends it at its first moment: that says nothing against this client.
    @Test func aConnectionLostWhileItPreparesMayBeTriedAgain() throws {
        let proxy = try FaultProxy(to: database.cluster)
        defer { proxy.stop() }
        proxy.cut(.beforeItArrives, on: "prepared_here")
        var options = ConnectionOptions(connectionString: proxy.connectionString(database: database.name))
        options.statements = [PreparedStatement(name: "prepared_here", sql: "SELECT 1", parameterTypes: [])]
        let error = #expect(throws: PostgresError.self) { try BlockingConnection(options) }
        #expect(error?.code == .cannotConnect)
        #expect(error?.isTransient == true)
        _ = try BlockingConnection(options)
    }

    @Test func closingAnswersEverything() async throws {
        defer { fixture.stop() }
        let connection = try await fixture.connect(database)
        let summary = await fixture.ask { (answer: @escaping @Sendable (Summary) -> Void) in
            connection.add(sql: "SELECT pg_sleep(600)")
            connection.sync { answer(Summary($0)) }
            connection.close()
        }
        #expect(summary.failure?.code == .connectionLost)
    }

    @Test func aCancelEndsTheStatementAndNotTheConnection() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        let connection = try await fixture.connect(database)
        async let summary = fixture.run(connection, "SELECT pg_sleep(600)", "SELECT 'skipped'")
        try await eventually("the statement runs") {
            try observer.integer(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'client-tests' AND datname = $1 AND wait_event = 'PgSleep'", database.name) == 1
        }
        fixture.loop.post { connection.cancel() }
        #expect(await summary.failure?.sqlState == "57014")
        #expect(await fixture.run(connection, "SELECT 'alive'").value == "alive")
    }

    // MARK: Values

    @Test func hugeValuesPassInBothDirections() async throws {
        defer { fixture.stop() }
        let connection = try await fixture.connect(database)
        let value = [UInt8](repeating: UInt8(ascii: "y"), count: 16 << 20)
        let summary = await fixture.run(connection, "SELECT $1::text", parameters: [value])
        #expect(summary.value?.utf8.count == value.count)
        // Pipelined, far past every socket buffer, while answers of the same size come back.
        let megabyte = [UInt8](repeating: UInt8(ascii: "z"), count: 1 << 20)
        let total = await fixture.ask { (answer: @escaping @Sendable (Int) -> Void) in
            let total = Locked(0)
            for index in 0..<64 {
                connection.add(sql: "SELECT $1::text", [megabyte])
                connection.sync { reply in
                    let sum = total.withLock { total in
                        total += reply.results.first?.bytes(0, 0).count ?? 0
                        return total
                    }
                    if index == 63 { answer(sum) }
                }
            }
        }
        #expect(total == 64 << 20)
    }

    @Test func aNULIsRefusedAndNothingIsSent() async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        try observer.script("CREATE TABLE t (i int)")
        let connection = try await fixture.connect(database)
        let hidden = await fixture.run(connection, "INSERT INTO t VALUES (1)\0; SELECT 1")
        #expect(hidden.failure?.code == .badRequest)
        #expect(hidden.failure?.sqlState == "22021")
        let parameter = await fixture.run(connection, "SELECT $1::text", parameters: [Array("a\0b".utf8)])
        #expect(parameter.failure?.code == .badRequest)
        #expect(try observer.integer("SELECT count(*) FROM t") == 0)
        #expect(await fixture.run(connection, "SELECT 'alive'").value == "alive")
    }

    @Test(arguments: [
        ("SELECT 1; DROP TABLE t", "42601"), ("SELECT 'unterminated", "42601"), ("/* unterminated", "42601"), ("SELECT $1", "08P01"),
        ("SELECT \u{1F600}", "42703"), ("SELECT pg_terminate_backend(NULL), 1/0", "22012"),
    ])
    func hostileTextIsTheServersToJudge(_ sql: String, _ state: String) async throws {
        defer { fixture.stop() }
        let observer = try database.connect()
        try observer.script("CREATE TABLE t (i int)")
        let connection = try await fixture.connect(database)
        let failure = await fixture.ask { (answer: @escaping @Sendable (PostgresError?) -> Void) in
            connection.add(sql: sql)
            connection.sync { answer($0.failure) }
        }
        #expect(failure?.sqlState == state)
        #expect(try observer.integer("SELECT count(*) FROM t") == 0)
        #expect(await fixture.run(connection, "SELECT 'alive'").value == "alive")
        for empty in ["", "   ", "-- nothing", ";"] { #expect(await fixture.run(connection, empty).failure == nil) }
    }

    @Test(arguments: ["COPY t FROM STDIN", "COPY (SELECT 1) TO STDOUT"])
    func aCopyEndsTheConnectionWithAReason(_ sql: String) async throws {
        defer { fixture.stop() }
        try database.connect().script("CREATE TABLE t (i int)")
        let connection = try await fixture.connect(database)
        let summary = await fixture.run(connection, sql)
        #expect(summary.failure?.sqlState == "0A000")
        #expect(await fixture.ask { $0(connection.isOpen) } == false)
    }

    static let echo = PreparedStatement(
        name: "echo",
        sql: """
            SELECT $1::bigint[]::text, $2::int[]::text, $3::text[]::text, $4::jsonb[]::text, $5::timestamptz[]::text, $6::uuid::text, $7::text, \
            $8::jsonb, $9::timestamptz, $10::interval, $11::bigint, $12::int
            """)

    @Test func binaryParametersAndResults() async throws {
        defer { fixture.stop() }
        let connection = try await fixture.connect(database, statements: [Self.echo])
        let id = UUIDBytes.random()
        let answer = await fixture.ask { (answer: @escaping @Sendable ([String]) -> Void) in
            var parameters = ParameterBuffer()
            parameters.addArray(of: .int8) { elements in for value in [Int64.min, -1, 0, .max] { elements.append(value) } }
            parameters.addArray([Int32.min, 7])
            parameters.addArray(of: .text) { elements in
                elements.append("a \"quoted\" {text}")
                elements.appendNull()
                elements.append("")
            }
            parameters.addArray(of: .jsonb) { elements in
                elements.appendNull()
                elements.append(json: Array(#"{"a": [1, "ü"]}"#.utf8))
            }
            parameters.addArray(of: .timestamptz) { _ in }
            parameters.add(id)
            parameters.add("")
            parameters.add(json: Array("[null]".utf8))
            parameters.add(Int64(1_500_000) - PostgresEpoch.microseconds)
            parameters.addNull()
            parameters.add(Int64(-5))
            parameters.add(Int32(6))
            connection.add(Self.echo, parameters)
            connection.sync { reply in
                guard let result = reply.results.first else { return answer(["\(reply.failure.debugDescription)"]) }
                answer(
                    (0..<7).map { result.optionalString(0, $0) ?? "NULL" } + [
                        String(decoding: result.json(0, 7), as: UTF8.self), "\(result.microseconds(0, 8))", "\(result.isNull(0, 9))",
                        "\(result.int64(0, 10))", "\(result.int32(0, 11))",
                    ])
            }
        }
        #expect(
            answer == [
                "{-9223372036854775808,-1,0,9223372036854775807}", "{-2147483648,7}", #"{"a \"quoted\" {text}",NULL,""}"#,
                #"{NULL,"{\"a\": [1, \"ü\"]}"}"#, "{}", "\(id)", "", "[null]", "1500000", "true", "-5", "6",
            ])
    }

    @Test func errorsTellTheReaderAndNotTheLog() async throws {
        defer { fixture.stop() }
        try database.connect().script("CREATE TABLE secret (word text CONSTRAINT secret_pkey PRIMARY KEY); INSERT INTO secret VALUES ('hunter2')")
        let connection = try await fixture.connect(database)
        let duplicate = await fixture.run(connection, "INSERT INTO secret VALUES ('hunter2')").failure
        #expect(duplicate?.detail?.contains("hunter2") == true)
        #expect(duplicate?.description == "server error 23505 (constraint secret_pkey)")
        let cast = await fixture.run(connection, "SELECT 'hunter2'::int").failure
        #expect(cast?.message.contains("hunter2") == true)
        #expect(cast?.description.contains("hunter2") == false)
        let missing = await fixture.run(connection, "SELECT missing()").failure
        #expect(missing?.sqlState == "42883")
        #expect(missing?.hint != nil)
        #expect(missing?.isTransient == false)
    }
}
