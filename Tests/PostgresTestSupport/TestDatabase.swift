import Foundation

/// A database of a test's own, with the extension, dropped when the last reference to it goes.
package final class TestDatabase: Sendable {
    package let name: String
    package let cluster: TestCluster

    private static let template = "pawl_test_template"

    /// Makes one by copying a template that is made once per cluster.
    package static func make(extension hasExtension: Bool = true) throws -> TestDatabase {
        let cluster = try TestCluster.required()
        let name = "test_" + UUID().uuidString.prefix(13).lowercased().replacing("-", with: "_")
        let session = try cluster.connect()
        if hasExtension {
            try makeTemplate(in: cluster, session)
        }
        try session.script("CREATE DATABASE \(name) TEMPLATE \(hasExtension ? template : "template0")")
        return TestDatabase(name: name, cluster: cluster)
    }

    private init(name: String, cluster: TestCluster) {
        self.name = name
        self.cluster = cluster
    }

    deinit {
        // What goes wrong here is swept up with the cluster.
        _ = try? cluster.connect().script("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
    }

    /// What libpq, and `pawld --database`, take.
    package var connectionString: String { cluster.connectionString(database: name) }

    package func connectionString(user: String) -> String { cluster.connectionString(database: name, user: user) }

    package func connect(user: String? = nil) throws -> TestConnection { try cluster.connect(database: name, user: user) }

    private static func makeTemplate(in cluster: TestCluster, _ session: TestConnection) throws {
        // Several tests, and several processes, may come here at once.
        try session.script("SELECT pg_advisory_lock(hashtext('\(template)'))")
        defer { _ = try? session.script("SELECT pg_advisory_unlock(hashtext('\(template)'))") }
        guard try session.value("SELECT 1 FROM pg_database WHERE datname = '\(template)' AND datistemplate") == nil else { return }
        try session.script("DROP DATABASE IF EXISTS \(template) WITH (FORCE)")
        try session.script("CREATE DATABASE \(template) TEMPLATE template0")
        let inside = try cluster.connect(database: template)
        try inside.script("CREATE EXTENSION pawl")
        inside.close()
        // Without connections it can be copied at any time; marked last, so that a half-made one is made anew.
        try session.script("ALTER DATABASE \(template) WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
    }
}
