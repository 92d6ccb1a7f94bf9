// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "Bench",
    products: [.library(name: "Bench", type: .dynamic, targets: ["Bench"])],
    dependencies: [.package(name: "pawl", path: "../..")],
    targets: [.target(name: "Bench", dependencies: [.product(name: "Pawl", package: "pawl")])]
)
