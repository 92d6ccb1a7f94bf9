import PostgresTestSupport
import Testing

/// One after another: each test has a store of its own with a dozen sessions.
@Suite(.serialized, .enabled(if: TestCluster.isAvailable, TestCluster.comment)) enum StoreSuites {}
