/// Times as texts, in the form that the durable calls take and exports have.
package enum RFC3339 {
    /// Microseconds since 1970-01-01T00:00:00Z. nil: it is no time with a zone.
    package static func parse(_ text: String) -> Int64? {
        let form = #/(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2})(?::?(\d{2}))?)/#
        guard let match = text.wholeMatch(of: form)?.output else { return nil }
        func number(_ part: Substring?) -> Int64 { part.flatMap { Int64($0) } ?? 0 }
        let (year, month, day) = (number(match.1), number(match.2), number(match.3))
        let (hour, minute, second) = (number(match.4), number(match.5), number(match.6))
        guard (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60 else { return nil }
        let fraction = String((match.7.map(String.init) ?? "").prefix(6))
        let microseconds = Int64(fraction + String(repeating: "0", count: 6 - fraction.count)) ?? 0
        let zone = (number(match.9) * 60 + number(match.10)) * (match.8 == "-" ? -60 : 60)
        let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone
        return seconds * 1_000_000 + microseconds
    }

    package static func text(_ instant: Int64) -> String {
        let day = Int64((Double(instant) / 86_400_000_000).rounded(.down))
        let rest = instant - day * 86_400_000_000
        // Howard Hinnant's civil_from_days.
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let date = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let seconds = rest / 1_000_000
        return "\(padded(year, 4))-\(padded(month))-\(padded(date))T\(padded(seconds / 3600)):\(padded(seconds / 60 % 60)):\(padded(seconds % 60))"
            + ".\(padded(rest % 1_000_000, 6))+00:00"
    }

    private static func padded(_ number: Int64, _ digits: Int = 2) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
