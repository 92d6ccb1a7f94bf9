import CPawlPlugin
import Foundation
import Locking

@testable import Pawl

// Durable calls, as docs/durable-calls.md has them, in a world that the test changes.

private typealias Object = [String: Any]

private func object(_ json: String) -> Object {
    (try? JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed) as? Object) ?? [:]
}

private func json(_ value: Any?) -> String {
    guard let value, let data = try? JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes])
    else { return "null" }
    return String(decoding: data, as: UTF8.self)
}

private func value(_ json: String) -> Any {
    (try? JSONSerialization.jsonObject(with: Data(json.utf8), options: .fragmentsAllowed)) ?? NSNull()
}

/// What a wait has come to.
private enum WaitOutcome {
    case value(String)
    case none
    case failure(WorkflowFailure)
}

extension FakeRun {
    /// Until so many calls wait.
    func waits(_ count: Int = 1) async {
        await withCheckedContinuation { continuation in
            let done = state.withLock { state in
                if state.waits.count < count { state.waitWaiters.append((count, continuation)) }
                return state.waits.count >= count
            }
            if done { continuation.resume() }
        }
    }

    /// Something happens in the world; waits that are over then are answered.
    func change(_ body: @Sendable (inout World) -> Void) {
        state.withLock { body(&$0.world) }
        settleWaits()
    }

    func pass(seconds: Double) { change { $0.now += Int64(seconds * 1_000_000) } }

    /// As pawld does it: every call that is not a compensation's answers CANCELLED, then interrupt, then what is outstanding.
    func cancel() {
        host.delivery.sync {
            let (context, waiting) = state.withLock { state in
                state.isCancelled = true
                defer {
                    for scope in state.waits.keys { state.scopes[scope]!.executing = nil }
                    state.waits = [:]
                }
                return (state.context, state.waits.values.map { ($0.completion, $0.context) })
            }
            handler.interrupt(context.pointer, PawlStatus.cancelled)
            for (completion, word) in waiting { FakeRun.complete(completion, word.pointer, PawlStatus.cancelled, "", nil) }
        }
    }

    /// The time of the attempt that runs in the scope is up.
    func timeOut(_ scope: pawl_scope = PawlScope.root) {
        host.delivery.sync { handler.interrupt_step(state.withLock { $0.context }.pointer, scope) }
    }

