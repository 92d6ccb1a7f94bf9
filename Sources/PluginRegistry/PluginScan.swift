package import WorkflowEngine

/// What a look into the plugin directory came to.
package struct PluginScan: Sendable {
    /// A plugin that is loaded.
    package struct Plugin: Sendable, Equatable {
        /// Its file name at the time it was loaded.
        package let file: String
        /// The handlers it runs here, by name and version.
        package let handlers: [HandlerID]
        /// The SDK and the compiler that built it.
        package let sdk: String
        package let compiler: String
    }

    /// Every plugin that is loaded now, in the order of loading; plugins stay when their file goes.
    package let plugins: [Plugin]
    /// File names of the plugins that this scan loaded.
    package let loaded: [String]
    /// What this scan refused. The rest is not affected, and what was loaded before stays.
    package let refusals: [PluginRefusal]
    /// What deserves a line in the log.
    package let warnings: [String]

    /// Every handler that can run here, sorted by name and version.
    package var handlers: [HandlerID] {
        plugins.flatMap(\.handlers).sorted { ($0.workflowName, $0.workflowVersion) < ($1.workflowName, $1.workflowVersion) }
    }
}
