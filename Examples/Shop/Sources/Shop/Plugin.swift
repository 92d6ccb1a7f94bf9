import Pawl

let plugin = Plugin("shop") {
    shipOrder
}

/// What pawld calls when it loads the library.
@c(pawl_plugin_register) public func register(_ host: PluginHost) -> Int32 { plugin.register(with: host) }
