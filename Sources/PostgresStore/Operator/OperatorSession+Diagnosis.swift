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

    /// Of some questions the one that was answered the soonest, which shows it best.
    package func clockDifference() throws(OperatorError) -> ClockDifference {
        func ask() throws(OperatorError) -> ClockDifference {
            let asked = Self.localTime()
            let server = try now()
            return ClockDifference(asked: asked, server: server, answered: Self.localTime())
        }
        var best = try ask()
        for _ in 1..<5 {
            let next = try ask()
            if next.within < best.within { best = next }
        }
        return best
    }

    private static func localTime() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

/// How far the server's clock and this machine's are apart, in microseconds.
package struct ClockDifference: Equatable, Sendable {
    /// By how much the server's is ahead.
    package let ahead: Int64
    /// How exactly that is known: half a round trip.
    package let within: Int64

    /// - Parameters:
    ///   - asked, answered: by this machine's clock.
    ///   - server: what the server's clock said in between.
    package init(asked: Int64, server: Int64, answered: Int64) {
        within = (answered - asked) / 2
        ahead = server - asked - within
    }
}
