import Foundation
import PostgresTestSupport
import Testing

extension EndToEnd {
    /// Each thing that a durable workflow does, killed at every place around its writes: it must come to the same end as undisturbed.
    @Suite struct DurableCrashTests {
        /// Waits are parked at once, or stay in memory.
        static let waiting: [[String]] = [["--park-after", "0s"], []]

        @Test func attemptsOfAStep() async throws {
            let bank = try Bank.ofScripts()
            let expected = try await bank.survive([
                "before-attempt", "after-attempt", "before-attempt:3", "after-attempt:2", "after-attempt:3", "before-record", "after-record", "before-record:3",
                "after-record:3", "before-complete", "after-complete", "after-claim",
            ]) { group in
                try bank.run(
                    "\(group)/w", "step a fail=2 retry=5,20000,20000\ntry step b fail=9 retry=2,20000\ntry step c fail=9 final\nstep d")
            }
            #expect(expected.contains(#"succeeded [3, {"error": "asked"}, {"error": "asked"}, 1]"#))
            // An attempt that is recorded is not made again; one that is not may be.
            for line in Set(try bank.effects()) {
                let words = line.split(separator: " ")
                #expect(["a": 3, "b": 2, "c": 1, "d": 1][words[1], default: 0] >= Int(words[2]) ?? 99, "\(line)")
            }
        }

        /// The back-off after the first attempt would outlast the time of all: what that failed with is what the step fails with.
        @Test func noTimeIsLeftForAnotherAttempt() async throws {
            let bank = try Bank.ofScripts()
            let expected = try await bank.survive(["before-record", "after-record", "before-complete"]) { group in
                try bank.run("\(group)/w", "try step a fail=9 retry=9,3600000000,3600000000 total=300000")
            }
            #expect(expected == "w succeeded [{\"error\": \"asked\"}]\n    a step failed 1 asked", "\(expected)")
            #expect(try Set(bank.effects().map { $0.split(separator: " ").dropFirst().joined(separator: " ") }) == ["a 1"])
        }

