import Foundation
import Testing

@testable import pawld

/// Every message is read back from a datagram socket of the test's own, as systemd would read it.
@Suite struct ServiceNotifierTests {
    final class Listener {
        let descriptor: Int32
        let name: String

        /// - Parameter name: a path, or `@…` in the abstract namespace.
        init(_ name: String) throws {
            self.name = name
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            var bytes = Array(name.utf8)
            if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            let size = socklen_t(2 + bytes.count + (bytes[0] == 0 ? 0 : 1))
            let bound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
            }
            try #require(bound == 0, "bind: \(String(cString: strerror(errno)))")
        }

        deinit {
            close(descriptor)
            if name.hasPrefix("/") { unlink(name) }
        }

        /// The next message that has arrived already (a datagram to a local socket is there when the sender returns); nil if none.
        func next() -> String? {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            return count >= 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
        }
    }

    @Test(arguments: ["/tmp/pawl-notify-\(UUID().uuidString)", "@pawl-notify-\(UUID().uuidString)"])
    func messagesArrive(_ name: String) throws {
        let listener = try Listener(name)
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": name])
        notifier.ready(status: "2 handlers")
        #expect(listener.next() == "READY=1\nSTATUS=2 handlers")
        notifier.status("2 handlers")
        #expect(listener.next() == nil)
        notifier.status("3 running")
        #expect(listener.next() == "STATUS=3 running")
        notifier.feedWatchdog()
        #expect(listener.next() == "WATCHDOG=1")
        notifier.stopping(status: "draining")
        #expect(listener.next() == "STOPPING=1\nSTATUS=draining")
    }

    @Test func aReloadCarriesTheMonotonicTime() throws {
        let listener = try Listener("@pawl-notify-\(UUID().uuidString)")
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": listener.name])
        notifier.reloading()
        let message = try #require(listener.next())
        let microseconds = try #require(message.firstMatch(of: #/^RELOADING=1\nMONOTONIC_USEC=([0-9]+)$/#).flatMap { Int($0.1) })
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        #expect((1...now.tv_sec * 1_000_000 + now.tv_nsec / 1000).contains(microseconds))
    }

    @Test func theWatchdogIsForThisProcessOrNobody() {
        let socket = ["NOTIFY_SOCKET": "@pawl-notify-nobody"]
        func interval(_ more: [String: String]) -> Duration? {
            ServiceNotifier(environment: socket.merging(more) { $1 }, pid: 42).watchdogInterval
        }
        #expect(interval(["WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "42"]) == .seconds(20))
        #expect(interval(["WATCHDOG_USEC": "20000000"]) == .seconds(20))
        #expect(interval(["WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "43"]) == nil)
        #expect(interval(["WATCHDOG_USEC": "x"]) == nil)
        #expect(interval([:]) == nil)
        #expect(ServiceNotifier(environment: ["WATCHDOG_USEC": "20000000"]).watchdogInterval == nil)
    }

    @Test(arguments: ["", "relative/path", "@", "/nobody/listens/here", "/" + String(repeating: "x", count: 200)])
    func withoutAListenerNothingHappens(_ name: String) {
        let notifier = ServiceNotifier(environment: ["NOTIFY_SOCKET": name])
        notifier.ready(status: "nobody hears this")
        notifier.feedWatchdog()
    }
}
