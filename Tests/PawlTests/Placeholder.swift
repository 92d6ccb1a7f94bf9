// Stub: replaced by the suite's author.
import Testing
