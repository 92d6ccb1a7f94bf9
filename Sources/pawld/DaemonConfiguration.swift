import Glibc
import Logging

/// Everything pawld was told, checked.
struct DaemonConfiguration: Equatable {
    /// libpq connection strings; an empty one means the PG* environment.
    var databases: [String]
    var pluginDirectory: String
    /// nil: every queue.
    var queues: [String]?
    /// Workflows running at once, in each database.
    var concurrency: Int
    /// How long a workflow that only waits stays in memory.
    var parkAfter: Duration
    /// How many of those do, in each database.
    var residentLimit: Int
    var shutdownTimeout: Duration
    /// What `pawl.workers` shows as worker_name.
    var name: String
    var logLevel: Logger.Level

    static let defaultConcurrency = 1000
    static let defaultParkAfter = Duration.seconds(5)
    static let defaultResidentLimit = 4000
    static let defaultShutdownTimeout = Duration.seconds(30)

    /// - Parameters:
    ///   - environment: for the PG* variables, which libpq reads by itself.
    ///   - executable: of this process; plugins are looked for beside where it is installed.
    init(_ layers: SettingLayers, environment: [String: String], executable: String, hostName: String) throws(ConfigurationError) {
        databases = try Self.databases(layers, environment: environment)
        pluginDirectory = try Self.pluginDirectory(layers, executable: executable)
        queues = try Self.queues(layers)
        concurrency = Self.defaultConcurrency
        if let found = try layers.find(.concurrency) {
            concurrency = try Self.number(found, .concurrency, in: 1...100_000)
        }
        parkAfter = Self.defaultParkAfter
        if let found = try layers.find(.parkAfter) {
            parkAfter = try Self.duration(found, .parkAfter)
        }
        residentLimit = Self.defaultResidentLimit
        if let found = try layers.find(.residentLimit) {
            residentLimit = try Self.number(found, .residentLimit, in: 0...1_000_000)
        }
        shutdownTimeout = Self.defaultShutdownTimeout
        if let found = try layers.find(.shutdownTimeout) {
            shutdownTimeout = try Self.duration(found, .shutdownTimeout)
        }
        name = hostName.isEmpty ? "pawld" : hostName
        if let found = try layers.find(.name) {
            name = try Self.one(found, .name)
            guard name.utf8.count <= 128 else {
                throw ConfigurationError(Setting.name.option, source: found.source, "has \(name.utf8.count) bytes; a name has at most 128")
            }
        }
        logLevel = .info
        if let found = try layers.find(.logLevel) {
            let text = try Self.one(found, .logLevel)
            guard let level = Logger.Level(rawValue: text.lowercased()) else {
                let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw ConfigurationError(
                    Setting.logLevel.option, source: found.source, "is “\(text)”, which is no level; there are \(levels)")
            }
            logLevel = level
        }
    }

    private static func one(_ found: SettingLayers.Found, _ setting: Setting) throws(ConfigurationError) -> String {
        guard let value = found.values.last, !value.isEmpty else {
            throw ConfigurationError(setting.option, source: found.source, "is empty")
        }
        return value
    }

    private static func number(_ found: SettingLayers.Found, _ setting: Setting, in range: ClosedRange<Int>) throws(ConfigurationError)
        -> Int
    {
        let text = try one(found, setting)
        guard let number = Int(text) else {
            throw ConfigurationError(
                setting.option, source: found.source,
                "is “\(text)”, which is not a whole number; give one from \(range.lowerBound) to \(range.upperBound)")
        }
        guard range.contains(number) else {
            throw ConfigurationError(
                setting.option, source: found.source, "is \(number); give a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// `30`, `30s`, `500ms`, `2min`.
    private static func duration(_ found: SettingLayers.Found, _ setting: Setting) throws(ConfigurationError) -> Duration {
        let text = try one(found, setting)
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let milliseconds: [Substring: Int] = ["": 1000, "s": 1000, "ms": 1, "m": 60_000, "min": 60_000]
        guard let amount = Int(digits), let unit = milliseconds[text[digits.endIndex...].trimmed] else {
            throw ConfigurationError(
                setting.option, source: found.source, "is “\(text)”, which is no time span; write 30s, 500ms or 2min")
        }
        guard amount <= 86_400_000 / unit else {
            throw ConfigurationError(setting.option, source: found.source, "is “\(text)”; give at most a day")
        }
        return .milliseconds(amount * unit)
    }

    private static func databases(_ layers: SettingLayers, environment: [String: String]) throws(ConfigurationError) -> [String] {
        guard let found = try layers.find(.database) else {
            // libpq falls back on a database named as the user, which nobody means by saying nothing.
            guard ["PGDATABASE", "PGSERVICE", "PGHOST", "PGHOSTADDR"].contains(where: { environment[$0]?.isEmpty == false }) else {
                throw ConfigurationError(
                    Setting.database.option,
                    "is missing: give a connection string (--database 'host=/run/postgresql dbname=shop'), "
                        + "\(Setting.database.variable), or PGDATABASE")
            }
            return [""]
        }
        for (index, database) in found.values.enumerated() {
            if database.trimmed.isEmpty { throw ConfigurationError(Setting.database.option, source: found.source, "is empty") }
            if found.values[..<index].contains(database) {
                throw ConfigurationError(
                    Setting.database.option, source: found.source, "names the same database twice; each is served once")
            }
        }
        return found.values
    }

    private static func queues(_ layers: SettingLayers) throws(ConfigurationError) -> [String]? {
        guard let found = try layers.find(.queue) else { return nil }
        var queues: [String] = []
        for queue in found.values where !queues.contains(queue) {
            guard !queue.isEmpty, queue.utf8.count <= 128, !queue.utf8.contains(0) else {
                throw ConfigurationError(
                    Setting.queue.option, source: found.source, "holds a name of \(queue.utf8.count) bytes; give 1 to 128")
            }
            queues.append(queue)
        }
        return queues
    }

    private static func pluginDirectory(_ layers: SettingLayers, executable: String) throws(ConfigurationError) -> String {
        let found = try layers.find(.pluginDirectory)
        // /usr/bin/pawld → /usr/lib/pawl/plugins
        let installed = executable.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/lib/pawl/plugins"
        let directory = try found.map { found throws(ConfigurationError) in try one(found, .pluginDirectory) } ?? installed
        let source = found?.source ?? "the default for this installation"
        guard let stream = opendir(directory) else {
            throw ConfigurationError(
                Setting.pluginDirectory.option, source: source, "is \(directory), which cannot be read: \(String(cString: strerror(errno)))"
            )
        }
        closedir(stream)
        return directory
    }
}
