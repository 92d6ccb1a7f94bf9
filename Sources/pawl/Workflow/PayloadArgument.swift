internal import FoundationEssentials
internal import Glibc

/// JSON given on the command line: as it is, from `@file`, or from standard input as `-`.
enum PayloadArgument {
    static func read(_ argument: String) throws -> String {
        if argument == "-" { return try standardInput() }
        guard argument.hasPrefix("@") else { return argument }
        let file = String(argument.dropFirst())
        guard let bytes = FileManager.default.contents(atPath: file) else { throw CommandFailure("\(file): cannot be read") }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func standardInput() throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
            if count == 0 { break }
            if count > 0 { bytes += buffer[..<count] }
            if count < 0, errno != EINTR { throw CommandFailure("standard input cannot be read: \(String(cString: strerror(errno)))") }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
