internal import CPawlPlugin
internal import FoundationEssentials
internal import Locking

/// One of the things that a ``WorkflowContext/race(_:_:)`` waits for. What it comes to is turned into the race's outcome by a closure, which only computes.
public struct RaceAlternative<Outcome> {
    let arguments: CallArguments
    /// Of a step: what runs.
    let body: (@Sendable () async throws -> StepOutcome)?
    /// From the host's answer; `none`: the alternative is over without a value.
    let outcome: (_ answer: Data, _ none: Bool) throws -> Outcome

    private init(
        _ arguments: CallArguments, body: (@Sendable () async throws -> StepOutcome)? = nil, _ outcome: @escaping (Data, Bool) throws -> Outcome
    ) {
        self.arguments = arguments
        self.body = body
        self.outcome = outcome
    }

    private struct Answer<Value: Decodable>: Decodable { var value: Value }

    private static func received<Value: Decodable>(_ type: Value.Type, _ answer: Data, code: String, what: String) throws -> Value {
        try PayloadCoding.decodeReceived(Answer<Value>.self, from: answer, code: code, what: what).value
    }

    /// That so much time passes.
    public static func sleep(for duration: Duration, _ outcome: @escaping () throws -> Outcome) -> RaceAlternative {
        RaceAlternative(CallArguments(kind: "sleep").seconds("seconds", duration)) { _, _ in try outcome() }
    }

    /// The next message of a topic. If another alternative wins, none is taken.
    public static func receive<Message: Decodable>(
        _ message: Message.Type, topic: String = "", _ outcome: @escaping (Message) throws -> Outcome
    ) -> RaceAlternative {
        RaceAlternative(CallArguments(kind: "receive").text("topic", topic)) { answer, _ in
            try outcome(
                received(message, answer, code: "bad_message", what: topic.isEmpty ? "the message" : "the message of topic \"\(topic)\""))
        }
    }

    /// That a workflow has set an event; nil: it has ended without it.
    public static func event<Value: Decodable>(
        _ value: Value.Type, of workflowID: String, key: String, _ outcome: @escaping (Value?) throws -> Outcome
    ) -> RaceAlternative {
        RaceAlternative(CallArguments(kind: "get_event").text("workflow_id", workflowID).text("key", key)) { answer, none in
            try outcome(none ? nil : .some(received(value, answer, code: "bad_event", what: "the event \"\(key)\"")))
        }
    }

    /// That a child has ended. If it did not succeed, the race throws its failure.
    public static func child<Output: Decodable>(
        _ child: ChildWorkflow<Output>, _ outcome: @escaping (Output) throws -> Outcome
    ) -> RaceAlternative {
        RaceAlternative(CallArguments(kind: "await_child").text("workflow_id", child.workflowID)) { answer, _ in
            try outcome(received(Output.self, answer, code: "bad_output", what: "the output of \"\(child.workflowName)\""))
        }
    }

    /// That a body returns. It is tried once; what it throws, the race throws. If another alternative wins, its task is cancelled and nobody waits for it.
    public static func step<Value: Codable & Sendable>(
        _ body: @escaping @Sendable () async throws -> Value, then outcome: @escaping (Value) throws -> Outcome
    ) -> RaceAlternative {
        RaceAlternative(CallArguments(kind: "step"), body: { try await StepResult.of { try await body() }.outcome }) { answer, _ in
            do {
                return try outcome(PayloadCoding.decode(Answer<Value>.self, from: answer).value)
            } catch let error as DecodingError {
                throw WorkflowMisuse(
                    code: "determinism",
                    message: "a race has a recorded result that is no \(Value.self): \(PayloadCoding.problem(error).sentence); give the race a new name")
            }
        }
    }
}

extension RaceAlternative where Outcome: Decodable {
    /// The next message of a topic, which is the race's outcome. If another alternative wins, none is taken.
    public static func receive(_ message: Outcome.Type, topic: String = "") -> RaceAlternative { .receive(message, topic: topic) { $0 } }

    /// That a child has ended, whose output is the race's. If it did not succeed, the race throws its failure.
    public static func child(_ child: ChildWorkflow<Outcome>) -> RaceAlternative { .child(child) { $0 } }
}

