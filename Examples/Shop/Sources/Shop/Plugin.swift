import Pawl

let plugin = Plugin("shop") {
    // Side by side: orders that began with version 1 end with it.
    shipOrder
    shipOrderWithApproval
}

/// What pawld calls when it loads the library.
@c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
