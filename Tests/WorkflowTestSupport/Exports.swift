// Whoever tests with these workers tests with their store.
@_exported public import MemoryStore
