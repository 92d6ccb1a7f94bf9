internal import CPawlPlugin
internal import WorkflowEngine

/// The functions that a plugin calls: they read what it gives with regard to sizes, refuse what breaks a rule of pawl_plugin.h, and pass
/// the rest to the run. All may be called on any thread, and none blocks.
enum PluginHostTable {
    static func make(host: UnsafeMutableRawPointer?) -> pawl_host {
        pawl_host(
            size: .size(of: pawl_host.self), interface_version: UInt32(PAWL_INTERFACE_VERSION), host: host,
            register_handler: { PluginHostTable.registerHandler($0, $1) },
            log: { PluginHostTable.log($0, $1, $2, $3) },
            finish: { PluginHostTable.finish($0, $1) },
            branch: { PluginHostTable.branch($0, $1, $2) },
            step_begin: { PluginHostTable.stepBegin($0, $1, $2, $3, $4, $5) },
            step_end: { PluginHostTable.end($0, $1, $2, $3, $4) },
            transaction_begin: { PluginHostTable.transactionBegin($0, $1, $2, $3, $4, $5) },
            transaction_execute: { PluginHostTable.execute($0, $1, $2, $3, $4, $5, $6) },
            transaction_end: { PluginHostTable.end($0, $1, $2, $3, $4) },
            query: { PluginHostTable.query($0, $1, $2, $3, $4, $5, $6, $7) },
            call: nil, offer: nil, emit: nil, compensate: nil, continue_as_new: nil, close_branch: nil, is_cancelled: nil, attempt: nil)
    }

    private static func registerHandler(_ host: UnsafeMutableRawPointer?, _ handler: UnsafePointer<pawl_handler>?) -> pawl_status {
        guard let host else { return pawl_status(PAWL_MISUSE) }
        return LoadedPlugin.of(host).register(handler) == nil ? pawl_status(PAWL_OK) : pawl_status(PAWL_MISUSE)
    }

    private static func log(_ host: UnsafeMutableRawPointer?, _ run: OpaquePointer?, _ level: Int32, _ message: pawl_bytes) {
        let level = PluginLogRecord.Level(rawValue: min(max(level, 0), 6)) ?? .critical
        if let run = PluginRun.of(run) {
            run.log(level, message.repairedText)
        } else if let host {
            let plugin = LoadedPlugin.of(host)
            plugin.log(PluginLogRecord(level: level, message: message.repairedText, plugin: plugin.file))
        }
    }

    private static func finish(_ run: OpaquePointer?, _ outcome: UnsafePointer<pawl_result>?) {
        PluginRun.of(run)?.finish(PluginOutcome(outcome))
    }

    private static func branch(_ run: OpaquePointer?, _ parent: pawl_scope, _ name: pawl_bytes) -> pawl_scope {
        guard let run = PluginRun.of(run), let name = name.text else { return pawl_scope.max }
        return run.run.branch(from: parent, name: name) ?? pawl_scope.max
    }

    private static func stepBegin(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, _ options: UnsafePointer<pawl_step_options>?,
        _ answer: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) -> pawl_status {
        var flags: UInt32 = 0
        if let options, options.pointee.size >= 8 { flags = options.pointee.flags }
        guard flags == 0 else {
            return refused("the step's options have flags that this pawld does not know: \(flags)", CallReceiver(answer, context))
        }
        return begin(.step, run, scope, name, .readCommitted, CallReceiver(answer, context))
    }

    private static func transactionBegin(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, _ options: UnsafePointer<pawl_transaction_options>?,
        _ answer: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) -> pawl_status {
        var isolation: UInt32 = 0
        if let options, options.pointee.size >= 8 { isolation = options.pointee.isolation }
        guard let isolation = IsolationLevel(rawValue: isolation) else {
            return refused("the transaction's options name an isolation level that this pawld does not know: \(isolation)", CallReceiver(answer, context))
        }
        return begin(.transaction, run, scope, name, isolation, CallReceiver(answer, context))
    }

    private static func begin(
        _ kind: StepKind, _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, _ isolation: IsolationLevel, _ receiver: CallReceiver
    ) -> pawl_status {
        guard let run = PluginRun.of(run) else { return refused("the run is NULL", receiver) }
        guard let name = name.text else { return refused("the step's name is absent or not UTF-8", receiver) }
        switch run.run.begin(kind, scope: scope, name: name, isolation: isolation, policy: .never, receiver: receiver) {
        case .execute: return pawl_status(PAWL_EXECUTE)
        case .pending: return pawl_status(PAWL_PENDING)
        case .cancelled: return pawl_status(PAWL_CANCELLED)
        case .recorded(.success(let value)):
            receiver.call(.value(value))
            return pawl_status(PAWL_OK)
        case .recorded(.failure(let error)):
            receiver.call(.failure(error))
            return pawl_status(PAWL_ERROR)
        case .stopped:
            receiver.call(.stopped)
            return pawl_status(PAWL_STOPPED)
        case .misuse(let error):
            receiver.call(.misuse(error))
            return pawl_status(PAWL_MISUSE)
        }
    }

    private static func end(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ outcome: UnsafePointer<pawl_result>?, _ done: pawl_completion?,
        _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        switch PluginOutcome(outcome) {
        case .value(let value): run.run.end(scope: scope, outcome: .success(value), receiver: receiver)
        case .failure(var error):
            // The step it happens in is this one, even if the handler passes on what another step failed with.
            (error.step, error.attempt) = (nil, nil)
            run.run.end(scope: scope, outcome: .failure(error), receiver: receiver)
        case .stopped: refuse("a step ends with PAWL_OK or PAWL_ERROR, not with PAWL_STOPPED", receiver)
        case .malformed(let error): receiver.call(.misuse(error))
        }
    }

    private static func execute(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ sql: pawl_bytes, _ parameters: UnsafePointer<pawl_bytes>?, _ count: Int,
        _ done: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        guard let statement = statement(sql, parameters, count, receiver) else { return }
        run.run.execute(scope: scope, statement: statement, receiver: receiver)
    }

    private static func query(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, _ sql: pawl_bytes, _ parameters: UnsafePointer<pawl_bytes>?,
        _ count: Int, _ done: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        guard let name = name.text else { return refuse("the query's name is absent or not UTF-8", receiver) }
        guard let statement = statement(sql, parameters, count, receiver) else { return }
        run.run.query(scope: scope, name: name, statement: statement, receiver: receiver)
    }

    /// nil: the receiver was told what is wrong with it.
    private static func statement(
        _ sql: pawl_bytes, _ parameters: UnsafePointer<pawl_bytes>?, _ count: Int, _ receiver: CallReceiver
    ) -> SQLStatement? {
        guard sql.data != nil, let text = String(validating: sql.buffer, as: UTF8.self) else {
            refuse("the SQL is absent or not UTF-8", receiver)
            return nil
        }
        guard count >= 0, count <= 65_535, parameters != nil || count == 0 else {
            refuse("the SQL cannot have \(UInt(bitPattern: count)) parameters", receiver)
            return nil
        }
        return SQLStatement(sql: text, parameters: UnsafeBufferPointer(start: parameters, count: count).map(\.copied))
    }

    private static func refuse(_ problem: String, _ receiver: CallReceiver) {
        receiver.call(.misuse(.misuse(problem)))
    }

    /// The same, for a call that also answers by its result.
    private static func refused(_ problem: String, _ receiver: CallReceiver) -> pawl_status {
        refuse(problem, receiver)
        return pawl_status(PAWL_MISUSE)
    }
}
