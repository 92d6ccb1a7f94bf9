import PostgresClient
import WorkflowEngine

/// The sessions for everything that is written about claimed workflows, except handlers' own transactions: each job is one request, and so one commit.
/// One whose answer was lost is sent again on another session, once the backend that may still be at it is gone; the protocol makes a second try harmless.
/// One that the database refuses as a whole is divided until the row that is to blame stands alone.
///
/// A row that somebody else has locked (a cancellation in a transaction that is left open) holds up only its own workflow: a statement that waits too long
/// for a lock is divided by workflows, and the one that is locked is tried again and again on a session apart. Loop thread only.
final class WriteSessions {
    private final class Job {
        enum Work {
            /// Items of a batch, in ascending order.
            case items(WriteBatch, [Int])
            case readBack(fence: Fence, step: String, after: RecordedStepsStatement.Position?, completion: (Bool?) -> Void)
        }
        var work: Work
        /// The backends that may still be at an earlier try.
        var endFirst: [BackendIdentity] = []
        var failures = 0
        /// It was divided because somebody has one of its rows locked, and this may be the part with that row.
        var isSuspect = false
        /// The workflow that somebody has locked, and all it is about: it goes by the session apart.
        var lockedKey: Int64?
        /// What has to come after it.
        var next: Job?
        init(_ work: Work) { self.work = work }
    }

    /// One of the sessions that are shared.
    private final class Line {
        let session: Session
        /// How many jobs on it may have to wait for a lock.
        var suspects = 0
        init(_ session: Session) { self.session = session }
    }

    var onEvent: ((StoreEvent) -> Void)?
    /// These are parked, or somebody else's.
    var onParked: (([Parking]) -> Void)?

    private let context: StoreContext
    private var lines: [Line] = []
    /// For rows that are locked; connected when there is the first.
    private let apart: Session
    private var apartIsStarted = false
    private var queue: [Job] = []
    private var suspects: [Job] = []
    private var lockedJobs: [Job] = []
    /// Workflows that somebody else has locked, and how many jobs wait for each: what else is written about them waits with these.
    private var locked: [Int64: Int] = [:]
    /// Jobs on their way or resting.
    private var underWay = 0
    /// Counts lives: an answer to a write of an earlier one is nobody's.
    private var life = 0
    private var unanswered: [RequestID: WriteBatch] = [:]
    private var complaints = LogLimiter()
    private var lockComplaints = LogLimiter()
    /// Requests that a session has outstanding at most; the rest waits here.
    private static let depth = 8
    /// Parts of a job that waited too long for a lock. Each division costs one such wait: few of them even among a thousand rows.
    private static let lockParts = 8

    init(context: StoreContext) {
        self.context = context
        let options = context.writeOptions()
        apart = Session(options: options, connector: context.connector, loop: context.loop)
        for _ in 0..<min(3, max(1, context.configuration.writeConnections)) {
            lines.append(Line(Session(options: options, connector: context.connector, loop: context.loop)))
        }
        for session in lines.map(\.session) + [apart] {
            session.onReady = { [weak self] _ in self?.pump() }
            session.onFailedAttempt = { [weak self] error in self?.complain("a write session cannot connect: \(error)") }
            session.onLost = { [weak self] error in self?.complain("a write session was lost: \(error)") }
        }
    }

    func start() { for line in lines { line.session.start() } }
    func close() {
        for line in lines { line.session.close() }
        apart.close()
    }

    var isIdle: Bool { queue.isEmpty && suspects.isEmpty && lockedJobs.isEmpty && underWay == 0 }

    func write(_ content: WriteBatch.Content) {
        let batch = WriteBatch(content)
        if let request = batch.request { unanswered[request] = batch }
        let parts = batch.initialParts()
        batch.parts = parts.count
        for items in parts { enqueue(Job(.items(batch, items))) }
        pump()
    }

