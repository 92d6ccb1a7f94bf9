internal import CPluginSupport
internal import Glibc

/// A detached thread.
package enum BackgroundThread {
    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void
        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }

    package static func start(name: String, _ run: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let body = Unmanaged.passRetained(Body(name: name, run: run)).toOpaque()
        let failure = pthread_create(
            &thread, &attributes,
            { body in
                let body = Unmanaged<Body>.fromOpaque(body!).takeRetainedValue()
                pawl_name_thread(body.name)
                body.run()
                return nil
            }, body)
        precondition(failure == 0, "no thread could be started for \(name): \(systemMessage(failure))")
    }
}
