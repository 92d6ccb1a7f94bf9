import Pawl

/// Orders of so many pieces and more wait for somebody to approve them.
let approvalQuantity = 100

/// Version 2 of `ship_order`: large orders are approved first, the carrier may be down for a while, and what an order that comes to nothing has taken is
/// given back.
/// Its steps have the names of version 1's, so an order that began there could also go on here.
let shipOrderWithApproval = Workflow("ship_order", version: 2) { (workflow: WorkflowContext, order: Order) in
    // The waits come first, while there is nothing to undo: an order that is cancelled now has left no trace.
    if order.quantity >= approvalQuantity {
        try await workflow.setEvent("stage", "waits for approval")
        let approval = try await workflow.receive(
            Approval.self, topic: "approval", timeout: .seconds(order.approvalSeconds ?? 3 * 24 * 3600), name: "approval")
        guard let approval, approval.approved else {
            try await workflow.transaction("mark_refused") { db in
                try await db.execute("UPDATE orders SET status = 'refused' WHERE id = $1", order.id)
            }
            throw NotApproved(order: order.id, refusedBy: approval?.by)
        }
        try await workflow.mergeAttributes(["approved_by": .string(approval.by)])
    }
    if let seconds = order.graceSeconds { try await workflow.sleep("grace", for: .seconds(seconds)) }

    do {
        try await workflow.transaction("reserve_stock", retry: .exponential(nonRetryable: ["out_of_stock"])) { db in
            let reserved = try await db.execute(
                "UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2 AND on_hand >= $1", order.quantity, order.sku)
            guard reserved == 1 else { throw OutOfStock(sku: order.sku, wanted: order.quantity) }
        }
    } catch let failure as WorkflowFailure where failure.as(OutOfStock.self) != nil {
        try await workflow.transaction("mark_out_of_stock") { db in
            try await db.execute("UPDATE orders SET status = 'out_of_stock' WHERE id = $1", order.id)
        }
        throw failure
    }

    // From here on, whatever ends this order before it is shipped gives the stock back. What was done last is undone first.
    workflow.compensate("release_stock") { db in
        try await db.execute("UPDATE stock SET on_hand = on_hand + $1 WHERE sku = $2", order.quantity, order.sku)
    }

    // A carrier that is down is asked again for some minutes.
    let key = workflow.workflowID
    let label = try await workflow.step(
        "buy_label", retry: .exponential(maxAttempts: 8, maximum: .minutes(1)), attemptTimeout: .seconds(30)
    ) {
        try await Carrier.buyLabel(for: order, idempotencyKey: key)
    }
    workflow.compensate("void_label") { try await Carrier.voidLabel(label.trackingNumber) }

    try await workflow.transaction("mark_shipped") { db in
        try await db.execute(
            "INSERT INTO shipments (order_id, carrier, tracking_number) VALUES ($1, $2, $3)", order.id, label.carrier, label.trackingNumber)
        try await db.execute("UPDATE orders SET status = 'shipped', shipped_at = now() WHERE id = $1", order.id)
    }
    return Receipt(order: order.id, carrier: label.carrier, trackingNumber: label.trackingNumber)
}

/// Nobody approved a large order in time, or somebody refused it.
struct NotApproved: Error, Codable, CustomStringConvertible {
    var order: Int
    var refusedBy: String?
    var description: String { refusedBy.map { "order \(order) was refused by \($0)" } ?? "nobody approved order \(order) in time" }
}
