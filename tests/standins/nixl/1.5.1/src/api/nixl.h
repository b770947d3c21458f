// Stand-in for NIXL's interface.
#pragma once

extern "C" {
const char *nixl_version();
const char *nixl_plugin();
}
