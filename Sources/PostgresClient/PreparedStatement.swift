/// A statement that every connection of a kind prepares when it connects.
package struct PreparedStatement: Sendable {
    package let name: String
    package let sql: String
    /// OIDs; empty: the server infers them.
    package let parameterTypes: [UInt32]

    package init(name: String, sql: String, parameterTypes: [UInt32] = []) {
        self.name = name
        self.sql = sql
        self.parameterTypes = parameterTypes
    }
}
