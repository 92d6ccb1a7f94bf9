internal import CPawlPlugin
internal import FoundationEssentials

// Durable calls: steps whose work the host does (docs/durable-calls.md). Each has a name like any step; the default one says what it is about.

extension WorkflowContext {
    /// nil: the timeout of a wait passed.
    func call(_ kind: String, name: String, _ arguments: CallArguments) async throws -> Data? {
        try run.require(.call)
        let arguments = arguments.object
        let reply = try await run.callAsynchronously { host, run, context in
            kind.withBytes { kind in
                name.withBytes { name in
                    arguments.withBytes { host.pointee.call(run, scope, kind, name, $0, resumeContinuation, context) }
                }
            }
        }
        if reply.status == PawlStatus.none { return nil }
        return try await run.value(of: reply, call: name, in: scope)
    }

    /// The value of a call that has no timeout, and a form that is the host's.
    func call<Value: Decodable>(_ kind: String, name: String, _ arguments: CallArguments = CallArguments(), as type: Value.Type) async throws -> Value {
        let value = try await call(kind, name: name, arguments) ?? PayloadCoding.null
        do {
            return try PayloadCoding.decode(type, from: value)
        } catch {
            throw WorkflowMisuse(
                code: "unknown_answer",
                message: "the host answered \"\(name)\" in a form this SDK does not know: \(PayloadCoding.problem(error).sentence)")
        }
    }

    /// `receive:approval`, or only `receive`; not longer than a name may be.
    static func name(_ kind: String, _ subject: String) -> String {
        subject.isEmpty ? kind : String(decoding: "\(kind):\(subject)".utf8.prefix(128), as: UTF8.self).trimmingReplacement()
    }
}

extension String {
    /// Without the character that was cut in two at the end.
    fileprivate func trimmingReplacement() -> String { utf8.count <= 128 && last != "\u{FFFD}" ? self : String(dropLast()) }
}

extension [UInt8] {
    func withBytes<Result>(_ body: (pawl_bytes) throws -> Result) rethrows -> Result {
        try withUnsafeBytes { try body(pawl_bytes(data: $0.baseAddress, size: $0.count)) }
    }
}
