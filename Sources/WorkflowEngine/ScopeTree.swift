/// The scopes of one run, and in each the names used so far and the call that is open. Decides what a step is called, whether it is recorded already,
/// and whether a call is allowed where it is made. Pure: `WorkflowRun` puts the lock around it.
struct ScopeTree {
    static let maximumNameBytes = 512

    enum Call: Equatable {
        /// The body runs.
        case body
        /// SQL of the transaction is on its way.
        case executing
        /// The outcome is being recorded.
        case ending
    }

    struct OpenStep {
        var path: String
        var kind: StepKind
        var number: Int32
        var startedAt: Int64
        var call: Call
    }

    enum Begun {
        case execute
        case recorded(Outcome)
        case misuse(WorkflowError)
        /// Recorded as another kind: the handler's code does not fit what happened before.
        case determinism(WorkflowError)
    }

    private struct Scope {
        /// Of its steps: "" for the root, else "left/".
        var prefix: String
        var steps = NameCounts()
        var branches = NameCounts()
        var open: OpenStep?
        /// The step in whose body this scope was made: nothing may run in it.
        var madeInside: String?
    }

    private var scopes: [Scope] = [Scope(prefix: "")]
    private var recorded: [String: RecordedStep] = [:]
    private var nextNumber: Int32 = 1

    init(recordedSteps: [RecordedStep]) {
        guard !recordedSteps.isEmpty else { return }
        recorded.reserveCapacity(recordedSteps.count)
        for step in recordedSteps {
            recorded[step.name] = step
            nextNumber = max(nextNumber, step.number &+ 1)
        }
    }

    /// nil: unknown parent, or a name that is empty or too long.
    mutating func branch(from parent: ScopeID, name: String) -> ScopeID? {
        guard parent < scopes.count, scopes.count < Int(Int32.max) else { return nil }
        let index = Int(parent)
        guard let path = Self.path(scopes[index].prefix, name, counts: &scopes[index].branches), path.utf8.count < Self.maximumNameBytes else { return nil }
        scopes.append(Scope(prefix: path + "/", madeInside: scopes[index].open?.path ?? scopes[index].madeInside))
        return ScopeID(scopes.count - 1)
    }

    mutating func begin(_ kind: StepKind, scope: ScopeID, name: String, now: () -> Int64) -> Begun {
        guard scope < scopes.count else { return .misuse(.unknownScope(scope, step: name)) }
        let index = Int(scope)
        if let outer = scopes[index].madeInside { return .misuse(.branchInsideStep(kind, name, scope: scopes[index].prefix, outer: outer)) }
        if let open = scopes[index].open { return .misuse(.busyScope(kind, name, open: open)) }
        if name.isEmpty || name.utf8.contains(0) { return .misuse(.badStepName(name, kind)) }
        guard let path = Self.path(scopes[index].prefix, name, counts: &scopes[index].steps), path.utf8.count <= Self.maximumNameBytes else {
            return .misuse(.badStepName(name, kind))
        }
        if !recorded.isEmpty, let step = recorded[path] {
            if step.kind != kind.rawValue { return .determinism(.otherKind(path, kind, recorded: step.kind)) }
            return .recorded(step.outcome)
        }
        scopes[index].open = OpenStep(path: path, kind: kind, number: nextNumber, startedAt: now(), call: .body)
        nextNumber &+= 1
        return .execute
    }

    func openStep(in scope: ScopeID) -> OpenStep? { scope < scopes.count ? scopes[Int(scope)].open : nil }

    func contains(_ scope: ScopeID) -> Bool { scope < scopes.count }

    mutating func setCall(_ call: Call, in scope: ScopeID) { scopes[Int(scope)].open?.call = call }

    /// The answer of the scope's call is on its way to the handler, which may then call again.
    mutating func settle(_ scope: ScopeID, bodyRunsAgain: Bool) {
        guard scope < scopes.count, let open = scopes[Int(scope)].open else { return }
        if open.call == .ending, !bodyRunsAgain { scopes[Int(scope)].open = nil } else { scopes[Int(scope)].open?.call = .body }
    }

    /// Any step that is open, for a finish that should not find one.
    var anyOpenStep: OpenStep? {
        for scope in scopes { if let open = scope.open { return open } }
        return nil
    }

    /// The full path of the next use of `name`. Two different calls never get one path: a "/" that is part of a name, and a "#2" that is, are escaped.
    private static func path(_ prefix: String, _ name: String, counts: inout NameCounts) -> String? {
        guard !name.isEmpty, name.utf8.count <= maximumNameBytes else { return nil }
        let base = escaped(name)
        let count = counts.count(base)
        if count == 1 { return prefix.isEmpty ? base : prefix + base }
        return "\(prefix)\(base)#\(count)"
    }

    private static func escaped(_ name: String) -> String {
        var hasSpecial = false
        for unit in name.utf8 where unit == UInt8(ascii: "/") || unit == UInt8(ascii: "%") || unit == UInt8(ascii: "#") {
            hasSpecial = true
            break
        }
        guard hasSpecial else { return name }
        let units = Array(name.utf8)
        // "#" only reads as a repeat when nothing but digits follows it.
        var digits = units.count
        while digits > 0, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(units[digits - 1]) { digits -= 1 }
        let repeatMark = digits < units.count && digits > 0 && units[digits - 1] == UInt8(ascii: "#") ? digits - 1 : -1
        var result: [UInt8] = []
        for (position, unit) in units.enumerated() {
            switch unit {
            case UInt8(ascii: "/"): result.append(contentsOf: "%2F".utf8)
            case UInt8(ascii: "%"): result.append(contentsOf: "%25".utf8)
            case UInt8(ascii: "#") where position == repeatMark: result.append(contentsOf: "%23".utf8)
            default: result.append(unit)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

/// How often each name was used. Most scopes use a handful once each, so those need no dictionary.
struct NameCounts {
    private var few: [(name: String, count: Int)] = []
    private var many: [String: Int] = [:]

    mutating func count(_ name: String) -> Int {
        if many.isEmpty {
            for index in few.indices where few[index].name == name {
                few[index].count += 1
                return few[index].count
            }
            if few.count < 8 {
                few.append((name, 1))
                return 1
            }
            for (name, count) in few { many[name] = count }
            few = []
        }
        many[name, default: 0] += 1
        return many[name]!
    }
}
