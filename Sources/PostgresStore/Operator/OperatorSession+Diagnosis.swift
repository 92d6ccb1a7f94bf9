import Glibc

extension OperatorSession {
    /// What the database finds wrong with itself, and with this session's role: severity, finding, object, message, cure.
    package func diagnose() throws(OperatorError) -> OperatorRows {
        try rows(
            """
            SELECT * FROM pawl.diagnose()
            UNION ALL
            SELECT 'note', 'limited_role', current_user, format('role %I may look, and cannot cancel, pause or mend anything', current_user),
                format('SELECT pawl.grant_access(%L, ''operate'');', current_user)
            WHERE NOT has_function_privilege('pawl.release_hold(text)', 'EXECUTE')
            """)
    }

    /// Who and where this session is, and what its role may do.
    package func surroundings() throws(OperatorError) -> OperatorRow {
        let found = try rows(
            """
            SELECT current_database() AS database, host(inet_server_addr()) AS server_address, current_setting('server_version') AS server_version,
                (SELECT extversion FROM pg_extension WHERE extname = 'pawl') AS extension_version, current_user AS role,
                ARRAY(SELECT a.access FROM (VALUES ('enqueue', 'enqueue_workflow'), ('send', 'send_message'), ('inspect', 'get_event'),
                    ('operate', 'cancel_workflow'), ('work', 'claim_workflows')) a (access, routine)
                    WHERE EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = to_regnamespace('pawl') AND p.proname = a.routine
                        AND has_function_privilege(p.oid, 'EXECUTE'))
                    UNION ALL SELECT 'observe' WHERE has_table_privilege(to_regclass('pawl.workflows'), 'SELECT') ORDER BY 1) AS access
            """)
        return found.first ?? [:]
    }

    /// By how many microseconds the server's clock is ahead of this machine's, and how exactly that is known: half a round trip.
    package func clockDifference() throws(OperatorError) -> (ahead: Int64, within: Int64) {
        var best: (ahead: Int64, within: Int64) = (0, .max)
        for _ in 0..<5 {
            let before = Self.localTime()
            let server = try now()
            let after = Self.localTime()
            let within = (after - before) / 2
            if within < best.within { best = (server - before - within, within) }
        }
        return best
    }

    private static func localTime() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
