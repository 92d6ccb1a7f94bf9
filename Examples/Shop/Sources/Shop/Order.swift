/// The input of `ship_order`: a row of `orders`, as the trigger sends it.
struct Order: Codable, Sendable {
    var id: Int
    var sku: String
    var quantity: Int
    var customer: String
    var address: String
    /// Seconds in which the customer may still change his mind, and those in which a large order must be approved: not columns of the table, but members
    /// that `pawl.enqueue_workflow` may be given.
    var graceSeconds: Int?
    var approvalSeconds: Int?
}

/// The message, of topic `approval`, that decides about a large order:
/// `SELECT pawl.send_message('order-7', '{"approved": true, "by": "Ines"}', 'approval')`.
struct Approval: Codable, Sendable {
    var approved: Bool
    var by: String
}

/// What `ship_order` ends with.
struct Receipt: Codable, Sendable {
    var order: Int
    var carrier: String
    var trackingNumber: String
}
