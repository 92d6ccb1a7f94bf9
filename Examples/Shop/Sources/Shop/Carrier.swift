/// Stands in for a carrier's web service: it takes a moment, and answers the same key with the same label.
enum Carrier {
    struct Label: Codable, Sendable {
        var carrier: String
        var trackingNumber: String
    }

    static func buyLabel(for order: Order, idempotencyKey: String) async throws -> Label {
        try await Task.sleep(for: .milliseconds(20))
        // FNV-1a: the same in every process, unlike Swift's own hashes.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in idempotencyKey.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash % 10_000_000_000)
        return Label(carrier: "Postal", trackingNumber: "PT" + String(repeating: "0", count: 10 - digits.count) + digits)
    }

    /// Gives the money back for a label that was not used; for one that is void already nothing happens.
    static func voidLabel(_ trackingNumber: String) async throws {
        try await Task.sleep(for: .milliseconds(20))
    }
}
