import Glibc
import Pawl

/// What the benchmarks run: handlers that do nothing but what they are named after.
let plugin = Plugin("bench") {
    Workflow("noop") { (_: WorkflowContext) in }
    // When its handler began, in nanoseconds of a clock that bench/latency.c reads too.
    Workflow("clock") { (_: WorkflowContext) in
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
    Workflow("one_step") { (workflow: WorkflowContext) in
        try await workflow.step("step") { 1 }
    }
    Workflow("ten_steps") { (workflow: WorkflowContext) in
        var total = 0
        for index in 1...10 { total += try await workflow.step("step_\(index)") { index } }
        return total
    }
}

@c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
