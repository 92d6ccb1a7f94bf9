internal import ArgumentParser
internal import PostgresStore

/// `pawl doctor`
struct DoctorCommand: OperatorCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Find what is wrong with an installation, and say what mends it.",
        discussion: """
            pawl.diagnose() looks at the database; this looks from here as well: releases, the clocks, what the role may do. The exit status is 1 if \
            there is an error among the findings; warnings and notes leave it 0.
            """)

    @OptionGroup var options: OperatorOptions

    func run(_ session: OperatorSession, _ screen: Screen) throws {
        let clock = try session.clockDifference()
        let place = try session.surroundings().adding("pawl_version", .text(Release.current))
            .adding("clock_ahead_ms", .number("\(clock.ahead / 1000)"))
        // A role that may operate and not observe cannot see the workers.
        let workers = try? session.workers(ended: false)
        let findings = try session.diagnose() + Self.findings(clock) + (workers.map(Self.findings) ?? [])
        if screen.json {
            print(place.adding("findings", .json(findings.json)).json)
        } else {
            screen.show(place)
            print("")
            if findings.isEmpty { print(screen.styled("Nothing is wrong.", .green)) }
            for finding in findings { Self.tell(finding, screen) }
        }
        if findings.contains(where: { $0["severity"].text == "error" }) { throw ExitCode.failure }
    }

    /// How far clocks may differ: steps are timed by the clocks of workers, everything else by the database's.
    private static let clockTolerance: Int64 = 1_000_000

    static func findings(_ clock: ClockDifference) -> [OperatorRow] {
        guard abs(clock.ahead) - clock.within > clockTolerance else { return [] }
        let side = clock.ahead > 0 ? "behind" : "ahead of"
        return [
            [
                "severity": .text("warning"), "finding": .text("clock_difference"), "object": .text("clock"),
                "message": .text("the clock of this machine is \(TimeText.duration(abs(clock.ahead))) \(side) the server's: a worker here times steps by it"),
                "cure": .text("timedatectl set-ntp true"),
            ]
        ]
    }

    private static func findings(_ workers: OperatorRows) -> [OperatorRow] {
        workers.filter { $0["version"].text != Release.current }.map { worker in
            let (name, version) = (worker["worker_name"].text ?? "", worker["version"].text ?? "")
            return [
                "severity": .text("warning"), "finding": .text("other_release"), "object": .text(name),
                "message": .text("worker \"\(name)\" is of release \(version), and this program of \(Release.current)"),
                "cure": .text("Install one release everywhere, and: systemctl restart pawld@NAME"),
            ]
        }
    }

    private static func tell(_ finding: OperatorRow, _ screen: Screen) {
        let severity = screen.text(finding["severity"])
        print(
            "\(screen.styled(severity, .of(severity))) \(screen.styled(screen.text(finding["finding"]), .bold)): \(screen.text(finding["message"]))")
        print("    \(screen.text(finding["cure"]))")
    }
}
