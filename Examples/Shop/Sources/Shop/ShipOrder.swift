import Pawl

/// Reserves the stock, buys a label from the carrier, and marks the order as shipped.
let shipOrder = Workflow("ship_order") { (workflow: WorkflowContext, order: Order) in
    // Stock and checkpoint commit together: however often a crash interrupts this, the stock goes down once.
    do {
        // There will be no more stock in a second or two: so that failure is not worth another attempt.
        try await workflow.transaction("reserve_stock", retry: .exponential(nonRetryable: ["out_of_stock"])) { db in
            let reserved = try await db.execute(
                "UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2 AND on_hand >= $1", order.quantity, order.sku)
            guard reserved == 1 else { throw OutOfStock(sku: order.sku, wanted: order.quantity) }
        }
    } catch let failure as WorkflowFailure where failure.as(OutOfStock.self) != nil {
        // The failure is recorded, so a replay takes this path again.
        try await workflow.transaction("mark_out_of_stock") { db in
            try await db.execute("UPDATE orders SET status = 'out_of_stock' WHERE id = $1", order.id)
        }
        throw failure
    }

    // Another company's service. A crash between its answer and our checkpoint runs this again, so the call carries a key by which the
    // carrier knows the label it sold already.
    let key = workflow.workflowID
    let label = try await workflow.step("buy_label") {
        try await Carrier.buyLabel(for: order, idempotencyKey: key)
    }

    try await workflow.transaction("mark_shipped") { db in
        try await db.execute(
            "INSERT INTO shipments (order_id, carrier, tracking_number) VALUES ($1, $2, $3)", order.id, label.carrier, label.trackingNumber)
        try await db.execute("UPDATE orders SET status = 'shipped', shipped_at = now() WHERE id = $1", order.id)
    }
    return Receipt(order: order.id, carrier: label.carrier, trackingNumber: label.trackingNumber)
}

/// There is less on hand than the order wants. Codable, so that its contents are recorded with the failure.
struct OutOfStock: Error, Codable, CustomStringConvertible {
    var sku: String
    var wanted: Int
    var description: String { "there are not \(wanted) of \(sku) left" }
}