extension RaceAlternative where Outcome: Codable & Sendable {
    /// That a body returns, with the race's outcome. It is tried once; what it throws, the race throws. If another alternative wins, its task is cancelled and
    /// nobody waits for it.
    public static func step(_ body: @escaping @Sendable () async throws -> Outcome) -> RaceAlternative { .step(body, then: { $0 }) }
}

/// Which alternative it was, and how it ended.
private struct Winner: Decodable {
    var winner: Int
    var none: Bool?
    var error: RecordedFailure?
}

extension WorkflowContext {
    /// Waits for the first of several things, and records which one it was: a replay decides the same. If more than one is over when it is decided, the
    /// first of those wins, in the order given.
    ///
    /// ```swift
    /// let decision = try await workflow.race("decision",
    ///     .receive(Approval.self, topic: "approval") { .approved(by: $0.who) },
    ///     .sleep(for: .days(3)) { .late })
    /// ```
    /// - Throws: ``WorkflowFailure`` if the winner failed; ``WorkflowCancelled``.
    public func race<Outcome>(_ name: String, _ alternatives: RaceAlternative<Outcome>...) async throws -> Outcome {
        try await race(name, alternatives)
    }

    /// Waits for the first of several things, as ``race(_:_:)`` with a list of them.
    public func race<Outcome>(_ name: String, _ alternatives: [RaceAlternative<Outcome>]) async throws -> Outcome {
        try run.require(.call)
        let arguments = CallArguments().objects("of", alternatives.map(\.arguments)).object
        let bodies = alternatives.enumerated().compactMap { index, alternative in alternative.body.map { (UInt32(index), $0) } }
        if !bodies.isEmpty {
            try run.require(.offer)
            try run.require(.attempt)
        }
        let runners = RaceBodies(run: run, scope: scope)
        let reply: HostReply
        do {
            reply = try await run.callAsynchronously { host, run, context in
                "race".withBytes { kind in
                    name.withBytes { name in
                        arguments.withBytes { host.pointee.call(run, scope, kind, name, $0, resumeContinuation, context) }
                    }
                }
                // Only a race that is not recorded yet is open now.
                if !bodies.isEmpty, host.pointee.attempt(run, scope) > 0 { runners.start(bodies) }
            }
        } catch {
            runners.stop()
            throw error
        }
        runners.stop()
        let answer = try await run.value(of: reply, call: name, in: scope)
        guard let winner = try? PayloadCoding.decode(Winner.self, from: answer), alternatives.indices.contains(winner.winner) else {
            throw WorkflowMisuse(
                code: "determinism", message: "the race \"\(name)\" has a recorded winner that it does not have; give a race a new name when it changes")
        }
        if let error = winner.error { throw error.failure }
        return try alternatives[winner.winner].outcome(answer, winner.none ?? false)
    }
}

/// The bodies that take part in a race. What they come to is offered while the race is on, and never to a later race of the same scope.
private final class RaceBodies: Sendable {
    private struct State {
        var isOver = false
        var tasks: [Task<Void, Never>] = []
    }

    private let run: HandlerRun
    private let scope: pawl_scope
    private let state = Locked(State())

    init(run: HandlerRun, scope: pawl_scope) {
        self.run = run
        self.scope = scope
    }

    func start(_ bodies: [(UInt32, @Sendable () async throws -> StepOutcome)]) {
        for (index, body) in bodies {
            let task = Task {
                // A body that was stopped has nothing to offer.
                guard let outcome = try? await body() else { return }
                self.offer(index, outcome)
            }
            let isOver = state.withLock { state in
                state.tasks.append(task)
                return state.isOver
            }
            if isOver { task.cancel() }
        }
    }

    func stop() {
        let tasks = state.withLock { state in
            state.isOver = true
            defer { state.tasks = [] }
            return state.tasks
        }
        for task in tasks { task.cancel() }
    }

    private func offer(_ index: UInt32, _ outcome: StepOutcome) {
        // Inside the lock: the host's `offer` never blocks or calls back, and `stop` comes before the scope's next call.
        state.withLock { state in
            guard !state.isOver else { return }
            _ = run.call { host, run in outcome.withResult { host.pointee.offer(run, scope, index, $0) } }
        }
    }
}
