internal import ArgumentParser
internal import Glibc
internal import PostgresStore

/// `pawl bench`
struct BenchCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure a database from here: round trips, enqueueing, and how soon a worker starts and ends a workflow.",
        discussion: """
            One session, one thing after another: latencies, not what many sessions reach together. It enqueues workflows of a name of its own, \
            pawl_bench_…, which a worker runs as an SQL function if there is an idle one, and deletes them at the end; pawl.audit keeps that it did. \
            What a killed one left the next one deletes. The role needs the accesses enqueue, observe and operate.
            """)

    @Option(help: "How many workflows; 10 to 10000.")
    var count = 200

    @OptionGroup var options: OperatorOptions

    var reason: String? { "pawl bench" }

    func validate() throws {
        guard (10...BenchRun.mostWorkflows).contains(count) else { throw ValidationError("--count must be from 10 to 10000") }
    }

    /// How many one statement enqueues.
    private static let batch = 1000
    /// What a worker may take for one workflow, or for all to end, before it is given up, in microseconds.
    private static let patience: Int64 = 10_000_000

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        // Ctrl-C ends the session's work, and not what clears it away.
        let cleaner = try OperatorSession(database: options.connectionString())
        if let reason { try cleaner.setReason(reason) }
        for run in try cleaner.abandonedBenches() { try clear(run, BenchRun.mostWorkflows, cleaner, screen) }
        let run = try cleaner.beginBench()
        let runs = try session.hasIdleWorker()
        var enqueued = 0
        var progress = ProgressBar("Measuring", total: count)
        defer { progress.end() }

        var roundTrips = Sample("round trip")
        var batches = Sample("enqueue \(Self.batch) in one statement, each", of: Self.batch)
        var commits = Sample("enqueue one and commit")
        var starts = Sample("from its enqueueing to its start")
        var ends = Sample("from its start to its end")
        do {
            try session.createBenchHandler(run)
            for _ in 0..<100 { try roundTrips.measure { try session.roundTrip() } }
            for _ in 0..<5 { batches.add(try session.timeOfEnqueueing(Self.batch, run)) }
            for index in 0..<count {
                enqueued += 1
                try commits.measure { try session.enqueueBench(run, index, runs: runs) }
                if runs {
                    let times = try ended(run, index, session)
                    starts.add(times.started - times.created)
                    ends.add(times.ended - times.started)
                }
                progress.advance(by: 1)
            }
        } catch {
            // What went wrong first is what is told.
            try? clear(run, enqueued, cleaner, screen)
            throw error
        }
        try clear(run, enqueued, cleaner, screen)
        progress.end()
        screen.show(
            OperatorRows([roundTrips, batches, commits] + (runs ? [starts, ends] : [])),
            [
                TableColumn("measure", "what"), "count", TableColumn("per_second", "per second"), "p50", "p95", "p99", TableColumn("most", "most"),
            ], empty: "")
        if !runs { screen.note("No worker is idle: how soon one starts a workflow was not measured.") }
    }

    /// Its times once it has ended.
    private func ended(_ run: BenchRun, _ index: Int, _ session: OperatorSession) throws -> (created: Int64, started: Int64, ended: Int64) {
        let began = Sample.now()
        while Sample.now() - began < Self.patience {
            let times = try session.benchTimes(run, index)
            if let created = times["created_at"].microseconds, let started = times["started_at"].microseconds,
                let ended = times["completed_at"].microseconds
            {
                return (created, started, ended)
            }
            try session.pause(milliseconds: 1)
        }
        throw CommandFailure("no worker ran a workflow within 10 s although one seems to be idle: `pawl doctor` may know why")
    }

    private func clear(_ run: BenchRun, _ count: Int, _ session: OperatorSession, _ screen: Screen) throws {
        let began = Sample.now()
        var left = try session.clearBench(run, count: count)
        // One that runs at this moment is deleted when it has ended.
        while left > 0, Sample.now() - began < Self.patience {
            try session.pause(milliseconds: 50)
            left = try session.clearBench(run, count: count)
        }
        guard left == 0 else {
            return screen.note("\(left.counted("workflow")) named \(run.name) had not ended after 10 s: the next `pawl bench` deletes what is left.")
        }
        try session.dropBenchHandler(run)
    }
}

/// Durations of one kind, in microseconds.
private struct Sample {
    let name: String
    /// How many things one measurement is of.
    private let size: Int
    private var durations: [Int64] = []

    init(_ name: String, of size: Int = 1) {
        self.name = name
        self.size = size
    }

    mutating func add(_ microseconds: Int64) { durations.append(max(0, microseconds)) }

    mutating func measure(_ body: () throws -> Void) throws {
        let began = Self.now()
        try body()
        add(Self.now() - began)
    }

    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    var row: OperatorRow {
        let sorted = durations.sorted()
        func quantile(_ share: Double) -> OperatorValue {
            guard !sorted.isEmpty else { return .null }
            let duration = sorted[Int((Double(sorted.count - 1) * share).rounded())] / Int64(size)
            return .interval(duration, OperatorValue.interval(duration))
        }
        let total = durations.reduce(0, +)
        let rate = total > 0 ? Int64(durations.count * size) * 1_000_000 / total : 0
        return [
            "measure": .text(name), "count": .number("\(durations.count * size)"), "per_second": .number("\(rate)"), "p50": quantile(0.5),
            "p95": quantile(0.95), "p99": quantile(0.99), "most": quantile(1),
        ]
    }
}

extension OperatorRows {
    fileprivate init(_ samples: [Sample]) {
        let rows = samples.map(\.row)
        self.init(columns: rows.first?.columns ?? [], values: rows.map(\.values))
    }
}
