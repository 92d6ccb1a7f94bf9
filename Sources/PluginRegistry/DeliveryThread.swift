internal import Glibc
internal import Locking
internal import WorkflowEngine

/// The one thread on which a plugin is called. It starts with the first delivery and lasts as long as the process, as its plugin does.
/// Deliveries run in the order they came; whoever brings them only appends to a list, and wakes the thread if it is idle.
final class DeliveryThread: @unchecked Sendable {  // the list is locked, the semaphore made for threads
    private enum State { case none, idle, busy }
    private struct Inbox {
        var deliveries: [Delivery] = []
        var state = State.none
    }

    private let name: String
    private let inbox = Locked(Inbox())
    private let wakeUp = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init(name: String) {
        self.name = name
        sem_init(wakeUp, 0, 0)
    }

    deinit {
        sem_destroy(wakeUp)
        wakeUp.deallocate()
    }

    /// Any thread; never blocks for longer than another one takes to append.
    func append(_ deliveries: some Collection<Delivery>) {
        let before = inbox.withLock { inbox in
            inbox.deliveries.append(contentsOf: deliveries)
            let before = inbox.state
            inbox.state = .busy
            return before
        }
        switch before {
        case .busy: break
        case .idle: sem_post(wakeUp)
        case .none: start()
        }
    }

    private func start() {
        // The thread keeps this alive.
        BackgroundThread.start(name: name) { [self] in deliver() }
    }

    private func deliver() -> Never {
        var batch: [Delivery] = []
        while true {
            inbox.withLock { inbox in
                swap(&inbox.deliveries, &batch)
                if batch.isEmpty { inbox.state = .idle }
            }
            if batch.isEmpty {
                while sem_wait(wakeUp) != 0 {}
                continue
            }
            for delivery in batch { DeliveryThread.perform(delivery) }
            batch.removeAll(keepingCapacity: true)
        }
    }

    static func perform(_ delivery: Delivery) {
        switch delivery {
        case .start(let run): PluginRun.of(run)?.start()
        case .answer(let run, let receiver, .cancelled): PluginRun.of(run)?.answerCancelled(receiver)
        case .answer(_, let receiver, let answer): receiver.call(answer)
        case .interrupt(let run, let reason): PluginRun.of(run)?.interrupt(reason)
        case .interruptStep(let run, let scope): PluginRun.of(run)?.interruptStep(scope)
        case .release(let run): PluginRun.of(run)?.release()
        }
    }
}
