internal import FoundationEssentials

/// JSON given on the command line: as it is, from `@file`, or from standard input as `-`.
enum PayloadArgument {
    static func read(_ argument: String) throws -> String {
        if argument == "-" { return try StandardInput.all() }
        guard argument.hasPrefix("@") else { return argument }
        let file = String(argument.dropFirst())
        guard let bytes = FileManager.default.contents(atPath: file) else { throw CommandFailure("\(file): cannot be read") }
        return String(decoding: bytes, as: UTF8.self)
    }
}
