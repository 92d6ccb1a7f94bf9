import CLibPQ
import Glibc

/// A thread of the operating system, for work that must not share one with anybody.
package struct SystemThread: Sendable {
    private let handle: pthread_t

    /// Starts it, with all signals blocked: they belong to the main thread. `name`: at most 15 bytes are shown.
    package init(name: String, _ body: @escaping @Sendable () -> Void) {
        final class Body {
            let run: @Sendable () -> Void
            let name: String
            init(run: @escaping @Sendable () -> Void, name: String) {
                self.run = run
                self.name = name
            }
        }
        var blocked = sigset_t()
        var before = sigset_t()
        sigfillset(&blocked)
        // A crash must still be delivered to the thread that crashes.
        for signal in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT] { sigdelset(&blocked, signal) }
        pthread_sigmask(SIG_SETMASK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let failure = pthread_create(
            &thread, nil,
            { pointer in
                let body = Unmanaged<Body>.fromOpaque(pointer!).takeRetainedValue()
                pawl_set_thread_name(body.name)
                body.run()
                return nil
            }, Unmanaged.passRetained(Body(run: body, name: name)).toOpaque())
        precondition(failure == 0, "cannot start a thread: errno \(failure)")
        handle = thread
    }

    /// Waits for its end. Once.
    package func join() { pthread_join(handle, nil) }
}
