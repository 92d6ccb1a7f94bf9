internal import Dispatch
internal import Foundation
internal import Locking
internal import MemoryStore

/// The thread that turns a test's engine. Handlers, and the tests themselves, need the threads of Swift's pool: none of those may be blocked here.
final class EngineThread: @unchecked Sendable {  // `inbox` is locked; the rest is the thread's
    private struct Inbox {
        var commands: [@Sendable () -> Void] = []
        var isStopped = false
        var hasThread = false
    }
    private let inbox = Locked(Inbox())
    private let arrived = DispatchSemaphore(value: 0)

    // The thread's.
    private let makeWorker: (UInt64) -> MemoryWorker
    private let crash: (@Sendable (MemoryStore.Point) -> Bool)?
    private var worker: MemoryWorker?
    private var lives: UInt64 = 0
    /// Workers that died, and whose handlers have not heard of it yet.
    private var dead: [MemoryWorker] = []
    /// No test is to hang for longer than this, in real time.
    private static let limit = Duration.seconds(60)

    init(crash: (@Sendable (MemoryStore.Point) -> Bool)?, makeWorker: @escaping (UInt64) -> MemoryWorker) {
        self.crash = crash
        self.makeWorker = makeWorker
    }

    func perform<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            let needsThread = inbox.withLock { inbox in
                inbox.commands.append { continuation.resume(returning: body()) }
                defer { inbox.hasThread = true }
                return !inbox.hasThread
            }
            if needsThread { Thread.detachNewThread { [self] in loop() } }
            arrived.signal()
        }
    }

    func stop() {
        inbox.withLock { $0.isStopped = true }
        arrived.signal()
    }

    private func loop() {
        while true {
            let (command, isStopped) = inbox.withLock { inbox in (inbox.commands.isEmpty ? nil : inbox.commands.removeFirst(), inbox.isStopped) }
            if let command {
                command()
            } else if isStopped {
                break
            } else {
                arrived.wait()
            }
        }
        // Handlers that still wait hear that their runs are over.
        if let worker { bury(worker) }
    }

    /// Runs something that blocks, on a thread of its own.
    static func once<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in Thread.detachNewThread { continuation.resume(returning: body()) } }
    }

    // MARK: On the thread

    /// Turns until nothing happens any more before that instant.
    func settle(upTo instant: Int64) { _ = run(upTo: instant) { false } }

    /// False: nothing happens any more before that instant.
    func run(upTo instant: Int64, until condition: () -> Bool) -> Bool {
        let end = ContinuousClock.now + Self.limit
        while true {
            let worker = current()
            switch worker.run(upTo: instant, until: { condition() || ContinuousClock.now > end }) {
            case .met: return condition()
            case .idle: return false
            case .crashed: crashNow()
            }
        }
    }

    func crashNow() {
        guard let worker else { return }
        self.worker = nil
        bury(worker)
    }

    private func current() -> MemoryWorker {
        if let worker { return worker }
        let worker = makeWorker(lives)
        lives += 1
        if let crash { worker.store.crash = crash }
        self.worker = worker
        return worker
    }

    /// Its handlers hear that their runs are over, and are waited for, so that nothing of one life happens in the next.
    private func bury(_ worker: MemoryWorker) {
        worker.die()
        dead.append(worker)
        let end = ContinuousClock.now + .seconds(2)
        while true {
            dead.removeAll { !$0.turn() }
            if dead.isEmpty || ContinuousClock.now > end { return }
            dead[0].rest()
        }
    }
}
