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
            call: { PluginHostTable.call($0, $1, $2, $3, $4, $5, $6) },
            offer: { PluginHostTable.offer($0, $1, $2, $3) },
            emit: { PluginHostTable.emit($0, $1, $2, $3, $4, $5) },
            compensate: { PluginHostTable.compensate($0, $1, $2, $3) },
            continue_as_new: { PluginHostTable.continueAsNew($0, $1, $2, $3) },
            close_branch: { PluginRun.of($0)?.run.close($1) },
            is_cancelled: { PluginRun.of($0)?.run.isCancelled == true ? 1 : 0 },
            attempt: { PluginRun.of($0)?.run.attempt(in: $1) ?? 0 })
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
        let receiver = CallReceiver(answer, context)
        guard let options else { return begin(.step, run, scope, name, nil, nil, receiver) }
        // The ends of the members are asserted in CPawlPlugin's shim.c.
        guard let kind = kind(.step, flags: options.pointee.size >= 8 ? options.pointee.flags : 0, receiver) else { return pawl_status(PAWL_MISUSE) }
        let retry = options.pointee.size >= 16 ? options.pointee.retry : nil
        return begin(kind, run, scope, name, nil, retry, receiver)
    }

    /// Of a step or transaction with these flags. nil: the receiver was told what is wrong with them.
    private static func kind(_ plain: StepKind, flags: UInt32, _ receiver: CallReceiver) -> StepKind? {
        let compensation = UInt32(PAWL_STEP_COMPENSATION)
        guard flags & ~compensation == 0 else {
            refuse("the \(plain.rawValue)'s options have flags that this pawld does not know: \(flags); it knows PAWL_STEP_COMPENSATION (1)", receiver)
            return nil
        }
        return flags & compensation != 0 ? .compensation : plain
    }

    private static func transactionBegin(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, _ options: UnsafePointer<pawl_transaction_options>?,
        _ answer: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) -> pawl_status {
        let receiver = CallReceiver(answer, context)
        guard let options else { return begin(.transaction, run, scope, name, .readCommitted, nil, receiver) }
        let isolation = options.pointee.size >= 8 ? options.pointee.isolation : 0
        guard let isolation = IsolationLevel(rawValue: isolation) else {
            return refused(
                "the transaction's options name an isolation level that this pawld does not know: \(isolation); it knows PAWL_READ_COMMITTED (0), "
                    + "PAWL_REPEATABLE_READ (1) and PAWL_SERIALIZABLE (2)", receiver)
        }
        guard let kind = kind(.transaction, flags: options.pointee.size >= 20 ? options.pointee.flags : 0, receiver) else {
            return pawl_status(PAWL_MISUSE)
        }
        let retry = options.pointee.size >= 16 ? options.pointee.retry : nil
        return begin(kind, run, scope, name, isolation, retry, receiver)
    }

    private static func begin(
        _ kind: StepKind, _ run: OpaquePointer?, _ scope: pawl_scope, _ name: pawl_bytes, _ isolation: IsolationLevel?,
        _ retry: UnsafePointer<pawl_retry>?, _ receiver: CallReceiver
    ) -> pawl_status {
        guard let run = PluginRun.of(run) else { return refused("the run is NULL", receiver) }
        guard let name = name.text else { return refused("the step's name is absent or not UTF-8", receiver) }
        // It was told that it is stopped, and then nothing else is ever answered.
        if !run.handler.knowsCancellation, run.run.isCancelled {
            receiver.call(.stopped)
            return pawl_status(PAWL_STOPPED)
        }
        let policy: RetryPolicy
        if let retry {
            guard retry.pointee.size >= 8 else {
                return refused("the retry policy's size is \(retry.pointee.size): set it to sizeof (pawl_retry)", receiver)
            }
            policy = RetryPolicy(retry)
        } else {
            policy = run.handler.defaultPolicy
        }
        let begin = { (receiver: CallReceiver) in
            run.run.begin(kind, scope: scope, name: name, isolation: isolation, policy: policy, receiver: receiver)
        }
        let answer =
            if let interceptor = run.plugin.interceptor {
                InterceptedBegin(run, kind, scope, name, interceptor, receiver).begin(begin)
            } else {
                begin(receiver)
            }
        switch answer {
        case .execute: return pawl_status(PAWL_EXECUTE)
        case .pending: return pawl_status(PAWL_PENDING)
        case .recorded(.success(let value)):
            receiver.call(.value(value))
            return pawl_status(PAWL_OK)
        case .recorded(.failure(let error)):
            receiver.call(.failure(error))
            return pawl_status(PAWL_ERROR)
        case .cancelled where run.handler.knowsCancellation:
            receiver.call(.cancelled)
            return pawl_status(PAWL_CANCELLED)
        case .stopped, .cancelled:
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
        case .failure(var error, let isFinal):
            // The step it happens in is this one, even if the handler passes on what another step failed with.
            (error.step, error.attempt) = (nil, nil)
            run.run.end(scope: scope, outcome: .failure(error), isFinal: isFinal, receiver: receiver)
        case .stopped: refuse("a step ends with PAWL_OK or PAWL_ERROR, not with PAWL_STOPPED", receiver)
        case .cancelled: refuse("a step ends with PAWL_OK or PAWL_ERROR, not with PAWL_CANCELLED", receiver)
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

    /// The kinds of `call`: those whose work is the host's, without a function of their own in the table.
    private static let callKinds = StepKind.allCases.filter { ![.step, .transaction, .query, .compensation].contains($0) }

    private static func call(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ kind: pawl_bytes, _ name: pawl_bytes, _ arguments: pawl_bytes, _ done: pawl_completion?,
        _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        guard let known = kind.text.flatMap(StepKind.init(rawValue:)), callKinds.contains(known) else {
            return refuse(unknownKind("call", kind, callKinds.map(\.rawValue)), receiver)
        }
        guard let name = name.text else { return refuse("the call's name is absent or not UTF-8", receiver) }
        guard let arguments = arguments.copied else {
            return refuse("the arguments of \(known.rawValue) are absent: give a JSON object, {} if there are none", receiver)
        }
        run.run.call(known, scope: scope, name: name, arguments: arguments, receiver: receiver)
    }

    private static func offer(_ run: OpaquePointer?, _ scope: pawl_scope, _ index: UInt32, _ outcome: UnsafePointer<pawl_result>?) {
        guard let run = PluginRun.of(run) else { return }
        switch PluginOutcome(outcome) {
        case .value(let value): run.run.offer(scope: scope, index: Int(index), outcome: .success(value))
        case .failure(let error, _): run.run.offer(scope: scope, index: Int(index), outcome: .failure(error))
        // The alternative has come to nothing.
        case .stopped, .cancelled: break
        case .malformed(let error): run.log(.error, "the handler offered a race a malformed outcome, which is ignored: \(error.message)")
        }
    }

    private static func emit(
        _ run: OpaquePointer?, _ scope: pawl_scope, _ kind: pawl_bytes, _ arguments: pawl_bytes, _ done: pawl_completion?,
        _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        guard let known = kind.text.flatMap(Emission.Kind.init(rawValue:)) else {
            return refuse(unknownKind("emit", kind, [Emission.Kind.progress, .stream].map(\.rawValue)), receiver)
        }
        guard let arguments = arguments.copied else {
            return refuse("the arguments of \(known.rawValue) are absent: give a JSON object", receiver)
        }
        run.run.emit(known, scope: scope, arguments: arguments, receiver: receiver)
    }

    private static func compensate(
        _ run: OpaquePointer?, _ outcome: UnsafePointer<pawl_result>?, _ done: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        let outcome = PluginOutcome(outcome)
        if case .malformed(let error) = outcome { return receiver.call(.misuse(error)) }
        // What is no failure is refused there.
        run.run.compensate(outcome.ofRun, receiver: receiver)
    }

    private static func continueAsNew(
        _ run: OpaquePointer?, _ input: pawl_bytes, _ done: pawl_completion?, _ context: UnsafeMutableRawPointer?
    ) {
        let receiver = CallReceiver(done, context)
        guard let run = PluginRun.of(run) else { return refuse("the run is NULL", receiver) }
        guard let input = input.copied else { return refuse("the new input is absent: give a JSON value", receiver) }
        run.run.continueAsNew(input: input, receiver: receiver)
    }

    private static func unknownKind(_ call: String, _ kind: pawl_bytes, _ known: [String]) -> String {
        let what = kind.data == nil ? "no kind was given to \(call)" : "\(call) has no kind \"\(kind.repairedText.prefix(40))\" in this pawld"
        return "\(what); there are \(known.joined(separator: ", "))"
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
