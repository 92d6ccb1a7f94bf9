public import FoundationEssentials
internal import CPawlPlugin

extension WorkflowContext {
    /// The time, by the worker's clock: recorded, so a replay gets the same.
    public func now(_ name: String = "now") async throws -> Date {
        Date(microsecondsSince1970: try await call("now", name: name, as: Int64.self))
    }

    /// A random UUID (version 4): recorded, so a replay gets the same.
    public func uuid(_ name: String = "uuid") async throws -> UUID { try await call("uuid", name: name, as: UUID.self) }

    /// A source of random numbers, whose seed is recorded: a replay that asks in the same order gets the same ones. Not for secrets.
    public func random(_ name: String = "random") async throws -> WorkflowRandom {
        let digits = try await call("random", name: name, as: String.self)
        guard let seed = UInt64(digits, radix: 16) else {
            throw WorkflowMisuse(code: "unknown_answer", message: "the host answered \"\(name)\" with what is no hexadecimal number")
        }
        return WorkflowRandom(seed: seed)
    }

    /// Whether this workflow is to run code that came with a change of that name: true, and recorded, unless it went past this point before the change.
    ///
    /// ```swift
    /// if try await workflow.patched("fraud_check") { try await workflow.step("check") { … } }
    /// ```
    public func patched(_ name: String) async throws -> Bool { try await call("patch", name: Self.name("patch", name), as: Bool.self) }

    /// Merges members into the workflow's attributes, by which users search; JSON null removes one.
    ///
    /// - Parameter attributes: anything that encodes as an object, such as a dictionary or a struct.
    /// - Returns: the attributes now.
    /// - Throws: ``WorkflowFailure`` with code `22023`: they are over 8 kB. ``WorkflowCancelled``.
    @discardableResult
    public func mergeAttributes(_ attributes: some Encodable, name: String = "merge_attributes") async throws -> JSONValue {
        let arguments = CallArguments().json("attributes", try PayloadCoding.encodeSent(attributes, what: "the attributes"))
        return try await call("merge_attributes", name: name, arguments, as: JSONValue.self)
    }

    /// Merges members into the workflow's attributes, written out: `["stage": "packed", "parcels": 3, "hold": .null]`.
    /// - Returns: the attributes now.
    /// - Throws: ``WorkflowFailure`` with code `22023`: they are over 8 kB. ``WorkflowCancelled``.
    @discardableResult
    public func mergeAttributes(_ attributes: JSONValue, name: String = "merge_attributes") async throws -> JSONValue {
        try await call("merge_attributes", name: name, CallArguments().json("attributes", try PayloadCoding.encode(attributes)), as: JSONValue.self)
    }

    /// Ends this run and begins the workflow anew: the same id, this input, and no recorded steps, so that a workflow that goes on for years stays small. Its
    /// messages, events, streams and children stay. It does not return, and nothing is undone.
    /// - Throws: ``WorkflowStopped``, to be let through; or ``WorkflowFailure`` if the input cannot be stored.
    public func continueAsNew(_ input: some Encodable) async throws -> Never {
        try run.require(.continueAsNew)
        let input = try PayloadCoding.encodeSent(input, what: "the new input")
        let reply = try await run.callAsynchronously { host, run, context in
            input.withBytes { host.pointee.continue_as_new(run, $0, resumeContinuation, context) }
        }
        _ = try await run.value(of: reply, call: "continueAsNew", in: scope)
        throw WorkflowMisuse(code: "unknown_answer", message: "the host went on after it was asked to begin the workflow anew")
    }

    /// What the body of a step can ask while it runs.
    public var monitor: StepMonitor { StepMonitor(run: run, scope: scope) }
}

/// What the body of a step can ask while it runs. Sendable: take it from ``WorkflowContext/monitor`` before the step begins.
public struct StepMonitor: Sendable {
    let run: HandlerRun
    let scope: pawl_scope

    /// Whether the workflow is being cancelled, or its deadline has passed: then what the body returns is discarded.
    public var isCancelled: Bool { run.isCancelled }

    /// Which attempt of the step this is, from 1; 0: no step runs.
    public var attempt: Int {
        guard run.offers(.attempt) else { return 0 }
        return run.call { host, run in Int(host.pointee.attempt(run, scope)) } ?? 0
    }
}

/// A reproducible source of random numbers (SplitMix64), for `Int.random(in:using:)`, `shuffled(using:)` and the like.
public struct WorkflowRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// The next 64 random bits.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var bits = state
        bits = (bits ^ (bits >> 30)) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ (bits >> 27)) &* 0x94D0_49BB_1331_11EB
        return bits ^ (bits >> 31)
    }
}
