internal import CPawlPlugin
internal import FoundationEssentials

// The C interface in Swift's types. Everything crossing it is borrowed for the call, so everything kept is copied here.

/// `pawl_status`; C's anonymous enum arrives as several types.
enum PawlStatus {
    static let ok: pawl_status = 0
    static let execute: pawl_status = 1
    static let none: pawl_status = 2
    static let error: pawl_status = 3
    static let cancelled: pawl_status = 4
    static let stopped: pawl_status = 5
    static let misuse: pawl_status = 6
    static let retry: pawl_status = 7
    static let pending: pawl_status = 8
}

enum PawlScope {
    static let root: pawl_scope = 0
    static let invalid: pawl_scope = .max
}

enum PawlSize {
    static let result = UInt32(MemoryLayout<pawl_result>.size)
    static let error = UInt32(MemoryLayout<pawl_error>.size)
    static let retry = UInt32(MemoryLayout<pawl_retry>.size)
    static let stepOptions = UInt32(MemoryLayout<pawl_step_options>.size)
    static let transactionOptions = UInt32(MemoryLayout<pawl_transaction_options>.size)
}

/// Functions of the host that came after its first ones: the size that its table has if it offers them.
struct HostFunction: Sendable {
    let name: String
    private let offset: Int

    private init(_ name: String, _ offset: Int?) {
        self.name = name
        self.offset = offset ?? .max - MemoryLayout<UnsafeRawPointer>.size
    }

    /// The last of those that every host has.
    static let query = HostFunction("query", MemoryLayout<pawl_host>.offset(of: \.query))
    static let call = HostFunction("call", MemoryLayout<pawl_host>.offset(of: \.call))
    static let offer = HostFunction("offer", MemoryLayout<pawl_host>.offset(of: \.offer))
    static let emit = HostFunction("emit", MemoryLayout<pawl_host>.offset(of: \.emit))
    static let compensate = HostFunction("compensate", MemoryLayout<pawl_host>.offset(of: \.compensate))
    static let continueAsNew = HostFunction("continue_as_new", MemoryLayout<pawl_host>.offset(of: \.continue_as_new))
    static let closeBranch = HostFunction("close_branch", MemoryLayout<pawl_host>.offset(of: \.close_branch))
    static let isCancelled = HostFunction("is_cancelled", MemoryLayout<pawl_host>.offset(of: \.is_cancelled))
    static let attempt = HostFunction("attempt", MemoryLayout<pawl_host>.offset(of: \.attempt))

    func isOffered(by host: PluginHost) -> Bool { Int(host.pointee.size) >= offset + MemoryLayout<UnsafeRawPointer>.size }
}

extension pawl_bytes {
    var copiedData: Data {
        guard let data, size > 0 else { return Data() }
        return Data(bytes: data, count: size)
    }

    var copiedString: String {
        String(decoding: UnsafeRawBufferPointer(start: data, count: data == nil ? 0 : size), as: UTF8.self)
    }

    var copiedDataIfPresent: Data? { data == nil ? nil : copiedData }
    var copiedStringIfPresent: String? { data == nil ? nil : copiedString }
}

/// What `pawl_bytes` points to when it is empty but present.
// Safe: never written, and never read because the size is 0.
nonisolated(unsafe) private let emptyBytes = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))

extension String {
    func withBytes<Result>(_ body: (pawl_bytes) throws -> Result) rethrows -> Result {
        var copy = self
        return try copy.withUTF8 { try body(pawl_bytes(data: $0.baseAddress.map { UnsafeRawPointer($0) } ?? emptyBytes, size: $0.count)) }
    }
}

extension Data {
    func withBytes<Result>(_ body: (pawl_bytes) throws -> Result) rethrows -> Result {
        try withUnsafeBytes { try body(pawl_bytes(data: $0.baseAddress ?? emptyBytes, size: $0.count)) }
    }
}

