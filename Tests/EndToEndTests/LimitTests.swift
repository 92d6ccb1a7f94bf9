import Foundation
import PostgresTestSupport
import Synchronization
import Testing

extension EndToEnd {
    /// Limits of queues over several workers: never exceeded, not for an instant; and what changes them acts at once.
    @Suite struct LimitTests {
        /// Four workers, of which one after the other is killed, and every kind of limit at the same time.
        @Test func noLimitIsEverExceededWhileWorkersAreKilled() async throws {
            let bank = try Bank.ofScripts()
            try bank.admin.script(
                """
                SELECT pawl.create_queue('three', concurrency => 3);
                SELECT pawl.create_queue('fifty', rate_limit => 50, rate_period => '1 second');
                SELECT pawl.create_queue('both', concurrency => 5, rate_limit => 20, rate_period => '1 second');
                SELECT pawl.create_queue('ranked', concurrency => 2);
                SELECT pawl.create_queue('fair', concurrency => 4);
                SELECT pawl.create_queue('single', concurrency => 4, partition_concurrency => 1);
                SELECT pawl.create_queue('each', worker_concurrency => 2);
                SELECT setseed(0.5);
                SELECT count(pawl.enqueue_workflow('script', to_jsonb(format(E'step a\\ncall sleep nap {"seconds": %s}\\nstep b', seconds)), queue => queue,
                    priority => priority, partition_key => tenant))
                FROM (
                    SELECT 'three' AS queue, 0.02 + random() / 20 AS seconds, 0 AS priority, NULL AS tenant FROM generate_series(1, 150)
                    UNION ALL SELECT 'fifty', 0, 0, NULL FROM generate_series(1, 400)
                    -- Now the one, now the other is what holds them up.
                    UNION ALL SELECT 'both', CASE WHEN i % 100 < 50 THEN 0.05 ELSE 0.5 END, 0, NULL FROM generate_series(1, 150) i
                    UNION ALL SELECT 'ranked', 0.02, (random() * 9)::integer, NULL FROM generate_series(1, 150)
                    UNION ALL SELECT 'fair', 0.02, 0, 'many' FROM generate_series(1, 300)
                    UNION ALL SELECT 'fair', 0.02, 0, 'few ' || i % 5 FROM generate_series(1, 200) i
                    UNION ALL SELECT 'single', 0.02, 0, 'tenant ' || i % 3 FROM generate_series(1, 90) i
                    UNION ALL SELECT 'each', 0.05, 0, NULL FROM generate_series(1, 200)) work
                """)
            let all = try bank.admin.integer("SELECT count(*) FROM pawl.workflow")
            let sampler = Sampler(bank.database)
            defer { sampler.stop() }

            let seed = ProcessInfo.processInfo.environment["PAWL_TEST_SEED"].flatMap(UInt64.init) ?? .random(in: 0..<1_000_000)
            var random = SplitMix(state: seed)
            var workers = try (0..<4).map { try bank.worker("worker-\($0)", concurrency: 30) }
            func ended() throws -> Int { try bank.admin.integer("SELECT count(*) FROM pawl.workflow_history") }
            func story() throws -> String { "seed \(seed), \(try bank.summary()): \(tails(workers))" }
            for kill in 1...9 {
                try await eventually("\(kill) tenths of all ended; \(try story())", within: .seconds(60)) { try ended() >= all * kill / 10 }
                let victim = Int.random(in: 0..<4, using: &random)
                try workers[victim].killNow()
                workers[victim] = try bank.worker("worker-\(victim)-\(kill)", concurrency: 30)
            }
            try await eventually("the end of all; \(try story())", within: .seconds(90)) { try ended() == all }
            sampler.stop()
            #expect(try bank.count("succeeded") == all, "seed \(seed)")
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE recoveries > 0") > 0)

            // Of every snapshot that was looked at. Each limit was reached, so it is what held the rest back.
            for (what, limit) in ["three": 3, "both": 5, "ranked": 2, "fair": 4, "single": 3, "single of a tenant": 1, "each of a worker": 2] {
                #expect(sampler.largest[what] == limit, "\(what), seed \(seed): \(sampler.description)")
            }
            // Of every moment: between two steps of one run the workflow runs.
            for (queue, limit) in ["three": 3, "both": 5, "ranked": 2, "fair": 4] { #expect(try bank.runningAtOnce(queue) <= limit, "\(queue), seed \(seed)") }
            #expect(try bank.runningAtOnce("three") == 3)
            for tenant in 0...2 { #expect(try bank.runningAtOnce("single", tenant: "tenant \(tenant)") == 1, "seed \(seed)") }
            for (queue, limit) in ["fifty": 50, "both": 20] {
                let shortest = try bank.shortestTimeOf(limit + 1, queue)
                #expect(shortest >= 1, "\(limit + 1) of \(queue) started within \(shortest) s, seed \(seed)")
            }
            #expect(try bank.shortestTimeOf(51, "fifty") < 1.5)
            let overtaken = try bank.admin.integer(
                """
                SELECT count(*) FROM (SELECT priority, max(priority) OVER (ORDER BY started_at, priority) AS latest FROM pawl.workflows WHERE queue = 'ranked') r
                WHERE priority < latest
                """)
            #expect(overtaken == 0, "seed \(seed)")
            // Until the first of the six had nothing left to start.
            let served = try bank.admin.execute(
                """
                SELECT partition_key, count(*) AS starts FROM pawl.workflows WHERE queue = 'fair' AND started_at <= (
                    SELECT min(last) FROM (SELECT max(started_at) AS last FROM pawl.workflows WHERE queue = 'fair' GROUP BY partition_key) l)
                GROUP BY 1 ORDER BY 1
                """
            ).rows.map { (tenant: $0[0] ?? "", starts: Int($0[1] ?? "") ?? 0) }
            let share = served.map(\.starts).reduce(0, +) / 6
            #expect(served.count == 6 && served.allSatisfy { $0.starts * 2 >= share && $0.starts <= share * 2 }, "\(served), seed \(seed)")
        }

        /// No worker looks by itself here: whatever happens was told.
        private func bankWithoutPolls() throws -> Bank {
            let bank = try Bank.ofScripts()
            try bank.admin.script("ALTER DATABASE \(bank.database.name) SET pawl.poll_interval = 0")
            return bank
        }

        @Test func pausingResumingAndAlteringActAtOnce() async throws {
            let bank = try bankWithoutPolls()
            try bank.admin.script("SELECT pawl.create_queue('q', concurrency => 1)")
            let workers = try (0..<4).map { try bank.worker("worker-\($0)", arguments: ["--park-after", "1min"]) }
            for id in 1...9 { try bank.run("w\(id)", "step a\ncall receive wait {}", queue: "q") }
            /// Runs so many, and never more, as long as others come and go.
            func runs(_ count: Int, _ line: Int = #line) async throws {
                try await eventually("\(count) run (line \(line)): \(try bank.running()); \(tails(workers))", within: .seconds(5)) {
                    try bank.running().count == count
                }
                try await bank.passWorkBy(workers)
                #expect(try bank.running().count == count, "line \(line)")
            }
            func end(_ count: Int) throws {
                for id in try bank.running().prefix(count) { try bank.admin.execute("SELECT pawl.send_message($1, '1')", id) }
            }
            try await runs(1)
            try bank.admin.script("SELECT pawl.alter_queue('q', concurrency => 3)")
            try await runs(3)
            // A lower limit ends nothing; it only starts nothing.
            try bank.admin.script("SELECT pawl.alter_queue('q', concurrency => 2)")
            try await runs(3)
            try end(1)
            try await runs(2)
            try bank.admin.script("SELECT pawl.pause_queue('q', 'the warehouse moves')")
            try end(2)
            try await runs(0)
            try bank.admin.script("SELECT pawl.resume_queue('q')")
            try await runs(2)
            try bank.admin.script("SELECT pawl.alter_queue('q', concurrency => 0)")
            try end(2)
            try await runs(0)
            try bank.admin.script("SELECT pawl.alter_queue('q', concurrency => -1)")
            try await runs(4)
        }

        /// What has not started when a pause returns does not start, also where there is no other limit and much is going on.
        @Test func nothingStartsAfterAPause() async throws {
            let bank = try Bank.ofScripts()
            try bank.admin.script("SELECT pawl.create_queue('plain'); SELECT pawl.create_queue('limited', concurrency => 50)")
            let workers = try (0..<4).map { try bank.worker("worker-\($0)") }
            for queue in ["plain", "limited"] {
                func started() throws -> Int {
                    try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE queue = $1 AND started_at IS NOT NULL", queue)
                }
                var held = 0
                for round in 1...8 {
                    let before = try started()
                    try bank.admin.execute(
                        "SELECT count(pawl.enqueue_workflow('script', '\"step a\"', queue => $1)) FROM generate_series(1, 1000)", queue)
                    try bank.admin.execute("SELECT pawl.resume_queue($1)", queue)
                    try await eventually("work of \(queue); \(tails(workers))") { try started() > before }
                    try bank.admin.execute("SELECT pawl.pause_queue($1)", queue)
                    let left = try bank.admin.value(
                        "SELECT array_agg(workflow_id) FROM pawl.workflows WHERE queue = $1 AND status = 'enqueued'", queue)
                    try await bank.passWorkBy(workers)
                    guard let left else { continue }
                    held += 1
                    let begun = try bank.admin.integer(
                        "SELECT count(*) FROM pawl.workflows WHERE workflow_id = ANY ($1::text[]) AND status <> 'enqueued'", left)
                    #expect(begun == 0, "\(queue), round \(round)")
                }
                #expect(held > 0, "all of \(queue) had started before each pause")
            }
        }

        @Test func whatWaitsInRowsCountsWhereTheQueueSaysSo() async throws {
            let bank = try bankWithoutPolls()
            try bank.admin.script(
                "SELECT pawl.create_queue('held', concurrency => 2, hold_while_waiting => true); SELECT pawl.create_queue('free', concurrency => 2)")
            let workers = try (0..<2).map { try bank.worker("worker-\($0)", arguments: ["--park-after", "0s"]) }
            for queue in ["held", "free"] {
                for id in 1...6 { try bank.run("\(queue)-\(id)", "step a\ncall receive wait {}\nstep b", queue: queue) }
            }
            func waiting(_ queue: String) throws -> [String] {
                try bank.admin.execute("SELECT workflow_id FROM pawl.workflows WHERE queue = $1 AND status = 'waiting' ORDER BY 1", queue)
                    .column("workflow_id").map { $0 ?? "" }
            }
            try await eventually("all of one and two of the other wait; \(try bank.summary()) \(tails(workers))") {
                try waiting("free").count == 6 && waiting("held").count == 2
            }
            let sampler = Sampler(bank.database)
            defer { sampler.stop() }
            for round in 1...3 {
                try await bank.passWorkBy(workers)
                #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE queue = 'held' AND started_at IS NOT NULL") == 2 * round)
                for id in try waiting("held") { try bank.admin.execute("SELECT pawl.send_message($1, '1')", id) }
                try await eventually("round \(round); \(try bank.summary()) \(tails(workers))") {
                    try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE queue = 'held' AND completed_at IS NOT NULL") == 2 * round
                        && waiting("held").count == (round < 3 ? 2 : 0)
                }
            }
            sampler.stop()
            #expect(sampler.largest["held"] == 2, "\(sampler.description)")
        }

        @Test func aFullQueueWhoseWorkerDiedGoesOn() async throws {
            let bank = try bankWithoutPolls()
            try bank.admin.script("SELECT pawl.create_queue('one', concurrency => 1)")
            for id in 1...2 { try bank.run("w\(id)", "step a\ncall receive wait {}", queue: "one") }
            var holder = try bank.worker("first", arguments: ["--park-after", "1min"])
            try await bank.waitUntilWaiting("w1", holder)
            var times: [Duration] = []
            for kill in 1...3 {
                let heir = try bank.worker("heir \(kill)", arguments: ["--park-after", "1min"])
                try await bank.passWorkBy([heir])
                let killed = ContinuousClock.now
                try holder.killNow()
                try await eventually("its next run; \(heir.output)", every: .milliseconds(2)) {
                    try bank.admin.value(
                        "SELECT 1 FROM pawl.workflow WHERE workflow_id = 'w1' AND recoveries = $1 AND claimed_by IS NOT NULL", "\(kill)") != nil
                }
                times.append(ContinuousClock.now - killed)
                holder = heir
            }
            print("a full queue of a killed worker goes on after \(times)")
            // Two looks a second apart. A machine that does other things too may be late for one of them, hardly for all; but a crash that nobody looks for
            // takes a lease, ten seconds, each time.
            #expect(times.min()! <= .seconds(2), "\(times)")
            #expect(times.allSatisfy { $0 < .seconds(6) }, "\(times)")
            #expect(try bank.status("w2") == "enqueued")
        }

        @Test func aWorkerServesOnlyTheQueuesThatItIsGiven() async throws {
            let bank = try Bank.ofScripts()
            try bank.admin.script("SELECT pawl.create_queue('left'); SELECT pawl.create_queue('right', concurrency => 5); SELECT pawl.create_queue('none')")
            for queue in ["left", "right", "none", "default"] {
                try bank.admin.execute(
                    "SELECT count(pawl.enqueue_workflow('script', '\"step a\"', queue => $1)) FROM generate_series(1, 50)", queue)
            }
            let workers = try ["left", "right"].map { try bank.worker($0, arguments: ["--queue", $0]) }
            try await eventually("what they serve; \(workers.map(\.output))") {
                try bank.admin.integer("SELECT count(*) FROM pawl.workflow_history") >= 100
            }
            let served = try bank.admin.execute(
                "SELECT DISTINCT w.queue || ' by ' || k.worker_name AS served FROM pawl.workflows w JOIN pawl.workers k USING (worker_id) ORDER BY 1")
            #expect(try served.column("served") == ["left by left", "right by right"])
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE status = 'enqueued' AND queue IN ('none', 'default')") == 100)
            let third = try bank.worker("third", arguments: ["--queue", "none", "--queue", "default"])
            try await bank.waitForEnds(200, of: third)
        }
    }
}

extension Bank {
    fileprivate func run(_ id: String, _ script: String, queue: String) throws {
        try admin.execute("SELECT pawl.enqueue_workflow('script', to_jsonb($1::text), workflow_id => $2, queue => $3)", script, id, queue)
    }

