internal import CPawlNote
public import CPawlPlugin

/// What the daemon hands to `pawl_plugin_register`: the table of its functions. Pass it on to ``Plugin/register(with:)``.
public typealias PluginHost = UnsafePointer<pawl_host>

/// The workflows that one shared library offers.
///
/// ```swift
/// let plugin = Plugin("shop") {
///     Workflow("ship_order", version: 2) { (workflow: WorkflowContext, order: Order) in
///         try await workflow.step("buy_label") { try await carrier.buyLabel(for: order) }
///     }
/// }
/// @c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
/// ```
public struct Plugin: Sendable {
    /// A name for people; it appears in the daemon's log.
    public let name: String
    /// What the plugin offers, in the order it was declared.
    public let workflows: [Workflow]

    /// Declares a plugin.
    public init(_ name: String, @WorkflowsBuilder workflows: () -> [Workflow]) {
        self.name = name
        self.workflows = workflows()
    }

    /// Offers the workflows to the daemon. Call it once, from `pawl_plugin_register`, and return what it returns: 0, or a refusal that the
    /// daemon reports.
    public func register(with host: PluginHost) -> Int32 {
        // Also keeps the ELF note in the library: see CPawlNote.
        _ = pawl_sdk_note()
        guard host.pointee.interface_version == UInt32(PAWL_INTERFACE_VERSION) else { return Refusal.interfaceVersion.rawValue }
        // Functions that came later are asked for where they are used.
        guard HostFunction.query.isOffered(by: host) else { return Refusal.olderHost.rawValue }
        for workflow in workflows {
            if let problem = workflow.register(with: host) {
                problem.withBytes { host.pointee.log(host.pointee.host, nil, WorkflowLog.Level.error.rawValue, $0) }
                return Refusal.workflow.rawValue
            }
        }
        return 0
    }

    /// What ``register(with:)`` returns instead of 0.
    enum Refusal: Int32 {
        /// The host speaks another version of the interface.
        case interfaceVersion = 1
        /// The host is older than this SDK and lacks functions that it needs.
        case olderHost = 2
        /// The host refused a workflow; the reason is in its log.
        case workflow = 3
    }
}

/// Collects the workflows of a ``Plugin``; `if`, `switch` and `for` work in it.
@resultBuilder
public enum WorkflowsBuilder {
    /// One workflow.
    public static func buildExpression(_ workflow: Workflow) -> [Workflow] { [workflow] }
    /// Several, made elsewhere.
    public static func buildExpression(_ workflows: [Workflow]) -> [Workflow] { workflows }
    /// All of them, in order.
    public static func buildBlock(_ parts: [Workflow]...) -> [Workflow] { parts.flatMap { $0 } }
    /// `if` without `else`.
    public static func buildOptional(_ part: [Workflow]?) -> [Workflow] { part ?? [] }
    /// The first branch.
    public static func buildEither(first part: [Workflow]) -> [Workflow] { part }
    /// The other branch.
    public static func buildEither(second part: [Workflow]) -> [Workflow] { part }
    /// `for`.
    public static func buildArray(_ parts: [[Workflow]]) -> [Workflow] { parts.flatMap { $0 } }
}
