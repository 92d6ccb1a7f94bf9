internal import CPawlPlugin
public import FoundationEssentials
internal import Locking
internal import MemoryStore
public import Pawl
internal import PluginRegistry
internal import WorkflowEngine

/// Runs a plugin's handlers without Postgres and without waiting: in a store in memory, with a clock that stands still while anything happens and then jumps
/// to the next timer.
///
/// ```swift
/// let test = try WorkflowTest(plugin)
/// test.stub("buy_label", returning: Label(carrier: "Postal", trackingNumber: "PT1"))
/// test.sql { _ in .affected(1) }
/// let receipt = try await test.run("ship_order", input: order, as: Receipt.self)
/// ```
///
/// It runs the engine that pawld runs, and handlers are called through the same C interface. What PostgreSQL does, a store in memory does here; it passes the
/// same tests. What it cannot do is run SQL: a closure answers that.
public final class WorkflowTest: Sendable {
    let database: MemoryDatabase
    let clock: ManualClock
    let stubs: StepStubs
    let thread: EngineThread
    private let sqlAnswer: Locked<(@Sendable (SQLCall) throws -> SQLAnswer)?>
    private let lastID = Locked(0)
    private let lines: Locked<[String]>

    /// - Parameters:
    ///   - plugin: Its workflows are those that can run. Others can be enqueued, and stay so.
    ///   - startingAt: What the clock shows at first.
    ///   - seed: Of everything random: the values of `uuid` and `random` steps, and the waits between attempts.
    ///   - patience: A body that really waits, for a network perhaps, holds up the clock; but for no longer than this without a sign of life. Then time goes
    ///     on, so that an attempt that hangs meets its timeout.
    /// - Throws: if the plugin registers something that pawld would refuse.
    public convenience init(
        _ plugin: Plugin, startingAt: Date = Date(timeIntervalSince1970: 1_767_225_600), seed: UInt64 = 1, patience: Duration = .seconds(10)
    ) throws {
        try self.init(plugin, startingAt: startingAt, seed: seed, patience: patience, crash: nil)
    }

    init(_ plugin: Plugin, startingAt: Date, seed: UInt64, patience: Duration, crash: (@Sendable (MemoryStore.Point) -> Bool)?) throws {
        let clock = ManualClock(now: Int64(startingAt.timeIntervalSince1970 * 1_000_000))
        let lines = Locked<[String]>([])
        let sqlAnswer = Locked<(@Sendable (SQLCall) throws -> SQLAnswer)?>(nil)
        let stubs = StepStubs()
        let database = MemoryDatabase(clock: clock.engineClock) { statement, transaction, _ in Self.answer(statement, transaction, sqlAnswer.withLock { $0 }) }
        let linked: LinkedPlugin
        do {
            linked = try LinkedPlugin(
                name: plugin.name, interceptor: stubs,
                log: { line in lines.withLock { $0.append("\(line.level): \(line.workflowID.map { "\($0): " } ?? "")\(line.message)") } },
                register: { plugin.register(with: $0) })
        } catch {
            throw PluginRefused(description: "\(error.file) \(error.problem). \(error.cure)")
        }
        self.clock = clock
        self.database = database
        self.lines = lines
        self.stubs = stubs
        self.sqlAnswer = sqlAnswer
        let offered = Dictionary(grouping: linked.handlers, by: \.workflowName).mapValues { $0.map(\.workflowVersion) }
        thread = EngineThread(crash: crash) { life in
            let worker = MemoryWorker(
                database, clock: clock, configuration: EngineConfiguration(concurrency: 1000, seed: seed &+ life, valueSeed: seed), handlers: linked,
                patience: patience, log: { _ in })
            worker.store.offered = { offered[$0] }
            return worker
        }
    }

    deinit { thread.stop() }

    // MARK: What handlers meet

    /// Instead of running its body, the step, transaction or compensation comes to this. `step` is the name as the handler gives it, or, for one branch or
    /// repeat only, the full one.
    public func stub(_ step: String, returning value: some Encodable & Sendable) { stub(step) { _ in value } }

    /// The step fails with this; it is tried again as its retry policy says, unless it is a ``NotRetried``.
    public func stub(_ step: String, throwing error: any Error) {
        stubs.set(step) { _ in throw error }
    }

    /// Called instead of the step's body, each time that it would run.
    public func stub(_ step: String, _ body: @escaping @Sendable (StubCall) throws -> some Encodable & Sendable) {
        stubs.set(step) { JSONBytes(try PayloadAccess.encode(try body($0))) }
    }

    /// Each time that a stub stood in for a body, in order.
    public var stubCalls: [StubCall] { stubs.calls }

    /// How often a stub stood in for the body of that step, over all workflows and attempts. `step`: its full name.
    public func count(of step: String) -> Int { stubs.calls.count { $0.step == step } }

    /// Answers the SQL of transactions and queries. What is to happen only if the transaction commits belongs in ``SQLCall/onCommit(_:)``.
    public func sql(_ answer: @escaping @Sendable (SQLCall) throws -> SQLAnswer) { sqlAnswer.withLock { $0 = answer } }

