internal import Glibc

/// Another program, run to its end.
enum ChildProcess {
    /// Where `execvp` would find it, or nil.
    static func find(_ name: String) -> String? {
        guard !name.contains("/") else { return access(name, X_OK) == 0 ? name : nil }
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }

    /// Runs it with this process's terminal, or with its output elsewhere. Returns its exit code; a signal is 128 and its number, as in a shell.
    static func run(_ program: String, _ arguments: [String], output: Int32? = nil) throws -> Int32 {
        try wait(for: spawn(program, arguments, output: output), program)
    }

    /// Runs it and returns what it wrote to its standard output, if it ended with 0.
    static func output(of program: String, _ arguments: [String]) throws -> [UInt8] {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw failure("cannot make a pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let child: pid_t
        do {
            defer { close(ends[1]) }
            child = try spawn(program, arguments, output: ends[1])
        }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(ends[0], &buffer, buffer.count)
            if count > 0 { output += buffer[..<count] } else if count == 0 || errno != EINTR { break }
        }
        let status = try wait(for: child, program)
        guard status == 0 else { throw CommandFailure("\(program) \(arguments.joined(separator: " ")) failed with exit code \(status)") }
        return output
    }

    private static func spawn(_ program: String, _ arguments: [String], output: Int32?) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let output { posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO) }
        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) }
        defer { words.forEach { free($0) } }
        words.append(nil)
        var child: pid_t = 0
        let code = posix_spawn(&child, program, &actions, nil, &words, environ)
        guard code == 0 else { throw CommandFailure("cannot start \(program): \(String(cString: strerror(code)))") }
        return child
    }

    private static func wait(for child: pid_t, _ program: String) throws -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 {
            guard errno == EINTR else { throw failure("lost track of \(program)") }
        }
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }

    private static func failure(_ what: String) -> CommandFailure { CommandFailure("\(what): \(String(cString: strerror(errno)))") }
}
