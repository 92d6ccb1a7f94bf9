import Configuration

/// Where settings come from, the strongest first: the command line, the environment, a configuration file.
struct SettingLayers {
    /// A value and where it stood.
    struct Found: Equatable {
        var values: [String]
        var source: String
    }

    private let commandLine: [Setting: [String]]
    private let environment: any ConfigProvider
    private let file: ConfigurationFile?
    private let fileValues: (any ConfigProvider)?

    /// - Parameter commandLine: what was given there; an empty list is as if it was not.
    init(commandLine: [Setting: [String]], environment: [String: String], file: ConfigurationFile?) throws(ConfigurationError) {
        self.commandLine = commandLine.filter { !$0.value.isEmpty }
        self.environment = EnvironmentVariablesProvider(environmentVariables: environment)
        self.file = file
        fileValues = file.map { EnvironmentVariablesProvider(environmentVariables: $0.values.mapValues(\.value)) }

        // A misspelt variable would otherwise be ignored without a word. One that resembles no setting is somebody else's: a plugin's, a script's.
        let known = Set(Setting.allCases.map(\.variable) + ["PAWL_CONFIG"])
        for name in environment.keys.sorted() where name.hasPrefix("PAWL_") && !known.contains(name) {
            guard let meant = Suggestion.nearest(to: name, among: known) else { continue }
            throw ConfigurationError(source: "the environment", "\(name) is no setting of pawld; did you mean \(meant)?")
        }
    }

    /// The strongest layer that has the setting. An empty variable counts as absent, as in a unit's `Environment=`.
    func find(_ setting: Setting) throws(ConfigurationError) -> Found? {
        if let values = commandLine[setting] { return Found(values: values, source: "the command line") }
        if let text = text(of: setting, in: environment) {
            return Found(values: split(text, setting), source: "\(setting.variable) in the environment")
        }
        if let file, let fileValues, let text = text(of: setting, in: fileValues) {
            return Found(values: split(text, setting), source: "\(file.path) line \(file.values[setting.variable]?.line ?? 0)")
        }
        return nil
    }

    private func text(of setting: Setting, in provider: any ConfigProvider) -> String? {
        // Asked for as text, it cannot be of another type; what the text must be is checked with its source at hand.
        guard case .string(let text)? = try? provider.value(forKey: setting.key, type: .string).value?.content, !text.trimmed.isEmpty else {
            return nil
        }
        return text
    }

    private func split(_ text: String, _ setting: Setting) -> [String] {
        guard let separator = setting.separator else { return [String(text.trimmed)] }
        return text.unicodeScalars.split(separator: separator).map { String(Substring($0).trimmed) }.filter { !$0.isEmpty }
    }
}
