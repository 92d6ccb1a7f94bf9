internal import CPawlPlugin
internal import WorkflowEngine

// Reading what a plugin hands over, and lending it what the host has. Nothing here keeps a pointer.

extension pawl_bytes {
    static var absent: pawl_bytes { pawl_bytes(data: nil, size: 0) }

    var buffer: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: data, count: data == nil ? 0 : size) }

    /// nil: absent.
    var copied: [UInt8]? { data == nil ? nil : [UInt8](buffer) }

    /// nil: absent, not UTF-8, or with a NUL in it.
    var text: String? {
        guard data != nil, !buffer.contains(0) else { return nil }
        return String(validating: buffer, as: UTF8.self)
    }

    /// The text with everything that is not text replaced by U+FFFD.
    var repairedText: String {
        if data == nil { return "" }
        if let text { return text }
        return String(String.UnicodeScalarView(String(decoding: buffer, as: UTF8.self).unicodeScalars.map { $0 == "\0" ? "\u{FFFD}" : $0 }))
    }
}

/// Where an empty text points: at something, because NULL would mean that there is none.
// Never written, never freed.
private nonisolated(unsafe) let nothing = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))

/// Lends a text for the length of `body`.
func withBytes<Result>(_ text: String, _ body: (pawl_bytes) -> Result) -> Result {
    var text = text
    return text.withUTF8 { body(pawl_bytes(data: $0.baseAddress.map { UnsafeRawPointer($0) } ?? nothing, size: $0.count)) }
}

/// Lends a text or its absence.
func withBytes<Result>(_ text: String?, _ body: (pawl_bytes) -> Result) -> Result {
    guard let text else { return body(.absent) }
    return withBytes(text, body)
}

/// Lends a payload or its absence.
func withBytes<Result>(_ payload: JSONBytes?, _ body: (pawl_bytes) -> Result) -> Result {
    guard let payload else { return body(.absent) }
    return payload.withUnsafeBytes { body(pawl_bytes(data: $0.baseAddress, size: $0.count)) }
}

extension UInt32 {
    /// The size that begins a struct made here.
    static func size<Struct>(of type: Struct.Type) -> UInt32 { UInt32(MemoryLayout<Struct>.size) }
}

extension WorkflowError {
    /// A call that broke a rule of the interface.
    static func misuse(_ message: String) -> WorkflowError { WorkflowError(code: "misuse", type: "pawl", message: message) }

    /// What a plugin gave, as far as its size says that it gave it. The ends of the members are asserted in CPawlPlugin's shim.c.
    init(_ pointer: UnsafePointer<pawl_error>?) {
        guard let pointer else {
            self.init(code: "error", type: "", message: "the handler failed and gave no error")
            return
        }
        let size = pointer.pointee.size
        self.init(
            code: size >= 24 ? pointer.pointee.code.repairedText : "", type: size >= 40 ? pointer.pointee.type.repairedText : "",
            message: size >= 56 ? pointer.pointee.message.repairedText : "", detail: size >= 72 ? pointer.pointee.detail.copied : nil,
            step: size >= 88 && pointer.pointee.step.data != nil ? pointer.pointee.step.repairedText : nil,
            cause: size >= 104 ? pointer.pointee.cause.copied : nil,
            attempt: size >= 108 && pointer.pointee.attempt > 0 ? pointer.pointee.attempt : nil)
    }
}

extension CallReceiver {
    init(_ completion: pawl_completion?, _ context: UnsafeMutableRawPointer?) {
        // A C function pointer is an address; `call` below turns it back.
        self.init(function: unsafeBitCast(completion, to: UnsafeRawPointer?.self), context: context)
    }

    /// Calls the plugin back, on this thread.
    func call(_ answer: CallAnswer) {
        // Made by the initializer above, and by nothing else.
        guard let completion = unsafeBitCast(function, to: pawl_completion?.self) else { return }
        switch answer {
        case .value(let value): CallReceiver.withResult(value) { completion(context, $0) }
        case .failure(let error): CallReceiver.withResult(pawl_status(PAWL_ERROR), error) { completion(context, $0) }
        case .misuse(let error): CallReceiver.withResult(pawl_status(PAWL_MISUSE), error) { completion(context, $0) }
        case .none: CallReceiver.withResult(pawl_status(PAWL_NONE)) { completion(context, $0) }
        case .cancelled: CallReceiver.withResult(pawl_status(PAWL_CANCELLED)) { completion(context, $0) }
        case .stopped: CallReceiver.withResult(pawl_status(PAWL_STOPPED)) { completion(context, $0) }
        case .execute: CallReceiver.withResult(pawl_status(PAWL_EXECUTE)) { completion(context, $0) }
        case .retry: CallReceiver.withResult(pawl_status(PAWL_RETRY)) { completion(context, $0) }
        }
    }

