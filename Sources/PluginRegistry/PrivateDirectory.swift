internal import CPluginSupport
internal import Glibc

/// Where plugins are loaded from: copies named by their content, in a directory that nobody else can write. A file that is loaded must
/// never change (that would be a crash), and the dynamic linker takes a path it knows for the library it knows.
struct PrivateDirectory {
    let path: String

    /// Makes the directory if there is none.
    init(path: String) throws(PluginRefusal) {
        self.path = path
        func refusal(_ problem: String, _ cure: String) -> PluginRefusal { PluginRefusal(.privateDirectory, file: path, problem: problem, cure: cure) }
        if mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw refusal("cannot be made: \(systemMessage(errno))", "Name a private directory that the user of pawld can make.")
        }
        var facts = stat()
        guard lstat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFDIR else {
            throw refusal("is not a directory", "Name another private directory, or remove what is there.")
        }
        guard facts.st_uid == geteuid(), facts.st_mode & 0o077 == 0 else {
            throw refusal(
                "is not private: it belongs to another user, or others can enter it", "Make it the property of pawld's user, with mode 0700.")
        }
        guard !pawl_is_noexec(path) else {
            throw refusal(
                "lies on a filesystem mounted noexec, from which nothing can be loaded (on Debian /run is one)",
                "Name a private directory under /var/lib or /var/cache.")
        }
    }

    /// Copies the content to a file named after it, unless it is there already, and answers that file's path.
    func copy(_ bytes: FileBytes, name: String) throws(PluginRefusal) -> String {
        let stem = name.hasSuffix(".so") ? String(name.dropLast(3)) : name
        let target = "\(path)/\(stem)-\(ContentHash.hex(bytes.buffer)).so"
        if let present = try? FileBytes.read(path: target), present.buffer.elementsEqualBytes(bytes.buffer) { return target }
        let temporary = "\(target).\(getpid())"
        func refusal(_ number: Int32) -> PluginRefusal {
            PluginRefusal(
                .privateDirectory, file: name, problem: "cannot be copied to \(path): \(systemMessage(number))",
                cure: "Make room there, or name another private directory.")
        }
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o500)
        guard descriptor >= 0 else { throw refusal(errno) }
        var written = 0
        while written < bytes.buffer.count {
            let count = write(descriptor, bytes.buffer.baseAddress! + written, bytes.buffer.count - written)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else {
                let number = errno
                close(descriptor)
                unlink(temporary)
                throw refusal(number)
            }
            written += count
        }
        close(descriptor)
        // Never written in place: whoever has the old file mapped keeps it.
        guard rename(temporary, target) == 0 else { throw refusal(errno) }
        return target
    }
}

/// Names a content. Copies are compared byte by byte, so it only has to tell apart, not to withstand.
enum ContentHash {
    static func hex(_ bytes: UnsafeRawBufferPointer) -> String {
        var first: UInt64 = 0x9e37_79b9_7f4a_7c15 ^ UInt64(bytes.count)
        var second: UInt64 = 0xc2b2_ae3d_27d4_eb4f
        func mix(_ word: UInt64) {
            first = (first ^ word) &* 0x1000_0000_01b3_5bd1
            first ^= first >> 29
            second = (second &+ word) &* 0xff51_afd7_ed55_8ccd
            second ^= second >> 32
        }
        var offset = 0
        while offset + 8 <= bytes.count {
            mix(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        while offset < bytes.count {
            mix(UInt64(bytes[offset]))
            offset += 1
        }
        mix(UInt64(bytes.count))
        return [first, second].map { word in
            let text = String(word, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func elementsEqualBytes(_ other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count else { return false }
        guard let mine = baseAddress, let others = other.baseAddress else { return true }
        return memcmp(mine, others, count) == 0
    }
}