    /// What runs in queue q, those first that began first.
    fileprivate func running() throws -> [String] {
        try admin.execute("SELECT workflow_id FROM pawl.workflows WHERE queue = 'q' AND status = 'running' ORDER BY started_at, workflow_id")
            .column("workflow_id").map { $0 ?? "" }
    }

    /// Work of another queue comes, wakes every worker, and is done: whatever they could claim besides, they have claimed.
    fileprivate func passWorkBy(_ workers: [TestProcess]) async throws {
        func ended() throws -> Int { try admin.integer("SELECT count(*) FROM pawl.workflow_history WHERE queue_id = 0") }
        for _ in 1...3 {
            let goal = try ended() + 20
            try admin.script("SELECT count(pawl.enqueue_workflow('script', '\"step a\"')) FROM generate_series(1, 20)")
            try await eventually("other work; \(try summary()) \(tails(workers))") { try ended() == goal }
        }
    }

    /// The most that ran at any moment, as far as what is recorded tells: a run holds its place from its first recorded step to its last, or to the end.
    fileprivate func runningAtOnce(_ queue: String, tenant: String? = nil) throws -> Int {
        try admin.integer(
            """
            WITH run AS (
                SELECT min(s.completed_at) AS since, greatest(max(s.completed_at), max(h.completed_at) FILTER (WHERE h.epoch = s.epoch)) AS until
                FROM pawl.workflow_step s JOIN pawl.workflow_history h USING (workflow_key) JOIN pawl.queue q ON q.queue_id = h.queue_id
                WHERE q.queue_name = $1 AND h.partition_key IS NOT DISTINCT FROM coalesce($2, h.partition_key) AND s.completed_at IS NOT NULL
                GROUP BY s.workflow_key, s.epoch),
            edge AS (SELECT since AS at, 1 AS change FROM run UNION ALL SELECT until, -1 FROM run)
            SELECT max(running) FROM (SELECT sum(change) OVER (ORDER BY at, change ROWS UNBOUNDED PRECEDING) AS running FROM edge) e
            """, queue, tenant)
    }

