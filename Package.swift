// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "pawl",
    products: [
        // Never `.dynamic`: plugins that share a Swift runtime corrupt each other, so each links the SDK statically.
        .library(name: "Pawl", type: .static, targets: ["Pawl"]),
        .library(name: "PawlTesting", targets: ["PawlTesting"]),
        .executable(name: "pawld", targets: ["pawld"]),
        .executable(name: "pawl", targets: ["pawl-cli"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: []),
    ],
    targets: [
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(name: "CPawlPlugin"),
        // The SDK's ELF note, in a target of its own because the host links CPawlPlugin too.
        .target(name: "CPawlNote", dependencies: ["CPawlPlugin"]),
        .target(name: "Pawl", dependencies: ["CPawlPlugin", "CPawlNote", "Locking"]),
        .target(name: "PostgresClient", dependencies: ["CLibPQ", "Locking"]),
        .target(name: "Locking"),
        .target(
            name: "WorkflowEngine",
            dependencies: [
                "Locking", .product(name: "DequeModule", package: "swift-collections"), .product(name: "HeapModule", package: "swift-collections"),
            ]),
        .target(
            name: "MemoryStore",
            dependencies: ["Locking", "WorkflowEngine", .product(name: "HeapModule", package: "swift-collections")]),
        .target(name: "PostgresStore", dependencies: ["Locking", "PostgresClient", "WorkflowEngine"]),
        // pipe2, process spawning and the like, which the Glibc module does not show.
        .target(name: "CPluginSupport"),
        .target(name: "PluginRegistry", dependencies: ["CPawlPlugin", "CPluginSupport", "Locking", "WorkflowEngine"]),
        .target(
            name: "PawlTesting", dependencies: ["CPawlPlugin", "Locking", "MemoryStore", "Pawl", "PluginRegistry", "WorkflowEngine"]),
        .executableTarget(
            name: "pawld",
            dependencies: [
                "PluginRegistry", "PostgresStore", "WorkflowEngine",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Logging", package: "swift-log"),
            ]),
        .executableTarget(
            name: "pawl-cli",
            dependencies: [
                "MemoryStore", "WorkflowEngine", "PluginRegistry", "PostgresStore", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Sources/pawl"),

        // Databases of a test's own in the private cluster that scripts/with-cluster started.
        .target(name: "PostgresTestSupport", dependencies: ["CLibPQ"], path: "Tests/PostgresTestSupport"),
        .testTarget(name: "ArchitectureTests"),
        // Runs the built program, so it depends on it without importing it.
        .testTarget(name: "CommandLineTests", dependencies: ["PostgresStore", "PostgresTestSupport", "pawl-cli"], exclude: ["Transcripts"]),
        .testTarget(name: "PawlTests", dependencies: ["Pawl", "CPawlPlugin", "Locking"]),
        .testTarget(name: "PawlTestingTests", dependencies: ["Locking", "MemoryStore", "Pawl", "PawlTesting"]),
        .testTarget(name: "PostgresClientTests", dependencies: ["Locking", "PostgresClient", "PostgresTestSupport"]),
        // Workers over a store in memory, with handlers written in plain Swift.
        .target(name: "WorkflowTestSupport", dependencies: ["Locking", "MemoryStore", "WorkflowEngine"], path: "Tests/WorkflowTestSupport"),
        // What every store must do, run against each.
        .target(name: "StoreConformance", dependencies: ["MemoryStore", "WorkflowEngine"], path: "Tests/StoreConformance"),
        .testTarget(
            name: "WorkflowEngineTests", dependencies: ["Locking", "MemoryStore", "StoreConformance", "WorkflowEngine", "WorkflowTestSupport"]),
        .testTarget(
            name: "PostgresStoreTests",
            dependencies: [
                "Locking", "MemoryStore", "PostgresClient", "PostgresStore", "StoreConformance", "WorkflowEngine", "PostgresTestSupport",
            ]),
        .testTarget(
            name: "PluginRegistryTests",
            // The command line is the child that tries plugins out.
            dependencies: ["CPawlPlugin", "Locking", "PluginRegistry", "WorkflowEngine", "WorkflowTestSupport", "pawl-cli"],
            // Sources of plugins, which the tests compile.
            exclude: ["Fixtures"]),
        .testTarget(
            name: "pawldTests",
            dependencies: ["pawld", "WorkflowEngine", .product(name: "Logging", package: "swift-log")]),
        .testTarget(name: "EndToEndTests", dependencies: ["PostgresTestSupport"], exclude: ["Fixtures"]),
    ]
)

for target in package.targets where target.type != .system {
    var settings: [SwiftSetting] = [
        .swiftLanguageMode(.v6),
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
        .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
        .treatAllWarnings(as: .error),
    ]
    settings += target.swiftSettings ?? []
    target.swiftSettings = settings
}
