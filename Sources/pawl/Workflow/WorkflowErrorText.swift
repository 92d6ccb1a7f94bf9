internal import FoundationEssentials
internal import PostgresStore

/// An error as workflows and steps record it, in one line.
struct WorkflowErrorText: Decodable {
    var code: String?
    var type: String?
    var message: String?
    var step: String?
    var attempt: Int?

    /// Nil if there is none, or none that may be read.
    init?(_ value: OperatorValue) {
        guard case .json(let text) = value, let decoded = try? JSONDecoder().decode(WorkflowErrorText.self, from: Data(text.utf8)) else { return nil }
        self = decoded
    }

    /// `card declined (CardDeclined, in step charge, attempt 3)`
    var sentence: String {
        var place: [String] = []
        if let kind = type == "pawl" ? code : type ?? code { place.append(kind) }
        if let step { place.append("in step \(step)") }
        if let attempt, attempt > 1 { place.append("attempt \(attempt)") }
        let said = message ?? "no message"
        return (place.isEmpty ? said : "\(said) (\(place.joined(separator: ", ")))").printable
    }
}
