import PostgresTestSupport
import Testing

/// The real pawld on a real server. One test at a time: each starts daemons of its own, and two cores are soon full.
@Suite(.serialized, .enabled(if: TestCluster.isAvailable, TestCluster.comment))
enum EndToEnd {}
