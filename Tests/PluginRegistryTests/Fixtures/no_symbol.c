/* A shared library that is no plugin. */
#include "pawl_plugin.h"

PAWL_PLUGIN_NOTE("c");

PAWL_EXPORT int something_else(void) {
    return 1;
}
