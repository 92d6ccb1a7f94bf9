import Foundation
import Pawl

/// The handlers of docs/handlers.md: the same lines, which DocumentationTests holds, to be run by it.
enum HandlerExamples {
    // What they are about.
    struct Order: Codable, Sendable {
        var id: Int
        var sku: String
        var quantity: Int
        var customer: String
        var total: Decimal
        var parcels: [Parcel]
    }
    struct Parcel: Codable, Sendable { var number: Int }
    struct Approval: Codable, Sendable { var desk: String }
    enum Carrier {
        struct Quote: Codable, Sendable { var cents: Int }
        static func quote(for order: Order) async throws -> Quote { Quote(cents: 1) }
        static func buyLabel(for parcel: Parcel) async throws -> String { "PT-\(parcel.number)" }
    }
    enum Mail { static func send(to: String, text: String) async throws {} }
    enum Model {
        static func answer(to question: String) -> AsyncThrowingStream<String, any Error> {
            AsyncThrowingStream { continuation in
                for token in ["a", "b"] { continuation.yield(token) }
                continuation.finish()
            }
        }
    }
    enum Bank {
        static func charge(_ amount: Decimal, idempotencyKey: String) async throws -> String { idempotencyKey }
        static func refund(_ payment: String) async throws {}
        static func check(_ customer: String) async throws {}
        static func exchangeRate() async throws -> Double { 1 }
        static func importPage(_ number: Int) async throws {}
    }
    // Of the page.

    static func steps(_ workflow: WorkflowContext, _ order: Order) async throws {
        let quote = try await workflow.step("quote") { try await Carrier.quote(for: order) }
        try await workflow.step("notify") { try await Mail.send(to: order.customer, text: "It costs \(quote.cents) cents.") }
    }

    static func steps2(_ workflow: WorkflowContext, _ order: Order) async throws {
        let key = "\(workflow.workflowID)/charge"
        let payment = try await workflow.step("charge") { try await Bank.charge(order.total, idempotencyKey: key) }
        workflow.log.info("charged: \(payment)")
    }

    static func tryingAgain(_ workflow: WorkflowContext, _ order: Order) async throws {
        let label = try await workflow.step(
            "buy_label", retry: .exponential(maxAttempts: 8, initial: .seconds(2), maximum: .minutes(5), nonRetryable: ["address_unknown"]),
            attemptTimeout: .seconds(20), timeout: .hours(1)
        ) {
            try await Carrier.buyLabel(for: order.parcels[0])
        }
        try await workflow.step("notify", retry: .never) { try await Mail.send(to: order.customer, text: "Your parcel is \(label).") }
    }

    static func tryingAgain2(_ workflow: WorkflowContext, _ order: Order) async throws {
        let monitor = workflow.monitor, progress = workflow.progress
        try await workflow.step("import") {
            for page in 1...10 where !monitor.isCancelled {
                try await Bank.importPage(page)
                try await progress.report(["page": page, "attempt": monitor.attempt])
            }
        }
    }

    static func transactions(_ workflow: WorkflowContext, _ order: Order) async throws {
        let left = try await workflow.transaction("reserve") { db in
            try await db.execute("UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2", order.quantity, order.sku)
            return try await db.queryRow("SELECT on_hand FROM stock WHERE sku = $1", order.sku, as: Int.self)
        }
        workflow.log.info("\(left ?? 0) left")
    }

    static func transactions2(_ workflow: WorkflowContext, _ order: Order) async throws {
        struct Line: Codable, Sendable {
            var sku: String
            var left: Int
            var arrivesAt: Date?
            enum CodingKeys: String, CodingKey { case sku, left = "on_hand", arrivesAt = "arrives_at" }
        }
        let low = try await workflow.query("low_stock", "SELECT sku, on_hand, arrives_at FROM stock WHERE on_hand < $1", 10, as: Line.self)
        for line in low { workflow.log.notice("\(line.left) of \(line.sku) left") }
    }

    static func transactions3(_ workflow: WorkflowContext, _ order: Order) async throws {
        try await workflow.transaction("note") { db in
            try await db.execute(
                "INSERT INTO notes (order_id, tags, body, at) VALUES ($1, $2, $3, $4)", order.id, ["fragile", "gift"], .json(order), Date())
        }
    }

    static func failures(_ workflow: WorkflowContext, _ order: Order) async throws {
        struct OutOfStock: Error, Codable {
            var sku: String
        }
        do {
            try await workflow.transaction("reserve", retry: .exponential(nonRetryable: ["out_of_stock"])) { db in
                let changed = try await db.execute("UPDATE stock SET on_hand = on_hand - 1 WHERE sku = $1 AND on_hand > 0", order.sku)
                if changed == 0 { throw OutOfStock(sku: order.sku) }
            }
        } catch let failure as WorkflowFailure {
            if let outOfStock = failure.as(OutOfStock.self) { workflow.log.notice("no \(outOfStock.sku) left") }
            throw failure
        }
    }

    static func sleepingMessagesEvents(_ workflow: WorkflowContext, _ order: Order) async throws {
        try await workflow.sleep("grace", for: .hours(1))
        guard let approval = try await workflow.receive(Approval.self, topic: "approval", timeout: .days(3)) else {
            throw WorkflowFailure(code: "not_approved", message: "Nobody approved the order in three days.")
        }
        try await workflow.send(to: approval.desk, "approved \(order.id)", topic: "news")
    }

