#include "CPawlNote.h"
#include "pawl_plugin.h"

PAWL_PLUGIN_NOTE("swift-1.0");

const char *pawl_sdk_note(void) {
    return pawl_plugin_note.text;
}
