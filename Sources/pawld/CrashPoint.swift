#if DEBUG
    import Glibc
    import WorkflowEngine

    /// A place between engine and store at which this process is to kill itself, for the tests of recovery: `PAWL_TEST_CRASH_POINT=after-claim`, or
    /// `before-record:7` for the seventh time. Debug builds only.
    struct CrashPoint: Equatable {
        enum Place: String, CaseIterable {
            /// Workflows are owned, and the engine has not heard of them.
            case afterClaim = "after-claim"
            /// A step has run, and nothing of it is sent.
            case beforeRecord = "before-record"
            /// A step is committed, and nobody has acted on that.
            case afterRecord = "after-record"
            case beforeCommit = "before-commit"
            case afterCommit = "after-commit"
            case beforeComplete = "before-complete"
            case afterComplete = "after-complete"
            /// A failed attempt that another one follows; its outcome is a record.
            case beforeAttempt = "before-attempt"
            case afterAttempt = "after-attempt"
            /// An end that is a new beginning.
            case beforeContinue = "before-continue"
            case afterContinue = "after-continue"
            case beforePerform = "before-perform"
            case afterPerform = "after-perform"
            case beforeEmit = "before-emit"
            case afterEmit = "after-emit"
            case beforePark = "before-park"
            /// The rows are parked, or somebody else's.
            case afterPark = "after-park"
            case beforeHandler = "before-handler"
            /// An SQL function ran, and its workflow has ended.
            case afterHandler = "after-handler"
        }

        let place: Place
        /// 1: the first one.
        let time: Int

        init(parsing text: String) throws(ConfigurationError) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            guard let place = parts.first.flatMap({ Place(rawValue: String($0)) }), parts.count <= 2,
                let time = parts.count == 2 ? Int(parts[1]) : 1, time >= 1
            else {
                throw ConfigurationError(
                    source: "PAWL_TEST_CRASH_POINT in the environment",
                    "“\(text)” is no crash point; there are \(Place.allCases.map(\.rawValue).joined(separator: ", ")), with :n for the n-th time"
                )
            }
            self.place = place
            self.time = time
        }
    }

    /// A store that passes everything on, until the process dies at its crash point.
    final class CrashPointStore: WorkflowStore {
        private let store: any WorkflowStore
        private let point: CrashPoint
        private let crash: () -> Void
        private var passed = 0
        /// Unanswered requests: what each passes when it is answered.
        private var outstanding: [RequestID: [(place: CrashPoint.Place, times: Int)]] = [:]

        var events: ((StoreEvent) -> Void)?

        init(wrapping store: any WorkflowStore, point: CrashPoint, crash: @escaping () -> Void = { kill(getpid(), SIGKILL) }) {
            self.store = store
            self.point = point
            self.crash = crash
            store.events = { [weak self] event in
                self?.look(at: event)
                self?.events?(event)
            }
        }

        func send(_ requests: [StoreRequest]) {
            for request in requests {
                switch request {
                case .write(let id, let steps, let ends):
                    let attempts = steps.count { $0.retryIn != nil }
                    let continued = ends.count { if case .continued = $0.end { true } else { false } }
                    pass(.beforeRecord, steps.count - attempts)
                    pass(.beforeAttempt, attempts)
                    pass(.beforeComplete, ends.count - continued)
                    pass(.beforeContinue, continued)
                    outstanding[id] = [
                        (.afterRecord, steps.count - attempts), (.afterAttempt, attempts), (.afterComplete, ends.count - continued),
                        (.afterContinue, continued),
                    ]
                case .perform(let id, let calls):
                    pass(.beforePerform, calls.count)
                    outstanding[id] = [(.afterPerform, calls.count)]
                case .emit(let id, let emissions):
                    pass(.beforeEmit, emissions.count)
                    outstanding[id] = [(.afterEmit, emissions.count)]
                case .park(let parkings): pass(.beforePark, parkings.count)
                case .runHandler: pass(.beforeHandler, 1)
                case .commit: pass(.beforeCommit, 1)
                default: break
                }
            }
            store.send(requests)
        }

        private func look(at event: StoreEvent) {
            switch event {
            case .claimed(let workflows): pass(.afterClaim, workflows.count)
            case .written(let id, _, _), .performed(let id, _), .emitted(let id, _):
                for (place, times) in outstanding.removeValue(forKey: id) ?? [] { pass(place, times) }
            case .handlerRan(_, .ended): pass(.afterHandler, 1)
            case .transactionEnded(_, .committed): pass(.afterCommit, 1)
            default: break
            }
        }

        /// These are parked: the engine is not told.
        func parked(_ count: Int) { pass(.afterPark, count) }

        private func pass(_ place: CrashPoint.Place, _ times: Int) {
            guard place == point.place, times > 0 else { return }
            let before = passed
            passed += times
            if before < point.time, passed >= point.time { crash() }
        }
    }
#endif
