import Locking
import PostgresClient
import PostgresTestSupport

/// A running loop, and async calls onto it.
final class LoopFixture: Sendable {
    let loop: EventLoop
    let connector: Connector

    init(tick: (@Sendable () -> Int32)? = nil) {
        loop = EventLoop(name: "test-loop")
        loop.tick = tick
        connector = Connector()
        loop.start()
    }

    func stop() {
        loop.stop()
        connector.stop()
    }

    /// Runs on the loop; the answer comes when `body` calls its argument.
    @discardableResult
    func ask<Answer: Sendable>(_ body: @escaping @Sendable (@escaping @Sendable (Answer) -> Void) -> Void) async -> Answer {
        await withCheckedContinuation { continuation in
            loop.post { body { continuation.resume(returning: $0) } }
        }
    }

    func connect(_ options: ConnectionOptions) async throws -> Connection {
        let result: Result<Connection, PostgresError> = await ask { [self] answer in
            connector.connect(options, loop: loop) { answer($0) }
        }
        return try result.get()
    }

    func connect(_ database: TestDatabase, statements: [PreparedStatement] = []) async throws -> Connection {
        try await connect(ConnectionOptions(connectionString: database.connectionString, applicationName: "client-tests", statements: statements))
    }

    /// One request of text statements; the last result's first value, or the failure.
    func run(_ connection: Connection, _ statements: String..., parameters: [[UInt8]?] = []) async -> Summary {
        await ask { answer in
            for sql in statements { connection.add(sql: sql, sql.contains("$1") ? parameters : []) }
            connection.sync { answer(Summary($0)) }
        }
    }

    func close(_ connection: Connection) async {
        await ask { (answer: @Sendable (Bool) -> Void) in
            connection.close()
            answer(true)
        }
    }
}

/// A reply, copied out of the loop.
struct Summary: Sendable {
    var count: Int
    var value: String?
    var failure: PostgresError?
    var warnings: [String]

    init(_ reply: Reply) {
        count = reply.results.count
        if let last = reply.results.last, last.rowCount > 0, last.columnCount > 0 { value = last.optionalString(0, 0) }
        failure = reply.failure
        warnings = reply.warnings
    }
}

/// What happened, in order, from any thread.
final class Recorder: Sendable {
    private let lines = Locked<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    var all: [String] { lines.withLock { $0 } }
}
