import CLibPQ
import Glibc
import Locking

/// One thread that waits on sockets, timers and a mailbox. Everything that belongs to it is touched on that thread only.
///
/// A round: the mailbox, due timers, `tick`, then what connections have to send, then the next events. Nobody makes a system call to
/// reach a loop that is awake.
package final class EventLoop: @unchecked Sendable {  // the mailbox is locked; everything else is the loop thread's, or set before it starts
    private struct Mailbox {
        var work: [@Sendable () -> Void] = []
        var poked = false
        var asleep = false
        var stopping = false
    }

    private final class Watcher {
        let descriptor: Int32
        let handler: (UInt32) -> Void
        init(descriptor: Int32, handler: @escaping (UInt32) -> Void) {
            self.descriptor = descriptor
            self.handler = handler
        }
    }

    package struct Timer: Hashable {
        fileprivate let deadline: UInt64
        fileprivate let number: UInt64
    }

    /// Runs once in each round, after the mailbox and before anything is sent. Answers how long the loop may wait at most, in milliseconds;
    /// negative: until woken. Set before `start`.
    package var tick: (() -> Int32)?

    private let mailbox = Locked(Mailbox())
    private let epoll: Int32
    private let wakeDescriptor: Int32
    private let name: String
    private var thread: SystemThread?
    private var loopThread: pthread_t?
    private var watchers: [UInt64: Watcher] = [:]
    private var nextToken: UInt64 = 1
    private var timers: [(timer: Timer, work: () -> Void)] = []
    private var nextTimer: UInt64 = 0
    private var endings: [() -> Void] = []
    private static let wakeToken: UInt64 = 0

    /// `name` is the thread's, at most 15 bytes of it.
    package init(name: String = "pawl-loop") {
        self.name = name
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeDescriptor = pawl_eventfd(Int32(EFD_NONBLOCK))
        precondition(epoll >= 0 && wakeDescriptor >= 0, "no descriptors left for an event loop: errno \(errno)")
        let added = pawl_epoll_control(epoll, EPOLL_CTL_ADD, wakeDescriptor, Self.wakeToken, PAWL_EPOLL_IN)
        precondition(added == 0, "epoll_ctl failed: errno \(errno)")
    }

    deinit {
        Glibc.close(epoll)
        Glibc.close(wakeDescriptor)
    }

    /// Starts the thread. Once.
    package func start() {
        precondition(thread == nil, "an event loop starts once")
        thread = SystemThread(name: name) { [self] in run() }
    }

    /// Ends the thread after its current round and waits for it. Not on the loop itself.
    package func stop() {
        guard let thread else { return }
        mailbox.withLock { $0.stopping = true }
        wake()
        thread.join()
        self.thread = nil
    }

    /// Runs `work` on the loop, in the order of the calls. Any thread.
    package func post(_ work: @escaping @Sendable () -> Void) {
        let asleep = mailbox.withLock { box -> Bool in
            box.work.append(work)
            defer { box.asleep = false }
            return box.asleep
        }
        if asleep { interrupt() }
    }

    /// Makes sure that a `tick` begins after this call. Any thread; costs no system call while the loop is awake.
    package func wake() {
        let asleep = mailbox.withLock { box -> Bool in
            box.poked = true
            defer { box.asleep = false }
            return box.asleep
        }
        if asleep { interrupt() }
    }

    private func interrupt() {
        var one: UInt64 = 1
        _ = write(wakeDescriptor, &one, 8)
    }

    package var isCurrent: Bool { loopThread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }

    package func assertCurrent() { precondition(isCurrent, "only on the event loop's thread") }

    // MARK: Loop thread only

    /// Nanoseconds on a clock that never goes back.
    package static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }

    package func schedule(afterNanoseconds delay: UInt64, _ work: @escaping () -> Void) -> Timer {
        let timer = Timer(deadline: Self.now() &+ delay, number: nextTimer)
        nextTimer += 1
        let index = timers.firstIndex { $0.timer.deadline > timer.deadline } ?? timers.count
        timers.insert((timer, work), at: index)
        return timer
    }

    package func cancel(_ timer: Timer) { timers.removeAll { $0.timer == timer } }

    /// Calls `work` at the end of this round, before the loop waits: for answers that must not come before the question has returned.
    func atEndOfRound(_ work: @escaping () -> Void) { endings.append(work) }

    func watch(_ descriptor: Int32, handler: @escaping (UInt32) -> Void) -> UInt64 {
        let token = nextToken
        nextToken += 1
        watchers[token] = Watcher(descriptor: descriptor, handler: handler)
        _ = pawl_epoll_control(epoll, EPOLL_CTL_ADD, descriptor, token, PAWL_EPOLL_IN)
        return token
    }

    func setWantsWrite(_ token: UInt64, _ wanted: Bool) {
        guard let watcher = watchers[token] else { return }
        _ = pawl_epoll_control(epoll, EPOLL_CTL_MOD, watcher.descriptor, token, wanted ? PAWL_EPOLL_IN | PAWL_EPOLL_OUT : PAWL_EPOLL_IN)
    }

    func unwatch(_ token: UInt64) {
        guard let watcher = watchers.removeValue(forKey: token) else { return }
        _ = pawl_epoll_control(epoll, EPOLL_CTL_DEL, watcher.descriptor, token, 0)
    }

    private func run() {
        loopThread = pthread_self()
        var tokens = [UInt64](repeating: 0, count: Int(PAWL_EPOLL_BATCH))
        var events = [UInt32](repeating: 0, count: Int(PAWL_EPOLL_BATCH))
        var work: [@Sendable () -> Void] = []
        while true {
            let stopping = mailbox.withLock { box -> Bool in
                swap(&box.work, &work)
                box.poked = false
                return box.stopping
            }
            if stopping { break }
            for item in work { item() }
            work.removeAll(keepingCapacity: true)
            fireTimers()
            let patience = tick?() ?? -1
            // What they answer, the next tick must see before the loop waits.
            let answered = !endings.isEmpty
            while !endings.isEmpty {
                let due = endings
                endings.removeAll(keepingCapacity: true)
                for ending in due { ending() }
            }
            let mayWait = mailbox.withLock { box -> Bool in
                box.asleep = box.work.isEmpty && !box.poked && !box.stopping && !answered && patience != 0
                return box.asleep
            }
            let count = pawl_epoll_wait(epoll, &tokens, &events, mayWait ? timeout(atMost: patience) : 0)
            if mayWait { mailbox.withLock { $0.asleep = false } }
            guard count > 0 else { continue }
            for index in 0..<Int(count) {
                if tokens[index] == Self.wakeToken {
                    var counter: UInt64 = 0
                    _ = read(wakeDescriptor, &counter, 8)
                } else {
                    // A handler before this one may have ended the watch.
                    watchers[tokens[index]]?.handler(events[index])
                }
            }
        }
        // What a watcher holds may hold the loop.
        watchers.removeAll()
        timers.removeAll()
        endings.removeAll()
        tick = nil
    }

    private func fireTimers() {
        guard let first = timers.first else { return }
        let now = Self.now()
        guard first.timer.deadline <= now else { return }
        while let first = timers.first, first.timer.deadline <= now {
            timers.removeFirst()
            first.work()
        }
    }

    /// Milliseconds until the next timer; -1 without one.
    private func timeout(atMost patience: Int32) -> Int32 {
        guard let first = timers.first else { return patience < 0 ? -1 : patience }
        let now = Self.now()
        guard first.timer.deadline > now else { return 0 }
        let timer = Int32(clamping: (first.timer.deadline - now + 999_999) / 1_000_000)
        return patience < 0 ? timer : min(patience, timer)
    }
}
