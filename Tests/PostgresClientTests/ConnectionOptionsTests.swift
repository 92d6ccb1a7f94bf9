import Glibc
@testable import PostgresClient
import PostgresTestSupport
import Testing

@Suite struct ConnectionOptionsTests {
    private func keywords(_ text: String, settings: [(name: String, value: String)] = []) throws -> [String: String] {
        let pairs = try ConnectionOptions(connectionString: text, settings: settings).keywords()
        #expect(Set(pairs.map(\.keyword)).count == pairs.count, "a keyword came twice")
        return Dictionary(uniqueKeysWithValues: pairs.map { ($0.keyword, $0.value) })
    }

    @Test func theUsersWordsPassAndOursFillTheGaps() throws {
        let plain = try keywords("host=a,b port=5432,5433 dbname=shop")
        #expect(plain["host"] == "a,b")
        #expect(plain["port"] == "5432,5433")
        #expect(plain["dbname"] == "shop")
        #expect(plain["target_session_attrs"] == "read-write")
        #expect(plain["fallback_application_name"] == "pawld")
        #expect(plain["client_encoding"] == "UTF8")
        #expect(plain["options"] == nil)

        let own = try keywords("postgresql://me@a:1,b:2/shop?target_session_attrs=any&connect_timeout=3&application_name=mine&client_encoding=latin1")
        #expect(own["host"] == "a,b")
        #expect(own["target_session_attrs"] == "any")
        #expect(own["connect_timeout"] == "3")
        #expect(own["application_name"] == "mine")
        #expect(own["client_encoding"] == "UTF8")
    }

    @Test func settingsJoinTheUsersOptions() throws {
        let settings = [(name: "statement_timeout", value: "0"), (name: "default_transaction_isolation", value: "read committed")]
        #expect(
            try keywords("options='-c work_mem=1MB'", settings: settings)["options"]
                == "-c work_mem=1MB -c statement_timeout=0 -c default_transaction_isolation=read\\ committed")
        #expect(try keywords("", settings: settings)["options"] == "-c statement_timeout=0 -c default_transaction_isolation=read\\ committed")
    }

    @Test(arguments: ["hunter2", "password hunter2", "host=a hunter2=", "host=a\0hunter2", "postgresql://me:hunter2@[::1/x"])
    func whatCannotBeReadIsNotQuoted(_ text: String) {
        do throws(PostgresError) {
            _ = try ConnectionOptions(connectionString: text).keywords()
            Issue.record("it was read")
        } catch {
            #expect(error.code == .badConnectionString)
            #expect(!error.isTransient)
            #expect(!"\(error) \(error.message) \(error.detail ?? "")".contains("hunter2"))
        }
    }

    @Test(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) func settingsHoldAndAnUnsupportedOneIsLeftOut() throws {
        let cluster = try TestCluster.required()
        let settings = [(name: "default_transaction_isolation", value: "repeatable read"), (name: "client_connection_check_interval", value: "500ms")]
        let connection = try BlockingConnection(
            ConnectionOptions(connectionString: cluster.connectionString(database: "postgres"), settings: settings))
        #expect(try connection.execute("SHOW default_transaction_isolation").string(0, 0) == "repeatable read")
        #expect(try connection.execute("SHOW client_connection_check_interval").string(0, 0) == "500ms")
        #expect(try connection.execute("SHOW application_name").string(0, 0) == "pawld")
        // What a platform without it answers.
        let refused = ConnectionOptions(
            connectionString: cluster.connectionString(database: "postgres"),
            settings: [(name: "client_connection_check_interval", value: "no number"), (name: "work_mem", value: "1MB")])
        #expect(try BlockingConnection(refused).execute("SHOW work_mem").string(0, 0) == "1MB")
    }

    @Test(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) func aBlockingConnectionDoesNotWaitForEver() throws {
        let cluster = try TestCluster.required()
        let connection = try BlockingConnection(cluster.connectionString(database: "postgres"))
        do throws(PostgresError) {
            try connection.execute("SELECT pg_sleep(600)", timeoutNanoseconds: 20_000_000)
            Issue.record("it answered")
        } catch {
            #expect(error.code == .timedOut)
            #expect(error.isTransient)
        }
    }

    @Test(.enabled(if: TestCluster.isAvailable, TestCluster.comment)) func aBlockingConnectionSeesItsEnd() async throws {
        let cluster = try TestCluster.required()
        let connection = try BlockingConnection(cluster.connectionString(database: "postgres"))
        #expect(!connection.isClosed)
        try cluster.connect().execute("SELECT pg_terminate_backend($1::int)", "\(connection.processID)")
        try await eventually("the end is seen") { connection.isClosed }
        do throws(PostgresError) {
            try connection.execute("SELECT 1")
            Issue.record("it answered")
        } catch {
            #expect(error.code == .connectionLost)
        }
    }
}
