import CLibPQ
import Glibc

/// How to connect: the user's connection string, and what this program needs on top of it.
package struct ConnectionOptions: Sendable {
    /// Anything libpq takes: `host=a,b dbname=shop`, a URI, or empty for the PG* environment.
    package var connectionString: String
    /// Used unless the connection string names one.
    package var applicationName: String
    /// Settings of the session; RESET ALL returns to them.
    package var settings: [(name: String, value: String)]
    package var statements: [PreparedStatement]
    /// One text that, with the process id, tells this server process from all others (see `BackendIdentity`).
    package var identityQuery: String?

    package init(
        connectionString: String, applicationName: String = "pawld", settings: [(name: String, value: String)] = [],
        statements: [PreparedStatement] = [], identityQuery: String? = nil
    ) {
        self.connectionString = connectionString
        self.applicationName = applicationName
        self.settings = settings
        self.statements = statements
        self.identityQuery = identityQuery
    }

    /// What libpq is given: the user's words, then ours where the user was silent.
    func keywords() throws(PostgresError) -> [(keyword: String, value: String)] {
        guard !connectionString.utf8.contains(0) else {
            throw PostgresError(code: .badConnectionString, message: "the connection string contains a NUL")
        }
        var reason: UnsafeMutablePointer<CChar>?
        guard let parsed = PQconninfoParse(connectionString, &reason) else {
            // libpq's reason quotes the string, which may hold a password.
            PQfreemem(reason)
            throw PostgresError(
                code: .badConnectionString,
                message: "the connection string cannot be read: expected keyword=value pairs or a postgresql:// URI")
        }
        defer { PQconninfoFree(parsed) }
        var pairs: [(keyword: String, value: String)] = []
        var given: Set<String> = []
        var option = parsed
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                pairs.append((String(cString: keyword), String(cString: value)))
                given.insert(String(cString: keyword))
            }
            option += 1
        }
        func add(_ keyword: String, _ value: String, unlessEnvironment variable: String? = nil) {
            guard !given.contains(keyword), variable.map({ getenv($0) == nil }) ?? true else { return }
            pairs.append((keyword, value))
        }
        add("target_session_attrs", "read-write", unlessEnvironment: "PGTARGETSESSIONATTRS")
        add("fallback_application_name", applicationName)
        add("connect_timeout", "10", unlessEnvironment: "PGCONNECT_TIMEOUT")
        // A network that went away without a word is noticed in seconds, not in the kernel's quarter of an hour.
        add("keepalives_idle", "5")
        add("keepalives_interval", "2")
        add("keepalives_count", "3")
        add("tcp_user_timeout", "10000")
        pairs.removeAll { $0.keyword == "client_encoding" }
        pairs.append(("client_encoding", "UTF8"))
        if !settings.isEmpty {
            let theirs = pairs.first { $0.keyword == "options" }?.value ?? getenv("PGOPTIONS").map { String(cString: $0) } ?? ""
            pairs.removeAll { $0.keyword == "options" }
            let ours = settings.map { "-c \($0.name)=\($0.value.withBackslash(before: [" ", "\\"]))" }.joined(separator: " ")
            pairs.append(("options", theirs.isEmpty ? ours : "\(theirs) \(ours)"))
        }
        return pairs
    }

    /// Connects, prepares and verifies; blocks. `setting` names that the server's platform refuses are left out.
    func connect() throws(PostgresError) -> OpaquePointer {
        do throws(PostgresError) {
            return try connectOnce()
        } catch {
            // Not every platform can check whether the client is still there; it is a help, not a need.
            let optional = "client_connection_check_interval"
            guard settings.contains(where: { $0.name == optional }), error.message.contains(optional) else { throw error }
            var fewer = self
            fewer.settings.removeAll { $0.name == optional }
            return try fewer.connectOnce()
        }
    }

    private func connectOnce() throws(PostgresError) -> OpaquePointer {
        let pairs = try keywords()
        var keywords: [UnsafePointer<CChar>?] = pairs.map { UnsafePointer(strdup($0.keyword)) } + [nil]
        var values: [UnsafePointer<CChar>?] = pairs.map { UnsafePointer(strdup($0.value)) } + [nil]
        defer { for text in keywords + values { free(UnsafeMutablePointer(mutating: text)) } }
        guard let connection = PQconnectdbParams(&keywords, &values, 0) else {
            throw PostgresError(code: .cannotConnect, message: "out of memory")
        }
        guard PQstatus(connection) == CONNECTION_OK else {
            let error = PostgresError(connection: connection, code: .cannotConnect)
            PQfinish(connection)
            throw error
        }
        for statement in statements {
            let result = PQprepare(
                connection, statement.name, statement.sql, Int32(statement.parameterTypes.count), statement.parameterTypes)
            defer { PQclear(result) }
            guard let result, PQresultStatus(result) == PGRES_COMMAND_OK else {
                // A connection that goes away here was none: what libpq says of it has no SQLSTATE.
                let error =
                    result.map { PostgresError(result: $0, code: PQstatus(connection) == CONNECTION_BAD ? .cannotConnect : .server) }
                    ?? PostgresError(connection: connection, code: .cannotConnect)
                PQfinish(connection)
                throw error
            }
        }
        return connection
    }
}

extension String {
    /// With a backslash before each of these marks. By scalars: an accent that follows one makes another character of it.
    package func withBackslash(before marks: Set<Unicode.Scalar>) -> String {
        var text = ""
        for scalar in unicodeScalars {
            if marks.contains(scalar) { text.unicodeScalars.append("\\") }
            text.unicodeScalars.append(scalar)
        }
        return text
    }
}
