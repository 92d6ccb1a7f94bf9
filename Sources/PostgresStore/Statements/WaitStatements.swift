import PostgresClient

/// Arms the session's waiter: from its commit on, an enqueue that this worker can run wakes it.
struct ArmStatement: StoreStatement {
    let worker: UUIDBytes
    let offer: Offer

    static let prepared = PreparedStatement(
        name: "pawl_arm", sql: "SELECT pawl.arm_worker($1::uuid, $2::text[], $3::integer[], $4::text[])")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        offer.bind(&parameters)
    }

    /// How many milliseconds to wait at most; -1: for ever.
    static func decode(_ result: PostgresResult) -> Int32 { result.rowCount == 1 && !result.isNull(0, 0) ? result.int32(0, 0) : 1000 }
}

/// Waits on the server until woken, holding no snapshot.
struct WaitStatement: StoreStatement {
    /// At most; nil: as long as the claim that found the last wait over, and armed the session anew, has said.
    let milliseconds: Int32?

    static let prepared = PreparedStatement(name: "pawl_wait", sql: "CALL pawl.wait($1::integer, NULL)")

    func bind(_ parameters: inout ParameterBuffer) {
        if let milliseconds { parameters.add(milliseconds) } else { parameters.addNull() }
    }

    /// Whether it was woken; otherwise its time ran out, and the session is armed as before.
    static func decode(_ result: PostgresResult) -> Bool { result.rowCount == 1 && !result.isNull(0, 0) && result.bool(0, 0) }
}
