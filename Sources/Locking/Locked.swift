public import Glibc

/// State behind the only kind of lock in the project. A pthread mutex, because the thread sanitizer understands it
/// (`Synchronization.Mutex` is a bare futex, and correct code under it is reported as a race). One allocation, shared by all copies.
@usableFromInline
package struct Locked<State>: @unchecked Sendable {  // the state is touched only inside `withLock`
    @usableFromInline let box: LockedBox<State>

    @inlinable
    package init(_ initial: sending State) {
        box = LockedBox<State>.make(initial)
    }

    /// Runs `body` with the state and nobody else inside. Not recursive: taking it again on the same thread is a deadlock.
    @inlinable
    package func withLock<Result, Failure: Error>(_ body: (inout State) throws(Failure) -> Result) throws(Failure) -> Result {
        // The pointers stay good outside the closure: `self` keeps the box, and a box does not move.
        let (state, mutex) = box.withUnsafeMutablePointers { ($0, $1) }
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state.pointee)
    }
}

/// The state and its mutex, in one allocation that does not move.
@usableFromInline
final class LockedBox<State>: ManagedBuffer<State, pthread_mutex_t> {
    @inlinable
    static func make(_ initial: State) -> LockedBox<State> {
        let buffer = create(minimumCapacity: 1) { buffer in
            buffer.withUnsafeMutablePointerToElements { mutex in
                let failure = pthread_mutex_init(mutex, nil)
                precondition(failure == 0, "pthread_mutex_init failed: \(failure)")
            }
            return initial
        }
        // `create` makes an instance of the class it is called on.
        return unsafeDowncast(buffer, to: LockedBox<State>.self)
    }

    @inlinable
    deinit {
        withUnsafeMutablePointerToElements { _ = pthread_mutex_destroy($0) }
    }
}
