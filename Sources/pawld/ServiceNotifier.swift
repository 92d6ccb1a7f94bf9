import Glibc

/// Tells systemd how the service does: sd_notify(3), spoken directly. Does nothing where nobody asked (no NOTIFY_SOCKET).
final class ServiceNotifier {
    /// How often `WATCHDOG=1` is expected; nil when no watchdog is set for this process.
    let watchdogInterval: Duration?
    private let descriptor: Int32
    private var address: [UInt8]
    private var lastStatus = ""

    /// - Parameter environment: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are read.
    init(environment: [String: String], pid: Int32 = getpid()) {
        address = Self.address(of: environment["NOTIFY_SOCKET"] ?? "")
        descriptor = address.isEmpty ? -1 : socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if let microseconds = environment["WATCHDOG_USEC"].flatMap(Int64.init), microseconds > 0,
            environment["WATCHDOG_PID"].map({ Int32($0) == pid }) ?? true, descriptor >= 0
        {
            watchdogInterval = .microseconds(microseconds)
        } else {
            watchdogInterval = nil
        }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The first registration with every database is done.
    func ready(status: String) {
        lastStatus = status
        send("READY=1\nSTATUS=\(status)")
    }

    /// One line for `systemctl status`. The same one again is not sent.
    func status(_ text: String) {
        guard text != lastStatus else { return }
        lastStatus = text
        send("STATUS=\(text)")
    }

    /// A reload begins; `ready` ends it.
    func reloading() {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        send("RELOADING=1\nMONOTONIC_USEC=\(now.tv_sec * 1_000_000 + now.tv_nsec / 1000)")
    }

    func stopping(status: String) { send("STOPPING=1\nSTATUS=\(status)") }

    func feedWatchdog() { send("WATCHDOG=1") }

    private func send(_ message: String) {
        guard descriptor >= 0 else { return }
        let bytes = Array(message.utf8)
        address.withUnsafeBytes { address in
            // Nothing to be done about a failure: systemd sees no message, and acts on that.
            _ = sendto(
                descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL), address.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t(address.count))
        }
    }

    /// A sockaddr_un: a path, or with a leading `@` a name in the abstract namespace (which has a zero byte there, and no end mark). Empty if unusable.
    private static func address(of name: String) -> [UInt8] {
        var path = Array(name.utf8)
        guard path.count > 1, path[0] == UInt8(ascii: "/") || path[0] == UInt8(ascii: "@"), path.count < 108 else { return [] }
        let family = withUnsafeBytes(of: sa_family_t(AF_UNIX)) { Array($0) }
        if path[0] == UInt8(ascii: "@") { path[0] = 0 } else { path.append(0) }
        return family + path
    }
}
