import PostgresClient

/// Why a database will not have this worker, as long as nobody changes something there; with the cure.
struct LifeRefusal: Equatable {
    let text: String

    /// nil: the error may pass by itself.
    init?(_ error: PostgresError) {
        switch (error.code, error.sqlState) {
        case (.badConnectionString, _):
            text = error.message
        case (.server, "3F000"), (.server, "42883"):
            text = "\(error.message). The extension is missing here, or is another version: CREATE EXTENSION pawl, or ALTER EXTENSION pawl UPDATE"
        case (.server, "42501"):
            text = "\(error.message). Let this role work: SELECT pawl.grant_access('the_role', 'work')"
        case (.server, "PW003"):
            text = [error.message, error.detail, error.hint].compactMap { $0 }.joined(separator: ". ")
        case (.server, _):
            // A life that was declared dead begins again under another name.
            guard !error.isTransient, error.sqlState?.hasPrefix("PW") != true else { return nil }
            text = [error.description, error.hint].compactMap { $0 }.joined(separator: ". ")
        case (.cannotConnect, _):
            // libpq hands no SQLSTATE over for a connection that failed; these messages are the server's, in the language of its lc_messages.
            guard let cure = Self.cures.first(where: { error.message.contains($0.words) })?.cure else { return nil }
            text = "\(error.message). \(cure)"
        default:
            return nil
        }
    }

    private static let cures: [(words: String, cure: String)] = [
        ("password authentication failed", "Mend the password or the user of the connection string"),
        ("no password supplied", "Give a password by PGPASSFILE or in the connection string"),
        ("Peer authentication failed", "Name the role like the system user, or map it in pg_ident.conf"),
        ("does not exist", "Make it, or mend the connection string"),
        ("no pg_hba.conf entry", "Let this host and role in by pg_hba.conf"),
    ]
}
