internal import Glibc

/// What there is to say about a plugin's file.
struct PluginReport {
    let file: String
    let isRefused = false

    var text: String {
        var status = stat()
        guard stat(file, &status) == 0 else { return "\(file): \(String(cString: strerror(errno)))" }
        return "\(file): \(status.st_size / 1_000_000).\(status.st_size / 100_000 % 10) MB"
    }
}
