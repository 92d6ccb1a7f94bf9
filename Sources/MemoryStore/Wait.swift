internal import WorkflowEngine

/// What a step waits for, with its times as instants.
package struct Wait: Sendable {
    /// `step`: an alternative of a race whose body the handler runs.
    var kind: StepKind
    /// Its time, or its timeout.
    var dueAt: Int64?
    var topic = ""
    /// Ids of other workflows.
    var targets: [String] = []
    var key = ""
    var from: Int64 = 1
    var limit = 100
    /// All of the targets, or the first one.
    var isAll = true
    var alternatives: [Wait] = []
    /// What the body of an alternative has come to.
    var offer: (index: Int, outcome: Outcome)?

    /// Of it, and of its alternatives.
    var allTargets: [String] { targets + alternatives.flatMap(\.allTargets) }
    var earliestDue: Int64? { kind == .race ? alternatives.compactMap(\.dueAt).min() : dueAt }
}

/// The members of a call's arguments. Each may be taken once; what is left over is unknown.
struct CallArguments {
    let kind: StepKind
    private var members: [String: StoredJSON]
    private(set) var problem: String?

    init(_ kind: StepKind, _ members: [String: StoredJSON]) {
        self.kind = kind
        self.members = members
    }

    private mutating func take<Value>(_ name: String, _ form: String, _ read: (StoredJSON) -> Value?) -> Value? {
        guard let value = members.removeValue(forKey: name), value != .null else { return nil }
        if let read = read(value) { return read }
        problem = problem ?? "\(name) must be \(form)"
        return nil
    }

    mutating func any(_ name: String) -> StoredJSON? { take(name, "a value") { $0 } }
    mutating func text(_ name: String) -> String? { take(name, "a text") { $0.text } }
    mutating func integer(_ name: String) -> Int64? { take(name, "an integer") { $0.integer } }
    mutating func boolean(_ name: String) -> Bool? { take(name, "true or false") { $0.boolean } }
    mutating func object(_ name: String) -> [String: StoredJSON]? { take(name, "an object") { $0.object } }
    mutating func texts(_ name: String) -> [String]? {
        take(name, "an array of texts") { value in value.array.flatMap { values in values.contains { $0.text == nil } ? nil : values.compactMap(\.text) } }
    }
    mutating func objects(_ name: String) -> [[String: StoredJSON]]? {
        take(name, "an array of objects") { value in
            value.array.flatMap { values in values.contains { $0.object == nil } ? nil : values.compactMap(\.object) }
        }
    }

    mutating func required(_ name: String) -> String {
        let value = text(name)
        if problem == nil, value ?? "" == "" { problem = "\(name) is missing" }
        return value ?? ""
    }

    /// Microseconds from now: a number of seconds, or a text that names an instant.
    mutating func interval(_ name: String, now: Int64) -> Int64? {
        take(name, "a number of seconds, or an RFC 3339 text with a zone") { value in
            if let seconds = value.double, abs(seconds) < 1e12 { return Int64((seconds * 1_000_000).rounded()) }
            return value.text.flatMap(RFC3339.parse).map { $0 - now }
        }
    }

    mutating func refuse(_ text: String) { problem = problem ?? text }

    /// nil: all was well and everything was taken.
    mutating func refusal(step: String) -> WorkflowError? {
        if problem == nil, let unknown = members.keys.min() { problem = "there is no member \"\(unknown)\"" }
        return problem.map { WorkflowError(code: "22023", type: "pawl", message: "The arguments of \(kind.rawValue) \"\(step)\": \($0).", step: step) }
    }
}

extension Wait {
    /// Times count from now.
    init(_ kind: StepKind, _ arguments: inout CallArguments, now: Int64) {
        self.init(kind: kind)
        func instant(_ name: String) -> Int64? { arguments.interval(name, now: now).map { now + $0 } }
        switch kind {
        case .sleep:
            let seconds = instant("seconds")
            let until = instant("until")
            dueAt = seconds ?? until
            if (seconds == nil) == (until == nil) { arguments.refuse("either seconds or until is needed") }
        case .receive:
            topic = arguments.text("topic") ?? ""
            dueAt = instant("timeout")
        case .getEvent:
            targets = [arguments.required("workflow_id")]
            key = arguments.required("key")
            dueAt = instant("timeout")
        case .readStream:
            targets = [arguments.required("workflow_id")]
            key = arguments.required("key")
            from = arguments.integer("from") ?? 1
            limit = Int(clamping: arguments.integer("limit") ?? 100)
            if from < 1 || limit < 1 { arguments.refuse("from and limit must be at least 1") }
            dueAt = instant("timeout")
        case .awaitChild:
            targets = [arguments.required("workflow_id")]
            dueAt = instant("timeout")
        case .awaitChildren:
            guard let ids = arguments.texts("workflow_ids") else {
                arguments.refuse("workflow_ids is missing")
                break
            }
            targets = ids
            switch arguments.text("mode") {
            case "all": isAll = true
            case "any": isAll = false
            default: arguments.refuse("mode must be \"all\" or \"any\"")
            }
            if !isAll, ids.isEmpty { arguments.refuse("any of no workflows never ends") }
            dueAt = instant("timeout")
        case .race:
            for var members in arguments.objects("of") ?? [] {
                let word = members.removeValue(forKey: "kind")?.text ?? ""
                guard let kind = StepKind(rawValue: word), kind == .step || kind.isWait && kind != .race else {
                    arguments.refuse("a race cannot be of \"\(word)\"")
                    break
                }
                var inner = CallArguments(kind, members)
                let wait = kind == .step ? Wait(kind: .step) : Wait(kind, &inner, now: now)
                if let refusal = inner.refusal(step: "") { arguments.refuse(refusal.message) }
                alternatives.append(wait)
            }
            if alternatives.isEmpty { arguments.refuse("of holds no alternative") }
            takeOffer(&arguments)
        default: break
        }
    }

    mutating func takeOffer(_ arguments: inout CallArguments) {
        guard let offered = arguments.object("offer"), let index = offered["index"]?.integer else { return }
        if let error = StoredJSON.object(offered)["error"] {
            offer = (Int(index), .failure(WorkflowError(decoding: error.bytes)))
        } else {
            offer = (Int(index), .success((offered["output"] ?? .null).bytes))
        }
    }
}
