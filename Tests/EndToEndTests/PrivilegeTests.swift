import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct PrivilegeTests {
        @Test func theDaemonsRoleOwnsNothingAndReachesNoTable() async throws {
            let bank = try Bank()
            let worker = try bank.worker()
            try bank.enqueueTransfers(3)
            try await bank.waitForEnds(3, of: worker)

            #expect(
                try bank.admin.integer(
                    "SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND refobjid = 'end_to_end_worker'::regrole"
                ) == 0)
            let role = try bank.admin.execute(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls AS power FROM pg_roles WHERE rolname = 'end_to_end_worker'")
            #expect(role.value == "f")

            let session = try bank.database.connect(user: "end_to_end_worker")
            let relations = try bank.admin.execute(
                "SELECT c.oid::regclass::text AS name, relkind AS kind FROM pg_class c WHERE relnamespace = 'pawl'::regnamespace AND relkind IN ('r', 'p', 'S') ORDER BY 1"
            ).rows
            try #require(relations.count > 10)
            for relation in relations {
                let name = relation[0]!
                let attempts =
                    relation[1] == "S"
                    ? ["SELECT nextval('\(name)')", "SELECT setval('\(name)', 1)", "SELECT last_value FROM \(name)"]
                    : [
                        "SELECT FROM \(name)", "DELETE FROM \(name)", "TRUNCATE \(name)", "INSERT INTO \(name) DEFAULT VALUES", "DROP TABLE \(name)",
                        "DO $$ BEGIN LOCK TABLE \(name); END $$", "ALTER TABLE \(name) ADD pwned int",
                    ]
                for attempt in attempts {
                    #expect(performing: { try session.script(attempt) }, throws: { ($0 as? TestSQLError)?.sqlState == "42501" })
                }
            }
            #expect(performing: { try session.script("CREATE TABLE pawl.mine ()") }, throws: { ($0 as? TestSQLError)?.sqlState == "42501" })
            // Another worker's right is not an operator's.
            #expect(performing: { try session.script("SELECT pawl.enqueue_workflow('one_step')") }, throws: { ($0 as? TestSQLError)?.sqlState == "42501" })
            #expect(performing: { try session.script("SELECT pawl.create_queue('mine')") }, throws: { ($0 as? TestSQLError)?.sqlState == "42501" })
        }
    }
}
