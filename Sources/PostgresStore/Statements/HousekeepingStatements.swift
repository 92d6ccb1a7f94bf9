import PostgresClient

/// Fires the schedules that are due, a bounded batch.
struct RunSchedulesStatement: StoreStatement {
    let worker: UUIDBytes

    static let prepared = PreparedStatement(name: "pawl_run_schedules", sql: "SELECT pawl.run_schedules($1::uuid)")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(worker) }

    /// In how many microseconds there is more to fire; nil: never, as far as anybody knows.
    static func decode(_ result: PostgresResult) -> Int64? { result.rowCount == 1 && !result.isNull(0, 0) ? result.int64(0, 0) : nil }
}

/// Deletes what is past its retention, a bounded batch.
struct RunRetentionStatement: StoreStatement {
    let worker: UUIDBytes

    static let prepared = PreparedStatement(name: "pawl_run_retention", sql: "SELECT pawl.run_retention($1::uuid)")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(worker) }

    /// Whether there is more.
    static func decode(_ result: PostgresResult) -> Bool { result.rowCount == 1 && !result.isNull(0, 0) && result.bool(0, 0) }
}
