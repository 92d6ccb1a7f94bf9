internal import CPluginSupport
internal import Glibc

/// A child process with a pipe for its report, one for its output, and a deadline.
enum ProbeProcess {
    enum How: Equatable {
        case exit(Int32)
        case signal(Int32)
        case timedOut
    }

    struct End {
        var how: How
        var report: [UInt8]
        var output: [UInt8]

        /// The last line it printed that says something.
        var lastOutput: String? {
            String(decoding: output, as: UTF8.self).split(whereSeparator: \.isNewline).last { !$0.allSatisfy(\.isWhitespace) }.map { String($0.suffix(500)) }
        }
    }

    /// Why there is no child: an errno.
    struct SpawnError: Error { let number: Int32 }

    private static let reportLimit = 4 << 20, outputLimit = 64 << 10

    static func run(program: String, arguments: [String], deadline: Duration) throws(SpawnError) -> End {
        let report = try Pipe(), output = try Pipe()
        let child = try spawn(program, arguments, report: report, output: output)
        report.closeWriteEnd()
        output.closeWriteEnd()
        let clock = ContinuousClock()
        let until = clock.now + deadline
        var end = End(how: .timedOut, report: [], output: [])
        while true {
            // Whoever the child may have started can hold its pipes open: the child's own end is what counts, and it wakes nobody but us.
            if let how = reap(child) {
                end.how = how
                break
            }
            let left = until - clock.now
            guard left > .zero else { break }
            waitForData(report, output, milliseconds: Int32(min(left / .milliseconds(1), 20)) + 1)
            report.read(into: &end.report, limit: reportLimit)
            output.read(into: &end.output, limit: outputLimit)
        }
        if end.how == .timedOut {
            // The whole group, which is the child's own.
            kill(-child, SIGKILL)
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        }
        report.read(into: &end.report, limit: reportLimit)
        output.read(into: &end.output, limit: outputLimit)
        return end
    }

    private static func spawn(_ program: String, _ arguments: [String], report: Pipe, output: Pipe) throws(SpawnError) -> pid_t {
        // A crash here is an answer, not something to be looked into for seconds.
        var environment = ["SWIFT_BACKTRACE=enable=no"]
        var entry = environ
        while let variable = entry.pointee {
            let text = String(cString: variable)
            if !text.hasPrefix("SWIFT_BACKTRACE=") { environment.append(text) }
            entry += 1
        }
        let arguments = CStrings(arguments), variables = CStrings(environment)
        var child: pid_t = 0
        let failure = pawl_spawn_probe(program, arguments.pointer, variables.pointer, report.writeEnd, output.writeEnd, &child)
        guard failure == 0 else { throw SpawnError(number: failure) }
        return child
    }

    /// nil: it runs.
    private static func reap(_ child: pid_t) -> How? {
        var status: Int32 = 0
        guard waitpid(child, &status, WNOHANG) == child else { return nil }
        return status & 0x7f == 0 ? .exit(status >> 8 & 0xff) : .signal(status & 0x7f)
    }

    private static func waitForData(_ report: Pipe, _ output: Pipe, milliseconds: Int32) {
        // A pipe that ended is always readable, and would turn this wait into a busy one: poll skips negative descriptors.
        var descriptors = [
            pollfd(fd: report.ended ? -1 : report.readEnd, events: Int16(POLLIN), revents: 0),
            pollfd(fd: output.ended ? -1 : output.readEnd, events: Int16(POLLIN), revents: 0),
        ]
        poll(&descriptors, 2, milliseconds)
    }
}

/// A pipe whose read end never blocks.
private final class Pipe {
    let readEnd: Int32
    private(set) var writeEnd: Int32
    private(set) var ended = false

    init() throws(ProbeProcess.SpawnError) {
        var ends: [Int32] = [-1, -1]
        let failure = pawl_pipe(&ends)
        guard failure == 0 else { throw ProbeProcess.SpawnError(number: failure) }
        (readEnd, writeEnd) = (ends[0], ends[1])
        _ = fcntl(readEnd, F_SETFL, O_NONBLOCK)
    }

    deinit {
        closeWriteEnd()
        close(readEnd)
    }

    func closeWriteEnd() {
        guard writeEnd >= 0 else { return }
        close(writeEnd)
        writeEnd = -1
    }

    /// Appends what is there. Past the limit the rest is read and dropped, so that the child is not held up.
    func read(into bytes: inout [UInt8], limit: Int) {
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { buffer in
            while !ended {
                let count = Glibc.read(readEnd, buffer.baseAddress, buffer.count)
                if count < 0 && errno == EINTR { continue }
                if count == 0 { ended = true }
                guard count > 0 else { return }
                bytes.append(contentsOf: buffer[..<min(count, limit - bytes.count)])
            }
        }
    }
}

/// A NULL-terminated array of C strings.
private final class CStrings {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointer = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { pointer[index] = strdup(string) }
        pointer[count] = nil
    }

    deinit {
        for index in 0..<count { free(pointer[index]) }
        pointer.deallocate()
    }
}
