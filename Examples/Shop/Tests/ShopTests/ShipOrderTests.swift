import Pawl
import PawlTesting
import Synchronization
import Testing

@testable import Shop

/// `ship_order` without PostgreSQL and without the carrier. What the SQL does is for PostgreSQL to show: `make run`.
@Suite struct ShipOrderTests {
    let order = Order(id: 7, sku: "lamp", quantity: 2, customer: "Ada", address: "1 Engine Row")
    let label = Carrier.Label(carrier: "Postal", trackingNumber: "PT42")

    @Test func anOrderIsShipped() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { _ in .affected(1) }
        test.stub("buy_label", returning: label)
        let receipt = try await test.run("ship_order", input: order, id: "order-7", as: Receipt.self)
        #expect(receipt.trackingNumber == "PT42")
        #expect(test.workflow("order-7")?.steps.map(\.name) == ["reserve_stock", "buy_label", "mark_shipped"])
    }

    @Test func thereIsNotEnough() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { call in .affected(call.sql.hasPrefix("UPDATE stock") ? 0 : 1) }
        let workflow = try await test.start("ship_order", input: order)
        #expect(workflow.failure?.as(OutOfStock.self)?.wanted == 2)
        #expect(workflow.steps.map(\.name) == ["reserve_stock", "mark_out_of_stock"])
    }

    @Test func theCarrierIsDownForAWhile() async throws {
        let test = try WorkflowTest(plugin)
        test.sql { _ in .affected(1) }
        test.stub("buy_label") { [label] call -> Carrier.Label in
            if call.attempt < 4 { throw WorkflowFailure(code: "carrier_down", message: "503") }
            return label
        }
        let receipt = try await test.run("ship_order", input: order, as: Receipt.self)
        #expect(receipt.carrier == "Postal")
        #expect(test.count(of: "buy_label") == 4)
    }

    /// However often a crash comes in between: what was taken is given back once.
    @Test(arguments: [true, false]) func anOrderThatComesToNothingGivesTheStockBack(isCancelled: Bool) async throws {
        try await WorkflowTest.crashEverywhere(plugin) { [order] test in
            let stock = Stock()
            test.sql { call in
                if call.sql.contains("on_hand - $1") { call.onCommit { stock.onHand.withLock { $0 -= 2 } } }
                if call.sql.contains("on_hand + $1") { call.onCommit { stock.onHand.withLock { $0 += 2 } } }
                return .affected(1)
            }
            test.stub("buy_label", throwing: isCancelled ? CarrierDown() : NotRetried(CarrierDown()))
            let workflow = try await test.start("ship_order", input: order)
            if isCancelled { await workflow.cancel() }
            await test.runToTheEnd()
            #expect(workflow.status == (isCancelled ? "cancelled" : "failed"))
            #expect(workflow.step("%compensate/release_stock")?.status == "succeeded")
            return stock.onHand.withLock { $0 } == 5
        }
    }

    @Test func noCrashChangesAnything() async throws {
        try await WorkflowTest.crashEverywhere(plugin) { [order, label] test in
            test.sql { _ in .affected(1) }
            test.stub("buy_label", returning: label)
            return try await test.run("ship_order", input: order, as: Receipt.self).trackingNumber
        }
    }
}

private final class Stock: Sendable {
    let onHand = Mutex(5)
}

private struct CarrierDown: Error {}
