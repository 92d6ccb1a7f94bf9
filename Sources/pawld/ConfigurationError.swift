/// A setting that cannot be used: which, from where, why, and what to do.
struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    /// The option as it is written on the command line, `--concurrency`; nil when it is about no single one.
    let option: String?
    /// Where the value came from: "the command line", "PAWL_CONCURRENCY in the environment", "/etc/pawl/shop.env line 3".
    let source: String?
    /// A clause that goes on from the option: "is “many”, which is not a whole number; give one from 1 to 100000".
    let problem: String

    init(_ option: String? = nil, source: String? = nil, _ problem: String) {
        self.option = option
        self.source = source
        self.problem = problem
    }

    var description: String {
        switch (option, source) {
        case (let option?, let source?): "\(option) (from \(source)) \(problem)"
        case (let option?, nil): "\(option) \(problem)"
        case (nil, let source?): "\(source): \(problem)"
        case (nil, nil): problem
        }
    }
}