    /// The fewest seconds in which so many started.
    fileprivate func shortestTimeOf(_ count: Int, _ queue: String) throws -> Double {
        let text = try admin.value(
            """
            SELECT min(extract(epoch FROM span)) FROM (
                SELECT started_at - lag(started_at, $2::integer - 1) OVER (ORDER BY started_at) AS span FROM pawl.workflows WHERE queue = $1) s
            """, queue, "\(count)")
        guard let seconds = text.flatMap(Double.init) else { throw TestFailure("fewer than \(count) of \(queue) started") }
        return seconds
    }
}

/// What each has logged of late.
private func tails(_ workers: [TestProcess]) -> String { "\(workers.map { String($0.output.suffix(1000)) })" }

/// Looks at one snapshot after another, and keeps the largest of each count: of a queue, of each of its tenants, and of each worker in it.
private final class Sampler: Sendable {
    private struct State {
        var largest: [String: Int] = [:]
        var snapshots = 0
        var failure: String?
        var isOver = false
        var hasStopped = false
    }
    private let state = Mutex(State())

    private static let snapshot = """
        SELECT what, max(running) AS running FROM (
            SELECT q.queue_name || CASE WHEN GROUPING(w.partition_key) = 0 THEN ' of a tenant' WHEN GROUPING(w.claimed_by) = 0 THEN ' of a worker' ELSE '' END AS what,
                count(*) AS running
            FROM pawl.workflow w JOIN pawl.queue q ON q.queue_id = w.running_in AND (w.claimed_by IS NOT NULL OR q.hold_while_waiting)
            GROUP BY GROUPING SETS ((q.queue_name), (q.queue_name, w.partition_key), (q.queue_name, w.claimed_by))) c
        GROUP BY what
        """

    init(_ database: TestDatabase) {
        let connectionString = database.connectionString
        Thread.detachNewThread {
            do {
                let session = try TestConnection(connectionString)
                while !self.state.withLock({ $0.isOver }) {
                    let counts = try session.execute(Self.snapshot).rows
                    self.state.withLock { state in
                        state.snapshots += 1
                        for row in counts { state.largest[row[0] ?? "", default: 0] = max(state.largest[row[0] ?? "", default: 0], Int(row[1] ?? "") ?? .max) }
                    }
                    usleep(2000)
                }
            } catch {
                self.state.withLock { $0.failure = "\(error)" }
            }
            self.state.withLock { $0.hasStopped = true }
        }
    }

    func stop() {
        state.withLock { $0.isOver = true }
        while !state.withLock({ $0.hasStopped }) { usleep(1000) }
    }

    var largest: [String: Int] { state.withLock { $0.failure == nil ? $0.largest : [:] } }
    var description: String { state.withLock { "\($0.largest) in \($0.snapshots) snapshots \($0.failure ?? "")" } }
}
