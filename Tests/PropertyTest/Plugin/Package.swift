// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Property",
    products: [.library(name: "Property", type: .dynamic, targets: ["Property"])],
    dependencies: [.package(name: "pawl", path: "../../..")],
    targets: [
        .target(
            name: "Property", dependencies: [.product(name: "Pawl", package: "pawl")],
            // Functions that take a context run where their caller does.
            swiftSettings: [.enableUpcomingFeature("NonisolatedNonsendingByDefault")])
    ]
)
