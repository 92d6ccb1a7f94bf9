import PostgresClient
import WorkflowEngine

/// Registers the worker, or replaces its handlers; the session becomes its life line.
struct RegisterWorkerStatement: StoreStatement {
    let worker: UUIDBytes
    let configuration: StoreConfiguration
    let processID: Int32
    let handlers: [HandlerOffer]

    static let prepared = PreparedStatement(
        name: "pawl_register",
        sql: """
            SELECT worker_number, heartbeat_interval, lease, max_payload, held, held_reason FROM pawl.register_worker($1::uuid, $2::text, \
            $3::text, $4::integer, $5::text, $6::integer, $7::integer, $8::text[], $9::text[], $10::integer[], $11::text[])
            """)

    /// Of the worker protocol that this store speaks.
    static let protocolVersion: Int32 = 1

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(configuration.workerName)
        parameters.add(configuration.hostname)
        parameters.add(processID)
        parameters.add(configuration.version)
        parameters.add(Self.protocolVersion)
        parameters.add(Int32(clamping: configuration.concurrency))
        if let queues = configuration.queues { parameters.addArray(queues) } else { parameters.addNull() }
        parameters.addArray(handlers.map(\.id.workflowName))
        parameters.addArray(handlers.map(\.id.workflowVersion))
        parameters.addArray(handlers.map(\.plugin))
    }

    struct Registration: Sendable {
        var workerNumber: Int32
        var heartbeatInterval: UInt64
        var lease: UInt64
        var maximumPayload: Int
        /// Why the database is held; nil: it is not.
        var held: String?
    }

    static func decode(_ result: PostgresResult) throws(PostgresError) -> Registration {
        guard result.rowCount == 1 else { throw PostgresError(code: .server, message: "register_worker answered \(result.rowCount) rows") }
        return Registration(
            workerNumber: result.int32(0, 0), heartbeatInterval: UInt64(max(1000, result.intervalMicroseconds(0, 1))) * 1000,
            lease: UInt64(max(1000, result.intervalMicroseconds(0, 2))) * 1000, maximumPayload: Int(result.int32(0, 3)),
            held: result.bool(0, 4) ? result.optionalString(0, 5) ?? "no reason given" : nil)
    }
}

struct HeartbeatStatement: StoreStatement {
    let worker: UUIDBytes
    let running: Int
    let draining: Bool

    static let prepared = PreparedStatement(
        name: "pawl_heartbeat",
        sql: "SELECT alive, held, reclaimed, suspects, schedule_in, retention, alone FROM pawl.heartbeat($1::uuid, $2::integer, $3::text)")

    func bind(_ parameters: inout ParameterBuffer) {
        parameters.add(worker)
        parameters.add(Int32(clamping: running))
        parameters.add(draining ? "draining" : "running")
    }

    struct Heartbeat {
        var alive: Bool
        var held: Bool
        /// Workflows of dead workers that it handed back.
        var reclaimed: Int
        /// Whether workflows wait that must run alone.
        var suspects: Bool
        /// Microseconds until a schedule is due; nil: none will be.
        var scheduleIn: Int64?
        /// Whether ended workflows may be past their retention.
        var retention: Bool
        /// Whether no other worker lives, or has left something to hand back.
        var alone: Bool
    }

    static func decode(_ result: PostgresResult) -> Heartbeat {
        guard result.rowCount == 1 else { return Heartbeat(alive: false, held: false, reclaimed: 0, suspects: false, retention: false, alone: false) }
        return Heartbeat(
            alive: result.bool(0, 0), held: result.bool(0, 1), reclaimed: result.isNull(0, 2) ? 0 : Int(result.int32(0, 2)),
            suspects: !result.isNull(0, 3) && result.bool(0, 3), scheduleIn: result.isNull(0, 4) ? nil : result.int64(0, 4),
            retention: !result.isNull(0, 5) && result.bool(0, 5), alone: !result.isNull(0, 6) && result.bool(0, 6))
    }
}

struct UnregisterWorkerStatement: StoreStatement {
    let worker: UUIDBytes

    static let prepared = PreparedStatement(name: "pawl_unregister", sql: "SELECT pawl.unregister_worker($1::uuid)")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(worker) }
}
