import PostgresStore
import PostgresTestSupport
import Testing

extension StoreSuites {
    /// Any worker fires what is due, at its instant; what goes wrong between it and the server neither loses an instant nor doubles one.
    @Suite struct ScheduleTests {
        let database: TestDatabase
        let proxy: FaultProxy
        let admin: TestConnection
        init() throws {
            database = try TestDatabase.make()
            proxy = try FaultProxy(to: database.cluster)
            admin = try database.connect()
        }

        private func create(_ cron: String = "* * * * * *") throws {
            try admin.execute("SELECT pawl.create_schedule('tick', $1, 'w', overlap => 'allow')", cron)
        }

        private var fired: Int { get throws { try admin.integer("SELECT coalesce(max(fired), 0) FROM pawl.schedules") } }

        private func waitForFired(_ count: Int, _ fixture: StoreFixture) async throws {
            try await eventually("\(count) instants were fired; the log: \(fixture.log)", within: .seconds(30)) { try fired >= count }
        }

        /// Every instant from the first one on was enqueued, and nothing else.
        private func expectEveryInstant() throws {
            let missing = try admin.execute(
                """
                SELECT s.fired, s.missed, s.skipped, ARRAY(SELECT w.scheduled_at FROM pawl.workflows w WHERE w.schedule_name = s.schedule ORDER BY 1)
                    = ARRAY(SELECT pawl.instants(s.cron, s.timezone, (SELECT min(w.scheduled_at) - interval '1 second' FROM pawl.workflows w), s.last_at, 1000)),
                    s.fired = (SELECT count(*) FROM pawl.workflows)
                FROM pawl.schedules s
                """)
            #expect(missing.rows.map { Array($0.dropFirst()) } == [["0", "0", "t", "t"]], "\(missing.rows)")
        }

        private func sessions(_ fixture: StoreFixture) throws -> Int {
            try admin.integer("SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND usename = $2", database.name, fixture.role)
        }

        @Test func anInstantIsFiredWhenItComes() async throws {
            let fixture = try await StoreFixture(database)
            try create("0 0 1 1 *")
            let beats = fixture.store.lifeRounds + 3
            try await eventually("heartbeats") { fixture.store.lifeRounds >= beats }
            // An alteration is noticed within a heartbeat.
            try admin.execute("SELECT pawl.alter_schedule('tick', cron => '* * * * * *')")
            try await waitForFired(6, fixture)
            try expectEveryInstant()
            // Heartbeats alone would be late by up to half a second.
            let late = try admin.integer(
                "SELECT (extract(epoch FROM percentile_disc(0.5) WITHIN GROUP (ORDER BY created_at - scheduled_at)) * 1000)::integer FROM pawl.workflows")
            #expect(late < 100)
            await fixture.shutdown()
        }

        @Test(arguments: [FaultProxy.Moment.beforeItArrives, .onceItIsSent, .afterItIsAnswered]) func aLostAnswer(_ moment: FaultProxy.Moment) async throws {
            defer { proxy.stop() }
            let fixture = try await StoreFixture(database, through: proxy)
            try create()
            try await waitForFired(1, fixture)
            proxy.cut(moment, on: "pawl_run_schedules", times: 2)
            try await eventually("both are cut", within: .seconds(30)) { proxy.cuts == 2 }
            try await waitForFired(try fired + 2, fixture)
            try expectEveryInstant()
            #expect(fixture.livesLost == 0)
            await fixture.shutdown()
        }

        @Test func aLostLife() async throws {
            let fixture = try await StoreFixture(database)
            try create()
            try await waitForFired(1, fixture)
            try admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", fixture.role)
            try await eventually("it has another life; the log: \(fixture.log)", within: .seconds(30)) { fixture.lives.count == 2 }
            try await waitForFired(try fired + 2, fixture)
            try expectEveryInstant()
            await fixture.shutdown()
        }

        @Test func nothingIsFiredWhileTheDatabaseIsHeld() async throws {
            let fixture = try await StoreFixture(database)
            try create()
            try await waitForFired(1, fixture)
            try admin.script("UPDATE pawl.installation SET held_at = now(), held_reason = 'a test'")
            let held = try fired
            let instant = try admin.value("SELECT date_trunc('second', clock_timestamp()) + interval '2 seconds'")
            try await eventually("two instants pass") { try admin.value("SELECT clock_timestamp() > $1::timestamptz + interval '200 ms'", instant) == "t" }
            // One of them may have been under way.
            #expect(try fired <= held + 1)
            #expect(try admin.value("SELECT pawl.release_hold()") == "t")
            try await waitForFired(held + 4, fixture)
            try expectEveryInstant()
            await fixture.shutdown()
        }

