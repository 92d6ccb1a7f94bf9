extension Duration {
    /// That many minutes, of 60 seconds each.
    public static func minutes(_ minutes: some BinaryInteger) -> Duration { .seconds(Int64(minutes) * 60) }
    /// That many hours, of 60 minutes each.
    public static func hours(_ hours: some BinaryInteger) -> Duration { .seconds(Int64(hours) * 3600) }
    /// That many days of 24 hours each, whatever the calendar says.
    public static func days(_ days: some BinaryInteger) -> Duration { .seconds(Int64(days) * 86_400) }

    /// Whole microseconds, rounded up; as many as fit.
    var microseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let fraction = attoseconds / 1_000_000_000_000 + (attoseconds % 1_000_000_000_000 > 0 ? 1 : 0)
        let (sum, tooMuch) = whole.addingReportingOverflow(fraction)
        return tooMuch ? (seconds < 0 ? .min : .max) : sum
    }

    /// For an interval of which 0 would mean another: at least 1.
    var positiveMicroseconds: Int64 { Swift.max(1, microseconds) }

    /// `1.500000`: seconds, not negative.
    var secondsText: String {
        let microseconds = Swift.max(0, self.microseconds)
        let fraction = String(microseconds % 1_000_000)
        return "\(microseconds / 1_000_000)." + String(repeating: "0", count: 6 - fraction.utf8.count) + fraction
    }
}
