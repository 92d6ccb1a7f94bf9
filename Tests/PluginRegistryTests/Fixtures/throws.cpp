// A plugin that lets an exception out.
#include "pawl_plugin.h"

#include <stdexcept>

PAWL_PLUGIN_NOTE("c++");

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *) {
    throw std::runtime_error("no carrier");
}
