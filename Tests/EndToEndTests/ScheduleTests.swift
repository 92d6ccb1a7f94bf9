import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    @Suite struct ScheduleTests {
        /// Four workers, of which one is killed every now and then: each second's workflow is enqueued once, and run.
        @Test func everySecondIsFiredOnceWhoeverIsKilled() async throws {
            let bank = try Bank()
            try bank.admin.script(
                """
                CREATE FUNCTION bank.tick() RETURNS void LANGUAGE sql AS $$ INSERT INTO bank.applied VALUES ('tick', 'tick') $$;
                SELECT pawl.create_handler('tick', 'bank.tick()', role => 'end_to_end_worker');
                SELECT pawl.create_schedule('tick', '* * * * * *', 'tick', overlap => 'allow');
                """)
            var workers = try (0..<4).map { try bank.worker("worker-\($0)") }
            var kills = 0
            func fired() throws -> Int { try bank.admin.integer("SELECT fired FROM pawl.schedules") }
            while try fired() < 15 {
                let goal = try fired() + 1
                try await eventually("another instant; \(workers.map { $0.output.suffix(500) })", within: .seconds(30), every: .milliseconds(1)) {
                    try fired() >= goal
                }
                // Whoever has just fired, as often as not, and at any moment of the second.
                try workers[kills % 4].killNow()
                workers[kills % 4] = try bank.worker("worker-\(kills % 4)-\(kills)")
                kills += 1
            }
            #expect(kills >= 10)
            let row = try bank.admin.execute(
                """
                SELECT s.missed, s.skipped, s.fired = (SELECT count(*) FROM pawl.workflows), ARRAY(SELECT w.scheduled_at FROM pawl.workflows w ORDER BY 1)
                    = ARRAY(SELECT pawl.instants(s.cron, s.timezone, s.created_at, s.last_at, 1000))
                FROM pawl.schedules s
                """)
            #expect(row.rows == [["0", "0", "t", "t"]])
            try bank.admin.script("SELECT pawl.pause_schedule('tick')")
            let all = try bank.admin.integer("SELECT count(*) FROM pawl.workflows")
            try await bank.waitForEnds(all, of: workers[0])
            #expect(try bank.count("succeeded") == all)
            #expect(try bank.admin.integer("SELECT count(*) FROM bank.applied") == all)
        }
    }
}
