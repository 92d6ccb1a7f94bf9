/// Of this build; `pawl.workers` shows it.
enum Version {
    static let current = "0.1.0"
}
