import Foundation
import Logging
import Testing

@testable import pawld

@Suite struct DaemonConfigurationTests {
    static let plugins = FileManager.default.temporaryDirectory.path

    /// A configuration from layers in which everything that is required stands, unless the test says otherwise.
    func load(
        _ commandLine: [Setting: [String]] = [:], environment: [String: String] = [:], file: String? = nil, complete: Bool = true
    ) throws -> DaemonConfiguration {
        var environment = environment
        if complete {
            if commandLine[.database] == nil, environment["PAWL_DATABASE"] == nil, file?.contains("PAWL_DATABASE") != true {
                environment["PGDATABASE"] = "shop"
            }
            if commandLine[.pluginDirectory] == nil, environment["PAWL_PLUGIN_DIRECTORY"] == nil {
                environment["PAWL_PLUGIN_DIRECTORY"] = Self.plugins
            }
        }
        let layers = try SettingLayers(
            commandLine: commandLine, environment: environment,
            file: try file.map { text in try ConfigurationFile(path: "/etc/pawl/shop.env", text: text) })
        return try DaemonConfiguration(layers, environment: environment, executable: "/opt/pawl/bin/pawld", hostName: "albatross")
    }

    func problem(
        _ commandLine: [Setting: [String]] = [:], environment: [String: String] = [:], file: String? = nil, complete: Bool = true
    ) -> String {
        do {
            _ = try load(commandLine, environment: environment, file: file, complete: complete)
            return "no error"
        } catch {
            return "\(error)"
        }
    }

    @Test func defaultsStandWhereNothingIsSaid() throws {
        let configuration = try load()
        #expect(configuration.databases == [""])
        #expect(configuration.queues == nil)
        #expect(configuration.concurrency == DaemonConfiguration.defaultConcurrency)
        #expect(configuration.parkAfter == .seconds(5))
        #expect(configuration.residentLimit == 4000)
        #expect(configuration.shutdownTimeout == .seconds(30))
        #expect(configuration.name == "albatross")
        #expect(configuration.logLevel == .info)
    }

    @Test func theCommandLineWinsOverTheEnvironmentAndThatOverTheFile() throws {
        let file = "PAWL_CONCURRENCY=1\nPAWL_NAME=from-file\nPAWL_LOG_LEVEL=error\n"
        let configuration = try load(
            [.concurrency: ["3"]], environment: ["PAWL_CONCURRENCY": "2", "PAWL_NAME": "from-environment"], file: file)
        #expect(configuration.concurrency == 3)
        #expect(configuration.name == "from-environment")
        #expect(configuration.logLevel == .error)
    }

    @Test func listsComeFromEveryLayer() throws {
        #expect(try load([.database: ["dbname=a", "dbname=b"]]).databases == ["dbname=a", "dbname=b"])
        let environment = ["PAWL_DATABASE": "host=one,two dbname=a; dbname=b", "PAWL_QUEUE": "shipping, billing,shipping"]
        #expect(try load(environment: environment).databases == ["host=one,two dbname=a", "dbname=b"])
        #expect(try load(environment: environment).queues == ["shipping", "billing"])
        #expect(try load(file: "PAWL_DATABASE=dbname=a;dbname=b\n").databases == ["dbname=a", "dbname=b"])
    }

    @Test(arguments: [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("2min", 120_000), ("2m", 120_000), ("0", 0), ("86400", 86_400_000)])
    func timeSpansAreRead(_ text: String, _ milliseconds: Int) throws {
        #expect(try load([.shutdownTimeout: [text]]).shutdownTimeout == .milliseconds(milliseconds))
    }

    @Test func waitingIsConfigured() throws {
        let configuration = try load([.parkAfter: ["250ms"]], environment: ["PAWL_PARK_AFTER": "2min", "PAWL_RESIDENT_LIMIT": "0"])
        #expect(configuration.parkAfter == .milliseconds(250))
        #expect(configuration.residentLimit == 0)
        #expect(try load(environment: ["PAWL_PARK_AFTER": "2min"]).parkAfter == .seconds(120))
        #expect(problem([.parkAfter: ["soon"]]).hasPrefix("--park-after (from the command line) is"))
        #expect(problem(environment: ["PAWL_RESIDENT_LIMIT": "-1"]).hasPrefix("--resident-limit (from PAWL_RESIDENT_LIMIT in the environment) is"))
    }

    @Test(arguments: ["", "-1", "1h", "s", "1.5", "ten", "86401", "99999999999999999999", "1 s s"])
    func whatIsNoTimeSpanIsSaid(_ text: String) {
        let message = problem([.shutdownTimeout: [text]])
        #expect(message.hasPrefix("--shutdown-timeout (from the command line) is"), "\(message)")
    }

    @Test(arguments: ["", "0", "-4", "many", "1.0", "100001", "99999999999999999999"])
    func whatIsNoConcurrencyIsSaidWithItsSource(_ text: String) {
        #expect(problem([.concurrency: [text]]).hasPrefix("--concurrency (from the command line) is"))
        guard !text.isEmpty else { return }  // an empty variable is an absent one
        #expect(problem(environment: ["PAWL_CONCURRENCY": text]).hasPrefix("--concurrency (from PAWL_CONCURRENCY in the environment) is"))
        #expect(problem(file: "# numbers\n\nPAWL_CONCURRENCY=\(text)\n").hasPrefix("--concurrency (from /etc/pawl/shop.env line 3) is"))
    }

