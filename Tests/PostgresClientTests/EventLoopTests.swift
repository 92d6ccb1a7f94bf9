import Locking
import PostgresClient
import PostgresTestSupport
import Testing

@Suite struct EventLoopTests {
    @Test func workRunsInTheOrderOfItsPosting() async {
        let fixture = LoopFixture()
        defer { fixture.stop() }
        let recorder = Recorder()
        for index in 0..<1000 { fixture.loop.post { recorder.add("\(index)") } }
        let all = await fixture.ask { answer in answer(recorder.all) }
        #expect(all == (0..<1000).map(String.init))
    }

    @Test func everyWakeIsFollowedByATick() async throws {
        let seen = Locked(0)
        let asked = Locked(0)
        let fixture = LoopFixture {
            seen.withLock { seen in seen = asked.withLock { $0 } }
            return -1
        }
        defer { fixture.stop() }
        // From several threads, at all moments of the loop's rounds: what was asked before a wake is seen by a tick after it.
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<5000 {
                        asked.withLock { $0 += 1 }
                        fixture.loop.wake()
                    }
                }
            }
        }
        try await eventually("a tick saw the last wake") { seen.withLock { $0 } == 20_000 }
    }

    @Test func timersFireInOrderAndCanBeCancelled() async throws {
        let fixture = LoopFixture()
        defer { fixture.stop() }
        let recorder = Recorder()
        await fixture.ask { (answer: @escaping @Sendable (Bool) -> Void) in
            let loop = fixture.loop
            _ = loop.schedule(afterNanoseconds: 30_000_000) {
                recorder.add("late")
                answer(true)
            }
            let cancelled = loop.schedule(afterNanoseconds: 20_000_000) { recorder.add("cancelled") }
            _ = loop.schedule(afterNanoseconds: 10_000_000) {
                recorder.add("early")
                loop.cancel(cancelled)
            }
            _ = loop.schedule(afterNanoseconds: 0) { recorder.add("now") }
        }
        #expect(recorder.all == ["now", "early", "late"])
    }

    @Test func aTickCanLimitTheWait() async throws {
        let ticks = Locked(0)
        let fixture = LoopFixture {
            ticks.withLock { $0 += 1 }
            return 1
        }
        defer { fixture.stop() }
        // Nobody wakes it.
        try await eventually("the tick ran again by itself") { ticks.withLock { $0 } > 20 }
    }

    @Test func backoffGrowsToItsCapAndNeverToNothing() {
        for _ in 0..<200 {
            var backoff = Backoff(firstNanoseconds: 50, capNanoseconds: 300)
            for ceiling: UInt64 in [50, 100, 200, 300, 300, 300] { #expect((ceiling / 10...ceiling).contains(backoff.next())) }
            // Far past the width of the shift.
            for _ in 0..<100 { #expect((30...300).contains(backoff.next())) }
            backoff.reset()
            #expect((5...50).contains(backoff.next()))
        }
        // And it is not always the same: many clients do not come back at one moment.
        var backoff = Backoff(firstNanoseconds: 1 << 40, capNanoseconds: 1 << 40)
        #expect(Set((0..<8).map { _ in backoff.next() }).count > 1)
    }
}