/// The texts of SQL parameters as the host takes them.
func withParameterBytes<Result>(_ parameters: [String?], _ body: (UnsafePointer<pawl_bytes>?, Int) -> Result) -> Result {
    var texts: [UInt8] = []
    var ranges: [Range<Int>?] = []
    ranges.reserveCapacity(parameters.count)
    for parameter in parameters {
        guard let parameter else {
            ranges.append(nil)
            continue
        }
        let start = texts.count
        texts.append(contentsOf: parameter.utf8)
        ranges.append(start..<texts.count)
    }
    return texts.withUnsafeBytes { texts in
        let bytes = ranges.map { range in
            guard let range else { return pawl_bytes(data: nil, size: 0) }
            return pawl_bytes(data: texts.baseAddress.map { $0 + range.lowerBound } ?? emptyBytes, size: range.count)
        }
        return bytes.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
    }
}

/// What the host answered to a call.
struct HostReply: Sendable {
    var status: pawl_status
    var value: Data
    var failure: WorkflowFailure?

    init(_ result: pawl_result) {
        status = result.status
        value = result.value.copiedData
        failure = result.error.map { WorkflowFailure($0) }
    }
}

extension WorkflowFailure {
    init(_ error: UnsafePointer<pawl_error>) {
        // A host from before the later members has a smaller struct.
        let hasOrigin = error.pointee.size >= PawlSize.error
        self.init(
            code: error.pointee.code.copiedString, type: error.pointee.type.copiedString, message: error.pointee.message.copiedString,
            detail: error.pointee.detail.copiedDataIfPresent,
            step: hasOrigin && error.pointee.step.data != nil ? error.pointee.step.copiedString : nil,
            causeJSON: hasOrigin ? error.pointee.cause.copiedDataIfPresent : nil,
            attempt: hasOrigin && error.pointee.attempt > 0 ? Int(error.pointee.attempt) : nil)
    }

