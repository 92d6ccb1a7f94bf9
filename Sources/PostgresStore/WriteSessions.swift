import PostgresClient
import WorkflowEngine

/// The sessions for checkpoints, completions and hand-backs: each write is one request, and so one commit. A write whose answer was lost is sent again
/// on another session, once the backend that may still be at it is gone; the protocol makes a second try harmless. A write that the database
/// refuses as a whole is halved until the row that is to blame stands alone. Loop thread only.
final class WriteSessions {
    /// All or a part of a write, or something else that these sessions do.
    private final class Job {
        enum Work {
            case write(Write, steps: [Int], ends: [Int])
            case release([Fence])
            case readBack(fence: Fence, step: String, after: RecordedStepsStatement.Position?, completion: (Bool?) -> Void)
        }
        var work: Work
        /// The backends that may still be at an earlier try.
        var endFirst: [BackendIdentity] = []
        var failures = 0
        init(_ work: Work) { self.work = work }
    }

    private final class Write {
        let request: RequestID
        let steps: [StepRecord]
        let ends: [WorkflowEnd]
        var refusedSteps: [(index: Int, refusal: Refusal)] = []
        var refusedEnds: [(index: Int, refusal: Refusal)] = []
        /// Jobs that are parts of it and have no answer.
        var parts = 1
        init(_ request: RequestID, _ steps: [StepRecord], _ ends: [WorkflowEnd]) {
            self.request = request
            self.steps = steps
            self.ends = ends
        }
    }

    var onWritten: ((RequestID, [(index: Int, refusal: Refusal)], [(index: Int, refusal: Refusal)]) -> Void)?

    private let context: StoreContext
    private var sessions: [Session] = []
    private var queue: [Job] = []
    /// Jobs on their way or resting.
    private var underWay = 0
    /// Counts lives: an answer to a write of an earlier one is nobody's.
    private var life = 0
    private var unanswered: [RequestID: Write] = [:]
    private var complaints = LogLimiter()
    /// Requests that a session has outstanding at most; the rest waits here.
    private static let depth = 8

    init(context: StoreContext) {
        self.context = context
        for _ in 0..<min(3, max(1, context.configuration.writeConnections)) {
            let session = Session(options: context.protocolOptions(StatementSet.write), connector: context.connector, loop: context.loop)
            session.onReady = { [weak self] _ in self?.pump() }
            session.onFailedAttempt = { [weak self] error in self?.complain("a write session cannot connect: \(error)") }
            session.onLost = { [weak self] error in self?.complain("a write session was lost: \(error)") }
            sessions.append(session)
        }
    }

    func start() { for session in sessions { session.start() } }
    func close() { for session in sessions { session.close() } }

    var isIdle: Bool { queue.isEmpty && underWay == 0 }

    func write(_ request: RequestID, steps: [StepRecord], ends: [WorkflowEnd]) {
        let write = Write(request, steps, ends)
        unanswered[request] = write
        queue.append(Job(.write(write, steps: Array(steps.indices), ends: Array(ends.indices))))
        pump()
    }

    func release(_ fences: [Fence]) {
        guard !fences.isEmpty else { return }
        queue.append(Job(.release(fences)))
        pump()
    }

    /// Whether the step is recorded, once `backend`, which may be about to commit it, is gone. nil: this life has ended.
    func readBack(_ fence: Fence, step: String, after backend: BackendIdentity?, completion: @escaping (Bool?) -> Void) {
        let job = Job(.readBack(fence: fence, step: step, after: nil, completion: completion))
        if let backend { job.endFirst = [backend] }
        queue.append(job)
        pump()
    }

    /// Everything without an answer is answered: another worker owns it now.
    func lifeEnded() {
        life += 1
        let writes = unanswered.values.sorted { $0.request.value < $1.request.value }
        let readBacks = queue.compactMap { job -> ((Bool?) -> Void)? in
            if case .readBack(_, _, _, let completion) = job.work { completion } else { nil }
        }
        unanswered = [:]
        queue = []
        underWay = 0
        for write in writes { onWritten?(write.request, write.steps.indices.map { ($0, .fenced) }, write.ends.indices.map { ($0, .fenced) }) }
        for completion in readBacks { completion(nil) }
    }

