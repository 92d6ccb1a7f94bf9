package import Foundation

/// A program that a test started; killed and reaped when the last reference to it goes.
package final class TestProcess {
    package enum Status: Equatable, Sendable {
        case exited(Int32)
        case signalled(Int32)
    }

    package let pid: pid_t
    private let capture: URL
    private var status: Status?

    /// Starts a program. Its standard output and error go to one file, in the order written.
    /// - Parameter environment: laid over this process's own.
    package init(_ path: String, _ arguments: [String] = [], environment: [String: String] = [:]) throws {
        let capture = FileManager.default.temporaryDirectory.appending(path: "pawl-process-\(UUID().uuidString).log")
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, capture.path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)

        // The same process group as the tests: whatever stops them stops it. Signals as a shell would leave them.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let argv = ([path] + arguments).map { strdup($0) } + [nil]
        let envp = merged.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
        guard code == 0 else { throw TestFailure("cannot start \(path): \(String(cString: strerror(code)))") }
        self.pid = pid
        self.capture = capture
    }

    deinit {
        if pollStatus() == nil {
            kill(pid, SIGKILL)
            var raw: Int32 = 0
            while waitpid(pid, &raw, 0) == -1 && errno == EINTR {}
        }
        try? FileManager.default.removeItem(at: capture)
    }

    /// Everything it wrote so far.
    package var output: String {
        (try? Data(contentsOf: capture)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    package var isRunning: Bool { pollStatus() == nil }

    /// Sends a signal: `SIGKILL`, `SIGSTOP`, `SIGCONT`, `SIGTERM`… Nothing happens to one that has ended.
    package func signal(_ number: Int32) {
        if pollStatus() == nil {
            kill(pid, number)
        }
    }

    /// Kills it and waits until it is gone.
    package func killNow() throws {
        signal(SIGKILL)
        _ = try waitBlocking(within: .seconds(20))
    }

    /// Waits for its end.
    package func wait(within limit: Duration = .seconds(60)) async throws -> Status {
        try await eventually("the end of process \(pid); its output:\n\(output)", within: limit) { !isRunning }
        guard let status else { throw TestFailure("process \(pid) has no status") }
        return status
    }

    package func waitBlocking(within limit: Duration) throws -> Status {
        let deadline = ContinuousClock.now + limit
        while true {
            if let status = pollStatus() { return status }
            guard ContinuousClock.now < deadline else { throw TestFailure("process \(pid) did not end within \(limit):\n\(output)") }
            usleep(2000)
        }
    }

    private func pollStatus() -> Status? {
        if let status { return status }
        var raw: Int32 = 0
        guard waitpid(pid, &raw, WNOHANG) == pid else { return nil }
        // WIFEXITED and friends are macros that Swift does not see.
        let signal = raw & 0x7f
        status = signal == 0 ? .exited((raw >> 8) & 0xff) : .signalled(signal)
        return status
    }
}