    private static func answer(
        _ statement: SQLStatement, _ transaction: MemoryTransaction?, _ answer: (@Sendable (SQLCall) throws -> SQLAnswer)?
    ) -> SQLResult {
        guard let answer else {
            return .failure(WorkflowError(code: "no_answer", type: "PawlTesting", message: "nothing answers SQL in this test: give it a closure, with sql(_:)"))
        }
        let call = SQLCall(
            sql: statement.sql, parameters: statement.parameters.map { $0.map { String(decoding: $0, as: UTF8.self) } }, isTransaction: transaction != nil,
            transaction: transaction)
        do {
            return .success(try answer(call).json.bytes)
        } catch {
            return .failure(WorkflowError(recording: error))
        }
    }

    /// What handlers logged, in order: `notice: ship_order-1: The label is bought`. A replay logs again.
    public var log: [String] { lines.withLock { $0 } }

    // MARK: Workflows

    /// Enqueues a workflow; then everything goes on as far as it can without time passing.
    /// - Parameters:
    ///   - id: Its workflow_id; nil: one is made from the name.
    ///   - version: Pins it to this version of its handler.
    ///   - timeout: After which it fails, counted from its start.
    @discardableResult
    public func start(
        _ workflowName: String, input: some Encodable & Sendable, id: String? = nil, version: Int? = nil, timeout: Duration? = nil, delay: Duration? = nil,
        headers: JSONValue? = nil, attributes: JSONValue? = nil
    ) async throws -> TestedWorkflow {
        let input = try PayloadAccess.encode(input)
        let id = id ?? "\(workflowName)-\(lastID.withLock { last in last += 1; return last })"
        var options = MemoryDatabase.EnqueueOptions()
        options.version = version.map { Int32($0) }
        options.timeout = timeout?.microseconds
        options.delay = delay?.microseconds
        options.headers = try headers.map { try StoredJSON(encoding: $0) }
        options.attributes = try attributes.map { try StoredJSON(encoding: $0) }
        let enqueued = await act { [options] in $0.database.enqueue(workflowName, id: id, input: JSONBytes(input), options) }
        if !enqueued, database.workflow(id).name != workflowName {
            throw WorkflowFailure(code: "PW002", message: "workflow \"\(id)\" exists with another name")
        }
        return TestedWorkflow(test: self, id: id)
    }

    /// Runs a workflow to its end, however much time has to pass for that, and returns its output.
    /// - Throws: as ``TestedWorkflow/output(as:)``.
    public func run<Output: Decodable>(
        _ workflowName: String, input: some Encodable & Sendable, id: String? = nil, as output: Output.Type = Output.self
    ) async throws -> Output {
        try await start(workflowName, input: input, id: id).output()
    }

    /// The workflow of that id; nil: there is none.
    public func workflow(_ id: String) -> TestedWorkflow? { database.find(id).map { TestedWorkflow(test: self, id: $0.id) } }

    /// All of them, in the order in which they were enqueued.
    public var workflows: [TestedWorkflow] { database.workflows.map { TestedWorkflow(test: self, id: $0.id) } }

    // MARK: Time

    /// What the clock shows.
    public var now: Date { Date(timeIntervalSince1970: Double(clock.now) / 1_000_000) }

    /// Lets so much time pass. Everything that falls due meanwhile happens in its turn.
    public func advance(by duration: Duration) async {
        let clock = clock
        await act { _ in
            let end = clock.now + max(0, duration.microseconds)
            self.thread.settle(upTo: end)
            clock.advance(to: end)
        }
    }

    /// Lets time pass until everything has ended, or waits for what nobody here will do.
    public func runToTheEnd() async { await act { _ in self.thread.settle(upTo: .max) } }

    /// Lets workers crash: whatever runs is lost, and recovered from its checkpoints.
    public func crash() async { await act { _ in self.thread.crashNow() } }

    // MARK: -

    /// Does something, then lets everything go on as far as it can without time passing.
    func act<Value: Sendable>(_ body: @escaping @Sendable (WorkflowTest) -> Value) async -> Value {
        await thread.perform {
            let value = body(self)
            self.thread.settle(upTo: self.clock.now)
            return value
        }
    }

    func run(until condition: @escaping @Sendable (WorkflowTest) -> Bool) async throws {
        let isMet = await thread.perform { self.thread.run(upTo: .max) { condition(self) } }
        if !isMet { throw NeverEnds(pictures()) }
    }

    /// How unfinished workflows stand, for people.
    func pictures() -> String {
        let lines = database.workflows.filter { !$0.isEnded }.map { row in
            let waits = row.steps.values.filter { $0.status == .waiting || $0.status == .retrying }.sorted { $0.number < $1.number }
            let what = waits.isEmpty ? "" : ": " + waits.map { "\($0.kind) \"\($0.name)\" is \($0.status.rawValue)" }.joined(separator: ", ")
            return "  workflow \"\(row.id)\" (\(row.name)) is \(row.status.rawValue)\(what)"
        }
        return lines.joined(separator: "\n")
    }
}

/// pawld would refuse the plugin, for the reason that it gives.
public struct PluginRefused: Error, CustomStringConvertible {
    public let description: String
}

extension Duration {
    var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
