/// Which server process serves a connection: enough to find it, and no other, from another session.
package struct BackendIdentity: Hashable, Sendable {
    package let processID: Int32
    /// Process ids are used again; with what the identity query of the options answered (the start of the process, say) it is this one.
    package let mark: String
}
