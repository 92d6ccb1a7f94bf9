import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// Plugins that hurt their process.
    @Suite struct HostilePluginTests {
        /// One workflow that kills the process, among a thousand: only it fails.
        @Test func onlyTheWorkflowThatKillsTheProcessFails() async throws {
            let bank = try Bank(plugins: [TestPlugin.script.get()])
            try bank.admin.script(
                """
                SELECT count(pawl.enqueue_workflow('script', to_jsonb(
                    CASE WHEN i = 500 THEN 'step die kill' ELSE E'step a\\ncall sleep nap {"seconds": 0.01}\\nstep b' END::text), workflow_id => 'w' || i))
                FROM generate_series(1, 1000) i
                """)
            var crashes = 0
            while try bank.count("failed") == 0 || bank.admin.integer("SELECT count(*) FROM pawl.workflow") > 0 {
                let worker = try bank.worker("worker-\(crashes)", concurrency: 1000)
                try await eventually("its death, or the end of all; \(try bank.summary()); \(worker.output.suffix(3000))", within: .seconds(60)) {
                    try !worker.isRunning || bank.admin.integer("SELECT count(*) FROM pawl.workflow") == 0
                }
                if worker.isRunning { break }
                crashes += 1
                try #require(crashes < 10)
            }
            let innocent = try bank.admin.value(
                "SELECT string_agg(concat_ws(' ', workflow_id, status, status_reason, recoveries, error ->> 'code', error ->> 'message'), '; ') FROM pawl.workflows WHERE status <> 'succeeded' AND workflow_id <> 'w500'"
            )
            #expect(innocent == nil)
            #expect(try bank.count("succeeded") == 999)
            #expect(try bank.end("w500") == "failed crashes crashes")
            // Two crashes until it is suspected, and three alone.
            #expect(crashes == 5)
        }

        /// Those that only wait were there at every crash.
        @Test func theWorkflowsThatWaitBesideItGoOn() async throws {
            let bank = try Bank(plugins: [TestPlugin.script.get()])
            let first = try bank.worker("first", arguments: ["--park-after", "1min"])
            for id in 1...5 { try bank.run("waiting-\(id)", "step a\ncall receive wait {}") }
            for id in 1...5 { try await bank.waitUntilWaiting("waiting-\(id)", first) }
            try bank.run("poison", "step die kill")
            #expect(try await first.wait() == .signalled(SIGKILL))
            var crashes = 1
            while try bank.count("failed") == 0 {
                let worker = try bank.worker("worker-\(crashes)", arguments: ["--park-after", "1min"])
                try await eventually("its death, or the end of the poison; \(try bank.summary()); \(worker.output.suffix(3000))", within: .seconds(60)) {
                    try !worker.isRunning || bank.count("failed") > 0
                }
                if worker.isRunning { break }
                crashes += 1
                try #require(crashes < 10)
            }
            #expect(try bank.end("poison") == "failed crashes crashes")
            let last = try bank.worker("last")
            for id in 1...5 {
                #expect(try bank.status("waiting-\(id)") != "failed")
                try bank.admin.execute("SELECT pawl.send_message($1, '1')", "waiting-\(id)")
                try await bank.waitForEnd("waiting-\(id)", last)
                #expect(try bank.end("waiting-\(id)") == "succeeded")
            }
        }

        /// A run that has come back to its wait has passed a checkpoint: that its worker dies then is not held against it.
        @Test func aCrashAfterItCameBackToItsWaitDoesNotCount() async throws {
            let bank = try Bank(plugins: [TestPlugin.script.get()])
            try bank.run("w", "call receive wait {}")
            for _ in 1...2 {
                let doomed = try bank.worker("doomed", crashPoint: "after-perform")
                #expect(try await doomed.wait() == .signalled(SIGKILL), "\(doomed.output)")
            }
            let heir = try bank.worker("heir")
            try await eventually("its third run; \(heir.output)") {
                try bank.admin.value("SELECT 1 FROM pawl.workflow WHERE claimed_by IS NOT NULL AND recoveries = 2") != nil
            }
            // Two in a row would make it a suspect.
            #expect(try bank.admin.integer("SELECT crashes FROM pawl.workflow") == 1)
            try bank.admin.execute("SELECT pawl.send_message('w', '1')")
            try await bank.waitForEnd("w", heir)
            #expect(try bank.end("w") == "succeeded")
        }

        /// A handler that does not return keeps its plugin's delivery thread. The worker lives on, and so does all other work.
        @Test func aPluginThatBlocksDelaysOnlyItself() async throws {
            let bank = try Bank(plugins: [TestPlugin.script.get(), TestPlugin.other.get()])
            let worker = try bank.worker()
            try bank.run("blocked", "block\ncall receive wait {}")
            try await bank.waitUntilReached("blocked", worker)
            try bank.run("behind", "step a")
            let from = try bank.admin.value("SELECT heartbeat_at FROM pawl.workers WHERE status = 'running'") ?? ""
            var round = 0
            try await eventually("heartbeats, with work of the other plugin between them; \(worker.output)", within: .seconds(90)) {
                round += 1
                try bank.run(
                    "other-\(round)", "step a\ncall sleep nap {\"seconds\": 0.1}\nsql t SELECT bank.receipt(jsonb_build_object('id', $1::text))", name: "other")
                try await bank.waitForEnd("other-\(round)", worker)
                return try bank.isAlive(since: from, for: "3 s")
            }
            #expect(try bank.status("blocked") == "running")
            #expect(try bank.admin.integer("SELECT count(*) FROM pawl.workflows WHERE workflow_name = 'other' AND status = 'succeeded'") == round)
            // It can be cancelled, and its worker stopped; both wait for nobody.
            #expect(try bank.admin.value("SELECT pawl.cancel_workflow('blocked')") == "t")
            try bank.open("blocked")
            for id in ["blocked", "behind"] { try await bank.waitForEnd(id, worker) }
            #expect(try bank.end("blocked") == "cancelled request")
            #expect(try bank.status("behind") == "succeeded")
            #expect(try bank.admin.integer("SELECT sum(recoveries) FROM pawl.workflows") == 0)
        }

        /// A blocked plugin does not keep its worker from stopping: what it holds is handed back.
        @Test func aPluginThatBlocksDoesNotKeepItsWorkerFromStopping() async throws {
            let bank = try Bank(plugins: [TestPlugin.script.get()])
            let worker = try bank.worker(arguments: ["--shutdown-timeout", "500ms"])
            try bank.run("blocked", "block\nstep a")
            try await bank.waitUntilReached("blocked", worker)
            worker.signal(SIGTERM)
            #expect(try await worker.wait() == .exited(0), "\(worker.output)")
            #expect(try bank.status("blocked") == "enqueued")
            try bank.open("blocked")
            let heir = try bank.worker("heir")
            try await bank.waitForEnd("blocked", heir)
            #expect(try bank.admin.integer("SELECT recoveries FROM pawl.workflows") == 0)
        }
    }
}
