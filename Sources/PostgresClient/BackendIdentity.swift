/// Which server process serves a connection: enough to find it, and no other, from another session.
package struct BackendIdentity: Hashable, Sendable {
    package let processID: Int32
    /// Process ids are used again; with the start of the process it is this one. Text form of `backend_start`.
    package let startedAt: String
}
