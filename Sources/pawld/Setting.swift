import Configuration

/// One thing that can be configured, under each of its names.
enum Setting: String, CaseIterable {
    case database
    case pluginDirectory = "plugin-directory"
    case queue
    case concurrency
    case parkAfter = "park-after"
    case residentLimit = "resident-limit"
    case shutdownTimeout = "shutdown-timeout"
    case name
    case logLevel = "log-level"

    /// On the command line.
    var option: String { "--\(rawValue)" }

    /// In the environment and in a configuration file.
    var variable: String { "PAWL_" + rawValue.uppercased().replacing("-", with: "_") }

    /// In swift-configuration, whose provider for environment variables encodes it as `variable`.
    var key: AbsoluteConfigKey { AbsoluteConfigKey(["pawl", rawValue]) }

    /// What stands between several values of one variable; nil: it has one. Connection strings are full of commas.
    var separator: Unicode.Scalar? {
        switch self {
        case .database: ";"
        case .queue: ","
        default: nil
        }
    }
}
