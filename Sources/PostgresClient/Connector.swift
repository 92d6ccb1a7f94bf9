import CLibPQ
import Locking

/// A thread for what libpq can only do by blocking: connecting and cancelling.
package final class Connector: @unchecked Sendable {  // the queue is locked; the thread is set once
    private struct Queue {
        var jobs: [@Sendable () -> Void] = []
        var stopping = false
    }

    private let queue = Locked(Queue())
    private let wakeDescriptor = WakeDescriptor()
    private var thread: SystemThread?

    package init() {
        thread = SystemThread(name: "pawl-connect") { [queue, wakeDescriptor] in Self.run(queue, wakeDescriptor) }
    }

    /// Ends the thread once the job at hand is done, and waits for it.
    package func stop() {
        guard let thread else { return }
        queue.withLock { $0.stopping = true }
        wakeDescriptor.signal()
        thread.join()
        self.thread = nil
    }

    private static func run(_ queue: Locked<Queue>, _ wakeDescriptor: WakeDescriptor) {
        while true {
            wakeDescriptor.wait(nanoseconds: nil)
            while true {
                let (job, stopping) = queue.withLock { queue -> ((@Sendable () -> Void)?, Bool) in
                    (queue.jobs.isEmpty ? nil : queue.jobs.removeFirst(), queue.stopping)
                }
                if stopping { return }
                guard let job else { break }
                job()
            }
        }
    }

    private func enqueue(_ job: @escaping @Sendable () -> Void) {
        queue.withLock { $0.jobs.append(job) }
        wakeDescriptor.signal()
    }

    /// Tries once. `completion` is called on `loop`, with a connection in pipeline mode.
    package func connect(
        _ options: ConnectionOptions, loop: EventLoop, completion: @escaping @Sendable (Result<Connection, PostgresError>) -> Void
    ) {
        enqueue { [self] in
            do throws(PostgresError) {
                let fresh = try FreshConnection(options)
                loop.post { completion(.success(Connection(fresh, loop: loop, connector: self))) }
            } catch {
                loop.post { completion(.failure(error)) }
            }
        }
    }

    /// Asks the server to cancel what `target` runs; frees it. Whether it did shows in the statement's own answer.
    func cancel(_ target: CancelTarget) {
        enqueue {
            var reason = [CChar](repeating: 0, count: 256)
            _ = PQcancel(target.pointer, &reason, Int32(reason.count))
            PQfreeCancel(target.pointer)
        }
    }
}

/// A connection on its way from the connector's thread to its loop.
struct FreshConnection: @unchecked Sendable {  // handed from one thread to another, which is then its only user
    let pointer: OpaquePointer
    let identity: BackendIdentity

    init(_ options: ConnectionOptions) throws(PostgresError) {
        pointer = try options.connect()
        var mark = ""
        if let query = options.identityQuery {
            let result = PQexec(pointer, query)
            defer { PQclear(result) }
            guard let result, PQresultStatus(result) == PGRES_TUPLES_OK, PQntuples(result) == 1, let value = PQgetvalue(result, 0, 0) else {
                let error = result.map { PostgresError(result: $0) } ?? PostgresError(connection: pointer, code: .cannotConnect)
                PQfinish(pointer)
                throw error
            }
            mark = String(cString: value)
        }
        identity = BackendIdentity(processID: PQbackendPID(pointer), mark: mark)
        guard PQsetnonblocking(pointer, 1) == 0, PQenterPipelineMode(pointer) == 1 else {
            let error = PostgresError(connection: pointer, code: .cannotConnect)
            PQfinish(pointer)
            throw error
        }
    }
}

/// What a cancel needs to know.
struct CancelTarget: @unchecked Sendable {  // made on the loop, used and freed on the connector's thread
    let pointer: OpaquePointer
}
