/// Of this build; `pawl.workers` shows it.
enum Version {
    static let current = "1.0.0"
}
