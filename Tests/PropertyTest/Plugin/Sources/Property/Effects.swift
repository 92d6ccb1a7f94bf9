import Glibc

/// What the bodies of steps do to the world outside: a line in a file.
enum Effects {
    private static let file = getenv("PAWL_PROPERTY_EFFECTS").map { open($0, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644) } ?? -1

    static func happen(_ effect: Int, of workflowID: String, _ what: String) {
        let line = Array("\(workflowID)\t\(effect)\t\(what)\n".utf8)
        precondition(write(file, line, line.count) == line.count, "PAWL_PROPERTY_EFFECTS cannot be written")
    }
}