    func pump() {
        guard !queue.isEmpty, let worker = context.certainWorker else { return }
        while !queue.isEmpty {
            guard
                let session = sessions.filter({ $0.connection.map { $0.isOpen && $0.outstanding < Self.depth } ?? false })
                    .min(by: { $0.connection!.outstanding < $1.connection!.outstanding }), let connection = session.connection
            else { return }
            send(queue.removeFirst(), on: connection, worker)
        }
    }

    // MARK: One job

    private func send(_ job: Job, on connection: Connection, _ worker: UUIDBytes) {
        underWay += 1
        let life = life
        var gone = true
        if !job.endFirst.isEmpty {
            for backend in job.endFirst { EndBackendStatement(backend: backend).add(to: connection, &context.buffer) }
            connection.sync { reply in gone = reply.failure == nil && reply.results.allSatisfy(EndBackendStatement.isGone) }
        }
        switch job.work {
        case .write(let write, let steps, let ends):
            if !steps.isEmpty {
                let records = steps.count == write.steps.count ? write.steps : steps.map { write.steps[$0] }
                RecordStepsStatement(worker: worker, steps: records).add(to: connection, &context.buffer)
            }
            if !ends.isEmpty {
                let records = ends.count == write.ends.count ? write.ends : ends.map { write.ends[$0] }
                CompleteWorkflowsStatement(worker: worker, ends: records).add(to: connection, &context.buffer)
            }
        case .release(let fences):
            ReleaseWorkflowsStatement(worker: worker, fences: fences).add(to: connection, &context.buffer)
        case .readBack(let fence, _, let after, _):
            RecordedStepsStatement(worker: worker, fences: [fence], after: after, maximumBytes: 1 << 20).add(to: connection, &context.buffer)
        }
        let backend = connection.backend
        connection.sync { [self] reply in
            guard life == self.life else {
                if case .readBack(_, _, _, let completion) = job.work { completion(nil) }
                return
            }
            underWay -= 1
            if let failure = reply.failure {
                failed(job, failure, backend)
            } else if reply.commitIsDoubtful, case .write = job.work {
                // Committed here, but perhaps not where a successor would look: ask again until the commit stands.
                rest(job, 100_000_000)
            } else {
                if gone { job.endFirst = [] }
                done(job, reply.results, settled: gone)
            }
            pump()
        }
    }

    private func done(_ job: Job, _ results: [PostgresResult], settled: Bool) {
        switch job.work {
        case .write(let write, let steps, let ends):
            var released: [Fence] = []
            var next = 0
            if !steps.isEmpty {
                for (position, word) in RefusalRows.decode(results[next]) {
                    let record = write.steps[steps[position]]
                    write.refusedSteps.append((steps[position], refusal(word, record, &released)))
                }
                next += 1
            }
            if !ends.isEmpty {
                for (position, word) in RefusalRows.decode(results[next]) {
                    write.refusedEnds.append((ends[position], word == "recorded" ? .alreadyRecorded : .fenced))
                }
                for index in ends { context.disown(write.ends[index].fence) }
                context.life?.setRunning(context.owned.count)
            }
            finish(write)
            release(released)
        case .release(let fences):
            for fence in fences { context.disown(fence) }
            context.life?.setRunning(context.owned.count)
        case .readBack(let fence, let step, _, let completion):
            let page = RecordedStepsStatement.decode(results[0])
            if page.steps.contains(where: { $0.step.name == step }) { return completion(true) }
            if let end = page.end {
                job.work = .readBack(fence: fence, step: step, after: end, completion: completion)
                queue.append(job)
            } else if settled {
                completion(false)
            } else {
                // It may yet commit. From the start again: the step may appear before the last page.
                job.work = .readBack(fence: fence, step: step, after: nil, completion: completion)
                rest(job, 200_000_000)
            }
        }
    }

