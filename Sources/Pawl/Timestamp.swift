internal import FoundationEssentials

/// Dates as text: ISO 8601, and what PostgreSQL writes for its date and timestamp types.
enum Timestamp {
    /// 2001-01-01, in seconds since 1970.
    private static let referenceDate = 978_307_200

    /// `2026-11-21T10:32:16.123456Z`
    static func text(of date: Date) throws -> String {
        // From the date's own origin, in two parts: nothing is lost that a Date can hold.
        let interval = date.timeIntervalSinceReferenceDate
        // Years 1 to 9999: what has four digits.
        guard interval >= -63_113_904_000, interval < 252_423_993_599.999_998 else {
            throw WorkflowFailure(code: "bad_value", message: "a date outside of the years 1 to 9999 cannot be written")
        }
        let whole = interval.rounded(.down)
        let microseconds = Int(((interval - whole) * 1_000_000).rounded())
        let total = (Int(whole) + referenceDate) * 1_000_000 + microseconds
        let (days, inDay) = floorDivide(total, 86_400_000_000)
        let (year, month, day) = civil(days: days)
        let seconds = inDay / 1_000_000
        return "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))T\(digits(seconds / 3600, 2)):\(digits(seconds / 60 % 60, 2))"
            + ":\(digits(seconds % 60, 2)).\(digits(inDay % 1_000_000, 6))Z"
    }

    /// Takes `2026-11-21`, `2026-11-21T10:32`, `2026-11-21 10:32:16.123456+01:30` and the like; no offset means UTC. nil: something else.
    static func date(from text: String) -> Date? {
        var rest = Array(text.utf8)[...]
        func number(_ count: ClosedRange<Int>) -> Int? {
            var value = 0, taken = 0
            while taken < count.upperBound, let digit = rest.first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) {
                value = value * 10 + Int(digit - UInt8(ascii: "0"))
                rest = rest.dropFirst()
                taken += 1
            }
            return count.contains(taken) ? value : nil
        }
        func take(_ character: Character) -> Bool {
            guard let ascii = character.asciiValue, rest.first == ascii else { return false }
            rest = rest.dropFirst()
            return true
        }
        guard let year = number(4...6), take("-"), let month = number(2...2), take("-"), let day = number(2...2),
            (1...12).contains(month), (1...daysInMonth(month, of: year)).contains(day)
        else { return nil }
        var microseconds = 0
        var offset = 0
        if take("T") || take(" ") {
            guard let hour = number(2...2), take(":"), let minute = number(2...2), hour <= 24, minute < 60 else { return nil }
            var second = 0
            if take(":") {
                guard let whole = number(2...2), whole <= 60 else { return nil }
                second = whole
            }
            microseconds = (hour * 3600 + minute * 60 + second) * 1_000_000
            if take(".") {
                var scale = 100_000, any = false
                while let digit = number(1...1) {
                    microseconds += digit * scale
                    scale /= 10
                    any = true
                }
                guard any else { return nil }
            }
            if !take("Z") {
                let sign = take("+") ? 1 : take("-") ? -1 : 0
                if sign != 0 {
                    guard let hours = number(2...2) else { return nil }
                    var minutes = 0, seconds = 0
                    if take(":") || !rest.isEmpty {
                        guard let value = number(2...2) else { return nil }
                        minutes = value
                        if take(":") {
                            guard let value = number(2...2) else { return nil }
                            seconds = value
                        }
                    }
                    offset = sign * (hours * 3600 + minutes * 60 + seconds)
                }
            }
        }
        guard rest.isEmpty else { return nil }
        let total = days(year: year, month: month, day: day) * 86_400_000_000 + microseconds - offset * 1_000_000
        let (seconds, fraction) = floorDivide(total, 1_000_000)
        return Date(timeIntervalSinceReferenceDate: Double(seconds - referenceDate) + Double(fraction) / 1_000_000)
    }

    // The proleptic Gregorian calendar by arithmetic (Howard Hinnant, "chrono-compatible low-level date algorithms").

    private static func days(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = floorDivide(shifted, 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civil(days: Int) -> (year: Int, month: Int, day: Int) {
        let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func daysInMonth(_ month: Int, of year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func floorDivide(_ value: Int, _ divisor: Int) -> (quotient: Int, remainder: Int) {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    private static func digits(_ value: Int, _ count: Int) -> String {
        let text = String(value)
        return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
    }
}
