// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Fixture",
    products: [.library(name: "Fixture", type: .dynamic, targets: ["Fixture"])],
    dependencies: [.package(name: "pawl", path: "../../../..")],
    targets: [.target(name: "Fixture", dependencies: [.product(name: "Pawl", package: "pawl")])]
)
