import PostgresClient

/// The history of one workflow, as an operator takes it out of a database.
package enum WorkflowExport {
    /// For a person: the server's words, and the cure where there is one.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        init(_ error: PostgresError) {
            let cure: String? =
                switch error.sqlState {
                case "3F000", "42883":
                    "The extension is missing in this database, or older than this program: CREATE EXTENSION pawl, or ALTER EXTENSION pawl UPDATE."
                case "42501": "Let this role read payloads: SELECT pawl.grant_access('the_role', 'inspect')."
                default: error.hint
                }
            description = [error.message, error.detail, cure].compactMap { $0 }.joined(separator: "\n")
        }
    }

    /// The JSON of `pawl.export_workflow`. Blocks.
    package static func json(of workflowID: String, connectionString: String) throws(Failure) -> String {
        do throws(PostgresError) {
            let connection = try BlockingConnection(
                ConnectionOptions(connectionString: connectionString, applicationName: "pawl", statements: [ExportWorkflowStatement.prepared]))
            return try ExportWorkflowStatement.decode(
                ExportWorkflowStatement(workflowID: workflowID).run(on: connection, timeoutNanoseconds: 60_000_000_000))
        } catch {
            throw Failure(error)
        }
    }
}

struct ExportWorkflowStatement: StoreStatement {
    let workflowID: String

    // As text: it is written out, not read.
    static let prepared = PreparedStatement(name: "pawl_export", sql: "SELECT pawl.export_workflow($1::text)::text")

    func bind(_ parameters: inout ParameterBuffer) { parameters.add(workflowID) }

    static func decode(_ result: PostgresResult) throws(PostgresError) -> String {
        guard result.rowCount == 1, !result.isNull(0, 0) else {
            throw PostgresError(code: .server, message: "export_workflow answered \(result.rowCount) rows")
        }
        return result.string(0, 0)
    }
}
