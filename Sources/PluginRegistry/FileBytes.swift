internal import Glibc

/// A file's content in memory: what is checked is what is copied, whatever happens to the file meanwhile.
final class FileBytes {
    let buffer: UnsafeRawBufferPointer
    private let storage: UnsafeMutableRawBufferPointer

    /// Far above any plugin, far below what would trouble the machine.
    static let limit = 1 << 30

    private init(count: Int) {
        storage = .allocate(byteCount: count, alignment: 16)
        buffer = UnsafeRawBufferPointer(storage)
    }

    deinit { storage.deallocate() }

    static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    static func read(path: String) throws(PluginRefusal) -> FileBytes {
        let name = name(of: path)
        func unreadable(_ problem: String, _ cure: String) -> PluginRefusal { PluginRefusal(.unreadable, file: name, problem: problem, cure: cure) }
        // Non-blocking, so that a named pipe in the directory holds nothing up.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw unreadable("cannot be opened: \(systemMessage(errno))", "Make it readable for the user that runs pawld: \(path)")
        }
        defer { close(descriptor) }
        var facts = stat()
        guard fstat(descriptor, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else {
            throw unreadable("is not a file", "Move it out of the plugin directory.")
        }
        guard facts.st_size <= limit else {
            throw unreadable("is too large for a plugin: \(facts.st_size) bytes", "Move it out of the plugin directory.")
        }
        let bytes = FileBytes(count: Int(facts.st_size))
        var filled = 0
        while filled < bytes.storage.count {
            let count = Glibc.read(descriptor, bytes.storage.baseAddress! + filled, bytes.storage.count - filled)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                throw unreadable(
                    "could not be read whole: " + (count < 0 ? systemMessage(errno) : "it became shorter meanwhile"),
                    "Replace plugins by renaming a whole file over the old one, then reload.")
            }
            filled += count
        }
        return bytes
    }
}

/// `strerror` in a form that any thread may call.
func systemMessage(_ number: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        _ = strerror_r(number, buffer.baseAddress!, buffer.count)
        return String(cString: buffer.baseAddress!)
    }
}
