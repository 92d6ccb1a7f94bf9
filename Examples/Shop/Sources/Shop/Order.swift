/// The input of `ship_order`: a row of `orders`, as the trigger sends it.
struct Order: Codable, Sendable {
    var id: Int
    var sku: String
    var quantity: Int
    var customer: String
    var address: String
}

/// What `ship_order` ends with.
struct Receipt: Codable, Sendable {
    var order: Int
    var carrier: String
    var trackingNumber: String
}
