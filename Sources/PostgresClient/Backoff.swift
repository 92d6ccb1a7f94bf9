/// How long to wait before trying again: doubling from `first` to `cap`, each time a random part of it, never less than a tenth.
package struct Backoff: Sendable {
    package var first: UInt64
    package var cap: UInt64
    private var attempts = 0

    package init(firstNanoseconds: UInt64 = 50_000_000, capNanoseconds: UInt64 = 5_000_000_000) {
        first = firstNanoseconds
        cap = capNanoseconds
    }

    package mutating func reset() { attempts = 0 }

    package mutating func next(using generator: inout some RandomNumberGenerator) -> UInt64 {
        let ceiling = attempts < 32 ? min(cap, first << UInt64(attempts)) : cap
        attempts += 1
        return UInt64.random(in: ceiling / 10...ceiling, using: &generator)
    }

    package mutating func next() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return next(using: &generator)
    }
}
