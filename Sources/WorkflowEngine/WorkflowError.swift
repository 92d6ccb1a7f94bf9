/// The error form of the SQL contract: `{"code", "type", "message", "step", "attempt", "detail", "cause"}`.
package struct WorkflowError: Error, Sendable, Equatable {
    /// A short stable word callers branch on; from Postgres, the SQLSTATE.
    package var code: String
    /// The type of the error in the handler's language, or the part of Pawl that raised it.
    package var type: String
    /// A sentence for a person. Never holds payloads or connection strings.
    package var message: String
    /// JSON, or nil.
    package var detail: JSONBytes?
    /// The full name of the step it happened in, or nil.
    package var step: String?
    /// JSON of the error beneath, or nil.
    package var cause: JSONBytes?
    /// Which attempt of the step it was, or nil.
    package var attempt: Int32?
    package init(
        code: String, type: String, message: String, detail: JSONBytes? = nil, step: String? = nil, cause: JSONBytes? = nil, attempt: Int32? = nil
    ) {
        self.code = code
        self.type = type
        self.message = message
        self.detail = detail
        self.step = step
        self.cause = cause
        self.attempt = attempt
    }
}