        @Test func whatIsPastItsRetentionIsDeleted() async throws {
            let fixture = try await StoreFixture(database)
            try fixture.enqueue(3)
            let claimed = try await fixture.claimAll(3)
            #expect(try await fixture.write(ends: claimed.map { $0.end() }) == .init())
            try admin.script("UPDATE pawl.workflow_history SET completed_at = completed_at - interval '1 hour'")
            try admin.execute("SELECT pawl.set_retention(succeeded => '5 minutes')")
            try await eventually("they are deleted; the log: \(fixture.log)", within: .seconds(30)) {
                try admin.integer("SELECT count(*) FROM pawl.workflows") == 0
            }
            await fixture.shutdown()
        }

        /// Whichever worker has the next batch; and each by itself, whatever heartbeats say meanwhile.
        @Test(arguments: [(workers: 2, remembered: true), (workers: 1, remembered: false)])
        func afterABatchTheyRest(_ workers: Int, _ remembered: Bool) async throws {
            // The first batch lasts as long as the test has the lock: some heartbeats.
            try admin.script(
                """
                DO $$ BEGIN PERFORM pawl.add_history_partition(now() - interval '40 days'); END $$;
                INSERT INTO pawl.workflow_history (workflow_key, created_at, completed_at, epoch, queue_id, priority, recoveries, pinned, status, workflow_id,
                    workflow_name, enqueued_by)
                SELECT i, now() - interval '40 days', now() - interval '40 days', 1, 0, 0, 0, false, 'succeeded', 'old-' || i, 'w', 'clerk'
                FROM generate_series(1, 3000) i;
                CREATE TABLE public.batch (began timestamptz, ended timestamptz);
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
                DECLARE
                    began CONSTANT timestamptz := clock_timestamp();
                BEGIN
                    WHILE EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objid = 77 AND l.classid = 0) LOOP
                        PERFORM pg_sleep(0.01);
                    END LOOP;
                    INSERT INTO public.batch VALUES (began, clock_timestamp());
                    RETURN NULL;
                END $$;
                CREATE TRIGGER note AFTER DELETE ON pawl.workflow_history FOR EACH STATEMENT EXECUTE FUNCTION public.note();
                SELECT pg_advisory_lock(77);
                """)
            if !remembered {
                try admin.script(
                    """
                    CREATE FUNCTION public.forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.retention_at := NULL; RETURN NEW; END';
                    CREATE TRIGGER forget BEFORE UPDATE ON pawl.installation FOR EACH ROW EXECUTE FUNCTION public.forget();
                    """)
            }
            var fixtures: [StoreFixture] = []
            for _ in 0..<workers { fixtures.append(try await StoreFixture(database)) }
            try await eventually("a batch is under way; the log: \(fixtures[0].log)", within: .seconds(30)) {
                try admin.integer("SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND wait_event = 'PgSleep'", database.name) == 1
            }
            let beats = fixtures.map { $0.store.lifeRounds + 3 }
            try await eventually("heartbeats") { zip(fixtures, beats).allSatisfy { $0.store.lifeRounds >= $1 } }
            try admin.execute("SELECT pg_advisory_unlock(77)")
            try await eventually("all are deleted; the log: \(fixtures[0].log)", within: .seconds(30)) {
                try admin.integer("SELECT count(*) FROM pawl.workflows") == 0
            }
            let hasty = try admin.execute(
                """
                SELECT * FROM (SELECT b.began, b.ended, lead(b.began) OVER (ORDER BY b.began) AS next FROM public.batch b) x
                WHERE next - ended < ended - began
                """)
            #expect(hasty.rows.isEmpty, "\(hasty.rows)")
            #expect(try admin.integer("SELECT count(*) FROM public.batch") == 3)
            for fixture in fixtures { await fixture.shutdown() }
        }

        @Test func aDrainingWorkerLeavesThemToOthers() async throws {
            let fixture = try await StoreFixture(database)
            try create()
            try await waitForFired(1, fixture)
            let before = try sessions(fixture)
            fixture.store.announceDraining()
            try await eventually("it gives its session up") { try sessions(fixture) == before - 1 }
            try await eventually("an instant passes") { try admin.value("SELECT next_at < clock_timestamp() - interval '1 second' FROM pawl.schedule") == "t" }
            let other = try await StoreFixture(database)
            try await waitForFired(try fired + 2, other)
            try expectEveryInstant()
            await fixture.shutdown()
            await other.shutdown()
        }

        @Test func severalWorkersShareThem() async throws {
            var fixtures: [StoreFixture] = []
            for _ in 0..<3 { fixtures.append(try await StoreFixture(database)) }
            try create()
            try await waitForFired(5, fixtures[0])
            try expectEveryInstant()
            for fixture in fixtures { await fixture.shutdown() }
        }
    }

    /// Four sessions fire the days around the changes of the clocks in three zones, and are killed all the while. The time is the test's.
    @Suite struct ClockChangeTests {
        struct Change: CustomTestStringConvertible {
            var zone: String
            var at: String
            /// How many there are in the three days.
            var hours: Int
            var testDescription: String { "\(zone) \(at)" }
        }