    private func refusal(_ word: String, _ record: StepRecord, _ released: inout [Fence]) -> Refusal {
        switch word {
        case "recorded": return .alreadyRecorded
        case "too_many_steps":
            return .invalid(
                WorkflowError(
                    code: "too_many_steps", type: "Pawl",
                    message: "The workflow has more steps than pawl.max_steps allows. Split the work over several workflows.", step: record.name))
        case "exists":
            // An earlier run recorded it after this one had read what was there: handed back, the workflow is replayed with it.
            context.log(.warning, "step \(record.name) was recorded by an earlier run; handing the workflow back. \(context.describe(record.fence))")
            released.append(record.fence)
            return .fenced
        default:
            context.disown(record.fence)
            return .fenced
        }
    }

    private func finish(_ write: Write) {
        write.parts -= 1
        guard write.parts == 0, unanswered.removeValue(forKey: write.request) != nil else { return }
        onWritten?(write.request, write.refusedSteps, write.refusedEnds)
    }

    // MARK: Failures

    private func failed(_ job: Job, _ failure: PostgresError, _ backend: BackendIdentity) {
        job.failures += 1
        if failure.code == .connectionLost {
            if !job.endFirst.contains(backend) { job.endFirst.append(backend) }
            queue.insert(job, at: 0)
            return
        }
        if failure.sqlState == "PW004" { context.life?.check() }
        let mayBlameRow = failure.isDataError || ["0A", "2F", "38", "39", "P0"].contains(failure.sqlClass ?? "") || failure.code == .badRequest
        if mayBlameRow || (job.failures > 1 && !failure.isTransient && failure.sqlClass != "42" && failure.sqlClass != "PW"),
            case .write(let write, let steps, let ends) = job.work
        {
            if steps.count + ends.count > 1 { return halve(write, steps, ends) }
            if mayBlameRow { return blame(write, steps, ends, failure) }
        }
        complain("a write failed and is tried again: \(failure)")
        rest(job, min(5_000_000_000, 50_000_000 << UInt64(min(job.failures, 7))))
    }

    private func halve(_ write: Write, _ steps: [Int], _ ends: [Int]) {
        let parts: [([Int], [Int])]
        if steps.isEmpty {
            parts = [([], Array(ends.prefix(ends.count / 2))), ([], Array(ends.dropFirst(ends.count / 2)))]
        } else if ends.isEmpty {
            parts = [(Array(steps.prefix(steps.count / 2)), []), (Array(steps.dropFirst(steps.count / 2)), [])]
        } else {
            parts = [(steps, []), ([], ends)]
        }
        write.parts += 1
        for (steps, ends) in parts { queue.append(Job(.write(write, steps: steps, ends: ends))) }
    }

    /// The one row that the database does not take.
    private func blame(_ write: Write, _ steps: [Int], _ ends: [Int], _ failure: PostgresError) {
        let refusal = Refusal.invalid(WorkflowError(failure))
        for index in steps {
            context.log(.error, "step \(write.steps[index].name) cannot be stored: \(failure). \(context.describe(write.steps[index].fence))")
            write.refusedSteps.append((index, refusal))
        }
        for index in ends {
            context.log(.error, "the end cannot be stored: \(failure). \(context.describe(write.ends[index].fence))")
            write.refusedEnds.append((index, refusal))
        }
        finish(write)
    }

    private func rest(_ job: Job, _ nanoseconds: UInt64) {
        underWay += 1
        let life = life
        _ = context.loop.schedule(afterNanoseconds: nanoseconds) { [weak self] in
            guard let self else { return }
            guard life == self.life else {
                if case .readBack(_, _, _, let completion) = job.work { completion(nil) }
                return
            }
            underWay -= 1
            queue.append(job)
            pump()
        }
    }

    private func complain(_ message: String) {
        if complaints.shouldLog() { context.log(.warning, message) }
    }
}
