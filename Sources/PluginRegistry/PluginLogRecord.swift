/// One line that a plugin, or the registry about a plugin, has to say.
package struct PluginLogRecord: Sendable, Equatable {
    /// The levels of `pawl_host.log`.
    package enum Level: Int32, Sendable, Comparable {
        case trace = 0, debug, info, notice, warning, error, critical
        package static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    package var level: Level
    package var message: String
    /// The plugin's file name.
    package var plugin: String
    /// The workflow it is about, if it is about one.
    package var workflowID: String?
    package var epoch: Int32?

    package init(level: Level, message: String, plugin: String, workflowID: String? = nil, epoch: Int32? = nil) {
        self.level = level
        self.message = message
        self.plugin = plugin
        self.workflowID = workflowID
        self.epoch = epoch
    }
}

/// Takes a line; called on any thread, and must not block for long: on the delivery thread it delays the plugin's runs.
package typealias PluginLog = @Sendable (PluginLogRecord) -> Void
