import PostgresClient

/// One SQL statement of the worker protocol: its text, its parameters and the decoding of its rows, together.
protocol StoreStatement {
    static var prepared: PreparedStatement { get }
    /// Fills an empty buffer with the parameters, in order.
    func bind(_ parameters: inout ParameterBuffer)
}

extension StoreStatement {
    /// Adds it to the connection's open request.
    func add(to connection: Connection, _ buffer: inout ParameterBuffer) {
        buffer.removeAll()
        bind(&buffer)
        connection.add(Self.prepared, buffer)
    }

    /// Runs it on a connection of its own thread.
    func run(on connection: BlockingConnection, timeoutNanoseconds: UInt64) throws(PostgresError) -> PostgresResult {
        var buffer = ParameterBuffer()
        bind(&buffer)
        return try connection.execute(Self.prepared, buffer, timeoutNanoseconds: timeoutNanoseconds)
    }
}

/// Which sessions prepare what.
enum StatementSet {
    static let claim = [
        ClaimStatement.prepared, RecordedStepsStatement.prepared, ArmStatement.prepared, WaitStatement.prepared, ReleaseUnknownStatement.prepared,
        EndBackendStatement.prepared,
    ]
    static let signals = [
        TakeSignalsStatement.prepared, ArmSignalsStatement.prepared, WaitStatement.prepared, EndBackendStatement.prepared,
    ]
    static let write = [
        RecordStepsStatement.prepared, RecordAttemptsStatement.prepared, CompleteWorkflowsStatement.prepared, ContinueWorkflowsStatement.prepared,
        PerformCallsStatement.prepared, EmitValuesStatement.prepared, ParkWorkflowsStatement.prepared, ReleaseWorkflowsStatement.prepared,
        RecordedStepsStatement.prepared, EndBackendStatement.prepared,
    ]
    static let life = [RegisterWorkerStatement.prepared, HeartbeatStatement.prepared, UnregisterWorkerStatement.prepared]
    static let pool = [MarkTransactionStatement.prepared, RecordStepStatement.prepared, RecordStepsStatement.prepared]
    static let handlers = [RunHandlerStatement.prepared, CompleteWorkflowsStatement.prepared, EndBackendStatement.prepared]
    static let housekeeping = [RunSchedulesStatement.prepared, RunRetentionStatement.prepared]
    static let all = claim + signals + write + life + pool + handlers + housekeeping
}
