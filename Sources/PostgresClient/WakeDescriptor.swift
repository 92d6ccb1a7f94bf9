import CLibPQ
import Glibc

/// Ends the wait of a thread, from any other.
package final class WakeDescriptor: Sendable {
    private let descriptor: Int32

    package init() {
        descriptor = pawl_eventfd(Int32(EFD_NONBLOCK))
        precondition(descriptor >= 0, "no descriptors left: errno \(errno)")
    }

    deinit { Glibc.close(descriptor) }

    /// The wait under way, or the next one, ends.
    package func signal() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    /// Forgets a signal.
    package func clear() {
        var counter: UInt64 = 0
        _ = read(descriptor, &counter, 8)
    }

    /// Waits for a signal, for input on `other` (-1: none), or for so long; nil is for ever.
    package func wait(nanoseconds: UInt64?, or other: Int32 = -1) {
        var waiting = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: other, events: Int16(POLLIN), revents: 0)]
        let milliseconds = nanoseconds.map { Int32(clamping: ($0 + 999_999) / 1_000_000) } ?? -1
        _ = poll(&waiting, 2, milliseconds)
        clear()
    }
}