    @Test func badValuesOfOtherSettingsAreSaid() {
        #expect(problem([.logLevel: ["loud"]]).contains("there are trace, debug, info"))
        #expect(problem([.name: [String(repeating: "x", count: 129)]]).contains("129 bytes"))
        #expect(problem([.queue: [String(repeating: "ä", count: 65)]]).contains("130 bytes"))
        #expect(problem([.database: ["dbname=a", "dbname=a"]]).contains("twice"))
        #expect(problem([.database: [" "]]).contains("is empty"))
        #expect(
            problem([.pluginDirectory: ["/nowhere/at/all"]]).contains("/nowhere/at/all, which cannot be read: No such file or directory"))
        #expect(problem([.pluginDirectory: ["/etc/passwd"]]).contains("Not a directory"))
    }

    @Test func aDatabaseMustBeNamed() {
        let message = problem([.pluginDirectory: [Self.plugins]], complete: false)
        #expect(message.hasPrefix("--database is missing"))
        #expect(message.contains("PAWL_DATABASE"))
    }

    @Test func pluginsAreLookedForBesideTheInstallation() {
        #expect(problem([.database: ["dbname=a"]], complete: false).contains("/opt/pawl/lib/pawl/plugins, which cannot be read"))
    }

    @Test func aMisspeltVariableIsNotIgnored() {
        #expect(
            problem(environment: ["PAWL_CONCURENCY": "4"]).contains(
                "PAWL_CONCURENCY is no setting of pawld; did you mean PAWL_CONCURRENCY?"))
        #expect(
            problem(file: "PAWL_QUEUES=a\n")
                == "/etc/pawl/shop.env line 1: sets PAWL_QUEUES, which is no setting of pawld; did you mean PAWL_QUEUE?")
        #expect(problem(file: "PAWL_SOMETHING_ELSE=4\n").contains("there are PAWL_CONCURRENCY, "))
        #expect(problem(environment: ["PAWL_SOMETHING_ELSE": "4"]) == "no error", "a plugin may have variables of its own")
    }

    @Test func filesAreReadAsSystemdReadsThem() throws {
        let text = """
            # comment
            ; comment
              PAWL_NAME = "two words \\"quoted\\" \\\\ \\n"
            PAWL_DATABASE='host=a password=x"y'
            PGPASSWORD=secret
            PAWL_LOG_LEVEL=debug\u{20}\u{20}
            """
        let file = try ConfigurationFile(path: "x.env", text: text)
        #expect(
            file.values.mapValues(\.value) == [
                "PAWL_NAME": "two words \"quoted\" \\ \\n", "PAWL_DATABASE": "host=a password=x\"y", "PAWL_LOG_LEVEL": "debug",
            ])
        #expect(file.values["PAWL_LOG_LEVEL"]?.line == 6)
    }

    /// An accent makes one character of itself and the mark before it, and so does a newline of a carriage return.
    @Test func marksCountAlsoWithinCharacters() throws {
        let file = try ConfigurationFile(
            path: "x.env", text: "PAWL_NAME=\"a\\\"\u{308}b\"\r\nPAWL_QUEUE=\u{308}x,\u{308}y\r\nPAWL_LOG_LEVEL='debug'\r\n")
        #expect(file.values["PAWL_NAME"]?.value.unicodeScalars.elementsEqual("a\"\u{308}b".unicodeScalars) == true)
        #expect(file.values["PAWL_LOG_LEVEL"]?.value == "debug")
        #expect(file.values["PAWL_LOG_LEVEL"]?.line == 3)
        let layers = try SettingLayers(commandLine: [:], environment: [:], file: file)
        #expect(try layers.find(.queue)?.values == ["\u{308}x", "\u{308}y"])
    }

    @Test(arguments: [
        ("PAWL_NAME", "is not NAME=value"), ("PAWL_NAME=a\nPAWL_NAME=b", "line 2: sets PAWL_NAME a second time (first in line 1)"),
        ("PAWL_NAME=\"a", "has no closing quote"), ("PAWL_NAME='a' b", "goes on after its closing quote"),
    ])
    func whatIsWrongInAFileIsSaidWithItsLine(_ text: String, _ expected: String) {
        #expect(problem(file: text).contains(expected), "\(problem(file: text))")
        #expect(problem(file: text).hasPrefix("/etc/pawl/shop.env line "))
    }

    @Test func aFileThatCannotBeReadIsSaid() {
        #expect(throws: ConfigurationError("--config", "names /nowhere/x.env, which cannot be read: No such file or directory")) {
            try ConfigurationFile(reading: "/nowhere/x.env")
        }
    }

    @Test func whatWasGivenNeverShowsAPassword() {
        let secret = "host=a password=hunter2 dbname=x"
        #expect(!problem([.database: [secret, secret]]).contains("hunter2"))
        #expect(!problem(file: "PAWL_DATABASE=\"\(secret)").contains("hunter2"))
    }
}
