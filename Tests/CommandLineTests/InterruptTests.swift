import Foundation
import PostgresTestSupport
import Testing

/// Ctrl-C while a command waits.
@Suite(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) struct InterruptTests {
    @Test func theStatementIsCancelled() async throws {
        let database = try TestDatabase.make()
        let session = try database.connect()
        try session.script("BEGIN; LOCK TABLE pawl.workflow")
        let observer = try database.connect()
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

        let process = try TestProcess(
            BuiltProducts.executable("pawl"), ["workflow", "list", "--database", database.connectionString])
        try await eventually("pawl waits for the lock") { try observer.integer(waiting) == 1 }
        process.signal(SIGINT)
        let status = try await process.wait()
        #expect(status == .exited(130))
        #expect(process.output == "interrupted\n")
        #expect(try observer.integer(waiting) == 0)
    }

    @Test func theQuestionIsTakenBack() async throws {
        let database = try TestDatabase.make()
        let session = try database.connect()
        try session.script("SELECT pawl.enqueue_workflow('ship')")
        let terminal = try PseudoTerminal()
        let process = try terminal.pawl("workflow cancel --name ship", database)
        try await eventually("pawl asks") { terminal.output.hasSuffix("? [y/N] ") }
        process.signal(SIGINT)
        #expect(try await process.wait() == .exited(130))
        #expect(terminal.output.hasSuffix("[y/N] \r\ninterrupted\r\n"))
        #expect(try session.integer("SELECT count(*) FROM pawl.workflows WHERE status = 'enqueued'") == 1)
    }

    @Test func standardInputIsNotWaitedFor() async throws {
        let database = try TestDatabase.make()
        let session = try database.connect()
        let terminal = try PseudoTerminal()
        let process = try terminal.pawl("workflow enqueue ship -", database)
        let asked = "datname = current_database() AND application_name = 'pawl' AND state = 'idle' AND query ~ 'clock'"
        try await eventually("pawl has asked the time, and nothing since") {
            try session.integer("SELECT count(*) FROM pg_stat_activity WHERE \(asked)") == 1
        }
        process.signal(SIGINT)
        #expect(try await process.wait() == .exited(130))
        #expect(terminal.output == "interrupted\r\n")
    }
}

/// A terminal that a test watches.
private final class PseudoTerminal {
    private let master: Int32
    private let path: String
    private var bytes: [UInt8] = []

    init() throws {
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)
        var (number, lock): (Int32, Int32) = (0, 0)
        // TIOCGPTN and TIOCSPTLCK, which are macros that Swift does not see.
        guard master >= 0, ioctl(master, 0x8004_5430, &number) == 0, ioctl(master, 0x4004_5431, &lock) == 0 else {
            throw TestFailure("no terminal: \(String(cString: strerror(errno)))")
        }
        path = "/dev/pts/\(number)"
    }

    deinit { close(master) }

    /// Starts it with this as its standard input and standard error.
    func pawl(_ arguments: String, _ database: TestDatabase) throws -> TestProcess {
        try TestProcess(
            "/bin/sh", ["-c", "exec '\(try BuiltProducts.executable("pawl"))' \(arguments) < \(path) 2> \(path)"],
            environment: ["PGDATABASE": database.name, "PAWL_DATABASE": ""])
    }

    /// What was written to it so far.
    var output: String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(master, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }
}
