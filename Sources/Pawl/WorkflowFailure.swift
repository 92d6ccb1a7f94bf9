internal import CPawlPlugin
public import FoundationEssentials

/// A failure in the form in which it is recorded: what a failed step throws, the first time as on every replay, and what a workflow ends with.
///
/// Throw one yourself to choose its ``code``, or throw any error of your own: its type and description are recorded, and if it is `Codable` its
/// contents too, so that ``as(_:)`` gives it back.
///
/// ```swift
/// do {
///     try await workflow.transaction("reserve") { … throw OutOfStock(sku: "lamp") … }
/// } catch let failure as WorkflowFailure {
///     if let outOfStock = failure.as(OutOfStock.self) { … }
/// }
/// ```
public struct WorkflowFailure: Error, Sendable, Hashable {
    /// A short stable word to branch on, such as `out_of_stock`; from PostgreSQL, the SQLSTATE.
    public let code: String
    /// The name of the error's type, or the part of Pawl or PostgreSQL that raised it.
    public let type: String
    /// A sentence for a person.
    public let message: String
    /// More, as JSON; of a `Codable` error, its contents.
    public let detail: Data?
    /// The full name of the step that failed; nil for one that did not come from a step.
    public let step: String?
    /// Which attempt of the step it was, from 1; nil if it did not come from a step.
    public let attempt: Int?
    /// The error beneath, as JSON, for ``cause``.
    let causeJSON: Data?

    init(code: String, type: String, message: String, detail: Data?, step: String? = nil, causeJSON: Data? = nil, attempt: Int? = nil) {
        self.code = code
        self.type = type
        self.message = message
        self.detail = detail
        self.step = step
        self.causeJSON = causeJSON
        self.attempt = attempt
    }

    /// A failure with a code of your own.
    public init(code: String, message: String) {
        self.init(code: code, type: "WorkflowFailure", message: message, detail: nil)
    }

    /// A failure with a code of your own and more about it.
    public init(code: String, message: String, detail: some Encodable) throws {
        self.init(code: code, type: "WorkflowFailure", message: message, detail: try PayloadCoding.encode(detail))
    }

    /// The error that was thrown, if it was a `Failure`; nil otherwise.
    public func `as`<Failure: Error & Decodable>(_ failure: Failure.Type) -> Failure? {
        guard let detail, type == WorkflowFailure.typeName(of: failure) else { return nil }
        return try? PayloadCoding.decode(failure, from: detail)
    }

    /// The error beneath: of a child workflow that failed, the error that it ended with.
    public var cause: WorkflowFailure? { causeJSON.flatMap { try? PayloadCoding.decode(RecordedFailure.self, from: $0).failure } }

    /// ``detail``, read as a value of your own type.
    public func detail<Value: Decodable>(as value: Value.Type) throws -> Value? {
        try detail.map { try PayloadCoding.decode(value, from: $0) }
    }

    /// The form in which `error` is recorded.
    init(recording error: any Error) {
        switch error {
        case let failure as WorkflowFailure:
            self = failure
        case is WorkflowCancelled:
            self.init(code: "cancelled", type: "WorkflowCancelled", message: "the workflow is being cancelled", detail: nil)
        case let misuse as WorkflowMisuse:
            self.init(code: misuse.code, type: "WorkflowMisuse", message: misuse.message, detail: nil)
        case let described as any CodedError:
            self.init(
                code: described.code, type: WorkflowFailure.typeName(of: Swift.type(of: error)), message: described.message,
                detail: WorkflowFailure.contents(of: error))
        default:
            let type = WorkflowFailure.typeName(of: Swift.type(of: error))
            self.init(
                code: WorkflowFailure.word(for: type), type: type, message: String(describing: error),
                detail: WorkflowFailure.contents(of: error))
        }
    }

    /// Without the module: two versions of a plugin in two modules mean the same error.
    private static func typeName(of type: any Error.Type) -> String { String(describing: type) }

    /// An error that cannot be encoded is still a failure; it only has no detail.
    private static func contents(of error: any Error) -> Data? {
        guard let encodable = error as? any Encodable else { return nil }
        return try? PayloadCoding.encode(encodable)
    }

    /// `OutOfStock` → `out_of_stock`, `HTTPError` → `http_error`.
    static func word(for typeName: String) -> String {
        let characters = Array(typeName.unicodeScalars)
        var word = ""
        for (index, character) in characters.enumerated() {
            guard character.properties.isUppercase else {
                word.unicodeScalars.append(character)
                continue
            }
            let afterLower = index > 0 && !characters[index - 1].properties.isUppercase && characters[index - 1] != "_"
            let beforeLower = index > 0 && index + 1 < characters.count && characters[index + 1].properties.isLowercase
            if (afterLower || beforeLower) && word.last != "_" && !word.isEmpty { word += "_" }
            word += character.properties.lowercaseMapping
        }
        return word
    }
}

extension WorkflowFailure: CustomStringConvertible {
    public var description: String { "\(message) (\(code))" }
}

/// An error that says with which code and message it is recorded.
public protocol CodedError: Error {
    /// A short stable word to branch on.
    var code: String { get }
    /// A sentence for a person.
    var message: String { get }
}

/// The run is over for the daemon (it is shutting down, or another worker has taken over): thrown by every call of the context, and not to be
/// handled. Whatever the handler still does is not recorded; the workflow goes on elsewhere.
///
/// It is not a `CancellationError`, so that code which handles that one does not swallow it.
public struct WorkflowStopped: Error, Sendable {
    init() {}
}

/// The workflow is being cancelled, or its deadline has passed: thrown by every call of the context from then on, except in compensations.
///
/// Let it leave the handler. However the handler ends, the workflow ends as cancelled (or as failed, reason `timeout`), after what was registered with
/// ``WorkflowContext/compensate(_:retry:attemptTimeout:_:)`` has run.
public struct WorkflowCancelled: Error, Sendable {
    init() {}
}

/// The handler broke a rule, such as a second call on a context that is busy, or a step whose recorded result is of another type.
public struct WorkflowMisuse: Error, Sendable, CustomStringConvertible {
    /// A short stable word.
    public let code: String
    /// What happened, to which step, and what to do.
    public let message: String
    public var description: String { "\(message) (\(code))" }

    init(code: String, message: String) {
        self.code = code
        self.message = message
    }
}

/// The form in which PostgreSQL keeps an error.
struct RecordedFailure: Decodable {
    let failure: WorkflowFailure

    private enum CodingKeys: String, CodingKey { case code, type, message, step, attempt, detail, cause }

    init(from decoder: any Decoder) throws {
        let members = try decoder.container(keyedBy: CodingKeys.self)
        func json(_ key: CodingKeys) throws -> Data? {
            try members.decodeIfPresent(JSONValue.self, forKey: key).map { try PayloadCoding.encode(sorted: $0) }
        }
        failure = WorkflowFailure(
            code: try members.decodeIfPresent(String.self, forKey: .code) ?? "", type: try members.decodeIfPresent(String.self, forKey: .type) ?? "",
            message: try members.decodeIfPresent(String.self, forKey: .message) ?? "", detail: try json(.detail),
            step: try members.decodeIfPresent(String.self, forKey: .step), causeJSON: try json(.cause),
            attempt: try members.decodeIfPresent(Int.self, forKey: .attempt))
    }
}
