// Filled with the suites that use it.
