/// The scopes of one run, and in each the names used so far and the call that is open. Decides what a step is called, whether it is recorded already,
/// and whether a call is allowed where it is made. Pure: `WorkflowRun` puts the lock around it.
struct ScopeTree {
    static let maximumNameBytes = 512

    enum Call: Equatable {
        /// The body runs.
        case body
        /// SQL of the transaction is on its way.
        case executing
        /// The outcome is being recorded, or a durable call performed.
        case ending
        /// Nothing happens here before a wait or a back-off is over.
        case waiting
    }

    struct OpenStep {
        var path: String
        var kind: StepKind
        var number: Int32
        var startedAt: Int64
        /// Of a transaction; a compensation may be one.
        var isolation: IsolationLevel?
        var call: Call
        var attempt: Int32 = 1
        var policy = RetryPolicy.standard
    }

    enum Begun {
        case execute
        /// The next attempt begins after so many microseconds from the claim; the last one failed so.
        case backingOff(dueIn: Int64, after: WorkflowError)
        case recorded(Outcome)
        /// Nothing is recorded, and nothing new begins: the workflow is being cancelled.
        case cancelled
        case misuse(WorkflowError)
        /// Recorded as another kind: the handler's code does not fit what happened before.
        case determinism(WorkflowError)
    }

    private struct Scope {
        /// Of its steps: "" for the root, else "left/".
        var prefix: String
        var parent: ScopeID
        var steps = NameCounts()
        var branches = NameCounts()
        var compensations = NameCounts()
        var open: OpenStep?
        var isClosed = false
        var openBranches = 0
        /// The step in whose body this scope was made: nothing may run in it.
        var madeInside: String?
    }

    private var scopes: [Scope] = [Scope(prefix: "", parent: 0)]
    /// What this run has not come to yet.
    private var recorded: [String: RecordedStep] = [:]
    private var nextNumber: Int32 = 1

