/// How far long work has come, on standard error while that is a terminal.
struct ProgressBar {
    private let title: String
    private let total: Int
    private var done = 0

    init(_ title: String, total: Int) {
        self.title = title
        self.total = total
        draw()
    }

    mutating func advance(by count: Int) {
        done = min(done + count, total)
        draw()
    }

    /// Leaves the line as if nothing had been there.
    func end() { write("\r\u{1B}[K") }

    private func draw() {
        guard total > 0 else { return }
        let filled = 24 * done / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        write("\r\(title) \(bar) \(done.grouped) of \(total.grouped)")
    }

    private func write(_ text: String) {
        if Terminal.errorsAreTerminal { Terminal.writeError(text) }
    }
}