    func release(_ fences: [Fence]) {
        guard !fences.isEmpty else { return }
        write(.release(fences))
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
        let batches = unanswered.sorted { $0.key.value < $1.key.value }.map(\.value)
        let readBacks = queue.compactMap { job -> ((Bool?) -> Void)? in
            if case .readBack(_, _, _, let completion) = job.work { completion } else { nil }
        }
        unanswered = [:]
        queue = []
        suspects = []
        lockedJobs = []
        locked = [:]
        underWay = 0
        for line in lines { line.suspects = 0 }
        for batch in batches { if let event = batch.fencedAnswer() { onEvent?(event) } }
        for completion in readBacks { completion(nil) }
    }

    func pump() {
        guard !(queue.isEmpty && suspects.isEmpty && lockedJobs.isEmpty), let worker = context.certainWorker else { return }
        while !queue.isEmpty, let line = freeLine(where: { $0.suspects == 0 }), let connection = line.session.connection {
            send(queue.removeFirst(), on: connection, of: line, worker)
        }
        // One line stays free of them, if there are several.
        while !suspects.isEmpty, lines.count(where: { $0.suspects > 0 }) < max(1, lines.count - 1),
            let line = freeLine(where: { $0.suspects == 0 }), let connection = line.session.connection
        {
            send(suspects.removeFirst(), on: connection, of: line, worker)
        }
        if !lockedJobs.isEmpty, let connection = apart.connection, connection.isOpen, connection.outstanding == 0 {
            send(lockedJobs.removeFirst(), on: connection, of: nil, worker)
        }
    }

    private func freeLine(where isFit: (Line) -> Bool) -> Line? {
        lines.filter { line in isFit(line) && (line.session.connection.map { $0.isOpen && $0.outstanding < Self.depth } ?? false) }
            .min { $0.session.connection!.outstanding < $1.session.connection!.outstanding }
    }

    /// Puts a job where it belongs: what is about a locked workflow waits with that.
    private func enqueue(_ job: Job, first: Bool = false) {
        if let key = job.lockedKey { return setAside(job, key, first: first) }
        guard !locked.isEmpty, case .items(let batch, let items) = job.work, items.contains(where: { locked[batch.fence($0).key] != nil }) else {
            if job.isSuspect { suspects.append(job) } else { queue.insert(job, at: first ? 0 : queue.count) }
            return
        }
        var free: [Int] = []
        var others: [Int64: [Int]] = [:]
        for item in items {
            let key = batch.fence(item).key
            if locked[key] == nil { free.append(item) } else { others[key, default: []].append(item) }
        }
        batch.parts += others.count - (free.isEmpty ? 1 : 0)
        for (key, items) in others {
            let part = Job(.items(batch, items))
            part.endFirst = job.endFirst
            setAside(part, key)
        }
        guard !free.isEmpty else { return follow(job) }
        job.work = .items(batch, free)
        enqueue(job, first: first)
    }

    private func setAside(_ job: Job, _ key: Int64, first: Bool = false) {
        if job.lockedKey == nil {
            job.lockedKey = key
            locked[key, default: 0] += 1
        }
        if first {
            lockedJobs.insert(job, at: 0)
        } else {
            lockedJobs.append(job)
        }
        if !apartIsStarted {
            apartIsStarted = true
            apart.start()
        }
    }

    /// It waits no more.
    private func unlock(_ job: Job) {
        guard let key = job.lockedKey else { return }
        job.lockedKey = nil
        locked[key] = locked[key].flatMap { $0 > 1 ? $0 - 1 : nil }
    }

    // MARK: One job

