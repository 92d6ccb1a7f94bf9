package import Foundation
package import Testing

/// The private cluster that `scripts/with-cluster` started for this run.
///
/// Suites that need a server say `.enabled(if: TestCluster.isAvailable, TestCluster.comment)`.
package struct TestCluster: Sendable {
    /// The directory of the server's socket.
    package let socketDirectory: String
    package let port: String
    /// A superuser.
    package let user: String
    /// Where `postgres`, `pg_ctl`, `pg_dump` and the rest are.
    package let programs: URL
    package let dataDirectory: URL
    package let log: URL
    /// The system user that runs the server: not the one that runs the tests when that is root.
    package let systemUser: String

    /// The cluster, if the tests run under `scripts/with-cluster`.
    package static let current = TestCluster(environment: ProcessInfo.processInfo.environment)

    package static var isAvailable: Bool { current != nil }

    package static let comment: Comment = "needs a private cluster: run `scripts/with-cluster swift test`, or `make test`"

    private init?(environment: [String: String]) {
        guard environment["PAWL_TEST_CLUSTER"] == "1",
            let socketDirectory = environment["PGHOST"],
            let port = environment["PGPORT"],
            let user = environment["PGUSER"],
            let programs = environment["PAWL_POSTGRES_BIN"],
            let data = environment["PAWL_POSTGRES_DATA"],
            let log = environment["PAWL_POSTGRES_LOG"],
            let systemUser = environment["PAWL_POSTGRES_USER"]
        else { return nil }
        self.socketDirectory = socketDirectory
        self.port = port
        self.user = user
        self.programs = URL(filePath: programs)
        self.dataDirectory = URL(filePath: data)
        self.log = URL(filePath: log)
        self.systemUser = systemUser
    }

    /// The cluster, or an error that says how to have one.
    package static func required() throws -> TestCluster {
        guard let current else { throw TestFailure("no private cluster: run `scripts/with-cluster swift test`, or `make test`") }
        return current
    }

    /// What libpq, and `--database`, take.
    package func connectionString(database: String, user: String? = nil) -> String {
        "host=\(socketDirectory) port=\(port) user=\(user ?? self.user) dbname=\(database)"
    }

    package func connect(database: String = "postgres", user: String? = nil) throws -> TestConnection {
        try TestConnection(connectionString(database: database, user: user))
    }

    /// How a server is stopped: `immediate` is what a crash looks like.
    package enum StopMode: String, Sendable {
        case smart
        case fast
        case immediate
    }

    /// Stops the server and starts it again. A test that does this belongs in a `.serialized` suite of its own run: others lose their sessions.
    package func restart(_ mode: StopMode) throws {
        try control("-m", mode.rawValue, "-l", log.path, "-w", "-t", "120", "restart")
    }

    package func stop(_ mode: StopMode) throws {
        try control("-m", mode.rawValue, "-w", "-t", "120", "stop")
    }

    package func start() throws {
        try control("-l", log.path, "-w", "-t", "120", "start")
    }

    private func control(_ arguments: String...) throws {
        let tool = programs.appending(path: "pg_ctl").path
        let command = [tool, "-D", dataDirectory.path, "-s"] + arguments
        // Postgres refuses to run as root, and its user may not be able to enter the checkout.
        let become = NSUserName() == systemUser ? [] : ["runuser", "-u", systemUser, "--"]
        let process = try TestProcess("/usr/bin/env", ["-C", "/"] + become + command)
        let status = try process.waitBlocking(within: .seconds(150))
        guard status == .exited(0) else { throw TestFailure("\(command.joined(separator: " ")): \(status)\n\(process.output)") }
    }
}