    fileprivate func settleWaits() {
        while true {
            let settled = state.withLock { state -> (Wait, pawl_status, String, WorkflowFailure?)? in
                for (scope, wait) in state.waits.sorted(by: { $0.key < $1.key }) {
                    guard let outcome = FakeRun.outcome(wait.kind, object(wait.arguments), since: wait.since, scope, &state) else { continue }
                    state.waits[scope] = nil
                    state.scopes[scope]!.executing = nil
                    state.offers[scope] = nil
                    switch outcome {
                    case .value(let value):
                        state.recorded[wait.name] = .value(kind: wait.kind, wait.kind == "race" ? value : #"{"value":\#(value)}"#)
                        return (wait, PawlStatus.ok, value, nil)
                    case .none:
                        state.recorded[wait.name] = .value(kind: wait.kind, "null")
                        return (wait, PawlStatus.none, "", nil)
                    case .failure(let failure):
                        state.recorded[wait.name] = .failure(kind: wait.kind, failure)
                        return (wait, PawlStatus.error, "", failure)
                    }
                }
                return nil
            }
            guard let (wait, status, value, failure) = settled else { return }
            answer(wait.completion, wait.context.pointer, status, value, failure)
        }
    }

    private static func outcome(_ kind: String, _ arguments: Object, since: Int64, _ scope: pawl_scope, _ state: inout State) -> WaitOutcome? {
        func isOver(_ member: String) -> Bool {
            guard let seconds = (arguments[member] as? NSNumber)?.doubleValue else { return false }
            return state.world.isQuick || state.world.now >= since + Int64(seconds * 1_000_000)
        }
        let id = arguments["workflow_id"] as? String
        if let id, state.world.workflows[id] == nil {
            return .failure(WorkflowFailure(code: "unknown_workflow", message: "there is no workflow \(id)"))
        }
        let ended = id.flatMap { state.world.workflows[$0] }.flatMap { $0.status == "running" ? nil : $0 }
        switch kind {
        case "sleep":
            if isOver("seconds") { return .value("null") }
            guard let until = (arguments["until"] as? String).flatMap({ Timestamp.date(from: $0) }) else { return nil }
            return until.timeIntervalSince1970 <= Double(state.world.now) / 1_000_000 ? .value("null") : nil
        case "receive":
            let topic = arguments["topic"] as? String ?? ""
            if let index = state.world.messages.firstIndex(where: { $0.topic == topic }) {
                return .value(state.world.messages.remove(at: index).json)
            }
        case "get_event":
            if let event = state.world.events["\(id!)/\(arguments["key"] as! String)"] { return .value(event) }
            if ended != nil { return WaitOutcome.none }
        case "read_stream":
            let stream = state.world.streams["\(id!)/\(arguments["key"] as! String)"] ?? ([], false)
            let from = arguments["from"] as? Int ?? 1, limit = arguments["limit"] as? Int ?? 100
            let entries = stream.entries.enumerated().dropFirst(from - 1).prefix(limit)
            if !entries.isEmpty || stream.closed || ended != nil {
                let isLast = (stream.closed || ended != nil) && from - 1 + entries.count >= stream.entries.count
                return .value(
                    json([
                        "entries": entries.map { ["position": $0.offset + 1, "attempt": $0.element.attempt, "value": value($0.element.json)] },
                        "closed": isLast,
                    ]))
            }
        case "await_child":
            if let ended {
                if ended.status == "succeeded" { return .value(ended.output) }
                let error = object(ended.error)
                return .failure(
                    WorkflowFailure(
                        code: ended.status == "cancelled" ? "child_cancelled" : error["code"] as? String ?? "", type: error["type"] as? String ?? "",
                        message: error["message"] as? String ?? "", detail: error["detail"].map { Data(json($0).utf8) }, causeJSON: Data(ended.error.utf8)))
            }
        case "await_children":
            let ids = arguments["workflow_ids"] as! [String]
            if let unknown = ids.first(where: { state.world.workflows[$0] == nil }) {
                return .failure(WorkflowFailure(code: "unknown_workflow", message: "there is no workflow \(unknown)"))
            }
            let ended = ids.compactMap { id in
                state.world.workflows[id].flatMap { $0.status == "running" ? nil : $0 }.map {
                    ["workflow_id": id, "status": $0.status, "output": value($0.output), "error": value($0.error)] as Object
                }
            }
            if arguments["mode"] as? String == "any", let first = ended.first { return .value(json(first)) }
            if arguments["mode"] as? String == "all", ended.count == ids.count { return .value(json(ended)) }
        case "race":
            for (index, alternative) in (arguments["of"] as! [Object]).enumerated() {
                let kind = alternative["kind"] as! String
                if kind == "step" {
                    guard let offer = state.offers[scope]?[index] else { continue }
                    guard let failure = offer.failure else { return .value(#"{"winner":\#(index),"value":\#(offer.value)}"#) }
                    return .value(#"{"winner":\#(index),"error":\#(FakeRun.form(failure))}"#)
                }
                switch outcome(kind, alternative, since: since, scope, &state) {
                case .value(let value): return .value(#"{"winner":\#(index),"value":\#(value)}"#)
                case .some(.none): return .value(#"{"winner":\#(index),"none":true}"#)
                case .failure(let failure): return .value(#"{"winner":\#(index),"error":\#(FakeRun.form(failure))}"#)
                case nil: continue
                }
            }
            return nil
        default: return .failure(WorkflowFailure(code: "unknown_kind", message: kind))
        }
        return isOver("timeout") ? WaitOutcome.none : nil
    }

    /// The form of an error in the database.
    static func form(_ failure: WorkflowFailure) -> String {
        var form: Object = ["code": failure.code, "type": failure.type, "message": failure.message]
        form["detail"] = failure.detail.map { value(String(decoding: $0, as: UTF8.self)) }
        form["cause"] = failure.causeJSON.map { value(String(decoding: $0, as: UTF8.self)) }
        return json(form)
    }

    /// Done at once; nil: it is a wait.
    fileprivate static func effect(_ kind: String, _ name: String, _ arguments: Object, _ state: inout State) -> Result<String, WorkflowFailure>? {
        let id = arguments["workflow_id"] as? String
        let stream = "workflow-1/\(arguments["key"] as? String ?? "")"
        switch kind {
        case "now": return .success("\(state.world.now)")
        case "uuid": return .success(#""5a3c3b52-6d0b-4f0e-9f3a-000000000001""#)
        case "random": return .success(#""00000000000000ff""#)
        case "send", "cancel_workflow":
            guard let workflow = state.world.workflows[id ?? ""] else {
                return .failure(WorkflowFailure(code: "unknown_workflow", message: "there is no workflow \(id ?? "")"))
            }
            return .success(workflow.status == "running" ? "true" : "false")
        case "set_event":
            state.world.events[stream] = json(arguments["value"])
            return .success("null")
        case "write_stream":
            if state.world.streams[stream]?.closed == true { return .failure(WorkflowFailure(code: "stream_closed", message: "closed")) }
            state.world.streams[stream, default: ([], false)].entries.append((1, json(arguments["value"])))
            return .success("\(state.world.streams[stream]!.entries.count)")
        case "close_stream":
            state.world.streams[stream, default: ([], false)].closed = true
            return .success("null")
        case "merge_attributes": return .success(json((arguments["attributes"] as! Object).filter { !($0.value is NSNull) }))
        case "start_child":
            let child = id ?? "workflow-1/\(name)"
            if state.world.workflows[child] == nil { state.world.workflows[child] = state.world.children[arguments["workflow_name"] as! String] ?? .running }
            return .success(#"{"workflow_id":"\#(child)"}"#)
        default: return nil
        }
    }

    fileprivate func call(
        _ scope: pawl_scope, _ kind: String, _ name: String, _ arguments: String, _ done: @escaping pawl_completion, _ context: UnsafeMutableRawPointer?
    ) {
        switch begin(scope, name, kind: kind) {
        case .pending: preconditionFailure("a call has no attempts")
        case .answer(PawlStatus.ok, let value, _) where !["race", "now", "uuid", "random", "patch"].contains(kind) && FakeRun.isWait(kind):
            let recorded = object(value)
            if recorded.isEmpty { return answer(done, context, PawlStatus.none, "", nil) }
            answer(done, context, PawlStatus.ok, json(recorded["value"]), nil)
        case .answer(let status, let value, let failure): answer(done, context, status, value, failure)
        case .execute(let full):
            let result = state.withLock { state -> Result<String, WorkflowFailure>? in
                if kind == "patch" {
                    state.scopes[scope]!.executing = nil
                    let prefix = state.scopes[scope]!.path
                    // Every recorded step counts as one that the run has not come to: enough for a test that asks once, at the start.
                    if state.recorded.keys.contains(where: { $0.hasPrefix(prefix) }) { return .success("false") }
                    state.recorded[full] = .value(kind: kind, "true")
                    return .success("true")
                }
                guard let result = FakeRun.effect(kind, full, object(arguments), &state) else {
                    state.waits[scope] = Wait(
                        name: full, kind: kind, arguments: arguments, since: state.world.now, completion: done, context: Word(context))
                    return nil
                }
                state.effects.append("\(kind) \(arguments)")
                state.scopes[scope]!.executing = nil
                switch result {
                case .success(let value): state.recorded[full] = .value(kind: kind, value)
                case .failure(let failure): state.recorded[full] = .failure(kind: kind, failure)
                }
                return result
            }
            switch result {
            case .success(let value): answer(done, context, PawlStatus.ok, value, nil)
            case .failure(let failure): answer(done, context, PawlStatus.error, "", failure)
            case nil:
                settleWaits()
                let waiters = state.withLock { state in
                    let count = state.waits.count
                    defer { state.waitWaiters.removeAll { $0.count <= count } }
                    return state.waitWaiters.filter { $0.count <= count }
                }
                for (_, waiter) in waiters { waiter.resume() }
            }
        }
    }

    private static func isWait(_ kind: String) -> Bool {
        ["sleep", "receive", "get_event", "read_stream", "await_child", "await_children"].contains(kind)
    }
}

func fakeCall(
    run: OpaquePointer?, scope: pawl_scope, kind: pawl_bytes, name: pawl_bytes, arguments: pawl_bytes, done: pawl_completion?,
    context: UnsafeMutableRawPointer?
) {
    let run = fakeRun(run)
    let arguments = arguments.copiedString
    guard (try? JSONSerialization.jsonObject(with: Data(arguments.utf8)) as? [String: Any]) != nil else {
        let failure = WorkflowFailure(code: "bad_arguments", message: "no JSON object: \(arguments)")
        return FakeRun.complete(done!, context, PawlStatus.misuse, "", failure)
    }
    run.call(scope, kind.copiedString, name.copiedString, arguments, done!, context)
}

func fakeOffer(run: OpaquePointer?, scope: pawl_scope, index: UInt32, outcome: UnsafePointer<pawl_result>?) {
    let run = fakeRun(run)
    let value = outcome!.pointee.value.copiedString, failure = outcome!.pointee.error.map { WorkflowFailure($0) }
    let isRacing = run.state.withLock { state in
        guard state.waits[scope]?.kind == "race" else {
            state.lateOffers += 1
            return false
        }
        if state.offers[scope]?[Int(index)] == nil { state.offers[scope, default: [:]][Int(index)] = (value, failure) }
        return true
    }
    // Not on the plugin's thread: the host's own takes it from here.
    if isRacing { run.host.delivery.async { run.settleWaits() } }
}

func fakeEmit(
    run: OpaquePointer?, scope: pawl_scope, kind: pawl_bytes, arguments: pawl_bytes, done: pawl_completion?, context: UnsafeMutableRawPointer?
) {
    let run = fakeRun(run)
    let kind = kind.copiedString, arguments = arguments.copiedString
    let status = run.state.withLock { state in
        if state.stopped { return PawlStatus.stopped }
        if state.isCancelled, !state.isCompensating { return PawlStatus.cancelled }
        let open = state.scopes[scope]?.executing
        state.emissions.append(FakeRun.Emission(kind: kind, arguments: arguments, step: open?.name, attempt: open?.attempt ?? 1))
        return PawlStatus.ok
    }
    if let done { run.answer(done, context, status, "null", nil) }
}

func fakeCompensate(run: OpaquePointer?, outcome: UnsafePointer<pawl_result>?, done: pawl_completion?, context: UnsafeMutableRawPointer?) {
    let run = fakeRun(run)
    let result = outcome!.pointee
    let (status, failure): (pawl_status, WorkflowFailure?) = run.state.withLock { state in
        if state.stopped { return (PawlStatus.stopped, nil) }
        if let open = state.scopes.values.lazy.compactMap(\.executing).first {
            return (PawlStatus.misuse, WorkflowFailure(code: "call_outstanding", message: "\(open.name) is open"))
        }
        guard result.status == PawlStatus.error || (result.status == PawlStatus.cancelled && state.isCancelled) else {
            return (PawlStatus.misuse, WorkflowFailure(code: "nothing_to_compensate", message: "no failure"))
        }
        state.isCompensating = true
        state.compensated = FakeRun.Outcome(status: result.status, value: "", failure: result.error.map { WorkflowFailure($0) })
        return (PawlStatus.ok, nil)
    }
    run.answer(done!, context, status, "null", failure)
}

func fakeContinueAsNew(run: OpaquePointer?, input: pawl_bytes, done: pawl_completion?, context: UnsafeMutableRawPointer?) {
    let run = fakeRun(run)
    let input = input.copiedString
    run.state.withLock { state in
        state.continuedWith = input
        state.stopped = true
    }
    run.answer(done!, context, PawlStatus.stopped, "", nil)
}

func fakeCloseBranch(run: OpaquePointer?, scope: pawl_scope) {
    fakeRun(run).state.withLock { state in
        precondition(scope != PawlScope.root && state.scopes[scope]?.isClosed == false, "closed twice, or unknown")
        state.scopes[scope]!.isClosed = true
    }
}

func fakeIsCancelled(run: OpaquePointer?) -> Int32 { fakeRun(run).state.withLock { $0.isCancelled ? 1 : 0 } }

func fakeAttempt(run: OpaquePointer?, scope: pawl_scope) -> Int32 {
    fakeRun(run).state.withLock { $0.scopes[scope]?.executing?.attempt ?? 0 }
}
