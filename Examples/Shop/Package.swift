// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Shop",
    products: [
        // A plugin is one shared library. `pawl plugin build` links it with a Swift runtime of its own.
        .library(name: "Shop", type: .dynamic, targets: ["Shop"])
    ],
    dependencies: [
        .package(name: "pawl", path: "../..")
    ],
    targets: [
        .target(
            name: "Shop", dependencies: [.product(name: "Pawl", package: "pawl")],
            // A function that is handed the workflow's context runs where its caller does, as the context asks for.
            swiftSettings: [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]),
        .testTarget(name: "ShopTests", dependencies: ["Shop", .product(name: "Pawl", package: "pawl"), .product(name: "PawlTesting", package: "pawl")]),
    ]
)