        @Test func sleeps() async throws {
            let bank = try Bank.ofScripts()
            let expected = try await bank.survive(
                [
                    "before-perform", "after-perform", "before-park", "after-park", "after-claim", "after-claim:2", "after-perform:2", "after-park:2",
                    "after-record",
                ],
                arguments: Self.waiting[0]
            ) { group in
                try bank.run("\(group)/w", #"call sleep nap {"seconds": 0.2}\nstep a\ncall sleep nap {"seconds": 0.1}"#.lines)
            }
            #expect(expected.hasPrefix("w succeeded [null, 1, null]"))
        }

        /// Sent, received in order, once; the timeout of the last one is a timeout for ever.
        @Test(arguments: waiting) func messages(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let points = [
                "before-perform", "after-perform", "before-perform:3", "after-perform:4", "after-perform:6", "after-perform:8", "before-complete",
                "after-complete:2",
            ]
            let expected = try await bank.survive(points + (arguments.isEmpty ? [] : ["before-park", "after-park"]), arguments: arguments) { group in
                try bank.run(
                    "\(group)/receiver",
                    #"""
                    call receive a {"topic": "t"}
                    call receive a {"topic": "t"}
                    call receive a {"topic": "t"}
                    call receive b {"topic": "t", "timeout": 0.1}
                    call receive b {"topic": "u", "timeout": 0.1}
                    """#)
                try bank.run(
                    "\(group)/sender",
                    #"""
                    call send a {"workflow_id": "\#(group)/receiver", "topic": "t", "message": 1}
                    call send a {"workflow_id": "\#(group)/receiver", "topic": "t", "message": null}
                    call send a {"workflow_id": "\#(group)/receiver", "topic": "t", "message": {"three": 3}}
                    try call send b {"workflow_id": "nobody", "message": 1}
                    """#)
            }
            #expect(expected.contains(#"receiver succeeded [1, null, {"three": 3}, "none", "none"]"#))
            #expect(expected.contains(#"sender succeeded [true, true, true, {"error": "unknown_workflow"}]"#))
        }

        @Test(arguments: waiting) func eventsAndStreams(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let points = ["before-perform", "after-perform:2", "before-perform:5", "after-perform:8", "after-perform:11", "after-complete"]
            let expected = try await bank.survive(points + (arguments.isEmpty ? [] : ["after-park", "before-park:2"]), arguments: arguments) { group in
                try bank.run(
                    "\(group)/writer",
                    #"""
                    call set_event a {"key": "state", "value": {"is": "open"}}
                    call write_stream b {"key": "log", "value": "one"}
                    call receive c {}
                    call write_stream b {"key": "log", "value": "two"}
                    call close_stream d {"key": "log"}
                    try call write_stream b {"key": "log", "value": "three"}
                    call set_event e {"key": "end", "value": null}
                    """#)
                try bank.run(
                    "\(group)/reader",
                    #"""
                    call get_event a {"workflow_id": "\#(group)/writer", "key": "state"}
                    call read_stream b {"workflow_id": "\#(group)/writer", "key": "log"}
                    call get_event c {"workflow_id": "\#(group)/writer", "key": "none", "timeout": 0.05}
                    call send d {"workflow_id": "\#(group)/writer", "message": "go on"}
                    call get_event e {"workflow_id": "\#(group)/writer", "key": "end"}
                    call read_stream f {"workflow_id": "\#(group)/writer", "key": "log"}
                    call read_stream g {"workflow_id": "\#(group)/writer", "key": "log", "from": 3}
                    """#)
            }
            #expect(expected.contains(#"writer succeeded [null, 1, "go on", 2, null, {"error": "stream_closed"}, null]"#), "\(expected)")
            #expect(
                expected.contains(
                    #"{"closed": true, "entries": [{"value": "one", "attempt": 1, "position": 1}, {"value": "two", "attempt": 1, "position": 2}]}, {"closed": true, "entries": []}]"#
                ), "\(expected)")
        }

        /// What the body of a step writes to a stream is there at least once for each attempt, and says which it was.
        @Test func entriesOfAStepsBody() async throws {
            let bank = try Bank.ofScripts()
            let points = ["before-emit", "after-emit", "after-emit:2", "after-attempt", "before-record"]
            _ = try await bank.survive(points) { try bank.run("\($0)/w", "step a stream=tokens fail=1 retry=2,10000") }
            let attempts = try bank.admin.execute(
                """
                SELECT workflow_key, string_agg(DISTINCT attempt::text, ' ' ORDER BY attempt::text) AS attempts FROM pawl.stream_entry GROUP BY 1
                """)
            #expect(attempts.rows.count == points.count + 1)
            #expect(try Set(attempts.column("attempts")) == ["1 2"])
        }

        static let leaf = #"call receive wait {"topic": "go", "timeout": 0.05}\nstep work"#.lines
        /// The line that starts a child; what the child's own script says of itself is not for the parent to fill in.
        static func start(_ name: String, _ script: String) -> String {
            #"call start_child start-\#(name) {"workflow_name": "script", "workflow_id": "%id-\#(name)", "input": \#(json(script.replacing("%", with: "%%")))}"#
        }

        @Test(arguments: waiting) func childrenOfChildren(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let points = [
                "before-perform", "after-perform", "before-perform:3", "after-perform:4", "before-perform:6", "after-perform:8", "before-complete",
                "after-complete",
                "after-complete:3",
            ]
            let middle = [Self.start("leaf", Self.leaf), #"call await_child await {"workflow_id": "%id-leaf"}"#].joined(separator: "\n")
            let expected = try await bank.survive(points + (arguments.isEmpty ? [] : ["before-park", "after-park", "after-park:3"]), arguments: arguments) {
                group in
                try bank.run(
                    "\(group)/w",
                    [
                        Self.start("a", middle), Self.start("b", "fail broken"), Self.start("c", "step x"),
                        #"call await_child a {"workflow_id": "%id-a"}"#, #"try call await_child b {"workflow_id": "%id-b"}"#,
                        #"call await_children all {"workflow_ids": ["%id-c", "%id-b", "%id-a"], "mode": "all"}"#,
                    ].joined(separator: "\n"))
            }
            #expect(expected.contains(#"w-a-leaf succeeded ["none", 1]"#), "\(expected)")
            #expect(expected.contains(#"w-a succeeded [{"workflow_id": "w-a-leaf"}, ["none", 1]]"#), "\(expected)")
            #expect(
                expected.contains(#"[{"workflow_id": "w-leaf"}, ["none", 1]], {"error": "broken"}, [{"#) || expected.contains(#"{"error": "broken"}, [{"#),
                "\(expected)")
        }

        /// The whole tree is cancelled, and each undoes what it did.
        @Test(arguments: waiting) func theCancellationOfATree(arguments: [String]) async throws {
            let bank = try Bank.ofScripts()
            let points = [
                "before-perform:4", "after-perform:5", "before-perform:7", "after-perform:8", "before-record:4", "after-record:5", "before-record:7",
                "after-record:8",
                "before-complete", "after-complete", "after-complete:3",
            ]
            let expected = try await bank.survive(points + (arguments.isEmpty ? [] : ["before-park", "after-park"]), arguments: arguments) { group in
                let leaf = """
                    step work
                    undo undo-work
                    call send ready {"workflow_id": "\(group)/canceller", "message": "ready"}
                    call receive never {}
                    step never
                    """
                let middle = ["step work\nundo undo-work", Self.start("leaf", leaf), #"call await_child await {"workflow_id": "%id-leaf"}"#].joined(
                    separator: "\n")
                try bank.run(
                    "\(group)/top",
                    ["step work\nundo undo-work", Self.start("middle", middle), #"call await_child await {"workflow_id": "%id-middle"}"#].joined(
                        separator: "\n"))
                try bank.run(
                    "\(group)/canceller",
                    #"""
                    call receive a {}
                    call cancel_workflow b {"workflow_id": "\#(group)/top", "reason": "as asked"}
                    try call await_child c {"workflow_id": "\#(group)/top"}
                    try call await_child d {"workflow_id": "\#(group)/top-middle-leaf"}
                    """#)
            }
            #expect(expected.contains(#"canceller succeeded ["ready", true, {"error": "child_cancelled"}, {"error": "child_cancelled"}]"#), "\(expected)")
            #expect(expected.contains("top cancelled request"), "\(expected)")
            #expect(expected.contains("top-middle cancelled parent") && expected.contains("top-middle-leaf cancelled parent"), "\(expected)")
            #expect(expected.matches(of: /%compensate.undo-work compensation succeeded 1/).count == 3, "\(expected)")
            #expect(!expected.contains("    never step"))
        }

        @Test func races() async throws {
            let bank = try Bank.ofScripts()
            let points = [
                "before-perform", "after-perform", "after-perform:2", "before-perform:3", "after-perform:4", "before-perform:6", "after-perform:7",
                "before-complete",
            ]
            let expected = try await bank.survive(points) { group in
                try bank.run(
                    "\(group)/w",
                    #"""
                    race offered 1 "mine" {"of": [{"kind": "sleep", "seconds": 3600}, {"kind": "step"}]}
                    call race time {"of": [{"kind": "receive", "topic": "none"}, {"kind": "sleep", "seconds": 0.05}]}
                    \#(Self.start("child", "step x"))
                    call race child {"of": [{"kind": "receive", "topic": "none"}, {"kind": "await_child", "workflow_id": "%id-child"}]}
                    call race none {"of": [{"kind": "receive", "topic": "none", "timeout": 0.05}, {"kind": "sleep", "seconds": 3600}]}
                    """#)
            }
            #expect(expected.contains(#"{"value": "mine", "winner": 1}"#), "\(expected)")
            #expect(expected.contains(#"{"value": null, "winner": 1}"#), "\(expected)")
            #expect(expected.contains(#"{"value": [1], "winner": 1}"#), "\(expected)")
            #expect(expected.contains(#"{"none": true, "winner": 0}"#), "\(expected)")
        }

        @Test func continuingAsNew() async throws {
            let bank = try Bank.ofScripts()
            let points = [
                "before-continue", "after-continue", "before-continue:2", "after-continue:2", "after-claim:2", "before-record:2", "after-record:3",
                "after-complete",
            ]
            let last = json("step c\ncall receive kept {}")
            let second = json("step b\ncontinue \(last)")
            let expected = try await bank.survive(points) { group in
                try bank.run("\(group)/w", "step a\ncontinue \(second)")
                // Of before: it stays for whoever receives.
                try bank.admin.execute("SELECT pawl.send_message($1, '\"kept\"')", "\(group)/w")
            }
            #expect(expected == "w succeeded [1, \"kept\"]\n    c step succeeded 1 1\n    kept receive succeeded 1 {\"value\": \"kept\"}")
        }

        @Test func compensations() async throws {
            let bank = try Bank.ofScripts()
            let points =
                (1...7).flatMap { ["before-record:\($0)", "after-record:\($0)"] } + ["before-attempt", "after-attempt", "before-complete", "after-complete"]
            let expected = try await bank.survive(points) { group in
                try bank.run(
                    "\(group)/w", "step a\nundo undo-a\nstep b\nundo undo-b fail=1 retry=3,10000\nstep c\nundo undo-c\nfail broken")
            }
            #expect(expected.hasPrefix("w failed error broken"), "\(expected)")
            #expect(expected.contains("%compensate/undo-b compensation succeeded 2 2"), "\(expected)")
            // In reverse order, whatever happened in between.
            for point in points {
                var first: [String] = []
                for line in try bank.effects() where line.hasPrefix("\(point)/w undo") {
                    let name = String(line.split(separator: " ")[1])
                    if !first.contains(name) { first.append(name) }
                }
                #expect(first == ["undo-c", "undo-b", "undo-a"], "\(point)")
            }
            #expect(
                performing: { try bank.admin.execute("SELECT pawl.resume_workflow('undisturbed/w')") }, throws: { ($0 as? TestSQLError)?.sqlState == "PW011" })
        }

        @Test func branches() async throws {
            let bank = try Bank.ofScripts()
            let points = [
                "before-record", "after-record:2", "before-perform", "after-perform:3", "after-record:5", "before-commit", "after-commit", "before-complete",
            ]
            let expected = try await bank.survive(points) { group in
                try bank.run(
                    "\(group)/w",
                    #"""
                    parallel
                    step a ;; call sleep nap {"seconds": 0.05} ;; step b
                    sql a SELECT bank.receipt(jsonb_build_object('id', $1::text)) ;; step b
                    step a fail=1 retry=2,10000 ;; call receive b {"timeout": 0.05}
                    end
                    step last
                    """#)
            }
            #expect(expected.contains(#"succeeded [[[1, null, 1], [true, 1], [2, "none"]], 1]"#), "\(expected)")
            #expect(try bank.admin.integer("SELECT count(*) FROM bank.applied") == points.count + 1)
            #expect(try bank.admin.integer("SELECT count(DISTINCT transfer) FROM bank.applied") == points.count + 1)
        }

        @Test func functionsOfSQL() async throws {
            let bank = try Bank.ofScripts()
            try bank.admin.script(
                """
                CREATE FUNCTION bank.close_books(input jsonb, workflow_id text) RETURNS jsonb LANGUAGE plpgsql AS $$
                    BEGIN
                        INSERT INTO bank.applied VALUES (workflow_id, 'books');
                        IF input ? 'fail' THEN RAISE EXCEPTION 'the books do not balance' USING ERRCODE = 'P0001'; END IF;
                        RETURN jsonb_build_object('closed', input);
                    END $$;
                CREATE ROLE \(bank.database.name)_clerk;
                GRANT USAGE ON SCHEMA bank TO \(bank.database.name)_clerk;
                GRANT INSERT ON bank.applied TO \(bank.database.name)_clerk;
                SELECT pawl.create_handler('close_books', 'bank.close_books(jsonb, text)'::regprocedure, role => '\(bank.database.name)_clerk');
                """)
            let points = ["before-handler", "after-handler", "before-handler:2", "after-claim", "before-complete"]
            let expected = try await bank.survive(points) { group in
                try bank.admin.execute("SELECT pawl.enqueue_workflow('close_books', '{\"month\": 1}', workflow_id => $1)", "\(group)/books")
                try bank.admin.execute("SELECT pawl.enqueue_workflow('close_books', '{\"fail\": 1}', workflow_id => $1)", "\(group)/failing")
            }
            #expect(expected == "books succeeded {\"closed\": {\"month\": 1}}\nfailing failed error P0001")
            #expect(try bank.admin.integer("SELECT count(*) FROM bank.applied") == points.count + 1)
            #expect(try bank.admin.integer("SELECT count(DISTINCT transfer) FROM bank.applied") == points.count + 1)
            try bank.admin.script("SELECT pawl.drop_handler('close_books'); DROP OWNED BY \(bank.database.name)_clerk; DROP ROLE \(bank.database.name)_clerk")
        }
    }
}

extension String {
    /// A raw literal's `\n` as the ends of lines that they stand for.
    var lines: String { replacing("\\n", with: "\n") }
}
