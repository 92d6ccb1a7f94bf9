import PostgresClient
import WorkflowEngine

/// Makes sure that the server process behind a lost connection is gone: what it did is then settled.
struct EndBackendStatement: StoreStatement {
    let backend: BackendIdentity

    /// What `BackendIdentity.mark` is.
    static let identityQuery = "SELECT a.backend_start::text FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a"

    static let prepared = PreparedStatement(
        name: "pawl_end_backend",
        sql: """
            SELECT coalesce((SELECT pg_catalog.pg_terminate_backend(a.pid, 5000) FROM pg_catalog.pg_stat_get_activity($1::integer) a \
            WHERE a.backend_start = $2::text::timestamptz), true)
            """)

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(backend.processID)
        parameters.add(backend.mark)
    }

    static func isGone(_ result: PostgresResult) -> Bool { result.rowCount == 1 && !result.isNull(0, 0) && result.bool(0, 0) }
}

/// Hands back what this worker holds and does not know of: claimed by a statement whose answer was lost.
struct ReleaseUnknownStatement: StoreStatement {
    let worker: UUIDBytes
    let known: [Fence]

    static let prepared = PreparedStatement(
        name: "pawl_release_unknown",
        sql: "SELECT released, remaining FROM pawl.release_unknown($1::uuid, $2::bigint[], $3::integer[])")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(known)
    }

    static func decode(_ result: PostgresResult) -> (released: Int, remaining: Int) { (Int(result.int32(0, 0)), Int(result.int32(0, 1))) }
}