        static let changes = [
            Change(zone: "America/New_York", at: "2026-03-08 07:00Z", hours: 71), Change(zone: "America/New_York", at: "2026-11-01 06:00Z", hours: 73),
            Change(zone: "Europe/Berlin", at: "2026-03-29 01:00Z", hours: 71), Change(zone: "Europe/Berlin", at: "2026-10-25 01:00Z", hours: 73),
            Change(zone: "Australia/Lord_Howe", at: "2026-10-03 15:30Z", hours: 71), Change(zone: "Australia/Lord_Howe", at: "2026-04-04 15:00Z", hours: 72),
        ]

        @Test(arguments: changes) func everyInstantOnce(_ change: Change) async throws {
            let database = try TestDatabase.make()
            let admin = try database.connect()
            // From midnight to midnight there: three days.
            let begin = "(date_trunc('day', $2::timestamptz AT TIME ZONE $1) - interval '1 day') AT TIME ZONE $1"
            try admin.script(
                """
                SELECT pawl.create_schedule(name, cron, 'w', timezone => '\(change.zone)', overlap => 'allow')
                FROM (VALUES ('night', '*/20 1,2,3 * * *'), ('quarters', '*/15 * * * *'), ('hours', '0 * * * *'), ('daily', '30 2 * * *')) c (name, cron)
                """)
            try admin.execute("UPDATE pawl.schedule SET next_at = pawl.next_instant(cron, timezone, \(begin) - interval '1 second')", change.zone, change.at)

            var workers = try (0..<4).map { _ in try database.connect() }
            var hits = 0
            for step in 0...(3 * 24 * 60 / 13 + 10) {
                let now = "\(begin) + \(step) * interval '13 minutes'"
                for worker in workers { try worker.start("SELECT pawl.fire_schedules(\(now))", change.zone, change.at) }
                let victim = step % 2 == 0 ? step / 2 % workers.count : nil
                if let victim {
                    let wasActive = try admin.value(
                        "SELECT CASE WHEN pg_terminate_backend(pid) THEN state = 'active' END FROM pg_stat_activity WHERE pid = $1::int",
                        "\(workers[victim].backendPID)")
                    do {
                        try workers[victim].finish()
                    } catch let error as TestSQLError where ["57P01", ""].contains(error.sqlState) {
                        if wasActive == "t" { hits += 1 }
                    }
                    workers[victim] = try database.connect()
                }
                for (number, worker) in workers.enumerated() where number != victim { try worker.finish() }
            }
            // Of some 170 kills; the others found it done.
            #expect(hits > 0)
            // The same, found in another way: each quarter of an hour that passed, and each time that the clock on the wall showed, the first time.
            let end = "(date_trunc('day', $2::timestamptz AT TIME ZONE $1) + interval '2 days') AT TIME ZONE $1"
            func expect(_ schedule: String, _ wanted: String) throws {
                let difference = try admin.execute(
                    """
                    WITH real AS MATERIALIZED (SELECT i, i AT TIME ZONE $1 AS wall FROM generate_series(\(begin), \(end) + interval '1 day', '1 minute') i),
                        shown AS (SELECT w FROM generate_series((\(begin)) AT TIME ZONE $1, (\(end)) AT TIME ZONE $1, '1 minute') w),
                        wanted AS (SELECT DISTINCT i FROM (\(wanted)) x WHERE i >= \(begin) AND i < \(end)),
                        got AS (SELECT w.scheduled_at AS i FROM pawl.workflows w WHERE w.schedule_name = '\(schedule)' AND w.scheduled_at < \(end))
                    SELECT 'missing', i FROM wanted EXCEPT SELECT 'missing', i FROM got
                    UNION ALL (SELECT 'too many', i FROM got EXCEPT SELECT 'too many', i FROM wanted)
                    """, change.zone, change.at)
                #expect(difference.rows.isEmpty, "\(schedule): \(difference.rows)")
            }
            func onTheWall(_ condition: String) -> String {
                """
                SELECT coalesce((SELECT min(i) FROM real WHERE wall = w), (SELECT min(i) FROM real WHERE wall > w)) AS i FROM shown WHERE \(condition)
                """
            }
            try expect("quarters", "SELECT i FROM real WHERE extract(minute FROM wall)::int % 15 = 0")
            try expect("hours", "SELECT i FROM real WHERE extract(minute FROM wall) = 0")
            try expect("night", onTheWall("extract(hour FROM w) IN (1, 2, 3) AND extract(minute FROM w)::int % 20 = 0"))
            try expect("daily", onTheWall("extract(hour FROM w) = 2 AND extract(minute FROM w) = 30"))
            #expect(
                try admin.integer(
                    "SELECT count(*) FROM pawl.workflows WHERE schedule_name = 'hours' AND scheduled_at < \(end)", change.zone, change.at) == change.hours)
            #expect(try admin.value("SELECT sum(missed + skipped) FROM pawl.schedules") == "0")
            #expect(try admin.value("SELECT sum(fired) = (SELECT count(*) FROM pawl.workflows) FROM pawl.schedules") == "t")
        }
    }
}
