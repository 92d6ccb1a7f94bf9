internal import Glibc

/// A file that a command was told to write: all of it, or as it was.
enum OutputFile {
    /// - Parameter mode: of a new file, as far as the umask allows it.
    static func write(_ bytes: [UInt8], to path: String, mode: mode_t = 0o666) throws {
        var status = stat()
        // A device or a pipe stays what it is, and a link that leads nowhere leads to the new file.
        if stat(path, &status) == 0 ? status.st_mode & S_IFMT != S_IFREG : lstat(path, &status) == 0 {
            let device = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode)
            guard device >= 0, put(bytes, into: device) else { throw failure(path) }
            return
        }
        // By renaming: whoever has the old file open keeps it whole. A link goes on leading to it.
        let file = resolved(path)
        let temporary = "\(file).\(UInt32.random(in: .min ... .max))"
        let new = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard new >= 0 else { throw failure(path) }
        guard put(bytes, into: new), rename(temporary, file) == 0 else {
            let error = failure(path)
            unlink(temporary)
            throw error
        }
    }

    private static func put(_ bytes: [UInt8], into file: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                let number = errno
                close(file)
                errno = number
                return false
            }
        }
        return close(file) == 0
    }

    private static func resolved(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static func failure(_ path: String) -> CommandFailure {
        CommandFailure("cannot write \(path): \(String(cString: strerror(errno)))")
    }
}