    static func sleepingMessagesEvents2(_ workflow: WorkflowContext, _ order: Order) async throws {
        try await workflow.setEvent("stage", "packed")
        if let stage = try await workflow.getEvent(String.self, of: "order-7", key: "stage", timeout: .minutes(10)) {
            workflow.log.info("order 7 is \(stage)")
        }
    }

    static func streams(_ workflow: WorkflowContext, _ order: Order) async throws {
        let tokens = workflow.stream("tokens", of: String.self)
        try await workflow.step("write") {
            for try await token in Model.answer(to: order.sku) { try await tokens.emit(token) }
        }
        try await workflow.append("the end", to: tokens)
        try await workflow.close(tokens)
    }

    static func streams2(_ workflow: WorkflowContext, _ order: Order) async throws {
        for try await entry in workflow.readStream(String.self, of: "answer-7", key: "tokens") where entry.attempt == 1 {
            workflow.log.info("\(entry.position): \(entry.value)")
        }
    }

    static func childWorkflows(_ workflow: WorkflowContext, _ order: Order) async throws {
        var children: [ChildWorkflow<String>] = []
        for parcel in order.parcels {
            children.append(try await workflow.start("ship_parcel", parcel, returning: String.self))
        }
        let labels = try await workflow.all(children)
        workflow.log.info("bought \(labels.count) labels")
    }

    static func childWorkflows2(_ workflow: WorkflowContext, _ order: Order) async throws {
        struct OutOfStock: Error, Codable {
            var sku: String
        }
        let child = try await workflow.start("reserve", order, returning: Int.self)
        do {
            let left = try await workflow.result(of: child)
            workflow.log.info("\(left) left")
        } catch let failure as WorkflowFailure {
            guard let outOfStock = failure.as(OutOfStock.self) else { throw failure }
            workflow.log.notice("no \(outOfStock.sku), says \(failure.cause?.step ?? "the child")")
        }
    }

    static func workingInParallel(_ workflow: WorkflowContext, _ order: Order) async throws {
        let labels = try await workflow.parallel("label", order.parcels, id: { $0.number }, limit: 4) { branch, parcel in
            try await branch.step("buy") { try await Carrier.buyLabel(for: parcel) }
        }
        workflow.log.info("bought \(labels.count) labels")
    }

    static func workingInParallel2(_ workflow: WorkflowContext, _ order: Order) async throws {
        let left = workflow.branch("left"), right = workflow.branch("right")
        async let quote = left.step("quote") { try await Carrier.quote(for: order) }
        async let rate = right.step("rate") { try await Bank.exchangeRate() }
        let price = try await Double(quote.cents) * rate
        workflow.log.info("\(price)")
    }

    static func theFirstOfSeveral(_ workflow: WorkflowContext, _ order: Order) async throws {
        enum Decision { case approved(by: String), priced(cents: Int), late }
        let decision: Decision = try await workflow.race(
            "decision",
            .receive(Approval.self, topic: "approval") { .approved(by: $0.desk) },
            .step {
                try await Carrier.quote(for: order)
            } then: {
                .priced(cents: $0.cents)
            },
            .sleep(for: .days(3)) { .late })
        workflow.log.info("\(decision)")
    }

    static func undoing(_ workflow: WorkflowContext, _ order: Order) async throws {
        let payment = try await workflow.step("charge") { try await Bank.charge(order.total, idempotencyKey: "charge \(order.id)") }
        workflow.compensate("refund") { try await Bank.refund(payment) }
        try await workflow.transaction("reserve") { db in
            try await db.execute("UPDATE stock SET on_hand = on_hand - $1 WHERE sku = $2", order.quantity, order.sku)
        }
        workflow.compensate("release") { db in
            try await db.execute("UPDATE stock SET on_hand = on_hand + $1 WHERE sku = $2", order.quantity, order.sku)
        }
    }

    static func timeChanceAndOtherThingsThatDiffer(_ workflow: WorkflowContext, _ order: Order) async throws {
        let now = try await workflow.now()
        let reference = try await workflow.uuid()
        var random = try await workflow.random()
        let lucky = Int.random(in: 1...100, using: &random) == 100
        try await workflow.mergeAttributes(["reference": .string("\(reference)"), "lucky": .bool(lucky), "hold": .null])
        workflow.log.info("\(now)")
    }

    static func versions(_ workflow: WorkflowContext, _ order: Order) async throws {
        if try await workflow.patched("fraud_check") {
            try await workflow.step("check") { try await Bank.check(order.customer) }
        }
    }

    static let all: [(name: String, body: @Sendable (WorkflowContext, Order) async throws -> Void)] = [
        ("steps", steps),
        ("steps2", steps2),
        ("tryingAgain", tryingAgain),
        ("tryingAgain2", tryingAgain2),
        ("transactions", transactions),
        ("transactions2", transactions2),
        ("transactions3", transactions3),
        ("failures", failures),
        ("sleepingMessagesEvents", sleepingMessagesEvents),
        ("sleepingMessagesEvents2", sleepingMessagesEvents2),
        ("streams", streams),
        ("streams2", streams2),
        ("childWorkflows", childWorkflows),
        ("childWorkflows2", childWorkflows2),
        ("workingInParallel", workingInParallel),
        ("workingInParallel2", workingInParallel2),
        ("theFirstOfSeveral", theFirstOfSeveral),
        ("undoing", undoing),
        ("timeChanceAndOtherThingsThatDiffer", timeChanceAndOtherThingsThatDiffer),
        ("versions", versions),
    ]
}
