// swift-tools-version: 6.2
// The installed SDK: `make install` puts this file beside Sources/Pawl, Sources/CPawlPlugin, Sources/CPawlNote and Sources/Locking.
import PackageDescription

let package = Package(
    name: "pawl",
    products: [
        // Never `.dynamic`: plugins that share a Swift runtime corrupt each other, so each links the SDK statically.
        .library(name: "Pawl", type: .static, targets: ["Pawl"])
    ],
    targets: [
        .target(name: "CPawlPlugin"),
        .target(name: "CPawlNote", dependencies: ["CPawlPlugin"]),
        .target(name: "Locking"),
        .target(
            name: "Pawl", dependencies: ["CPawlPlugin", "CPawlNote", "Locking"],
            swiftSettings: [
                .enableUpcomingFeature("ExistentialAny"),
                .enableUpcomingFeature("InternalImportsByDefault"),
                .enableUpcomingFeature("MemberImportVisibility"),
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
            ]),
    ]
)
