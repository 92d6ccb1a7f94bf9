/* Uses a function that is nowhere. */
#include "pawl_plugin.h"

PAWL_PLUGIN_NOTE("c");

extern int buy_label(void);

PAWL_EXPORT int32_t pawl_plugin_register(const pawl_host *host) {
    (void) host;
    return buy_label();
}