    /// Passes on an answer that was meant for it.
    func forward(_ result: UnsafePointer<pawl_result>) {
        // As in `call`.
        unsafeBitCast(function, to: pawl_completion?.self)?(context, result)
    }

    private static func withResult(_ value: JSONBytes, _ body: (UnsafePointer<pawl_result>) -> Void) {
        withBytes(value) { value in
            var result = pawl_result(size: .size(of: pawl_result.self), status: pawl_status(PAWL_OK), value: value, error: nil)
            body(&result)
        }
    }

    private static func withResult(_ status: pawl_status, _ body: (UnsafePointer<pawl_result>) -> Void) {
        var result = pawl_result(size: .size(of: pawl_result.self), status: status, value: .absent, error: nil)
        body(&result)
    }

    private static func withResult(_ status: pawl_status, _ error: WorkflowError, _ body: (UnsafePointer<pawl_result>) -> Void) {
        withBytes(error.code) { code in
            withBytes(error.type) { type in
                withBytes(error.message) { message in
                    withBytes(error.detail) { detail in
                        withBytes(error.step) { step in
                            withBytes(error.cause) { cause in
                                let error = pawl_error(
                                    size: .size(of: pawl_error.self), flags: 0, code: code, type: type, message: message, detail: detail,
                                    step: step, cause: cause, attempt: error.attempt ?? 0, reserved: 0)
                                withUnsafePointer(to: error) { error in
                                    var result = pawl_result(size: .size(of: pawl_result.self), status: status, value: .absent, error: error)
                                    body(&result)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// An outcome as a plugin hands it over.
enum PluginOutcome {
    case value(JSONBytes)
    /// `isFinal`: not to be retried.
    case failure(WorkflowError, isFinal: Bool)
    case cancelled
    case stopped
    case malformed(WorkflowError)

    private static let null = JSONBytes("null".utf8)

    /// Reads what lies within the struct's size; the ends of the members are asserted in CPawlPlugin's shim.c.
    init(_ pointer: UnsafePointer<pawl_result>?) {
        guard let pointer else {
            self = .malformed(.misuse("the outcome is NULL"))
            return
        }
        let size = pointer.pointee.size
        guard size >= 8 else {
            self = .malformed(.misuse("the outcome's size is \(size): set it to sizeof (pawl_result)"))
            return
        }
        switch Int(pointer.pointee.status) {
        case Int(PAWL_OK): self = .value((size >= 24 ? pointer.pointee.value.copied : nil) ?? PluginOutcome.null)
        case Int(PAWL_ERROR):
            let error = size >= 32 ? pointer.pointee.error : nil
            let flags = error.map { $0.pointee.size >= 8 ? $0.pointee.flags : 0 } ?? 0
            let final = UInt32(PAWL_ERROR_FINAL)
            guard flags & ~final == 0 else {
                self = .malformed(.misuse("the error has flags that this pawld does not know: \(flags); it knows PAWL_ERROR_FINAL (1)"))
                return
            }
            self = .failure(WorkflowError(error), isFinal: flags & final != 0)
        case Int(PAWL_CANCELLED): self = .cancelled
        case Int(PAWL_STOPPED): self = .stopped
        default: self = .malformed(.misuse("\(pointer.pointee.status) is not a status that an outcome can have"))
        }
    }

    /// As a run ends with it.
    var ofRun: RunOutcome {
        switch self {
        case .value(let value): .success(value)
        case .failure(let error, _): .failure(error, reason: error.code == "bad_input" ? "bad_input" : "error")
        case .malformed(let error): .failure(error, reason: "error")
        case .cancelled: .cancelled
        case .stopped: .stopped
        }
    }
}

extension RetryPolicy {
    /// What lies within the struct's size; the ends of the members are asserted in CPawlPlugin's shim.c.
    convenience init(_ pointer: UnsafePointer<pawl_retry>) {
        let size = pointer.pointee.size
        self.init(
            maxAttempts: size >= 8 ? pointer.pointee.max_attempts : 0, initialInterval: size >= 16 ? pointer.pointee.initial_interval : 0,
            maximumInterval: size >= 24 ? pointer.pointee.maximum_interval : 0, factor: size >= 48 ? pointer.pointee.factor : 0,
            attemptTimeout: size >= 32 ? pointer.pointee.attempt_timeout : 0, timeout: size >= 40 ? pointer.pointee.timeout : 0)
    }
}
