// A plugin in Swift that was linked against a shared runtime.
@_cdecl("pawl_plugin_register") public func register(_ host: UnsafeRawPointer) -> Int32 { Int32([1, 2, 3].map { $0 }.count) }
