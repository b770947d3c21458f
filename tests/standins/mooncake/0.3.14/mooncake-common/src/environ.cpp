#include "environ.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace mooncake {

static bool GetBool(const char *name, bool fallback) {
    const char *value = getenv(name);
    if (!value || !*value) return fallback;
    return !strcmp(value, "1") || !strcmp(value, "true") || !strcmp(value, "on");
}

// Whether the kernel has the module. Tests have no kernel to load it into, but a folder.
static bool Loaded(const std::string &module) {
    const char *root = getenv("MOONCAKE_STANDIN_ROOT");
    return access(((root ? root : "") + module).c_str(), F_OK) == 0;
}

bool Environ::nvidiaPeermem() {
    return GetBool("WITH_NVIDIA_PEERMEM",
                   Loaded("/sys/module/nvidia_peermem") || Loaded("/sys/module/nv_peer_mem"));
}

}  // namespace mooncake