    private func send(_ job: Job, on connection: Connection, of line: Line?, _ worker: UUIDBytes) {
        underWay += 1
        if job.isSuspect { line?.suspects += 1 }
        let life = life
        var gone = true
        if !job.endFirst.isEmpty {
            for backend in job.endFirst { EndBackendStatement(backend: backend).add(to: connection, &context.buffer) }
            connection.sync { reply in gone = reply.failure == nil && reply.results.allSatisfy(EndBackendStatement.isGone) }
        }
        var groups: [(group: WriteBatch.Group, items: [Int])] = []
        switch job.work {
        case .items(let batch, let items): groups = batch.add(items, to: connection, worker, &context.buffer)
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
            if job.isSuspect { line?.suspects -= 1 }
            if let failure = reply.failure {
                failed(job, failure, backend)
            } else if reply.commitIsDoubtful, case .items = job.work {
                // Committed here, but perhaps not where a successor would look: ask again until the commit stands.
                rest(job, 100_000_000)
            } else {
                if gone { job.endFirst = [] }
                switch job.work {
                case .items(let batch, _): done(job, batch, groups, reply.results)
                case .readBack: readBack(job, reply.results[0], settled: gone)
                }
            }
            pump()
        }
    }

    private func done(_ job: Job, _ batch: WriteBatch, _ groups: [(group: WriteBatch.Group, items: [Int])], _ results: [PostgresResult]) {
        var released: [Fence] = []
        for ((group, items), result) in zip(groups, results) {
            if case .calls = group {
                for (position, answer) in PerformCallsStatement.decode(result) {
                    if answer == .refused(.fenced) { context.disown(batch.fence(items[position])) }
                    batch.results[items[position]] = answer
                }
                continue
            }
            for (position, word) in RefusalRows.decode(result) {
                batch.refusals.append((items[position], refusal(word, batch, items[position], &released)))
            }
            switch group {
            case .completions, .continuations, .parkings, .releases:
                for item in items { context.disown(batch.fence(item)) }
                context.life?.setRunning(context.owned.count)
                if case .park(let parkings) = batch.content { onParked?(items.map { parkings[$0] }) }
            case .steps, .attempts, .emissions, .calls: break
            }
        }
        unlock(job)
        follow(job)
        finish(batch)
        release(released)
    }

    private func refusal(_ word: String, _ batch: WriteBatch, _ item: Int, _ released: inout [Fence]) -> Refusal {
        if let cancellation = RefusalRows.cancellation(word) { return .cancelled(cancellation) }
        let fence = batch.fence(item)
        switch word {
        case "recorded": return .alreadyRecorded
        case "too_many_steps":
            return .invalid(
                WorkflowError(
                    code: "too_many_steps", type: "Pawl",
                    message: "The workflow has more steps than pawl.max_steps allows. Split the work over several workflows."))
        case "stream_closed":
            return .invalid(WorkflowError(code: word, type: "Pawl", message: "The stream is closed: nothing can be written to it any more."))
        case "invalid":
            return .invalid(WorkflowError(code: "22023", type: "Pawl", message: "The \(batch.name(item)) value cannot be written as it is."))
        case "exists":
            // An earlier run recorded it after this one had read what was there: handed back, the workflow is replayed with it.
            context.log(.warning, "\(batch.name(item)) was recorded by an earlier run; handing the workflow back. \(context.describe(fence))")
            released.append(fence)
            return .fenced
        default:
            context.disown(fence)
            return .fenced
        }
    }

