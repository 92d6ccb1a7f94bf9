internal import Glibc
internal import PostgresStore

/// What a person or a program gives on standard input, until Ctrl-C.
enum StandardInput {
    /// A line without its end; nil: there is none.
    static func line() throws -> String? {
        var bytes: [UInt8] = []
        let end = UInt8(ascii: "\n")
        while !bytes.contains(end) {
            let more = try read()
            if more.isEmpty { break }
            bytes += more
        }
        return bytes.isEmpty ? nil : String(decoding: bytes.prefix { $0 != end }, as: UTF8.self)
    }

    static func all() throws -> String {
        var bytes: [UInt8] = []
        while true {
            let more = try read()
            if more.isEmpty { return String(decoding: bytes, as: UTF8.self) }
            bytes += more
        }
    }

    /// Some of it; empty: that was all.
    private static func read() throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var waiting = [STDIN_FILENO, Interrupt.descriptor].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let ready = poll(&waiting, 2, -1)
            if ready > 0, waiting[1].revents != 0 { throw OperatorError("interrupted", .interrupted) }
            let count = ready < 0 ? -1 : Glibc.read(STDIN_FILENO, &buffer, buffer.count)
            if count >= 0 { return Array(buffer[..<count]) }
            guard errno == EINTR else { throw CommandFailure("standard input cannot be read: \(String(cString: strerror(errno)))") }
        }
    }
}
