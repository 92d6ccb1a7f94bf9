import PostgresClient

/// For a person: what happened in the server's words, its detail, and the cure.
package struct OperatorError: Error, CustomStringConvertible {
    package enum Kind: Sendable {
        case failed
        /// What was named is not there.
        case notFound
        /// The user stopped it.
        case interrupted
    }

    package private(set) var kind = Kind.failed
    package let description: String
    /// Of what the server said.
    private(set) var sqlState: String?

    package init(_ description: String, _ kind: Kind = .failed) {
        self.kind = kind
        self.description = description
    }

    /// It as one of another kind.
    func of(_ kind: Kind) -> OperatorError {
        var error = self
        error.kind = kind
        return error
    }

    /// - Parameters:
    ///   - access: what a role needs for the statement.
    ///   - role: whose right it was; nil: there is no connection.
    init(_ error: PostgresError, access: OperatorAccess, role: String?) {
        let cure: String? =
            switch error.sqlState {
            case "3F000", "42883", "42P01", "42703":
                "The extension is missing in this database, or older than this program: CREATE EXTENSION pawl, or ALTER EXTENSION pawl UPDATE."
            case "42501":
                error.hint ?? "Let this role \(access.purpose): SELECT pawl.grant_access('\(role ?? "the_role")', '\(access.rawValue)')."
            default: error.hint
            }
        sqlState = error.sqlState
        if sqlState == "PW010" { kind = .notFound }
        description = [error.message, error.detail, cure].compactMap { $0 }.joined(separator: "\n")
    }
}

/// The accesses of `pawl.grant_access` that people need.
package enum OperatorAccess: String, Sendable {
    case enqueue, send, observe, inspect, operate

    var purpose: String {
        switch self {
        case .enqueue: "enqueue workflows"
        case .send: "send messages"
        case .observe: "look at workflows"
        case .inspect: "read payloads"
        case .operate: "operate"
        }
    }
}