    private func readBack(_ job: Job, _ result: PostgresResult, settled: Bool) {
        guard case .readBack(let fence, let step, _, let completion) = job.work else { return }
        let page = RecordedStepsStatement.decode(result)
        if page.steps.contains(where: { $0.step.name == step && $0.step.state.isDone }) { return completion(true) }
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

    private func finish(_ batch: WriteBatch) {
        batch.parts -= 1
        guard batch.parts == 0 else { return }
        if let request = batch.request, unanswered.removeValue(forKey: request) == nil { return }
        if let event = batch.answer() { onEvent?(event) }
    }

    /// What had to wait for it.
    private func follow(_ job: Job) {
        guard let next = job.next else { return }
        job.next = nil
        enqueue(next)
    }

    // MARK: Failures

    private func failed(_ job: Job, _ failure: PostgresError, _ backend: BackendIdentity) {
        if failure.code == .connectionLost {
            if !job.endFirst.contains(backend) { job.endFirst.append(backend) }
            return enqueue(job, first: true)
        }
        if failure.sqlState == "55P03", case .items(let batch, let items) = job.work { return waitedForLock(job, batch, items) }
        job.failures += 1
        if failure.sqlState == "PW004" { context.life?.check() }
        let mayBlameRow = failure.isDataError || ["0A", "2F", "38", "39", "P0"].contains(failure.sqlClass ?? "") || failure.code == .badRequest
        if mayBlameRow || (job.failures > 1 && !failure.isTransient && failure.sqlClass != "42" && failure.sqlClass != "PW"),
            case .items(let batch, let items) = job.work
        {
            if items.count > 1 { return halve(job, batch, items) }
            if mayBlameRow, let item = items.first { return blame(job, batch, item, failure) }
        }
        complain("a write failed and is tried again: \(failure)")
        rest(job, min(5_000_000_000, 50_000_000 << UInt64(min(job.failures, 7))))
    }

    /// Somebody has a row of it locked.
    private func waitedForLock(_ job: Job, _ batch: WriteBatch, _ items: [Int]) {
        if let key = job.lockedKey {
            // Behind the other locked ones, and before what else waits for the same workflow.
            let same = lockedJobs.filter { $0.lockedKey == key }
            lockedJobs.removeAll { $0.lockedKey == key }
            lockedJobs.append(job)
            lockedJobs += same
            return
        }
        var places: [Int64: Int] = [:]
        var workflows: [[Int]] = []
        for item in items {
            let key = batch.fence(item).key
            if let place = places[key] {
                workflows[place].append(item)
            } else {
                places[key] = workflows.count
                workflows.append([item])
            }
        }
        if workflows.count == 1, let item = items.first {
            let fence = batch.fence(item)
            if lockComplaints.shouldLog() {
                context.log(
                    .warning,
                    "\(batch.name(item)) waits for a lock that another session holds; what other workflows write goes on. \(context.describe(fence))"
                )
            }
            return setAside(job, fence.key)
        }
        let size = (workflows.count + Self.lockParts - 1) / Self.lockParts
        let parts = stride(from: 0, to: workflows.count, by: size).map { first in
            Job(.items(batch, workflows[first..<min(first + size, workflows.count)].joined().sorted()))
        }
        for part in parts {
            part.isSuspect = true
            part.endFirst = job.endFirst
        }
        batch.parts += parts.count - 1
        parts.last?.next = job.next
        for part in parts { enqueue(part) }
    }

    private func halve(_ job: Job, _ batch: WriteBatch, _ items: [Int]) {
        // The lock, if there was one, is not what it fails by.
        unlock(job)
        var middle = items.count / 2
        if case .write(_, let steps, _) = batch.content, let firstEnd = items.firstIndex(where: { $0 >= steps.count }), firstEnd > 0 { middle = firstEnd }
        let halves = [Job(.items(batch, Array(items[..<middle]))), Job(.items(batch, Array(items[middle...])))]
        batch.parts += 1
        for half in halves { half.endFirst = job.endFirst }
        halves[1].next = job.next
        if case .emit = batch.content {
            // What one workflow writes to a stream keeps its order.
            halves[0].next = halves[1]
            enqueue(halves[0])
        } else {
            for half in halves { enqueue(half) }
        }
    }

    /// The one item that the database does not take.
    private func blame(_ job: Job, _ batch: WriteBatch, _ item: Int, _ failure: PostgresError) {
        let fence = batch.fence(item)
        context.log(.error, "\(batch.name(item)) cannot be stored: \(failure). \(context.describe(fence))")
        let refusal = Refusal.invalid(WorkflowError(failure))
        unlock(job)
        switch batch.content {
        case .write, .emit: batch.refusals.append((item, refusal))
        case .perform: batch.results[item] = .refused(refusal)
        // It runs nowhere now: somebody is to have it.
        case .park: release([fence])
        case .release: break
        }
        follow(job)
        finish(batch)
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
            enqueue(job)
            pump()
        }
    }

    private func complain(_ message: String) {
        if complaints.shouldLog() { context.log(.warning, message) }
    }
}

extension RecordedStep.State {
    var isDone: Bool { if case .done = self { true } else { false } }
}