    /// Hands the failure over as a result with `PAWL_ERROR`. `isFinal`: a failed step is not to be tried again.
    func withResult<Result>(isFinal: Bool = false, _ body: (UnsafePointer<pawl_result>) -> Result) -> Result {
        code.withBytes { code in
            type.withBytes { type in
                message.withBytes { message in
                    (detail ?? Data()).withBytes { detailBytes in
                        (step ?? "").withBytes { stepBytes in
                            (causeJSON ?? Data()).withBytes { causeBytes in
                                var error = pawl_error(
                                    size: PawlSize.error, flags: isFinal ? UInt32(PAWL_ERROR_FINAL) : 0, code: code, type: type, message: message,
                                    detail: detail == nil ? pawl_bytes() : detailBytes, step: step == nil ? pawl_bytes() : stepBytes,
                                    cause: causeJSON == nil ? pawl_bytes() : causeBytes, attempt: Int32(clamping: attempt ?? 0), reserved: 0)
                                return withUnsafePointer(to: &error) { error in
                                    var result = pawl_result(
                                        size: PawlSize.result, status: PawlStatus.error, value: pawl_bytes(), error: error)
                                    return body(&result)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How a step came out, on its way to the host.
enum StepOutcome: Sendable {
    case success(Data)
    case failure(WorkflowFailure, isFinal: Bool)

    func withResult<Result>(_ body: (UnsafePointer<pawl_result>) -> Result) -> Result {
        switch self {
        case .success(let value):
            return value.withBytes { value in
                var result = pawl_result(size: PawlSize.result, status: PawlStatus.ok, value: value, error: nil)
                return body(&result)
            }
        case .failure(let failure, let isFinal):
            return failure.withResult(isFinal: isFinal, body)
        }
    }
}

/// Hands over a result that is only a status.
func withStatus<Result>(_ status: pawl_status, _ body: (UnsafePointer<pawl_result>) -> Result) -> Result {
    var result = pawl_result(size: PawlSize.result, status: status, value: pawl_bytes(), error: nil)
    return body(&result)
}

/// The completion of every asynchronous call: its context is the continuation itself.
func resumeContinuation(context: UnsafeMutableRawPointer?, result: UnsafePointer<pawl_result>?) {
    guard let context, let result else { return }
    // The other half of `callAsynchronously`.
    unsafeBitCast(context, to: UnsafeContinuation<HostReply?, Never>.self).resume(returning: HostReply(result.pointee))
}

extension HandlerRun {
    /// Makes an asynchronous call; `body` must hand `resumeContinuation` and the context to the host. Task cancellation does not touch it: the host
    /// answers a cancelled workflow.
    func callAsynchronously(
        _ body: (PluginHost, OpaquePointer, UnsafeMutableRawPointer) -> Void
    ) async throws -> HostReply {
        let reply = await withUnsafeContinuation { (continuation: UnsafeContinuation<HostReply?, Never>) in
            // An UnsafeContinuation is one pointer (unsafeBitCast traps if it ever is not), so no box has to be allocated per call.
            let context = unsafeBitCast(continuation, to: UnsafeMutableRawPointer.self)
            if call({ host, run in body(host, run, context) }) == nil { continuation.resume(returning: nil) }
        }
        guard let reply else { try await refuse() }
        return reply
    }

    /// Makes a call that answers at once with `PAWL_EXECUTE`, or by calling `resumeContinuation`, now or (after `PAWL_PENDING`) later.
    /// nil: execute.
    func begin(
        _ body: (PluginHost, OpaquePointer, UnsafeMutableRawPointer) -> pawl_status
    ) async throws -> HostReply? {
        let reply = await withUnsafeContinuation { (continuation: UnsafeContinuation<HostReply?, Never>) in
            // As in `callAsynchronously`.
            let context = unsafeBitCast(continuation, to: UnsafeMutableRawPointer.self)
            let status = call { host, run in body(host, run, context) }
            if status == nil { continuation.resume(returning: nil) }
            // The host calls the completion for everything else.
            if status == PawlStatus.execute { continuation.resume(returning: HostReply(status: PawlStatus.execute, value: Data(), failure: nil)) }
        }
        guard let reply else { try await refuse() }
        return reply.status == PawlStatus.execute ? nil : reply
    }

    /// An error that names what this host lacks.
    func require(_ function: HostFunction) throws {
        guard offers(function) else {
            throw WorkflowMisuse(
                code: "host_too_old",
                message: "this pawld is older than the SDK and has no function \"\(function.name)\"; update pawld, or build the plugin with its SDK")
        }
    }

    /// The value of a reply, or the error that the handler sees.
    func value(of reply: HostReply, call name: String, in scope: pawl_scope) async throws -> Data {
        switch reply.status {
        case PawlStatus.ok:
            return reply.value.isEmpty ? PayloadCoding.null : reply.value
        case PawlStatus.error:
            throw reply.failure ?? WorkflowFailure(code: "unknown", message: "\"\(name)\" failed, and the host gave no reason")
        case PawlStatus.cancelled:
            tellCancelled()
            throw WorkflowCancelled()
        case PawlStatus.stopped:
            try await stop()
        case PawlStatus.misuse where scope == PawlScope.invalid:
            throw WorkflowMisuse(
                code: "bad_branch",
                message: "\"\(name)\" was called in a branch whose name is not 1 to 128 bytes of text; give it another name")
        case PawlStatus.misuse:
            throw WorkflowMisuse(
                code: reply.failure?.code ?? "misuse", message: reply.failure?.message ?? "\"\(name)\" broke a rule of the host")
        default:
            throw WorkflowMisuse(
                code: "unknown_answer", message: "the host answered \"\(name)\" with status \(reply.status), which this SDK does not know")
        }
    }
}

extension HostReply {
    init(status: pawl_status, value: Data, failure: WorkflowFailure?) {
        self.status = status
        self.value = value
        self.failure = failure
    }
}
