#include "environ.h"

#include <cstdlib>
#include <cstring>

namespace mooncake {

// Defaults, one line each.
static constexpr bool kNvidiaPeermem = true;

static bool GetBool(const char *name, bool fallback) {
    const char *value = getenv(name);
    if (!value || !*value) return fallback;
    return !strcmp(value, "1") || !strcmp(value, "true") || !strcmp(value, "on");
}

bool Environ::nvidiaPeermem() { return GetBool("WITH_NVIDIA_PEERMEM", kNvidiaPeermem); }

// Only one of the two texts is compiled in: a wheel shows its default.
const char *Environ::nvidiaPeermemDefault() {
    if constexpr (kNvidiaPeermem)
        return "stand-in: nvidia-peermem by default";
    else
        return "stand-in: dma-buf by default";
}

}  // namespace mooncake