    /// No step that a handler names has a "%" followed by anything but digits.
    static let compensationMarker = "%compensate"
    private static let compensationPrefix = "%compensate/"

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
        scopes.append(Scope(prefix: path + "/", parent: parent, madeInside: scopes[index].open?.path ?? scopes[index].madeInside))
        scopes[index].openBranches += 1
        return ScopeID(scopes.count - 1)
    }

    /// The branch is used no more. The root stays.
    mutating func close(_ scope: ScopeID) {
        guard scope > 0, scope < scopes.count, !scopes[Int(scope)].isClosed else { return }
        scopes[Int(scope)].isClosed = true
        scopes[Int(scopes[Int(scope)].parent)].openBranches -= 1
    }

    /// `recordedOnly`: what is recorded is answered, and nothing new begins.
    mutating func begin(
        _ kind: StepKind, scope: ScopeID, name: String, isolation: IsolationLevel? = nil, policy: RetryPolicy = .standard, recordedOnly: Bool = false,
        now: () -> Int64
    ) -> Begun {
        guard scope < scopes.count else { return .misuse(.unknownScope(scope, step: name)) }
        let index = Int(scope)
        if let outer = scopes[index].madeInside { return .misuse(.branchInsideStep(kind, name, scope: scopes[index].prefix, outer: outer)) }
        if let open = scopes[index].open { return .misuse(.busyScope(kind, name, open: open)) }
        if name.isEmpty || name.utf8.contains(0) { return .misuse(.badStepName(name, kind)) }
        let found =
            kind == .compensation
            ? Self.path(Self.compensationPrefix + scopes[index].prefix, name, counts: &scopes[index].compensations)
            : Self.path(scopes[index].prefix, name, counts: &scopes[index].steps)
        guard let path = found, path.utf8.count <= Self.maximumNameBytes else { return .misuse(.badStepName(name, kind)) }
        var open = OpenStep(path: path, kind: kind, number: nextNumber, startedAt: now(), isolation: isolation, call: .body, policy: policy)
        if !recorded.isEmpty, let step = recorded.removeValue(forKey: path) {
            if step.kind != kind.rawValue { return .determinism(.otherKind(path, kind, recorded: step.kind)) }
            switch step.state {
            case .done(let outcome): return .recorded(outcome)
            case _ where recordedOnly: return .cancelled
            case .waiting:
                open.number = step.number
                scopes[index].open = open
                return .execute
            case .retrying(let attempts, let dueIn, let startedAt, let failure):
                // The time that compensations have together counts anew in each run.
                let startedAt = kind == .compensation ? open.startedAt : startedAt
                let isTimeUp = policy.timeout.map { open.startedAt - startedAt >= $0 } ?? false
                open.number = step.number
                open.attempt = attempts &+ 1
                open.startedAt = startedAt
                if dueIn > 0 || isTimeUp { open.call = .waiting }
                scopes[index].open = open
                return dueIn > 0 || isTimeUp ? .backingOff(dueIn: dueIn, after: failure) : .execute
            }
        }
        if recordedOnly { return .cancelled }
        scopes[index].open = open
        nextNumber &+= 1
        return .execute
    }

    /// Whether steps of this scope, or of branches below it, are recorded that the run has not come to.
    func hasUnvisitedSteps(in scope: ScopeID) -> Bool {
        guard scope < scopes.count else { return false }
        let prefix = scopes[Int(scope)].prefix
        return recorded.keys.contains { $0.hasPrefix(prefix) && !$0.hasPrefix(Self.compensationMarker) }
    }

    /// In the order in which their scopes were made.
    var openSteps: [OpenStep] { scopes.compactMap(\.open) }

    /// Names of recorded steps that the run has not come to, in the order they were recorded.
    var unvisitedSteps: [String] { recorded.values.sorted { $0.number < $1.number }.map(\.name) }

    mutating func takeNumber() -> Int32 {
        defer { nextNumber &+= 1 }
        return nextNumber
    }

    func openStep(in scope: ScopeID) -> OpenStep? { scope < scopes.count ? scopes[Int(scope)].open : nil }

    func contains(_ scope: ScopeID) -> Bool { scope < scopes.count }

    mutating func setCall(_ call: Call, in scope: ScopeID) { scopes[Int(scope)].open?.call = call }

    /// Forgets what was begun: it was refused after all.
    mutating func abandon(_ scope: ScopeID) { scopes[Int(scope)].open = nil }

    /// The answer of the scope's call is on its way to the handler, which may then call again.
    mutating func settle(_ scope: ScopeID, _ next: Settlement) {
        guard scope < scopes.count, let open = scopes[Int(scope)].open else { return }
        switch next {
        case .over where open.call == .executing, .body: scopes[Int(scope)].open?.call = .body
        case .over: scopes[Int(scope)].open = nil
        case .nextAttempt:
            scopes[Int(scope)].open?.call = .body
            scopes[Int(scope)].open?.attempt += 1
        }
    }

    enum Settlement {
        /// SQL was answered, or the step is over.
        case over
        /// The body runs again: as the same attempt,
        case body
        /// or as the next one.
        case nextAttempt
    }

    /// Whether nothing happens in the run before one of its waits is over. A scope that is in use and in no call may be computing: then it is quiet only
    /// if `assumeIdle`.
    func isQuiet(assumeIdle: Bool, writesWait: Bool = false) -> Bool {
        for scope in scopes {
            if let open = scope.open {
                guard open.call == .waiting || writesWait && open.call == .ending else { return false }
            } else if !assumeIdle, !scope.isClosed, scope.openBranches == 0 {
                return false
            }
        }
        return true
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

extension ClaimedWorkflow {
    /// The failure that an earlier run began compensations for, if one did.
    var compensationFailure: WorkflowError? {
        for step in recordedSteps where step.name == ScopeTree.compensationMarker {
            if case .done(.failure(let error)) = step.state { return error }
        }
        return nil
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
