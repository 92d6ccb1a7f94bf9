import Foundation

/// A socket between a client and the server that loses answers on purpose: it forwards what it is told to look for, waits until the server has
/// answered, and then cuts the connection without handing the answer on. What was committed stays committed, and the client does not know.
package final class FaultProxy: @unchecked Sendable {  // `rules` and what belongs to it are under `lock`; the connections are the thread's
    package enum Moment: Sendable {
        /// The server never sees the message.
        case beforeItArrives
        /// The server has been sent the message and the Sync after it, and is at work.
        case onceItIsSent
        /// The server has answered everything up to the next ReadyForQuery; the client gets none of it.
        case afterItIsAnswered
    }

    private struct Rule {
        var moment: Moment
        var pattern: [UInt8]
        var times: Int
    }

    private let lock = NSLock()
    private var rules: [Rule] = []
    private var cutCount = 0
    private var refuses = false
    private var cutsAll = false
    private var stopping = false

    private let directory: URL
    private let upstream: String
    private let user: String
    private let listener: Int32
    private let wake: [Int32]
    private var links: [Link] = []
    private static let port = 6543

    package init(to cluster: TestCluster) throws {
        // Socket paths have at most 107 bytes.
        directory = URL(filePath: "/tmp/pawl-proxy-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        upstream = "\(cluster.socketDirectory)/.s.PGSQL.\(cluster.port)"
        user = cluster.user
        var pipe: [Int32] = [0, 0]
        guard Glibc.pipe(&pipe) == 0 else { throw TestFailure("no pipe") }
        wake = pipe
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let bound = Self.withAddress(directory.appending(path: ".s.PGSQL.\(Self.port)").path) { bind(listener, $0, $1) }
        guard bound == 0, listen(listener, 64) == 0 else { throw TestFailure("the proxy cannot listen: \(String(cString: strerror(errno)))") }
        let thread = Thread { [self] in run() }
        thread.name = "fault-proxy"
        thread.start()
    }

    /// What libpq takes to come through here.
    package func connectionString(database: String, user: String? = nil) -> String {
        "host=\(directory.path) port=\(Self.port) user=\(user ?? self.user) dbname=\(database)"
    }

    /// Cuts the next so many connections that send a message with `pattern` in it: a prepared statement's name, `COMMIT`.
    package func cut(_ moment: Moment, on pattern: String, times: Int = 1) {
        lock.withLock { rules.append(Rule(moment: moment, pattern: Array(pattern.utf8), times: times)) }
    }

    /// How many connections were cut by a rule.
    package var cuts: Int { lock.withLock { cutCount } }

    /// Cuts all connections and takes no new ones until told otherwise: what a server that is down looks like.
    package func setDown(_ down: Bool) {
        lock.withLock { refuses = down }
        poke()
    }

    /// Cuts all connections, as they are; new ones are taken at once.
    package func cutAll() {
        lock.withLock { cutsAll = true }
        poke()
    }

    package func stop() {
        lock.withLock { stopping = true }
        poke()
    }

    private func poke() {
        var byte: UInt8 = 0
        _ = write(wake[1], &byte, 1)
    }

    // MARK: The thread

    private final class Link {
        let client: Int32
        let server: Int32
        var toServer: [UInt8] = []
        var toClient: [UInt8] = []
        /// Bytes of the client not parsed yet.
        var fromClient: [UInt8] = []
        var fromServer: [UInt8] = []
        var hasStarted = false
        /// ReadyForQuery messages: asked for, and seen.
        var asked = 1
        var seen = 0
        /// Cut when this many were seen.
        var doom: Int?
        /// Cut when the next Sync has been forwarded.
        var endsAtSync = false
        var isSevered = false
        /// Nothing goes to the client any more: the answer to come is the lost one.
        var isMute: Bool { doom.map { seen >= $0 - 1 } ?? false }

        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }
    }

    private func run() {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let (stopping, refuses, cutsAll) = lock.withLock {
                defer { self.cutsAll = false }
                return (self.stopping, self.refuses, self.cutsAll)
            }
            if stopping || refuses || cutsAll {
                for link in links { close(link) }
                links = []
            }
            if stopping { break }
            var waiting = [
                pollfd(fd: wake[0], events: Int16(POLLIN), revents: 0), pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
            ]
            for link in links {
                waiting.append(pollfd(fd: link.client, events: Int16(POLLIN | (link.toClient.isEmpty ? 0 : POLLOUT)), revents: 0))
                waiting.append(pollfd(fd: link.server, events: Int16(POLLIN | (link.toServer.isEmpty ? 0 : POLLOUT)), revents: 0))
            }
            guard poll(&waiting, nfds_t(waiting.count), -1) > 0 else { continue }
            if waiting[0].revents != 0 { _ = read(wake[0], &buffer, buffer.count) }
            let present = links
            var dead: Set<Int32> = []
            for (index, link) in present.enumerated() {
                if !serve(link, waiting[2 + 2 * index].revents, waiting[3 + 2 * index].revents, &buffer) {
                    dead.insert(link.client)
                    close(link)
                }
            }
            links.removeAll { dead.contains($0.client) }
            if waiting[1].revents != 0 { accept(refuses: refuses) }
        }
        Glibc.close(listener)
        try? FileManager.default.removeItem(at: directory)
    }

    private func close(_ link: Link) {
        Glibc.close(link.client)
        Glibc.close(link.server)
    }

    private func accept(refuses: Bool) {
        let client = Glibc.accept(listener, nil, nil)
        guard client >= 0 else { return }
        guard !refuses else {
            Glibc.close(client)
            return
        }
        let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard Self.withAddress(upstream, { connect(server, $0, $1) }) == 0 else {
            Glibc.close(client)
            Glibc.close(server)
            return
        }
        for descriptor in [client, server] { _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) }
        links.append(Link(client: client, server: server))
    }

    /// False: the link has ended.
    private func serve(_ link: Link, _ client: Int16, _ server: Int16, _ buffer: inout [UInt8]) -> Bool {
        if client & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
            let count = read(link.client, &buffer, buffer.count)
            guard count > 0 else { return count < 0 && errno == EAGAIN }
            link.fromClient.append(contentsOf: buffer[0..<count])
            guard forward(link) else { return false }
        }
        if server & Int16(POLLIN | POLLHUP | POLLERR) != 0 {
            let count = read(link.server, &buffer, buffer.count)
            guard count > 0 else { return count < 0 && errno == EAGAIN }
            link.fromServer.append(contentsOf: buffer[0..<count])
            guard answer(link) else { return false }
        }
        guard drain(&link.toServer, link.server) else { return false }
        if link.isSevered { return !link.toServer.isEmpty }
        return drain(&link.toClient, link.client)
    }

    /// Whole messages from the client; looks for patterns and counts what will be answered by ReadyForQuery.
    private func forward(_ link: Link) -> Bool {
        var start = 0
        let bytes = link.fromClient
        while true {
            let header = link.hasStarted ? 1 : 0
            guard bytes.count - start >= header + 4 else { break }
            let length = (0..<4).reduce(0) { $0 << 8 | Int(bytes[start + header + $1]) } + header
            guard bytes.count - start >= length else { break }
            let message = bytes[start..<start + length]
            if link.hasStarted, link.doom == nil, !link.endsAtSync, let moment = match(message) {
                switch moment {
                case .beforeItArrives: return false
                case .onceItIsSent: link.endsAtSync = true
                case .afterItIsAnswered: link.doom = link.asked + 1
                }
            }
            if link.hasStarted, message.first == UInt8(ascii: "S") || message.first == UInt8(ascii: "Q") { link.asked += 1 }
            link.hasStarted = true
            link.toServer.append(contentsOf: message)
            start += length
            if link.endsAtSync, message.first == UInt8(ascii: "S") {
                link.isSevered = true
                break
            }
        }
        link.fromClient.removeFirst(start)
        return true
    }

    private func match(_ message: ArraySlice<UInt8>) -> Moment? {
        lock.withLock {
            for (index, rule) in rules.enumerated() where message.firstRange(of: rule.pattern) != nil {
                cutCount += 1
                rules[index].times -= 1
                if rules[index].times == 0 { rules.remove(at: index) }
                return rule.moment
            }
            return nil
        }
    }

    /// Whole messages from the server; ends the link with the answer that is to be lost.
    private func answer(_ link: Link) -> Bool {
        var start = 0
        let bytes = link.fromServer
        while bytes.count - start >= 5 {
            let length = (0..<4).reduce(0) { $0 << 8 | Int(bytes[start + 1 + $1]) } + 1
            guard bytes.count - start >= length else { break }
            let isReady = bytes[start] == UInt8(ascii: "Z")
            if !link.isMute { link.toClient.append(contentsOf: bytes[start..<start + length]) }
            if isReady { link.seen += 1 }
            start += length
            if isReady, let doom = link.doom, link.seen >= doom { return false }
        }
        link.fromServer.removeFirst(start)
        return true
    }

    private func drain(_ bytes: inout [UInt8], _ descriptor: Int32) -> Bool {
        while !bytes.isEmpty {
            let count = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            if count < 0 { return errno == EAGAIN }
            bytes.removeFirst(count)
        }
        return true
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
