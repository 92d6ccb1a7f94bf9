/// How much an engine takes on.
package struct EngineConfiguration: Sendable {
    /// Workflows whose handlers run at once.
    package var concurrency: Int
    /// The most one claim asks for.
    package var claimBatch: Int
    /// Shared writes on their way at once. What becomes ready meanwhile goes into the next one.
    package var writesInFlight: Int
    /// The most rows and payload bytes of one shared write.
    package var writeRows: Int
    package var writeBytes: Int
    /// How often a transaction's body, or a query, is run when serialization failures, deadlocks or lost connections undo it.
    package var transactionAttempts: Int
    /// The back-off before the second attempt; it doubles from there, with full jitter.
    package var retryBase: Duration
    package var retryCap: Duration
    /// How long a drain waits, past its deadline, for the answers of writes that are on their way.
    package var handBackLimit: Duration
    /// A run that only waits is parked after so long, or at once if nothing but time can end its wait and that is further away.
    package var parkAfter: Duration
    /// The most runs that only wait: past it the one that has waited longest is parked.
    package var residentLimit: Int
    /// How long claims rest at a time so that a suspect can run alone.
    package var clearingTurn: Duration
    /// Of the jitter. Fixed in tests.
    package var seed: UInt64
    /// Makes the values of `uuid` and `random` repeatable. Only in tests.
    package var valueSeed: UInt64?

    package init(
        concurrency: Int, claimBatch: Int = 500, writesInFlight: Int = 3, writeRows: Int = 1000, writeBytes: Int = 8 << 20,
        transactionAttempts: Int = 10, retryBase: Duration = .milliseconds(20), retryCap: Duration = .seconds(5),
        handBackLimit: Duration = .seconds(5), parkAfter: Duration = .seconds(5), residentLimit: Int = 4000, clearingTurn: Duration = .seconds(30),
        seed: UInt64 = .random(in: .min ... .max), valueSeed: UInt64? = nil
    ) {
        self.concurrency = max(1, concurrency)
        self.claimBatch = max(1, claimBatch)
        self.writesInFlight = max(1, writesInFlight)
        self.writeRows = max(1, writeRows)
        self.writeBytes = max(1, writeBytes)
        self.transactionAttempts = max(1, transactionAttempts)
        self.retryBase = retryBase
        self.retryCap = retryCap
        self.handBackLimit = handBackLimit
        self.parkAfter = max(.zero, parkAfter)
        self.residentLimit = max(0, residentLimit)
        self.clearingTurn = clearingTurn
        self.seed = seed
        self.valueSeed = valueSeed
    }

    var parkAfterMicroseconds: Int64 {
        let (seconds, attoseconds) = parkAfter.components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }
}

/// Where the engine's driver and its runs read time. Decisions about workflows use the database's clock, never this one.
package struct EngineClock: Sendable {
    /// Nanoseconds that only grow: back-offs and deadlines.
    package var monotonic: @Sendable () -> UInt64
    /// Microseconds since 1970-01-01T00:00:00Z: when a step began.
    package var wall: @Sendable () -> Int64
    package init(monotonic: @escaping @Sendable () -> UInt64, wall: @escaping @Sendable () -> Int64) {
        self.monotonic = monotonic
        self.wall = wall
    }
}

/// What an engine has done since it was made, and what it is doing.
package struct EngineStatistics: Sendable, Equatable {
    /// Workflows whose handlers run.
    package var running = 0
    /// Workflows whose handlers only wait.
    package var resting = 0
    /// Workflows owned here that have not ended or been given up yet: the running ones and those whose end is being written.
    package var unresolved = 0
    /// Handlers of runs that are over for the engine, and that have not finished.
    package var lingering = 0
    package var claimed = 0
    package var succeeded = 0
    package var failed = 0
    package var cancelled = 0
    package var continued = 0
    package var handedBack = 0
    package var parked = 0
    /// What the database said happened to runs that were here.
    package var signals = 0
    /// Attempts of steps that failed and are followed by another.
    package var retries = 0
    /// Steps, transactions and queries recorded here.
    package var steps = 0
    /// Steps that a replay answered from what was recorded.
    package var replayedSteps = 0
    package var transactionRetries = 0
    /// Runs stopped because another worker owns their workflow.
    package var fenced = 0
    package var livesLost = 0
    /// Calls that broke a rule of the plugin interface.
    package var misuse = 0
    /// Ends that the database refused in every form: the workflow stays claimed until this worker ends.
    package var abandoned = 0
    package var writes = 0
    package init() {}
}

/// Something an operator may want to read. Never holds payloads.
package struct EngineLogRecord: Sendable {
    package enum Level: Sendable { case debug, info, notice, warning, error }
    package var level: Level
    package var message: String
    package var workflowID: String?
    package var epoch: Int32?
}
